"""What `docker save` writes, and those who write as it does."""

from __future__ import annotations

import bz2
import gzip
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from cargohold.storage.archive.docker import DockerImages, open_images
from cargohold.storage.archive.images import LAYOUT, LayoutImages, path_of
from cargohold.storage.archive.tar import ArchiveInvalid
from cargohold.types.digest import Digest
from cargohold.types.oci import OCI_MANIFEST, parse_manifest
from tests.registry.documents import descriptor, sha256
from tests.storage.archive.tars import entry, opened, tar_of

if TYPE_CHECKING:
    from pathlib import Path

    from cargohold.storage.archive.images import Images

LAYERS = (b"the first layer" * 100, b"the second layer" * 100)
NAME = "org.opencontainers.image.ref.name"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"


def config_of(*layers: bytes, **more: Any) -> bytes:
    return json.dumps(
        {"os": "linux", "rootfs": {"diff_ids": [sha256(layer) for layer in layers]}, **more}
    ).encode()


def saved(
    *layers: bytes, tags: list[str] | None = None, packed: tuple[bytes, ...] | None = None, **more: Any
) -> dict[str, bytes]:
    """The files of an archive of one image; `packed` are the layers as they are in it."""
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    item = {"Config": "config.json", "RepoTags": tags, "Layers": names, **more}
    files = dict(zip(names, packed or layers, strict=True))
    return {**files, "config.json": config_of(*layers), "manifest.json": json.dumps([item]).encode()}


def images(folder: Path, files: dict[str, bytes]) -> Images:
    return open_images(opened(folder, tar_of(files)))


def whole(found: Images, digest: str) -> bytes:
    content = b"".join(found.pieces(Digest(digest)))
    assert sha256(content) == digest
    assert found.size(Digest(digest)) == len(content)
    return content


def test_an_image(tmp_path: Path) -> None:
    """It has a manifest of its config and its layers, in their order, once for each tag."""
    found = images(tmp_path, saved(*LAYERS, tags=["team/app:v1", "team/app:latest"]))
    entries = list(found.entries())
    assert [each.annotations for each in entries] == [{NAME: "team/app:v1"}, {NAME: "team/app:latest"}]
    assert len({each.digest for each in entries}) == 1
    content = found.read(entries[0].digest, 10_000)
    assert len(content) == entries[0].size
    manifest = parse_manifest(content, OCI_MANIFEST)
    config = config_of(*LAYERS)
    assert manifest.blobs == tuple(map(Digest.of, (config, *LAYERS)))
    document = json.loads(content)
    assert document["config"] == descriptor(config, "application/vnd.oci.image.config.v1+json")
    assert document["layers"] == [descriptor(layer, LAYER_TYPE) for layer in LAYERS]
    assert [whole(found, digest) for digest in manifest.blobs] == [config, *LAYERS]


def test_an_image_without_tags(tmp_path: Path) -> None:
    """It is there, without a name; the same file is the same image."""
    one, two = (list(images(tmp_path, saved(*LAYERS)).entries()) for _ in range(2))
    assert [each.annotations for each in one] == [None]
    assert one == two


def test_layers_that_are_compressed(tmp_path: Path) -> None:
    """They stay as they are, under the digest that they have; what they unpack to must be what the config says."""
    packed = tuple(gzip.compress(layer, mtime=0) for layer in LAYERS)
    found = images(tmp_path, saved(*LAYERS, packed=(packed[0], LAYERS[1])))
    (image,) = found.entries()
    layers = json.loads(found.read(image.digest, 10_000))["layers"]
    assert layers == [descriptor(packed[0], f"{LAYER_TYPE}+gzip"), descriptor(LAYERS[1], LAYER_TYPE)]
    assert whole(found, layers[0]["digest"]) == packed[0]
    several = gzip.compress(LAYERS[0][:50]) + gzip.compress(LAYERS[0][50:])
    assert list(images(tmp_path, saved(LAYERS[0], packed=(several,))).entries())


def test_a_layer_that_unpacks_to_very_much(tmp_path: Path) -> None:
    """No more than a little of it is in memory."""
    big = bytes(64 << 20)
    found = images(tmp_path, saved(big, packed=(gzip.compress(big, mtime=0),)))
    assert len(list(found.entries())) == 1


def test_the_same_layer_twice(tmp_path: Path) -> None:
    """Docker writes the second as a link to the first."""
    files = saved(LAYERS[0], LAYERS[0])
    del files["1/layer.tar"]
    members = [(entry(name, content), content) for name, content in files.items()]
    members.append((entry("1/layer.tar", kind=tarfile.SYMTYPE, target="../0/layer.tar"), b""))
    found = open_images(opened(tmp_path, tar_of(members)))
    (image,) = found.entries()
    assert len(json.loads(found.read(image.digest, 10_000))["layers"]) == 2
    assert whole(found, sha256(LAYERS[0])) == LAYERS[0]


def test_several_images_share_layers(tmp_path: Path) -> None:
    """Each has its manifest; fields that are not known are passed over."""
    files = saved(*LAYERS, tags=["a:1"], LayerSources={}, Parent="sha256:x")
    items = json.loads(files["manifest.json"])
    items.append({"Config": "other.json", "RepoTags": ["b:1"], "Layers": ["0/layer.tar"]})
    files |= {"manifest.json": json.dumps(items).encode(), "other.json": config_of(LAYERS[0])}
    entries = list(images(tmp_path, files).entries())
    assert [each.annotations for each in entries] == [{NAME: "a:1"}, {NAME: "b:1"}]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"manifest.json": b"{}"}, "manifest.json is not what it should be"),
        ({"manifest.json": b"[" * 10_000}, "manifest.json is not what it should be"),
        ({"manifest.json": b'[{"Layers":[]}]'}, "manifest.json is not what it should be"),
        ({"manifest.json": b" " * (5 << 20)}, "larger than"),
        ({"manifest.json": b'[{"Config":"../x"}]'}, "leads out"),
        ({"manifest.json": b'[{"Config":"config.json","Layers":["/etc/passwd","a"]}]'}, "leads out"),
        ({"manifest.json": b'[{"Config":"absent.json","Layers":[]}]'}, "absent.json is missing"),
        ({"manifest.json": b'[{"Config":"config.json","Layers":["0/layer.tar"]}]'}, "of 2 layers"),
        ({"config.json": b"{}"}, "does not tell its layers"),
        ({"config.json": b'{"rootfs":{"diff_ids":["md5:abc","x"]}}'}, "does not tell its layers"),
        ({"0/layer.tar": None}, "0/layer.tar is missing"),
        ({"0/layer.tar": gzip.compress(b"another")}, f"that of {sha256(b'another')}"),
        ({"0/layer.tar": b"\x1f\x8bnot gzip at all"}, "cannot be unpacked"),
        ({"0/layer.tar": bz2.compress(LAYERS[0])}, "other means than gzip"),
    ],
)
def test_archives_that_are_refused(change: dict[str, Any], reason: str, tmp_path: Path) -> None:
    """Whatever does not fit together is refused, with the file that is wrong."""
    files = {name: content for name, content in (saved(*LAYERS) | change).items() if content is not None}
    with pytest.raises(ArchiveInvalid) as refused:
        images(tmp_path, files)
    assert reason in str(refused.value)


def test_layers_are_held_against_the_config_when_they_are_read(tmp_path: Path) -> None:
    """Of a layer that is not compressed the config says the digest, which whoever stores it checks."""
    found = images(tmp_path, saved(*LAYERS, packed=(b"another", LAYERS[1])))
    assert b"".join(found.pieces(Digest.of(LAYERS[0]))) == b"another"
    with pytest.raises(ArchiveInvalid, match="the bytes of"):
        found.read(Digest.of(LAYERS[0]), 10_000)


def test_what_is_not_there(tmp_path: Path) -> None:
    """As of a layout."""
    found = images(tmp_path, saved(*LAYERS))
    absent = Digest.of(b"absent")
    assert found.size(absent) is None
    with pytest.raises(ArchiveInvalid, match="missing"):
        list(found.pieces(absent))
    with pytest.raises(ArchiveInvalid, match="missing"):
        found.read(absent, 100)


def both(*layers: bytes) -> dict[str, bytes]:
    """What Docker writes from 25 on: a layout, whose layers are these, and its own manifest beside."""
    config = config_of(*LAYERS)
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(config),
            "layers": [descriptor(layer) for layer in layers],
        }
    ).encode()
    item = {
        "Config": path_of(Digest.of(config)),
        "RepoTags": ["app:v1"],
        "Layers": [path_of(Digest.of(layer)) for layer in LAYERS],
    }
    return {
        **{path_of(Digest.of(content)): content for content in (config, manifest, *LAYERS)},
        "oci-layout": LAYOUT,
        "index.json": json.dumps({"manifests": [descriptor(manifest, OCI_MANIFEST)]}).encode(),
        "manifest.json": json.dumps([item]).encode(),
    }


def test_a_layout_beside(tmp_path: Path) -> None:
    """Where there are both, the layout counts, which has the image's own manifest."""
    assert isinstance(images(tmp_path, both(*LAYERS)), LayoutImages)


@pytest.mark.parametrize("layers", [(), LAYERS[:1], LAYERS[::-1]])
def test_a_layout_beside_that_says_something_else(layers: tuple[bytes, ...], tmp_path: Path) -> None:
    """Where they differ, as those of Docker 25.0 do, what Docker has always written counts."""
    found = images(tmp_path, both(*layers))
    assert isinstance(found, DockerImages)
    (image,) = found.entries()
    named = [layer["digest"] for layer in json.loads(found.read(image.digest, 10_000))["layers"]]
    assert named == [sha256(layer) for layer in LAYERS]


def test_a_dir_of_skopeo(tmp_path: Path) -> None:
    """It has a manifest.json too, which is the manifest of the image: it is told what to write instead."""
    files = {
        "version": b"Directory Transport Version: 1.1\n",
        "manifest.json": b'{"schemaVersion": 2, "config": {}, "layers": []}',
    }
    with pytest.raises(ArchiveInvalid, match=r"dir:.* copy to oci: or docker-archive:"):
        images(tmp_path, files)


def test_very_old_archives(tmp_path: Path) -> None:
    """Docker before 1.10 wrote no manifest.json: it is told what to do."""
    with pytest.raises(ArchiveInvalid, match=r"1\.10"):
        images(tmp_path, {"repositories": b"{}", "abc/layer.tar": b""})
