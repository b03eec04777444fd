"""What holds for every endpoint: the version, the form of errors, methods, unknown parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.registry.documents import ABSENT, sha256

if TYPE_CHECKING:
    from tests.routes.caller import Registry

SESSION = "/v2/library/app/blobs/uploads/0a1b2c3d-0000-4000-8000-0123456789ab"
ENDPOINTS = {
    "/v2/": "GET, HEAD",
    "/v2": "GET, HEAD",
    "/v2/_catalog": "GET, HEAD",
    "/v2/library/app/tags/list": "GET, HEAD",
    f"/v2/library/app/referrers/{ABSENT}": "GET, HEAD",
    "/v2/library/app/manifests/latest": "GET, HEAD, PUT, DELETE",
    f"/v2/library/app/blobs/{ABSENT}": "GET, HEAD, DELETE",
    "/v2/library/app/blobs/uploads/": "POST",
    "/v2/library/app/blobs/uploads": "POST",
    SESSION: "GET, HEAD, PATCH, PUT, DELETE",
}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")


@pytest.mark.parametrize("path", ["/v2/", "/v2", "/v2/?ns=docker.io", "/v2?x"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_support_is_announced(registry: Registry, method: str, path: str) -> None:
    """`GET /v2/` and `/v2` are 200 with the body {}."""
    reply = registry.ask(method, path)
    assert (reply.status, reply.body, reply["content-type"]) == (200, b"{}", "application/json")


@pytest.mark.parametrize(("path", "allowed"), ENDPOINTS.items())
def test_every_endpoint_names_its_methods(registry: Registry, path: str, allowed: str) -> None:
    """A method that an endpoint does not have is 405 UNSUPPORTED, and Allow names those that it has."""
    for method in set(METHODS) - set(allowed.split(", ")):
        reply = registry.ask(method, path)
        assert reply.error == (405, "UNSUPPORTED")
        assert reply["allow"] == allowed
    for method in allowed.split(", "):
        assert registry.ask(method, path).status != 405


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("method", METHODS)
def test_every_answer_bears_the_version(registry: Registry, method: str, path: str) -> None:
    """Docker-Distribution-API-Version stands in every answer, once: success, miss or mistake."""
    assert registry.ask(method, path)["docker-distribution-api-version"] == "registry/2.0"


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("method", METHODS)
def test_every_error_has_one_form(registry: Registry, method: str, path: str) -> None:
    """Whatever is not a success is JSON with errors, each of a code of capitals and a message."""
    reply = registry.ask(method, path)
    if reply.status < 400:
        return
    for entry in reply.errors:
        assert entry["code"].replace("_", "").isalpha()
        assert entry["code"].isupper()


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "/v1/",
        "/v2x",
        "/v2/x",
        "/v2//",
        "/v2/_catalog/",
        "/v2/_catalog/x",
        "/v2/library/app",
        "/v2/library/app/",
        "/v2/library/app/tags/",
        "/v2/library/app/tags/lists",
        "/v2/library/app/tags/list/",
        "/v2/library/app/manifest/latest",
        "/V2/",
        "/v3/library/app/tags/list",
        "v2/",
        "/v2/\x00",
        "/etc/passwd",
    ],
)
def test_what_is_no_endpoint_is_not_found(registry: Registry, path: str) -> None:
    """An address that is none of the specification's is 404 in the form of every error."""
    for method in METHODS:
        assert registry.ask(method, path).error == (404, "UNSUPPORTED")


@pytest.mark.parametrize("method", METHODS)
def test_what_is_too_large_is_refused_anywhere(registry: Registry, method: str) -> None:
    """An address beyond 8 KiB is 414, headers beyond 64 KiB are 431, and the message names the limit."""
    for path in ENDPOINTS:
        long = registry.ask(method, f"{path}?{'x' * 8200}")
        assert (*long.error, "8192" in long.errors[0]["message"]) == (414, "UNSUPPORTED", True)
        large = registry.ask(method, path, [("x-a", "x" * 7000)] * 10)
        assert (*large.error, "65536" in large.errors[0]["message"]) == (431, "UNSUPPORTED", True)


@pytest.mark.parametrize(
    "name",
    [
        "Library/app",
        "library//app",
        "library/",
        "/app",
        "library/../app",
        "library/./app",
        "..",
        "lib rary",
        "library\n",
        "app_",
        "_app",
        "a___b",
        "a..b",
        "a%2fb",
        "ü",
        "a" * 256,
        "a/" * 127 + "bc",
        "a\x00b",
        "",
    ],
)
@pytest.mark.parametrize(
    ("method", "rest"),
    [
        ("GET", "manifests/latest"),
        ("HEAD", "manifests/latest"),
        ("PUT", "manifests/latest"),
        ("DELETE", f"manifests/{ABSENT}"),
        ("GET", f"blobs/{ABSENT}"),
        ("HEAD", f"blobs/{ABSENT}"),
        ("DELETE", f"blobs/{ABSENT}"),
        ("POST", "blobs/uploads/"),
        ("POST", f"blobs/uploads/?mount={ABSENT}&from=other"),
        ("PATCH", "blobs/uploads/0a1b2c3d-0000-4000-8000-0123456789ab"),
        ("GET", "blobs/uploads/0a1b2c3d-0000-4000-8000-0123456789ab"),
        ("GET", "tags/list"),
        ("GET", f"referrers/{ABSENT}"),
    ],
)
def test_a_bad_name_is_refused_everywhere(registry: Registry, method: str, rest: str, name: str) -> None:
    """A repository's name that does not match the grammar whole, or is longer than 255, is NAME_INVALID 400."""
    assert registry.ask(method, f"/v2/{name}/{rest}").error == (400, "NAME_INVALID")


@pytest.mark.parametrize(
    "name", ["a" * 255, "a/" * 127 + "b", "a.b_c__d---e/0", "manifests", "blobs/uploads/tags"]
)
def test_a_good_name_is_taken(registry: Registry, name: str) -> None:
    """255 characters are a name, and so are the specification's separators and its own words."""
    digest = registry.push_blob(name, b"content")
    assert registry.ask("GET", f"/v2/{name}/blobs/{digest}").body == b"content"
    assert registry.ask("GET", f"/v2/{name}/tags/list").error == (404, "NAME_UNKNOWN")


@pytest.mark.parametrize(
    "digest",
    [
        "sha256:" + "a" * 63,
        "sha256:" + "a" * 65,
        "sha256:" + "A" * 64,
        "sha256:" + "g" * 64,
        "SHA256:" + "a" * 64,
        "sha512:" + "a" * 64,
        "sha384:" + "a" * 96,
        "md5:" + "a" * 32,
        "sha256:" + "a" * 64 + "\n",
        "sha256:",
        ":",
        "sha256:" + "a" * 64 + ":x",
        "sha256:..",
    ],
)
@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/v2/app/manifests/{}"),
        ("HEAD", "/v2/app/manifests/{}"),
        ("PUT", "/v2/app/manifests/{}"),
        ("DELETE", "/v2/app/manifests/{}"),
        ("GET", "/v2/app/blobs/{}"),
        ("HEAD", "/v2/app/blobs/{}"),
        ("DELETE", "/v2/app/blobs/{}"),
        ("GET", "/v2/app/referrers/{}"),
        ("POST", "/v2/app/blobs/uploads/?digest={}"),
        ("POST", "/v2/app/blobs/uploads/?mount={}"),
        ("PUT", "/v2/app/blobs/uploads/0a1b2c3d-0000-4000-8000-0123456789ab?digest={}"),
    ],
)
def test_a_bad_digest_is_refused_everywhere(
    registry: Registry, method: str, target: str, digest: str
) -> None:
    """A digest of another form, case or algorithm is DIGEST_INVALID 400, and nothing else comes of it."""
    encoded = digest.replace("\n", "%0A") if "?" in target else digest
    assert registry.ask(method, target.format(encoded)).error == (400, "DIGEST_INVALID")


@pytest.mark.parametrize(
    "query", ["ns=docker.io", "x", "=", "&&&", "a=b&a=c", "%00=%ff", "digest-algorithms=md5"]
)
def test_unknown_parameters_are_ignored(registry: Registry, query: str) -> None:
    """No endpoint minds a query parameter that it does not know."""
    registry.push_layers("app")
    content = b"content"
    location = registry.ask("POST", f"/v2/app/blobs/uploads/?{query}")["location"]
    assert registry.ask("GET", f"{location}?{query}").status == 204
    assert registry.ask("PATCH", f"{location}?{query}", body=content).status == 202
    assert registry.ask("PUT", f"{location}?{query}&digest={sha256(content)}").status == 201
    assert registry.ask("GET", f"/v2/app/blobs/{sha256(content)}?{query}").body == content
    manifest = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
    assert registry.ask("PUT", f"/v2/app/manifests/v1?{query}", body=manifest).status == 201
    assert registry.ask("GET", f"/v2/app/manifests/v1?{query}").body == manifest
    assert registry.ask("GET", f"/v2/app/tags/list?{query}").json["tags"] == ["v1"]
    assert registry.ask("GET", f"/v2/_catalog?{query}").json["repositories"] == ["app"]
    assert registry.ask("GET", f"/v2/app/referrers/{ABSENT}?{query}").json["manifests"] == []
    assert registry.ask("DELETE", f"/v2/app/manifests/{sha256(manifest)}?{query}").status == 202
    assert registry.ask("DELETE", f"/v2/app/blobs/{sha256(content)}?{query}").status == 202
    cancelled = registry.start("app")
    assert registry.ask("DELETE", f"{cancelled}?{query}").status == 204
