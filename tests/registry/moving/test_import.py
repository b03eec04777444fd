"""What is imported, where it goes, and what is refused, with nothing of it stored."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cargohold.storage.archive.images import LAYOUT, path_of
from cargohold.storage.archive.tar import ArchiveInvalid
from cargohold.types.digest import Digest
from cargohold.types.oci import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from tests.registry.documents import CONFIG, EMPTY, LAYER, descriptor, image, index
from tests.registry.moving.registries import images_in

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.registry.moving.registries import Registry

NAME = "org.opencontainers.image.ref.name"
IMAGE = image((LAYER,))


def called(content: bytes, name: str = "", media_type: str = OCI_MANIFEST, **more: str) -> dict[str, Any]:
    """An entry of this name."""
    annotations = ({NAME: name} if name else {}) | more
    return descriptor(content, media_type) | ({"annotations": annotations} if annotations else {})


def layout(folder: Path, entries: Sequence[dict[str, Any]], contents: Sequence[bytes]) -> Path:
    """A layout that another program has written."""
    folder.mkdir(parents=True)
    (folder / "oci-layout").write_bytes(LAYOUT)
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": list(entries)}))
    for content in contents:
        path = folder / path_of(Digest.of(content))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def one(folder: Path, name: str = "", **more: str) -> Path:
    """A layout of one image."""
    return layout(folder / "one", [called(IMAGE, name, **more)], [IMAGE, CONFIG, LAYER])


@pytest.mark.parametrize(
    ("name", "to", "expected"),
    [
        ("v1", "team/app", "team/app:v1"),
        ("v1", "team/app:v2", "team/app:v2"),
        ("", "team/app:v2", "team/app:v2"),
        ("team/app:v1", "", "team/app:v1"),
        ("team/app", "", "team/app:latest"),
        ("app:v1", "", "app:v1"),
        ("registry.example.com/team/app:v1", "", "team/app:v1"),
        ("registry:5000/team/app:v1", "", "team/app:v1"),
        ("localhost/app:v1", "", "app:v1"),
        ("docker.io/library/alpine:3", "", "alpine:3"),
        ("docker.io/team/app:v1", "", "team/app:v1"),
        ("team/app:v1", "mirror/app", "mirror/app:v1"),
        ("team/app:v1@sha256:" + "a" * 64, "", "team/app:v1"),
    ],
)
def test_where_it_goes(name: str, to: str, expected: str, other: Registry, tmp_path: Path) -> None:
    """By its name as clients write it, without the host of a registry; or where `--to` says."""
    done = other.import_(one(tmp_path, name), to)
    assert (done.problems, done.images, done.tags) == ([], 1, 1)
    repository, _, tag = expected.partition(":")
    assert list(other.held()) == [repository]
    assert other.tag(repository, tag) == Digest.of(IMAGE)


def test_names_of_containerd_come_first(other: Registry, tmp_path: Path) -> None:
    """It writes the whole name beside the tag."""
    other.import_(one(tmp_path, "v1", **{"io.containerd.image.name": "docker.io/team/app:v1"}))
    assert other.tag("team/app", "v1") == Digest.of(IMAGE)


@pytest.mark.parametrize(
    ("name", "to"),
    [("team/app@sha256:" + "a" * 64, ""), ("", "team/app")],
    ids=["by digest", "without a name"],
)
def test_without_a_tag(name: str, to: str, other: Registry, tmp_path: Path) -> None:
    """An image that no name has a tag for is stored by its digest."""
    done = other.import_(one(tmp_path, name), to)
    assert (done.images, done.tags) == (1, 0)
    held = other.held()["team/app"]
    assert (held.tags, list(held.manifests)) == ({}, [Digest.of(IMAGE)])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "an image without a name does not say in which repository it belongs"),
        ("v1", "the image 'v1' does not say in which repository"),
        ("Team/App:v1", "'Team/App:v1': a repository name is made of"),
        ("../../etc:v1", "'../../etc:v1': a repository name"),
        ("team/app:-", "'team/app:-': a tag has at most"),
        ("team/app:" + "x" * 129, "a tag has at most"),
        ("team/app:\x1b[31m", "a tag has at most"),
    ],
)
def test_names_that_say_nothing(name: str, reason: str, other: Registry, tmp_path: Path) -> None:
    """It is told what is wrong, and nothing is stored."""
    with pytest.raises(ValueError, match=r".") as refused:
        other.import_(one(tmp_path, name))
    assert reason in str(refused.value)
    assert str(refused.value).isprintable()
    assert other.held() == {}


def test_two_images_of_one_name(other: Registry, tmp_path: Path) -> None:
    """Readers differ on which of two counts: neither does; the same image twice is one."""
    second = image((b"second",))
    place = layout(
        tmp_path / "two",
        [called(IMAGE, "v1"), called(second, "v1")],
        [IMAGE, second, CONFIG, LAYER, b"second"],
    )
    with pytest.raises(ValueError, match="two images of the archive would both be app:v1"):
        other.import_(place, "app")
    same = layout(tmp_path / "same", [called(IMAGE, "v1"), called(IMAGE, "v1")], [IMAGE, CONFIG, LAYER])
    assert other.import_(same, "app").tags == 1
    both = layout(tmp_path / "both", [called(IMAGE, "v1"), called(second, "v2")], [])
    with pytest.raises(ValueError, match="would both be app:x"):
        other.import_(both, "app:x")


def test_nothing_is_stored_twice(other: Registry, tmp_path: Path) -> None:
    """An import that is done again finds everything; so does one into another repository find the content."""
    place = one(tmp_path, "v1")
    first = other.import_(place, "app")
    assert (first.manifests, first.written, first.written_bytes) == (
        1,
        3,
        len(IMAGE) + len(CONFIG) + len(LAYER),
    )
    before = other.held()
    again = other.import_(place, "app")
    assert (again.written, again.images) == (0, 1)
    assert other.held() == before


def test_shared_layers_are_mounted(other: Registry, tmp_path: Path) -> None:
    """A layer of several repositories is read from the archive once."""
    place = layout(
        tmp_path / "two", [called(IMAGE, "a/a:v1"), called(IMAGE, "b/b:v1")], [IMAGE, CONFIG, LAYER]
    )
    done = other.import_(place)
    assert (done.images, done.written) == (2, 3)
    assert set(other.held()["b/b"].blobs) == {Digest.of(CONFIG), Digest.of(LAYER)}


def test_a_dry_run(other: Registry, tmp_path: Path) -> None:
    """It tells what would be stored, and what could not be, and stores nothing."""
    lacking = image((b"missing",))
    place = layout(
        tmp_path / "two",
        [called(IMAGE, "a/a:v1"), called(lacking, "b/b:v1")],
        [IMAGE, lacking, CONFIG, LAYER],
    )
    done = other.import_(place, dry=True)
    assert (done.images, done.tags) == (1, 1)
    assert (done.written, done.written_bytes) == (3, len(IMAGE) + len(CONFIG) + len(LAYER))
    assert len(done.problems) == 1
    assert other.held() == {}
    other.import_(place)
    assert other.import_(place, dry=True).written == 0


def test_a_tag_is_moved_when_all_is_there(other: Registry, tmp_path: Path) -> None:
    """Of an image whose last layer is another than its digest says, nothing can be pulled; the tag stays."""
    old, new = image((b"old",)), image((b"first", b"last"))
    other.push("app", old, "v1", blobs=(CONFIG, b"old"))
    place = layout(tmp_path / "bad", [called(new, "v1")], [new, CONFIG, b"first", b"last"])
    (place / path_of(Digest.of(b"last"))).write_bytes(b"LAST")
    done = other.import_(place, "app")
    (problem,) = done.problems
    assert problem.startswith("app:v1: ")
    assert "{" not in problem
    assert Digest.of(b"last") in problem
    assert Digest.of(b"LAST") in problem
    assert other.tag("app", "v1") == Digest.of(old)
    assert Digest.of(new) not in other.held()["app"].manifests
    (place / path_of(Digest.of(b"last"))).write_bytes(b"last")
    again = other.import_(place, "app")
    assert (again.problems, other.tag("app", "v1")) == ([], Digest.of(new))


def test_others_are_imported_beside_one_that_is_refused(other: Registry, tmp_path: Path) -> None:
    """One bad image keeps back none of the others."""
    bad = image((b"missing",))
    place = layout(tmp_path / "two", [called(bad, "v1"), called(IMAGE, "v2")], [bad, IMAGE, CONFIG, LAYER])
    done = other.import_(place, "app")
    assert (done.images, len(done.problems)) == (1, 1)
    assert other.held()["app"].tags == {"v2": Digest.of(IMAGE)}


@pytest.mark.parametrize(
    ("manifest", "contents", "reason"),
    [
        (image((b"absent",)), [CONFIG], f"it lacks {Digest.of(b'absent')}"),
        (image((LAYER,)), [LAYER], f"it lacks {Digest.of(CONFIG)}"),
        (image((LAYER,), mediaType=DOCKER_MANIFEST), [CONFIG, LAYER], "mediaType: must be the Content-Type"),
        (b"{}", [], "schemaVersion"),
        (b"not json", [], "JSON"),
        (b"", [], "not JSON"),
        (b'{"a":' * 100_000, [], "nested too deeply"),
        (image((LAYER,), config={"digest": "x"}), [LAYER], "config"),
        (
            json.dumps(json.loads(IMAGE) | {"layers": [descriptor(LAYER) | {"size": 3}]}).encode(),
            [CONFIG, LAYER],
            f"{Digest.of(LAYER)} has {len(LAYER)} bytes, and what names it says 3",
        ),
    ],
    ids=range(9),
)
def test_images_that_are_refused(
    manifest: bytes, contents: list[bytes], reason: str, other: Registry, tmp_path: Path
) -> None:
    """They are judged as images that are pushed, and what they name must be there, as long as they say."""
    place = layout(tmp_path / "bad", [called(manifest, "v1")], [manifest, *contents])
    done = other.import_(place, "app")
    assert len(done.problems) == 1
    assert reason in done.problems[0]
    assert other.held() == {}


def test_manifests_that_lie(other: Registry, tmp_path: Path) -> None:
    """A manifest that is not there, is another, is longer than said, or larger than the registry takes."""
    place = one(tmp_path, "app:v1")
    path = place / path_of(Digest.of(IMAGE))
    assert "larger than 100 bytes" in other.import_(place, most=100).problems[0]
    path.write_bytes(IMAGE[:-1] + b" ")
    assert "the bytes of" in other.import_(place).problems[0]
    path.write_bytes(IMAGE + b" ")
    assert f"has {len(IMAGE) + 1} bytes" in other.import_(place).problems[0]
    path.unlink()
    assert f"it lacks {Digest.of(IMAGE)}" in other.import_(place).problems[0]
    assert other.held() == {}


def test_an_index(other: Registry, tmp_path: Path) -> None:
    """It comes with its children, and theirs; children that are layers are blobs."""
    inner = index([descriptor(IMAGE, OCI_MANIFEST)])
    outer = index(
        [descriptor(inner, OCI_INDEX), descriptor(b"cache", "application/vnd.oci.image.layer.v1.tar")]
    )
    place = layout(
        tmp_path / "i", [called(outer, "v1", OCI_INDEX)], [outer, inner, IMAGE, CONFIG, LAYER, b"cache"]
    )
    assert other.import_(place, "app").problems == []
    held = other.held()["app"]
    assert set(held.manifests) == {Digest.of(each) for each in (outer, inner, IMAGE)}
    assert held.tags == {"v1": Digest.of(outer)}
    assert Digest.of(b"cache") in held.blobs


def test_an_index_without_all_platforms(other: Registry, tmp_path: Path) -> None:
    """Many programs save one platform and the whole index: it is taken where the registry takes such."""
    absent = image((b"absent",))
    multi = index([descriptor(IMAGE, OCI_MANIFEST), descriptor(absent, OCI_MANIFEST)])
    place = layout(tmp_path / "i", [called(multi, "v1", OCI_INDEX)], [multi, IMAGE, CONFIG, LAYER])
    done = other.import_(place, "app")
    assert f"it lacks {Digest.of(absent)}" in done.problems[0]
    assert "manifests.allow_sparse" in done.problems[0]
    assert other.held() == {}
    assert other.import_(place, "app", sparse=True).problems == []
    assert set(other.held()["app"].manifests) == {Digest.of(multi), Digest.of(IMAGE)}


def test_what_the_registry_has_need_not_be_in_the_archive(other: Registry, tmp_path: Path) -> None:
    """An archive of what is new alone is enough."""
    other.push("app", IMAGE, blobs=(CONFIG, LAYER))
    new = image((LAYER, b"new"))
    multi = index([descriptor(IMAGE, OCI_MANIFEST), descriptor(new, OCI_MANIFEST)])
    place = layout(tmp_path / "i", [called(multi, "v1", OCI_INDEX)], [multi, new, b"new"])
    assert other.import_(place, "app").problems == []
    assert other.tag("app", "v1") == Digest.of(multi)


def test_indexes_that_explode(other: Registry, tmp_path: Path) -> None:
    """An index of indexes of indexes, each naming the next a hundred times, is looked at once each."""
    contents = [IMAGE, CONFIG, LAYER]
    inner, media_type = IMAGE, OCI_MANIFEST
    for _ in range(10):
        entries = [descriptor(inner, media_type, annotations={"n": str(n)}) for n in range(100)]
        inner, media_type = index(entries), OCI_INDEX
        contents.append(inner)
    place = layout(tmp_path / "i", [called(inner, "v1", OCI_INDEX)], contents)
    assert other.import_(place, "app").manifests == 11


def test_indexes_that_are_nested_too_deep(other: Registry, tmp_path: Path) -> None:
    """There is an end to what is followed."""
    contents = [IMAGE, CONFIG, LAYER]
    inner, media_type = IMAGE, OCI_MANIFEST
    for _ in range(40):
        inner, media_type = index([descriptor(inner, media_type)]), OCI_INDEX
        contents.append(inner)
    place = layout(tmp_path / "i", [called(inner, "v1", OCI_INDEX)], contents)
    assert "nested more than" in other.import_(place, "app").problems[0]


def test_entries_that_are_no_images(other: Registry, tmp_path: Path) -> None:
    """A layout may name other things, which are none of the registry's."""
    place = layout(
        tmp_path / "i",
        [descriptor(b"<xml/>", "application/xml"), called(IMAGE, "v1")],
        [b"<xml/>", IMAGE, CONFIG, LAYER],
    )
    assert other.import_(place, "app").images == 1


ODD = json.dumps({"mediaType": "application/vnd.example.old+json", "blobs": []}).encode()


@pytest.mark.parametrize(
    ("media_type", "content", "reason"),
    [
        ("application/vnd.example.old+json", ODD, ""),
        ("text/html", b'{"mediaType":"text/html","x":"<script>alert(1)</script>"}', "'text/html'"),
        ("text/html", b'{"schemaVersion":2,"mediaType":"text/html"}', "is no manifest"),
        ("text/html", b"<script>alert(1)</script>", "is no manifest"),
        ("application/octet-stream", b"<script>alert(1)</script>", "is no manifest"),
        ("application/octet-stream", b'{"mediaType":"application/octet-stream"}', "is no manifest"),
        ("application/vnd.example.old+json", b"[]", "is no manifest"),
        ("application/vnd.example.old+json", b"{}", "is no manifest"),
        ("application/vnd.example.other+json", ODD, "is no manifest"),
        (OCI_MANIFEST, b'{"schemaVersion":2,"mediaType":"%s"}' % OCI_MANIFEST.encode(), "config: required"),
        ("application/x", b'{"schemaVersion":2,"mediaType":"%s"}' % OCI_MANIFEST.encode(), "is no manifest"),
        ("application/x\x1b[0m", b'{"mediaType":"application/x\\u001b[0m"}', "is no manifest"),
    ],
)
def test_what_no_client_can_push(
    media_type: str, content: bytes, reason: str, other: Registry, tmp_path: Path
) -> None:
    """Manifests of unknown kinds are taken where an export may have written them; what is no manifest never is."""
    entry = called(content, "app:v1", media_type, **{"cargohold.repository": "app"})
    done = other.import_(layout(tmp_path / "i", [entry], [content]))
    assert bool(done.problems) == bool(reason)
    if reason:
        assert reason in done.problems[0]
        assert done.problems[0].isprintable()
        assert other.held() == {}
    else:
        assert other.tag("app", "v1") == Digest.of(content)


def test_broken_entries(other: Registry, tmp_path: Path) -> None:
    """An index.json that is damaged is refused before anything is stored."""
    place = layout(tmp_path / "i", [called(IMAGE, "v1"), {"digest": "x"}], [IMAGE, CONFIG, LAYER])
    with pytest.raises(ArchiveInvalid, match=r"manifests\[1\]"):
        other.import_(place, "app")
    place = layout(tmp_path / "surrogate", [called(IMAGE, "v1"), called(IMAGE, "\ud800")], [])
    with pytest.raises(ArchiveInvalid, match=r"manifests\[1\]"):
        other.import_(place, "app")
    assert other.held() == {}


def test_empty_layers(other: Registry, tmp_path: Path) -> None:
    """Content of no bytes is content."""
    empty = image((b"",), EMPTY)
    place = layout(tmp_path / "i", [called(empty, "v1")], [empty, EMPTY, b""])
    assert other.import_(place, "app").problems == []
    assert other.held()["app"].blobs[Digest.of(b"")] == b""


def test_a_layout_that_is_empty(other: Registry, tmp_path: Path) -> None:
    """Nothing is imported of nothing."""
    assert other.import_(layout(tmp_path / "i", [], [])).images == 0
    assert list(images_in(tmp_path / "i").entries()) == []
