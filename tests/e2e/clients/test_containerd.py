"""containerd: pulls and pushes by ctr."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.clients.engine import containerd_engine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.clients.images import Layout
    from tests.e2e.clients.program import Client
    from tests.e2e.clients.repository import Repository

pytestmark = pytest.mark.clients

PULL = ("images", "pull", "--plain-http")
PUSH = ("images", "push", "--plain-http")


@pytest.fixture(scope="module")
def ctr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with containerd_engine(tmp_path_factory.mktemp("containerd")) as client:
        yield client


def test_an_image_is_pulled_and_pushed_to_another_tag(
    ctr: Client, runnable: Layout, repository: Repository
) -> None:
    """The digest is the same in the registry, in the engine, and in the registry again."""
    repository.push(runnable, "v1")
    ctr(*PULL, f"{repository}:v1")
    assert runnable.digest in ctr("images", "list", f"name=={repository}:v1")
    other = repository.below("other")
    ctr("images", "tag", f"{repository}:v1", f"{other}:v2")
    ctr(*PUSH, f"{other}:v2")
    assert other.manifest("v2").content == runnable.content
    assert other.is_whole("v2")


def test_the_content_pulled_is_the_content_pushed(
    ctr: Client, runnable: Layout, repository: Repository
) -> None:
    """Every blob of the image is in the engine's store, byte for byte."""
    repository.push(runnable, "v1")
    ctr(*PULL, f"{repository}@{runnable.digest}")
    for digest, content in runnable.blobs.items():
        assert ctr.output("content", "get", digest) == content


def test_an_index_is_pulled_and_pushed_with_all_its_platforms(
    ctr: Client, index: Layout, repository: Repository
) -> None:
    """`--all-platforms` fetches every image of an index; the push sends them all."""
    repository.push(index, "multi")
    # To fetch alone: the images of other platforms are not to be unpacked.
    ctr("content", "fetch", "--plain-http", "--all-platforms", f"{repository}:multi")
    other = repository.below("other")
    ctr("images", "tag", f"{repository}:multi", f"{other}:multi")
    ctr(*PUSH, f"{other}:multi")
    assert other.manifest("multi").content == index.content
    assert other.is_whole("multi")


def test_an_image_runs(ctr: Client, runnable: Layout, repository: Repository) -> None:
    """A container made of the image that was pulled says what its image says."""
    repository.push(runnable, "v1")
    ctr(*PULL, f"{repository}:v1")
    assert ctr("run", "--rm", f"{repository}:v1", repository.name[-12:]) == "it runs"
