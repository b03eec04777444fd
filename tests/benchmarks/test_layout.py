import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from benchmarks.outcome import MIB
from benchmarks.workloads.layout import NAME, make_layout


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("layout") / "made"
    layout = make_layout(str(path), 2 * MIB)
    assert layout.size == sum(blob.stat().st_size for blob in (path / "blobs/sha256").iterdir())
    assert 1.5 * MIB < layout.size < 12 * MIB
    return path


def document(path: Path, descriptor: dict[str, Any]) -> Any:
    return json.loads(content(path, descriptor))


def content(path: Path, descriptor: dict[str, Any]) -> bytes:
    digest: str = descriptor["digest"]
    found = (path / "blobs" / digest.replace(":", "/")).read_bytes()
    assert len(found) == descriptor["size"]
    assert f"sha256:{hashlib.sha256(found).hexdigest()}" == digest
    return found


def test_all_that_the_image_names_is_there_under_its_digest(path: Path) -> None:
    """Clients check the layers, compressed and not, so a wrong one would end the workload."""
    (entry,) = json.loads((path / "index.json").read_text())["manifests"]
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == NAME
    manifest = document(path, entry)
    config = document(path, manifest["config"])
    layers = [gzip.decompress(content(path, layer)) for layer in manifest["layers"]]
    assert len(layers) == 10
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    for layer in layers:
        with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
            assert archive.getnames()


def test_the_image_is_the_same_every_time(path: Path, tmp_path: Path) -> None:
    """Figures of two runs are of the same bytes."""
    make_layout(str(tmp_path / "again"), 2 * MIB)
    assert (tmp_path / "again/index.json").read_bytes() == (path / "index.json").read_bytes()
