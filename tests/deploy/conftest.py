from __future__ import annotations

from tests.e2e.conftest import registry, start

__all__ = ["registry", "start"]
