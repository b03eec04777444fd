"""What an export does about content that is missing or damaged, in the registry or where it writes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.archive.images import path_of
from cargohold.types.digest import Digest
from cargohold.types.names import RepositoryName, Tag
from tests.registry.documents import LAYER, image
from tests.registry.moving.test_export import IMAGE, OTHER, blobs, fresh, names, push
from tests.storage.foreign import put

if TYPE_CHECKING:
    from tests.registry.moving.registries import Registry


def test_what_has_rotted_is_written_again(registry: Registry, tmp_path: Path) -> None:
    """A copy of the right length with other bytes is made good from the registry, once."""
    push(registry, "app", IMAGE, "v1")
    registry.export(tmp_path / "layout", link=False)
    for content in (LAYER, IMAGE):
        (tmp_path / "layout" / path_of(Digest.of(content))).write_bytes(content[::-1])
    healed = registry.export(tmp_path / "layout", link=False)
    assert (healed.written, healed.written_bytes) == (2, len(LAYER) + len(IMAGE))
    assert {Digest.of(LAYER), Digest.of(IMAGE)} <= blobs(tmp_path / "layout")
    again = registry.export(tmp_path / "layout", link=False)
    assert (again.written, again.written_bytes, again.problems) == (0, 0, [])


@pytest.mark.parametrize("link", [True, False])
def test_what_has_rotted_in_both(link: bool, registry: Registry, tmp_path: Path) -> None:
    """Damage to a file that the registry and the layout share is told by each export, and ends as the file is whole."""
    push(registry, "app", IMAGE, "v1")
    registry.export(tmp_path / "layout")
    data = Path(registry.store.layout.data(Digest.of(LAYER)))
    assert os.path.samefile(data, tmp_path / "layout" / path_of(Digest.of(LAYER)))
    data.write_bytes(LAYER[::-1])
    told = [f"app: the stored bytes of {Digest.of(LAYER)} are damaged"]
    for _ in range(2):
        assert registry.export(tmp_path / "layout", link=link).problems == told
    data.unlink()
    data.write_bytes(LAYER)
    healed = registry.export(tmp_path / "layout", link=link)
    assert (healed.problems, healed.written) == ([], 1)
    assert Digest.of(LAYER) in blobs(tmp_path / "layout")


def test_a_good_copy_outlives_the_registry(registry: Registry, tmp_path: Path) -> None:
    """Copies that are whole are not replaced by what has been damaged in the registry since."""
    push(registry, "app", IMAGE, "v1")
    registry.export(tmp_path / "layout", link=False)
    Path(registry.store.layout.data(Digest.of(LAYER))).write_bytes(LAYER[::-1])
    assert registry.export(tmp_path / "layout", link=False).written == 0
    assert Digest.of(LAYER) in blobs(tmp_path / "layout")


def test_damage_is_told_for_each_repository(registry: Registry, tmp_path: Path) -> None:
    """Content that several repositories share is missed in each of them, and told once there."""
    push(registry, "app", IMAGE, "v1")
    push(registry, "web", IMAGE, "v1")
    push(registry, "web", image((LAYER, LAYER)), "v2")
    Path(registry.store.layout.data(Digest.of(LAYER))).write_bytes(LAYER[::-1])
    damaged = f"the stored bytes of {Digest.of(LAYER)} are damaged"
    assert registry.export(tmp_path / "layout").problems == [f"app: {damaged}", f"web: {damaged}"]


def test_what_is_missing_or_damaged_is_told(registry: Registry, tmp_path: Path) -> None:
    """An image that lacks something is exported as far as it is there, and all else with it."""
    push(registry, "app", IMAGE, "good")
    push(registry, "app", image((b"gone",)), "lacks", layer=b"gone")
    push(registry, "app", image((b"damaged",)), "damaged", layer=b"damaged")
    push(registry, "app", OTHER, "unreadable", layer=b"other")
    layout, app = registry.store.layout, RepositoryName("app")
    os.unlink(layout.data(Digest.of(b"gone")))
    Path(layout.data(Digest.of(b"damaged"))).write_bytes(b"DAMAGED")
    Path(layout.data(Digest.of(OTHER))).write_bytes(OTHER[::-1])
    put(layout.tag_current(app, Tag("dangling")), Digest.of(b"nothing").encode())
    registry.store.close()
    for place in ("layout", "layout.tar"):
        done = fresh(registry).export(tmp_path / place)
        assert len(done.problems) == 5, done.problems
        text = "\n".join(done.problems)
        for words in (
            f"app@{Digest.of(image((b'gone',)))}: {Digest.of(b'gone')}, which it names, is not in the repository",
            f"app: the stored bytes of {Digest.of(b'damaged')} are damaged",
            f"the stored bytes of manifest {Digest.of(OTHER)} are damaged",
            "app:unreadable: its manifest",
            "app:dangling: its manifest",
        ):
            assert words in text
    assert set(names(tmp_path / "layout")) == {"app:good", "app:lacks", "app:damaged"}
    assert Digest.of(b"damaged") not in blobs(tmp_path / "layout")


def test_a_tar_with_damage_is_still_a_tar(registry: Registry, other: Registry, tmp_path: Path) -> None:
    """What comes after content that is too short, or another, is read; the image itself is refused."""
    push(registry, "app", image((b"damaged",)), "damaged", layer=b"damaged")
    push(registry, "web", IMAGE, "v1")
    data = Path(registry.store.layout.data(Digest.of(b"damaged")))
    for content in (b"DAMAGED", b"longer than it was"):
        data.write_bytes(content)
        registry.export(tmp_path / "layout.tar")
        done = other.import_(tmp_path / "layout.tar")
        assert len(done.problems) == 1
        assert "app:damaged" in done.problems[0]
        assert list(other.held()) == ["web"]
