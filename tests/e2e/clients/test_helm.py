"""helm: charts in a registry."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from tests.e2e.clients.repository import OCI_MANIFEST

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.clients.program import Client
    from tests.e2e.clients.repository import Repository

pytestmark = pytest.mark.clients

CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"


@pytest.fixture
def helm(client: Callable[..., Client]) -> Client:
    return client("helm")


@pytest.fixture
def package(helm: Client, tmp_path: Path) -> Callable[[str], Path]:
    """Makes the package of a chart in the version given."""
    helm("create", tmp_path / "harbour")

    def make(version: str) -> Path:
        helm("package", tmp_path / "harbour", f"--version={version}", f"--destination={tmp_path}")
        return tmp_path / f"harbour-{version}.tgz"

    return make


def test_a_chart_comes_back_as_it_was_pushed(
    helm: Client, package: Callable[[str], Path], repository: Repository, tmp_path: Path
) -> None:
    """A chart is a manifest of helm's own types, and the package pulled is the package pushed."""
    packed = package("1.0.0")
    helm("push", "--plain-http", packed, f"oci://{repository}")
    charts = repository.below("harbour")
    stored = charts.manifest("1.0.0")
    assert stored.media_type == OCI_MANIFEST
    assert stored.document["config"]["mediaType"] == "application/vnd.cncf.helm.config.v1+json"
    (layer,) = stored.document["layers"]
    assert layer["mediaType"] == CHART
    assert charts.blob(layer["digest"]) == packed.read_bytes()
    pulled = tmp_path / "pulled"
    pulled.mkdir()
    helm("pull", "--plain-http", f"oci://{charts}", "--version=1.0.0", f"--destination={pulled}")
    assert (
        hashlib.sha256((pulled / packed.name).read_bytes()).digest()
        == hashlib.sha256(packed.read_bytes()).digest()
    )


def test_versions_are_tags(helm: Client, package: Callable[[str], Path], repository: Repository) -> None:
    """Without an exact version the client lists the tags and takes the highest that fits."""
    for version in ("1.2.0", "1.10.0", "2.0.0-rc.1", "1.9.0"):
        helm("push", "--plain-http", package(version), f"oci://{repository}")
    charts = repository.below("harbour")
    assert charts.tags() == ["1.10.0", "1.2.0", "1.9.0", "2.0.0-rc.1"]
    shown = helm("show", "chart", "--plain-http", f"oci://{charts}", "--version=~1")
    assert "version: 1.10.0" in shown.splitlines()


def test_a_chart_is_rendered_from_the_registry(
    helm: Client, package: Callable[[str], Path], repository: Repository
) -> None:
    """Commands that take a chart take it from the registry."""
    helm("push", "--plain-http", package("1.0.0"), f"oci://{repository}")
    charts = repository.below("harbour")
    rendered = helm("template", "mine", "--plain-http", f"oci://{charts}", "--version=1.0.0")
    assert "kind: Deployment" in rendered
    assert "mine-harbour" in rendered
