"""Layers go from one repository to another only where the user may pull them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.clients.guarded import PASSWORDS, guarded, repository
from tests.e2e.clients.images import Layout
from tests.e2e.clients.test_login_commands import REFUSED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.clients.terminal import Terminal
    from tests.e2e.server import Server

pytestmark = pytest.mark.clients

RULES = [
    {"repository": "ann/**", "users": ["ann"], "actions": ["pull", "push"]},
    {"repository": "bob/**", "users": ["bob"], "actions": ["pull", "push"]},
]

COPY = {
    "crane": "crane copy {source} {target}",
    "oras": "oras copy --from-plain-http --to-plain-http {source} {target}",
    "regctl": "regctl image copy {source} {target}",
    "skopeo": "skopeo copy --src-tls-verify=false --dest-tls-verify=false docker://{source} docker://{target}",
}


@pytest.fixture(scope="module", params=["basic", "bearer"])
def registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A registry where ann and bob have repositories of their own, each out of the other's sight."""
    settings = {"auth.challenge": request.param, "auth.rules": json.dumps(RULES)}
    with guarded(tmp_path_factory.mktemp("guarded"), settings) as server:
        yield server


def test_docker_mounts_what_the_user_may_pull(
    registry: Server, terminal: Callable[[str, Server], Terminal]
) -> None:
    """A layer that ann has pushed once is not sent again for another repository of hers."""
    typed = terminal("docker", registry)
    typed.log_in("ann", PASSWORDS["ann"])
    with repository(registry, "ann", "ann") as first, repository(registry, "ann", "ann") as second:
        assert "Pushed" in typed.push(first.name.removesuffix("/app"))
        assert "Mounted from ann/" in typed.push(second.name.removesuffix("/app"))
        assert second.is_whole("latest")


def test_docker_sends_what_the_user_may_not_pull(
    registry: Server, terminal: Callable[[str, Server], Terminal]
) -> None:
    """The engine knows where a layer is, and asks for it there, where bob may not pull: he sends it, and has it."""
    typed = terminal("docker", registry)
    with repository(registry, "ann", "ann") as hers, repository(registry, "bob", "bob") as his:
        typed.log_in("ann", PASSWORDS["ann"])
        typed.push(hers.name.removesuffix("/app"))
        typed.log_in("bob", PASSWORDS["bob"])
        said = typed.push(his.name.removesuffix("/app"))
        assert "Pushed" in said
        assert "Mounted" not in said
        assert his.is_whole("latest")


@pytest.mark.parametrize("client", COPY)
def test_copies_within_the_registry(
    client: str, registry: Server, terminal: Callable[[str, Server], Terminal]
) -> None:
    """Ann copies from one repository of hers to another; bob copies nothing of hers."""
    typed = terminal(client, registry)
    typed.log_in("ann", PASSWORDS["ann"])
    with repository(registry, "ann", "ann") as first, repository(registry, "ann", "ann") as second:
        first.push(Layout(typed.folder / "app"), "v1")
        typed.run(COPY[client].format(source=f"{first}:v1", target=f"{second}:v1"))
        assert second.manifest("v1").content == first.manifest("v1").content
        assert second.is_whole("v1")
        with repository(registry, "bob", "bob") as his:
            typed.log_in("bob", PASSWORDS["bob"])
            with pytest.raises(AssertionError, match=REFUSED):
                typed.run(COPY[client].format(source=f"{first}:v1", target=f"{his}:v1"))
            assert his.tags() == []
