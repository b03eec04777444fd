"""The echo with a chore beside it, that is due at once and does what the file ROOT/chore says.

Each line of ROOT/chores is what it has come to, with its process.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from cargohold.http.chores import Chore
from tests.http.server_cases import echo

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 60.0
PAUSE = 0.05


def main(root: str, arguments: str) -> int:
    def record(word: str) -> None:
        with open(f"{root}/chores", "a") as file:
            file.write(f"{word} {os.getpid()}\n")

    def work(look_at: Callable[[float], None], is_closing: Callable[[], bool]) -> None:
        record("begun")
        look_at(time.time() + PAUSE)
        with open(f"{root}/chore") as file:
            what = file.read()
        if what == "fail":
            raise RuntimeError("it cannot be done")
        end = time.monotonic() + SECONDS
        while what != "again" and time.monotonic() < end and (what == "deaf" or not is_closing()):
            time.sleep(0.01)
        record("ended")

    return echo.main(root, arguments, chore=Chore("sweeper", time.time(), work))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
