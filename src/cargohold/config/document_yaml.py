"""YAML with the place of each key and entry. What is read is what PyYAML's safe loader reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from cargohold.config.document import Document, Lines, Unreadable, too_many_digits
from cargohold.config.kinds import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cargohold.config.places import Keys, Mark

_MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """As safe_load, but a value that is not of its tag is an error with its place."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> object:
        try:
            return super().construct_object(node, deep)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            if isinstance(error, ValueError) and (too_long := too_many_digits(str(node.value))):
                raise yaml.constructor.ConstructorError(None, None, str(too_long), node.start_mark) from None
            reason = f": {error}" if isinstance(error, ValueError) else ""
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            raise yaml.constructor.ConstructorError(
                None, None, f"{shown(node.value)} is no {tag}{reason}", node.start_mark
            ) from None


def read_yaml(text: str) -> Document:
    """Raises Unreadable."""
    document = Document(None)
    loader = None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is not None:
            _Marking(loader, document).look(root, ())
            document.tree = loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = ", ".join(filter(None, (error.context, error.problem)))
        raise Unreadable(" ".join(words.split()), None if mark is None else _mark(mark)) from None
    except yaml.reader.ReaderError as error:
        reason = f"the character U+{ord(text[error.position]):04X} cannot stand in it"
        raise Unreadable(reason, Lines(text).mark(error.position)) from None
    finally:
        if loader is not None:
            loader.dispose()
    return document


class _Marking:
    """Writes the places of a tree of nodes into a document."""

    def __init__(self, loader: _Loader, document: Document) -> None:
        self._loader = loader
        self._document = document
        self._seen: set[int] = set()  # an alias may lead to what it stands in, and many to one

    def look(self, node: yaml.Node, keys: Keys) -> None:
        if id(node) in self._seen:
            return
        self._seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for number, entry in enumerate(node.value):
                self._document.marks[*keys, number] = _mark(entry.start_mark)
                self.look(entry, (*keys, number))
        elif isinstance(node, yaml.MappingNode):
            self._look_into(node, keys)

    def _look_into(self, node: yaml.MappingNode, keys: Keys) -> None:
        marks = self._document.marks
        own = [pair for pair in node.value if pair[0].tag != _MERGE]
        types: dict[Keys, type] = {}  # 1 and true are one key to Python, and two to whoever writes them
        for below, mark, value in self._pairs(own, keys):
            if types.setdefault(below, type(below[-1])) is type(below[-1]) and below in marks:
                self._document.twice.append((below, mark))
            marks.setdefault(below, mark)
            self.look(value, below)
        for key, merged in node.value:
            if key.tag == _MERGE:
                for each in merged.value if isinstance(merged, yaml.SequenceNode) else [merged]:
                    if isinstance(each, yaml.MappingNode):
                        for below, mark, value in self._pairs(each.value, keys):
                            marks.setdefault(below, mark)
                            self.look(value, below)

    def _pairs(
        self, pairs: list[tuple[yaml.Node, yaml.Node]], keys: Keys
    ) -> Iterator[tuple[Keys, Mark, yaml.Node]]:
        """Those whose keys are no lists or mappings: those are refused when they are constructed."""
        for key, value in pairs:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                yield (*keys, self._loader.construct_object(key)), _mark(key.start_mark), value


def _mark(mark: yaml.Mark) -> Mark:
    return mark.line + 1, mark.column + 1
