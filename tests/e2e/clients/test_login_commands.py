"""Every client logs in by the lines of docs/login.md, where Basic is asked for and where a token is."""

from __future__ import annotations

import base64
import json
import re
import time
from typing import TYPE_CHECKING

import pytest

from cargohold.auth.htpasswd import LOOK_SECONDS, SETTLE_SECONDS
from tests.config.test_pages import blocks
from tests.e2e.clients.guarded import PASSWORDS, guarded, make_htpasswd, repository
from tests.e2e.clients.images import Layout
from tests.e2e.clients.repository import Repository
from tests.e2e.clients.terminal import PAGE, lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.e2e.clients.terminal import Terminal
    from tests.e2e.server import Server

pytestmark = pytest.mark.clients

CLIENTS = ("docker", "podman", "buildah", "skopeo", "ctr", "crane", "oras", "regctl", "helm")
UNCHECKED = ("ctr", "crane")  # their logins ask the registry nothing
REFUSED = re.compile(
    r"unauthorized|authorization failed|denied|forbidden|\b40[13]\b|credential|invalid username",
    re.IGNORECASE,
)
RELOAD_SECONDS = 20


@pytest.fixture(scope="module", params=["basic", "bearer"])
def registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A registry of which nothing is to be had without a login."""
    with guarded(tmp_path_factory.mktemp("guarded"), {"auth.challenge": request.param}) as server:
        yield server


@pytest.mark.parametrize("client", CLIENTS)
def test_a_login_opens_and_a_logout_closes(
    client: str, registry: Server, terminal: Callable[[str, Server], Terminal]
) -> None:
    """With the right password, clients push and pull; once they have logged out, they do neither."""
    console = terminal(client, registry)
    with repository(registry, "clients", "ann") as app:
        place = app.name.removesuffix("/app")
        console.log_in("ann", PASSWORDS["ann"])
        console.push(place)
        (tag,) = app.tags()
        assert app.is_whole(tag)
        console.pull(place)
        console.log_out()
        assert REFUSED.search(console.pull_refused(place))
        assert REFUSED.search(console.push_refused(f"{place}/other"))
        assert Repository(app.session, f"{place}/other/app").tags() == []
        console.log_in("bob", PASSWORDS["bob"])
        console.pull(place)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_wrong_password_is_refused(
    client: str, registry: Server, terminal: Callable[[str, Server], Terminal]
) -> None:
    """A wrong password fails the login, or the first push where a client's login asks the registry nothing."""
    console = terminal(client, registry)
    with repository(registry, "clients", "ann") as app:
        if client in UNCHECKED:
            console.log_in("ann", "a pear")
        else:
            assert REFUSED.search(console.log_in_refused("ann", "a pear"))
        assert REFUSED.search(console.push_refused(app.name.removesuffix("/app")))
        assert app.tags() == []


@pytest.mark.parametrize("client", CLIENTS)
def test_a_robot_logs_in_by_its_secret(
    client: str, registry: Server, terminal: Callable[[str, Server], Terminal]
) -> None:
    """A robot's secret is given as the password, opens what the robot may use, and is refused once it is revoked."""
    console = terminal(client, registry)
    with repository(registry, "clients", "ann") as app:
        place = app.name.removesuffix("/app")
        name = f"ci-{place.partition('/')[2]}"
        command = f"REGISTRY_STORAGE_PATH={registry.storage} cargohold token"
        console.run(f"{command} create {name} --repository '{place}/*' --permission pull,push > password")
        console.log_in("robot", (console.folder / "password").read_text().strip())
        console.push(place)
        (tag,) = app.tags()
        assert app.is_whole(tag)
        console.pull(place)
        assert REFUSED.search(console.push_refused(f"{place}/further/down"))
        assert Repository(app.session, f"{place}/further/down/app").tags() == []
        console.run(f"{command} revoke {name}")
        assert REFUSED.search(console.pull_refused(place))


@pytest.mark.parametrize("clients", [("podman", "buildah", "skopeo"), ("docker", "crane", "oras")])
def test_a_login_is_shared(
    clients: tuple[str, ...], registry: Server, terminal: Callable[[str, Server], Terminal]
) -> None:
    """What each of these clients writes down, the others take for a login of theirs, refresh tokens included."""
    first = terminal(clients[0], registry)
    consoles = {client: first.beside(client) for client in clients}
    with repository(registry, "clients", "ann") as app:
        place = app.name.removesuffix("/app")
        app.push(Layout(first.folder / "app"), "latest")
        for client in clients:
            consoles[client].log_in("ann", PASSWORDS["ann"])
            for other in clients:
                consoles[other].pull(place)
            consoles[client].log_out()
            assert not any(each.may_pull(place) for each in consoles.values())


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
        console = terminal("docker", registry)
        place = app.name.removesuffix("/app")
        console.log_in("ann", PASSWORDS["ann"])
        (kept,) = json.loads((console.home / ".docker/config.json").read_text())["auths"].values()
        assert kept["identitytoken"]
        assert PASSWORDS["ann"] not in base64.b64decode(kept["auth"]).decode()
        console.push(place)
        assert app.tags() == ["latest"]
        make_htpasswd(tmp_path / "htpasswd", PASSWORDS | {"ann": "another"})
        deadline = time.monotonic() + RELOAD_SECONDS
        while time.monotonic() < deadline and console.may_pull(place):
            time.sleep(0.2)
        time.sleep(
            LOOK_SECONDS + SETTLE_SECONDS
        )  # one worker has seen the new file, and the other is about to
        assert REFUSED.search(console.pull_refused(place))


@pytest.mark.parametrize("challenge", ["basic", "bearer"])
def test_after_too_many_wrong_passwords_the_right_one_is_refused(
    tmp_path: Path, terminal: Callable[[str, Server], Terminal], challenge: str
) -> None:
    """Docker passes on that there were too many, and does not take the right password for a wrong one."""
    with guarded(tmp_path, {"auth.challenge": challenge, "limits.failed_logins": "1/day"}) as registry:
        console = terminal("docker", registry)
        console.log_in_refused("ann", "a pear")
        assert re.search("(?i)too ?many", console.log_in_refused("ann", PASSWORDS["ann"]))


def test_signatures_are_made_and_verified_with_a_login(
    registry: Server, terminal: Callable[[str, Server], Terminal], image: Layout
) -> None:
    """Cosign signs and verifies with a login, and does neither without."""
    console = terminal("cosign", registry)
    with repository(registry, "clients", "ann") as app:
        place = app.name.removesuffix("/app")
        app.push(image, "v1")
        console.run("cosign generate-key-pair")
        console.run(f"echo {image.digest} > digest")
        assert REFUSED.search(console.push_refused(place))
        console.log_in("ann", PASSWORDS["ann"])
        console.push(place)
        assert app.tags() == [image.digest.replace(":", "-") + ".sig", "v1"]
        console.pull(place)
        console.run(f"crane auth logout {registry.host}")
        assert REFUSED.search(console.pull_refused(place))
