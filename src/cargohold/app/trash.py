"""The trash of a registry, on its own storage and by its settings."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from cargohold.app import terms_of
from cargohold.app.keeping import immutable_tags
from cargohold.registry.trash import Trash
from cargohold.storage.filesystem import FilesystemStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cargohold.config import Settings


@contextmanager
def trash_of(settings: Settings) -> Iterator[Trash]:
    """What was deleted in the registry. Raises StoreError where its storage cannot be used."""
    store = FilesystemStore(settings.storage.path, terms_of(settings))
    try:
        store.check()
        yield Trash(
            store,
            keep=settings.trash.keep,
            allow_sparse=settings.manifests.allow_sparse,
            immutable=immutable_tags(settings),
        )
    finally:
        store.close()
