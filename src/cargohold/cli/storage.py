"""The storage of a registry, for commands that are typed where it is."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cargohold.cli.ownership import acting_for_owner
from cargohold.cli.refusal import Refused
from cargohold.storage.layout import Layout
from cargohold.storage.protocols import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cargohold.config import Settings


@contextmanager
def registry_storage(settings: Settings) -> Iterator[Layout]:
    """The paths of a storage that a registry has been started on; what is done there is done as its owner.

    Raises Refused where there is none, so that a slip of the hand makes nothing, and where the storage, or the system,
    is in the way of what is done.
    """
    layout = Layout(os.path.abspath(settings.storage.path))
    if not os.path.isdir(layout.own):
        raise Refused(
            f"no registry has its data in {layout.root}: name the directory with --storage-path, or start the server"
            " there once"
        )
    try:
        with acting_for_owner(layout.own):
            yield layout
    except StoreError as error:
        raise Refused(str(error)) from None
    except OSError as error:
        raise Refused(f"{layout.own}: {error.strerror}") from None
