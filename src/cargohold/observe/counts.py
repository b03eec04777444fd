"""Counts of requests that all processes of a server share: memory made before the fork, an area of it for each worker.

A worker writes to its own area alone, so an increment needs no lock; whoever reads adds up all areas. The successor of
a worker that ended counts on in the same area: sums never fall, and nothing is left to be merged.
"""

from __future__ import annotations

import logging
import mmap
import os
import time
from bisect import bisect_left
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OTHER: Final = "other"
"""What a method is called that no route knows, and an address that is none of the registry's."""

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", OTHER)
STATUSES: Final = (
    *(200, 201, 202, 204, 206, 304),
    *(400, 401, 403, 404, 405, 406, 408, 413, 414, 416, 429, 431),
    *(500, 503, 507),
)
"""All that the registry answers with; any other would be counted as `OTHER`."""

BOUNDS: Final = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
)
"""Upper bounds of the classes of durations, in seconds; what takes longer than the last has a class of its own."""

_BOUNDS: Final = [round(bound * 1e9) for bound in BOUNDS]
_FIRST: Final = _BOUNDS[0]
"""What most requests take no longer than, in nanoseconds."""
_WORD: Final = 8
_UPLOADED, _DOWNLOADED, _DROPPED, _OWN = range(4)
_LABELS: Final = (*map(str, STATUSES), OTHER)
_COLUMNS: Final = {status: column for column, status in enumerate(STATUSES)}
_DURATIONS: Final = len(_LABELS)
_NANOSECONDS: Final = _DURATIONS + len(BOUNDS) + 1
_ROW: Final = _NANOSECONDS + 1

_log = logging.getLogger(__name__)


class Row(NamedTuple):
    """What was counted of requests with one method and one route."""

    method: str
    route: str
    statuses: dict[str, int]
    durations: list[int]
    """How many fell into the class of each bound, not into those below it; the last is that of longer ones."""
    seconds: float


class Area:
    """Where one process counts; a few tenths of a microsecond each time."""

    def __init__(self, cells: memoryview[int], rows: dict[tuple[str, str], int]) -> None:
        self._cells = cells
        self._rows = rows
        self._dropped = cells[_DROPPED]

    def request(self, method: str, route: str, status: int, nanoseconds: int) -> None:
        """One that was answered, after so many nanoseconds.

        An empty route is `OTHER`; so is a method that is none of `METHODS`.
        """
        row = self._rows.get((method, route))
        if row is None:
            row = self._rows[method if method in METHODS else OTHER, route or OTHER]
        cells = self._cells
        cells[row + _COLUMNS.get(status, _DURATIONS - 1)] += 1
        duration = 0 if nanoseconds <= _FIRST else bisect_left(_BOUNDS, nanoseconds)
        cells[row + _DURATIONS + duration] += 1
        cells[row + _NANOSECONDS] += nanoseconds

    def uploaded(self, size: int) -> None:
        """Bytes of blobs that came."""
        self._cells[_UPLOADED] += size

    def downloaded(self, size: int) -> None:
        """Bytes of blobs that were promised."""
        self._cells[_DOWNLOADED] += size

    def dropped(self, lines: int) -> None:
        """How many lines of its log this process has dropped so far, beside what those before it have."""
        self._cells[_DROPPED] = self._dropped + lines


class Counts:
    """The counts of a server, all zero when it is made: before the fork.

    There are as many areas as `places`. Attributes: `started`, when it was made, in seconds since the epoch; `pid`, of
    the process that made it.
    """

    def __init__(self, routes: Sequence[str], places: int) -> None:
        self.started = time.time()
        self.pid = os.getpid()
        self._rows = {}
        for number, route in enumerate((*dict.fromkeys(routes), OTHER)):
            for index, method in enumerate(METHODS):
                self._rows[method, route] = _OWN + (number * len(METHODS) + index) * _ROW
        self._width = _OWN + len(self._rows) * _ROW
        self._places = places
        # The numbers of the processes come first, and apart: pages of areas that nobody used are never touched.
        memory = mmap.mmap(-1, (places + places * self._width) * _WORD)
        self._cells = memoryview(memory).cast("Q")

    def area(self, place: int) -> Area:
        """For the process at this place, which calls it after the fork; no two at once may have the same.

        One whose place is beyond all that there are counts for itself: nobody sees it.
        """
        if place >= self._places:
            _log.warning("worker %d is one too many: its requests are missing from the metrics", os.getpid())
            return Area(memoryview(bytearray(self._width * _WORD)).cast("Q"), self._rows)
        self._cells[place] = os.getpid()
        return Area(self._cell_range(place), self._rows)

    def pids(self) -> set[int]:
        """The processes that have an area, and those that had one last where they have no successor yet."""
        return {pid for pid in self._cells[: self._places] if pid}

    def rows(self) -> Iterator[Row]:
        """What was counted, over all areas, of each method and route that was asked at all."""
        areas = list(self._used())
        for (method, route), row in self._rows.items():
            cells = [sum(column) for column in zip(*(area[row : row + _ROW] for area in areas), strict=True)]
            if any(cells[:_DURATIONS]):
                statuses = {label: count for label, count in zip(_LABELS, cells, strict=False) if count}
                yield Row(method, route, statuses, cells[_DURATIONS:_NANOSECONDS], cells[_NANOSECONDS] / 1e9)

    def bytes_uploaded(self) -> int:
        """Bytes of blobs that came."""
        return sum(area[_UPLOADED] for area in self._used())

    def bytes_downloaded(self) -> int:
        """Bytes of blobs that were promised."""
        return sum(area[_DOWNLOADED] for area in self._used())

    def lines_dropped(self) -> int:
        """Lines of the log that were lost, those of processes that have ended included."""
        return sum(area[_DROPPED] for area in self._used())

    def _used(self) -> Iterator[memoryview[int]]:
        return (self._cell_range(place) for place in range(self._places) if self._cells[place])

    def _cell_range(self, place: int) -> memoryview[int]:
        begin = self._places + place * self._width
        return self._cells[begin : begin + self._width]
