"""Settings that change what clients see: read-only, deletion, prefix, headers and CORS."""

from __future__ import annotations

import pytest

from cargohold.config import Settings
from cargohold.config.sections import Cors, Http, Manifests
from cargohold.types.oci import OCI_MANIFEST
from tests.registry.documents import ABSENT, ABSENT_CONTENT, LAYER, image, index, sha256
from tests.routes.caller import Registry

CONTENT = image()
DIGEST = sha256(CONTENT)
ORIGIN = "https://ui.example.com"


def filled(settings: Settings) -> Registry:
    """The store of a registry with `app:v1`, served anew with these settings."""
    registry = Registry()
    registry.push_layers("app")
    registry.push("app", "v1", CONTENT)
    return Registry(settings, registry.store)


def test_a_read_only_registry_takes_nothing() -> None:
    """With `read_only` whatever would write is UNSUPPORTED 405, with what is left in Allow; reads go on."""
    registry = filled(Settings(read_only=True))
    session = "/v2/app/blobs/uploads/0a1b2c3d-0000-4000-8000-0123456789ab"
    for method, target, allowed in (
        ("POST", "/v2/app/blobs/uploads/", ""),
        ("POST", f"/v2/app/blobs/uploads/?digest={sha256(b'new')}", ""),
        ("POST", f"/v2/other/blobs/uploads/?mount={sha256(LAYER)}&from=app", ""),
        ("PATCH", session, ""),
        ("PUT", f"{session}?digest={ABSENT}", ""),
        ("DELETE", session, ""),
        ("PUT", "/v2/app/manifests/v2", "GET, HEAD"),
        ("PUT", f"/v2/app/manifests/{DIGEST}?tag=v2", "GET, HEAD"),
        ("DELETE", f"/v2/app/manifests/{DIGEST}", "GET, HEAD"),
        ("DELETE", "/v2/app/manifests/v1", "GET, HEAD"),
        ("DELETE", f"/v2/app/blobs/{sha256(LAYER)}", "GET, HEAD"),
    ):
        reply = registry.ask(method, target, body=b"new")
        assert reply.error == (405, "UNSUPPORTED")
        assert reply["allow"] == allowed
        assert "switched off" in reply.errors[0]["message"]
    assert registry.ask("GET", "/v2/app/manifests/v1").body == CONTENT
    assert registry.ask("GET", f"/v2/app/blobs/{sha256(LAYER)}").body == LAYER
    assert registry.ask("GET", "/v2/app/tags/list").json["tags"] == ["v1"]
    assert registry.ask("GET", "/v2/_catalog").json["repositories"] == ["app"]
    assert registry.ask("GET", f"/v2/app/referrers/{DIGEST}").status == 200
    assert registry.ask("GET", "/v2/").status == 200


@pytest.mark.parametrize("tags", [False, True])
def test_deletion_can_be_switched_off(tags: bool) -> None:
    """Without `deletion` every DELETE of content is 405, by tag too; pushes go on, and an upload can be cancelled."""
    registry = filled(Settings(deletion=False, manifests=Manifests(allow_tag_deletion=tags)))
    for target, allowed in (
        (f"/v2/app/manifests/{DIGEST}", "GET, HEAD, PUT"),
        (f"/v2/app/manifests/{ABSENT}", "GET, HEAD, PUT"),
        ("/v2/app/manifests/v1", "GET, HEAD, PUT"),
        (f"/v2/app/blobs/{sha256(LAYER)}", "GET, HEAD"),
    ):
        reply = registry.ask("DELETE", target)
        assert (*reply.error, reply["allow"]) == (405, "UNSUPPORTED", allowed)
    assert registry.ask("GET", "/v2/app/manifests/v1").body == CONTENT
    registry.push("app", "v2", CONTENT)
    assert registry.ask("DELETE", registry.start("app")).status == 204


def test_a_malformed_request_is_malformed_all_the_same() -> None:
    """What is switched off does not hide what is wrong: a bad name is 400 in a registry that is read-only."""
    registry = filled(Settings(read_only=True))
    assert registry.ask("PUT", "/v2/Bad/manifests/v1").error == (400, "NAME_INVALID")
    assert registry.ask("PATCH", "/v2/app/manifests/v1")["allow"] == "GET, HEAD, PUT, DELETE"


@pytest.mark.parametrize("prefix", ["/registry", "/a/b"])
def test_a_prefix_stands_before_everything(prefix: str) -> None:
    """With `prefix` every address begins with it, those in Location and Link too; without it nothing is found."""
    registry = Registry(Settings(prefix=prefix))
    v2 = f"{prefix}/v2"
    assert registry.ask("GET", f"{v2}/").status == 200
    assert registry.ask("GET", v2).status == 200
    uploads = registry.ask("POST", f"{v2}/app/blobs/uploads/")
    location = uploads["location"]
    assert location.startswith(f"{v2}/app/blobs/uploads/")
    assert registry.ask("PATCH", location, body=LAYER)["location"] == location
    assert registry.ask("GET", location)["location"] == location
    stored = registry.ask("PUT", f"{location}?digest={sha256(LAYER)}")
    assert stored["location"] == f"{v2}/app/blobs/{sha256(LAYER)}"
    assert registry.ask("GET", stored["location"]).body == LAYER
    mounted = registry.ask("POST", f"{v2}/b/blobs/uploads/?mount={sha256(LAYER)}&from=app")
    assert mounted["location"] == f"{v2}/b/blobs/{sha256(LAYER)}"
    subject = {"mediaType": OCI_MANIFEST, "digest": ABSENT, "size": len(ABSENT_CONTENT)}
    for number in range(7):
        annotations = {"number": str(number), "padding": "x" * 700_000}
        content = index([], subject=subject, annotations=annotations)
        pushed = registry.ask("PUT", f"{v2}/app/manifests/v{number}", body=content)
        assert pushed["location"] == f"{v2}/app/manifests/{sha256(content)}"
        registry.ask("PUT", f"{v2}/r{number}/manifests/v1", body=content)
    for lists in ("app/tags/list?n=3", "_catalog?n=3", f"app/referrers/{ABSENT}"):
        link = registry.ask("GET", f"{v2}/{lists}")["link"]
        assert link.startswith(f"<{v2}/{lists.partition('?')[0]}?")
        assert registry.ask("GET", link[1:].partition(">")[0]).status == 200
    for outside in (
        "/v2/",
        "/v2/_catalog",
        prefix,
        f"{prefix}x/v2/",
        f"/x{prefix}/v2/",
        f"{prefix}{prefix}/v2/",
        "/",
    ):
        assert registry.ask("GET", outside).error == (404, "UNSUPPORTED")


@pytest.mark.parametrize(
    "target",
    [
        "/v2/",
        "/v2/app/manifests/v1",
        "/v2/app/manifests/v2",
        "/nowhere",
        "/v2/BAD/tags/list",
        "/" + "x" * 9000,
    ],
)
def test_every_answer_bears_the_headers_that_are_set(target: str) -> None:
    """`http.headers` are added to successes and errors alike."""
    registry = filled(Settings(http=Http(headers={"X-Content-Type-Options": "nosniff", "X-B": "two words"})))
    reply = registry.ask("GET", target)
    assert (reply["x-content-type-options"], reply["x-b"]) == ("nosniff", "two words")


@pytest.mark.parametrize(
    "target", ["/v2/app/manifests/v1", "/v2/app/manifests/v2", "/nowhere", "/" + "x" * 9000]
)
@pytest.mark.parametrize(("origins", "allowed"), [((ORIGIN, "https://b.example.com"), ORIGIN), (("*",), "*")])
def test_pages_may_read(target: str, origins: tuple[str, ...], allowed: str) -> None:
    """A page of an allowed origin may read every answer, errors too, and the headers that clients need."""
    registry = filled(Settings(http=Http(cors=Cors(origins=origins))))
    reply = registry.ask("GET", target, {"origin": ORIGIN})
    assert (reply["access-control-allow-origin"], reply["vary"]) == (allowed, "Origin")
    exposed = reply["access-control-expose-headers"].lower().split(", ")
    assert {
        "docker-content-digest",
        "link",
        "location",
        "range",
        "oci-filters-applied",
        "oci-subject",
    } <= set(exposed)


@pytest.mark.parametrize(
    "origin", [None, "https://evil.example.com", "null", f"{ORIGIN}.evil.example.com", ORIGIN.upper()]
)
def test_other_pages_may_not(origin: str | None) -> None:
    """Another origin gets the answer without leave to read it, and caches are told that the origin matters."""
    registry = filled(Settings(http=Http(cors=Cors(origins=(ORIGIN,)))))
    headers = {} if origin is None else {"origin": origin}
    reply = registry.ask("GET", "/v2/app/manifests/v1", headers)
    assert (reply.status, "access-control-allow-origin" in reply, reply["vary"]) == (200, False, "Origin")
    preflight = registry.ask(
        "OPTIONS", "/v2/app/manifests/v1", {**headers, "access-control-request-method": "PUT"}
    )
    assert (preflight.status, "access-control-allow-origin" in preflight) == (405, False)


def test_pages_may_ask_before_they_write() -> None:
    """A preflight of an allowed origin is 204 with the methods and the headers that it asked for."""
    registry = filled(Settings(http=Http(cors=Cors(origins=(ORIGIN,)))))
    asked = {
        "origin": ORIGIN,
        "access-control-request-method": "PUT",
        "access-control-request-headers": "content-type, x-a",
    }
    reply = registry.ask("OPTIONS", "/v2/app/manifests/v1", asked)
    assert (reply.status, reply.body, reply["access-control-allow-origin"]) == (204, b"", ORIGIN)
    assert reply["access-control-allow-methods"] == "GET, HEAD, POST, PUT, PATCH, DELETE"
    assert reply["access-control-allow-headers"] == "content-type, x-a"
    assert registry.ask("OPTIONS", "/v2/app/manifests/v1", {"origin": ORIGIN}).status == 405


def test_without_cors_nothing_is_said_of_it() -> None:
    """By default no page may read, and nothing varies."""
    reply = filled(Settings()).ask("GET", "/v2/app/manifests/v1", {"origin": ORIGIN})
    assert not [name for name, _ in reply.headers if name.startswith("access-control") or name == "vary"]
