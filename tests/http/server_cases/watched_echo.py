"""The echo, with a supervisor that takes a worker for hung after about a second instead of a minute."""

from __future__ import annotations

import sys

from cargohold.http import supervisor
from tests.http.server_cases.echo import main

if __name__ == "__main__":
    supervisor.BEAT_SECONDS = 0.2
    sys.exit(main(*sys.argv[1:]))
