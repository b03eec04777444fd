from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from cargohold.http.patterns import PATTERNS, pattern
from cargohold.http.router import route
from cargohold.types import operations as ops

if TYPE_CHECKING:
    from collections.abc import Iterator

DIGEST = f"sha256:{'0' * 64}"
WORDS = {"{name}": "some/where", "{reference}": "v1", "{digest}": DIGEST, "{upload}": str(uuid.UUID(int=1))}
ASKED: dict[type[ops.Operation], tuple[str, str]] = {
    ops.CheckSupport: ("GET", ""),
    ops.ListRepositories: ("GET", ""),
    ops.ListTags: ("GET", ""),
    ops.ListReferrers: ("GET", ""),
    ops.PullManifest: ("GET", ""),
    ops.PushManifest: ("PUT", ""),
    ops.DeleteManifest: ("DELETE", ""),
    ops.PullBlob: ("GET", ""),
    ops.DeleteBlob: ("DELETE", ""),
    ops.StartUpload: ("POST", ""),
    ops.MountBlob: ("POST", f"mount={DIGEST}"),
    ops.CheckUpload: ("GET", ""),
    ops.AppendUpload: ("PATCH", ""),
    ops.FinishUpload: ("PUT", f"digest={DIGEST}"),
    ops.CancelUpload: ("DELETE", ""),
    ops.RequestToken: ("GET", ""),
    ops.PublishKeys: ("GET", ""),
    ops.CheckHealth: ("GET", ""),
    ops.CheckReady: ("GET", ""),
    ops.ReadMetrics: ("GET", ""),
}


def kinds(of: type[ops.Operation] = ops.Operation) -> Iterator[type[ops.Operation]]:
    below = of.__subclasses__()
    if not below:
        yield of
    for each in below:
        yield from kinds(each)


def test_every_operation_has_a_pattern() -> None:
    """No kind of operation lacks one, and nothing else has one."""
    assert set(PATTERNS) == {kind for kind in kinds() if kind.__module__ == ops.__name__}


@pytest.mark.parametrize("kind", PATTERNS, ids=lambda kind: kind.__name__)
def test_pattern_is_the_address(kind: type[ops.Operation]) -> None:
    """With names in the place of its placeholders, a pattern is an address that the router takes for the operation."""
    method, query = ASKED[kind]
    path = PATTERNS[kind]
    for placeholder, word in WORDS.items():
        path = path.replace(placeholder, word)
    operation = route(method, path, query)
    assert type(operation) is kind
    assert pattern(operation) == PATTERNS[kind]


def test_no_operation_has_no_pattern() -> None:
    """What the router did not know has an empty pattern, whatever its path: names do not come in by that door."""
    assert pattern(None) == ""
