"""What is counted of each request, read as Prometheus reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cargohold.http.counting import ROUTES
from cargohold.observe.counts import METHODS, OTHER, STATUSES
from tests.observe.reading import Scrape, scraped
from tests.registry.documents import ABSENT, image, sha256
from tests.routes.caller import Pieces, Registry
from tests.routes.test_metrics import guarded

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST, BLOB = "/v2/{name}/manifests/{reference}", "/v2/{name}/blobs/{digest}"
UPLOADS, UPLOAD = "/v2/{name}/blobs/uploads/", "/v2/{name}/blobs/uploads/{upload}"


def read(registry: Registry) -> Scrape:
    reply = registry.ask("GET", "/metrics")
    assert reply.status == 200
    return scraped(reply.body)


@pytest.mark.parametrize(
    ("method", "target", "label", "route", "status"),
    [
        ("GET", "/v2/", "GET", "/v2/", 200),
        ("HEAD", "/v2/", "HEAD", "/v2/", 200),
        ("GET", "/v2/_catalog", "GET", "/v2/_catalog", 200),
        ("GET", "/v2/a/tags/list", "GET", "/v2/{name}/tags/list", 404),
        ("GET", f"/v2/a/b/c/manifests/{ABSENT}", "GET", MANIFEST, 404),
        ("PUT", "/v2/a/manifests/x", "PUT", MANIFEST, 400),
        ("DELETE", f"/v2/a/blobs/{ABSENT}", "DELETE", BLOB, 404),
        ("POST", "/v2/a/blobs/uploads/", "POST", UPLOADS, 202),
        ("POST", f"/v2/a/blobs/uploads/?mount={ABSENT}&from=b", "POST", UPLOADS, 202),
        ("PATCH", "/v2/a/blobs/uploads/0a1b2c3d-0000-4000-8000-0123456789ab", "PATCH", UPLOAD, 404),
        ("GET", "/health", "GET", "/health", 200),
        ("GET", "/nothing/of/ours", "GET", OTHER, 404),
        ("GET", "/v2/UPPER/manifests/x", "GET", OTHER, 400),
        ("DELETE", "/v2/", "DELETE", OTHER, 405),
        ("BREW", "/v2/", OTHER, OTHER, 405),
        ("get", "/v2/", OTHER, OTHER, 405),
    ],
)
def test_each_request_is_counted_once(method: str, target: str, label: str, route: str, status: int) -> None:
    """By its method, by the pattern of its address and never by a name, and by the status of its answer."""
    registry = Registry()
    labels = {"method": label, "route": route}
    for times in (1, 2):
        assert registry.ask(method, target).status == status
        found = read(registry)
        assert found["registry_http_requests_total", {**labels, "status": str(status)}] == times
        assert found["registry_http_request_duration_seconds_count", labels] == times
        assert found["registry_http_request_duration_seconds_sum", labels] > 0
    assert found.total("registry_http_requests_total") == 3  # and the first look at the metrics


def test_an_upload_in_every_way() -> None:
    """Bytes of blobs count as they are received, in one request or several, and also where they are refused."""
    registry, sent = Registry(), 0
    registry.push_blob("a", b"whole")
    sent += 5
    session = registry.start("a")
    assert registry.ask("PATCH", session, body=b"first").status == 202
    assert registry.ask("PATCH", session, body=Pieces([b"sec", b"ond"])).status == 202
    assert registry.ask("PUT", f"{session}?digest={sha256(b'firstsecond!')}", body=b"!").status == 201
    sent += 12
    refused = registry.ask("POST", f"/v2/a/blobs/uploads/?digest={ABSENT}", body=b"other")
    assert refused.status == 400
    sent += 5
    registry.push_layers("a")
    before = read(registry)["registry_blob_upload_bytes_total", {}]
    assert before >= sent
    registry.push("a", "latest", image())
    after = read(registry)
    assert after["registry_blob_upload_bytes_total", {}] == before, "a manifest is no blob"
    assert after["registry_blob_download_bytes_total", {}] == 0


def test_downloads() -> None:
    """Bytes of blobs count as they are promised: whole, in part, and not at all for HEAD or a blob that is known."""
    registry = Registry()
    digest = registry.push_blob("a", b"0123456789")
    target, promised = f"/v2/a/blobs/{digest}", 0
    asked: list[tuple[str, dict[str, str], int, int]] = [
        ("GET", {}, 200, 10),
        ("GET", {"range": "bytes=2-4"}, 206, 3),
        ("HEAD", {}, 200, 0),
        ("GET", {"if-none-match": f'"{digest}"'}, 304, 0),
        ("GET", {"range": "bytes=20-"}, 416, 0),
    ]
    for method, headers, status, length in asked:
        assert registry.ask(method, target, headers).status == status
        promised += length
        assert read(registry)["registry_blob_download_bytes_total", {}] == promised


def test_a_refusal_is_counted_by_its_route(tmp_path: Path) -> None:
    """Who lacks a login is counted with 401 for what was asked."""
    registry = guarded(tmp_path, "everyone")
    assert registry.ask("GET", "/v2/a/manifests/x").status == 401
    found = read(registry)
    assert found["registry_http_requests_total", {"method": "GET", "route": MANIFEST, "status": "401"}] == 1


def test_series_are_bounded() -> None:
    """Whatever clients send, labels have values of fixed lists alone."""
    registry = Registry()
    for number in range(50):
        registry.ask(f"M{number}", f"/v2/r{number}/tags/list")
        registry.ask("GET", f"/v2/r{number}/manifests/t{number}")
        registry.ask("GET", f"/a{number}")
    for name, labels in read(registry).names_and_labels("registry_http_request"):
        assert labels["route"] in {*ROUTES, OTHER}, name
        assert labels["method"] in METHODS
        assert labels.get("status", "200") in {*map(str, STATUSES)}
