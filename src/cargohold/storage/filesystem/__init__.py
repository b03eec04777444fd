"""The store on a local disk: Distribution's tree, used by any number of processes at once."""

from __future__ import annotations

import os

from cargohold.storage.filesystem.listing import FileLists
from cargohold.storage.filesystem.referrers import FileReferrers
from cargohold.storage.filesystem.tree import told
from cargohold.storage.filesystem.uploads import FileUploads
from cargohold.storage.protocols import Conflict


class FilesystemStore(FileUploads, FileLists, FileReferrers):
    """See `storage.protocols.Store`. The tree is drawn in `storage.layout`."""

    def prepare(self) -> None:
        """Make what every other call takes for granted; to be called once, before the first of them.

        Raises Conflict where the tree belongs to a server that keeps its metadata elsewhere, and Unavailable where
        the root cannot be written to.
        """
        with told():
            if os.path.exists(f"{self.layout.root}/docker/registry/lockfiles/database-in-use"):
                raise Conflict(
                    "this tree is used by a GitLab registry with a metadata database (lockfiles/database-in-use): its"
                    " tags and links are in that database and not in the tree, so it cannot be served from here",
                )
            for folder in (
                self.layout.blobs,
                self.layout.repositories,
                self.layout.catalog,
                self.layout.locks,
            ):
                self.disk.make_folders(folder)
            self.disk.make_folders(self.layout.new)
            for folder in (self.layout.blobs, self.layout.repositories, self.layout.new):
                new = self.disk.unsettled(folder)
                self.disk.each(self.disk.sync_folder, {os.path.dirname(path): None for path, _ in new})
