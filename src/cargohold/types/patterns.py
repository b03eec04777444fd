"""Patterns of repositories, and of the claims of id tokens: strings that are made of segments with `/` between them.

`*` alone is one segment; within a segment, as in `team-*`, it is any number of characters, none included. `**` is a
segment of its own, and any number of segments, none included: `org/**` matches `org`, `org/a` and `org/a/b`.

All patterns of a set are one tree, which is walked along all its branches at once, a segment at a time. So a match
costs no more than the nodes of the tree times the segments of the name, whatever the patterns: nothing is tried twice.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_SEGMENT = re.compile(r"[a-z0-9._*-]+")


def check_pattern(text: str) -> None:
    """Raises ValueError where it is no pattern of repositories."""
    if not all(_SEGMENT.fullmatch(segment) and _stars_apart(segment) for segment in text.split("/")):
        raise ValueError(
            f"{text!r} is no pattern of repositories: write segments of lower-case letters, digits, '.', '_', '-'"
            " and '*', such as team/*/app, or team/** for all that is below"
        )


def compile_pattern(text: str) -> Callable[[str], bool]:
    """What tells whether a repository's name matches the pattern. Raises ValueError where it is none."""
    return _alone(compile_patterns((text,)))


def compile_patterns(texts: Iterable[str]) -> Callable[[str], int]:
    """What tells which patterns a repository's name matches: bit 0 is set for the first of them, bit 1 for the second.

    Raises ValueError where one is no pattern of repositories.
    """
    texts = tuple(texts)
    for text in texts:
        check_pattern(text)
    return _compile(texts)


def compile_claim_pattern(text: str) -> Callable[[str], bool]:
    """As `compile_pattern`, for strings of any characters, such as `refs/heads/*`.

    Raises ValueError where it is empty, or `**` is a part of a segment.
    """
    if not text or not all(map(_stars_apart, text.split("/"))):
        raise ValueError(
            f"{text!r} is no pattern: it is empty, or '**' is not the whole of what is between slashes"
        )
    return _alone(_compile((text,)))


def _stars_apart(segment: str) -> bool:
    return "**" not in segment or segment == "**"


def _alone(matches: Callable[[str], int]) -> Callable[[str], bool]:
    return lambda text: matches(text) != 0


class _Node:
    """Where a walk may stand after some segments.

    `ends` has the bits of the patterns that end here; at a `deep` node, which is a `**`, a walk stays with any segment.
    `reach` is the node itself, and those that are reached from it by no segment at all.
    """

    __slots__ = ("deep", "ends", "globs", "literals", "reach", "rest")

    def __init__(self, *, deep: bool = False) -> None:
        self.deep = deep
        self.ends = 0
        self.literals: dict[str, _Node] = {}
        self.globs: dict[str, tuple[Callable[[str], bool], _Node]] = {}
        self.rest: _Node | None = None
        self.reach: tuple[_Node, ...] = (self,)

    def child(self, segment: str) -> _Node:
        """The node after a segment of a pattern, made where it is not there yet."""
        if segment == "**":
            if self.rest is None:
                self.rest = _Node(deep=True)
            return self.rest
        if "*" not in segment:
            return self.literals.setdefault(segment, _Node())
        if segment not in self.globs:
            self.globs[segment] = (_glob(segment), _Node())
        return self.globs[segment][1]

    def children(self) -> list[_Node]:
        """The nodes that one more segment of a pattern leads to."""
        nodes = [*self.literals.values(), *(node for _, node in self.globs.values())]
        return nodes if self.rest is None else [*nodes, self.rest]


def _glob(segment: str) -> Callable[[str], bool]:
    """What tells whether a segment matches one that has a `*`, by finding the leftmost place of each piece."""
    if segment == "*":
        return bool
    first, *middle, last = segment.split("*")
    least = len(segment) - segment.count("*")

    def matches(text: str) -> bool:
        if len(text) < least or not text.startswith(first) or not text.endswith(last):
            return False
        place, end = len(first), len(text) - len(last)
        for piece in middle:
            place = text.find(piece, place, end)
            if place < 0:
                return False
            place += len(piece)
        return True

    return matches


def _compile(texts: tuple[str, ...]) -> Callable[[str], int]:
    root = _Node()
    for number, text in enumerate(texts):
        node = root
        for segment in text.split("/"):
            node = node.child(segment)
        node.ends |= 1 << number
    nodes = [root]
    for node in nodes:
        nodes += node.children()
    for node in reversed(nodes):
        if node.rest is not None:
            node.reach = (node, *node.rest.reach)
    return _walk(root)


def _walk(root: _Node) -> Callable[[str], int]:
    def matches(text: str) -> int:
        nodes: Iterable[_Node] = root.reach
        for segment in text.split("/"):
            following: set[_Node] = set()
            for node in nodes:
                if node.deep:
                    following.add(node)
                if (child := node.literals.get(segment)) is not None:
                    following.update(child.reach)
                for glob, child in node.globs.values():
                    if glob(segment):
                        following.update(child.reach)
            nodes = following
        found = 0
        for node in nodes:
            found |= node.ends
        return found

    return matches
