"""What every workload works with: who takes part, how much is done, and where."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.content import manifest
from benchmarks.processes import running

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.content import Blob, Source
    from benchmarks.contestants.contestant import Contestant
    from benchmarks.outcome import Scale
    from benchmarks.processes import Server

_LAYERS = 7
_SMALL_BYTES = 512


@dataclass(frozen=True)
class Bench:
    """One run of the benchmarks; `folder` is on the disk that is measured."""

    contestants: Sequence[Contestant]
    scale: Scale
    folder: str
    source: Source

    @property
    def registries(self) -> list[Contestant]:
        """Those that take uploads."""
        return [contestant for contestant in self.contestants if contestant.takes_uploads]

    @contextmanager
    def all_running(self, contestants: Sequence[Contestant]) -> Iterator[list[Server]]:
        """Servers that run side by side, so that a workload can turn from one to the next within a round."""
        with ExitStack() as stack:
            yield [stack.enter_context(running(contestant, self.folder)) for contestant in contestants]

    def image(self) -> Image:
        """An image of small blobs, new for each call."""
        return Image(*self.source.blobs(_SMALL_BYTES, _LAYERS + 1))


class Image:
    """An image: its blobs, and as many manifests of it as are wanted."""

    def __init__(self, config: Blob, *layers: Blob) -> None:
        self.blobs = [config, *layers]

    def manifest(self, revision: int = 0) -> bytes:
        """The manifest of a revision."""
        return manifest(self.blobs[0], self.blobs[1:], revision)
