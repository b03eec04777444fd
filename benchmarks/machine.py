"""What the figures were measured on, and with which versions: without it they say nothing."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from benchmarks.contestants.contestant import version_of
from benchmarks.load.requests import WRK

if TYPE_CHECKING:
    from collections.abc import Iterator


def describe(folder: str) -> dict[str, str]:
    """The machine, as lines of a table; `folder` is on the disk that is measured."""
    load, _, _ = os.getloadavg()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "processor": f"{_processor()}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / (1 << 30):.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "file system": _file_system(folder),
        "Python": f"{platform.python_version()} ({platform.python_build()[1]}, {platform.python_compiler()})",
        "load before the run": f"{load:.2f}",
        "clients": ", ".join(_clients()),
    }


def _clients() -> Iterator[str]:
    """Those that are installed, with their versions; and our own, which stands in for wrk."""
    for name, word in (("wrk", "-v"), ("skopeo", "--version"), ("ctr", "--version")):
        found = WRK if name == "wrk" else shutil.which(name)
        if found:
            yield f"{name} {version_of(found, word)}"
    yield "our own"


def _commit() -> str:
    """The commit of the working tree, marked where the tree has changes."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    ran = subprocess.run(
        [git, "describe", "--always", "--dirty"],
        cwd=os.path.dirname(__file__),
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.stdout.strip() or "unknown"


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _file_system(folder: str) -> str:
    """The type of the file system that holds a folder."""
    folder, best, kind = os.path.realpath(folder), "", "unknown"
    with open("/proc/self/mounts", encoding="utf-8") as file:
        for line in file:
            _, mount, type_, *_ = line.split()
            if len(mount) >= len(best) and f"{folder}/".startswith(f"{mount.rstrip('/')}/"):
                best, kind = mount, type_
    return kind
