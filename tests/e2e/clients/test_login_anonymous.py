"""Pulling without a login beside pushing with one, by the settings of docs/login.md."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx2
import pytest

from tests.e2e.clients.guarded import PASSWORDS, guarded, public_settings, repository
from tests.e2e.clients.test_login_commands import CLIENTS, REFUSED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.clients.terminal import Terminal
    from tests.e2e.server import Server

TIME = re.compile(r"\d{4}[-/]\d\d[-/]\d\d.\d\d:\d\d:\d\d(\.\d+)?Z?|(?m:^.*(: resolving |elapsed: ).*\n?)")
"""What depends on the time or, like the bars that ctr shows after a while, on how long it takes."""

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A registry where everybody may pull `public/**`, bob too, and ann may do everything."""
    with guarded(tmp_path_factory.mktemp("public"), public_settings()) as server:
        yield server


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/v2/", ""),
        ("GET", "/v2/private/app/manifests/v1", ',scope="repository:private/app:pull"'),
        ("POST", "/v2/public/app/blobs/uploads/", ',scope="repository:public/app:pull,push"'),
    ],
)
def test_a_token_is_asked_for(registry: Server, method: str, path: str, scope: str) -> None:
    """Every challenge is for a token of the built-in service: asked for a password, clients never try without."""
    answer = httpx2.request(method, f"{registry.url}{path}")
    assert answer.status_code == 401
    assert (
        answer.headers["www-authenticate"]
        == f'Bearer realm="{registry.url}/auth/token",service="cargohold"{scope}'
    )


@pytest.mark.parametrize("client", CLIENTS)
def test_what_is_public_is_pulled_without_a_login_and_with_it(
    client: str, registry: Server, terminal: Callable[[str, Server], Terminal]
) -> None:
    """One who has logged in pushes; then nobody needs a login to pull, and none is in the way."""
    typed = terminal(client, registry)
    with repository(registry, "public", "ann") as app:
        place = app.name.removesuffix("/app")
        typed.log_in("ann", PASSWORDS["ann"])
        typed.push(place)
        (tag,) = app.tags()
        assert app.is_whole(tag)
        typed.pull(place)
        typed.log_out()
        typed.pull(place)
        typed.log_in("bob", PASSWORDS["bob"])
        typed.pull(place)


@pytest.mark.parametrize("client", CLIENTS)
def test_nothing_is_pushed_without_the_right_to(
    client: str, registry: Server, terminal: Callable[[str, Server], Terminal]
) -> None:
    """Whoever may pull a repository is told that they may not push to it: without a login, and with another's."""
    typed = terminal(client, registry)
    with repository(registry, "public", "ann") as app:
        place = app.name.removesuffix("/app")
        assert REFUSED.search(typed.push_refused(place))
        typed.log_in("bob", PASSWORDS["bob"])
        assert REFUSED.search(typed.push_refused(place))
        assert app.tags() == []


@pytest.mark.parametrize("client", CLIENTS)
def test_what_is_private_looks_like_what_is_not_there(
    client: str, registry: Server, terminal: Callable[[str, Server], Terminal]
) -> None:
    """A pull is refused in the same words whether there is such an image or not: without a login, and with bob's."""
    typed = terminal(client, registry)
    with repository(registry, "private", "ann") as app, repository(registry, "private", "ann") as nothing:
        typed.log_in("ann", PASSWORDS["ann"])
        typed.push(app.name.removesuffix("/app"))
        typed.log_out()
        for user in ("", "bob"):
            if user:
                typed.log_in(user, PASSWORDS[user])
            said = [
                TIME.sub("", typed.pull_refused(each.name.removesuffix("/app")).replace(each.name, "NAME"))
                for each in (app, nothing)
            ]
            assert said[0] == said[1]
            assert REFUSED.search(said[0])
