from __future__ import annotations

from hypothesis import settings

# How long an example takes is no rule of ours: a busy machine would make it one.
settings.register_profile("rules", deadline=None)
settings.load_profile("rules")
