"""What a server does to its disk, as the kernel saw it: strace on the process, read call by call."""

from __future__ import annotations

import re
import signal
import subprocess
from typing import TYPE_CHECKING, NamedTuple

from tests.e2e.clients.absence import require, unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CALLS = (
    "openat,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir,"
    "truncate,ftruncate,write,pwrite64,writev,pwritev,pwritev2,sendto,sendmsg,sendfile,copy_file_range,"
    "fsync,fdatasync,sync,syncfs,sync_file_range,msync,io_submit,io_getevents"
)
_WHOLE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+|\?).*")
_BEGUN = re.compile(r"(\d+) +(\w+)\((.*) <(?:unfinished|detached) \.\.\.>")
_ENDED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)\) += (-?\d+|\?).*")
_ASKED = re.compile(r"aio_data=(\w+), aio_lio_opcode=IOCB_CMD_FSYNC, aio_fildes=(\d+<[^>]*>)")
_DONE = re.compile(r"data=(\w+), obj=\w+, res=0,")
_STOP_SECONDS = 20.0


class Call(NamedTuple):
    """A system call that succeeded; `begin` and `end` are the lines of the trace where it did so."""

    name: str
    arguments: str
    begin: int
    end: int

    @property
    def paths(self) -> list[str]:
        """The paths it names: the strings, or the file that its descriptor is open on."""
        named = re.findall(r'"([^"]*)"', self.arguments)
        opened = re.match(r"\d+<([^>]*)>", self.arguments)
        return [opened[1]] if opened else named

    @property
    def status(self) -> int | None:
        """The status of the response that it begins to send, if it does."""
        found = re.search(r'"HTTP/1\.1 (\d{3}) ', self.arguments)
        return int(found[1]) if found else None


class Tracer:
    """strace, attached to all threads of a process until `calls` takes it off again."""

    def __init__(self, pid: int, output: Path) -> None:
        self._output = output
        filters = ["-f", "-y", "-s", "64", "-e", f"trace={_CALLS}"]
        command = [require("strace"), *filters, "-o", str(output), "-p", str(pid)]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        said = self._process.stderr.readline()
        if "attached" not in said:
            self._end()
            unavailable(f"strace may not attach to a process here: {said.strip()}")

    def calls(self) -> list[Call]:
        """Let go of the process; the calls in the order in which they ended."""
        self._process.send_signal(signal.SIGINT)
        self._end()
        return list(_with_syncs_apart(_calls(self._output.read_text().splitlines())))

    def _end(self) -> None:
        self._process.communicate(timeout=_STOP_SECONDS)


def _with_syncs_apart(calls: Iterator[tuple[str, Call]]) -> Iterator[Call]:
    """Each sync of several that a thread asks the kernel for at once, as one from there to the end of its wait."""
    asked: dict[tuple[str, str], Call] = {}
    for thread, call in calls:
        if call.name == "io_submit":
            for key, opened in _ASKED.findall(call.arguments):
                asked[thread, key] = call._replace(name="fsync", arguments=opened)
        elif call.name == "io_getevents":
            for key in _DONE.findall(call.arguments):
                yield asked.pop((thread, key))._replace(end=call.end)
        else:
            yield call
    assert asked == {}


def _calls(lines: list[str]) -> Iterator[tuple[str, Call]]:
    """Each with the thread that makes it."""
    begun: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(lines):
        if found := _BEGUN.fullmatch(line):
            begun[found[1]] = number, found[3]
        elif found := _ENDED.fullmatch(line):
            begin, arguments = begun.pop(found[1])
            if not found[4].startswith("-"):
                yield found[1], Call(found[2], arguments + found[3], begin, number)
        elif (found := _WHOLE.fullmatch(line)) and not found[4].startswith("-"):
            yield found[1], Call(found[2], found[3], number, number)
        else:
            assert found or "+++" in line or "---" in line, f"a line of strace that is not understood: {line}"


class Unsynced:
    """What a power cut could undo, call after call: bytes that were written, and names that were made or removed.

    Only what is below `root` counts, and of that not what `may_be_lost` finds, nor the names that `name_may_be_lost`
    does. Paths are relative to it.
    """

    def __init__(self, root: str, may_be_lost: re.Pattern[str], name_may_be_lost: re.Pattern[str]) -> None:
        self._root = f"{root}/"
        self._may_be_lost = may_be_lost
        self._name_may_be_lost = name_may_be_lost
        self._written: dict[str, int] = {}
        self._named: dict[str, int] = {}
        self._removed: dict[str, int] = {}
        self._files: set[str] = set()

    def see(self, call: Call) -> None:
        """Take in the next call."""
        paths = [path.removeprefix(self._root) for path in call.paths if path.startswith(self._root)]
        if not paths:
            return
        match call.name:
            case "openat" if "O_CREAT" in call.arguments:
                self._opened(paths[0], call.end)
            case "mkdir":
                self._made(paths[0], call.end)
            case "write" | "ftruncate":
                self._written[paths[0]] = call.end
            case "rename" | "renameat2" | "link" as name:
                see = {"rename": self._renamed, "renameat2": self._exchanged, "link": self._linked}[name]
                see(paths[0], paths[1], call.end)
            case "unlink" | "rmdir":
                self._gone(paths[0], call.end)
            case "fsync":
                self._synced(paths[0], call.begin)
            case "openat" | "sync_file_range":
                pass
            case other:
                raise AssertionError(f"{other} is not thought of here")

    def _opened(self, path: str, when: int) -> None:
        if path not in self._files:
            self._files.add(path)
            self._made(path, when)

    def _linked(self, path: str, name: str, when: int) -> None:
        self._files.add(name)
        self._made(name, when)
        if path in self._written:
            self._written[name] = self._written[path]

    def _exchanged(self, new: str, old: str, when: int) -> None:
        self._renamed(new, old, when)
        self._made(new, when)

    def _made(self, path: str, when: int) -> None:
        self._named[path] = when
        self._removed.pop(path, None)

    def _gone(self, path: str, when: int) -> None:
        self._files.discard(path)
        self._written.pop(path, None)
        if self._named.pop(path, None) is None:
            self._removed[path] = when

    def _renamed(self, old: str, new: str, when: int) -> None:
        def moved(path: str) -> str:
            return new + path[len(old) :] if path == old or path.startswith(f"{old}/") else path

        self._files = set(map(moved, self._files))
        self._written = {moved(path): at for path, at in self._written.items()}
        if old not in self._named:
            self._removed[old] = when
        self._named = {moved(path): at for path, at in self._named.items()}
        self._made(new, when)

    def _synced(self, path: str, begin: int) -> None:
        if self._written.get(path, begin) < begin:
            del self._written[path]
        for changes in (self._named, self._removed):
            for name in [each for each, at in changes.items() if at < begin and _folder(each) == path]:
                del changes[name]

    def faults(self) -> list[str]:
        """What must not be lost and now could be."""
        kept = [path for path in self._files if not self._may_be_lost.search(path)]
        return sorted(
            [f"bytes of {path}" for path in kept if path in self._written]
            + [
                f"name of {path}"
                for path in self._named
                if not self._name_may_be_lost.search(path)
                and any(f"{each}/".startswith(f"{path}/") for each in kept)
            ]
            + [f"removal of {path}" for path in self._removed if not self._may_be_lost.search(path)]
        )


def _folder(path: str) -> str:
    return path.rpartition("/")[0]
