"""What a HEAD promises: that what it found stays for the grace time, whoever asks."""

from __future__ import annotations

import os
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from cargohold.config import load
from cargohold.storage.filesystem import FilesystemStore
from cargohold.types.digest import Digest
from cargohold.types.names import RepositoryName, Tag
from tests.registry.documents import LAYER, image, sha256
from tests.routes.caller import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APP, OLD = RepositoryName("app"), 1_000_000_000.0
LAYER_DIGEST, IMAGE_DIGEST = Digest(sha256(LAYER)), Digest(sha256(image()))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FilesystemStore]:
    with closing(FilesystemStore(str(tmp_path / "data"))) as made:
        made.prepare()
        registry = Registry(store=made)
        registry.push_layers(APP)
        registry.push(APP, "latest", image())
        for folder in folders(made):
            os.utime(folder, (OLD, OLD))
        yield made


def folders(store: FilesystemStore) -> tuple[str, str]:
    """Those whose times are the leases of a layer and of the image."""
    return store.layout.layer(APP, LAYER_DIGEST), store.layout.revision(APP, IMAGE_DIGEST)


def is_leased(folder: str) -> bool:
    return os.stat(folder).st_mtime > time.time() - 60


def test_a_head_leases(store: FilesystemStore) -> None:
    """A blob and a manifest, by its digest or a tag; a GET does not."""
    registry, (layer, revision) = Registry(store=store), folders(store)
    for target in (f"manifests/{IMAGE_DIGEST}", "manifests/latest"):
        assert registry.ask("GET", f"/v2/{APP}/{target}").status == 200
        assert not is_leased(revision)
        assert registry.ask("HEAD", f"/v2/{APP}/{target}").status == 200
        assert is_leased(revision)
        os.utime(revision, (OLD, OLD))
    assert not is_leased(layer)
    assert registry.ask("HEAD", f"/v2/{APP}/blobs/{LAYER_DIGEST}").status == 200
    assert is_leased(layer)


def test_without_the_login_to_push(store: FilesystemStore, tmp_path: Path) -> None:
    """Where everyone may pull, clients ask without a login what they go on to push with one."""
    users = tmp_path / "users"
    users.write_text("ann:$2y$05$BAgj7ykDHQ9Qrla1tLTGEe1uKXqYJ9PvT2d3wzMxDxYuH5RzvXqK.\n")
    settings = {
        "auth.htpasswd": str(users),
        "auth.rules": [{"users": ["anonymous"], "actions": ["pull"]}],
        "storage.path": store.layout.root,
    }
    registry = Registry(load(settings, {}), store)
    token = registry.ask("GET", f"/auth/token?service=cargohold&scope=repository:{APP}:pull").json["token"]
    for kind, digest, folder in zip(
        ("blobs", "manifests"), (LAYER_DIGEST, IMAGE_DIGEST), folders(store), strict=True
    ):
        asked = registry.ask("HEAD", f"/v2/{APP}/{kind}/{digest}", {"authorization": f"Bearer {token}"})
        assert asked.status == 200
        assert is_leased(folder)


def test_a_tag_waits_for_no_lock(store: FilesystemStore) -> None:
    """What a tag leads to stays anyway: who asks for it has an answer soon, whoever holds the repository's lock."""
    registry = Registry(store=store)
    with closing(FilesystemStore(store.layout.root)) as other, other.locks.hold(APP):
        assert registry.ask("HEAD", f"/v2/{APP}/manifests/{Tag('latest')}").status == 200


def test_a_damaged_manifest_is_mended(store: FilesystemStore) -> None:
    """By whoever pushes it again: what was acknowledged can be pulled."""
    with open(store.layout.data(IMAGE_DIGEST), "r+b") as file:
        file.write(b"damaged")
    with closing(FilesystemStore(store.layout.root)) as second:
        registry = Registry(store=second)
        assert registry.ask("GET", f"/v2/{APP}/manifests/latest").status == 503
        registry.push(APP, "latest", image())
        assert registry.ask("GET", f"/v2/{APP}/manifests/latest").body == image()
