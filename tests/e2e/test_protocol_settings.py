"""Settings that change what the registry answers, in the real server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cargohold.types.oci import OCI_MANIFEST
from tests.http.wire import Wire
from tests.registry.documents import descriptor, index, sha256

if TYPE_CHECKING:
    from tests.e2e.conftest import Start

CONTENT = index([])
SPARSE = index([descriptor(b"absent", OCI_MANIFEST)])


@pytest.mark.parametrize(
    ("setting", "request_line", "without", "with_it"),
    [
        ("manifests.allow_tag_deletion=true", "DELETE /v2/app/manifests/v1", 400, 202),
        ("manifests.allow_sparse=true", "PUT /v2/app/manifests/v2", 404, 201),
        ("manifests.max_bytes=100", "PUT /v2/app/manifests/v2", 404, 413),
        ("read_only=true", "POST /v2/app/blobs/uploads/", 202, 405),
        ("deletion=false", f"DELETE /v2/app/manifests/{sha256(CONTENT)}", 202, 405),
        ("prefix=/deep", "GET /v2/", 200, 404),
    ],
)
def test_a_setting_changes_the_answer(
    start: Start, setting: str, request_line: str, without: int, with_it: int
) -> None:
    """What a setting changes, it changes in the server that is started with it, and in no other on the same tree."""
    name, _, value = setting.partition("=")
    method, _, target = request_line.partition(" ")
    first = start({"workers": 1})
    with Wire(first.url) as wire:
        assert wire.ask("PUT", "/v2/app/manifests/v1", body=CONTENT).status == 201
    assert first.stop() == 0
    for settings, status in (({name: value}, with_it), ({}, without)):
        server = start({"workers": 1, **settings}, storage=first.storage)
        with Wire(f"http://{server.host}") as wire:
            assert wire.ask(method, target, body=SPARSE if method == "PUT" else b"").status == status
            assert wire.ask("GET", f"{settings.get('prefix', '')}/v2/").status == 200
        assert server.stop() == 0
