"""`python -m benchmarks.install`: build the other registries, and install what of Debian the benchmarks use.

What cannot be had is named and left out: the benchmarks run with what there is.
"""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.contestants.contestant import BUILT, places
from benchmarks.programs import run

if TYPE_CHECKING:
    from collections.abc import Iterator

_LIMIT_SECONDS = 1800
_POLICY = "/usr/sbin/policy-rc.d"


class Build(NamedTuple):
    """A Go program: the module path of its command, its version, and what its own makers build it with."""

    path: str
    version: str
    environment: dict[str, str]
    flags: tuple[str, ...] = ()

    def command(self) -> list[str]:
        """What builds it; the folder is said in the environment."""
        return ["go", "install", "-trimpath", *self.flags, f"{self.path}@{self.version}"]


_ZOT = "zotregistry.dev/zot/v2"
_ZOT_VERSION = "v2.1.20"
_ZOT_ENVIRONMENT = {"CGO_ENABLED": "0", "GOEXPERIMENT": "jsonv2"}
_ZOT_FLAGS = ("-ldflags", f"-s -w -X {_ZOT}/pkg/buildinfo.Commit={_ZOT_VERSION}")

BUILDS = {
    "registry": Build("github.com/distribution/distribution/v3/cmd/registry", "v3.1.2", {"CGO_ENABLED": "0"}),
    "zot": Build(f"{_ZOT}/cmd/zot", _ZOT_VERSION, _ZOT_ENVIRONMENT, _ZOT_FLAGS),
    "zb": Build(f"{_ZOT}/cmd/zb", _ZOT_VERSION, _ZOT_ENVIRONMENT, _ZOT_FLAGS),
}
# Which package has which program.
PACKAGES = {"nginx": "nginx-light", "wrk": "wrk", "skopeo": "skopeo", "ctr": "containerd"}


def main() -> int:
    """Gives the exit code: 0, whatever could be had."""
    for name, how in BUILDS.items():
        build(name, how)
    _install([package for name, package in PACKAGES.items() if shutil.which(name, path=places()) is None])
    return 0


def build(name: str, how: Build) -> None:
    """Build it unless this version of it was built before; say why where that fails."""
    stamp, command = os.path.join(BUILT, f".{name}"), how.command()
    if os.path.exists(stamp) and os.path.exists(os.path.join(BUILT, name)):
        with open(stamp, encoding="utf-8") as file:
            if file.read() == " ".join(command):
                return
    if shutil.which("go") is None:
        print(f"{name}: not built: that takes Go", flush=True)
        return
    print(f"{name}: building {how.path}@{how.version}", flush=True)
    os.makedirs(BUILT, exist_ok=True)
    try:
        run(command, {**how.environment, "GOBIN": BUILT}, _LIMIT_SECONDS)
    except RuntimeError as failure:
        print(f"{name}: not built: {failure}", flush=True)
        return
    with open(stamp, "w", encoding="utf-8") as file:
        file.write(" ".join(command))


def _install(packages: list[str]) -> None:
    """Install Debian's packages, which takes root; otherwise say which."""
    if not packages:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if os.geteuid() or shutil.which("apt-get") is None:
        print(f"missing, and left out: {', '.join(packages)}; on Debian, as root: {' '.join(command)}")
        return
    print(f"installing {', '.join(packages)}", flush=True)
    try:
        with _no_services():
            run(command, {"DEBIAN_FRONTEND": "noninteractive"}, _LIMIT_SECONDS)
    except RuntimeError as failure:
        print(f"not installed: {failure}", flush=True)


@contextmanager
def _no_services() -> Iterator[None]:
    """Within it, Debian's packages start none of the services that they bring, such as nginx's on every address."""
    if os.path.exists(_POLICY):
        yield
        return
    with open(_POLICY, "x", encoding="ascii") as file:
        file.write("#!/bin/sh\nexit 101\n")
    os.chmod(_POLICY, 0o755)
    try:
        yield
    finally:
        os.unlink(_POLICY)


if __name__ == "__main__":
    sys.exit(main())
