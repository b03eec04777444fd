"""What clients have deleted is brought back by `cargohold trash`, beside the server that runs on the same storage."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.cli.test_command import SCRIPT, run
from tests.e2e.clients.images import Layout

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.clients.program import Client
    from tests.e2e.clients.repository import Repository
    from tests.e2e.server import Server

pytestmark = pytest.mark.clients


def trash(registry: Server, *words: str) -> subprocess.CompletedProcess[str]:
    return run(SCRIPT, "trash", *words, "--storage-path", str(registry.storage))


def test_skopeo(
    client: Callable[..., Client], registry: Server, repository: Repository, index: Layout, tmp_path: Path
) -> None:
    """An index that skopeo deletes cannot be pulled; restored, it comes back whole, by its tags and its digest."""
    skopeo = client("skopeo", "--insecure-policy")
    for tag in ("v1", "latest"):
        skopeo(
            "copy", "--all", "--dest-tls-verify=false", f"oci:{index.path}:it", f"docker://{repository}:{tag}"
        )
    skopeo("delete", "--tls-verify=false", f"docker://{repository}:v1")
    for reference in (":v1", ":latest", f"@{index.digest}"):
        assert "manifest unknown" in skopeo.refused(
            "inspect", "--raw", "--tls-verify=false", f"docker://{repository}{reference}"
        )
    assert repository.tags() == []
    listed = json.loads(trash(registry, "ls", "--json", repository.name).stdout)
    assert [(each["digest"], each["tags"]) for each in listed] == [(index.digest, ["latest", "v1"])]

    restored = trash(registry, "restore", f"{repository.name}:latest")
    assert (restored.returncode, restored.stderr) == (0, "")
    for number, reference in enumerate((":v1", ":latest", f"@{index.digest}")):
        pulled = tmp_path / f"pulled-{number}"
        skopeo(
            "copy",
            "--all",
            "--src-tls-verify=false",
            f"docker://{repository}{reference}",
            f"oci:{pulled}:it",
        )
        assert Layout(pulled).digest == index.digest
        assert Layout(pulled).blobs == index.blobs
    assert repository.tags() == ["latest", "v1"]
    assert repository.is_whole("v1")
    assert json.loads(trash(registry, "ls", "--json", repository.name).stdout) == []


def test_crane(
    client: Callable[..., Client], registry: Server, repository: Repository, image: Layout, index: Layout
) -> None:
    """An image that crane deletes comes back beside what was pushed to one of its tags since, and is valid."""
    crane = client("crane", "--insecure")
    for tag in ("v1", "latest"):
        crane("push", image.path, f"{repository}:{tag}")
    crane("delete", f"{repository}@{image.digest}")
    assert "MANIFEST_UNKNOWN" in crane.refused("manifest", f"{repository}:latest")
    crane("push", index.path, f"{repository}:v1")

    restored = trash(registry, "restore", f"{repository.name}@{image.digest}")
    assert restored.returncode == 1
    assert restored.stderr == (
        f"cargohold: {repository.name}:v1 points to {index.digest} by now: it stays there without --overwrite\n"
    )
    assert crane("digest", f"{repository}:latest") == image.digest
    assert crane("digest", f"{repository}:v1") == index.digest
    assert trash(registry, "restore", f"{repository.name}:v1", "--overwrite").returncode == 0
    for reference in (":v1", ":latest", f"@{image.digest}"):
        crane("validate", "--remote", f"{repository}{reference}")
        assert crane.output("manifest", f"{repository}{reference}") == image.content
