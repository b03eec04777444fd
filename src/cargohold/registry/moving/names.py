"""What images are called in an archive, and where in the registry they belong.

An entry of an `index.json` has its name in annotations. Ours have the repository in one of our own, since a manifest
without a tag has no name; the name itself is `repository:tag`, as others take it, or the tag alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from cargohold.storage.archive.images import REF_NAME
from cargohold.types.errors import NameInvalid, TagInvalid
from cargohold.types.names import RepositoryName, Tag
from cargohold.types.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

REPOSITORY: Final = "cargohold.repository"
_IMAGE_NAME: Final = "io.containerd.image.name"
_DOCKER: Final = frozenset({"docker.io", "index.docker.io"})


class Place(NamedTuple):
    """A repository, and a tag of it if there is one."""

    repository: RepositoryName
    tag: Tag | None

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}" if self.tag else self.repository


def annotations_of(place: Place, *, plain: bool) -> dict[str, str]:
    """How an image of the registry is named in an archive; `plain`: by its tag alone."""
    named = {REPOSITORY: str(place.repository)}
    if place.tag:
        named[REF_NAME] = str(place.tag if plain else place)
    return named


def place_of(annotations: Mapping[str, str], target: Place | None) -> Place:
    """Where an image of this name belongs; in the repository of `target`, if that is given.

    The tag of `target`, if it has one, takes the place of that of the name. Raises ValueError, with what is wrong with
    the name.
    """
    name = annotations.get(_IMAGE_NAME) or annotations.get(REF_NAME, "")
    repository = annotations.get(REPOSITORY)
    try:
        if repository is not None:
            tag = annotations.get(REF_NAME, "").removeprefix(f"{repository}:")
            found: tuple[str, str] = (repository, tag)
        else:
            found = _parse(name)
        return _placed(*found, target)
    except NameInvalid as error:
        raise ValueError(
            f"{printable(name or repository or '')!r}: {error.message}; say with --to where it belongs"
        ) from None
    except TagInvalid as error:
        raise ValueError(f"{printable(name)!r}: {error.message}") from None


def _placed(repository: str, tag: str, target: Place | None) -> Place:
    if target is not None:
        return Place(target.repository, (target.tag or Tag(tag)) if tag else None)
    if not repository:
        what = f"the image {printable(tag)!r} does" if tag else "an image without a name does"
        raise ValueError(f"{what} not say in which repository it belongs: say it with --to")
    return Place(RepositoryName(repository), Tag(tag) if tag else None)


def _parse(name: str) -> tuple[str, str]:
    """The repository and the tag of a name as clients write it: the host of its registry is left out.

    A name that is a tag alone has no repository; one of a repository alone means the tag `latest`, as everywhere.
    """
    bare, at, _ = name.partition("@")
    if not any(mark in name for mark in "/:@"):
        return "", name
    first, slash, rest = bare.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        bare = rest.removeprefix("library/") if first in _DOCKER else rest
    repository, _, tag = bare.partition(":")
    return repository, tag or ("" if at else "latest")
