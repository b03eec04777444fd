"""`cargohold retention`: what it tells of each tag, and what it removes."""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from cargohold.cli.main import main
from cargohold.cli.printing import written_time
from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.filesystem.collection import alone
from cargohold.storage.trash import Cause, Why
from cargohold.types.names import RepositoryName, Tag
from tests.cli.test_command import SCRIPT, run
from tests.storage.contract.base import sample
from tests.storage.foreign import put

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result

DAY = 86_400
APP, TOOL, PROD = map(RepositoryName, ("ci/app", "ci/tool", "prod/app"))
RULES = [
    {"repository": "ci/tool", "newest": 1},
    {"repository": "ci/**", "newest": 1, "tags": ["v*", "x"], "pushed_within": "2d", "pulled_within": "36h"},
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FilesystemStore]:
    with closing(FilesystemStore(str(tmp_path / "data"))) as made:
        made.prepare()
        yield made


def push(store: FilesystemStore, repository: RepositoryName, tag: str, days: float) -> float:
    """Push a tag as so many days ago; when that was."""
    made = sample(tag)
    asyncio.run(store.commit_manifest(repository, made.digest, made.manifest, [Tag(tag)]))
    then = time.time() - days * DAY
    for path in (
        store.layout.tag_current(repository, Tag(tag)),
        store.layout.revision(repository, made.digest),
        f"{store.layout.revision(repository, made.digest)}/link",
    ):
        os.utime(path, (then, then))
    return then


def retention(store: FilesystemStore, *arguments: str, rules: object = RULES) -> Result:
    place = ("--storage-path", store.layout.root, "--set", f"retention={json.dumps(rules)}")
    return CliRunner().invoke(main, ["retention", *arguments, *place])


def tags(store: FilesystemStore, repository: RepositoryName) -> list[str]:
    return asyncio.run(store.list_tags(repository, "", 100))


def record_since(store: FilesystemStore, days: float) -> str:
    """Pulls have been recorded for so long, in `APP` too; since when."""
    then = time.time() - days * DAY
    put(store.layout.pulls, json.dumps({"since": {"ci/**": then}}).encode())
    store.begin_record(APP)
    os.utime(f"{store.layout.pulled(APP)}/since", (then, then))
    return written_time(then)


def test_dry_run(store: FilesystemStore) -> None:
    """Of each tag under a rule it tells the times, whether it would be kept, by which rule, and why; all stay."""
    since = record_since(store, 9)
    new, old, v1 = (push(store, APP, tag, days) for tag, days in (("new", 1), ("old", 3), ("v1", 30)))
    push(store, TOOL, "only", 300)
    push(store, PROD, "other", 300)
    asyncio.run(store.note_pull(APP, sample("v1").digest))
    result = retention(store, "--dry-run")
    assert (result.exit_code, result.stderr) == (
        0,
        f"1 of 4 tags would be removed\nci/**: pulls are recorded since {since}\n",
    )
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["REPOSITORY", "TAG", "PUSHED", "PULLED", "RESULT", "RULE", "WHY"]
    assert [line[:2] for line in lines[1:]] == [
        ["ci/app", "new"],
        ["ci/app", "old"],
        ["ci/app", "v1"],
        ["ci/tool", "only"],
    ]
    assert [line[2] for line in lines[1:4]] == [written_time(each) for each in (new, old, v1)]
    assert [line[3] == "-" for line in lines[1:]] == [True, True, False, True]
    rest = [" ".join(line[4:]) for line in lines[1:]]
    assert rest == [
        "keep 2 ci/** newest 1; pushed within 2d; pulled within 36h",
        "remove 2 ci/** none of: newest 1; tags v*, x; pushed within 2d; pulled within 36h",
        "keep 2 ci/** tags v*, x; pulled within 36h",
        "keep 1 ci/tool newest 1",
    ]
    assert tags(store, APP) == ["new", "old", "v1"]


def test_removal(store: FilesystemStore) -> None:
    """Without --dry-run the tags are removed that it tells of; a second run finds nothing to remove."""
    for tag, days in (("new", 1), ("old", 3), ("v1", 30)):
        push(store, APP, tag, days)
    push(store, PROD, "other", 300)
    record_since(store, 9)
    result = retention(store)
    assert (result.exit_code, result.stderr.splitlines()[0]) == (0, "1 of 3 tags are removed")
    assert tags(store, APP) == ["new", "v1"]
    assert tags(store, PROD) == ["other"]
    assert retention(store).stderr.splitlines()[0] == "0 of 2 tags are removed"


def test_json(store: FilesystemStore) -> None:
    """--json has all of it for programs, the first rule as entry 1."""
    pushed = [push(store, APP, tag, days) for tag, days in (("new", 1), ("old", 3))]
    record_since(store, 9)
    result = retention(store, "--dry-run", "--json")
    rule = {"entry": 2, "repository": "ci/**"}
    assert json.loads(result.stdout) == [
        {
            "repository": "ci/app",
            "tag": tag,
            "digest": sample(tag).digest,
            "pushed": written_time(when),
            "pulled": None,
            "rule": rule,
            "kept": bool(by),
            "by": by,
            "follows": False,
        }
        for tag, when, by in (
            ("new", pushed[0], ["newest", "pushed_within", "pulled_within"]),
            ("old", pushed[1], []),
        )
    ]


def test_what_was_not_recorded(store: FilesystemStore) -> None:
    """Where no server has recorded pulls yet, pulled_within keeps everything, and that is said."""
    push(store, APP, "new", 1)
    push(store, APP, "old", 300)
    result = retention(store)
    assert result.stderr == "0 of 2 tags are removed\nci/**: pulls are not recorded yet\n"
    assert "pulled within" in result.stdout.splitlines()[2]


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        ([], {"ci/app", "ci/tool"}),
        (["ci/tool"], {"ci/tool"}),
        (["ci/*", "prod/**"], {"ci/app", "ci/tool"}),
        (["prod/**"], set()),
    ],
)
def test_repositories(store: FilesystemStore, patterns: list[str], found: set[str]) -> None:
    """Names and patterns choose among the repositories; those without a rule are not told of."""
    for repository in (APP, TOOL, PROD):
        push(store, repository, "a", 9)
        push(store, repository, "b", 8)
    result = retention(store, "--json", *patterns, rules=[{"repository": "ci/**", "newest": 1}])
    assert {each["repository"] for each in json.loads(result.stdout)} == found
    assert {name for name in (APP, TOOL, PROD) if tags(store, name) == ["b"]} == found


def test_a_repository_that_cannot_be_read(store: FilesystemStore) -> None:
    """It is told at the end, with 1; all others are done."""
    for repository in (APP, TOOL):
        push(store, repository, "a", 9)
        push(store, repository, "b", 8)
    broken = sample("broken").digest
    put(f"{store.layout.revision(APP, broken)}/link", broken.encode())
    result = retention(store, rules=[{"repository": "ci/**", "newest": 1}])
    assert result.exit_code == 1
    assert result.stderr.startswith(
        f"1 of 2 tags are removed\ncargohold: ci/app: manifest {broken} cannot be read"
    )
    assert (tags(store, APP), tags(store, TOOL)) == (["a", "b"], ["b"])


def test_refusals(store: FilesystemStore, tmp_path: Path) -> None:
    """Without rules, without a registry, and with what is no pattern, nothing is done and it is said why."""
    result = retention(store, rules=[])
    assert (result.exit_code, result.stderr) == (
        1,
        "cargohold: there are no rules: write them in the setting retention\n",
    )
    push(store, APP, "a", 9)
    push(store, APP, "b", 8)
    for arguments, code in ((["--set", "read_only=true"], 1), (["--set", "read_only=true", "--dry-run"], 0)):
        result = retention(store, *arguments, rules=[{"repository": "**", "newest": 1}])
        assert (result.exit_code, "read_only is on" in result.stderr) == (code, code == 1)
        assert tags(store, APP) == ["a", "b"]
    for arguments in (["none"], ["ci/**", "none", "--dry-run"]):
        result = retention(store, *arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr == (
            "cargohold: no repository matches 'none': give a whole name, or a pattern such as 'team/**'\n"
        )
    assert tags(store, APP) == ["a", "b"]
    result = retention(store, "CI")
    assert result.exit_code == 2
    assert "'CI' is no pattern of repositories" in result.stderr
    other = ["--storage-path", str(tmp_path / "other"), "--set", f"retention={json.dumps(RULES)}"]
    result = CliRunner().invoke(main, ["retention", *other])
    assert result.exit_code == 1
    assert "no registry has its data in" in result.stderr


def test_signatures(store: FilesystemStore) -> None:
    """Tags that name an image are told and removed with it, and kept with it; those in the trash keep none."""
    for tag, days in (("v1", 9), ("v2", 8)):
        push(store, APP, tag, days)
        push(store, APP, f"{sample(tag).digest.replace(':', '-')}.sig", days)
    old, new = (f"{sample(tag).digest.replace(':', '-')}.sig" for tag in ("v1", "v2"))
    rules = [{"repository": "ci/**", "tags": ["v2"]}]
    for arguments in (("--dry-run",), ()):
        result = retention(store, *arguments, rules=rules)
        told = {(words := line.split())[1]: " ".join(words[4:]) for line in result.stdout.splitlines()[1:]}
        assert told == {
            "v1": "remove 1 ci/** none of: tags v2",
            "v2": "keep 1 ci/** tags v2",
            old: "remove 1 ci/** its image is removed",
            new: "keep 1 ci/** its image is kept",
        }
    assert tags(store, APP) == sorted([new, "v2"])
    asyncio.run(store.delete_manifest(APP, sample("v2").digest, Cause(Why.DELETED)))
    push(store, APP, "v3", 7)
    assert json.loads(retention(store, "--json", rules=[{"repository": "**", "tags": ["*"]}]).stdout)[1][
        "follows"
    ]
    assert tags(store, APP) == ["v3"]


def test_while_another_collects_or_copies(store: FilesystemStore) -> None:
    """While another holds the collector's lock, as whoever copies the storage does, only a dry run is made."""
    push(store, APP, "a", 9)
    push(store, APP, "b", 8)
    rules = [{"repository": "ci/**", "newest": 1}]
    with alone(store):
        result = retention(store, rules=rules)
        assert (result.exit_code, result.stdout, result.stderr) == (
            3,
            "",
            "cargohold: another process is collecting garbage in this storage, or copies it: try again later\n",
        )
        dry = retention(store, "--dry-run", rules=rules)
        assert (dry.exit_code, dry.stderr) == (0, "1 of 2 tags would be removed\n")
        assert tags(store, APP) == ["a", "b"]
    assert retention(store, rules=rules).exit_code == 0
    assert tags(store, APP) == ["b"]


def test_as_it_is_typed(store: FilesystemStore) -> None:
    """The installed script does the same, with rules from a file."""
    push(store, APP, "a", 9)
    push(store, APP, "b", 8)
    file = f"{store.layout.root}.yaml"
    put(
        file,
        f"storage: {{path: {store.layout.root}}}\nretention:\n- {{repository: '**', newest: 1}}\n".encode(),
    )
    ran = run(SCRIPT, "retention", "--config", file)
    assert (ran.returncode, ran.stderr) == (0, "1 of 2 tags are removed\n")
    assert tags(store, APP) == ["b"]
