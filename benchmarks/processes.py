"""Running servers, and what they take: time to the first answer, memory, processor time."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import IO

    from benchmarks.contestants.contestant import Contestant

_START_SECONDS = 20.0
_STOP_SECONDS = 20.0
_CORES = sorted(os.sched_getaffinity(0))
SERVER_CORES = frozenset(_CORES[:2])
# Apart from the server's where there are more than two.
CLIENT_CORES = frozenset(_CORES[2:] or _CORES)
_ENDING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGALRM})
_SMALL_BYTES = 1 << 20
_TICKS = os.sysconf("SC_CLK_TCK")


def started(command: Sequence[str], output: IO[bytes] | int) -> subprocess.Popen[bytes]:
    """A program that runs on SERVER_CORES, as all does that a registry does, its collector included.

    It is in a process group of its own: an interruption at the keyboard reaches the benchmark, which then ends it.
    One that comes while it is being started waits until there is something to end.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environ,
            start_new_session=True,
            preexec_fn=_begin,  # noqa: PLW1509 - no threads run here
        )
    except BaseException:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        raise
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(_STOP_SECONDS)
        raise
    return process


def _begin() -> None:
    os.sched_setaffinity(0, SERVER_CORES)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


class Server:
    """A contestant that runs, on a port of 127.0.0.1, on SERVER_CORES, with all that it keeps in `folder`.

    `first_answer` is the seconds from the start of its program to its first answer of any status.
    """

    def __init__(self, contestant: Contestant, folder: str) -> None:
        self.contestant = contestant
        self.folder = folder
        self.port = _free_port()
        command = contestant.command(folder, self.port)
        with open(f"{folder}/log", "wb") as log:
            began = time.perf_counter()
            self._process = started(command, log)
        try:
            self.first_answer = self._await_answer() - began
        except BaseException:
            self.stop()
            raise

    def _await_answer(self) -> float:
        deadline = time.perf_counter() + _START_SECONDS
        while time.perf_counter() < deadline and self._process.poll() is None:
            if _answers(self.port):
                return time.perf_counter()
            time.sleep(0.001)
        with open(f"{self.folder}/log", encoding="utf-8", errors="replace") as log:
            raise RuntimeError(f"{self.contestant.name} does not answer: {log.read()[-2000:]}")

    def pids(self) -> list[int]:
        """Its processes, those below the first included."""
        found = [self._process.pid]
        for pid in found:
            with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
                found += map(int, file.read().split())
        return found

    def cpu_seconds(self) -> float:
        """The processor time, in user and kernel mode, that its processes have taken so far."""
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                fields = file.read().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / _TICKS

    def stop(self) -> None:
        """End it by SIGTERM; what does not follow, and what it leaves behind, by SIGKILL."""
        try:
            self._process.terminate()
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass  # it is ended below, as it is after an interruption of the wait
        finally:
            with suppress(ProcessLookupError):  # which says that none of the group is left
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(_STOP_SECONDS)


@contextmanager
def running(contestant: Contestant, parent: str) -> Iterator[Server]:
    """A server in a folder of its own below `parent`; what it kept is left there under another name, if it is small.

    To remove many files would slow down whoever makes files next: ext4 without a journal passes over each that was
    removed in the last five minutes.
    """
    folder = os.path.join(parent, contestant.name)
    os.mkdir(folder)
    try:
        server = Server(contestant, folder)
        try:
            yield server
        except Exception as error:
            error.add_note(f"{contestant.name} was running")
            raise
        finally:
            server.stop()
    finally:
        for place, _, names in os.walk(folder):
            for name in names:
                path = os.path.join(place, name)
                if os.lstat(path).st_size > _SMALL_BYTES:
                    os.unlink(path)
        os.rename(folder, tempfile.mkdtemp(prefix="left-", dir=parent))


def pss(pids: list[int]) -> int:
    """The bytes of memory that processes take together: pages that several programs share are divided among them."""
    return sum(_field(f"/proc/{pid}/smaps_rollup", "Pss") for pid in pids)


def footprint(pids: list[int]) -> int:
    """The bytes that processes take together, with nothing off for the pages that other programs share.

    Anonymous memory as in `pss`; of each mapped file, what the process that has most of it has.
    """
    files: dict[str, int] = {}
    for pid in pids:
        for mapping, resident in _mapped_files(pid):
            files[mapping] = max(files.get(mapping, 0), resident)
    return sum(_field(f"/proc/{pid}/smaps_rollup", "Pss_Anon") for pid in pids) + sum(files.values())


def highest_memory(pid: int) -> int:
    """The most bytes that a process has had in memory since its program began, shared pages too; 0 when it has ended.

    It must be a child that nobody has waited for.
    """
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return next((int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM:")), 0)


def _mapped_files(pid: int) -> Iterator[tuple[str, int]]:
    """Each mapping of a file, and its bytes that are in memory and not yet the process's own copy."""
    mapping, resident = "", 0
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as file:
        for line in file:
            words = line.split()
            if not words[0].endswith(":"):
                mapping = f"{words[5]}@{words[2]}" if len(words) > 5 and words[5].startswith("/") else ""
            elif words[0] == "Rss:":
                resident = int(words[1]) << 10
            elif words[0] == "Anonymous:" and mapping:
                yield mapping, resident - (int(words[1]) << 10)


def _field(path: str, name: str) -> int:
    with open(path, encoding="utf-8") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(f"{name}:"))


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_START_SECONDS) as connection:
            connection.sendall(b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.1 ")
    except ConnectionError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
