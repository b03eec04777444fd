"""Values of the Helm chart that cannot be used."""

from __future__ import annotations

import re
from typing import Any

import pytest

from cargohold.config import SettingsError, load
from tests.deploy.chart import TRUST, refusal

pytestmark = pytest.mark.clients


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"config": {"storage": {"path": "/srv"}}}, "'storage' not allowed"),
        ({"config": {"prot": 1}}, "at '/config': additional properties 'prot' not allowed"),
        ({"config": {"server": {"drain": "5x"}}}, "at '/config/server/drain'"),
        ({"replica": 1}, "additional properties 'replica' not allowed"),
        ({"ingress": {"enabled": True}}, "ingress.host is missing"),
        ({"tls": {"certificate": "x"}}, "tls.key is missing"),
        ({"rolling": True, "persistence": {"accessMode": "ReadWriteOncePod"}}, "make it ReadWriteOnce"),
        ({"replicas": 2, "persistence": {"enabled": False}}, "set persistence.enabled"),
        (
            {"podLabels": {"app.kubernetes.io/name": "x"}},
            "app.kubernetes.io/name is a label of the chart's own",
        ),
        ({"terminationGracePeriodSeconds": 40}, "make it 45, or null"),
        ({"image": {"digest": "sha256:0"}}, "at '/image/digest'"),
    ],
)
def test_bad_values_are_refused(values: dict[str, Any], words: str) -> None:
    """Values that cannot be used are refused before anything is made, in words that say what to change."""
    assert words in refusal(values)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("host", "[::]"),
        ("prefix", "hub"),
        ("prefix", "/hub/"),
        ("prefix", "/a/../b"),
        ("server.public_url", "registry.example.com"),
        ("tracing.endpoint", "https://ann:secret@traces.example.com/v1/traces"),
        ("auth.bearer.jwks_url", "https://ann:secret@ci.example.com/keys"),
        ("auth.oidc", [TRUST | {"issuer": "https://ann:secret@ci.example.com"}]),
        ("auth.oidc", [TRUST | {"jwks_url": "https://ann:secret@ci.example.com/keys"}]),
    ],
)
def test_settings_that_the_server_refuses(name: str, value: object) -> None:
    """Settings by which the pods would never start, or show a password, are refused with their name, and no secret."""
    config = value
    for part in reversed(name.split(".")):
        config = {part: config}
    said = refusal({"config": config})
    assert f"config.{name}" in said
    assert "secret" not in said
    with pytest.raises(SettingsError, match=re.escape(name)):
        load({name: value}, {})
