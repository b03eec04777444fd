"""The store on a local disk: Distribution's tree, used by any number of processes at once."""

from __future__ import annotations

import os
from contextlib import suppress

from cargohold.storage.change import Change
from cargohold.storage.filesystem.deletion import FileDeletion
from cargohold.storage.filesystem.expiry import FileExpiry
from cargohold.storage.filesystem.inventory import FileInventory
from cargohold.storage.filesystem.listing import FileLists
from cargohold.storage.filesystem.pulls import FilePulls
from cargohold.storage.filesystem.pushes import FilePushes
from cargohold.storage.filesystem.referrers import FileReferrers
from cargohold.storage.filesystem.steps import telling
from cargohold.storage.filesystem.tree import UNWRITABLE, told
from cargohold.storage.filesystem.trial import FileTrial
from cargohold.storage.filesystem.uploads import FileUploads
from cargohold.storage.locks import open_lock
from cargohold.storage.protocols import Conflict


class FilesystemStore(
    FilePushes,
    FileUploads,
    FileExpiry,
    FileLists,
    FileReferrers,
    FileDeletion,
    FilePulls,
    FileTrial,
    FileInventory,
):
    """See `storage.protocols.Store`. The tree is drawn in `storage.layout`."""

    def prepare(self, *, read_only: bool = False) -> None:
        """Make what every other call takes for granted; to be called once, before the first of them.

        Where nothing will be stored (`read_only`), it need not be possible, but the folder must be there. Raises
        Conflict where the tree cannot be served as it is, and Unavailable where the system is in the way.
        """
        self.check()
        with told():
            if read_only:
                os.listdir(self.layout.root)
            try:
                self._make()
            except OSError as error:
                if not read_only or error.errno not in UNWRITABLE:
                    raise

    def check(self) -> None:
        """Raise Conflict where the tree cannot be served as it is. Nothing is made."""
        root = self.layout.root
        try:
            is_utf8 = os.fsencode(root) == root.encode()
        except UnicodeEncodeError:
            is_utf8 = False
        if not is_utf8:
            raise Conflict(
                "the path must be UTF-8, in a locale that is so too: the server could not open its files"
            )
        if os.path.exists(f"{root}/docker/registry/lockfiles/database-in-use"):
            raise Conflict(
                "this tree is used by a GitLab registry with a metadata database (lockfiles/database-in-use): its"
                " tags and links are in that database and not in the tree, so it cannot be served from here",
            )

    def _make(self) -> None:
        layout = self.layout
        for folder in (layout.blobs, layout.repositories, layout.catalog, layout.locks, layout.new):
            self.disk.make_folders(folder)
        # Whoever copies the tree holds it, and may not make it: it would be of another user.
        os.close(open_lock(layout.collector_lock))
        self.locks.prepare()
        with telling(layout, self.terms.step) as step, Change(self.disk, layout.new) as change:
            # A file is written so that whoever starts the server is told here if that cannot be done.
            change.file(layout.prepared, step)
            change.rely_on(f"{layout.blobs}/")
            change.rely_on(f"{layout.repositories}/")
            change.stage()
            change.place()
            change.settle()
        with suppress(PermissionError):
            # The root may be new itself; the folder above it is perhaps not ours to open.
            self.disk.sync_folder(os.path.dirname(layout.root))
