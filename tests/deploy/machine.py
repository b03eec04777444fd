"""A machine of the test's own: systemd as the first process of new namespaces, and a shell on it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final, Self

from tests.e2e.clients.absence import require, require_root, unavailable
from tests.http.serving import PROJECT, until

_BOOT: Final = Path(__file__).with_name("boot.sh")
_INIT: Final = "/lib/systemd/systemd"
_SECONDS: Final = 60
ENVIRONMENT: Final = {
    "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/root",
}
"""Of those who type on the machine."""
_NEW: Final = ("--cgroup", "--pid", "--mount", "--mount-proc", "--ipc", "--uts")


class Machine:
    """A machine that has booted.

    The network is the host's; `/etc`, `/opt`, `/srv`, `/usr/local/bin` and `/var/lib` are its own. Nothing that is done
    on it is left on the host. cargohold is installed as /usr/local/bin/cargohold. To be used as a context manager,
    which turns it off.
    """

    def __init__(self, folder: Path) -> None:
        require_root()
        for program in ("unshare", "nsenter", "systemctl"):
            require(program)
        if not os.access(_INIT, os.X_OK):
            unavailable("systemd is not installed (ci/install-clients installs it on Debian)")
        for name in ("opt", "etc", "bin", "lib", "srv", "dev", "cgroup"):
            (folder / name).mkdir()
        libraries = [str(PROJECT / "src"), sysconfig.get_path("purelib")]
        command = folder / "bin/cargohold"
        command.write_text(
            "#!/bin/sh\nexport PYTHONPATH=/opt/modules/0:/opt/modules/1 LD_LIBRARY_PATH=/opt/python/lib\n"
            f'exec /opt/python/bin/{Path(sys.executable).resolve().name} -m cargohold "$@"\n'
        )
        command.chmod(0o755)
        self.folder = folder
        self._cgroups = folder / "cgroup"
        mounting = ["mount", "-t", "cgroup2", "cgroup2", str(self._cgroups)]
        mounted = subprocess.run(mounting, capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            unavailable(f"cgroups cannot be mounted here: {mounted.stderr.strip()}")
        self._cgroup = self._cgroups / f"machine-{os.getpid()}-{id(self)}"
        self._cgroup.mkdir()
        boot = ["bash", str(_BOOT), str(folder), sys.base_prefix, *libraries]
        unshare = ["unshare", *_NEW, "--fork", "--kill-child", *boot]
        self._console = folder / "console"
        with self._console.open("wb") as console:
            self._host = subprocess.Popen(
                ["sh", "-c", 'echo $$ >"$0" && exec "$@"', str(self._cgroup / "cgroup.procs"), *unshare],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )

    def __enter__(self) -> Self:
        try:
            until(self._has_booted, _SECONDS)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._host.kill()
        self._host.wait(_SECONDS)
        until(lambda: "populated 0" in (self._cgroup / "cgroup.events").read_text(), _SECONDS)
        for folder, _names, _files in os.walk(self._cgroup, topdown=False):
            os.rmdir(folder)
        subprocess.run(["umount", self._cgroups], check=True)

    def _has_booted(self) -> bool:
        if self._host.poll() is not None:
            raise AssertionError(f"the machine has not booted: {self._console.read_text()}")
        # /run/targets is the last that is made before systemd: whoever comes earlier would ask the host's.
        asking = "test -d /run/targets && systemctl is-active multi-user.target"
        return bool(self._init()) and self.run(asking, check=False) == "active\n"

    def _init(self) -> str:
        host = self._host.pid
        return Path(f"/proc/{host}/task/{host}/children").read_text().strip()

    @property
    def way_in(self) -> list[str]:
        """The words before those of a command, to have it run on the machine, in the folder of the project."""
        namespaces = ("--mount", "--pid", "--cgroup", "--uts", "--ipc")
        return ["nsenter", f"--target={self._init()}", *namespaces, f"--wd={PROJECT}"]

    def run(self, text: str, *, check: bool = True) -> str:
        """Gives lines to a shell on the machine; what they print. Where `check`, AssertionError if they fail."""
        ended = subprocess.run(
            [*self.way_in, "sh", "-eu", "-c", text],
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert ended.returncode == 0 or not check, f"{text}\n{ended.stdout}{ended.stderr}"
        return ended.stdout

    def property(self, name: str) -> str:
        """A property of the unit cargohold, as systemd has it."""
        return self.run(f"systemctl show --property={name} --value cargohold").strip()
