"""Scopes: what a token is asked for and issued for, as clients write it and as tokens hold it.

The grammar is that of the Docker token specification ("Token Scope Documentation")::

    repository:org/app:pull,push
    repository(plugin):org/app:pull
    registry:catalog:*

A name may hold a host and its port, so the type ends at the first colon and the actions begin after the last. `*` is
every action. What is unknown (a type, an action, a name that no repository can have) is left out and never an error:
whoever asks for more than there is gets what there is.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING

from cargohold.types.errors import NameInvalid
from cargohold.types.names import RepositoryName
from cargohold.types.operations import Access, Permission

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MOST_SCOPES = 100

_REPOSITORY = "repository"
_CATALOG = ("registry", "catalog")
_EVERY = "*"
# The class, such as that of plugins, says what kind of image it is and changes nothing about who may pull it.
_TYPE = re.compile(r"([a-z0-9]+)(?:\([a-z0-9]+\))?")
_PERMISSIONS = (Permission.PULL, Permission.PUSH, Permission.DELETE)
_ACTIONS = {_EVERY: _PERMISSIONS} | {each.value: (each,) for each in _PERMISSIONS}


def parse_scopes(texts: Iterable[str]) -> tuple[Access, ...]:
    """What the scopes ask for, in their order, each access once. A text may hold several, separated by spaces.

    No more than `MOST_SCOPES` are looked at; those beyond ask for nothing.
    """
    scopes = (scope for text in texts for scope in text.split())
    return tuple(dict.fromkeys(access for scope in islice(scopes, MOST_SCOPES) for access in _parse(scope)))


def _parse(scope: str) -> Iterator[Access]:
    head, _, actions = scope.rpartition(":")
    kind, _, name = head.partition(":")
    return _accesses(kind, name, actions.split(","))


def _accesses(written: str, name: str, actions: Iterable[str]) -> Iterator[Access]:
    match = _TYPE.fullmatch(written)
    kind = match[1] if match else None
    if (kind, name) == _CATALOG:
        if _EVERY in actions:
            yield Access(Permission.CATALOG, None)
    elif kind == _REPOSITORY:
        try:
            repository = RepositoryName(name)
        except NameInvalid:
            return
        for action in actions:
            for permission in _ACTIONS.get(action, ()):
                yield Access(permission, repository)


def format_scope(accesses: Iterable[Access]) -> str:
    """The accesses as scopes, one a repository, separated by spaces; empty where there are none.

    Repositories, and the actions on each, are in the order in which they come first.
    """
    return " ".join(f"{kind}:{name}:{','.join(actions)}" for kind, name, actions in _grouped(accesses))


def access_claim(accesses: Iterable[Access]) -> list[dict[str, object]]:
    """The accesses as the `access` claim of a token (Docker token specification, "JSON Web Token")."""
    return [{"type": kind, "name": name, "actions": actions} for kind, name, actions in _grouped(accesses)]


def _grouped(accesses: Iterable[Access]) -> Iterator[tuple[str, str, list[str]]]:
    groups: dict[tuple[str, str], dict[str, None]] = {}
    for permission, repository in accesses:
        if repository is not None:
            groups.setdefault((_REPOSITORY, str(repository)), {})[permission.value] = None
        elif permission is Permission.CATALOG:
            groups.setdefault(_CATALOG, {})[_EVERY] = None
    return ((kind, name, list(actions)) for (kind, name), actions in groups.items())


def read_access_claim(value: object) -> frozenset[Access]:
    """What the `access` claim of a token grants: a list of objects with `type`, `name` and the list `actions`.

    What is of another shape, or unknown, grants nothing.
    """
    if not isinstance(value, list):
        return frozenset()
    return frozenset(access for entry in value for access in _read(entry))


def _read(entry: object) -> Iterator[Access]:
    match entry:
        case {"type": str(kind), "name": str(name), "actions": list(actions)}:
            return _accesses(kind, name, [action for action in actions if isinstance(action, str)])
        case _:
            return iter(())
