# ruff: noqa: A005 - it mirrors cargohold.http
