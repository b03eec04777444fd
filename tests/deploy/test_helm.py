"""The Helm chart: what it renders is what Kubernetes takes, and runs the registry as it is to be run."""

from __future__ import annotations

import base64
import json
import math
import re
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from click.testing import CliRunner

import cargohold
from cargohold.cli.main import main
from cargohold.config import Settings, load
from cargohold.http.router import route
from cargohold.types.operations import CheckHealth, CheckReady, ReadMetrics
from tests.deploy.chart import CASES, CHART, HASH, KEY, TRUST, container, helm, one, render
from tests.deploy.values_schema import SCHEMA, written
from tests.http.serving import PROJECT

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.clients

CASE = pytest.mark.parametrize("values", CASES.values(), ids=CASES)
OTHERS = {"ServiceMonitor", "PrometheusRule"}
"""Kinds that Kubernetes itself does not have."""


def pod(objects: Sequence[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = one(objects, "Deployment")["spec"]["template"]["spec"]
    return found


def settings_of(objects: Sequence[dict[str, Any]], folder: Path) -> Settings:
    """What the server in the pod reads: the mounted file, and its environment."""
    registry = container(objects)
    (mount,) = (each for each in registry["volumeMounts"] if each["name"] == "settings")
    command, option, path = registry["args"]
    assert (command, option, path) == ("serve", "--config", mount["mountPath"])
    file = folder / Path(path).name
    file.write_text(one(objects, "ConfigMap")["data"][mount["subPath"]])
    image = dict(re.findall(r"\b(REGISTRY_[A-Z_]+)=(\S+)", (PROJECT / "deploy/Containerfile").read_text()))
    return load({"config": str(file)}, image | {each["name"]: each["value"] for each in registry["env"]})


@CASE
def test_lint(values: dict[str, Any], tmp_path: Path) -> None:
    """Helm finds nothing to warn of."""
    file = tmp_path / "values.json"
    file.write_text(json.dumps(values))
    ended = helm("lint", "--strict", "--values", str(file), str(CHART))
    assert ended.returncode == 0, ended.stdout
    assert "[WARNING]" not in ended.stdout


@CASE
@pytest.mark.parametrize("version", ["1.25", "1.37"])
def test_kubernetes_takes_it(values: dict[str, Any], version: str) -> None:
    """Each object is one of Kubernetes, with no field that it does not know; its name and labels are allowed."""
    for each in render(values):
        if each["kind"] not in OTHERS:
            kubernetes_validate.validate(each, version, strict=True)
        assert re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", each["metadata"]["name"])
        for value in each["metadata"].get("labels", {}).values():
            assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", value)


@CASE
def test_settings_are_valid(values: dict[str, Any], tmp_path: Path) -> None:
    """The server reads the settings that the values say, and those that the chart needs."""
    found = settings_of(render(values), tmp_path)
    given = values.get("config", {})
    assert found.host == given.get("host", "0.0.0.0")
    assert found.prefix == given.get("prefix", "")
    assert (found.port, found.socket, found.storage.path) == (5000, None, "/var/lib/cargohold")
    assert bool(found.auth.htpasswd) == ("users" in values)
    assert bool(found.tls.certificate) == bool(found.tls.key) == ("tls" in values)
    assert found.auth.required == ("auth" not in given and "users" not in values)
    assert found.manifests.max_bytes == given.get("manifests", {}).get("max_bytes", 4 * 2**20)


@CASE
def test_files_are_where_the_settings_say(values: dict[str, Any], tmp_path: Path) -> None:
    """Each file that the chart's own settings name is mounted, from a volume that has it, for the pod alone."""
    objects = render(values)
    found, given = settings_of(objects, tmp_path), values.get("config", {}).get("tls", {})
    mounts = {each["mountPath"]: each["name"] for each in container(objects)["volumeMounts"]}
    volumes = {each["name"]: each for each in pod(objects)["volumes"]}
    assert set(mounts.values()) == set(volumes)
    for path in filter(None, (found.auth.htpasswd, found.tls.certificate, found.tls.key)):
        assert path not in given.values()
        secret = volumes[mounts[str(Path(path).parent)]]["secret"]
        assert secret["defaultMode"] == 0o440
        names = [each["path"] for each in secret.get("items", [])] or ["tls.crt", "tls.key"]
        assert Path(path).name in names
    claim = volumes[mounts[found.storage.path]].get("persistentVolumeClaim", {}).get("claimName")
    made = [each["metadata"]["name"] for each in objects if each["kind"] == "PersistentVolumeClaim"]
    assert ([claim] == made) or claim == values["persistence"].get("existingClaim")


@CASE
def test_probes(values: dict[str, Any], tmp_path: Path) -> None:
    """The cluster asks what the registry answers, below the prefix; for who needs a certificate the port alone."""
    objects = render(values)
    settings = settings_of(objects, tmp_path)
    registry = container(objects)
    asked = {"startup": CheckHealth, "liveness": CheckHealth, "readiness": CheckReady}
    for name, operation in asked.items():
        probe = registry[f"{name}Probe"]
        if settings.tls.client_ca:
            assert probe["tcpSocket"] == {"port": "registry"}
            continue
        path = probe["httpGet"]["path"]
        assert path.startswith(settings.prefix)
        assert isinstance(route("GET", path.removeprefix(settings.prefix), ""), operation)
        assert probe["httpGet"]["scheme"] == ("HTTPS" if settings.tls.certificate else "HTTP")
    for monitor in (each for each in objects if each["kind"] == "ServiceMonitor"):
        (endpoint,) = monitor["spec"]["endpoints"]
        path = endpoint["path"].removeprefix(settings.prefix)
        assert isinstance(route("GET", path, ""), ReadMetrics)


@CASE
def test_ports(values: dict[str, Any], tmp_path: Path) -> None:
    """The service, the policy, the monitor and the ingress lead to the port that the server listens on."""
    objects = render(values)
    (port,) = container(objects)["ports"]
    assert port["containerPort"] == settings_of(objects, tmp_path).port
    (service,) = one(objects, "Service")["spec"]["ports"]
    assert service["targetPort"] == port["name"]
    for each in objects:
        match each["kind"]:
            case "NetworkPolicy":
                assert each["spec"]["ingress"][0]["ports"] == [{"port": port["name"]}]
            case "ServiceMonitor":
                assert each["spec"]["endpoints"][0]["port"] == service["name"]
            case "Ingress":
                (path,) = each["spec"]["rules"][0]["http"]["paths"]
                assert path["backend"]["service"]["port"]["name"] == service["name"]


@CASE
def test_selectors(values: dict[str, Any]) -> None:
    """Whatever chooses pods chooses the registry's, and not the pod that tests it."""
    objects = render(values)
    labels = one(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    tester = one(objects, "Pod")["metadata"]["labels"]
    for each in objects:
        spec = each.get("spec", {})
        selector = spec.get("selector") or spec.get("podSelector")
        if selector:
            chosen = selector.get("matchLabels", selector)
            assert chosen.items() <= labels.items()
            assert not chosen.items() <= tester.items()


@CASE
def test_secrets_are_in_secrets(values: dict[str, Any]) -> None:
    """What is secret among the values stands in a Secret, encoded, and nowhere else."""
    objects = render(values)
    for text in (HASH, KEY):
        encoded = base64.b64encode(text.encode()).decode()
        for each in objects:
            content = json.dumps(each)
            assert json.dumps(text)[1:-1] not in content
            assert each["kind"] == "Secret" or encoded not in content
    secrets = {each["metadata"]["name"] for each in objects if each["kind"] == "Secret"}
    given = "htpasswd" in values.get("users", {})
    assert secrets == ({"hub-cargohold-users", "hub-cargohold-tls"} if given else set())


@CASE
def test_nothing_more_than_it_needs(values: dict[str, Any]) -> None:
    """Both pods run as the image's user, who is not root, and can write to the storage alone."""
    objects = render(values)
    image = (PROJECT / "deploy/Containerfile").read_text()
    ((user, group),) = re.findall(r"^USER (\d+):(\d+)$", image, re.MULTILINE)
    (volume,) = re.findall(r"^VOLUME (\S+)$", image, re.MULTILINE)
    for spec in (pod(objects), one(objects, "Pod")["spec"]):
        context = spec["securityContext"]
        assert (context["runAsUser"], context["runAsGroup"]) == (int(user), int(group))
        assert context["runAsNonRoot"] is True
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is spec["enableServiceLinks"] is False
        for each in spec["containers"]:
            assert each["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert each["resources"]["limits"]["memory"]
    context = pod(objects)["securityContext"]
    assert (context["fsGroup"], context["fsGroupChangePolicy"]) == (int(group), "OnRootMismatch")
    writable = [
        each["mountPath"]
        for each in container(objects)["volumeMounts"]
        if not each.get("readOnly") and each["name"] != "keys"
    ]
    assert writable == [volume]


@CASE
def test_it_has_time_to_stop(values: dict[str, Any], tmp_path: Path) -> None:
    """The pod is killed only after the server has given up by itself."""
    objects = render(values)
    server = settings_of(objects, tmp_path).server
    assert server.drain >= 5
    assert pod(objects)["terminationGracePeriodSeconds"] > math.ceil(server.drain + server.stop_timeout) + 5


@pytest.mark.parametrize(
    ("server", "seconds"),
    [
        (None, 40),
        ({"stop_timeout": "10m"}, 615),
        ({"drain": 0, "stop_timeout": "1h0.5m1s"}, 3641),
        ({"drain": "2.2", "stop_timeout": 0.1}, 13),
        ({"drain": None, "stop_timeout": None}, 40),
    ],
)
def test_the_time_to_stop_follows_the_settings(
    server: dict[str, object] | None, seconds: int, tmp_path: Path
) -> None:
    """What Kubernetes waits is 10 seconds more than the server takes at the most, whole."""
    objects = render({"config": {"server": server}})
    found = settings_of(objects, tmp_path).server
    assert pod(objects)["terminationGracePeriodSeconds"] == seconds
    assert seconds == math.ceil(found.drain + found.stop_timeout) + 10


def test_a_time_to_stop_of_its_own() -> None:
    """A number among the values is taken where it is long enough."""
    assert pod(render({"terminationGracePeriodSeconds": 41}))["terminationGracePeriodSeconds"] == 41


@pytest.mark.parametrize("config", [None, {"host": None}, {"host": None, "server": None, "auth": None}])
def test_settings_that_are_left_out(config: dict[str, object] | None, tmp_path: Path) -> None:
    """Values that take away the chart's own settings leave a registry that can be reached, and asks for a login."""
    found = settings_of(render({"config": config}), tmp_path)
    assert (found.host, found.auth.required) == ("0.0.0.0", True)


def test_a_release_of_any_name() -> None:
    """A release whose name is a number to YAML bears it as a text."""
    objects = render({"fullnameOverride": "hub"}, release="123")
    for each in objects:
        if each["kind"] not in OTHERS:
            kubernetes_validate.validate(each, "1.37", strict=True)
    assert one(objects, "Deployment")["metadata"]["labels"]["app.kubernetes.io/instance"] == "123"


def test_no_class_of_storage() -> None:
    """`-` is no class at all, which is another thing than the cluster's own."""
    chosen = one(render({"persistence": {"storageClass": "-"}}), "PersistentVolumeClaim")
    assert chosen["spec"]["storageClassName"] == ""
    assert "storageClassName" not in one(render({}), "PersistentVolumeClaim")["spec"]


def test_an_image_by_its_digest() -> None:
    """A digest among the values names the image, for both pods."""
    image = {"repository": "registry.example.com/cargohold", "digest": f"sha256:{'0' * 64}"}
    objects = render({"image": image})
    for each in (container(objects), one(objects, "Pod")["spec"]["containers"][0]):
        assert each["image"] == f"{image['repository']}@{image['digest']}"


def test_new_settings_start_a_new_pod() -> None:
    """The pod's template changes with the settings, which are read at the start alone."""

    def template(**config: object) -> object:
        return one(render({"config": config}), "Deployment")["spec"]["template"]

    assert template() == template() != template(read_only=True)


def test_pods_beside_each_other() -> None:
    """Several pods, or an old and a new one, are on one node; otherwise the old one ends before the new one starts."""
    alone, together = render({}), render({"rolling": True})
    assert one(alone, "Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    assert "affinity" not in pod(alone)
    assert one(together, "Deployment")["spec"]["strategy"]["rollingUpdate"] == {
        "maxSurge": 1,
        "maxUnavailable": 0,
    }
    (near,) = pod(together)["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert near["topologyKey"] == "kubernetes.io/hostname"
    labels = one(together, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert near["labelSelector"]["matchLabels"].items() <= labels.items()


def test_the_content_outlives_the_release() -> None:
    """The claim is kept unless the values say otherwise."""
    keep = {"helm.sh/resource-policy": "keep"}
    assert one(render({}), "PersistentVolumeClaim")["metadata"]["annotations"] == keep
    gone = one(render({"persistence": {"retain": False}}), "PersistentVolumeClaim")
    assert not gone["metadata"].get("annotations")


def test_it_connects_where_it_has_to() -> None:
    """The policy lets nothing out unless a setting names something outside, or the values say what."""

    def egress(values: dict[str, Any]) -> object:
        return one(render(values), "NetworkPolicy")["spec"]["egress"]

    assert egress({}) == []
    for config in (
        {"auth": {"oidc": [TRUST]}},
        {"auth": {"bearer": {"jwks_url": "https://ci.example.com/keys"}}},
        {"tracing": {"endpoint": "http://127.0.0.1:4318/v1/traces"}},
    ):
        assert egress({"config": config}) == [{}]
        assert egress({"config": config, "networkPolicy": {"egress": []}}) == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "Only robots can log in"),
        (CASES["nothing optional"], "It is open to everyone"),
        (CASES["nothing optional"], "The content is gone with the pod"),
        ({"ingress": {"enabled": True, "host": "a.example.com"}}, "Set config.server.public_url"),
    ],
)
def test_notes(values: dict[str, Any], said: str, tmp_path: Path) -> None:
    """What helm says after an installation names what is not as it should be, and nothing else."""
    chart = tmp_path / "cargohold"
    shutil.copytree(CHART, chart)
    text = '{{ include "cargohold/templates/NOTES.txt" . | toJson }}'
    (chart / "templates/notes.yaml").write_text(f"kind: Notes\nmetadata: {{}}\ntext: {text}\n")

    def notes(values: dict[str, Any]) -> str:
        found: str = one(render(values, chart), "Notes")["text"]
        return found

    assert said in notes(values)
    for line in re.findall(r"-- (cargohold token create .*)", notes(values)):
        words = [*shlex.split(line)[1:], "--storage-path", str(tmp_path)]
        assert CliRunner().invoke(main, words).exit_code == 0
    assert said not in notes({"users": {"existingSecret": "people"}})


def test_schema_is_that_of_the_settings() -> None:
    """What `config` may hold is what the settings are; `python -m tests.deploy.values_schema` writes it."""
    current = SCHEMA.read_text()
    assert current == written(current)


def test_version() -> None:
    """The chart is for this version."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == cargohold.__version__
