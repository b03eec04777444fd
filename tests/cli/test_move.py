"""`cargohold export` and `cargohold import`, as they are typed beside servers that run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.cli.terminal import on_terminal
from tests.cli.test_command import CLEAN, SCRIPT, run
from tests.e2e.clients.absence import require_root
from tests.e2e.dangling import faults
from tests.e2e.pushing import EMPTY, make_manifest
from tests.http.serving import WAIT_SECONDS, until
from tests.interop.peer import Peer
from tests.storage.places import small_disk

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Start
    from tests.e2e.server import Server

OTHER = 65532  # a user that is not root


@pytest.fixture
def server(start: Start) -> Server:
    """A registry of three images, one of them with a referrer."""
    started = start()
    with Peer(started.url) as peer:
        image = peer.push("team/app", "v1", "latest", text="app")
        peer.push("team/app", text="signature", subject=image)
        peer.push("team/web", "v1", text="web")
        peer.push("other", "v1", text="app")
    return started


def export(server: Server, *words: str) -> subprocess.CompletedProcess[str]:
    return run(SCRIPT, "export", "--storage-path", str(server.storage), *words)


def import_(server: Server, *words: str) -> subprocess.CompletedProcess[str]:
    return run(SCRIPT, "import", "--storage-path", str(server.storage), *words)


def names(layout: Path) -> list[str]:
    found = json.loads((layout / "index.json").read_text())["manifests"]
    return [each["annotations"].get("org.opencontainers.image.ref.name", "") for each in found]


@pytest.mark.parametrize("place", ["images", "images.tar"])
def test_moved_to_another_registry(place: str, server: Server, start: Start, tmp_path: Path) -> None:
    """What is imported beside a running server is served at once, with all that refers to it."""
    exported = export(server, "--to", str(tmp_path / place))
    assert (exported.returncode, exported.stderr) == (0, "")
    assert exported.stdout.startswith("4 images with 4 tags exported; ")
    target = start()
    with Peer(target.url) as peer, Peer(server.url) as source:
        assert peer.catalog() == []
        imported = import_(target, str(tmp_path / place))
        assert (imported.returncode, imported.stderr) == (0, "")
        assert imported.stdout.startswith("4 images with 4 tags imported; ")
        assert peer.catalog() == source.catalog()
        for repository in peer.catalog():
            assert peer.tags(repository) == source.tags(repository)
            for tag in peer.tags(repository) or []:
                content = peer.manifest(repository, tag)
                assert content == source.manifest(repository, tag)
                assert content is not None
                for layer in json.loads(content)["layers"]:
                    assert peer.blob(repository, layer["digest"]) is not None
        image = source.manifest("team/app", "v1")
        assert image is not None
        assert peer.referrers("team/app", image) == source.referrers("team/app", image) != []
    assert faults(target.storage) == []


def test_through_a_pipe(server: Server, start: Start) -> None:
    """Standard output takes a tar, and standard input gives one."""
    target = start()
    paths = [str(each.storage) for each in (server, target)]
    line = (
        f"{SCRIPT} export --to - --storage-path {paths[0]} team/app:v1 --plain-tags |"
        f" {SCRIPT} import - --to mirror/app --storage-path {paths[1]}"
    )
    ran = run("bash", "-o", "pipefail", "-c", line)
    assert ran.returncode == 0, ran.stderr
    assert "2 images with 1 tag exported" in ran.stderr
    assert "2 images with 1 tag imported" in ran.stdout
    with Peer(target.url) as peer:
        assert peer.tags("mirror/app") == ["v1"]
    assert list((target.storage / "cargohold/new").iterdir()) == []


def test_from_a_file_on_standard_input(server: Server, start: Start, tmp_path: Path) -> None:
    """A file that standard input is sent from is read where it is."""
    export(server, "--to", str(tmp_path / "images.tar"))
    target = start()
    ran = run("sh", "-c", f"{SCRIPT} import - --storage-path {target.storage} < {tmp_path}/images.tar")
    assert (ran.returncode, ran.stderr) == (0, "")


def test_reports(server: Server, start: Start, tmp_path: Path) -> None:
    """--json prints one object on standard output, --quiet nothing; in a dry run nothing is stored."""
    told = json.loads(export(server, "--to", str(tmp_path / "images"), "--json").stdout)
    assert (told["images"], told["tags"], told["repositories"], told["problems"]) == (4, 4, 3, [])
    quiet = export(server, "--to", str(tmp_path / "images"), "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    target = start()
    dry = json.loads(import_(target, str(tmp_path / "images"), "--dry-run", "--json").stdout)
    assert (dry["images"], dry["tags"], dry["problems"]) == (4, 4, [])
    with Peer(target.url) as peer:
        assert peer.catalog() == []
    done = json.loads(import_(target, str(tmp_path / "images"), "--json").stdout)
    assert done == dry


def test_tags_that_stay_and_quotas(server: Server, start: Start, tmp_path: Path) -> None:
    """What the settings refuse to clients is refused to an import, which says why; the rest is imported."""
    export(server, "--to", str(tmp_path / "images"))
    target = start()
    with Peer(target.url) as peer:
        old = peer.push("team/app", "v1", text="old")
        fixed = '[{"repository": "team/**", "tags": ["v*"]}]'
        full = '[{"repository": "other", "bytes": "1KB"}]'
        settings = ("--set", f"tags.immutable={fixed}", "--set", f"quotas={full}")
        ran = import_(target, str(tmp_path / "images"), *settings)
        assert ran.returncode == 1
        assert ran.stdout.startswith("3 images with 2 tags imported; ")
        lines = sorted(ran.stderr.splitlines())
        assert len(lines) == 2
        assert re.match(
            r"cargohold: other:v1: .* may hold 1,000 bytes.*; make room there, or ask for a larger quota$",
            lines[0],
        )
        assert re.match(
            r"cargohold: team/app:v1: the tag v1 is immutable here .*: push another tag$", lines[1]
        )
        assert peer.manifest("team/app", "v1") == old
        assert peer.tags("team/app") == ["latest", "v1"]
        assert peer.tags("team/web") == ["v1"]
        assert peer.tags("other") is None


def test_what_is_done_again(server: Server, tmp_path: Path) -> None:
    """Only what is missing is written; what is gone is kept, and told, until it is pruned."""
    place = tmp_path / "images"
    export(server, "--to", str(place))
    assert "; 0 B of them are new" in export(server, "--to", str(place)).stdout
    with Peer(server.url) as peer:
        content = peer.manifest("team/web", "v1")
        assert content is not None
        peer.delete_manifest("team/web", content)
    assert "; 1 more that the layout had were kept" in export(server, "--to", str(place)).stdout
    assert "team/web:v1" in names(place)
    assert "of others were removed" in export(server, "--to", str(place), "--prune").stdout
    assert "team/web:v1" not in names(place)


def test_misuse(server: Server, tmp_path: Path) -> None:
    """What makes no sense ends with 2, and nothing is done."""
    place = str(tmp_path / "images")
    for words, message in (
        ((), "Missing option '--to'"),
        (("--to", f"{place}.tar", "--prune"), "--copy and --prune are for directories"),
        (("--to", "-", "--copy"), "--copy and --prune are for directories"),
        (("--to", "-", "--json"), "cannot take both"),
        (("--to", f"{place}.tgz"), "images.tgz: nothing is compressed here: write .tar, or --to - | gzip"),
        (("--to", f"{place}.tar.zst"), "nothing is compressed here: write .tar, or --to - | zstd"),
        (("--to", place, "Team"), "is no pattern of repositories"),
        (("--to", place, "team:v/1"), "is no pattern of tags"),
    ):
        ran = export(server, *words)
        assert (ran.returncode, ran.stdout) == (2, "")
        assert message in ran.stderr
    for words, message in (
        ((), "Missing argument 'PLACE'"),
        ((place, "--to", "Team"), "'Team': a repository name is made of"),
        ((place, "--to", "team:"), "'team:': a tag has"),
        ((place, "--set", "read_only=maybe"), "read_only"),
    ):
        ran = import_(server, *words)
        assert (ran.returncode, ran.stdout) == (2, "")
        assert message in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_refused(server: Server, tmp_path: Path) -> None:
    """What cannot be done ends with 1, and one line that says why."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("x")
    (tmp_path / "text").write_text("x")
    nowhere = str(tmp_path / "nowhere")
    for ran, message in (
        (export(server, "--to", str(tmp_path / "full")), "neither empty nor an OCI image layout"),
        (export(server, "--to", str(tmp_path / "text")), "text: Not a directory"),
        (export(server, "--to", f"{nowhere}/images"), "No such file or directory"),
        (export(server, "--to", f"{nowhere}/images.tar"), "No such file or directory"),
        (export(server, "--to", str(tmp_path / "p"), "--plain-tags"), "more were selected"),
        (run(SCRIPT, "export", "--to", nowhere, "--storage-path", nowhere), "no registry has its data in"),
        (import_(server, nowhere), "nowhere: No such file or directory"),
        (import_(server, str(tmp_path / "text")), "text: it breaks off"),
        (import_(server, str(tmp_path / "full")), "full: it holds no images"),
        (import_(server, str(tmp_path / "full"), "--set", "read_only=true"), "read_only is true"),
        (run(SCRIPT, "import", nowhere, "--storage-path", nowhere), "No such file or directory"),
    ):
        assert (ran.returncode, ran.stdout) == (1, "")
        assert ran.stderr.startswith("cargohold: ")
        assert message in ran.stderr
        assert ran.stderr.count("\n") == 1
    assert not (tmp_path / "nowhere").exists()


def test_a_misspelt_pattern(server: Server, tmp_path: Path) -> None:
    """The exit code tells that not all that was asked for is there."""
    ran = export(server, "--to", str(tmp_path / "images"), "team/app:v1", "team/ap")
    assert ran.returncode == 1
    assert ran.stderr == "cargohold: team/ap: there is no such image in the registry\n"
    assert names(tmp_path / "images") == ["team/app:v1", ""]
    pruned = export(server, "--to", str(tmp_path / "images"), "--prune", "team/ap")
    assert "nothing is removed where not all could be exported" in pruned.stderr
    assert names(tmp_path / "images") == ["team/app:v1", ""]


def test_nothing_is_found(server: Server, tmp_path: Path) -> None:
    """Where no image is found nothing is made that was not there, and a tar that was there stays."""
    (tmp_path / "old.tar").write_text("old")
    for name in ("new", "new.tar", "old.tar"):
        ran = export(server, "--to", str(tmp_path / name), "none/**")
        assert ran.returncode == 1
        assert ran.stderr == "cargohold: none/**: there is no such image in the registry\n"
    assert [path.name for path in tmp_path.iterdir()] == ["old.tar"]
    assert (tmp_path / "old.tar").read_text() == "old"
    assert export(server, "--to", str(tmp_path / "new"), "other").returncode == 0
    assert names(tmp_path / "new") == ["other:v1"]


def test_what_may_be_absent(server: Server, tmp_path: Path) -> None:
    """Where images may lack content it is told, and keeps nothing from being removed."""
    place, sparse = str(tmp_path / "images"), ("--set", "manifests.allow_sparse=true")
    with Peer(server.url) as peer:
        content = peer.manifest("team/web", "v1")
        assert content is not None
        layer = json.loads(content)["layers"][0]["digest"]
        assert export(server, "--to", place, *sparse).returncode == 0
        peer.delete(f"team/web/blobs/{layer}")
        peer.delete_manifest("other", peer.manifest("other", "v1") or b"")
    ran = export(server, "--to", place, "--prune", *sparse)
    assert (ran.returncode, "of others were removed" in ran.stdout) == (0, True)
    assert ran.stderr.startswith("cargohold: team/web@")
    assert ran.stderr.endswith(
        f"{layer}, which it names, is not in the repository, which manifests.allow_sparse allows\n"
    )
    assert "other:v1" not in names(tmp_path / "images")
    quiet = export(server, "--to", place, "--prune", "--quiet", *sparse)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    strict = export(server, "--to", place, "--prune")
    assert strict.returncode == 1
    assert "nothing is removed where not all could be exported" in strict.stderr


def test_a_terminal_gets_no_tar(server: Server, tmp_path: Path) -> None:
    """It would be of no use there."""
    shown = on_terminal(
        f"{SCRIPT} export --to - --storage-path {server.storage} || true", tmp_path, {}, CLEAN
    )
    assert "a tar is not for a terminal" in shown


def test_a_reader_that_goes_away(server: Server) -> None:
    """Standard output that is closed early ends the command with 1, and a line."""
    ran = run(
        "bash",
        "-c",
        f"{SCRIPT} export --to - --storage-path {server.storage} | true; echo ${{PIPESTATUS[0]}}",
    )
    assert ran.stdout.strip() in {"0", "1"}
    assert "Traceback" not in ran.stderr


def test_a_full_disk(server: Server, tmp_path: Path) -> None:
    """An export that does not fit is told so; what was there stays, and no half of a tar has its name."""
    with Peer(server.url) as peer:
        peer.push_blob("big", b"x" * 400_000)
    with small_disk(tmp_path / "small", 16) as disk:
        for name in ("images", "images.tar"):
            ran = export(server, "--to", str(disk / name), "--copy" if name == "images" else "--quiet")
            assert ran.returncode == 1
            assert ran.stderr.endswith(": No space left on device\n")
            assert "Traceback" not in ran.stderr
        assert not (disk / "images.tar").exists()
        assert [file for file in disk.rglob("*") if file.name.endswith((".new", ".part"))] == []


def test_root_acts_as_the_owner(server: Server, start: Start, tmp_path: Path) -> None:
    """What root exports belongs to the owner of the registry's data, and what root imports as well."""
    require_root()
    assert server.stop() == 0
    target = start()
    assert target.stop() == 0
    for folder in (server.storage, target.storage):
        for path in (folder, *folder.rglob("*")):
            os.chown(path, OTHER, OTHER)
    for folder in (tmp_path, *tmp_path.parents, server.storage.parent, target.storage.parent):
        if folder.stat().st_mode & 0o777 == 0o700:
            folder.chmod(0o755)
    (tmp_path / "closed").mkdir(mode=0o700)
    assert export(server, "--to", str(tmp_path / "images")).returncode == 0
    assert {path.stat().st_uid for path in (tmp_path / "images").rglob("*")} == {OTHER}
    assert export(server, "--to", str(tmp_path / "closed/images.tar")).returncode == 0
    assert import_(target, str(tmp_path / "closed/images.tar")).returncode == 0
    assert {path.stat().st_uid for path in target.storage.rglob("*")} == {OTHER}


def test_broken_off(server: Server, start: Start, tmp_path: Path) -> None:
    """An import that is killed leaves whole images alone, and is gone on with by typing it again."""
    with Peer(server.url) as peer:
        for number in range(30):
            peer.push("many", f"t{number}", text=f"many {number}")
    export(server, "--to", str(tmp_path / "images"))
    target = start()
    command = [SCRIPT, "import", str(tmp_path / "images"), "--storage-path", str(target.storage)]
    with Peer(target.url) as peer:
        process = subprocess.Popen(command, env=CLEAN)
        until(lambda: bool(peer.tags("many")) or process.poll() is not None)
        process.send_signal(signal.SIGKILL)
        process.wait(WAIT_SECONDS)
        assert faults(target.storage) == []
        for tag in peer.tags("many") or []:
            content = peer.manifest("many", tag)
            assert content is not None
            for layer in json.loads(content)["layers"]:
                assert peer.blob("many", layer["digest"]) is not None
        assert run(*command).returncode == 0
        assert len(peer.tags("many") or []) == 30


def test_interrupted(server: Server, tmp_path: Path) -> None:
    """Ctrl-C ends an export between two pieces, and no half of a tar is left."""
    pipe = tmp_path / "big.tar"
    with Peer(server.url) as peer:
        content = make_manifest("big", [bytes(8 << 20)])
        for blob in (EMPTY, bytes(8 << 20)):
            peer.push_blob("big", blob)
        peer.push_manifest("big", "v1", content)
    reader, writer = os.pipe()
    command = [SCRIPT, "export", "--to", "-", "--storage-path", str(server.storage)]
    with open(writer, "wb") as stdout, open(reader, "rb") as stdin:
        process = subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, env=CLEAN)
        stdout.close()
        assert len(stdin.read(1000)) == 1000
        process.send_signal(signal.SIGINT)
        while stdin.read(1 << 16):
            pass
        _, errors = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode != 0
    assert b"Traceback" not in errors
    assert not pipe.exists()


def test_the_tar_is_one_to_others(server: Server, tmp_path: Path) -> None:
    """The standard library, as any tar, lists what is in it; the index is last."""
    export(server, "--to", str(tmp_path / "images.tar"))
    with tarfile.open(tmp_path / "images.tar") as archive:
        listed = archive.getnames()
    assert (listed[0], listed[-1]) == ("oci-layout", "index.json")
    assert all(name.startswith("blobs/sha256/") for name in listed[1:-1])
