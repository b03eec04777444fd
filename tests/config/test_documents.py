"""Files in three languages, and where in them things stand."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cargohold.config.document import Document, Unreadable
from cargohold.config.document_json import read_json
from cargohold.config.document_toml import read_toml
from cargohold.config.document_yaml import read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cargohold.config.places import Keys, Mark

NAMES = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]), max_size=8)
SCALARS = st.booleans() | st.integers() | NAMES
TREES = st.dictionaries(
    NAMES,
    st.recursive(SCALARS, lambda below: st.lists(below) | st.dictionaries(NAMES, below), max_leaves=10),
)

TOML = '''
# nothing [a] = "b"
title = "a # [b]"  # said
"quoted \\u0041.key" = 'x'
'literal' = """
a = 1
"quotes" ""and" ]
"""""
lines = \'\'\'
[not.a.table]
\'\'\'
when = 1979-05-27 07:32:00 # with a space
list = [ 1, # one
  [2, "]"], { a = { b.c = 3 } , d = [] },
]
a.b . "c" = 4

  [tables.'one'.two]   # said
  key = 0x1F
[[rules]]
name = "first"
  [rules.inner]
  deep = true
[[rules]]
name = "second"
    [[rules.more]]
    x = 1
    [[rules.more]]
    x = 2
[ spaced . out ]
  [[ spaced.out.list ]]
  x = inf
'''


def paths(tree: object, keys: Keys = ()) -> Iterator[Keys]:
    """Of every key and entry."""
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, below in entries:
        yield (*keys, key)
        yield from paths(below, (*keys, key))


def at(text: str, mark: Mark) -> str:
    """What stands there, to the end."""
    lines = re.split("(?<=\n)", text)
    line = lines[mark[0] - 1]
    assert 1 <= mark[1] <= len(line)
    return line[mark[1] - 1 :] + "".join(lines[mark[0] :])


def check(text: str, document: Document) -> None:
    """Every key and entry has a mark, where it stands; nothing else has one."""
    assert set(document.marks) == set(paths(document.tree))
    for keys, mark in document.marks.items():
        if isinstance(keys[-1], str):
            begin = at(text, mark)
            assert begin.startswith((keys[-1], '"', "'")) or not keys[-1], (keys, begin[:40])


@given(TREES, st.sampled_from([None, 0, 1, 3]), st.booleans())
def test_json(tree: dict[str, object], indent: int | None, escaped: bool) -> None:
    """The place of a key in JSON is that of its quotation mark, of an entry where it begins."""
    text = json.dumps(tree, indent=indent, ensure_ascii=escaped)
    document = read_json(text)
    assert (document.tree, document.twice) == (tree, [])
    check(text, document)
    for keys, mark in document.marks.items():
        if isinstance(keys[-1], str):
            assert at(text, mark).startswith(json.dumps(keys[-1], ensure_ascii=escaped))


@given(TREES, st.sampled_from([True, False, None]), st.sampled_from([None, "'", '"']))
def test_yaml(tree: dict[str, object], flow: bool | None, quote: str | None) -> None:
    """The place of a key in YAML is where it begins, of an entry too; the tree is what the safe loader reads."""
    text = yaml.safe_dump(tree, default_flow_style=flow, default_style=quote, allow_unicode=True)
    document = read_yaml(text)
    assert document.tree == yaml.safe_load(text)
    assert document.twice == []
    if "\n" not in repr(sorted(paths(document.tree), key=repr)):
        assert set(document.marks) >= set(paths(tree))


def test_yaml_block() -> None:
    """Keys and entries of a file as people write it."""
    text = "# a\na: 1\nb:\n  c: [x, {d: 2}]\n  'e': |\n    c: 3\nf:\n- g\n- h: 4\n  i: 5\n"
    document = read_yaml(text)
    check(text, document)
    assert document.marks["b", "c", 1, "d"] == (4, 11)
    assert document.marks["f", 1, "i"] == (10, 3)


def test_toml() -> None:
    """The place of a key in TOML is where its part begins, of a table in a list where its header does."""
    document = read_toml(TOML)
    check(TOML, document)
    assert at(TOML, document.marks["rules", 1]).startswith('[[rules]]\nname = "second"')
    assert at(TOML, document.marks["rules", 1, "more", 1]).startswith("[[rules.more]]\n    x = 2")
    assert at(TOML, document.marks["rules", 0, "inner", "deep"]).startswith("deep = true")
    assert at(TOML, document.marks["list", 1, 1]).startswith('"]"]')
    assert at(TOML, document.marks["list", 2, "a", "b", "c"]).startswith("c = 3")
    assert at(TOML, document.marks["quoted A.key",]).startswith('"quoted')
    assert at(TOML, document.marks["spaced", "out", "list", 0]).startswith("[[ spaced")


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("port = 1\nport = 2", (2, 1)),
        ("x = 1\n x = 2   \ny = 3", (2, 2)),
        ("x = 1\ny = 2\nx = [1,\n 2] # y\nz = 3", (3, 1)),
        ("x = 1\nx = {a = 1}", (2, 1)),
        ("a.b = 1\na.b.c = 2", (2, 1)),
        ("a = {b = 1, b = 2}", (1, 13)),
        ("a = {b = {c = 1}, b.d = 1}", (1, 19)),
        ("[a]\n[a]", (2, 2)),
        ("[a]\nx = 1\n  [ a.x ]", (3, 5)),
        ("a = [1]\n[[a]]\n", (2, 3)),
    ],
)
def test_toml_keys_that_stand_twice(text: str, mark: Mark) -> None:
    """A key that cannot stand there a second time is told of where it begins, not where its value ends."""
    with pytest.raises(Unreadable) as caught:
        read_toml(text)
    assert caught.value.mark == mark


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_line_ends(newline: str) -> None:
    """Lines are counted by line feeds, whatever stands before them."""
    assert read_toml(newline.join(["a = 1", "b = [", "  2", "]"])).marks["b", 0] == (3, 3)
    assert read_yaml(newline.join(["a: 1", "b:", "  - 2"])).marks["b", 0] == (3, 5)
    assert read_json(newline.join(['{"a": 1,', ' "b": [', "  2]}"])).marks["b", 0] == (3, 3)


@given(st.text(max_size=40))
def test_any_text(text: str) -> None:
    """Whatever a file holds, it is read or refused with a reason on one line; where it is, is in the file."""
    for read in (read_json, read_toml, read_yaml):
        reason = "read"
        marks: list[Mark | None] = []
        try:
            marks = [*read(text).marks.values()]
        except Unreadable as error:
            marks, reason = [error.mark], str(error)
        assert len(reason.splitlines()) == 1
        assert all(mark is None or mark >= (1, 1) for mark in marks)
