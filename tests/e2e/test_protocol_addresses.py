"""Addresses as they stand on the wire: encoded, dotted, doubled, too long; none of them reaches another file."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.e2e.strays import strays
from tests.http.wire import Wire
from tests.registry.documents import LAYER, descriptor, image, index, sha256

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import Start
    from tests.e2e.server import Server

EVIL = "http://evil.example.com"
DIGEST = sha256(LAYER)


@pytest.fixture
def wire(registry: Server) -> Iterator[Wire]:
    """A connection to a registry with LAYER in `addresses/app`."""
    with Wire(registry.url) as connection:
        target = f"/v2/addresses/app/blobs/uploads/?digest={DIGEST}"
        assert connection.ask("POST", target, body=LAYER).status == 201
        yield connection


@pytest.mark.parametrize(
    "target",
    [
        f"/v2/addresses/app/blobs/{quote(DIGEST)}",
        f"/v2/addresses/app/blobs/{DIGEST.replace(':', '%3a')}",
        f"/%76%32/addresses/a%70p/blobs/{DIGEST}",
        f"/v2/addresses%2Fapp/blobs/{DIGEST}",
        f"/v2/addresses/app/blobs/{DIGEST}?",
        f"/v2/addresses/app/blobs/{DIGEST}?ns=docker.io&x=%00%ff",
    ],
)
def test_an_encoded_address_is_the_address(wire: Wire, target: str) -> None:
    """Percent-encoding of what need not be encoded changes nothing, of a slash neither (RFC 3986, 6.2.2.2)."""
    assert wire.ask("GET", target).body == LAYER


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        (f"/v2/addresses//app/blobs/{DIGEST}", 400, "NAME_INVALID"),
        (f"/v2//addresses/app/blobs/{DIGEST}", 400, "NAME_INVALID"),
        (f"/v2/addresses/app//blobs/{DIGEST}", 400, "NAME_INVALID"),
        (f"//v2/addresses/app/blobs/{DIGEST}", 404, "UNSUPPORTED"),
        (f"/v2/addresses/app/blobs//{DIGEST}", 404, "UNSUPPORTED"),
        (f"/v2/addresses/./app/blobs/{DIGEST}", 400, "NAME_INVALID"),
        (f"/v2/addresses/../addresses/app/blobs/{DIGEST}", 400, "NAME_INVALID"),
        (f"/v2/addresses/%2e%2e/addresses/app/blobs/{DIGEST}", 400, "NAME_INVALID"),
        (f"/v2/addresses%2f..%2faddresses%2fapp/blobs/{DIGEST}", 400, "NAME_INVALID"),
        (f"/v2/addresses%252fapp/blobs/{DIGEST}", 400, "NAME_INVALID"),
        (f"/v2/addresses/app%00/blobs/{DIGEST}", 400, "NAME_INVALID"),
        (f"/v2/addresses/app%0a/blobs/{DIGEST}", 400, "NAME_INVALID"),
        (f"/v2/addresses/app%20/blobs/{DIGEST}", 400, "NAME_INVALID"),
        (f"/v2/addresses/%ff/blobs/{DIGEST}", 400, "NAME_INVALID"),
        (f"/v2/addresses\\app/blobs/{DIGEST}", 400, "NAME_INVALID"),
        (f"/v2/{'a' * 256}/blobs/{DIGEST}", 400, "NAME_INVALID"),
        (f"/v2/addresses/app/blobs/{DIGEST}%0a", 400, "DIGEST_INVALID"),
        (f"/v2/addresses/app/blobs/{DIGEST}%2f..", 404, "UNSUPPORTED"),
        (f"/v2/addresses/app/blobs/{DIGEST.upper()}", 400, "DIGEST_INVALID"),
        ("/v2/addresses/app/blobs/..%2f..%2fdata", 404, "UNSUPPORTED"),
        ("/v2/addresses/app/manifests/%2e%2e", 404, "MANIFEST_UNKNOWN"),
        ("/v2/addresses/app/manifests/..%2f_layers", 404, "UNSUPPORTED"),
        ("/v2/addresses/app/_layers/sha256", 404, "UNSUPPORTED"),
        ("/v2/addresses/app/_manifests/tags/list", 400, "NAME_INVALID"),
        ("/v2/addresses/app/blobs/uploads/..%2f..", 404, "UNSUPPORTED"),
        ("/../../../../etc/passwd", 404, "UNSUPPORTED"),
        ("/%2e%2e/%2e%2e/etc/passwd", 404, "UNSUPPORTED"),
        ("/v2/%2e%2e/%2e%2e/%2e%2e/etc/passwd", 404, "UNSUPPORTED"),
    ],
)
def test_a_crooked_address_leads_nowhere(
    wire: Wire, registry: Server, target: str, status: int, code: str
) -> None:
    """Dots, doubled slashes, control characters and their encodings are refused on every method."""
    response = wire.ask("GET", target)
    assert (response.status, response["content-type"]) == (status, "application/json")
    assert f'"code":"{code}"'.encode() in response.body
    for method in ("PUT", "POST", "PATCH", "DELETE"):
        assert 400 <= wire.ask(method, target, body=LAYER).status < 500
    assert strays(registry.storage) == []


def test_long_names_are_files(wire: Wire, registry: Server) -> None:
    """255 characters of a name, in one component or in many, and 128 of a tag, can be pushed, listed and deleted."""
    content = index([])
    for name in ("a" * 255, "a/" * 127 + "b", "l" + "-" * 253 + "g"):
        for tag in ("t" * 128, "_" * 128):
            response = wire.ask("PUT", f"/v2/{name}/manifests/{tag}", body=content)
            assert (response.status, response["location"]) == (201, f"/v2/{name}/manifests/{sha256(content)}")
            assert wire.ask("GET", f"/v2/{name}/manifests/{tag}").body == content
        assert b'"tags":["' + b"_" * 128 in wire.ask("GET", f"/v2/{name}/tags/list").body
        assert name.encode() in wire.ask("GET", "/v2/_catalog?n=1000").body
        assert wire.ask("DELETE", f"/v2/{name}/manifests/{sha256(content)}").status == 202
        assert name.encode() not in wire.ask("GET", "/v2/_catalog?n=1000").body
    assert strays(registry.storage) == []


@pytest.mark.parametrize("length", [8_300, 60_000])
def test_an_address_that_is_too_long(registry: Server, length: int) -> None:
    """More than 8 KiB of path and query are 414 in the form of every error, until the server itself cuts it off."""
    for target in ("/v2/" + "a" * length, "/v2/?" + "a" * length):
        with Wire(registry.url) as wire:
            response = wire.ask("GET", target)
            assert (response.status, response["content-type"]) == (414, "application/json")
            assert b'"UNSUPPORTED"' in response.body


def test_headers_that_are_too_large(registry: Server) -> None:
    """More than 64 KiB of headers are 431 in the form of every error."""
    with Wire(registry.url) as wire:
        response = wire.ask("GET", "/v2/", *(f"X-{number}: {'x' * 7000}" for number in range(10)))
        assert (response.status, response["content-type"]) == (431, "application/json")


def test_a_host_is_never_repeated(wire: Wire) -> None:
    """Whatever the host that is asked for and forwarding headers say, Location and Link are paths."""
    lies = ("X-Forwarded-Host: evil.example.com", "X-Forwarded-Proto: gopher")
    response = wire.ask("POST", f"{EVIL}/v2/addresses/app/blobs/uploads/", *lies)
    assert response["location"].startswith("/v2/addresses/app/blobs/uploads/")
    content = index([])
    for tag in ("a", "b"):
        assert wire.ask("PUT", f"{EVIL}/v2/addresses/app/manifests/{tag}", *lies, body=content)[
            "location"
        ].startswith("/v2/")
    assert wire.ask("GET", f"{EVIL}/v2/addresses/app/tags/list?n=1", *lies)["link"].startswith(
        "</v2/addresses/app/tags/list?"
    )


def test_the_prefix_on_the_wire(start: Start) -> None:
    """With a prefix, the addresses that the server gives out work as they are, and those without it lead nowhere."""
    server = start({"prefix": "/registry", "workers": 1})
    with Wire(server.url.removesuffix("/registry")) as wire:
        location = wire.ask("POST", "/registry/v2/app/blobs/uploads/")["location"]
        stored = wire.ask("PUT", f"{location}?digest={DIGEST}", body=LAYER)
        assert wire.ask("GET", stored["location"]).body == LAYER
        assert wire.ask("GET", "/v2/").status == 404


def test_many_tags_in_one_address(wire: Wire) -> None:
    """Tags by the hundred fit into one push, and a list that is too long for an address is 414, with nothing stored."""
    content = image([], b"{}", annotations={"many": "tags"})
    assert (
        wire.ask("POST", f"/v2/addresses/many/blobs/uploads/?digest={sha256(b'{}')}", body=b"{}").status
        == 201
    )
    path = f"/v2/addresses/many/manifests/{sha256(content)}"
    too_many = "&".join(f"tag=tag-{number:06}" for number in range(1000))
    assert wire.ask("PUT", f"{path}?{too_many}", body=content).status == 414
    assert wire.ask("GET", path).status == 404
    tags = [f"tag-{number:03}" for number in range(300)]
    response = wire.ask("PUT", f"{path}?{'&'.join(f'tag={tag}' for tag in tags)}", body=content)
    named = [tag for name, value in response.headers if name == "oci-tag" for tag in value.split(", ")]
    assert (response.status, named) == (201, tags)
    assert (
        wire.ask("GET", "/v2/addresses/many/tags/list?n=2").body
        == b'{"name":"addresses/many","tags":["tag-000","tag-001"]}'
    )


def test_manifests_up_to_the_limit(wire: Wire) -> None:
    """4 MiB pass and come back; more is 413, whether the length was told or not, and the answer reaches the client."""
    bare = len(index([], annotations={"padding": ""}))
    content = index([], annotations={"padding": "x" * (4 * 2**20 - bare)})
    assert wire.ask("PUT", "/v2/addresses/app/manifests/large", body=content).status == 201
    assert wire.ask("GET", "/v2/addresses/app/manifests/large").body == content
    assert wire.ask("HEAD", "/v2/addresses/app/manifests/large")["content-length"] == str(4 * 2**20)
    response = wire.ask("PUT", "/v2/addresses/app/manifests/larger", body=content + b" ")
    assert (response.status, b'"SIZE_INVALID"' in response.body) == (413, True)
    wire.request("PUT", "/v2/addresses/app/manifests/larger", "Transfer-Encoding: chunked")
    for piece in (content, b" ", b""):
        wire.chunk(piece)
    assert wire.response().status == 413
    parent = index([descriptor(content, "application/vnd.oci.image.index.v1+json")])
    assert wire.ask("PUT", "/v2/addresses/app/manifests/parent", body=parent).status == 201
