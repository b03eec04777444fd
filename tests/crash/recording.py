"""A log of all that is done to a tree, in its order, and of what its clients asked for and were told meanwhile."""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = 0
"""The node of the folder that everything else is in."""


class Place(NamedTuple):
    """A name in a folder."""

    folder: int
    name: str


class Moved(NamedTuple):
    """A file or a folder is at another place than before. It was nowhere before it was made, and is after its end."""

    node: int
    source: Place | None
    target: Place | None


class Linked(NamedTuple):
    """A file has a second name, which is told as a `node` of its own, of the same bytes: nobody changes them then."""

    node: int
    file: int


class Exchanged(NamedTuple):
    """Two are each at the other's place."""

    first: Moved
    second: Moved


class Written(NamedTuple):
    """Bytes were put into a file."""

    node: int
    offset: int
    content: bytes


class Resized(NamedTuple):
    """A file was given another size."""

    node: int
    size: int


class Synced(NamedTuple):
    """A file or a folder was synced; where that failed, the system has forgotten what it could not write."""

    node: int
    failed: bool = False


class Asked(NamedTuple):
    """A client asks for these changes."""

    changes: Mapping[Any, Any]


class Told(NamedTuple):
    """A client was told that they are made."""

    changes: Mapping[Any, Any]


class Began(NamedTuple):
    """From here on it is worth while to cut the power."""


Event = Began | Exchanged | Linked | Moved | Written | Resized | Synced | Asked | Told


class Recorder:
    """Makes the calls below a root one after the other, and writes them down.

    `omits(name, path)` says which of them are left out, as a mistake of ours would. Of the syncs of files,
    `fails(number)` says which fail.
    """

    def __init__(
        self,
        root: str,
        omits: Callable[[str, str], bool] = lambda _name, _path: False,
        fails: Callable[[int], bool] = lambda _number: False,
    ) -> None:
        self.events: list[Event] = []
        self.folders = {ROOT}
        self._root = root
        self._omits = omits
        self._fails = fails
        self._lock = threading.Lock()
        self._names: dict[int, dict[str, int]] = {ROOT: {}}
        self._opened: dict[int, tuple[int, str, os.stat_result]] = {}
        self._nodes = self._syncs = 0

    def note(self, event: Asked | Told | Began) -> None:
        """Write down what happens outside."""
        with self._lock:
            self.events.append(event)

    def around(self, name: str, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        """Make a call and write it down."""
        with self._lock:
            path = self._path(arguments[0])
            if path is None:
                return call(*arguments, **named)
            if self._omits(name, path):
                return None
            return getattr(self, f"_{name}")(call, *arguments, **named)

    def _path(self, subject: str | int) -> str | None:
        """What a call is about; None where that is a file that was opened elsewhere: a table in shared memory."""
        if isinstance(subject, str):
            return subject
        if subject not in self._opened:
            return None
        _, path, status = self._opened[subject]
        return path if os.path.samestat(os.fstat(subject), status) else None

    def _open_file(self, call: Callable[..., int], path: str, **named: bool) -> int:
        descriptor = call(path, **named)
        place = self._place(path)
        node = self._names[place.folder].get(place.name)
        if node is None:
            node = self._make(place)
        self._opened[descriptor] = node, path, os.fstat(descriptor)
        return descriptor

    def _make_folder(self, call: Callable[[str], None], path: str) -> None:
        call(path)
        node = self._make(self._place(path))
        self.folders.add(node)
        self._names[node] = {}

    def _make(self, place: Place) -> int:
        self._nodes += 1
        self._names[place.folder][place.name] = self._nodes
        self.events.append(Moved(self._nodes, None, place))
        return self._nodes

    def _rename(self, call: Callable[[str, str], None], old: str, new: str) -> None:
        call(old, new)
        source, target = self._place(old), self._place(new)
        node = self._names[source.folder].pop(source.name)
        self._names[target.folder][target.name] = node
        self.events.append(Moved(node, source, target))

    def _link(self, call: Callable[[str, str], None], path: str, name: str) -> None:
        call(path, name)
        place = self._place(path)
        file = self._names[place.folder][place.name]
        self.events.append(Linked(self._nodes + 1, file))
        self._make(self._place(name))

    def _exchange(self, call: Callable[[str, str], None], one: str, other: str) -> None:
        call(one, other)
        first, second = self._place(one), self._place(other)
        node, replaced = (self._names[place.folder].pop(place.name) for place in (first, second))
        self._names[first.folder][first.name] = replaced
        self._names[second.folder][second.name] = node
        self.events.append(Exchanged(Moved(node, first, second), Moved(replaced, second, first)))

    def _remove_file(self, call: Callable[[str], None], path: str) -> None:
        call(path)
        place = self._place(path)
        self.events.append(Moved(self._names[place.folder].pop(place.name), place, None))

    _remove_folder = _remove_file

    def _write(self, call: Callable[[int, bytes], int], descriptor: int, content: bytes) -> int:
        offset = os.lseek(descriptor, 0, os.SEEK_CUR)
        count = call(descriptor, content)
        self.events.append(Written(self._opened[descriptor][0], offset, bytes(content[:count])))
        return count

    def _truncate(self, call: Callable[[int, int], None], descriptor: int, size: int) -> None:
        call(descriptor, size)
        self.events.append(Resized(self._opened[descriptor][0], size))

    def _sync_file(self, call: Callable[[int], None], descriptor: int) -> None:
        self._syncs += 1
        node = self._opened[descriptor][0]
        if self._fails(self._syncs):
            self.events.append(Synced(node, failed=True))
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        call(descriptor)
        self.events.append(Synced(node))

    def _sync_folder(self, call: Callable[[str], None], path: str) -> None:
        call(path)
        if path.startswith(self._root):
            self.events.append(Synced(self._folder(path)))

    def _set_time(self, call: Callable[..., None], *arguments: Any) -> None:
        call(*arguments)

    def _place(self, path: str) -> Place:
        folder, name = os.path.split(path)
        return Place(self._folder(folder), name)

    def _folder(self, path: str) -> int:
        node = ROOT
        for name in path.removeprefix(self._root).split("/"):
            node = self._names[node][name] if name else node
        return node
