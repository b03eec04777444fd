"""The log of a process: what it and its libraries tell goes to standard error, line after line in one order."""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from typing import TYPE_CHECKING, Final

from cargohold.observe.lines import Human, Json, RecordLine, line_of, line_of_request, timestamp
from cargohold.observe.writer import Writer

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from types import TracebackType

    from cargohold.observe.lines import Style, Told

    # The id of the request that is answered where it is called, and that of its trace; empty where there is none.
    Ids = Callable[[], tuple[str, str]]

_OURS: Final = "cargohold"
_ERROR: Final = logging.getLevelName(logging.ERROR)


class Log:
    """Writes lines in one style; see `observe.writer` for when they go out.

    `ids` is asked at each line that is not a request's own.
    """

    def __init__(self, style: Style, ids: Ids, descriptor: int) -> None:
        self._style = style
        self._ids = ids
        self._writer: Writer[Told] = Writer(descriptor, self._notice, style.told)

    @property
    def dropped(self) -> int:
        """How many lines of this process were lost, since they were not read."""
        return self._writer.dropped

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Gather lines from now on; in the process that serves, in the thread of its loop."""
        self._writer.start(loop)

    def stop(self) -> None:
        """Write what is gathered, and then each line at once."""
        self._writer.stop()

    def flush(self) -> None:
        """Write what is gathered; waits for a reader, but not for long."""
        self._writer.flush()

    def request(self, told: Told) -> None:
        """Tell of a request; in the thread of the loop."""
        self._writer.gather(told, at_once=told[0].line.level == _ERROR)

    def record(self, record: logging.LogRecord) -> None:
        """Tell what a logger was told."""
        line = self._style.record(line_of(record, *self._ids()))
        self._writer.add(line, at_once=record.levelno >= logging.ERROR)

    def _notice(self, lines: int) -> bytes:
        message = f"{lines} lines of the log were dropped: nobody read them from standard error"
        return self._style.record(RecordLine(timestamp(time.time()), "WARNING", __name__, message))


class _Handler(logging.Handler):
    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._log.record(record)
        except Exception:  # noqa: BLE001 - as the standard library has it: whoever logs is not to fail
            self.handleError(record)

    def flush(self) -> None:
        self._log.flush()


def set_up(level: str, style: str, ids: Ids) -> Log:
    """Make the log of this process, and of those that are forked from it, the only one there is.

    `level` and `style` are as the settings write them. What libraries tell below WARNING is left out at any level: it
    is not known to keep secrets. Warnings of the interpreter and exceptions that nobody caught come to the log too.
    """
    log = _log(style, ids)
    root, least = logging.getLogger(), logging.getLevelNamesMapping()[level.upper()]
    root.handlers[:] = [_Handler(log)]
    root.setLevel(max(least, logging.WARNING))
    logging.getLogger(_OURS).setLevel(least)
    warnings.showwarning = _show_warning
    sys.excepthook = _tell_uncaught
    return log


def set_up_as_guest(level: str, style: str, ids: Ids) -> Log | None:
    """The same for what the package alone tells, unless the application around it has a log: None then."""
    ours = logging.getLogger(_OURS)
    if ours.hasHandlers():
        return None
    log = _log(style, ids)
    ours.handlers[:] = [_Handler(log)]
    ours.setLevel(level.upper())
    ours.propagate = False
    return log


def hand_on(told: Told) -> None:
    """Tell of a request to the log of the application around the package, with the fields as the record's own."""
    line = line_of_request(told)
    level = logging.getLevelNamesMapping()[line.level]
    fields = {name: getattr(line, name) for name in line.__struct_fields__ if name != "message"}
    logging.getLogger(line.logger).log(level, "%s", line.message, extra=fields)


def tell(logger: logging.Logger, message: str) -> None:
    """Tell at any level what whoever started the program waits for."""
    logger.handle(logger.makeRecord(logger.name, logging.INFO, "", 0, message, (), None))


def _log(style: str, ids: Ids) -> Log:
    if sys.stderr is None:
        # Closed by whoever started the program: the next file that it opens would get the log in its stead.
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - until the end of the process
    for_people = style == "human" or (style == "auto" and sys.stderr.isatty())
    colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Log(Human(colour=colour) if for_people else Json(), ids, sys.stderr.fileno())


def _show_warning(  # noqa: PLR0913, PLR0917 - the interpreter calls it so
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,  # noqa: ARG001
    line: str | None = None,  # noqa: ARG001
) -> None:
    logging.getLogger("py.warnings").warning("%s: %s (%s:%d)", category.__name__, message, filename, lineno)


def _tell_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        logging.getLogger(_OURS).critical(
            "an error that nobody caught ends this", exc_info=(kind, error, trace)
        )
