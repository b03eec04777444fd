"""`cargohold gc`: what it collects, lists and prints, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from cargohold.app import collecting
from cargohold.cli.main import main
from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.filesystem.collection import alone, content
from cargohold.storage.runs import RunsFile
from cargohold.types.digest import Digest
from cargohold.types.names import RepositoryName, Tag
from tests.cli.test_command import CLEAN, SCRIPT
from tests.http.serving import until
from tests.storage.collecting import HOUR, make_old
from tests.storage.contract.base import LATEST, ONE, OTHER, commit, push, sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result

STRAY = b"stray"
KEPT = sample("image")
GONE = Digest.of(STRAY)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FilesystemStore]:
    """It holds an image, and in another repository a blob that nothing uses, both old."""
    made = FilesystemStore(str(tmp_path / "data"))
    made.prepare()
    asyncio.run(_fill(made))
    make_old(made)
    yield made
    made.close()


async def _fill(store: FilesystemStore) -> None:
    await push(store, ONE, STRAY)
    await commit(store, OTHER, KEPT, LATEST)


def gc(store: FilesystemStore, *words: str) -> Result:
    return CliRunner().invoke(main, ["gc", "--storage-path", store.layout.root, *words])


def has(store: FilesystemStore, digest: Digest) -> bool:
    return os.path.exists(store.layout.data(digest))


def record(line: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(line)
    assert found.pop("seconds") >= 0
    assert found.pop("started").endswith("Z")
    return found


def report(**more: object) -> dict[str, object]:
    counts = dict.fromkeys(("tags", "manifests", "links", "blobs", "bytes", "freed_bytes"), 0)
    return {
        "dry_run": False,
        "resumed": False,
        "ended": True,
        "repositories": 2,
        **counts,
        "skipped": {},
        "content_stays": False,
        **more,
    }


def test_a_run(store: FilesystemStore) -> None:
    """It collects what nothing needs, leaves all else, says how much that was, and notes the run as the server does."""
    result = gc(store, "--no-wait")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "collected: 0 manifests, 1 link of blobs, and 1 blob with 5 B\nlooked at 2 repositories\n"
    )
    assert (has(store, GONE), has(store, KEPT.digest)) == (False, True)
    runs = RunsFile(store.layout).read()
    assert runs is not None
    assert (runs.outcomes, runs.freed) == ({"complete": 1}, len(STRAY))
    result = gc(store)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("collected: 0 manifests, 0 links of blobs, and 0 blobs with 0 B\n")


def test_a_report_for_programs(store: FilesystemStore) -> None:
    """With `--json` the report is one object, and all that is printed."""
    result = gc(store, "--json", "--no-wait")
    assert (result.exit_code, result.stderr) == (0, "")
    (line,) = result.stdout.splitlines()
    assert record(line) == report(links=1, blobs=1, bytes=len(STRAY))


def test_waiting_until_it_is_off_the_disk(store: FilesystemStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that it waits, and then removes the bytes that it has collected."""
    monkeypatch.setattr(content, "EMPTY_AFTER", 0.05)
    monkeypatch.setattr(collecting, "REMOVED_AFTER", 0.2)
    result = gc(store, "--json")
    assert result.exit_code == 0
    assert result.stderr.startswith("waiting for half a minute, ")
    assert record(result.stdout) == report(links=1, blobs=1, bytes=len(STRAY), freed_bytes=len(STRAY))
    assert os.listdir(store.layout.swept) == []


def test_what_an_earlier_run_left(store: FilesystemStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `--no-wait` has left to the next run counts as freed there."""
    monkeypatch.setattr(content, "EMPTY_AFTER", 0.0)
    first = gc(store, "--json", "--no-wait")
    assert record(first.stdout) == report(links=1, blobs=1, bytes=len(STRAY))
    second = gc(store, "--json", "--no-wait")
    assert record(second.stdout) == report(freed_bytes=len(STRAY))
    assert os.listdir(store.layout.swept) == []


def test_a_dry_run(store: FilesystemStore) -> None:
    """It lists what would go, says how much that is, and changes nothing."""
    result = gc(store, "--dry-run")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        f"link {GONE} of {ONE} (5 B): no manifest mentions it",
        f"blob {GONE} (5 B): no repository holds it",
        "would be collected: 0 manifests, 1 link of blobs, and 1 blob with 5 B",
        "looked at 2 repositories",
    ]
    assert has(store, GONE)
    assert RunsFile(store.layout).read() is None


def test_a_dry_run_for_programs(store: FilesystemStore) -> None:
    """With `--json` each thing is a line, and the report is the last."""
    result = gc(store, "--dry-run", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    *found, last = result.stdout.splitlines()
    common = {"digest": str(GONE), "bytes": len(STRAY)}
    assert [json.loads(line) for line in found] == [
        {"kind": "link", "repository": str(ONE), **common, "why": "no manifest mentions it"},
        {"kind": "blob", "repository": None, **common, "why": "no repository holds it"},
    ]
    assert record(last) == report(dry_run=True, links=1, blobs=1, bytes=len(STRAY))


def test_manifests_without_a_tag(store: FilesystemStore) -> None:
    """They are kept, and listed with the reason where the setting says that they go."""
    asyncio.run(_untag(store))
    make_old(store)
    assert "would be collected: 0 manifests" in gc(store, "--dry-run").stdout
    result = gc(store, "--dry-run", "--set", "gc.untagged=true")
    assert f"manifest {sample('untagged').digest} of {OTHER} (" in result.stdout
    assert "): untagged\n" in result.stdout


async def _untag(store: FilesystemStore) -> None:
    await commit(store, OTHER, sample("untagged"))


def test_tags_that_retention_removes(store: FilesystemStore) -> None:
    """A dry run lists those that a run then removes, and says by which rule; a run says how many they were."""
    asyncio.run(commit(store, OTHER, sample("older"), Tag("older")))
    signature = Tag(f"sha256-{sample('older').digest.hex}.sig")
    asyncio.run(commit(store, OTHER, sample("signature"), signature))
    make_old(store)
    link = store.layout.tag_current(OTHER, Tag("older"))
    os.utime(link, (0, 0))
    rules = ("--set", f"retention={json.dumps([{'repository': '**', 'newest': 1}])}")
    before = changed(store)
    listed = gc(store, "--dry-run", *rules).stdout.splitlines()
    why = "retention does not keep it, by rule 1, **"
    assert sorted(listed[:2]) == [
        f"tag {OTHER}:older ({sample('older').digest}): {why}",
        f"tag {OTHER}:{signature} ({sample('signature').digest}): what it names is removed",
    ]
    assert "would be removed by the rules of retention: 2 tags" in listed
    *found, last = map(json.loads, gc(store, "--dry-run", "--json", *rules).stdout.splitlines())
    older = {
        "kind": "tag",
        "repository": str(OTHER),
        "tag": "older",
        "digest": str(sample("older").digest),
        "why": why,
    }
    assert older in found[:2]
    assert last["tags"] == 2
    assert changed(store) == before
    assert "\nremoved by the rules of retention: 2 tags\n" in gc(store, "--no-wait", *rules).stdout
    assert asyncio.run(store.list_tags(OTHER, "", 10)) == [LATEST]


def changed(store: FilesystemStore) -> dict[str, float]:
    """When each folder and file of the registry was."""
    return {
        path: os.stat(path).st_mtime
        for folder, _, files in os.walk(store.layout.registry)
        for path in (folder, *(f"{folder}/{name}" for name in files))
    }


def test_how_old_it_must_be(store: FilesystemStore) -> None:
    """`--min-age` takes the place of the grace time, which is that of the settings."""
    make_old(store, 10 * HOUR)
    for words in (
        (),
        ("--set", "gc.grace=11h"),
        ("--min-age", "11h"),
        ("--set", "gc.grace=5h", "--min-age", "11h"),
    ):
        assert "0 blobs" in gc(store, "--dry-run", *words).stdout
    for words in (("--set", "gc.grace=5h"), ("--min-age", "5h"), ("--min-age", "0"), ("--min-age", "3600")):
        assert "1 blob " in gc(store, "--dry-run", *words).stdout
    refused = gc(store, "--min-age", "soon")
    assert refused.exit_code == 2
    assert "'--min-age': must be a number of seconds or a duration such as 90s" in refused.stderr


def test_a_repository_that_is_skipped(store: FilesystemStore) -> None:
    """Where something cannot be read the report says so and why, once; the code is 1, and the others are collected."""
    Path(store.layout.data(KEPT.digest)).unlink()
    reason = f"manifest {KEPT.digest} cannot be read: its content is missing"
    result = gc(store, "--no-wait")
    assert (result.exit_code, result.stderr) == (1, "")
    *_, heading, line = result.stdout.splitlines()
    assert heading == "not all is collected in 1 repository:"
    assert line == f"  {OTHER}: {reason}"
    assert not has(store, GONE)
    result = gc(store, "--json")
    assert (result.exit_code, record(result.stdout)["skipped"]) == (1, {str(OTHER): reason})


def test_what_cannot_be_listed(store: FilesystemStore) -> None:
    """The report says why no content is collected; the code is 1."""
    os.symlink("/not/mounted", store.layout.repository(RepositoryName("elsewhere")))
    result = gc(store, "--no-wait")
    assert (result.exit_code, result.stderr) == (1, "")
    path = store.layout.repository(RepositoryName("elsewhere"))
    assert result.stdout.splitlines()[-3:] == [
        "not all is collected in 1 repository:",
        f"  elsewhere: {path}: No such file or directory",
        "no content is collected: what cannot be listed may have it",
    ]
    assert has(store, GONE)
    assert record(gc(store, "--json").stdout)["content_stays"] is True


def test_another_is_collecting(store: FilesystemStore) -> None:
    """While another process collects it does nothing, says so, and ends with 3; a dry run too."""
    with alone(store):
        for words in ((), ("--dry-run",), ("--json",)):
            result = gc(store, *words)
            assert (result.exit_code, result.stdout) == (3, "")
            assert result.stderr == (
                "cargohold: another process is collecting garbage in this storage, or copies it: try again later\n"
            )
    assert has(store, GONE)


def test_nothing_to_work_on(tmp_path: Path) -> None:
    """A directory without a registry is refused and left as it is, as are settings that cannot be used."""
    result = CliRunner().invoke(main, ["gc", "--storage-path", str(tmp_path / "nothing")])
    assert result.exit_code == 1
    assert "no registry has its data in" in result.stderr
    assert not (tmp_path / "nothing").exists()
    assert CliRunner().invoke(main, ["gc", "--set", "gc.grace=never"]).exit_code == 2


def test_a_registry_that_only_reads(store: FilesystemStore) -> None:
    """Where `read_only` is set nothing is collected; a dry run is made."""
    refused = gc(store, "--set", "read_only=true")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("cargohold: the setting read_only is on")
    assert gc(store, "--set", "read_only=true", "--dry-run").exit_code == 0
    assert has(store, GONE)


def test_a_disk_in_the_way(store: FilesystemStore) -> None:
    """An error of the disk ends it with 1 and one line; the run counts as failed."""
    os.unlink(store.layout.collector_lock)
    os.mkdir(store.layout.collector_lock)
    result = gc(store)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "Is a directory" in result.stderr
    runs = RunsFile(store.layout).read()
    assert runs is not None
    assert runs.outcomes == {"failed": 1}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait(store: FilesystemStore, number: signal.Signals) -> None:
    """A signal that comes while it waits ends that: nothing is off the disk yet, and the report is of a whole run."""
    process = subprocess.Popen(
        [SCRIPT, "gc", "--json", "--storage-path", store.layout.root],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=CLEAN,
        text=True,
    )
    until(lambda: not has(store, GONE) and os.path.exists(f"{store.layout.gc}/last.json"))
    assert process.stderr is not None
    assert process.stderr.readline().startswith("waiting")
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (0, "")
    assert record(stdout) == report(links=1, blobs=1, bytes=len(STRAY))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run(store: FilesystemStore, number: signal.Signals) -> None:
    """A signal ends it between two steps, with 4; what it has found the next run goes on from."""
    asyncio.run(_fill_more(store))
    make_old(store)
    process = subprocess.Popen(
        [SCRIPT, "gc", "--storage-path", store.layout.root, "--set", "gc.share=0.01"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=CLEAN,
        text=True,
    )
    until(lambda: os.path.exists(f"{store.layout.gc}/run/state"))
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (4, "")
    assert stdout.endswith("broken off: the next run goes on from there\n")
    result = gc(store, "--no-wait", "--full-speed", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["resumed"]
    runs = RunsFile(store.layout).read()
    assert runs is not None
    assert runs.outcomes == {"stopped": 1, "complete": 1}
    assert not has(store, GONE)


async def _fill_more(store: FilesystemStore) -> None:
    for number in range(400):
        await push(store, ONE, b"%d" % number)
