"""What becomes of a test whose client is not to be had: skipped on a user's machine, failed in CI."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def unavailable(reason: str) -> NoReturn:
    """Ends the test: skipped with the reason, or failed with it where CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def require(program: str) -> str:
    """Returns the path of a program; ends the test as unavailable where it is not installed."""
    found = shutil.which(program)
    if found is None:
        unavailable(f"{program} is not installed (ci/install-clients installs it on Debian)")
    return found


def require_root() -> None:
    """Ends the test as unavailable unless root runs it: engines mount file systems and make namespaces."""
    if os.geteuid() != 0:
        unavailable("this engine needs root")
