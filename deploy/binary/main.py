"""Where the one file begins."""

from cargohold.cli.main import main

main(prog_name="cargohold")
