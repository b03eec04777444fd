"""`python -m cargohold` is the command `cargohold`."""

from __future__ import annotations

from cargohold.cli.main import main

main(prog_name="cargohold")
