"""A server of ours in the place of Docker's registry, for pages that begin with an image from there.

A test cannot rely on the world outside. So the clients are told of the other server in their own configuration, as is
done for a mirror: registries.conf for podman and skopeo, `--registry-mirror` for docker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2

from tests.e2e.clients.images import make_image
from tests.e2e.clients.repository import Repository

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.clients.images import Layout


def stock(url: str, folder: Path) -> Layout:
    """Pushes an image to a registry as Docker's busybox; makes it in `folder`, and returns it."""
    image = make_image(folder, [{"bin/busybox": b"the program"}])
    with httpx2.Client(base_url=url) as session:
        Repository(session, "library/busybox").push(image, "latest")
    return image


def mirrored(home: Path, host: str) -> dict[str, str]:
    """The environment in which podman and skopeo keep to a folder, and find Docker's registry at `host`.

    The folder's name must be short, for podman.
    """
    configuration = home / ".config/containers"
    configuration.mkdir(parents=True)
    registries = f'[[registry]]\nprefix = "docker.io"\nlocation = "{host}"\ninsecure = true\n'
    (configuration / "registries.conf").write_text(registries)
    storage = f'[storage]\ndriver = "vfs"\ngraphroot = "{home}/root"\nrunroot = "{home}/run"\n'
    (home / "storage.conf").write_text(storage)
    return {"HOME": str(home), "CONTAINERS_STORAGE_CONF": f"{home}/storage.conf"}
