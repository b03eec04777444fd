from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from cargohold.observe.writer import BACKLOG_BYTES, DELAY_SECONDS, PIECE_BYTES, TOGETHER, Writer
from tests.e2e.clients.absence import require_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOBODY = 65534
LINE = b"x" * 99 + b"\n"
FORK = """
import os
from cargohold.observe.writer import Writer

def drained():
    found = b""
    while True:
        try:
            found += os.read(reader, 1 << 20)
        except BlockingIOError:
            return found

reader, end = os.pipe()
os.set_blocking(reader, False)
writer = Writer(end, lambda count: b"", bytes)
for _ in range(20):
    writer.add(b"of the parent".ljust(4095) + b"\\n")
if os.fork():
    os.wait()
else:
    drained()
    writer.add(b"of the child\\n")
    print(drained().decode(), end="", flush=True)
    os._exit(0)
"""


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The end to read, which does not block, and the end to write."""
    reader, end = os.pipe()
    os.set_blocking(reader, False)
    yield reader, end
    for each in (reader, end):
        with suppress(OSError):  # where the test has closed it
            os.close(each)


def notice(count: int) -> bytes:
    return b"dropped %d\n" % count


def number_line(number: int) -> bytes:
    return b"%d\n" % number


def read(reader: int) -> bytes:
    """What is there now."""
    found = b""
    with suppress(BlockingIOError):
        while piece := os.read(reader, 1 << 20):
            found += piece
    return found


def gathering(writer: Writer[int], act: Callable[[], None]) -> None:
    """Do something while the writer gathers lines."""

    async def run() -> None:
        writer.start(asyncio.get_running_loop())
        act()
        writer.stop()

    asyncio.run(run())


def test_lines_go_out_at_once_at_first(pipe: tuple[int, int]) -> None:
    """Before it is started, and after it was stopped, a writer keeps nothing back."""
    writer = Writer(pipe[1], notice, number_line)
    writer.add(b"first\n")
    assert read(pipe[0]) == b"first\n"
    gathering(writer, lambda: None)
    writer.add(b"last\n")
    assert read(pipe[0]) == b"last\n"


def test_gathered_lines_go_out_at_the_stop(pipe: tuple[int, int]) -> None:
    """In between they wait for more to come, and none is lost or moved."""
    writer = Writer(pipe[1], notice, number_line)

    def act() -> None:
        for number in range(1000):
            writer.add(b"%d\n" % number)
            if number == 10:
                assert read(pipe[0]) == b""

    gathering(writer, act)
    assert read(pipe[0]).split() == [b"%d" % number for number in range(1000)]


def test_gathered_lines_go_out_soon(pipe: tuple[int, int]) -> None:
    """No further line is needed for that, nor the thread of the loop for the line."""
    writer = Writer(pipe[1], notice, number_line)

    async def run() -> bytes:
        writer.start(asyncio.get_running_loop())
        await asyncio.to_thread(writer.add, b"lone\n")
        found = b""
        async with asyncio.timeout(20):
            while not found:
                await asyncio.sleep(0.01)
                found = read(pipe[0])
        return found

    assert asyncio.run(run()) == b"lone\n"


def test_lines_are_made_when_they_are_written(pipe: tuple[int, int]) -> None:
    """Those that are still to be made keep their place among the others, at the stop too."""
    writer = Writer(pipe[1], notice, number_line)

    def act() -> None:
        for number in range(0, 1000, 2):
            writer.gather(number)
            if number % 100 == 0:
                writer.add(b"%d\n" % (number + 1))
            else:
                writer.gather(number + 1)

    gathering(writer, act)
    assert read(pipe[0]).split() == [b"%d" % number for number in range(1000)]


def test_few_lines_wait_to_be_made(pipe: tuple[int, int]) -> None:
    """However many come within one turn of the loop, what waits to be made is little."""
    made: list[int] = []

    def make(number: int) -> bytes:
        made.append(number)
        return b"%d\n" % number

    writer = Writer(pipe[1], notice, make)

    def act() -> None:
        for number in range(10 * TOGETHER):
            writer.gather(number)
            assert number - len(made) < TOGETHER

    gathering(writer, act)
    assert made == list(range(10 * TOGETHER))


def test_lines_to_be_made_go_out_soon(pipe: tuple[int, int]) -> None:
    """No further line is needed for that, neither for the first of several nor for those after it."""
    writer = Writer(pipe[1], notice, number_line)

    async def run() -> bytes:
        writer.start(asyncio.get_running_loop())
        for number in range(3):
            writer.gather(number)
        found = b""
        async with asyncio.timeout(20):
            while len(found) < len(b"0\n1\n2\n"):
                await asyncio.sleep(DELAY_SECONDS / 5)
                found += read(pipe[0])
        return found

    assert asyncio.run(run()) == b"0\n1\n2\n"


def test_urgent_lines_are_made_at_once(pipe: tuple[int, int]) -> None:
    """With those before them; and where nothing is gathered, every line is."""
    writer = Writer(pipe[1], notice, number_line)
    writer.gather(1)
    assert read(pipe[0]) == b"1\n"

    def act() -> None:
        writer.gather(2)
        writer.gather(3)
        assert read(pipe[0]) == b""
        writer.gather(4, at_once=True)
        assert read(pipe[0]) == b"2\n3\n4\n"

    gathering(writer, act)
    writer.gather(5)
    assert read(pipe[0]) == b"5\n"


def test_the_loop_ended_without_a_stop(pipe: tuple[int, int]) -> None:
    """What is told after an error has ended the loop goes out at once, with what was gathered before."""
    writer = Writer(pipe[1], notice, number_line)

    async def run() -> None:
        writer.start(asyncio.get_running_loop())
        writer.add(b"before\n")

    asyncio.run(run())
    writer.add(b"after\n", at_once=True)
    writer.add(b"later\n")
    assert read(pipe[0]) == b"before\nafter\nlater\n"


def test_urgent_lines_go_out_at_once(pipe: tuple[int, int]) -> None:
    """And those that came before them go before them."""
    writer = Writer(pipe[1], notice, number_line)

    def act() -> None:
        writer.add(b"patient\n")
        writer.add(b"urgent\n", at_once=True)
        assert read(pipe[0]) == b"patient\nurgent\n"

    gathering(writer, act)


def test_pieces_are_whole_lines() -> None:
    """Nothing is written that a pipe might take in two parts, nor that ends in the middle of a line."""
    reader, end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    reader.settimeout(20)
    lines = [b"%04d" % number + b"x" * (number * 37 % 900) + b"\n" for number in range(200)]
    pieces: list[bytes] = []

    def read_all() -> None:
        while piece := reader.recv(1 << 20):
            pieces.append(piece)

    def act() -> None:
        for line in lines:
            writer.add(line)

    thread = threading.Thread(target=read_all)
    thread.start()
    with reader:
        with end:
            writer = Writer(end.fileno(), notice, number_line)
            gathering(writer, act)
            end.shutdown(socket.SHUT_WR)
        thread.join(20)
    assert b"".join(pieces) == b"".join(lines)
    assert all(len(piece) <= PIECE_BYTES and piece.endswith(b"\n") for piece in pieces)
    assert len(pieces) < len(lines) / 4


@pytest.mark.parametrize("by_its_owner", [True, False], ids=["own pipe", "pipe of another user"])
def test_nobody_reads(pipe: tuple[int, int], *, by_its_owner: bool) -> None:
    """What is not read is kept up to a limit and never waited for; what is beyond it is counted, and told later."""
    if by_its_owner:
        writer = Writer(pipe[1], notice, number_line)
    else:
        require_root()
        os.seteuid(NOBODY)
        try:
            writer = Writer(pipe[1], notice, number_line)
        finally:
            os.seteuid(0)
    count = 2 * BACKLOG_BYTES // len(LINE)

    def act() -> None:
        for _ in range(count):
            writer.add(LINE)
        lost = writer.dropped
        found = b""
        while piece := read(pipe[0]):
            found += piece
            writer.flush(0)
        assert found == LINE * (count - lost) + notice(lost)
        assert BACKLOG_BYTES <= len(found) <= 1.5 * BACKLOG_BYTES
        writer.add(b"again\n", at_once=True)
        assert read(pipe[0]) == b"again\n"
        assert writer.dropped == lost

    gathering(writer, act)


def test_lines_of_others_pass_on(pipe: tuple[int, int]) -> None:
    """That the writer does not wait is no business of those who share the descriptor: theirs still blocks."""
    writer = Writer(pipe[1], notice, number_line)
    assert os.get_blocking(pipe[1])
    writer.add(b"x\n")
    assert os.get_blocking(pipe[1])


def test_the_reader_has_gone(pipe: tuple[int, int]) -> None:
    """Then lines are counted as lost, and nobody is told by an exception."""
    writer = Writer(pipe[1], notice, number_line)
    os.close(pipe[0])
    writer.add(b"one\n")
    writer.add(b"two\n")
    assert writer.dropped == 2


def test_the_disk_is_full() -> None:
    """So it is where a file takes no more."""
    with open("/dev/full", "wb") as full:
        writer = Writer(full.fileno(), notice, number_line)
        gathering(writer, lambda: writer.add(b"one\n"))
        assert writer.dropped == 1


def test_a_forked_process_has_its_own_lines() -> None:
    """What its parent could not write yet is for the parent to write."""
    done = subprocess.run(
        [sys.executable, "-c", FORK], capture_output=True, text=True, timeout=30, check=True
    )
    assert (done.stdout, done.stderr) == ("of the child\n", "")


def test_many_threads(pipe: tuple[int, int]) -> None:
    """Lines of threads come whole, each thread's in its order."""
    writer = Writer(pipe[1], notice, number_line)

    def tell(who: int) -> None:
        for number in range(200):
            writer.add(b"%d %d\n" % (who, number))

    def act() -> None:
        threads = [threading.Thread(target=tell, args=[who]) for who in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)

    gathering(writer, act)
    told = [tuple(map(int, line.split())) for line in read(pipe[0]).splitlines()]
    assert sorted(told) == [(who, number) for who in range(4) for number in range(200)]
    assert [each for each in told if each[0] == 1] == [(1, number) for number in range(200)]
