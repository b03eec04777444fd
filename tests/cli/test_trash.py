"""`cargohold trash`: what it prints, what it brings back and lets go, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import re
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from cargohold.cli.main import main
from cargohold.cli.printing import written_time
from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.trash import Cause, Why
from cargohold.types.digest import Digest
from cargohold.types.names import RepositoryName, Tag
from tests.cli.test_command import SCRIPT, run
from tests.storage.contract.base import Sample, push, sample
from tests.storage.foreign import put

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from click.testing import Result

APP, OTHER = RepositoryName("team/app"), RepositoryName("other")
DAY = 86_400
HEADING = ["DELETED", "UNTIL", "REPOSITORY", "TAGS", "DIGEST", "WHY", "BY"]
ONE, TWO = sample("one"), sample("two")


class Place:
    """A registry's storage, with images in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with self.store() as store:
            store.prepare()

    def store(self) -> closing[FilesystemStore]:
        return closing(FilesystemStore(str(self.root)))

    def fill(self, repository: RepositoryName, of: Sample, *tags: str) -> None:
        """Store an image with its blobs."""

        async def filled(store: FilesystemStore) -> None:
            for content in (b"{}", *(word.encode() for word in ("one", "two"))):
                await push(store, repository, content)
            await store.commit_manifest(repository, of.digest, of.manifest, [Tag(tag) for tag in tags])

        with self.store() as store:
            asyncio.run(filled(store))

    def delete(self, repository: RepositoryName, what: str, cause: Cause) -> None:
        with self.store() as store:
            step: Coroutine[object, object, object] = (
                store.delete_manifest(repository, Digest(what), cause)
                if ":" in what
                else store.delete_tag(repository, Tag(what), cause)
            )
            asyncio.run(step)

    def tags(self, repository: RepositoryName = APP) -> dict[str, Digest]:
        async def found(store: FilesystemStore) -> dict[str, Digest]:
            return {
                tag: await store.resolve_tag(repository, Tag(tag))
                for tag in await store.list_tags(repository, "", 100)
            }

        with self.store() as store:
            return asyncio.run(found(store))

    def trash(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, ["trash", *arguments, "--storage-path", str(self.root)])

    def listed(self, *arguments: str) -> list[dict[str, object]]:
        result = self.trash("ls", "--json", *arguments)
        assert (result.exit_code, result.stderr) == (0, "")
        found: list[dict[str, object]] = json.loads(result.stdout)
        return found

    def record(self, repository: RepositoryName = APP) -> Path:
        (found,) = (self.root / f"docker/registry/v2/repositories/{repository}/_cargohold/trash").iterdir()
        return found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path / "data")
    made.fill(APP, ONE, "v1", "v2")
    return made


def test_ls(place: Place) -> None:
    """Each deletion has a line: when it was, until when it can be undone, what went, why, and who did it."""
    began = int(time.time())
    place.delete(APP, ONE.digest, Cause(Why.DELETED, "ann"))
    result = place.trash("ls")
    assert (result.exit_code, result.stderr) == (0, "")
    heading, line = result.stdout.splitlines()
    assert heading.split() == HEADING
    deleted, until, *rest = line.split()
    assert rest == ["team/app", "v1,v2", ONE.digest, "deleted", "ann"]
    assert written_time(began) <= deleted <= written_time(time.time())
    assert written_time(began + DAY) <= until <= written_time(time.time() + DAY)
    (listed,) = place.listed()
    assert listed == {
        "repository": "team/app",
        "digest": ONE.digest,
        "tags": ["v1", "v2"],
        "manifest": True,
        "deleted": deleted,
        "until": until,
        "why": "deleted",
        "by": "ann",
        "media_type": ONE.manifest.media_type,
        "size": len(ONE.manifest.content),
    }


def test_ls_of_patterns(place: Place) -> None:
    """Patterns choose repositories; those of the settings say until when."""
    place.fill(OTHER, TWO, "v1")
    place.delete(APP, "v1", Cause(Why.TAG_DELETED))
    place.delete(OTHER, "v1", Cause(Why.RETENTION))
    assert [each["repository"] for each in place.listed()] == ["other", "team/app"]
    assert [each["repository"] for each in place.listed("team/**")] == ["team/app"]
    assert [each["repository"] for each in place.listed("other", "other/**")] == ["other"]
    assert place.listed("--set", "trash.keep=0") == []
    assert place.trash("ls", "--set", "trash.keep=0").stdout.split() == HEADING


def test_ls_of_many_tags_and_odd_names(place: Place) -> None:
    """The table shows a few of many tags, and nothing that would command a terminal; JSON has them all."""
    place.fill(APP, TWO, *(f"t{number}" for number in range(10)))
    place.delete(APP, TWO.digest, Cause(Why.DELETED, "x\x1b[2J"))
    result = place.trash("ls")
    assert " t0,t1,t2,+7 " in result.stdout
    assert result.stdout.endswith(" x\\x1b[2J\n")
    assert "\x1b" not in place.trash("ls", "--json").stdout
    (listed,) = place.listed()
    assert listed["tags"] == [f"t{number}" for number in range(10)]


def test_restore(place: Place) -> None:
    """A line for what is back, and for each tag; then there is nothing more in the trash."""
    place.delete(APP, ONE.digest, Cause(Why.DELETED))
    result = place.trash("restore", "team/app:v2")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        f"team/app@{ONE.digest} is back",
        f"team/app:v1 points to {ONE.digest}",
        f"team/app:v2 points to {ONE.digest}",
    ]
    assert place.tags() == {"v1": ONE.digest, "v2": ONE.digest}
    assert place.listed() == []
    result = place.trash("restore", "team/app:v2")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "cargohold: team/app:v2 is not in the trash\n"


def test_restore_of_what_is_there(place: Place) -> None:
    """What was pushed again meanwhile is told to be there."""
    place.delete(APP, ONE.digest, Cause(Why.DELETED))
    place.fill(APP, ONE, "v1", "v2")
    result = place.trash("restore", f"team/app@{ONE.digest}")
    assert (result.exit_code, result.stdout) == (
        0,
        f"team/app@{ONE.digest} is there, with all of its tags\n",
    )


def test_restore_beside_another(place: Place) -> None:
    """A tag that points elsewhere is told, and the code is 1; it is moved back where that is asked."""
    place.delete(APP, ONE.digest, Cause(Why.DELETED))
    place.fill(APP, TWO, "v1")
    result = place.trash("restore", f"team/app@{ONE.digest}", "--json")
    assert result.exit_code == 1
    assert result.stderr == (
        f"cargohold: team/app:v1 points to {TWO.digest} by now: it stays there without --overwrite\n"
    )
    assert json.loads(result.stdout) == {
        "repository": "team/app",
        "digest": ONE.digest,
        "manifests": [ONE.digest],
        "tags": {"v2": ONE.digest},
        "taken": [{"tag": "v1", "digest": ONE.digest, "points_to": TWO.digest}],
        "problems": [],
    }
    immutable = ("--set", 'tags.immutable=[{"repository":"team/**"}]')
    result = place.trash("restore", "team/app:v1", "--overwrite", *immutable)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"cargohold: team/app:v1 points to {TWO.digest} and is immutable\n"
    result = place.trash("restore", "team/app:v1", "--overwrite")
    assert (result.exit_code, result.stdout) == (0, f"team/app:v1 points to {ONE.digest}\n")
    assert place.tags() == {"v1": ONE.digest, "v2": ONE.digest}


def test_restore_of_what_lacks_a_blob(place: Place) -> None:
    """A blob that is gone is named, with what can be done, and that works."""
    place.delete(APP, ONE.digest, Cause(Why.DELETED))
    layer = Digest.of(b"one")
    with place.store() as store:
        asyncio.run(store.delete_blob(APP, layer))
    result = place.trash("restore", "team/app:v1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"cargohold: the manifest {ONE.digest} needs what is not in the repository any more: {layer}; push the image"
        " again, or restore it as it is with --set manifests.allow_sparse=true\n"
    )
    result = place.trash("restore", "team/app:v1", "--set", "manifests.allow_sparse=true")
    assert (result.exit_code, result.stderr) == (0, "")
    assert place.tags() == {"v1": ONE.digest, "v2": ONE.digest}


def test_empty(place: Place) -> None:
    """What is let go is counted, and cannot be restored from then on; a dry run changes nothing."""
    place.fill(OTHER, TWO, "v1")
    place.delete(APP, "v1", Cause(Why.TAG_DELETED))
    for arguments, said in (
        (["--older-than", "1h", "--dry-run"], "0 deletions would be final"),
        (["--older-than", "1h"], "0 deletions final from now on"),
        ([OTHER, "--dry-run"], "0 deletions would be final"),
        ([OTHER], "0 deletions final from now on"),
        (["team/*", "--dry-run"], "1 deletion would be final"),
        ([], "1 deletion final from now on"),
        (["--dry-run"], "0 deletions would be final"),
    ):
        result = place.trash("empty", *arguments)
        assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"{said}\n")
    assert place.listed() == []
    result = place.trash("restore", "team/app:v1")
    assert result.stderr == "cargohold: team/app:v1 was deleted, and can no longer be restored\n"


@pytest.mark.parametrize("command", [["ls"], ["empty"], ["empty", "--dry-run"]])
def test_a_pattern_that_matches_no_repository(place: Place, command: list[str]) -> None:
    """It is told, with 2, whatever the other patterns match; nothing is let go."""
    place.delete(APP, "v1", Cause(Why.TAG_DELETED))
    result = place.trash(*command, str(APP), "none/**")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "cargohold: no repository matches 'none/**': give a whole name, or a pattern such as 'team/**'\n"
    )
    assert len(place.listed()) == 1


@pytest.mark.parametrize("content", [b"", b"\0" * 1000, b"[" * 100_000, b'{"digest": "\x1b[2J"}'])
def test_record_that_cannot_be_read(place: Place, content: bytes) -> None:
    """It is told where it is, and why it cannot be read; the rest is listed, and emptying lets it go too."""
    place.delete(APP, "v1", Cause(Why.TAG_DELETED))
    place.record().write_bytes(content)
    place.fill(OTHER, TWO, "v1")
    place.delete(OTHER, "v1", Cause(Why.TAG_DELETED))
    result = place.trash("ls")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 2
    assert result.stderr.startswith(f"cargohold: {place.record()} cannot be read: ")
    assert result.stderr.count("\n") == 1
    assert "\x1b" not in result.stderr
    assert place.trash("empty", "team/*").stderr == "1 deletion final from now on\n"
    assert place.record().name.endswith(".ended")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["restore", "team/app"], "write REPOSITORY:TAG or REPOSITORY@DIGEST, not 'team/app'"),
        (["restore", "Team/app:v1"], "'Team/app:v1': a repository name is made of components"),
        (["restore", "team/app:-"], "'team/app:-': a tag has at most 128"),
        (["restore", "team/app@sha256:0"], "'team/app@sha256:0': a sha256 digest has 64"),
        (["restore", "127.0.0.1:5000/team/app:v1"], "a repository name is made of components"),
        (["restore"], "Missing argument"),
        (["ls", "Team/*"], "is no pattern of repositories"),
        (["empty", "--older-than", "soon"], "must be"),
    ],
)
def test_mistakes(place: Place, arguments: list[str], said: str) -> None:
    """A command that cannot be meant so ends with 2, and with what to write instead."""
    result = place.trash(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in re.sub(r"\s+", " ", result.stderr)


@pytest.mark.parametrize("command", [["ls"], ["restore", "a:b"], ["empty"]])
def test_no_such_storage(tmp_path: Path, command: list[str]) -> None:
    """A directory that is no registry's is named, and nothing is made there."""
    result = CliRunner().invoke(main, ["trash", *command, "--storage-path", str(tmp_path)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"cargohold: no registry has its data in {tmp_path}: ")
    assert list(tmp_path.iterdir()) == []


def test_as_typed(place: Place) -> None:
    """The installed command does it, by the environment's settings too."""
    place.delete(APP, ONE.digest, Cause(Why.DELETED))
    environ = {"REGISTRY_STORAGE_PATH": str(place.root)}
    ran = run(SCRIPT, "trash", "restore", "team/app:v1", environ=environ)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert place.tags() == {"v1": ONE.digest, "v2": ONE.digest}


def test_typed_by_root() -> None:
    """What root restores and lets go belongs to whom the storage belongs: a server of that user can go on with it."""
    owner = os.geteuid(), os.getegid()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        place = Place(root / "data")
        place.fill(APP, ONE, "v1", "v2")
        place.delete(APP, "v2", Cause(Why.TAG_DELETED))
        place.delete(APP, ONE.digest, Cause(Why.DELETED))
        if owner[0] == 0:
            owner = 1234, 1235
            for path in (root, *root.rglob("*")):
                os.chown(path, *owner)
        assert place.trash("restore", f"team/app@{ONE.digest}").exit_code == 0
        assert place.trash("empty").exit_code == 0
        assert place.trash("ls").exit_code == 0
        assert {(path.stat().st_uid, path.stat().st_gid) for path in root.rglob("*")} == {owner}


def test_strays(place: Place) -> None:
    """What lies in the trash and is named by others is no deletion, and stays there."""
    with place.store() as store:
        put(f"{store.layout.trash(APP)}/.nfs0001", b"")
    assert place.listed() == []
    assert place.trash("empty").stderr == "0 deletions final from now on\n"
    assert place.record().name == ".nfs0001"
