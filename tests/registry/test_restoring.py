"""What is restored from the trash, with what, and what is told of what cannot be, over either store."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from cargohold.registry.immutable import ImmutableTags
from cargohold.registry.manifests import Manifests
from cargohold.registry.restoring import Restored, Taken, Unrestorable
from cargohold.storage.filesystem import FilesystemStore
from cargohold.storage.trash import Why
from cargohold.types.digest import Digest
from cargohold.types.names import RepositoryName, Tag
from cargohold.types.oci import OCI_MANIFEST
from tests.registry.documents import LAYER, descriptor, image, index
from tests.registry.trashing import APP, ONE, TWO, Registry

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("by_tag", [False, True])
def test_manifest_with_its_tags(registry: Registry, by_tag: bool) -> None:
    """A deleted manifest comes back, byte for byte, with all tags that went with it, by any of their names."""
    one, two = registry.push(ONE, "a", "b"), registry.push(TWO, "c")
    registry.delete(one)
    assert registry.tags() == {"c": two}
    assert registry.restore("b" if by_tag else one) == Restored(
        APP, one, [one], {Tag("a"): one, Tag("b"): one}
    )
    assert registry.tags() == {"a": one, "b": one, "c": two}
    assert registry.run(registry.store.read_manifest(APP, one)) == ONE
    assert registry.records() == 0


def test_tag(registry: Registry) -> None:
    """A tag that was deleted comes back to what it pointed to; other tags are left alone."""
    one = registry.push(ONE, "a", "b")
    registry.delete("a")
    assert registry.restore("a") == Restored(APP, one, [], {Tag("a"): one})
    assert registry.tags() == {"a": one, "b": one}
    assert registry.records() == 0


def test_tag_and_then_its_manifest(registry: Registry) -> None:
    """A tag whose manifest was deleted after it brings that back too, with the tags that went with that."""
    one = registry.push(ONE, "a", "b")
    registry.delete("a")
    registry.delete(one)
    assert registry.restore("a").tags == {Tag("a"): one, Tag("b"): one}
    assert registry.tags() == {"a": one, "b": one}
    assert registry.records() == 0


def test_manifest_without_what_was_deleted_for_itself(registry: Registry) -> None:
    """A manifest comes back by its digest without a tag that had been taken from it before; that stays in the trash."""
    one = registry.push(ONE, "a", "b")
    registry.delete("a")
    registry.delete(one)
    assert registry.restore(one).tags == {Tag("b"): one}
    assert [each.record.tags for each in registry.listed()] == [("a",)]
    assert registry.restore("a").tags == {Tag("a"): one}
    assert registry.records() == 0


@pytest.mark.parametrize("by_tag", [False, True])
def test_what_no_rule_keeps(registry: Registry, by_tag: bool) -> None:
    """Tags that rules took one by one, and then their manifest, come back together."""
    one = registry.push(ONE, "a", "b")
    for reference in ("a", "b", one):
        registry.delete(reference, why=Why.RETENTION)
    assert registry.restore("a" if by_tag else one).tags == {Tag("a"): one, Tag("b"): one}
    assert registry.records() == 0


def test_tag_by_digest(registry: Registry) -> None:
    """Where tags alone were deleted, the digest stands for all of them."""
    one = registry.push(ONE, "a", "b", "c")
    registry.delete("a")
    registry.delete("b")
    assert registry.restore(one).tags == {Tag("a"): one, Tag("b"): one}
    assert registry.records() == 0


def test_last_deletion_of_a_tag(registry: Registry) -> None:
    """A tag that was deleted more than once comes back as it was last."""
    one = registry.push(ONE, "a")
    registry.delete(one)
    two = registry.push(TWO, "a")
    registry.delete(two)
    assert registry.restore("a").manifests == [two]
    assert registry.tags() == {"a": two}
    assert [each.record.digest for each in registry.listed()] == [one]


def test_all_deletions_of_a_manifest(registry: Registry) -> None:
    """A manifest that was deleted more than once comes back with the tags that went with it each time."""
    for tag in ("a", "b"):
        one = registry.push(ONE, tag)
        registry.delete(one)
    assert registry.restore(one).tags == {Tag("a"): one, Tag("b"): one}
    assert registry.records() == 0


def test_tag_that_points_elsewhere(registry: Registry) -> None:
    """A tag that was set again stays as it is, and is told; the rest comes back, and the trash keeps the deletion."""
    one = registry.push(ONE, "a", "b")
    registry.delete(one)
    two = registry.push(TWO, "a")
    expected = Restored(APP, one, [one], {Tag("b"): one}, [Taken(Tag("a"), one, two)])
    assert registry.restore(one) == expected
    assert registry.tags() == {"a": two, "b": one}
    assert [each.record.digest for each in registry.listed()] == [one]
    assert registry.restore("a") == Restored(APP, one, taken=[Taken(Tag("a"), one, two)])
    assert registry.restore("a", overwrite=True) == Restored(APP, one, [], {Tag("a"): one})
    assert registry.tags() == {"a": one, "b": one}
    assert registry.records() == 0


def test_tag_that_is_set_meanwhile(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tag that somebody sets after it was looked at, and before it is restored, stays where that sets it."""
    one = registry.push(ONE, "a", "b")
    registry.delete(one)
    two = registry.push(TWO)
    real = registry.store.resolve_tag

    async def resolve(repository: RepositoryName, tag: Tag) -> Digest:
        try:
            return await real(repository, tag)
        finally:
            if tag == "a":
                await Manifests(registry.store).push(APP, tag, [], TWO, OCI_MANIFEST)

    monkeypatch.setattr(registry.store, "resolve_tag", resolve)
    done = registry.restore(one)
    monkeypatch.undo()
    assert (done.tags, done.taken) == ({Tag("b"): one}, [Taken(Tag("a"), one, two)])
    assert registry.tags() == {"a": two, "b": one}
    assert registry.records() == 1


def test_immutable_tag_is_not_overwritten(registry: Registry) -> None:
    """A tag that is immutable comes back, but is not moved back, whatever is asked."""
    immutable = ImmutableTags([("team/**", ["v*"])])
    one = registry.push(ONE, "v1", "latest")
    registry.delete(one)
    assert registry.restore(one, immutable=immutable).tags == {Tag("latest"): one, Tag("v1"): one}
    registry.delete(one)
    two = registry.push(TWO, "v1", "latest")
    done = registry.restore(one, overwrite=True, immutable=immutable)
    assert (done.tags, done.taken) == ({Tag("latest"): one}, [Taken(Tag("v1"), one, two)])
    assert registry.tags() == {"latest": one, "v1": two}


def test_index_with_its_children(registry: Registry) -> None:
    """An index brings back those of its children that are in the trash, at any depth, and theirs come first."""
    leaves = [registry.push(content) for content in (ONE, TWO)]
    inner = index([descriptor(ONE, OCI_MANIFEST), descriptor(TWO, OCI_MANIFEST)])
    outer = index([descriptor(inner), descriptor(ONE, OCI_MANIFEST)])
    digests = [*leaves, registry.push(inner), registry.push(outer, "v1")]
    for digest in reversed(digests):
        registry.delete(digest)
    done = registry.restore("v1")
    assert sorted(done.manifests) == sorted(digests)
    assert done.manifests[-1] == digests[-1]
    assert done.manifests.index(digests[2]) > max(map(done.manifests.index, leaves))
    assert registry.tags() == {"v1": digests[-1]}
    assert registry.records() == 0


def test_child_that_is_gone(registry: Registry) -> None:
    """An index whose child cannot be had is not restored, and the child is told; what was restored stays so."""
    one = registry.push(ONE)
    outer = registry.push(index([descriptor(ONE, OCI_MANIFEST)]), "v1")
    registry.delete(outer)
    registry.delete(one)
    registry.run(registry.store.drop_records(APP, [each.record.name for each in registry.listed()[1:]]))
    with pytest.raises(
        Unrestorable, match=rf"{outer} needs what is not in the repository any more: {one}; push"
    ):
        registry.restore("v1")
    assert registry.tags() == {}
    registry.push(ONE)
    assert registry.restore("v1").manifests == [outer]


def test_blob_that_is_gone(registry: Registry) -> None:
    """An image that lacks a blob by now is not restored, unless such ones may be pushed; the blob is told."""
    one, layer = registry.push(ONE, "a"), Digest.of(LAYER)
    registry.delete(one)
    registry.run(registry.store.delete_blob(APP, layer))
    with pytest.raises(
        Unrestorable, match=rf"{one} needs what is not in the repository any more: {layer}; push"
    ):
        registry.restore("a")
    assert registry.tags() == {}
    assert registry.records() == 1
    assert registry.restore("a", allow_sparse=True).manifests == [one]


def test_many_blobs_that_are_gone(registry: Registry) -> None:
    """Of many that are missing a few are told, and how many more there are."""
    layers = [b"%d" % number for number in range(10)]
    for layer in layers:
        registry.push_blob(layer)
    one = registry.push(image(layers), "a")
    registry.delete(one)
    for layer in layers:
        registry.run(registry.store.delete_blob(APP, Digest.of(layer)))
    with pytest.raises(
        Unrestorable, match=r"(sha256:\w{64}, ){2}sha256:\w{64} and 7 more; push the image again"
    ):
        registry.restore("a")


def test_referrers_that_followed_their_subject(registry: Registry) -> None:
    """What was removed since its subject was gone comes back with it, and what followed that; nothing else does."""
    one = registry.push(ONE, "a")
    subject = descriptor(ONE, OCI_MANIFEST)
    signature = image(subject=subject, annotations={"n": "signature"})
    about = image(subject=descriptor(signature, OCI_MANIFEST))
    wrong = image(subject=subject, annotations={"n": "wrong"})
    digests = {content: registry.push(content) for content in (signature, about, wrong)}
    registry.delete(digests[wrong])
    registry.delete(one)
    registry.delete(digests[signature], why=Why.SUBJECT_DELETED)
    registry.delete(digests[about], why=Why.SUBJECT_DELETED)
    done = registry.restore("a")
    assert done.manifests == [one, digests[signature], digests[about]]
    listed = registry.run(registry.store.list_referrers(APP, one))
    assert [json.loads(each)["digest"] for each in listed] == [digests[signature]]
    assert [each.record.digest for each in registry.listed()] == [digests[wrong]]


def test_referrer_that_cannot_follow(registry: Registry) -> None:
    """A referrer that cannot be restored is told, and does not keep its subject back."""
    one = registry.push(ONE, "a")
    registry.push_blob(b"signature")
    signature = registry.push(image((b"signature",), subject=descriptor(ONE, OCI_MANIFEST)))
    registry.delete(one)
    registry.delete(signature, why=Why.SUBJECT_DELETED)
    registry.run(registry.store.delete_blob(APP, Digest.of(b"signature")))
    done = registry.restore("a")
    assert (done.manifests, len(done.problems)) == ([one], 1)
    assert str(signature) in done.problems[0]
    assert registry.tags() == {"a": one}


def test_restored_twice_at_once(registry: Registry) -> None:
    """Two who restore the same at once both find it restored, or one of them finds it gone from the trash."""
    one = registry.push(ONE, "a", "b")
    registry.delete(one)

    async def both() -> list[Restored | BaseException]:
        restored = (registry.trash().restore(APP, Tag("a")) for _ in range(2))
        return await asyncio.gather(*restored, return_exceptions=True)

    found = registry.run(both())
    done = [each for each in found if isinstance(each, Restored)]
    assert [str(each) for each in found if each not in done] in ([], ["team/app:a is not in the trash"])
    assert [(each.digest, each.taken, each.problems) for each in done] == [(one, [], [])] * len(done)
    assert registry.tags() == {"a": one, "b": one}
    assert registry.records() == 0


def test_manifest_of_another_time(tmp_path: Path) -> None:
    """What no push would store any more, as a manifest of schema 1, comes back as it was."""
    content = json.dumps(
        {
            "schemaVersion": 1,
            "name": "team/app",
            "fsLayers": [{"blobSum": Digest.of(LAYER)}],
            "signatures": [],
        }
    ).encode()
    digest = Digest.of(content)
    with asyncio.Runner() as runner, closing(FilesystemStore(str(tmp_path / "data"))) as store:
        store.prepare()
        registry = Registry(store, runner)
        store.disk.write_files(
            {
                store.layout.data(digest): content,
                f"{store.layout.revision(APP, digest)}/link": digest.encode(),
                f"{store.layout.tag_index(APP, Tag('old'), digest)}/link": digest.encode(),
                store.layout.tag_current(APP, Tag("old")): digest.encode(),
            }
        )
        registry.delete(digest)
        assert registry.tags() == {}
        assert registry.restore("old").manifests == [digest]
        assert registry.tags() == {"old": digest}
        assert runner.run(store.read_manifest(APP, digest)) == content


def test_content_that_is_gone(tmp_path: Path) -> None:
    """A manifest whose content is gone, or damaged, is told to be so."""
    with asyncio.Runner() as runner, closing(FilesystemStore(str(tmp_path / "data"))) as store:
        store.prepare()
        registry = Registry(store, runner)
        one = registry.push(ONE, "a")
        registry.delete(one)
        store.disk.rename(store.layout.data(one), f"{store.layout.blob(one)}/away")
        with pytest.raises(Unrestorable, match=f"the content of the manifest {one} is gone: push it again"):
            registry.restore("a")
