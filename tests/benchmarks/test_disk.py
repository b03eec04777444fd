import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks.load.disk import Synced, keep_apart, new_files, replaced_files, write_rate
from benchmarks.outcome import MIB


@pytest.mark.parametrize("measure", [new_files, replaced_files])
def test_each_small_file_is_told_with_its_time(
    tmp_path: Path, measure: Callable[[str, int, float], Synced]
) -> None:
    """By all writers together, in the time that was given or for as many files as there may be."""
    synced = measure(str(tmp_path), 3, 0.2)
    assert len(synced.took) >= 3
    assert synced.rate == pytest.approx(len(synced.took) / synced.seconds)
    assert 0 < min(synced.took) <= max(synced.took) <= synced.seconds


def test_small_files_are_left(tmp_path: Path) -> None:
    """To the end of the run: so many that were removed would make the next ones dearer, whose ever they are."""
    synced = new_files(str(tmp_path), 2, 0.1)
    assert sum(path.is_file() for path in tmp_path.rglob("*")) == len(synced.took)


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


def test_folders_are_kept_apart(tmp_path: Path) -> None:
    """As `chattr +T` says it to ext4; what another file system makes of that is its own affair."""
    folder = tmp_path / "folder"
    folder.mkdir()
    before = listed(folder)
    keep_apart(str(folder))
    if before is not None:
        assert "T" not in before
        assert "T" in (listed(folder) or "")
    (folder / "inside").mkdir()
    if Path("/proc/self").exists():
        keep_apart("/proc/self")


def listed(folder: Path) -> str | None:
    """The flags of a folder on ext4; None where it is on another file system, or the program is not installed."""
    kind = subprocess.run(
        ["stat", "-f", "-c", "%T", folder], check=True, capture_output=True, text=True
    ).stdout
    if not kind.startswith("ext2/ext3") or shutil.which("lsattr") is None:
        return None
    flags = subprocess.run(["lsattr", "-d", folder], check=True, capture_output=True, text=True).stdout
    return flags.split()[0]
