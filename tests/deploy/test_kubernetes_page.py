"""What docs/kubernetes.md says is typed, as far as it goes without a cluster.

kubectl is told to make no more than the objects (`--dry-run=client`), and `helm install` to render them
(`helm template`, of the same words). What is left is what a cluster makes of them.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from typing import TYPE_CHECKING, Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from tests.certificates import Authority
from tests.deploy.chart import CHART, one, render
from tests.docs.blocks import Block, blocks_of
from tests.docs.session import Session
from tests.e2e.clients.absence import require
from tests.http.serving import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Start

pytestmark = pytest.mark.clients

PAGE = "kubernetes.md"
VALUES, MONITORING = (block.text for block in blocks_of(PAGE, "yaml"))
SECONDS = 60


def block(beginning: str) -> Block:
    (found,) = (each for each in blocks_of(PAGE, "sh", "console") if each.first.startswith(beginning))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the page takes for granted, and its file of values."""
    (tmp_path / "deploy").symlink_to(PROJECT / "deploy")
    Authority().issue("registry.example.com").write(tmp_path / "tls.crt", tmp_path / "tls.key")
    (tmp_path / "values.yaml").write_text(VALUES)
    return tmp_path


def typed(line: str, folder: Path) -> str:
    """What a line prints. Fails the test where it fails."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    words = shlex.split(line)
    require(words[0])
    ended = subprocess.run(
        ["sh", "-eu", "-c", line],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == 0, f"{line}\n{ended.stderr}"
    return ended.stdout


def objects(text: str) -> list[Any]:
    """The objects of a stream of YAML, each of which Kubernetes takes."""
    found = [each for each in yaml.safe_load_all(text) if each is not None]
    for each in found:
        # kubectl prints it for the server to fill in.
        given = each | {
            "metadata": {name: value for name, value in each["metadata"].items() if value is not None}
        }
        kubernetes_validate.validate(given, "1.37", strict=True)
    return found


def test_what_is_made_first(folder: Path) -> None:
    """The namespace and the secrets are made, and are those that the release of the page names and mounts."""
    with Session(folder) as session:
        session.type(block("cargohold htpasswd create"))
    made = [
        objects(typed(f"{line} --dry-run=client --output=yaml", folder))[0]
        for line in block("kubectl create namespace").text.splitlines()
    ]
    (namespace,) = (each["metadata"]["name"] for each in made if each["kind"] == "Namespace")
    secrets = {each["metadata"]["name"]: each for each in made if each["kind"] == "Secret"}
    assert {each["metadata"]["namespace"] for each in secrets.values()} == {namespace}

    release = objects(typed(install_line().replace("helm install", "helm template"), folder))
    assert f"--namespace {namespace} " in install_line()
    volumes = one(release, "Deployment")["spec"]["template"]["spec"]["volumes"]
    (users,) = (each["secret"] for each in volumes if each["name"] == "users")
    assert {item["key"] for item in users["items"]} == secrets[users["secretName"]]["data"].keys()
    (tls,) = one(release, "Ingress")["spec"]["tls"]
    assert secrets[tls["secretName"]]["type"] == "kubernetes.io/tls"


def install_line() -> str:
    return block("helm install").text.splitlines()[0]


def test_the_release_is_tested(folder: Path) -> None:
    """The page's test is of the release that it installs, which has one."""
    install, test = (shlex.split(line) for line in block("helm install").text.splitlines())
    assert test[:2] == ["helm", "test"]
    assert test[2] == install[2]
    assert test[-2:] == ["--namespace", install[install.index("--namespace") + 1]]
    release = objects(typed(shlex.join(["helm", "template", *install[2:]]), folder))
    assert one(release, "Pod")["metadata"]["annotations"]["helm.sh/hook"] == "test"


def test_plain_manifests_are_the_same(folder: Path) -> None:
    """The page's line for plain manifests writes what the installation makes."""
    typed(block("helm template").text, folder)
    written = objects((folder / "cargohold.yaml").read_text())
    assert written == objects(typed(install_line().replace("helm install", "helm template"), folder))


def test_monitoring() -> None:
    """The page's values for the Prometheus operator make what it reads."""
    found = render(yaml.safe_load(VALUES) | yaml.safe_load(MONITORING))
    (endpoint,) = one(found, "ServiceMonitor")["spec"]["endpoints"]
    assert set(endpoint["basicAuth"]) == {"username", "password"}
    job = one(found, "Service")["metadata"]["labels"][one(found, "ServiceMonitor")["spec"]["jobLabel"]]
    alerts = yaml.safe_load((PROJECT / "deploy/prometheus/alerts.yaml").read_text())
    assert one(found, "PrometheusRule")["spec"] == alerts
    assert set(re.findall(r'\bjob="([^"]*)"', json.dumps(alerts).replace('\\"', '"'))) == {job}


def test_the_chart_is_kept_in_a_registry(folder: Path, start: Start) -> None:
    """The chart is pushed to a registry of ours, and rendered from there it is the same."""
    server = start()
    lines = block("helm package").text.replace("localhost:5000", server.host).splitlines()
    rendered = [typed(line, folder) for line in lines][-1]
    assert objects(rendered) == objects(typed(f"helm template registry {CHART}", folder))
