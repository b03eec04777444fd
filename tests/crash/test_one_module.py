"""Whatever changes the tree does so in one module, where it can be made to fail."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from multiprocessing import get_context
from typing import TYPE_CHECKING

from cargohold.storage import disk
from tests.crash.operations import OPERATIONS, prepare, run

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue
    from pathlib import Path

CHANGES = {
    "os.rename",
    "os.mkdir",
    "os.remove",
    "os.rmdir",
    "os.utime",
    "os.truncate",
    "os.link",
    "os.symlink",
    "os.chmod",
    "os.chown",
}
"""The interpreter's own events, raised before it calls the system."""
APART = re.compile(r"/cargohold(/locks.*|/totals)?$")
"""What the module says that it does not make, with the folder that it is in."""
TESTS = os.path.dirname(os.path.dirname(__file__))
TIMEOUT = 60.0


def run_watched(root: Path, found: SimpleQueue[tuple[int, set[str]]]) -> None:
    """Run every operation; tells how many changes were seen, and which were made elsewhere."""
    seen: list[str] = []
    elsewhere: set[str] = set()

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        opens = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (opens or event in CHANGES) and (path := str(arguments[0])).startswith(str(root)):
            caller = sys._getframe(1).f_code
            is_ours = not caller.co_filename.startswith(TESTS)
            seen.append(path)
            if is_ours and caller.co_filename != disk.__file__ and not APART.search(path):
                elsewhere.add(f"{event} {path} by {caller.co_filename}, {caller.co_name}")

    sys.addaudithook(watch)
    asyncio.run(prepare(str(root)))
    for name in OPERATIONS:
        asyncio.run(run(str(root), name))
    found.put((len(seen), elsewhere))


def test_every_change_is_made_in_one_module(tmp_path: Path) -> None:
    """Files are made, opened to be written, renamed and removed by `storage.disk`, apart from those that it names."""
    context = get_context("spawn")
    found: SimpleQueue[tuple[int, set[str]]] = context.SimpleQueue()
    process = context.Process(target=run_watched, args=(tmp_path, found))
    process.start()
    process.join(TIMEOUT)
    assert process.exitcode == 0
    count, elsewhere = found.get()
    assert elsewhere == set()
    assert count > 10 * len(OPERATIONS)
