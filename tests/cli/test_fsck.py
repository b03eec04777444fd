"""`cargohold fsck`: what it prints, what it leaves on disk, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from cargohold.cli.main import main
from cargohold.storage.locks import open_lock, try_lock
from cargohold.types.digest import Digest
from tests.cli.test_command import SCRIPT, run
from tests.storage.checking import FIRST, SECOND, TWO, A, Place, write
from tests.storage.contract.base import ONE, push
from tests.storage.places import read_only_view

if TYPE_CHECKING:
    from click.testing import Result

BIT_ROT = Digest.of(FIRST)
HURT = "the manifest names a blob whose bytes are wrong; repair, and then push the image again"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "data")


def fsck(place: Place, *words: str) -> Result:
    return CliRunner().invoke(main, ["fsck", *words, "--storage-path", str(place.root)])


def in_json(place: Place, *words: str) -> Any:
    return json.loads(fsck(place, "--json", *words).stdout)


def test_nothing_wrong(place: Place) -> None:
    """It ends with 0 and says how much was looked at; with --quiet it says nothing."""
    result = fsck(place)
    assert (result.exit_code, result.stderr) == (0, "")
    assert re.fullmatch(
        r"looked at 2 repositories, 8 manifests, 6 tags and 8 blobs \(.* KiB\)\nlost 0, damaged 0, harmless 0\n",
        result.stdout,
    )
    quiet = fsck(place, "--quiet", "--verify-content")
    assert (quiet.exit_code, quiet.output) == (0, "")


def test_bit_rot(place: Place) -> None:
    """A bit that has changed on the disk is found where content is verified, and nowhere else."""
    write(place.data(FIRST), b"girst")
    assert fsck(place).exit_code == 0
    result = fsck(place, "--quiet", "--verify-content")
    assert result.exit_code == 1
    *lines, looked, verified, counts = result.stdout.splitlines()
    assert sorted(lines) == [
        f"lost     library/one:a@{A.digest} {BIT_ROT}: {HURT}",
        f"lost     {BIT_ROT}: its bytes are not those of its digest; repair moves it to the quarantine",
        f"lost     team/two:a@{A.digest} {BIT_ROT}: {HURT}",
    ]
    assert looked.startswith("looked at 2 repositories")
    assert (verified, counts) == ("verified 8 blobs (2.0 KiB): all content", "lost 3, damaged 0, harmless 0")


def test_repair(place: Place) -> None:
    """It says what it did and where things are now, and ends with 1; the next one finds what is lost alone."""
    write(place.data(FIRST), b"girst")
    shutil.rmtree(os.path.dirname(place.layer(SECOND)))
    result = fsck(place, "--repair", "--verify-content")
    assert result.exit_code == 1
    assert f"{BIT_ROT}: its bytes are not those of its digest; moved to the quarantine\n" in result.stdout
    assert (
        f"{Digest.of(SECOND)}: the manifest names a blob that is stored, but not linked; written\n"
        in result.stdout
    )
    assert re.search(
        r"^moved 1 to .*/cargohold/quarantine/.*Z, where list\.jsonl says why$", result.stdout, re.MULTILINE
    )
    again = fsck(place)
    assert again.exit_code == 1
    assert again.stdout.count("push the image again") == 2
    assert again.stdout.endswith("lost 2, damaged 0, harmless 0\n")


def test_harmless(place: Place) -> None:
    """What no client notices is counted, and told with --all; it is no reason to end with 1."""
    os.unlink(place.layout.catalog_mark(ONE))
    result = fsck(place)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1:] == ["lost 0, damaged 0, harmless 1"]
    told = fsck(place, "--all").stdout.splitlines()[0]
    assert told.startswith("harmless library/one cargohold/catalog/library:one: the repository is not marked")
    assert fsck(place, "--repair").stdout.splitlines()[0].endswith("; written")


def test_leftovers(place: Place) -> None:
    """What a process that died left aside may have been new, or old: the line says so."""
    left = place.root / "cargohold/new/left"
    left.write_bytes(b"x")
    told = fsck(place, "--all", "--min-age", "0").stdout.splitlines()[0]
    assert told == (
        "harmless cargohold/new/left: is left over from what was being made, replaced or removed; repair removes it"
    )


def test_json(place: Place) -> None:
    """One object: all findings, with what they mean, and the counts."""
    well = in_json(place, "--verify-content")
    assert well["findings"] == []
    assert well["found"] == {"lost": 0, "damaged": 0, "harmless": 0}
    assert well["looked"]["verified"] == well["looked"]["blobs"] == 8
    assert well["whole"] is True
    os.unlink(place.layout.catalog_mark(ONE))
    shutil.rmtree(os.path.dirname(place.data(FIRST)))
    found = in_json(place)
    assert {each["kind"]: each["severity"] for each in found["findings"]} == {
        "missing-blob": "lost",
        "missing-mark": "harmless",
        "wrong-totals": "harmless",
    }
    assert found["kinds"] == {"missing-blob": 2, "missing-mark": 1, "wrong-totals": 1}
    repaired = in_json(place, "--repair")
    assert repaired["repaired"] == 1
    assert repaired["quarantined"] == 0
    assert {each["outcome"] for each in repaired["findings"]} == {"left", "written"}


def test_patterns(place: Place) -> None:
    """Only repositories that match are looked at."""
    shutil.rmtree(os.path.dirname(place.layer(FIRST, TWO)))
    assert fsck(place, "library/*").exit_code == 0
    result = fsck(place, "library/*", "team/**")
    assert result.exit_code == 1
    assert result.stdout.startswith("damaged  team/two:a@sha256:")
    assert in_json(place, "team/*")["looked"]["repositories"] == 1


def test_a_pattern_that_matches_nothing(place: Place) -> None:
    """It is told, whatever the other patterns match: to say that nothing is wrong there would be wrong."""
    for words in (["team/typo"], ["library/*", "team/typo"]):
        result = fsck(place, *words)
        assert result.exit_code == 2
        assert result.stderr == (
            "cargohold: no repository matches 'team/typo': give a whole name, or a pattern such as 'team/**'\n"
        )
    assert "looked at 1 repositories" in result.stdout


def test_a_folder_that_may_not_be_read() -> None:
    """It is told as what cannot be read, once, and all else is looked at and repaired."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        place = Place(Path(name) / "data")
        shutil.rmtree(os.path.dirname(place.layer(SECOND)))
        if os.geteuid() == 0:
            for path in (place.root, *place.root.rglob("*")):
                os.chown(path, 1234, 1235)
        for folder in (place.layout.repository(TWO), os.path.dirname(os.path.dirname(place.data(FIRST)))):
            os.chmod(folder, 0)
        first = fsck(place, "--verify-content")
        found = [line for line in first.stdout.splitlines() if "cannot be read" in line]
        assert first.exit_code == 1
        assert (
            len([line for line in found if place.layout.repository(TWO).rpartition("/docker/")[2] in line])
            == 1
        )
        assert any(f"/blobs/sha256/{Digest.of(FIRST).hex[:2]}" in line for line in found)
        assert "verified" in first.stdout
        assert "is stored, but not linked; written" in fsck(place, "--repair").stdout
        os.chmod(place.layout.repository(TWO), 0o755)


def push_much(place: Place) -> None:
    """More than is read in some seconds at the lowest rate, in many pieces."""
    with place.opened() as store:
        for number in range(20):
            asyncio.run(push(store, ONE, b"%3d" % number * 200))


def test_progress_that_cannot_be_kept(place: Place) -> None:
    """It ends with 2 where the next run would not go on from here: some content would never be read."""
    push_much(place)
    limited = [
        "--quiet",
        "--verify-content",
        "--resume",
        "--time-limit",
        "1s",
        "--rate",
        "1KiB",
        "--jobs",
        "1",
    ]
    with read_only_view(place.root, place.root.parent / "view") as view:
        words = ["fsck", *limited, "--storage-path", str(view)]
        result = CliRunner().invoke(main, words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "how far the verification came could not be written" in result.stderr
    result = fsck(place, *limited)
    assert (result.exit_code, result.output) == (0, "")


def test_gone_on_with(place: Place) -> None:
    """What a limit of time has left is verified by the next one that is asked to go on."""
    push_much(place)
    assert (
        "--resume goes on from here"
        in fsck(place, "--verify-content", "--time-limit", "1s", "--rate", "1KiB").stdout
    )
    assert in_json(place, "--verify-content", "--resume")["whole"] is True


def test_interrupted(place: Place) -> None:
    """Ctrl-C ends it with 2, not as if something were wrong; what it has verified is kept."""
    push_much(place)
    process = subprocess.Popen(
        [SCRIPT, "fsck", "--verify-content", "--rate", "1KiB", "--storage-path", place.root],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not os.path.exists(place.root / "cargohold/fsck/verified.json"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (2, "")
    assert stderr == "cargohold: the check was broken off\n"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--resume"], "go with --verify-content of the whole storage"),
        (["--time-limit", "2h"], "go with --verify-content of the whole storage"),
        (["--verify-content", "--resume", "team/*"], "go with --verify-content of the whole storage"),
        (["Team"], "is no pattern of repositories"),
        (["--rate", "fast"], "must be a number of bytes or a size such as 512KiB"),
        (["--rate", "5"], "from 1KiB to"),
        (["--rate", "1023B/s"], "from 1KiB to"),
        (["--time-limit", "soon", "--verify-content"], "a duration such as 90s"),
        (["--jobs", "0"], "0 is not in the range"),
        (["--set", "storage="], "storage"),
    ],
)
def test_misused(place: Place, words: list[str], reason: str) -> None:
    """What cannot be understood ends with 2, and says what to write instead."""
    result = fsck(place, *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert reason in result.stderr.replace("\n", " ")


def test_no_storage(tmp_path: Path) -> None:
    """A directory without a registry is named; it ends with 2, since 1 is for damage, and makes nothing."""
    (tmp_path / "empty").mkdir()
    for name in ("absent", "empty"):
        result = CliRunner().invoke(main, ["fsck", "--repair", "--storage-path", str(tmp_path / name)])
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr == (
            f"cargohold: no registry has its data in {tmp_path}/{name}: name the directory with --storage-path\n"
        )
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "empty"]


def test_another_is_at_work(place: Place) -> None:
    """A second one that would repair says so and ends with 2."""
    descriptor = open_lock(f"{place.layout.locks}/fsck")
    assert try_lock(descriptor)
    result = fsck(place, "--repair")
    os.close(descriptor)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "cargohold: another fsck verifies or repairs this storage: wait for its end\n"


def test_a_tree_of_another_server(place: Place) -> None:
    """What is ours need not be there; a check makes nothing of it."""
    for folder in place.root.rglob("*cargohold"):
        shutil.rmtree(folder)
    assert fsck(place).exit_code == 0
    assert list(place.root.rglob("*cargohold")) == []
    write(place.layer(FIRST), b"")
    assert "; written" in fsck(place, "--repair").stdout
    assert fsck(place).exit_code == 0


def test_as_typed(place: Place) -> None:
    """The installed command says the same, and a name that is no text does not command the terminal."""
    write(place.data(FIRST), b"girst")
    ran = run(SCRIPT, "fsck", "--verify-content", environ={"REGISTRY_STORAGE_PATH": str(place.root)})
    assert (ran.returncode, ran.stderr) == (1, "")
    assert ran.stdout.startswith(f"lost     {BIT_ROT}: ")


def test_typed_by_root() -> None:
    """What root repairs belongs to whom the storage belongs."""
    owner = os.geteuid(), os.getegid()
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        place = Place(Path(name) / "data")
        shutil.rmtree(os.path.dirname(place.data(FIRST)))
        if owner[0] == 0:
            owner = 1234, 1235
            for path in (place.root, *place.root.rglob("*")):
                os.chown(path, *owner)
        assert fsck(place, "--repair", "--verify-content").exit_code == 1
        made = {(path.stat().st_uid, path.stat().st_gid) for path in (place.root, *place.root.rglob("*"))}
        assert made == {owner}
