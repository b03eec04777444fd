# ruff: noqa: A005 - the tests of cargohold.types, not a module that anyone imports
