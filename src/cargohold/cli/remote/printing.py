"""What the commands print that ask a registry."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cargohold.cli.printing import in_json, print_line
from cargohold.cli.progress import progress
from cargohold.cli.refusal import Refused
from cargohold.types.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

CODES = (
    "0 where it is done, 1 where the registry refuses it or cannot be reached, 2 where the command is misused"
)


def print_names(pages: Iterable[Sequence[str]], what: str, *, as_json: bool, quiet: bool) -> None:
    """Print names as they come, one a line, or as one list in JSON; no more than two pages are held in memory."""
    # Where the names themselves can be watched, a bar would be in their way.
    watched = sys.stdout is not None and sys.stdout.isatty()
    with progress(what, quiet=quiet or watched) as advance:

        def counted() -> Iterator[Sequence[str]]:
            for page in pages:
                advance(len(page))
                if page:
                    yield page

        for text in _json(counted()) if as_json else ("\n".join(map(printable, page)) for page in counted()):
            print_line(text)


def _json(pages: Iterable[Sequence[str]]) -> Iterator[str]:
    """Each page waits for the next, which says whether a comma follows.

    Where a page is refused the list stays open, as whoever reads only this must not take it for whole; where that is
    the first, nothing comes.
    """
    waiting = ""
    try:
        for page in pages:
            yield f"{waiting}," if waiting else "["
            waiting = ",\n".join(map(in_json, page))
    except Refused:
        if waiting:
            yield waiting
        raise
    yield f"{waiting}\n]" if waiting else "[\n]"


_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def written_size(size: float) -> str:
    """A number of bytes for people."""
    for unit in _UNITS[:-1]:
        if abs(size) < 1024:  # noqa: PLR2004 - the step between the units
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} {_UNITS[-1]}"
