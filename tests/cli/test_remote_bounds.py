"""Registries that send without an end, in time or in size: commands end, and hold no more than they must."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cargohold.cli.remote import exchange, inspection
from tests.cli.asking import done, refused
from tests.cli.hostile import Reply
from tests.e2e.pushing import MANIFEST, descriptor, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Play
    from tests.cli.hostile import Answers, Asked

INDEX = "application/vnd.oci.image.index.v1+json"
CHILD = json.dumps(
    {"layers": [{"digest": digest_of(b"x"), "size": 3}], "annotations": {"a": "b" * 2000}}
).encode()


def index(children: int) -> bytes:
    return json.dumps({"mediaType": INDEX, "manifests": [descriptor(CHILD, MANIFEST)] * children}).encode()


def having(content: bytes, referrers: Callable[[str], Reply] = lambda _: Reply(404, {})) -> Answers:
    """A registry with a manifest, the child of it, and what refers to it."""

    def answers(asked: Asked) -> Reply:
        if "/referrers/" in asked.target:
            return referrers(asked.target)
        if digest_of(CHILD) in asked.target:
            return Reply(200, {"Content-Type": MANIFEST}, CHILD)
        if "sha256-" in asked.target:
            return Reply(404, {})
        return Reply(200, {"Content-Type": INDEX}, content)

    return answers


def page(target: str, count: int) -> Reply:
    """A page of referrers that leads on to another, without an end."""
    path, _, number = target.partition("?n=")
    link = f'<{path}?n={int(number or 0) + 1}>; rel="next"'
    manifests = [{"digest": digest_of(b"referrer"), "artifactType": "a/b"}] * count
    return Reply(200, {"Link": link}, json.dumps({"manifests": manifests}).encode())


@pytest.mark.parametrize(("count", "pages"), [(300, 4), (0, 18)])
def test_endless_referrers(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, pages: int
) -> None:
    """Some referrers are told, and that there are more; pages with nothing in them come to an end, too."""
    monkeypatch.setattr(inspection, "_PAGE_BYTES", 4 << 20)
    registry = play(having(index(0), lambda target: page(target, count)))
    shown = json.loads(done(tmp_path, "inspect", "--json", f"{registry.host}/app:1"))
    assert (len(shown["referrers"]), shown["moreReferrers"]) == (min(1000, count * pages), True)
    assert sum("/referrers/" in each.target for each in registry.asked) == pages
    assert done(tmp_path, "inspect", f"{registry.host}/app:1").endswith(
        "             and more\n" if count else "and more\n"
    )


def test_all_referrers(play: Play, tmp_path: Path) -> None:
    """Where all of them are told, there are no more."""
    reply = Reply(200, {}, json.dumps({"manifests": [{"digest": digest_of(b"a")}] * 1000}).encode())
    registry = play(having(index(0), lambda _: reply))
    shown = json.loads(done(tmp_path, "inspect", "--json", f"{registry.host}/app:1"))
    assert (len(shown["referrers"]), shown["moreReferrers"]) == (1000, False)


def test_many_children(play: Play, tmp_path: Path) -> None:
    """An index of more manifests than anybody has is shown as it is, and not looked into."""
    registry = play(having(index(1001)))
    where = f"{registry.host}/app:1"
    words = refused(tmp_path, "inspect", where)
    assert words == "the index names 1001 manifests, more than 1000 are not looked into; see it with --raw"
    assert len(registry.asked) == 2
    assert done(tmp_path, "inspect", "--raw", where).encode() == index(1001)


def test_large_children(play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The manifests of an index are taken until they are too much in all."""
    monkeypatch.setattr(inspection, "_MOST_BYTES", 2 << 20)
    few, many = play(having(index(20))), play(having(index(1000)))
    assert json.loads(done(tmp_path, "inspect", "--json", f"{few.host}/app:1"))["size"] == 3
    words = refused(tmp_path, "inspect", f"{many.host}/app:1")
    assert words == "the manifests of the index have more than 2 MiB; see it with --raw"


@pytest.mark.parametrize("options", [[], ["--raw"]])
def test_large_manifest(play: Play, tmp_path: Path, options: list[str]) -> None:
    """A manifest that is larger than any registry takes is not taken."""
    registry = play(having(bytes(9 << 20)))
    words = refused(tmp_path, "inspect", *options, f"{registry.host}/app:1")
    assert words == "127.0.0.1 answers with more than 8 MiB"


def test_slow_head(play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that sends a line of its answer now and then is not waited for without an end."""
    monkeypatch.setattr(exchange, "_ALL_SECONDS", 0.5)
    registry = play(lambda _: Reply(200, dict.fromkeys(map(str, range(99)), "x"), pause=0.1))
    assert refused(tmp_path, "ls", registry.host) == f"{registry.host}: no answer within 0.5 s"


def test_empty_annotations(play: Play, tmp_path: Path) -> None:
    """An annotation that is null is an empty one, as other clients have it."""
    registry = play(having(b'{"annotations":{"a":null,"b":"c"}}'))
    shown = json.loads(done(tmp_path, "inspect", "--json", f"{registry.host}/app:1"))
    assert shown["annotations"] == {"a": "", "b": "c"}


def test_long_waits(play: Play, tmp_path: Path) -> None:
    """How long a registry asks to wait is told, unless it is no time at all."""
    registry = play(lambda _: Reply(429, {"Retry-After": "9" * 5000}))
    assert refused(tmp_path, "ls", registry.host).endswith("answers 429 Too Many Requests")
