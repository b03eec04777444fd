"""Settings that are lists of mappings: each becomes a record, and every mistake in every one of them is told of."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, get_args, get_origin

import msgspec

from cargohold.config.kinds import Kind, Misfit, decoded, refuse, write_json
from cargohold.config.places import Keys


def records(
    record: type[msgspec.Struct],
    noun: str,
    example: str,
    faults: Callable[[Any], Iterable[Misfit]],
    schema: dict[str, object],
) -> Kind:
    """A list of mappings, each of which becomes a `record`; `faults` finds what is wrong with one that did."""

    def faults_of(value: object) -> Iterator[Misfit]:
        try:
            found = msgspec.convert(value, record)
        except msgspec.ValidationError as error:
            mistakes = [*_mistakes(value, record, ())] or [((), str(error))]
            for keys, text in mistakes:
                yield Misfit(f"{text}{_at(keys)}; write {noun} such as {example}", within=keys)
        else:
            yield from faults(found)

    def read(value: object) -> tuple[Any, ...]:
        given = decoded(value)
        if not isinstance(given, list | tuple):
            raise Misfit
        misfits = (
            Misfit(f"entry {number + 1}: {misfit}", within=(number, *misfit.within))
            for number, each in enumerate(given)
            for misfit in faults_of(each)
        )
        refuse(misfits)
        return tuple(msgspec.convert(each, record) for each in given)

    form = f"a list of entries such as {example}"
    return Kind(form, read, write_json, {"type": "array", "items": schema})


def mapping(required: list[str], **properties: object) -> dict[str, object]:
    """The schema of a mapping with no other keys than these."""
    return {
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": False,
    }


def tried(check: Callable[[Any], object], value: object, *within: object) -> Iterator[Misfit]:
    """The Misfit that the check raises of a part of a record, with what leads to the part."""
    try:
        check(value)
    except Misfit as misfit:
        yield Misfit(str(misfit), within=within)


def _mistakes(value: object, kind: Any, keys: Keys) -> Iterator[tuple[Keys, str]]:  # noqa: ANN401 - any type
    """What keeps a value from becoming one of the type, each with what leads to it."""
    if isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        fields = {field.name: field for field in msgspec.structs.fields(kind)}
        for name in value:
            if name not in fields:
                yield (*keys, name), f"Object contains unknown field `{name}`"
        for name, field in fields.items():
            if name in value:
                yield from _mistakes(value[name], field.type, (*keys, name))
            elif field.required:
                yield keys, f"Object missing required field `{name}`"
    elif isinstance(value, list | tuple) and get_origin(kind) is tuple:
        for number, each in enumerate(value):
            yield from _mistakes(each, get_args(kind)[0], (*keys, number))
    else:
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            yield keys, str(error)


def _at(keys: Keys) -> str:
    """Where in a record, as JSONPath has it."""
    path = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return f" - at `${path}`" if path else ""
