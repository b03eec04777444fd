"""What the disk can do by itself: the limits that writes are held against."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor


def write_rate(folder: str, content: bytes, times: int) -> float:
    """Bytes a second when content is written to a new file and synced, over and over."""
    path = os.path.join(folder, "limit")
    started = time.perf_counter()
    for _ in range(times):
        _write_synced(path, content)
        os.unlink(path)
    return times * len(content) / (time.perf_counter() - started)


def sync_times(folder: str, writers: int, seconds: float) -> list[float]:
    """The seconds that each small file took to be written and synced, by so many threads at once."""
    until = time.perf_counter() + seconds

    def work(writer: int) -> list[float]:
        path, took, now = os.path.join(folder, f"limit-{writer}"), [], time.perf_counter()
        while now < until:
            _write_synced(path, b"x" * 512)
            os.unlink(path)
            now, before = time.perf_counter(), now
            took.append(now - before)
        return took

    with ThreadPoolExecutor(writers) as pool:
        return [time_ for times in pool.map(work, range(writers)) for time_ in times]


def _write_synced(path: str, content: bytes) -> None:
    with open(path, "wb", buffering=0) as file:
        view = memoryview(content)
        while view:
            view = view[file.write(view) :]
        os.fsync(file.fileno())
