"""Every client logs in by the lines of docs/login.md, where Basic is asked for and where a token is."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.config.test_pages import blocks
from tests.e2e.clients.guarded import PASSWORDS, guarded, make_htpasswd, repository
from tests.e2e.clients.images import Layout
from tests.e2e.clients.repository import Repository
from tests.e2e.clients.terminal import PAGE, lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.clients.terminal import Terminal
    from tests.e2e.server import Server

pytestmark = pytest.mark.clients

CLIENTS = ("docker", "podman", "buildah", "skopeo", "ctr", "crane", "oras", "regctl", "helm")
UNCHECKED = ("ctr", "crane")  # their logins ask the registry nothing
REFUSED = re.compile("unauthorized|authorization failed|denied|forbidden|40[13]|credential", re.IGNORECASE)
RELOAD_SECONDS = 20


@pytest.fixture(scope="module", params=["basic", "bearer"])
def registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A registry of which nothing is to be had without a login."""
    with guarded(tmp_path_factory.mktemp("guarded"), {"auth.challenge": request.param}) as server:
        yield server


def create_robot(registry: Server, name: str, pattern: str) -> str:
    """Makes a robot that may pull and push; returns its secret."""
    command = [str(Path(sys.executable).parent / "cargohold"), "token", "create", name]
    rights = [f"--repository={pattern}", "--permission=pull,push", "--expires=1d"]
    made = subprocess.run(
        [*command, *rights, f"--storage-path={registry.storage}"], capture_output=True, timeout=60, check=True
    )
    return made.stdout.decode().strip()


@pytest.mark.parametrize("client", CLIENTS)
def test_a_login_opens_and_a_logout_closes(
    client: str, registry: Server, terminal: Callable[[str, Server], Terminal]
) -> None:
    """With the right password, clients push and pull; once they have logged out, they do neither."""
    typed = terminal(client, registry)
    with repository(registry, "clients", "ann") as app:
        place = app.name.removesuffix("/app")
        typed.log_in("ann", PASSWORDS["ann"])
        typed.push(place)
        (tag,) = app.tags()
        assert app.is_whole(tag)
        typed.pull(place)
        typed.log_out()
        assert REFUSED.search(typed.pull_refused(place))
        assert REFUSED.search(typed.push_refused(f"{place}/other"))
        assert Repository(app.session, f"{place}/other/app").tags() == []
        typed.log_in("bob", PASSWORDS["bob"])
        typed.pull(place)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_wrong_password_is_refused(
    client: str, registry: Server, terminal: Callable[[str, Server], Terminal]
) -> None:
    """A wrong password fails the login, or the first push where a client's login asks the registry nothing."""
    typed = terminal(client, registry)
    with repository(registry, "clients", "ann") as app:
        if client in UNCHECKED:
            typed.log_in("ann", "a pear")
        else:
            assert REFUSED.search(typed.log_in_refused("ann", "a pear").replace("invalid username", "401"))
        assert REFUSED.search(typed.push_refused(app.name.removesuffix("/app")))
        assert app.tags() == []


@pytest.mark.parametrize("client", CLIENTS)
def test_a_robot_logs_in_by_its_secret(
    client: str, registry: Server, terminal: Callable[[str, Server], Terminal]
) -> None:
    """A robot's secret is given as the password, and opens what the robot may use and nothing else."""
    typed = terminal(client, registry)
    with repository(registry, "clients", "ann") as app:
        place = app.name.removesuffix("/app")
        typed.log_in("robot", create_robot(registry, place.replace("/", "-"), f"{place}/*"))
        typed.push(place)
        (tag,) = app.tags()
        assert app.is_whole(tag)
        typed.pull(place)
        assert REFUSED.search(typed.push_refused(f"{place}/further/down"))
        assert Repository(app.session, f"{place}/further/down/app").tags() == []


@pytest.mark.parametrize("clients", [("podman", "buildah", "skopeo"), ("docker", "crane", "oras")])
def test_a_login_is_shared(
    clients: tuple[str, ...], registry: Server, terminal: Callable[[str, Server], Terminal]
) -> None:
    """What each of these clients writes down, the others take for a login of theirs, refresh tokens included."""
    first = terminal(clients[0], registry)
    typed = {client: first.beside(client) for client in clients}
    with repository(registry, "clients", "ann") as app:
        place = app.name.removesuffix("/app")
        app.push(Layout(first.folder / "app"), "latest")
        for client in clients:
            typed[client].log_in("ann", PASSWORDS["ann"])
            for other in clients:
                typed[other].pull(place)
            typed[client].log_out()
            assert not any(each.may_pull(place) for each in typed.values())


def test_every_line_of_the_page_is_typed() -> None:
    """These tests know each client of the page, and what they type of its lines is all there is."""
    shown = blocks(PAGE.read_text(), "sh")
    assert {block.split()[0] for block in shown} == {*CLIENTS, "cosign"}
    for block in shown:
        found = lines(block.split()[0])
        assert set(found) <= {"first", "login", "push", "pull", "logout"}
        assert sorted("".join(found.values()).splitlines()) == sorted(block.splitlines())


def test_docker_keeps_a_refresh_token_and_no_password(
    tmp_path: Path, terminal: Callable[[str, Server], Terminal]
) -> None:
    """What docker writes down is good for the registry alone, and ends with the password."""
    with guarded(tmp_path, {"auth.challenge": "bearer"}) as registry, repository(registry, "a", "ann") as app:
        typed = terminal("docker", registry)
        place = app.name.removesuffix("/app")
        typed.log_in("ann", PASSWORDS["ann"])
        (kept,) = json.loads((typed.home / ".docker/config.json").read_text())["auths"].values()
        assert kept["identitytoken"]
        assert PASSWORDS["ann"] not in base64.b64decode(kept["auth"]).decode()
        typed.push(place)
        assert app.tags() == ["latest"]
        make_htpasswd(tmp_path / "htpasswd", PASSWORDS | {"ann": "another"})
        deadline = time.monotonic() + RELOAD_SECONDS
        while time.monotonic() < deadline and typed.may_pull(place):
            time.sleep(0.2)
        assert REFUSED.search(typed.pull_refused(place))


def test_signatures_are_made_and_verified_with_a_login(
    registry: Server, terminal: Callable[[str, Server], Terminal], image: Layout
) -> None:
    """Cosign signs and verifies with a login, and does neither without."""
    typed = terminal("cosign", registry)
    with repository(registry, "clients", "ann") as app:
        place = app.name.removesuffix("/app")
        app.push(image, "v1")
        typed.run("cosign generate-key-pair")
        typed.run(f"echo {image.digest} > digest")
        assert REFUSED.search(typed.push_refused(place))
        typed.log_in("ann", PASSWORDS["ann"])
        typed.push(place)
        assert app.tags() == [image.digest.replace(":", "-") + ".sig", "v1"]
        typed.pull(place)
        typed.run(f"crane auth logout {registry.host}")
        assert REFUSED.search(typed.pull_refused(place))
