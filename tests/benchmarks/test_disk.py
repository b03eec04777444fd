import os
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks.load.disk import Synced, new_files, replaced_files, write_rate
from benchmarks.outcome import MIB


@pytest.mark.parametrize("measure", [new_files, replaced_files])
def test_each_small_file_is_told_with_its_time(
    tmp_path: Path, measure: Callable[[str, int, float], Synced]
) -> None:
    """By all writers together, in the time that was given or for as many files as there may be; nothing is left."""
    synced = measure(str(tmp_path), 3, 0.2)
    assert len(synced.took) >= 3
    assert synced.rate == pytest.approx(len(synced.took) / synced.seconds)
    assert 0 < min(synced.took) <= max(synced.took) <= synced.seconds
    assert list(tmp_path.iterdir()) == []


def test_what_was_written_is_removed_when_it_has_been_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is told of freed blocks would be measured by that, and not by what it writes."""
    synced: list[int] = []
    sync = os.fsync

    def counting(descriptor: int) -> None:
        (folder,) = tmp_path.iterdir()
        synced.append(len(list(folder.iterdir())))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", counting)
    assert write_rate(str(tmp_path), bytes(MIB), 3) > 0
    assert synced == [1, 2, 3]
    assert list(tmp_path.iterdir()) == []
