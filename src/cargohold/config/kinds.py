"""Kinds of values: how a setting is written, and how what was written is read.

The same forms hold for every source: a file may give a number or its text, a variable always gives text.
"""

import os
import re
import reprlib
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from cargohold.config.places import Keys

_SIZES = {
    "TiB": 2**40,
    "GiB": 2**30,
    "MiB": 2**20,
    "KiB": 2**10,
    "TB": 10**12,
    "GB": 10**9,
    "MB": 10**6,
    "KB": 10**3,
    "B": 1,
}
_SIZES_IN_LOWER_CASE = {unit.lower(): factor for unit, factor in _SIZES.items()}
_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}

_WHOLE = re.compile(r"-?[0-9]{1,18}")
_SIZE = re.compile(r"([0-9]{1,18}) ?([A-Za-z]*)")
_NUMBER = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,18})?")
_DURATION = re.compile(r"(?:[0-9]{1,18}(?:\.[0-9]{1,18})?[dhms])+")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,253})")
_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~-]+)*")
_ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://[a-z0-9_.:\[\]-]+")
# RFC 9110, 5.6.2 (token) and 5.5 (field values, in ASCII: the server drops others without a word)
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?|")
_SENT_BY_SERVER = frozenset(
    {
        "connection",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "date",
        "keep-alive",
        "trailer",
        "transfer-encoding",
        "upgrade",
    },
)

_LONGEST_SOCKET = 107  # bytes: sun_path of unix(7), without its NUL
_LONGEST_SHOWN = 80
_SHORT = reprlib.Repr()
_SHORT.maxlevel = 2
_SHORT.maxstring = _SHORT.maxother = _LONGEST_SHOWN


class Misfit(Exception):
    """The value is not of its kind. The text, where there is one, says more than the kind's form does.

    With `within`, which leads to a part of the value, the text says what is wrong there and what to write instead.
    """

    def __init__(self, *text: str, within: Keys = ()) -> None:
        super().__init__(*text)
        self.within = within


class Kind(msgspec.Struct, frozen=True, eq=False):
    """What a setting may hold.

    `form` says what to write, after "must be"; `read` gives the value of what was written, or raises Misfit, or an
    ExceptionGroup of them; `write` is its inverse. `schema` is the JSON Schema of what a file may hold, and `plain`
    gives the value as a file would have it best: a size as text, a list as a list.
    """

    form: str
    read: Callable[[object], Any]
    write: Callable[[Any], str]
    schema: dict[str, object] = {}
    plain: Callable[[Any], object] = msgspec.to_builtins

    def complaint(self, value: object, misfit: Misfit) -> str:
        """What is wrong with the value and what to write instead, on one line."""
        if misfit.within:
            return str(misfit)
        reason = f" ({misfit})" if misfit.args else ""
        return f"must be {self.form}, not {shown(value)}{reason}"


def shown(value: object) -> str:
    """The value as a message shows it: on one line, shortened where it is long or deep."""
    try:
        text = _SHORT.repr(value)
    except ValueError:  # Python writes no number of more than some thousands of digits
        return "a number of very many digits"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."


def write_json(value: object) -> str:
    """In JSON, on one line."""
    return msgspec.json.encode(value).decode()


def refuse(misfits: Iterable[Misfit]) -> None:
    """Raise all of them at once, if there are any."""
    if found := [*misfits]:
        raise ExceptionGroup("what does not fit", found)


def misfits_of(error: Exception) -> Iterator[Misfit]:
    """Each of those that `Kind.read` has raised; what is none is raised again."""
    if isinstance(error, ExceptionGroup):
        for each in error.exceptions:
            yield from misfits_of(each)
    elif isinstance(error, Misfit):
        yield error
    else:
        raise error


def _text(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise Misfit
    return value


def _read_boolean(value: object) -> bool:
    word = value.lower() if isinstance(value, str) else value
    if word is True or word in ("true", "yes", "on", "1"):
        return True
    if word is False or word in ("false", "no", "off", "0"):
        return False
    raise Misfit


_WORDS_OF_BOOLEANS = ("true", "yes", "on", "1", "false", "no", "off", "0")

BOOLEAN = Kind("true or false", _read_boolean, write_json, {"enum": [True, False, *_WORDS_OF_BOOLEANS]})


def whole(least: int, most: int) -> Kind:
    """A whole number, both bounds included."""

    def read(value: object) -> int:
        if isinstance(value, str) and _WHOLE.fullmatch(value):
            value = int(value)
        if type(value) is not int or not least <= value <= most:
            raise Misfit
        return value

    schema = _number("integer", least, most, "^-?[0-9]+$")
    return Kind(f"a whole number from {least} to {most}", read, str, schema)


def _number(kind: str, least: float, most: float, pattern: str) -> dict[str, object]:
    """The schema of a number that may also be written as text."""
    number = {"type": kind, "minimum": least, "maximum": most}
    return {"anyOf": [number, {"type": "string", "pattern": pattern}]}


def size(least: int, most: int) -> Kind:
    """A number of bytes, both bounds included; KiB to TiB are powers of 1024, KB to TB of 1000."""

    def read(value: object) -> int:
        if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
            factor = _SIZES_IN_LOWER_CASE.get(match[2].lower() or "b")
            value = factor and int(match[1]) * factor
        if type(value) is not int or not least <= value <= most:
            raise Misfit
        return value

    bounds = f"from {write_size(least)} to {write_size(most)}"
    form = f"a number of bytes or a size such as 512KiB, 4MiB or 4MB, {bounds}"
    schema = _number("integer", least, most, "^[0-9]+ ?(([KMGTkmgt][Ii]?)?[Bb])?$")
    return Kind(form, read, write_size, schema, write_size)


def write_size(number: int) -> str:
    """The shortest exact form, the powers of 1024 first."""
    unit = next((unit for unit, factor in _SIZES.items() if number >= factor and number % factor == 0), "B")
    return f"{number // _SIZES[unit]}{unit}"


def duration(least: float, most: float) -> Kind:
    """Seconds, both bounds included, to the millisecond; `d`, `h`, `m` and `s` may be joined, as in 1h30m."""

    def read(value: object) -> float:
        if isinstance(value, str):
            value = _seconds(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise Misfit
        return round(float(value), 3)

    bounds = f"from {write_duration(least)} to {write_duration(most)}"
    form = f"a number of seconds or a duration such as 90s, 30m or 1h30m, {bounds}"
    schema = _number("number", least, most, r"^([0-9]+(\.[0-9]+)?|([0-9]+(\.[0-9]+)?[dhms])+)$")
    return Kind(form, read, write_duration, schema, write_duration)


def _seconds(text: str) -> float:
    if _NUMBER.fullmatch(text):
        return float(text)
    if _DURATION.fullmatch(text):
        return sum(float(part[:-1]) * _SECONDS[part[-1]] for part in re.findall(r"[0-9.]+[dhms]", text))
    raise Misfit


def write_duration(seconds: float) -> str:
    """In the largest unit that needs no fraction; a fraction of a second as a plain number."""
    unit = next((unit for unit, factor in _SECONDS.items() if seconds % factor == 0), "")
    return f"{int(seconds) // _SECONDS[unit]}{unit}" if unit else repr(seconds)


def fraction(least: float = 0) -> Kind:
    """A part of a whole, from `least` to 1."""

    def read(value: object) -> float:
        if isinstance(value, str) and _NUMBER.fullmatch(value):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= 1:
            raise Misfit
        return round(float(value), 18)

    schema = _number("number", least, 1, r"^[0-9]+(\.[0-9]+)?$")
    return Kind(f"a number from {least:g} to 1, such as 0.1", read, _write_fraction, schema)


def _write_fraction(part: float) -> str:
    """In digits alone: with an exponent it would not be read back."""
    written = repr(part)
    return f"{part:.18f}".rstrip("0") if "e" in written else written.removesuffix(".0")


def choice(*words: str) -> Kind:
    """One of some words, in any letter case."""

    def read(value: object) -> str:
        word = str(value) if type(value) is float else _text(value).lower()
        if word not in words:
            raise Misfit
        return word

    numbers = [
        float(word) for word in words if _NUMBER.fullmatch(word)
    ]  # 1.2 is no text in YAML without quotes
    return Kind(f"one of {', '.join(words)}", read, str, {"enum": [*words, *numbers]})


def _read_host(value: object) -> str:
    host = _text(value)
    address = host.partition("%")[0]
    if ":" in address:
        _check_address(
            socket.AF_INET6,
            address,
            "an IPv6 address stands without brackets, and the port is a setting of its own",
        )
    elif re.fullmatch(r"[0-9.]+", address):
        _check_address(socket.AF_INET, address, "an IPv4 address has four numbers from 0 to 255")
    elif not _HOST.fullmatch(host):
        raise Misfit
    return host


def _check_address(family: int, address: str, rule: str) -> None:
    try:
        socket.inet_pton(family, address)
    except OSError:
        raise Misfit(rule) from None


TEXT: dict[str, object] = {"type": "string"}
TEXT_OR_NOTHING: dict[str, object] = {"type": ["string", "null"]}
TEXTS: dict[str, object] = {"type": "array", "items": TEXT}

HOST = Kind("an address or a host name, such as 127.0.0.1, ::1 or 0.0.0.0", _read_host, str, TEXT)


def _read_path(value: object) -> str:
    if not (path := _text(value)):
        raise Misfit
    return path


PATH = Kind("a path", _read_path, str, {"type": "string", "minLength": 1})


def _read_socket(value: object) -> str | None:
    if value is None or value == "":
        return None
    if len(os.fsencode(path := _text(value))) > _LONGEST_SOCKET:
        raise Misfit(f"the system takes at most {_LONGEST_SOCKET} bytes")
    return path


SOCKET = Kind("the path of a Unix socket, or nothing", _read_socket, lambda path: path or "", TEXT_OR_NOTHING)


def _read_prefix(value: object) -> str:
    if not _PREFIX.fullmatch(prefix := _text(value)):
        raise Misfit
    return prefix


PREFIX = Kind("a path such as /registry, without a slash at its end, or nothing", _read_prefix, str, TEXT)


def decoded(value: object) -> object:
    """A list or mapping as a file gives it; a variable gives the text of its JSON. Raises Misfit."""
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeError):
        raise Misfit from None


def _read_origins(value: object) -> tuple[str, ...]:
    origins = decoded(value)
    if not isinstance(origins, list | tuple):
        raise Misfit
    lowered = tuple(origin.lower() if isinstance(origin, str) else "" for origin in origins)
    refuse(
        Misfit(
            f"{shown(origin)} is no origin: write its scheme, host and port, with no path, such as https://ui.example.com",
            within=(number,),
        )
        for number, (origin, low) in enumerate(zip(origins, lowered, strict=True))
        if not _ORIGIN.fullmatch(low)
    )
    return lowered


ORIGINS = Kind(
    'a list of origins such as ["https://ui.example.com"], or ["*"]', _read_origins, write_json, TEXTS
)


def _read_headers(value: object) -> dict[str, str]:
    given = decoded(value)
    if not isinstance(given, dict):
        raise Misfit
    refuse(_misfits_of_headers(given))
    return {name.lower(): text for name, text in given.items()}


def _misfits_of_headers(given: dict[object, object]) -> Iterator[Misfit]:
    seen: set[str] = set()
    for name, text in given.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            reason = f"{shown(name)} is no name of a header: write one such as X-Frame-Options"
            yield Misfit(reason, within=(name,))
            continue
        if name.lower() in _SENT_BY_SERVER:
            yield Misfit(f"{name} is the server's own to send: leave it out", within=(name,))
        if name.lower() in seen:
            yield Misfit(f"{name} is there twice, in two letter cases: keep one", within=(name,))
        if not isinstance(text, str) or not _HEADER_VALUE.fullmatch(text):
            yield Misfit(f"the value of {name} must be one line of printable ASCII text", within=(name,))
        seen.add(name.lower())


HEADERS = Kind(
    'a mapping of headers to values such as {"X-Frame-Options": "DENY"}',
    _read_headers,
    write_json,
    {"type": "object", "additionalProperties": TEXT},
)
