"""The page for users says what is so: its endpoints exist, its table of errors is the table of errors."""

from __future__ import annotations

import re
from pathlib import Path

from cargohold.http.router import route
from cargohold.types import operations
from cargohold.types.errors import RegistryError
from tests.registry.documents import ABSENT

PAGE = (Path(__file__).parents[2] / "docs/api.md").read_text()
PLACES = {
    "<location>": "/v2/library/app/blobs/uploads/0a1b2c3d-0000-4000-8000-0123456789ab",
    "<name>": "library/app",
    "<other>": "library/other",
    "<reference>": "latest",
    "<tag>": "latest",
    "<digest>": ABSENT,
}


def rows(title: str) -> list[list[str]]:
    """The cells of the one table under a title."""
    section = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    (text,) = (part for part in section if part.startswith(f"{title}\n"))
    table = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[2:]]


def kinds(root: type[RegistryError]) -> set[type[RegistryError]]:
    return {root}.union(*(kinds(each) for each in root.__subclasses__()))


def test_every_endpoint_of_the_page_is_one() -> None:
    """Each request that the page names is an operation, and every operation is on the page."""
    found = set()
    for request, *_ in rows("Endpoints"):
        *methods, last = re.findall(r"`([^`]+)`", request)
        method, address = last.split(" ")
        for place, value in PLACES.items():
            address = address.replace(place, value)
        path, _, query = address.partition("?")
        found |= {type(route(each, path, query)) for each in (*methods, method)}
    public = {
        kind
        for name, kind in vars(operations).items()
        if isinstance(kind, type) and issubclass(kind, operations.Operation) and not name.startswith("_")
    }
    assert found == public - {operations.Operation, operations.RepositoryOperation}


def test_every_error_of_the_page_is_one() -> None:
    """The page has each code with each of its statuses, and none that is never sent."""
    found, code = set(), ""
    for cells in rows("Errors"):
        code = cells[0].strip("`| ") or code
        found.add((code, int(cells[1])))
    assert found == {(kind.code, kind.status) for kind in kinds(RegistryError)}
