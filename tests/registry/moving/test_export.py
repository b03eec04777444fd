"""What is exported, what of it is written, and what becomes of what was there before."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from cargohold.registry.moving.selection import Selection
from cargohold.storage.archive.images import path_of
from cargohold.storage.archive.tar import ArchiveInvalid
from cargohold.storage.archive.writing import DirectoryTarget
from cargohold.storage.protocols import ContentBytes
from cargohold.types.digest import Digest
from cargohold.types.oci import OCI_INDEX, OCI_MANIFEST
from tests.e2e.medium import folder_in_memory
from tests.registry.documents import CONFIG, EMPTY, LAYER, descriptor, image, index
from tests.registry.moving.registries import Registry
from tests.registry.moving.test_round_trip import refer

IMAGE = image((LAYER,))
OTHER = image((b"other",))


def push(registry: Registry, repository: str, content: bytes, *tags: str, layer: bytes = LAYER) -> Digest:
    return registry.push(repository, content, *tags, blobs=(CONFIG, EMPTY, layer))


def entries(layout: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((layout / "index.json").read_text())["manifests"]
    return found


def names(layout: Path) -> list[str]:
    """What a layout calls its images; those without a name by their digest."""
    name = "org.opencontainers.image.ref.name"
    return [entry.get("annotations", {}).get(name) or entry["digest"] for entry in entries(layout)]


def blobs(layout: Path) -> set[str]:
    """Every digest that a layout has content of, which is held against it."""
    found = {f"{file.parent.name}:{file.name}" for file in layout.glob("blobs/*/*")}
    for digest in map(Digest, found):
        assert Digest.of((layout / path_of(digest)).read_bytes(), digest.algorithm) == digest
    return found


def fresh(registry: Registry) -> Registry:
    """Another one of the same storage, which remembers nothing."""
    return Registry(Path(registry.store.layout.root))


def test_a_layout(registry: Registry, tmp_path: Path) -> None:
    """The files and fields of the specification, and the names that clients read."""
    digest = push(registry, "team/app", IMAGE, "v1")
    referrer = push(registry, "team/app", refer(IMAGE, "s"))
    registry.export(tmp_path / "layout")
    assert json.loads((tmp_path / "layout/oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    document = json.loads((tmp_path / "layout/index.json").read_text())
    assert (document["schemaVersion"], document["mediaType"]) == (2, OCI_INDEX)
    assert document["manifests"] == [
        descriptor(IMAGE, OCI_MANIFEST)
        | {
            "annotations": {
                "cargohold.repository": "team/app",
                "org.opencontainers.image.ref.name": "team/app:v1",
            }
        },
        descriptor(refer(IMAGE, "s"), OCI_MANIFEST)
        | {"artifactType": "application/vnd.example", "annotations": {"cargohold.repository": "team/app"}},
    ]
    assert {digest, referrer, Digest.of(CONFIG), Digest.of(LAYER)} <= blobs(tmp_path / "layout")


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ([], {"team/app:v1", "team/app:v2", "team/web:v1", "other:v1"}),
        (["**"], {"team/app:v1", "team/app:v2", "team/web:v1", "other:v1"}),
        (["team/*"], {"team/app:v1", "team/app:v2", "team/web:v1"}),
        (["team/app"], {"team/app:v1", "team/app:v2"}),
        (["team/app:v1"], {"team/app:v1"}),
        (["team/*:v1", "other"], {"team/app:v1", "team/web:v1", "other:v1"}),
        (["*:v?"], {"other:v1"}),
        (["**:*2"], {"team/app:v2"}),
        (["team/app", "team/app:v1"], {"team/app:v1", "team/app:v2"}),
    ],
)
def test_what_is_selected(
    patterns: list[str], expected: set[str], registry: Registry, tmp_path: Path
) -> None:
    """Patterns of repositories, with patterns of tags or without."""
    for name, tags in (("team/app", ["v1", "v2"]), ("team/web", ["v1"]), ("other", ["v1"])):
        for tag in tags:
            push(registry, name, IMAGE, tag)
    done = registry.export(tmp_path / "layout", *patterns)
    assert set(names(tmp_path / "layout")) == expected
    assert (done.tags, done.problems) == (len(expected), [])
    assert done.repositories == len({name.partition(":")[0] for name in expected})


@pytest.mark.parametrize("pattern", ["nothing", "team/app:v9", "te*:v1"])
def test_a_pattern_that_selects_nothing(pattern: str, registry: Registry, tmp_path: Path) -> None:
    """It is told: it may be misspelt. The others are exported."""
    push(registry, "team/app", IMAGE, "v1")
    done = registry.export(tmp_path / "layout", pattern, "team/app:v1")
    assert done.problems == [f"{pattern}: there is no such image in the registry"]
    assert names(tmp_path / "layout") == ["team/app:v1"]


@pytest.mark.parametrize(
    "text", ["", "Team", "team/app:", "team/app:v 1", "team//app", "a**", "team/app@sha256:abc"]
)
def test_what_is_no_pattern(text: str) -> None:
    """It is refused before anything is done."""
    with pytest.raises(ValueError, match="is no pattern"):
        Selection([text])


def test_what_refers_to_a_tag_comes_with_it(registry: Registry, tmp_path: Path) -> None:
    """Referrers of what is selected, and of those, and tags that are made of a digest; and nothing else."""
    multi = index([descriptor(IMAGE, OCI_MANIFEST)])
    push(registry, "app", IMAGE)
    push(registry, "app", multi, "v1")
    push(registry, "app", OTHER, "v2", layer=b"other")
    of_child, of_other = refer(IMAGE, "child"), refer(OTHER, "other")
    of_referrer = refer(of_child, "referrer")
    for content in (of_child, of_other, of_referrer):
        push(registry, "app", content)
    signature = f"sha256-{Digest.of(of_referrer).hex}.sig"
    attestation = f"sha256-{Digest.of(multi).hex}"
    push(registry, "app", image((b"signature",)), signature, layer=b"signature")
    push(registry, "app", image((b"attestation",)), attestation, layer=b"attestation")
    push(registry, "app", image((b"x",)), f"sha256-{Digest.of(OTHER).hex}.sig", layer=b"x")
    push(registry, "app", image((b"y",)), "sha256-", layer=b"y")
    registry.export(tmp_path / "layout", "app:v1")
    assert set(names(tmp_path / "layout")) == {
        "app:v1",
        Digest.of(of_child),
        Digest.of(of_referrer),
        f"app:{signature}",
        f"app:{attestation}",
    }
    for content in (OTHER, of_other):
        assert Digest.of(content) not in blobs(tmp_path / "layout")


def test_plain_tags(registry: Registry, tmp_path: Path) -> None:
    """Images are called by their tags alone, where they are of one repository; others are refused."""
    push(registry, "team/app", IMAGE, "v1")
    push(registry, "team/web", IMAGE, "v1")
    registry.export(tmp_path / "layout", "team/app", plain=True)
    assert names(tmp_path / "layout") == ["v1"]
    with pytest.raises(ValueError, match="one repository"):
        registry.export(tmp_path / "more", plain=True)


def test_content_is_linked(registry: Registry, tmp_path: Path) -> None:
    """Layers are the registry's own files; manifests are copies, since clients write those in place."""
    digest = push(registry, "app", IMAGE, "v1")
    registry.export(tmp_path / "layout")
    layout = registry.store.layout
    layer = tmp_path / "layout" / path_of(Digest.of(LAYER))
    assert os.path.samefile(layer, layout.data(Digest.of(LAYER)))
    assert not os.path.samefile(tmp_path / "layout" / path_of(digest), layout.data(digest))
    registry.export(tmp_path / "copy", link=False)
    assert not os.path.samefile(tmp_path / "copy" / path_of(Digest.of(LAYER)), layer)


def test_links_become_copies(registry: Registry, tmp_path: Path) -> None:
    """An export that is asked for copies leaves no file that it shares with the registry, whatever was there."""
    push(registry, "app", IMAGE, "v1")
    registry.export(tmp_path / "layout")
    assert registry.export(tmp_path / "layout", link=False).written == 2
    for content in (LAYER, CONFIG):
        digest = Digest.of(content)
        assert not os.path.samefile(tmp_path / "layout" / path_of(digest), registry.store.layout.data(digest))
    assert registry.export(tmp_path / "layout", link=False).written == 0


def test_content_is_copied_where_it_cannot_be_linked(registry: Registry) -> None:
    """Another file system has copies of its own."""
    push(registry, "app", IMAGE, "v1")
    with folder_in_memory(Path(registry.store.layout.root)) as memory:
        if os.stat(memory).st_dev == os.stat(registry.store.layout.root).st_dev:
            pytest.skip("there is no other file system")
        registry.export(memory / "layout")
        assert Digest.of(LAYER) in blobs(memory / "layout")


def test_only_what_is_missing_is_written(registry: Registry, tmp_path: Path) -> None:
    """A second export writes what is new, and names what is there now; a tag that has moved is named once."""
    push(registry, "app", IMAGE, "v1", "latest")
    first = registry.export(tmp_path / "layout")
    assert first.written == 3
    assert registry.export(tmp_path / "layout").written == 0
    push(registry, "app", OTHER, "v2", "latest", layer=b"other")
    third = registry.export(tmp_path / "layout")
    assert (third.written, third.kept) == (2, 0)
    assert names(tmp_path / "layout") == ["app:latest", "app:v1", "app:v2"]
    assert entries(tmp_path / "layout")[0]["digest"] == Digest.of(OTHER)


def test_what_is_cut_short_is_written_again(registry: Registry, tmp_path: Path) -> None:
    """A file that has not all its bytes is not taken for what it should be."""
    push(registry, "app", IMAGE, "v1")
    registry.export(tmp_path / "layout", link=False)
    (tmp_path / "layout" / path_of(Digest.of(LAYER))).write_bytes(LAYER[:-1])
    assert registry.export(tmp_path / "layout").written == 1
    assert Digest.of(LAYER) in blobs(tmp_path / "layout")


def test_what_may_be_absent(registry: Registry, tmp_path: Path) -> None:
    """Where the registry takes manifests without all that they name, that is told as no problem, and else as one."""
    push(registry, "app", IMAGE)
    absent = image((b"absent",))
    multi = index([descriptor(IMAGE, OCI_MANIFEST), descriptor(absent, OCI_MANIFEST)])
    registry.push("app", multi, "v1", sparse=True)
    registry.push("app", OTHER, "v2", blobs=(CONFIG,), sparse=True)
    lacking = [
        f"app@{Digest.of(content)}: {digest}, which it names, is not in the repository"
        for content, digest in ((multi, Digest.of(absent)), (OTHER, Digest.of(b"other")))
    ]
    done = registry.export(tmp_path / "layout", sparse=True)
    assert (done.problems, done.lacking) == ([], lacking)
    done = registry.export(tmp_path / "layout")
    assert (done.problems, done.lacking) == (lacking, [])


def test_repositories_behind_links(registry: Registry, tmp_path: Path) -> None:
    """What is pulled from behind a symbolic link is exported too, whoever has pushed it."""
    push(registry, "app", IMAGE, "v1")
    push(registry, "team/web", IMAGE, "v1")
    folder = Path(registry.store.layout.repositories)
    (folder / "team").rename(tmp_path / "elsewhere")
    (folder / "team").symlink_to(tmp_path / "elsewhere")
    shutil.rmtree(
        registry.store.layout.catalog
    )  # the marks of what we have pushed, which another server does not make
    anew = fresh(registry)
    assert anew.export(tmp_path / "layout").problems == []
    assert names(tmp_path / "layout") == ["app:v1", "team/web:v1"]
    assert anew.export(tmp_path / "some", "team/**").problems == []
    assert names(tmp_path / "some") == ["team/web:v1"]
    anew.store.close()


def test_what_is_gone_is_kept_until_it_is_pruned(registry: Registry, tmp_path: Path) -> None:
    """What the registry has no more stays in the layout, whole; pruned, the layout is what the registry is."""
    push(registry, "app", IMAGE, "v1")
    push(registry, "app", OTHER, "v2", layer=b"other")
    push(registry, "web", IMAGE, "v1")
    registry.export(tmp_path / "layout")
    registry.delete("app", Digest.of(OTHER))
    kept = registry.export(tmp_path / "layout", "app")
    assert kept.kept == 2
    assert set(names(tmp_path / "layout")) == {"app:v1", "app:v2", "web:v1"}
    assert Digest.of(b"other") in blobs(tmp_path / "layout")
    pruned = registry.export(tmp_path / "layout", "app", prune=True)
    assert names(tmp_path / "layout") == ["app:v1"]
    assert (pruned.kept, pruned.pruned, pruned.pruned_bytes) == (0, 2, len(OTHER) + len(b"other"))
    assert blobs(tmp_path / "layout") == {Digest.of(content) for content in (IMAGE, CONFIG, LAYER)}


def test_an_untagged_manifest_is_named_once(registry: Registry, tmp_path: Path) -> None:
    """With a tag or without, now and before."""
    digest = push(registry, "app", IMAGE)
    registry.export(tmp_path / "layout")
    assert names(tmp_path / "layout") == [digest]
    push(registry, "app", IMAGE, "v1")
    assert registry.export(tmp_path / "layout").kept == 0
    assert names(tmp_path / "layout") == ["app:v1"]


def test_what_others_have_put_there_is_kept(registry: Registry, tmp_path: Path) -> None:
    """Entries of other programs stay as they are, whatever they hold."""
    push(registry, "app", IMAGE, "v1")
    registry.export(tmp_path / "layout")
    odd = descriptor(
        b"odd", "text/odd", annotations={"org.opencontainers.image.ref.name": "odd"}, more={"a": [1]}
    )
    document = json.loads((tmp_path / "layout/index.json").read_text())
    document["manifests"].append(odd | {"platform": {"os": "plan9", "architecture": "mips"}})
    (tmp_path / "layout/index.json").write_text(json.dumps(document))
    assert registry.export(tmp_path / "layout").kept == 1
    assert entries(tmp_path / "layout")[-1] == document["manifests"][-1]


def test_directories_that_are_something_else(registry: Registry, tmp_path: Path) -> None:
    """Nothing is written among files of another kind, nor while another export writes."""
    (tmp_path / "layout").mkdir()
    (tmp_path / "layout/precious").write_text("x")
    with pytest.raises(ArchiveInvalid, match="neither empty nor"):
        registry.export(tmp_path / "layout")
    assert [file.name for file in (tmp_path / "layout").iterdir()] == ["precious"]
    (tmp_path / "mine").mkdir()
    held = DirectoryTarget(str(tmp_path / "mine"), link=True)
    with pytest.raises(ArchiveInvalid, match="another export"):
        registry.export(tmp_path / "mine")
    held.close()
    assert registry.export(tmp_path / "mine").problems == []


def test_what_was_broken_off(registry: Registry, tmp_path: Path) -> None:
    """What an export that was killed has left half written goes; what it had written is not written again."""
    push(registry, "app", IMAGE, "v1")
    place = tmp_path / "layout"
    place.mkdir()
    target = DirectoryTarget(str(place), link=False)
    steps = target.add(Digest.of(LAYER), ContentBytes(LAYER))
    assert list(steps) == [(len(LAYER), len(LAYER))]
    target.close()
    (place / "0123.new").write_text("half")
    assert names(place) == []
    assert registry.export(place).written == 2
    assert sorted(file.name for file in place.iterdir()) == ["blobs", "index.json", "oci-layout"]
