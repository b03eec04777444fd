"""What docs/ci.md says is typed: its settings, and the lines of its pipelines, against an issuer of the test."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import yaml

from cargohold.config import load
from tests.auth.idp import Issuer, Reply, as_json
from tests.config.test_pages import blocks
from tests.e2e.clients.engine import docker_engine
from tests.e2e.clients.images import packed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import Start
    from tests.e2e.server import Server

PAGE = (Path(__file__).parents[2] / "docs/ci.md").read_text()
SETTINGS, GITHUB, GITLAB = blocks(PAGE, "yaml")
(EXCHANGE,) = blocks(PAGE, "sh")
HOST, APP = "registry.example.com", "acme/app"
SECONDS = 60
PUSHED = {
    "github": {"repository": "acme/App", "repository_owner_id": "1234567", "ref": "refs/heads/main"},
    "gitlab": {"project_path": "acme/app", "ref_type": "branch", "ref": "main", "ref_protected": "true"},
}


class JobServer(Issuer):
    """An issuer that also answers a job which asks for its id token, as GitHub's runners do."""

    job: dict[str, str]

    def reply(self, path: str) -> Reply:
        if path.startswith("/job?"):
            assert path.endswith(f"&audience={HOST}")
            return Reply(as_json({"value": self.token(HOST, sub="a job", **self.job)}))
        return super().reply(path)


@pytest.fixture
def idp() -> Iterator[JobServer]:
    with JobServer() as issuer:
        yield issuer


def serve(start: Start, idp: Issuer, system: str) -> Server:
    """A server with the page's settings, but for the address of one issuer."""
    auth: dict[str, Any] = yaml.safe_load(SETTINGS)["auth"]
    (trust,) = (entry for entry in auth["oidc"] if system in entry["issuer"])
    trusts = json.dumps([trust | {"issuer": idp.url}])
    return start({"auth.oidc": trusts, "auth.challenge": auth["challenge"]})


def typed(text: str, server: Server, folder: Path, **environment: str) -> str:
    """What lines print, the page's registry being this one. Fails the test where they do."""
    ended = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", text.replace(f"https://{HOST}", server.url)],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    return ended.stdout


def at(server: Server, line: str) -> str:
    """A line that names the registry as a client does; the audience stays what it is."""
    return re.sub(rf"(?<!audience=){re.escape(HOST)}", server.host, line)


def test_settings_are_valid(tmp_path: Path) -> None:
    """The page's settings are read as they stand."""
    file = tmp_path / "registry.yaml"
    file.write_text(SETTINGS)
    found = load({"config": str(file)}, {}).auth.oidc
    assert [len(trust.rules) for trust in found] == [2, 1]


@pytest.mark.clients
@pytest.mark.parametrize("system", ["github", "gitlab"])
def test_pipeline_pushes(
    start: Start, idp: JobServer, tmp_path_factory: pytest.TempPathFactory, system: str
) -> None:
    """The lines of each pipeline log in and push with docker."""
    server = serve(start, idp, system)
    idp.job = PUSHED[system]
    home = tmp_path_factory.mktemp("home")
    # Sockets have short names.
    with docker_engine(tmp_path_factory.mktemp("docker")) as docker:
        environment = {"DOCKER_HOST": docker.environment["DOCKER_HOST"]}
        docker("import", "-", f"{server.host}/{APP}", given=packed({"file": b"content"}))
        if system == "github":
            steps = yaml.safe_load(GITHUB)["jobs"]["push"]["steps"]
            lines = [step["run"] for step in steps if "run" in step]
            environment["ACTIONS_ID_TOKEN_REQUEST_URL"] = f"{idp.url}/job?version=2"
            environment["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] = "of the runner"
        else:
            job = yaml.safe_load(GITLAB)["push"]
            lines = job["script"]
            environment["REGISTRY_TOKEN"] = idp.token(
                job["id_tokens"]["REGISTRY_TOKEN"]["aud"], sub="a job", **idp.job
            )
        build, *others = lines
        assert build == f"docker build --tag {HOST}/{APP} ."
        for line in others:
            typed(at(server, line), server, home, **environment)
    login = ("ci", idp.token(HOST, sub="a job", **idp.job))
    assert httpx2.get(f"{server.url}/v2/{APP}/tags/list", auth=login, timeout=30).json()["tags"] == ["latest"]


def test_exchange_gives_a_token(start: Start, idp: JobServer, tmp_path: Path) -> None:
    """The line that exchanges an id token prints a token for what it asked."""
    server = serve(start, idp, "github")
    (tmp_path / "id-token").write_text(idp.token(HOST, sub="a job", **PUSHED["github"]))
    given = json.loads(typed(EXCHANGE, server, tmp_path))
    assert given["scope"] == f"repository:{APP}:pull,push"
    assert 0 < given["expires_in"] <= 330
    headers = {"Authorization": f"Bearer {given['access_token']}"}
    place = f"{server.url}/v2/{APP}/blobs/uploads/"
    assert httpx2.post(place, headers=headers, timeout=30).status_code == 202


def test_other_branches_and_owners(start: Start, idp: JobServer) -> None:
    """By the page's rules another branch may pull and not push, and another owner is not let in."""
    server = serve(start, idp, "github")
    place = f"{server.url}/v2/{APP}/"
    for change, pull, push in (
        ({}, 404, 202),
        ({"ref": "refs/heads/other"}, 404, 403),
        ({"repository_owner_id": "7654321"}, 401, 401),
    ):
        login = ("ci", idp.token(HOST, sub="a job", **{**PUSHED["github"], **change}))
        assert httpx2.get(f"{place}tags/list", auth=login, timeout=30).status_code == pull
        assert httpx2.post(f"{place}blobs/uploads/", auth=login, timeout=30).status_code == push


def test_refusal_is_in_the_log(start: Start, idp: JobServer) -> None:
    """The log has the page's line, with the default settings, and nothing of the token."""
    server = serve(start, idp, "gitlab")
    token = idp.token("other", sub="a job", **PUSHED["gitlab"])
    assert httpx2.get(f"{server.url}/v2/", auth=("ci", token), timeout=30).status_code == 401
    assert server.stop() == 0
    (said,) = re.findall(r"^INFO cargohold\.auth\.oidc: (.*)$", PAGE, re.MULTILINE)
    said = said.replace("https://gitlab.example.com", idp.url)
    lines = [json.loads(line) for line in server.log.splitlines()]
    assert ("cargohold.auth.oidc", "INFO", said) in [
        (line["logger"], line["level"], line["message"]) for line in lines
    ]
    assert token not in server.log
