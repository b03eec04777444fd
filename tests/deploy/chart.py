"""The Helm chart, rendered for values."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any, Final

import yaml

from tests.e2e.clients.absence import require
from tests.http.serving import PROJECT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

CHART: Final = PROJECT / "deploy/helm/cargohold"
_SECONDS: Final = 60

HASH: Final = "ann:$2y$04$AbcdefghijklmnopqrstuuAbcdefghijklmnopqrstuvwxyz01234567"
KEY: Final = "-----BEGIN PRIVATE KEY-----\nnot one\n-----END PRIVATE KEY-----\n"
TRUST: Final = {
    "issuer": "https://ci.example.com",
    "audience": "registry.example.com",
    "rules": [{"claims": {"repository": "acme/app"}, "repository": "acme/app", "actions": ["push"]}],
}
CASES: Final[dict[str, dict[str, Any]]] = {
    "defaults": {},
    "everything from values": {
        "config": {
            "host": "::",
            "prefix": "/hub",
            "workers": 4,
            "manifests": {"max_bytes": 5368709},
            "limits": {"address": {"reads": "1000/minute"}},
            "auth": {
                "administrators": ["ann"],
                "oidc": [TRUST],
            },
            "server": {"drain": 10, "stop_timeout": "20s", "public_url": "https://registry.example.com"},
        },
        "users": {"htpasswd": HASH},
        "tls": {"certificate": "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", "key": KEY},
        "image": {
            "repository": "registry.example.com/cargohold",
            "tag": "x",
            "pullSecrets": [{"name": "puller"}],
        },
        "persistence": {"size": "1Ti", "storageClass": "fast", "retain": False, "annotations": {"a": "b"}},
        "service": {"type": "NodePort", "port": 80, "nodePort": 30500, "annotations": {"a": "b"}},
        "ingress": {
            "enabled": True,
            "className": "nginx",
            "host": "registry.example.com",
            "tlsSecret": "front",
            "annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "0"},
        },
        "networkPolicy": {
            "from": [{"podSelector": {"matchLabels": {"role": "front"}}}],
            "egress": [{"ports": [{"port": 443}]}],
        },
        "podDisruptionBudget": {"minAvailable": 1},
        "serviceAccount": {"name": "own", "annotations": {"a": "b"}},
        "metrics": {
            "serviceMonitor": {
                "enabled": True,
                "labels": {"release": "prometheus"},
                "basicAuth": {"username": {"name": "s", "key": "u"}, "password": {"name": "s", "key": "p"}},
            },
            "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
        },
        "extraVolumes": [{"name": "keys", "secret": {"secretName": "keys"}}],
        "extraVolumeMounts": [{"name": "keys", "mountPath": "/etc/cargohold/keys"}],
        "extraEnv": [{"name": "REGISTRY_LOG_LEVEL", "value": "debug"}],
        "podAnnotations": {"a": "b"},
        "podLabels": {"team": "a"},
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
        ],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
    },
    "what is there already": {
        "users": {"existingSecret": "people", "key": "file"},
        "tls": {"existingSecret": "pair"},
        "persistence": {"existingClaim": "content"},
        "serviceAccount": {"create": False},
        "fullnameOverride": "hub",
    },
    "pods beside each other": {
        "replicas": 2,
        "rolling": True,
        "persistence": {"accessMode": "ReadWriteMany"},
    },
    "certificates of clients": {
        "tls": {"existingSecret": "pair"},
        "config": {"tls": {"client_ca": "/etc/cargohold/ca/ca.crt"}},
    },
    "names that YAML takes for numbers and more": {
        "fullnameOverride": "true",
        "nameOverride": "0x10",
        "users": {"existingSecret": "null", "key": "yes"},
        "tls": {"existingSecret": "no"},
        "persistence": {"existingClaim": "12"},
        "serviceAccount": {"name": "on"},
        "priorityClassName": "1.0e+3",
        "ingress": {"enabled": True, "className": "off", "host": "*.example.com", "tlsSecret": "1"},
        "config": {"prefix": "/~"},
    },
    "nothing optional": {
        "config": {"auth": {"open_to_everyone": True}},
        "persistence": {"enabled": False},
        "networkPolicy": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
    },
}


def helm(*words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """A call of helm, which may fail."""
    return subprocess.run(
        [require("helm"), *words],
        input=given,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )


def render(values: Mapping[str, object], chart: Path = CHART, release: str = "hub") -> list[dict[str, Any]]:
    """The objects of a release in the namespace `images`, those of its tests included."""
    ended = helm(
        *("template", release, str(chart), "--namespace", "images", "--values", "-"),
        given=json.dumps(values),
    )
    assert ended.returncode == 0, ended.stderr
    return [each for each in yaml.safe_load_all(ended.stdout) if each is not None]


def refusal(values: Mapping[str, object]) -> str:
    """What helm says of values that cannot be used."""
    ended = helm("template", "hub", str(CHART), "--values", "-", given=json.dumps(values))
    assert ended.returncode != 0, ended.stdout
    return ended.stderr


def one(objects: Sequence[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The one object of a kind."""
    (found,) = (each for each in objects if each["kind"] == kind)
    return found


def container(objects: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The registry's container."""
    (found,) = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found
