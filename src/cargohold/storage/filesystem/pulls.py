"""When manifests were last pulled: an empty file for each, whose time it is; and since when such times are kept."""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from cargohold.storage import disk
from cargohold.storage.change import Change
from cargohold.storage.durable import make_folders
from cargohold.storage.filesystem.tree import Tree, exists, folder_names, read_file, told
from cargohold.storage.keeping import Recording
from cargohold.storage.layout import flat, unflat
from cargohold.types.errors import DigestInvalid

if TYPE_CHECKING:
    from collections.abc import Collection

    from cargohold.types.digest import Digest
    from cargohold.types.names import RepositoryName

_BEGUN: Final = "since"
"""The name of the file beside them whose time is since when the record of a repository is there."""

_log = logging.getLogger(__name__)


class FilePulls(Tree):
    """The part of the store that is a `keeping.PullStore`."""

    async def note_pull(self, repository: RepositoryName, digest: Digest) -> None:
        await self.in_metadata(self._note_pull, repository, digest)

    def _note_pull(self, repository: RepositoryName, digest: Digest) -> None:
        self._touch(self._pulled(repository, digest))

    def _touch(self, path: str) -> None:
        try:
            self.disk.renew(path)
        except FileNotFoundError:
            make_folders(os.path.dirname(path))
            # Another process may have made it just now.
            os.close(disk.open_file(path, is_new=False))

    def _pulled(self, repository: RepositoryName, digest: Digest) -> str:
        return f"{self.layout.pulled(repository)}/{flat(digest)}"

    def pulled_at(self, repository: RepositoryName, digest: Digest) -> float | None:
        """When a pull of the manifest was last noted, in seconds since the epoch."""
        try:
            return os.stat(self._pulled(repository, digest)).st_mtime
        except (FileNotFoundError, NotADirectoryError):
            return None

    async def go_on_recording(self, patterns: Collection[str]) -> None:
        await self.in_metadata(self.record_pulls, patterns)

    def record_pulls(self, patterns: Collection[str]) -> None:
        """As `go_on_recording`, in this thread. Raises StoreError."""
        with told():
            self._record_pulls(patterns)

    def _record_pulls(self, patterns: Collection[str]) -> None:
        found = self._recording()
        if not patterns and not found.since:
            return
        going_on = found.continued(patterns, time.time())
        if (going_on.since, going_on.gaps) == (found.since, found.gaps):
            # It is only the time of the file that says when it was last looked at.
            self.disk.renew(self.layout.pulls)
            return
        with Change(self.disk, self.layout.new) as change:
            change.file(self.layout.pulls, msgspec.json.encode(going_on))
            change.stage()
            change.place()
            change.settle()

    def recording(self, repository: RepositoryName | None = None) -> Recording:
        """See `keeping.Keeper`."""
        with told():
            found = self._recording()
            if repository is None:
                return found
            try:
                begun = os.stat(self._begun(repository)).st_mtime
            except (FileNotFoundError, NotADirectoryError):
                return Recording()
            started = {pattern: max(since, begun) for pattern, since in found.since.items()}
            return msgspec.structs.replace(found, since=started)

    def begin_record(self, repository: RepositoryName) -> None:
        """See `keeping.Keeper`."""
        with told():
            if not exists(self._begun(repository)):
                self._touch(self._begun(repository))

    def _begun(self, repository: RepositoryName) -> str:
        return f"{self.layout.pulled(repository)}/{_BEGUN}"

    def _recording(self) -> Recording:
        """Where it is lost or spoiled, the record begins anew: then everything counts as pulled."""
        path = self.layout.pulls
        try:
            found = msgspec.json.decode(read_file(path), type=Recording)
            return msgspec.structs.replace(found, seen=os.stat(path).st_mtime)
        except FileNotFoundError:
            return Recording()
        except (msgspec.DecodeError, UnicodeError) as error:
            _log.warning("%s cannot be used, and is begun anew: %s", path, error)
            return Recording()

    def forget_pulls(self, repository: RepositoryName) -> None:
        """See `keeping.Keeper`."""
        with told():
            for name in folder_names(self.layout.pulled(repository)):
                with suppress(DigestInvalid, FileNotFoundError):
                    if not exists(f"{self.layout.revision(repository, unflat(name))}/link"):
                        disk.remove_file(f"{self.layout.pulled(repository)}/{name}")
