"""Where the one file begins."""

from cargohold.__main__ import main

main()
