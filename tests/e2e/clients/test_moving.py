"""Layouts and archives: clients read what `export` writes, and `import` takes what clients write."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.cli.test_command import CLEAN, SCRIPT
from tests.e2e.clients.engine import docker_engine
from tests.e2e.clients.images import Layout
from tests.e2e.clients.repository import OCI_MANIFEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.e2e.clients.program import Client
    from tests.e2e.clients.repository import Repository
    from tests.e2e.server import Server

pytestmark = pytest.mark.clients

SECONDS = 60


@pytest.fixture
def skopeo(client: Callable[..., Client]) -> Client:
    return client("skopeo", "--insecure-policy")


@pytest.fixture
def crane(client: Callable[..., Client]) -> Client:
    return client("crane", "--insecure")


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with docker_engine(tmp_path_factory.mktemp("docker")) as engine:
        yield engine


class Desk(NamedTuple):
    """Somebody at the machine of a registry, with a repository and a folder."""

    registry: Server
    repository: Repository
    folder: Path

    def typed(self, *words: str | Path) -> str:
        """What a command prints that works on the registry's storage, and succeeds."""
        command = [SCRIPT, *map(str, words), "--storage-path", str(self.registry.storage)]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=CLEAN, check=False)
        assert (ran.returncode, ran.stderr) == (0, ""), ran
        return ran.stdout


@pytest.fixture
def desk(registry: Server, repository: Repository, tmp_path: Path) -> Desk:
    return Desk(registry, repository, tmp_path)


def test_skopeo_reads_a_directory(skopeo: Client, index: Layout, desk: Desk) -> None:
    """An image is found by its whole name, and is what it was; its layers come as they are."""
    desk.repository.push(index, "v1")
    desk.repository.push(index, "other")
    desk.typed("export", desk.repository.name, "--to", desk.folder / "images")
    copy = desk.repository.below("copy")
    source = f"oci:{desk.folder}/images:{desk.repository.name}:v1"
    skopeo("copy", "--all", "--dest-tls-verify=false", source, f"docker://{copy}:v1")
    assert copy.manifest("v1").content == index.content
    assert copy.is_whole("v1")


def test_skopeo_reads_a_tar(skopeo: Client, image: Layout, desk: Desk) -> None:
    """The same of an archive."""
    desk.repository.push(image, "v1")
    desk.typed("export", f"{desk.repository.name}:v1", "--to", desk.folder / "images.tar")
    copy = desk.repository.below("copy")
    source = f"oci-archive:{desk.folder}/images.tar:{desk.repository.name}:v1"
    skopeo("copy", "--dest-tls-verify=false", source, f"docker://{copy}:v1")
    assert copy.manifest("v1").content == image.content
    assert copy.is_whole("v1")


def test_skopeo_adds_to_a_directory(skopeo: Client, image: Layout, index: Layout, desk: Desk) -> None:
    """What a client puts into a layout is kept by the next export; nothing of the registry is changed by it."""
    desk.repository.push(image, "v1")
    place = desk.folder / "images"
    desk.typed("export", desk.repository.name, "--to", place)
    skopeo("copy", "--all", f"oci:{index.path}:it", f"oci:{place}:theirs")
    skopeo("copy", f"oci:{image.path}:it", f"oci:{place}:again")
    assert "2 more that the layout had were kept" in desk.typed("export", desk.repository.name, "--to", place)
    assert desk.repository.is_whole("v1")
    for name, layout in (("theirs", index), (f"{desk.repository.name}:v1", image)):
        raw = skopeo.output("inspect", "--raw", f"oci:{place}:{name}")
        assert raw == layout.content


def test_crane_pushes_a_directory(crane: Client, image: Layout, desk: Desk) -> None:
    """A layout of one image is that image."""
    desk.repository.push(image, "v1")
    desk.typed("export", f"{desk.repository.name}:v1", "--to", desk.folder / "images")
    copy = desk.repository.below("copy")
    crane("push", desk.folder / "images", f"{copy}:v1")
    assert copy.manifest("v1").content == image.content
    assert copy.is_whole("v1")


@pytest.mark.parametrize("program", ["oras", "regctl"])
def test_plain_tags_are_for_others(
    program: str, client: Callable[..., Client], image: Layout, desk: Desk
) -> None:
    """These clients take a tag alone for a name."""
    desk.repository.push(image, "v1")
    place = desk.folder / "images"
    desk.typed("export", desk.repository.name, "--plain-tags", "--to", place)
    copy = desk.repository.below("copy")
    if program == "oras":
        client("oras")("cp", "--from-oci-layout", f"{place}:v1", "--to-plain-http", f"{copy}:v1")
    else:
        regctl = client("regctl", f"--host=reg={desk.repository.host},tls=disabled")
        regctl("image", "copy", f"ocidir://{place}:v1", f"{copy}:v1")
    assert copy.manifest("v1").content == image.content
    assert copy.is_whole("v1")


@pytest.mark.parametrize("transport", ["oci", "oci-archive"])
def test_what_skopeo_writes(transport: str, skopeo: Client, index: Layout, desk: Desk) -> None:
    """A layout of it is imported as it is, by its name or where one says."""
    name = desk.repository.below("named").name
    for written in ("it", f"{name}:v1"):
        place = desk.folder / written.replace("/", "-").replace(":", "-")
        skopeo("copy", "--all", f"oci:{index.path}:it", f"{transport}:{place}:{written}")
        desk.typed("import", place, *(() if ":" in written else ("--to", f"{desk.repository.name}:v1")))
    for imported in (desk.repository, desk.repository.below("named")):
        assert imported.manifest("v1").content == index.content
        assert imported.is_whole("v1")


def check_pulled(skopeo: Client, crane: Client, desk: Desk, image: Layout) -> None:
    """An image that was unpacked on its way: others pull it, and its layers unpack to what they were."""
    assert desk.repository.is_whole("v1")
    config = json.loads(image.blob(json.loads(image.content)["config"]["digest"]))
    stored = json.loads(desk.repository.blob(desk.repository.manifest("v1").document["config"]["digest"]))
    assert stored["rootfs"] == config["rootfs"]
    crane("pull", "--format=oci", f"{desk.repository}:v1", desk.folder / "by-crane")
    assert Layout(desk.folder / "by-crane").content == desk.repository.manifest("v1").content
    skopeo(
        "copy", "--src-tls-verify=false", f"docker://{desk.repository}:v1", f"oci:{desk.folder}/by-skopeo:it"
    )
    assert len(Layout(desk.folder / "by-skopeo").blobs) == len(image.blobs)


def test_docker_archives_of_skopeo(skopeo: Client, crane: Client, image: Layout, desk: Desk) -> None:
    """What it writes for `docker load` is an image, under the name that it has there."""
    place = desk.folder / "saved.tar"
    skopeo("copy", f"oci:{image.path}:it", f"docker-archive:{place}:example.com/{desk.repository.name}:v1")
    assert "1 image with 1 tag imported" in desk.typed("import", place)
    check_pulled(skopeo, crane, desk, image)


@pytest.mark.parametrize("form", ["oci", "tarball"])
def test_what_crane_writes(form: str, skopeo: Client, crane: Client, image: Layout, desk: Desk) -> None:
    """Its layouts have no names; its tarballs are docker's, with layers that are compressed."""
    source = desk.repository.below("source")
    source.push(image, "v1")
    place = desk.folder / "pulled"
    crane("pull", f"--format={form}", f"{source}:v1", place)
    desk.typed("import", place, "--to", f"{desk.repository.name}:v1")
    check_pulled(skopeo, crane, desk, image)
    layers = [layer["digest"] for layer in desk.repository.manifest("v1").document["layers"]]
    assert layers == [layer["digest"] for layer in json.loads(image.content)["layers"]]


def test_what_docker_saves(
    docker: Client, skopeo: Client, crane: Client, runnable: Layout, desk: Desk
) -> None:
    """An image that docker has saved is pulled by docker, and runs; the same archive is the same image."""
    source = desk.repository.below("source")
    source.push(runnable, "v1")
    docker("pull", f"{source}:v1")
    docker("tag", f"{source}:v1", f"{desk.repository}:v1")
    docker("save", f"--output={desk.folder}/saved.tar", f"{desk.repository}:v1")
    docker("image", "rm", "--force", f"{source}:v1", f"{desk.repository}:v1")
    assert "1 image with 1 tag imported" in desk.typed("import", desk.folder / "saved.tar")
    stored = desk.repository.manifest("v1")
    assert stored.media_type == OCI_MANIFEST
    check_pulled(skopeo, crane, desk, runnable)
    assert docker("run", "--rm", "--network=none", f"{desk.repository}:v1").endswith("it runs")
    desk.typed("import", desk.folder / "saved.tar")
    assert desk.repository.manifest("v1") == stored
