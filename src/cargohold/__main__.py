"""The program: what must be done before anything else is imported, and then the command line.

`python -m cargohold` is the command `cargohold`.
"""

from __future__ import annotations

import os
import signal
import sys

_STANDARD_ERROR = 2


def main() -> None:
    """Run the command that is typed; ends the process."""
    _keep_standard_descriptors()
    if sys.argv[1:2] == ["serve"]:
        # Until the server takes signals itself, in some tenths of a second. The first process of a container would
        # not even end by one that nobody takes.
        signal.signal(signal.SIGTERM, _end)
        if sys.stdout is None:
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the end; it is flushed at each fork
    from cargohold.cli.main import main as command  # noqa: PLC0415 - see above

    command(prog_name="cargohold")


def _end(_number: int, _frame: object) -> None:
    """Nothing is served yet, so nothing is to be brought to its end."""
    os._exit(0)


def _keep_standard_descriptors() -> None:
    """Put /dev/null where standard input, output or error is closed: a socket in its place would be taken for it."""
    for descriptor in range(_STANDARD_ERROR + 1):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


if __name__ == "__main__":
    main()
