from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes, or to think of one, is no rule of ours: a busy machine would make it one.
settings.register_profile("rules", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("rules")

# Before any of the tests that share it is imported: its asserts are to tell what they compared.
pytest.register_assert_rewrite("tests.storage.contract")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Shorten the names of the folders where several processes share the tests: podman takes 50 letters."""
    if hasattr(config, "workerinput"):
        folder = Path(config.option.basetemp)
        config.option.basetemp = str(folder.with_name(folder.name.removeprefix("popen-gw")))
