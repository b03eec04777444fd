"""Nothing is answered to whoever may not ask it: every route, every operation, every way of asking."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import bcrypt
import pytest

from cargohold.auth.identity import EVERYONE
from cargohold.config import load
from cargohold.http.router import route
from cargohold.types import operations
from cargohold.types.operations import Operation, Permission
from tests.registry.documents import ABSENT
from tests.routes.caller import Registry, Reply

if TYPE_CHECKING:
    from pathlib import Path

UPLOAD = "/v2/team/app/blobs/uploads/0a1b2c3d-0000-4000-8000-0123456789ab"
BLOB, MANIFEST = f"/v2/team/app/blobs/{ABSENT}", f"/v2/team/app/manifests/{ABSENT}"
TAGS, REFERRERS = "/v2/team/app/tags/list", f"/v2/team/app/referrers/{ABSENT}"
START = "/v2/team/app/blobs/uploads/"

# Every request that is an operation, with the permission that the story of each method asks for.
REQUESTS: list[tuple[str, str, Permission]] = [
    *((method, "/v2/", Permission.ENTER) for method in ("GET", "HEAD")),
    *((method, "/metrics", Permission.METRICS) for method in ("GET", "HEAD")),
    *((method, "/v2/_catalog", Permission.CATALOG) for method in ("GET", "HEAD")),
    *(
        (method, path, Permission.PULL)
        for method in ("GET", "HEAD")
        for path in (MANIFEST, BLOB, TAGS, REFERRERS)
    ),
    ("GET", "/v2/team/app/manifests/latest", Permission.PULL),
    ("PUT", MANIFEST, Permission.PUSH),
    ("PUT", "/v2/team/app/manifests/latest", Permission.PUSH),
    ("DELETE", MANIFEST, Permission.DELETE),
    ("DELETE", "/v2/team/app/manifests/latest", Permission.DELETE),
    ("DELETE", BLOB, Permission.DELETE),
    ("POST", START, Permission.PUSH),
    ("POST", f"{START}?digest={ABSENT}", Permission.PUSH),
    ("POST", f"{START}?mount={ABSENT}", Permission.PUSH),
    ("POST", f"{START}?mount={ABSENT}&from=team/other", Permission.PUSH),
    ("GET", UPLOAD, Permission.PUSH),
    ("HEAD", UPLOAD, Permission.PUSH),
    ("PATCH", UPLOAD, Permission.PUSH),
    ("PUT", f"{UPLOAD}?digest={ABSENT}", Permission.PUSH),
    ("DELETE", UPLOAD, Permission.PUSH),
]
OPEN = {operations.RequestToken, operations.PublishKeys, operations.CheckHealth, operations.CheckReady}
"""Asked by who wants to know how to log in, by who verifies what we have signed, and by load balancers."""


def kinds() -> set[type[Operation]]:
    """Every operation that the package has, however deep it stands."""
    found: set[type[Operation]] = set()
    waiting: list[type[Operation]] = [Operation]
    while waiting:
        kind = waiting.pop()
        children = kind.__subclasses__()
        waiting += children
        if not children:
            found.add(kind)
    return found


def basic(name: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


@pytest.fixture
def htpasswd(tmp_path: Path) -> Path:
    """Ann and eve, each with the password that is the name."""
    file = tmp_path / "users"
    users = {name: bcrypt.hashpw(name.encode(), bcrypt.gensalt(4)).decode() for name in ("ann", "eve")}
    file.write_text("".join(f"{name}:{hashed}\n" for name, hashed in users.items()))
    return file


def guarded(htpasswd: Path, tmp_path: Path, **others: object) -> Registry:
    settings = {"auth.htpasswd": str(htpasswd), "storage.path": str(tmp_path / "data"), **others}
    return Registry(load(settings, {}))


def test_every_operation_is_guarded() -> None:
    """Each operation needs a permission, but for those that are open on purpose; the table has each of them."""
    asked = {type(route(method, *_split(target))) for method, target, _ in REQUESTS}
    assert asked == kinds() - OPEN
    for method, target, permission in REQUESTS:
        assert [access.permission for access in route(method, *_split(target)).needs()] == [permission]


def _split(target: str) -> tuple[str, str]:
    path, _, query = target.partition("?")
    return path, query


@pytest.mark.parametrize(("method", "target", "permission"), REQUESTS)
def test_nobody_is_let_in_without_a_login(
    method: str, target: str, permission: Permission, htpasswd: Path, tmp_path: Path
) -> None:
    """Whatever is asked without a login, with a wrong one or a malformed one is 401, with a challenge."""
    registry = guarded(htpasswd, tmp_path)
    assert permission
    for headers in (
        {},
        basic("ann", "wrong"),
        basic("nobody", "ann"),
        {"authorization": "Basic !!!"},
        {"authorization": "Basic"},
        {"authorization": "Bearer abc"},
        {"authorization": "Digest username=ann"},
        {"authorization": "Bäsic"},
    ):
        reply = registry.ask(method, target, headers)
        assert reply.error == (401, "UNAUTHORIZED")
        assert reply["www-authenticate"] == 'Basic realm="cargohold", charset="UTF-8"'
    (good,) = basic("ann", "ann").items()
    for twice in ([good, good], [("authorization", "Bäsic"), good]):
        assert registry.ask(method, target, twice).error == (401, "UNAUTHORIZED")


@pytest.mark.parametrize(("method", "target", "permission"), REQUESTS)
def test_who_lacks_the_permission_is_refused(
    method: str, target: str, permission: Permission, htpasswd: Path, tmp_path: Path
) -> None:
    """A user with every permission but the one that is needed is told which it is; with it alone, all is well."""
    every = [each.value for each in (Permission.PULL, Permission.PUSH, Permission.DELETE, Permission.CATALOG)]
    if permission in (Permission.ENTER, Permission.METRICS):
        allowed: list[str] = []
    else:
        others = [each for each in every if each != permission.value]
        refused = guarded(htpasswd, tmp_path, **{"auth.default": others}).ask(
            method, target, basic("ann", "ann")
        )
        assert refused.error == (403, "DENIED")
        detail = refused.errors[0]["detail"]
        assert detail["action"] == permission.value
        assert detail.get("repository") == (None if permission is Permission.CATALOG else "team/app")
        allowed = [permission.value]
    reply = guarded(htpasswd, tmp_path, **{"auth.default": allowed}).ask(method, target, basic("ann", "ann"))
    assert reply.status not in {401, 403}


def test_everyone_may_do_everything() -> None:
    """Who asks where nobody needs a login has every permission that there is, the one of a name included."""
    assert all(EVERYONE.may(permission) for permission in Permission)


def test_a_login_is_not_asked_for_where_none_is_configured() -> None:
    """A registry without a login answers everybody, and does not look at what they show."""
    registry = Registry()
    for headers in ({}, basic("ann", "wrong"), {"authorization": "Bearer abc"}):
        assert registry.ask("GET", "/v2/", headers).status == 200


def test_the_challenge_names_the_scope_that_is_missing(htpasswd: Path, tmp_path: Path) -> None:
    """A Bearer challenge has the realm, the service and the scope that a token must have."""
    registry = guarded(
        htpasswd, tmp_path, **{"auth.challenge": "bearer", "server.public_url": "https://r.example"}
    )

    def challenge(method: str, target: str) -> str:
        return registry.ask(method, target)["www-authenticate"]

    head = 'Bearer realm="https://r.example/auth/token",service="cargohold"'
    assert challenge("GET", "/v2/") == head
    assert challenge("GET", MANIFEST) == f'{head},scope="repository:team/app:pull"'
    assert challenge("PUT", MANIFEST) == f'{head},scope="repository:team/app:pull,push"'
    assert challenge("DELETE", MANIFEST) == f'{head},scope="repository:team/app:delete"'
    assert challenge("GET", "/v2/_catalog") == f'{head},scope="registry:catalog:*"'


def test_a_mount_shows_only_what_may_be_pulled(htpasswd: Path, tmp_path: Path) -> None:
    """A blob is mounted from where its asker may pull; elsewhere it is not there, which is no refusal."""
    rules = [
        {"repository": "secret/**", "users": ["ann"], "actions": ["pull", "push"]},
        {"repository": "secret/**", "users": ["*"], "actions": []},
        {"users": ["*"], "actions": ["pull", "push", "catalog"]},
    ]
    registry = guarded(htpasswd, tmp_path, **{"auth.rules": rules})
    ann, eve = basic("ann", "ann"), basic("eve", "eve")
    digest = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
    pushed = registry.ask("POST", f"/v2/secret/a/blobs/uploads/?digest={digest}", ann, b"foo")
    assert pushed.status == 201

    def mounts(who: dict[str, str], target: str, source: str) -> list[Reply]:
        address = f"/v2/{target}/blobs/uploads/?mount={digest}"
        return [registry.ask("POST", f"{address}{query}", who) for query in (f"&from={source}", "")]

    assert [reply.status for reply in mounts(eve, "eve/x", "secret/a")] == [202, 202]
    assert [reply.status for reply in mounts(eve, "eve/x", "secret/none")] == [202, 202]
    assert [reply.status for reply in mounts(ann, "ann/x", "secret/a")] == [201, 201]
    assert [reply.status for reply in mounts(eve, "eve/x", "ann/x")] == [201, 201]
