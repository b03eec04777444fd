"""Images out of the registry and into it, on its own storage and by its settings."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cargohold.app import terms_of
from cargohold.app.routes import manifests_of
from cargohold.registry.blobs import Blobs
from cargohold.registry.moving.exporting import Export
from cargohold.registry.moving.importing import Import
from cargohold.registry.uploads import Uploads
from cargohold.storage.archive.docker import open_images
from cargohold.storage.archive.reading import DirectoryArchive, TarArchive
from cargohold.storage.archive.scratch import open_spool
from cargohold.storage.durable import write_all
from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.filesystem.revisions import pullable_repositories, revisions
from cargohold.storage.filesystem.tree import told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cargohold.config import Settings
    from cargohold.storage.archive.images import Images
    from cargohold.storage.archive.writing import Target

_PIECE = 1 << 20


@contextmanager
def exporting(
    settings: Settings, target: Target, *, plain: bool, on_step: Callable[[int], None]
) -> Iterator[Export]:
    """An export of the registry. Raises StoreError where its storage cannot be read."""
    with _store(settings) as store:
        yield Export(
            store,
            lambda: pullable_repositories(store),
            lambda name: revisions(store.layout, name),
            target,
            plain=plain,
            allow_sparse=settings.manifests.allow_sparse,
            on_step=on_step,
        )


@contextmanager
def importing(settings: Settings, images: Images, *, on_step: Callable[[int], None]) -> Iterator[Import]:
    """An import into the registry. Raises StoreError where its storage cannot be used."""
    with _store(settings) as store:
        yield Import(
            store,
            Uploads(store),
            Blobs(store),
            manifests_of(settings, store),
            images,
            most=settings.manifests.max_bytes,
            allow_sparse=settings.manifests.allow_sparse,
            on_step=on_step,
        )


@contextmanager
def images_in(place: str, descriptor: int, folder: str) -> Iterator[Images]:
    """The images of a directory or a tar; `descriptor` is an open one of what is at the place.

    What comes from a pipe is kept in a file without a name, on the disk of `folder`, since in many archives that comes
    last which tells what all of it is. Raises ArchiveInvalid, OSError, and StoreError where there is no room for that.
    """
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISDIR(mode):
        yield open_images(DirectoryArchive(place))
    elif stat.S_ISREG(mode):
        yield open_images(TarArchive(descriptor))
    else:
        with open_spool(folder) as spool:
            while piece := os.read(descriptor, _PIECE):
                with told():
                    write_all(spool, piece)
            yield open_images(TarArchive(spool))


@contextmanager
def _store(settings: Settings) -> Iterator[FilesystemStore]:
    store = FilesystemStore(settings.storage.path, terms_of(settings))
    try:
        store.check()
        yield store
    finally:
        store.close()
