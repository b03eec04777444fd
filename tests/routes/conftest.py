from __future__ import annotations

import pytest
from hypothesis import settings

from tests.routes.caller import Registry

# How long an example takes is no rule of ours: a busy machine would make it one.
settings.register_profile("rules", deadline=None)
settings.load_profile("rules")


@pytest.fixture
def registry() -> Registry:
    """One with all defaults."""
    return Registry()
