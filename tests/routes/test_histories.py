"""Whatever is pushed, moved and deleted, in whatever order: what is listed and pulled is what a few sets tell."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, closing
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from cargohold.config import Settings
from cargohold.config.sections import Manifests
from cargohold.storage.filesystem import FilesystemStore
from cargohold.types.oci import OCI_INDEX
from tests.e2e.strays import strays
from tests.registry.documents import descriptor, index, sha256
from tests.routes.caller import Registry

SUBJECT = index([])
CONTENTS = [
    SUBJECT,
    index([], annotations={"another": "one"}),
    index([], subject=descriptor(SUBJECT, OCI_INDEX)),
    index([], subject=descriptor(SUBJECT, OCI_INDEX), artifactType="application/vnd.example"),
]
DIGESTS = [sha256(content) for content in CONTENTS]
REPOSITORIES = ["a", "a/b", "b"]
TAGS = ["1", "A", "latest"]

Step = tuple[str, str, int, list[str]]

REPOSITORY = st.sampled_from(REPOSITORIES)
TAG = st.sampled_from(TAGS)
WHICH = st.integers(0, len(CONTENTS) - 1)
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("push"), REPOSITORY, WHICH, st.lists(TAG, max_size=1)),
    st.tuples(st.just("push by digest"), REPOSITORY, WHICH, st.lists(TAG, max_size=3, unique=True)),
    st.tuples(st.just("delete"), REPOSITORY, WHICH, st.just([])),
    st.tuples(st.just("delete tag"), REPOSITORY, WHICH, st.lists(TAG, min_size=1, max_size=1)),
)


class Model:
    """What the registry should hold: each repository's manifests, and what its tags point to."""

    def __init__(self) -> None:
        self.manifests: dict[str, set[int]] = {name: set() for name in REPOSITORIES}
        self.tags: dict[str, dict[str, int]] = {name: {} for name in REPOSITORIES}

    def take(self, registry: Registry, action: str, repository: str, which: int, tags: list[str]) -> None:
        """Do one step in the registry and here; its status is the one that is due."""
        path = f"/v2/{repository}/manifests"
        held, pointing = self.manifests[repository], self.tags[repository]
        if action.startswith("push"):
            by_tag = action == "push" and tags
            query = "" if by_tag else "?" + "&".join(f"tag={tag}" for tag in tags)
            reference = tags[0] if by_tag else DIGESTS[which]
            reply = registry.ask("PUT", f"{path}/{reference}{query}", body=CONTENTS[which])
            assert (reply.status, reply["docker-content-digest"]) == (201, DIGESTS[which])
            held.add(which)
            pointing.update(dict.fromkeys(tags, which))
        elif action == "delete":
            reply = registry.ask("DELETE", f"{path}/{DIGESTS[which]}")
            assert reply.status == (202 if which in held else 404)
            held.discard(which)
            for tag in [tag for tag, target in pointing.items() if target == which]:
                del pointing[tag]
        else:
            assert registry.ask("DELETE", f"{path}/{tags[0]}").status == (202 if tags[0] in pointing else 404)
            pointing.pop(tags[0], None)

    def agrees_with(self, registry: Registry) -> None:
        """Every list and every pull of the registry is what is held here."""
        catalog = registry.ask("GET", "/v2/_catalog").json
        assert catalog == {"repositories": [name for name in REPOSITORIES if self.manifests[name]]}
        for name in REPOSITORIES:
            listed = registry.ask("GET", f"/v2/{name}/tags/list")
            assert listed.status == (200 if self.manifests[name] else 404)
            if listed.status == 200:
                assert listed.json == {"name": name, "tags": sorted(self.tags[name])}
            for tag in TAGS:
                reply = registry.ask("GET", f"/v2/{name}/manifests/{tag}")
                found = CONTENTS.index(reply.body) if reply.status == 200 else None
                assert found == self.tags[name].get(tag)
            pulled = {
                which
                for which, digest in enumerate(DIGESTS)
                if registry.ask("HEAD", f"/v2/{name}/manifests/{digest}").status == 200
            }
            assert pulled == self.manifests[name]
            referrers = registry.ask("GET", f"/v2/{name}/referrers/{DIGESTS[0]}").json["manifests"]
            expected = sorted(DIGESTS[which] for which in self.manifests[name] & {2, 3})
            assert [each["digest"] for each in referrers] == expected


ALLOWED = Settings(manifests=Manifests(allow_tag_deletion=True))


@settings(deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_any_history_ends_as_it_should(steps: list[Step]) -> None:
    """After any pushes, moves of tags and deletes, the registry lists and serves what is left of them, and no more."""
    registry, model = Registry(ALLOWED), Model()
    for step in steps:
        model.take(registry, *step)
    model.agrees_with(registry)


@settings(deadline=None, max_examples=40)
@given(st.lists(STEPS, max_size=10))
def test_any_history_ends_so_on_files(steps: list[Step]) -> None:
    """The same on the file system, after each step, in two servers that take turns on one tree; no file is astray."""
    with ExitStack() as stack:
        storage = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "data"
        stores = [stack.enter_context(closing(FilesystemStore(str(storage)))) for _ in range(2)]
        stores[0].prepare()
        registries, model = [Registry(ALLOWED, store) for store in stores], Model()
        for turn, step in enumerate(steps):
            model.take(registries[turn % 2], *step)
            model.agrees_with(registries[(turn + 1) % 2])
        assert strays(storage) == []
