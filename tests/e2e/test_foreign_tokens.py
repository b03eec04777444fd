"""Another token service, over HTTP, in the place of our own: the real server, and crane, which is sent there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from cargohold.types.scopes import access_claim, parse_scopes
from tests.auth.idp import Issuer, Reply, SigningKey, as_json, compact
from tests.e2e.clients.absence import require
from tests.e2e.clients.images import make_image
from tests.e2e.clients.program import Client
from tests.e2e.pushing import EMPTY, MANIFEST, digest_of, make_manifest
from tests.http.serving import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.e2e.conftest import Start
    from tests.e2e.server import Server

AUDIENCE = "registry.example.com"
APP, OTHER = "org/app", "org/other"


class TokenService(Issuer):
    """A service that gives anybody a token for whatever is asked in `org/app`, as Docker's specification has it."""

    @property
    def realm(self) -> str:
        return f"{self.url}/token"

    def reply(self, path: str) -> Reply:
        asked = urlsplit(path)
        if asked.path != "/token":
            return super().reply(path)
        query = parse_qs(asked.query)
        assert query["service"] == [AUDIENCE]
        accesses = [access for access in parse_scopes(query.get("scope", [])) if access.repository == APP]
        return Reply(as_json({"token": self.token(AUDIENCE, access=access_claim(accesses))}))


@pytest.fixture
def service() -> Iterator[TokenService]:
    with TokenService(SigningKey("first")) as running:
        yield running


def settings(service: TokenService, **more: object) -> Mapping[str, object]:
    return {
        "auth.bearer.realm": service.realm,
        "auth.bearer.service": AUDIENCE,
        "auth.bearer.issuer": service.url,
        "workers": 2,
        **{f"auth.bearer.{name}": value for name, value in more.items()},
    }


def asked(server: Server, method: str, path: str, token: str, **options: Any) -> httpx2.Response:
    headers = {**options.pop("headers", {}), "Authorization": f"Bearer {token}"}
    return httpx2.request(method, server.url + path, headers=headers, timeout=30, **options)


def pushed(server: Server, repository: str, token: str) -> int:
    """Push a manifest and its config; the status of what was refused, or of the manifest."""
    place = f"/v2/{repository}/blobs/uploads/?digest={digest_of(EMPTY)}"
    upload = asked(server, "POST", place, token, content=EMPTY)
    if upload.status_code != 201:
        return upload.status_code
    content, headers = make_manifest("by a foreign token"), {"Content-Type": MANIFEST}
    place = f"/v2/{repository}/manifests/v1"
    return asked(server, "PUT", place, token, content=content, headers=headers).status_code


def access(repository: str, *actions: str) -> list[dict[str, object]]:
    return [{"type": "repository", "name": repository, "actions": list(actions)}]


@pytest.mark.parametrize("form", ["key", "certificate", "jwks", "jwks_url"])
def test_token_opens_what_it_names(start: Start, service: TokenService, tmp_path: Path, form: str) -> None:
    """By a key or certificate in PEM, a JWK set in a file or on the web: the repository it names, and no other."""
    (key,) = service.keys
    path = tmp_path / "keys"
    path.write_bytes(
        {"key": key.pem, "certificate": key.certificate()}.get(form, as_json({"keys": [key.jwk]}))
    )
    source = (
        {"jwks_url": service.keys_url} if form == "jwks_url" else {form.replace("certificate", "key"): path}
    )
    server = start(settings(service, **source))
    # In PEM a key has no name of its own.
    service.keys = [SigningKey(None)] if source.get("key") else [key]
    token = service.token(AUDIENCE, access=access(APP, "pull", "push"))
    assert pushed(server, APP, token) == 201
    assert asked(server, "GET", f"/v2/{APP}/manifests/v1", token).status_code == 200
    assert pushed(server, OTHER, token) == 401


def test_challenge_leads_to_the_service(start: Start, service: TokenService) -> None:
    """Clients are sent to the service's address, with the scope that is missing."""
    server = start(settings(service, jwks_url=service.keys_url))
    anonymous = httpx2.get(f"{server.url}/v2/{APP}/tags/list", timeout=30)
    assert anonymous.status_code == 401
    expected = f'Bearer realm="{service.realm}",service="{AUDIENCE}",scope="repository:{APP}:pull"'
    assert anonymous.headers["www-authenticate"] == expected
    token = service.token(AUDIENCE, access=access(OTHER, "pull"))
    elsewhere = asked(server, "GET", f"/v2/{APP}/tags/list", token)
    assert elsewhere.status_code == 401
    assert elsewhere.headers["www-authenticate"] == f'{expected},error="insufficient_scope"'


def test_token_for_another_repository_shows_nothing_of_this_one(start: Start, service: TokenService) -> None:
    """What is there and what is not answer alike to a token that is for something else."""
    server = start(settings(service, jwks_url=service.keys_url))
    assert pushed(server, APP, service.token(AUDIENCE, access=access(APP, "pull", "push"))) == 201
    token = service.token(AUDIENCE, access=access(OTHER, "pull", "push", "delete"))
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        there, missing = (
            asked(server, method, f"/v2/{name}/manifests/v1", token) for name in (APP, "org/nothing")
        )
        assert there.status_code == missing.status_code == 401
        assert there.text.replace(APP, "org/nothing") == missing.text
    mount = f"/v2/{OTHER}/blobs/uploads/?mount={digest_of(EMPTY)}&from={APP}"
    assert asked(server, "POST", mount, token).status_code == 202


def test_forged_tokens_are_invalid(start: Start, service: TokenService) -> None:
    """Each is told that its token is invalid, and nothing is fetched for it but the service's own keys."""
    server = start(settings(service, jwks_url=service.keys_url))
    claims = service.claims(AUDIENCE, access=access(APP, "pull", "push"))
    (key,) = service.keys
    header = {"alg": "none", "typ": "JWT", "kid": key.kid}
    with Issuer(SigningKey("first", number=1)) as evil:
        for token in (
            compact(header, claims, lambda _: b""),
            evil.token(AUDIENCE, iss=service.url, access=access(APP, "pull", "push")),
            evil.token(AUDIENCE, access=access(APP, "pull", "push")),
            service.token("other", access=access(APP, "pull", "push")),
            service.token(AUDIENCE, access=access(APP, "pull", "push"), exp=1),
            service.token(AUDIENCE, access=access(APP, "pull", "push"))[:-1],
        ):
            refused = asked(server, "GET", f"/v2/{APP}/tags/list", token)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"].endswith('error="invalid_token"')
            assert pushed(server, APP, token) == 401
        assert evil.asked == []
    assert set(service.asked) <= {Issuer.KEYS}


def test_file_of_keys_is_replaced_on_the_running_server(
    start: Start, service: TokenService, tmp_path: Path
) -> None:
    """Within seconds new keys hold, and tokens of the old ones hold no longer, remembered or not, on each worker."""
    old, new = service.keys[0], SigningKey("second", "ES256")
    path = tmp_path / "keys"
    path.write_bytes(as_json({"keys": [old.jwk]}))
    server = start(settings(service, jwks=path))
    before = service.token(AUDIENCE, access=access(APP, "pull", "push"))
    for _ in range(20):
        assert pushed(server, APP, before) == 201
    path.write_bytes(as_json({"keys": [new.jwk]}))
    service.keys = [new]
    after = service.token(AUDIENCE, access=access(APP, "pull", "push"))
    for _ in range(20):
        _until_open(server, after)
    for _ in range(20):
        assert asked(server, "GET", f"/v2/{APP}/tags/list", before).status_code == 401


def _until_open(server: Server, token: str) -> None:
    until(lambda: asked(server, "GET", f"/v2/{APP}/tags/list", token).status_code == 200)


def test_keys_that_cannot_be_used_keep_the_server_from_starting(
    start: Start, service: TokenService, tmp_path: Path
) -> None:
    """A file that is missing, or holds a private key, is a message that names the file and shows nothing of it."""
    path = tmp_path / "keys.pem"
    for content in (None, b"", service.keys[0].key.as_pem(private=True)):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(AssertionError, match="the server did not start") as caught:
            start(settings(service, key=path))
        assert str(path) in str(caught.value)
        assert "Traceback" not in str(caught.value)
        assert "BEGIN" not in str(caught.value)


@pytest.mark.clients
def test_crane_is_sent_to_the_service(start: Start, service: TokenService, tmp_path: Path) -> None:
    """A real client follows the challenge to the other service, and comes back with its token."""
    server = start(settings(service, jwks_url=service.keys_url))
    image = make_image(tmp_path / "image", [{"file": b"content"}])
    crane = Client(require("crane"), (), {"HOME": str(tmp_path)})
    crane("push", image.path, f"{server.host}/{APP}:v1")
    assert crane("digest", f"{server.host}/{APP}:v1") == image.digest
    assert json.loads(crane("manifest", f"{server.host}/{APP}:v1"))["layers"]
    crane.refused("push", image.path, f"{server.host}/{OTHER}:v1")
    assert any(path.startswith("/token?") for path in service.asked)
