"""What scopes ask for, and what the access claim of a token grants."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cargohold.types.names import RepositoryName
from cargohold.types.operations import Access, Permission
from cargohold.types.scopes import MOST_SCOPES, access_claim, format_scope, parse_scopes, read_access_claim

PULL, PUSH, DELETE, CATALOG = Permission.PULL, Permission.PUSH, Permission.DELETE, Permission.CATALOG


def accesses(name: str, *permissions: Permission) -> tuple[Access, ...]:
    repository = RepositoryName(name)
    return tuple(Access(permission, repository) for permission in permissions)


SHOWS_ALL = (Access(CATALOG, None),)
A_AND_B = accesses("a", PULL, PUSH) + accesses("b", PULL)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["repository:app:pull"], accesses("app", PULL)),
        (["repository:org/app:pull,push"], accesses("org/app", PULL, PUSH)),
        (["repository:org/app:push,pull"], accesses("org/app", PUSH, PULL)),
        (["repository:org/app:*"], accesses("org/app", PULL, PUSH, DELETE)),
        (["repository:org/app:pull,*"], accesses("org/app", PULL, PUSH, DELETE)),
        (["repository(plugin):org/app:pull"], accesses("org/app", PULL)),
        (["repository:registry.example.com/app:pull"], accesses("registry.example.com/app", PULL)),
        (["registry:catalog:*"], SHOWS_ALL),
        (["registry:catalog:pull,*"], SHOWS_ALL),
        (["repository:a:pull", "repository:b:push"], accesses("a", PULL) + accesses("b", PUSH)),
        (["repository:a:pull repository:b:push"], accesses("a", PULL) + accesses("b", PUSH)),
        (["repository:a:pull,push", "repository:b:pull", "repository:a:pull"], A_AND_B),
        (["repository:a:pull,fly,push"], accesses("a", PULL, PUSH)),
    ],
)
def test_asked(texts: list[str], expected: tuple[Access, ...]) -> None:
    """Scopes may come one by one or in one line; order is kept, duplicates merge, `*` is every action."""
    assert parse_scopes(texts) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ":",
        "::",
        "repository",
        "repository:app",
        "repository:app:",
        "repository:app:PULL",
        "repository:app: pull",
        "repository:app:catalog",
        "repository:app:enter",
        "Repository:app:pull",
        "repository():app:pull",
        "repository(plugin:app:pull",
        "repository:App:pull",
        "repository:../app:pull",
        "repository:*:pull",
        "repository::pull",
        "repository:localhost:5000/app:pull",
        "repository:[::1]:5000/app:pull",
        "repository:" + "a" * 256 + ":pull",
        "registry:catalog:pull",
        "registry:catalog",
        "registry:other:*",
        "image:app:pull",
    ],
)
def test_nothing_asked(text: str) -> None:
    """What is unknown asks for nothing, and takes nothing from what stands beside it.

    A name with a host and its port is read whole: it does not turn into the name behind the host.
    """
    assert parse_scopes([text]) == ()
    assert parse_scopes(["repository:a:pull", text, "repository:b:pull"]) == accesses("a", PULL) + accesses(
        "b", PULL
    )


def test_bounded() -> None:
    """No more than `MOST_SCOPES` scopes are looked at, however they are written."""
    scopes = [f"repository:app{number}:pull" for number in range(MOST_SCOPES + 1)]
    asked = tuple(access for number in range(MOST_SCOPES) for access in accesses(f"app{number}", PULL))
    assert parse_scopes(scopes) == asked
    assert parse_scopes([" ".join(scopes)]) == asked


@given(st.lists(st.text(alphabet="repositygcal:(),*/ pushdn-é\x00", max_size=60), max_size=5))
def test_never_an_error(texts: list[str]) -> None:
    """Whatever is sent as a scope is read without an error, and reads the same when it has been written again."""
    asked = parse_scopes(texts)
    assert set(parse_scopes([format_scope(asked)])) == set(asked)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ((), ""),
        (accesses("app", PUSH, PULL), "repository:app:push,pull"),
        (
            (*accesses("a", PULL), *accesses("b", PULL), *accesses("a", PUSH)),
            "repository:a:pull,push repository:b:pull",
        ),
        (
            accesses("app", PULL, PUSH, DELETE) + SHOWS_ALL,
            "repository:app:pull,push,delete registry:catalog:*",
        ),
        ((Access(Permission.ENTER, None), *accesses("app", PULL)), "repository:app:pull"),
    ],
)
def test_written(given: tuple[Access, ...], text: str) -> None:
    """Accesses are written one scope a repository, each action by its name; to be let in is no scope."""
    assert format_scope(given) == text


def test_claim() -> None:
    """The claim names the type, the name and the actions of each repository, and reads as what was written."""
    granted = accesses("org/app", PULL, PUSH) + SHOWS_ALL
    claim = access_claim(granted)
    assert claim == [
        {"type": "repository", "name": "org/app", "actions": ["pull", "push"]},
        {"type": "registry", "name": "catalog", "actions": ["*"]},
    ]
    assert [type(entry["name"]) for entry in claim] == [str, str]
    assert read_access_claim(claim) == set(granted)


def test_claim_of_others() -> None:
    """A claim may say `*`, and give a class, in either place that was ever one for it."""
    every = {"type": "repository", "class": "image", "name": "app", "actions": ["*"]}
    assert read_access_claim([every]) == set(accesses("app", PULL, PUSH, DELETE))
    plugin = {"type": "repository(plugin)", "name": "app", "actions": ["pull"]}
    assert read_access_claim([plugin]) == set(accesses("app", PULL))


@pytest.mark.parametrize(
    "claim",
    [
        None,
        "repository:app:pull",
        {"type": "repository", "name": "app", "actions": ["pull"]},
        ["repository:app:pull"],
        [None, 1, []],
        [{}],
        [{"type": "repository", "name": "app"}],
        [{"type": "repository", "name": "app", "actions": None}],
        [{"type": "repository", "name": "app", "actions": "pull"}],
        [{"type": "repository", "name": "app", "actions": {"pull": True}}],
        [{"type": "repository", "name": "app", "actions": [["pull"], None, 1, True]}],
        [{"type": "repository", "name": ["app"], "actions": ["pull"]}],
        [{"type": ["repository"], "name": "app", "actions": ["pull"]}],
        [{"type": "repository", "name": "app\n", "actions": ["pull"]}],
        [{"type": "registry", "name": "catalog", "actions": ["pull"]}],
        [{"type": "registry", "name": "catalog", "actions": "*"}],
    ],
)
def test_claim_of_another_shape(claim: object) -> None:
    """What is of another shape than the specification's grants nothing, and takes nothing from what is beside it."""
    assert read_access_claim(claim) == frozenset()
    if isinstance(claim, list):
        beside = {"type": "repository", "name": "b", "actions": ["pull"]}
        assert read_access_claim([*claim, beside]) == set(accesses("b", PULL))
