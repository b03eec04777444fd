"""The echo, with workers that retire after a second instead of most of a minute."""

from __future__ import annotations

import sys

from cargohold.http import worker
from tests.http.server_cases.echo import main

if __name__ == "__main__":
    worker.RETIREMENT_SECONDS = 1.0
    sys.exit(main(*sys.argv[1:]))
