"""The settings: what they are, how each is written, and where they come from.

Command line over environment over file over defaults. Only `app` and `cli` read them; everything else takes
plain arguments.
"""

from __future__ import annotations

from cargohold.config.load import SettingsError, load
from cargohold.config.settings import Settings

__all__ = ["Settings", "SettingsError", "load"]
