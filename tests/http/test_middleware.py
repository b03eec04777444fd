"""What stands around the routes: errors become answers, storage trouble is told and logged."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING

import pytest

from cargohold.http.exchange import answer_faults
from cargohold.http.middleware import allow_origins, answer_errors, dispatch
from cargohold.messages import Bytes, Empty, File
from cargohold.storage.protocols import Full, Unavailable
from cargohold.types.errors import ManifestBlobUnknown, NameUnknown, UploadRangeInvalid
from cargohold.types.operations import CheckSupport, Operation
from tests.registry.documents import digest_of
from tests.routes.caller import answered, request

if TYPE_CHECKING:
    from pathlib import Path

    from cargohold.http.exchange import Handler
    from cargohold.messages import Answer, Request

VERSION = ("docker-distribution-api-version", "registry/2.0")


def raising(error: BaseException) -> Handler:
    async def handle(_request: Request) -> Answer:
        raise error

    return handle


def told(error: Exception) -> Bytes:
    """The answer to an error."""
    answer = answered(answer_errors(raising(error)), request("GET", "/v2/"))
    assert isinstance(answer, Bytes)
    return answer


def test_an_error_is_answered_with_its_row_of_the_table() -> None:
    """The answer has the error's status, headers, code, message and detail."""
    answer = told(NameUnknown(detail={"name": "app"}, headers=[("x-a", "b")]))
    assert answer.status == 404
    assert json.loads(answer.body) == {
        "errors": [
            {
                "code": "NAME_UNKNOWN",
                "message": "repository name not known to registry",
                "detail": {"name": "app"},
            }
        ]
    }
    assert ("content-type", "application/json") in answer.headers
    assert ("x-a", "b") in answer.headers
    assert answer.headers.count(VERSION) == 1


def test_an_error_without_detail_has_none() -> None:
    """`detail` is left out where there is nothing to say."""
    answer = told(UploadRangeInvalid())
    (entry,) = json.loads(answer.body)["errors"]
    assert (answer.status, entry.keys()) == (416, {"code", "message"})


def test_several_things_may_be_missing() -> None:
    """Each missing digest is an entry of its own."""
    digests = [digest_of(content) for content in (b"a", b"b")]
    answer = told(ManifestBlobUnknown(digests))
    assert [entry["detail"]["digest"] for entry in json.loads(answer.body)["errors"]] == digests


@pytest.mark.parametrize(("error", "status"), [(Full("no space left"), 507), (Unavailable("I/O error"), 503)])
def test_trouble_of_the_storage_is_told_and_logged(
    caplog: pytest.LogCaptureFixture, error: Exception, status: int
) -> None:
    """A storage that is full is 507, one that cannot answer 503 with Retry-After; the cause is in the log alone."""
    with caplog.at_level(logging.ERROR):
        answer = told(error)
    (entry,) = json.loads(answer.body)["errors"]
    assert (answer.status, entry["code"]) == (status, "UNAVAILABLE")
    assert str(error) not in entry["message"]
    assert ("retry-after" in dict(answer.headers)) == (status == 503)
    assert str(error) in caplog.text


@pytest.mark.parametrize("error", [asyncio.CancelledError(), KeyError("a mistake of ours")])
def test_what_is_no_answer_goes_on(error: BaseException) -> None:
    """Only what the registry raises on purpose is answered here; a cancelled request stays cancelled."""
    with pytest.raises(type(error)):
        answered(answer_errors(raising(error)), request("GET", "/v2/"))


def test_an_operation_goes_to_its_route() -> None:
    """The route of the operation's type gets the operation and the request as it came, prefix and all."""
    seen: list[tuple[Operation, str]] = []

    async def check(operation: CheckSupport, asked: Request) -> Answer:
        seen.append((operation, asked.path))
        return Empty(200, [])

    handler = dispatch({CheckSupport: check}, prefix="/deep", closed=frozenset(), guard=None)
    answered(handler, request("GET", "/deep/v2/"))
    assert seen == [(CheckSupport(), "/deep/v2/")]


@pytest.mark.parametrize(
    ("target", "status"),
    [("/", 200), ("/fault", 500), ("/" + "x" * 9_000, 414), ("/small", 404), ("/large", 404)],
)
def test_pages_may_read_every_answer(tmp_path: Path, target: str, status: int) -> None:
    """Those of the handler, of a fault, of a refusal and of a file that went may all be read, and are told as such."""

    async def handle(asked: Request) -> Answer:
        if asked.path == "/fault":
            raise RuntimeError("a fault of ours")
        if asked.path == "/":
            return Empty(200, [])
        length = "10" if asked.path == "/small" else "1000000"
        return File(200, [("content-length", length)], str(tmp_path / "gone"))

    asked = request("GET", target, {"origin": "https://ui.example.com"})
    answer = answered(allow_origins(answer_faults(handle), ["*"]), asked)
    assert (answer.status, dict(answer.headers)["access-control-allow-origin"]) == (status, "*")
