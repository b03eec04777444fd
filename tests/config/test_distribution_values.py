"""Configurations of the CNCF Distribution registry that hold something else than they should."""

from __future__ import annotations

import pytest

from cargohold.config.distribution import NoConfiguration, import_distribution
from cargohold.config.distribution_tables import LEFT_OUT, NEEDLESS
from cargohold.config.document_yaml import read_yaml
from cargohold.config.writing import write_yaml
from tests.config.test_distribution import COMPANY, IMAGE, PROXY


def places_in(text: str) -> set[str]:
    """The dotted paths of all that a configuration has, those in lists apart."""
    return {".".join(map(str, keys)) for keys in read_yaml(text).marks if int not in map(type, keys)}


PLACES = {*LEFT_OUT, *NEEDLESS} | places_in(IMAGE) | places_in(COMPANY) | places_in(PROXY)


@pytest.mark.parametrize(
    "value", ["3", "[x]", "{a: 1}", "text", "true", "[[1], {a: b}]", "1.5", "2024-01-01"]
)
def test_other_values(value: str) -> None:
    """Whatever stands at a parameter, or at what it is in, is carried over, told of or refused."""
    assert {"http", "http.tls", "http.tls.clientcas", "auth.token", "log.level", "tags"} <= PLACES
    for path in sorted(PLACES - {"version"}):
        tree = value
        for name in reversed(path.split(".")):
            tree = f"{{{name}: {tree}}}"
        try:
            found = import_distribution(read_yaml(f"version: 0.1\n{tree[1:-1]}\n"))
        except NoConfiguration:
            assert path in {"storage", "auth"}
            continue
        write_yaml(found.entries)
        if path in {"http", "log", "http.tls", "catalog", "tags"} and value != "{a: 1}":
            assert (path, "must be a mapping") in [(each.path, each.text) for each in found.remarks]
