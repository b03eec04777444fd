"""No command waits for a pipe, or for the end of what has none, that stands where a file is named."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.cli.test_command import SCRIPT, run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("device", [None, "/dev/zero"])
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("serve", "--config"), 2),
        (("check-config",), 1),
        (("config", "show", "--config"), 2),
        (("config", "import"), 1),
    ],
)
def test_files_of_settings(words: tuple[str, ...], code: int, device: str | None, tmp_path: Path) -> None:
    """A pipe, or a device, is no file of settings: each command says so at once."""
    file = tmp_path / "registry.yaml"
    if device is None:
        os.mkfifo(file)
    else:
        file.symlink_to(device)
    ran = run(SCRIPT, *words, str(file))
    assert (ran.returncode, ran.stdout) == (code, "")
    assert ran.stderr.removeprefix("cargohold: ") == f"{file}: cannot be read: it is no regular file\n"


@pytest.mark.parametrize(
    ("setting", "others"),
    [
        ("auth.bearer.key", ("auth.bearer.issuer=a", "auth.bearer.service=b")),
        ("auth.bearer.jwks", ("auth.bearer.issuer=a", "auth.bearer.service=b")),
        ("tls.certificate", ("tls.key=/dev/null",)),
    ],
)
def test_files_that_settings_name(setting: str, others: tuple[str, ...], tmp_path: Path) -> None:
    """The server does not start with a pipe in the place of a key, and says why."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    words = [word for each in (f"{setting}={pipe}", *others) for word in ("--set", each)]
    ran = run(SCRIPT, "serve", "--port", "0", "--storage-path", str(tmp_path / "data"), *words)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert f"{pipe}: it is no regular file" in ran.stderr
