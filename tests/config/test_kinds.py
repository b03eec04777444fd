"""How values are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cargohold.config.kinds import (
    BOOLEAN,
    HEADERS,
    HOST,
    ORIGINS,
    PATH,
    PREFIX,
    SOCKET,
    Kind,
    Misfit,
    choice,
    duration,
    fraction,
    misfits_of,
    size,
    whole,
)
from cargohold.config.settings import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable

    from cargohold.config.places import Keys

PORT = whole(0, 65535)
SIZE = size(1, 2**50)
PART = fraction()
DURATION = duration(0.01, 10**8)
LEVEL = choice("info", "error")


READ: list[tuple[Kind, object, object]] = [
    *((BOOLEAN, word, True) for word in (True, "true", "True", "YES", "on", "1")),
    *((BOOLEAN, word, False) for word in (False, "false", "FALSE", "no", "Off", "0")),
    (PORT, 0, 0),
    (PORT, "65535", 65535),
    (whole(-5, 5), "-5", -5),
    (SIZE, 7, 7),
    (SIZE, "7", 7),
    (SIZE, "7B", 7),
    (SIZE, "4MiB", 4 * 1024 * 1024),
    (SIZE, "4 mib", 4 * 1024 * 1024),
    (SIZE, "4MB", 4_000_000),
    (SIZE, "512KiB", 524288),
    (SIZE, "3kB", 3000),
    (SIZE, "2GiB", 2**31),
    (SIZE, "2GB", 2 * 10**9),
    (SIZE, "1TiB", 2**40),
    (SIZE, "1TB", 10**12),
    (DURATION, 90, 90.0),
    (DURATION, 0.5, 0.5),
    (DURATION, "0.5", 0.5),
    (DURATION, "90", 90.0),
    (DURATION, "90s", 90.0),
    (DURATION, "30m", 1800.0),
    (DURATION, "1h", 3600.0),
    (DURATION, "1.5h", 5400.0),
    (DURATION, "1h30m5s", 5405.0),
    (DURATION, "2d", 172800.0),
    (LEVEL, "INFO", "info"),
    *(
        (HOST, host, host)
        for host in ("127.0.0.1", "::1", "::", "fe80::1%eth0", "localhost", "my-host.example")
    ),
    (PATH, "/srv/with spaces/é", "/srv/with spaces/é"),
    (SOCKET, None, None),
    (SOCKET, "", None),
    (SOCKET, "/run/" + 102 * "s", "/run/" + 102 * "s"),
    *((PREFIX, prefix, prefix) for prefix in ("", "/registry", "/a/b-c/d.e~f_g", "/..a")),
    (ORIGINS, [], ()),
    (ORIGINS, ["https://UI.example.com:8443"], ("https://ui.example.com:8443",)),
    (ORIGINS, '["*", "http://[::1]:80"]', ("*", "http://[::1]:80")),
    (HEADERS, {}, {}),
    (HEADERS, {"X-One": "a b", "x-two": ""}, {"x-one": "a b", "x-two": ""}),
    (HEADERS, '{"Strict-Transport-Security": "max-age=1"}', {"strict-transport-security": "max-age=1"}),
]


@pytest.mark.parametrize(("kind", "written", "value"), READ)
def test_reads(kind: Kind, written: object, value: object) -> None:
    """Each form of each kind is read to its value, of its type."""
    read = kind.read(written)
    assert read == value
    assert type(read) is type(value)


REFUSED: list[tuple[Kind, list[object], str]] = [
    (BOOLEAN, [None, 1, 0, 2, "", "2", "t", []], ""),
    (PORT, [None, True, 1.0, "", "a", "1.0", " 1", "1\n", "٣", "+1", "1_0", -1, 65536, "9" * 5000], ""),
    (SIZE, [None, True, 0, -1, 1.5, "", "MiB", "1.5MiB", "4M", "4XB", "-4MiB"], ""),
    (SIZE, ["1MiB\n", 2**50 + 1, "9" * 5000], ""),
    (size(0, 1), ["0XB"], ""),
    (DURATION, [None, True, 0, -1, "", "h", "1w", "1H", "1h ", "-1s", "1e3", "0s", ".5", "1 h"], ""),
    (DURATION, [float("nan"), float("inf"), 1e-9, 10**400, "9" * 5000], ""),
    (LEVEL, [None, 1, "", "warn"], ""),
    (HOST, [None, 1, "", "a b", "a/b", "-a", "a\n", "a\0", "é", "h" * 255], ""),
    (HOST, ["1.2.3", "1.2.3.256", "5000"], "four numbers"),
    (HOST, ["[::1]", "127.0.0.1:5000", "[::1]:5000", ":::1"], "without brackets"),
    (PATH, [None, 1, "", "a\0b"], ""),
    (SOCKET, [1, "a\0b", []], ""),
    (SOCKET, ["/" + 107 * "s", 54 * "é"], "at most 107 bytes"),
    (PREFIX, [None, "registry", "/", "/a/", "//a", "/a b", "/a?b", "/%2e", "/a\n"], ""),
    (PREFIX, ["/.", "/..", "/a/../b", "/a/."], ""),
    (ORIGINS, [None, 1, "https://a.example", {}, '{"a": "b"}', '"a"', "[", "\ud800"], ""),
    (ORIGINS, [[1], [None], [""], ["a.example"], ["https://"], ["https://a/b"], ["null"]], "is no origin"),
    (HEADERS, [None, 1, [], "", "[]", "{", "X-A: b"], ""),
    (HEADERS, [{name: "v"} for name in ("", "a b", "a:", "é", "a\n", 1)], "no name of a header"),
    (HEADERS, [{"a": value} for value in (1, None, ["b"])], "the value of a must be one line"),
    (
        HEADERS,
        [{"a": value} for value in ("b\n", " b", "b\r\nc: d", "é", "\0")],
        "the value of a must be one line",
    ),
    (HEADERS, [{name: "v"} for name in ("Content-Length", "transfer-encoding", "DATE")], "server's own"),
    (HEADERS, [{"X-A": "1", "x-a": "2"}], "twice"),
]


@pytest.mark.parametrize(
    ("kind", "written", "reason"),
    [(kind, written, reason) for kind, refused, reason in REFUSED for written in refused],
)
def test_refuses(kind: Kind, written: object, reason: str) -> None:
    """What is of no form of its kind is refused, with a closer reason than the form where there is one."""
    with pytest.raises((Misfit, ExceptionGroup)) as caught:
        kind.read(written)
    (misfit,) = misfits_of(caught.value)
    assert reason in str(misfit)
    complaint = kind.complaint("it", misfit)
    assert (
        complaint == str(misfit) if misfit.within else complaint.startswith(f"must be {kind.form}, not 'it'")
    )


@pytest.mark.parametrize(
    ("path", "written", "places"),
    [
        ("http.cors.origins", ["*", "a", "b"], [(1,), (2,)]),
        (
            "http.headers",
            {"a b": "c", "Date": "é", "X": "1", "x": "2"},
            [("a b",), ("Date",), ("Date",), ("x",)],
        ),
        ("auth.administrators", ["a:b", "ann", ""], [(0,), (2,)]),
        ("auth.groups", {"a": ["b:", "c", ""], "b:c": [], "d": 3}, [("a", 0), ("a", 2), ("b:c",), ("d",)]),
        ("limits.allow", ["10.0.0.1/8", "::1", "x"], [(0,), (2,)]),
        ("server.trusted_proxies", ["unix", "y", "x"], [(1,), (2,)]),
    ],
)
def test_every_part(path: str, written: object, places: list[Keys]) -> None:
    """Of a list or mapping each part that does not fit is told of, with where it is."""
    with pytest.raises(ExceptionGroup) as caught:
        SETTINGS[path].kind.read(written)
    assert [misfit.within for misfit in misfits_of(caught.value)] == places


@pytest.mark.parametrize(
    "value",
    ["a\n" * 1000, 16**5000, [["a" * 100] * 100] * 100, {"a": {"b": {"c": {}}}}, dict.fromkeys(range(100))],
    ids=["lines", "digits", "lists", "mappings", "keys"],
)
def test_complaint_is_short(value: object) -> None:
    """A complaint is one short line, whatever was given."""
    complaint = PORT.complaint(value, Misfit("why"))
    assert "\n" not in complaint
    assert len(complaint) < 160
    assert complaint.endswith(" (why)")


def test_complaint_about_deep_values() -> None:
    """A value that is nested deeper than Python prints is shown to some depth."""
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ExceptionGroup) as caught:
        ORIGINS.read([deep])
    assert str(caught.value.exceptions[0]).startswith("[[[...]]] is no origin")
    assert "[[[...]]]" in PORT.complaint(deep, Misfit())


@given(st.integers(1, 2**50))
def test_size_round_trip(number: int) -> None:
    """What is written of a size is read as the same size."""
    assert SIZE.read(SIZE.write(number)) == number


@given(
    st.integers(0, 10**5),
    st.sampled_from([("KiB", 1024), ("KB", 1000), ("MiB", 1024**2), ("MB", 10**6), ("B", 1)]),
)
def test_size_units(count: int, unit: tuple[str, int]) -> None:
    """A size is its count times its unit, in any letter case; nothing is less than the least."""
    name, factor = unit
    for written in (f"{count}{name}", f"{count} {name.lower()}", f"{count}{name.upper()}"):
        assert size(0, 2**40).read(written) == count * factor


@given(st.floats(0, 1))
@example(1e-18)
def test_fraction_round_trip(number: float) -> None:
    """What is written of a part of a whole is read as the same, in digits alone."""
    part = PART.read(number)
    written = PART.write(part)
    assert PART.read(written) == part
    assert set(written) <= set("0123456789.")


@pytest.mark.parametrize("written", ["0", "0.2", "0.1", "1"])
def test_fractions_are_written_as_people_do(written: str) -> None:
    """No digits are added to what was given."""
    assert PART.write(PART.read(written)) == written


@given(st.integers(10, 10**11))
def test_duration_round_trip(milliseconds: int) -> None:
    """What is written of a duration is read as the same duration, to the millisecond."""
    seconds = milliseconds / 1000
    assert DURATION.read(DURATION.write(seconds)) == seconds


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99), st.integers(1, 99))
def test_duration_is_a_sum(days: int, hours: int, minutes: int, seconds: int) -> None:
    """The parts of a duration are added."""
    expected = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    assert DURATION.read(f"{days}d{hours}h{minutes}m{seconds}s") == expected


@pytest.mark.parametrize("kind", [setting.kind for setting in SETTINGS.values()], ids=list(SETTINGS))
def test_any_value_is_read_or_a_misfit(kind: Kind) -> None:
    """No value that a file or a variable can hold raises anything but Misfits; what is read can be written."""
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates()
    values = st.recursive(
        leaves, lambda below: st.lists(below) | st.dictionaries(leaves, below), max_leaves=8
    )

    def check(value: object) -> None:
        fits = False
        try:
            read = kind.read(value)
            fits = True
        except* Misfit:
            pass
        assert not fits or kind.read(kind.write(read)) == read

    prove: Callable[[], None] = given(values)(check)
    prove()
