"""Schedules: how they are written, and which times they give, whatever the local clock does."""

from __future__ import annotations

import math
import time
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cargohold.config.kinds import Misfit
from cargohold.config.schedules import SCHEDULE, Clock, Interval, schedule_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The local clock is put forward on 29 March 2026 at 2:00, and back on 25 October 2026 at 3:00."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def moment(written: str) -> float:
    """What the local clock shows, in seconds since the epoch."""
    return datetime.fromisoformat(written).timestamp()


def shown(schedule: str, begin: float, times: int) -> list[str]:
    """The next times of a schedule, as the local clock shows them."""
    found = []
    due = schedule_of(schedule)
    assert due is not None
    for _ in range(times):
        begin = due.after(begin)
        found.append(time.strftime("%d. %H:%M", time.localtime(begin)))
    return found


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("off", "off"),
        (" OFF ", "off"),
        (False, "off"),
        ("1s", "1s"),
        (3600, "1h"),
        ("3600", "1h"),
        ("1h30m", "90m"),
        ("0 3 * * *", "0 3 * * *"),
        (" 0\t3 * *  mon-fri ", "0 3 * * mon-fri"),
    ],
)
def test_what_is_written(written: object, value: str) -> None:
    """Cron's five fields, an interval or `off`; YAML's unquoted `off` too. What is written back reads the same."""
    assert SCHEDULE.read(written) == value
    assert SCHEDULE.read(SCHEDULE.write(value)) == value


@pytest.mark.parametrize(
    "written",
    [
        "",
        None,
        True,
        "0s",
        0.5,
        "366d",
        "on",
        "@daily",
        "0 3 * *",
        "0 0 3 * * *",
        "60 3 * * *",
        "0 0 30 2 *",
        "a b c d e",
        f"{'9' * 5000} * * * *",
        ["0 3 * * *"],
    ],
)
def test_what_is_no_schedule(written: object) -> None:
    """All else is refused, with what to write instead: six fields, days that never come, intervals out of bounds."""
    with pytest.raises(Misfit) as refusal:
        SCHEDULE.read(written)
    assert "0 3 * * *" in SCHEDULE.complaint(written, refusal.value)


@given(st.lists(st.text("0123456789*/-,#LW", min_size=1, max_size=8), min_size=5, max_size=5))
def test_whatever_the_fields_hold(fields: list[str]) -> None:
    """Of any five fields it is known whether they are a schedule, and one that is has a next time."""
    try:
        read = SCHEDULE.read(" ".join(fields))
    except Misfit:
        return
    schedule = schedule_of(read)
    assert schedule is not None
    assert 0 < schedule.after(0.0) < math.inf


def test_off_is_no_schedule() -> None:
    """What is off gives none; the others give the kind that they are."""
    assert schedule_of("off") is None
    assert schedule_of("6h") == Interval(21600.0)
    assert schedule_of("0 3 * * *") == Clock("0 3 * * *")


@pytest.mark.usefixtures("berlin")
def test_the_local_clock_counts() -> None:
    """A time of the clock is one where the server stands, and due again the day after; an interval is not moved."""
    assert shown("0 3 * * *", moment("2026-11-22T02:59:59"), 2) == ["22. 03:00", "23. 03:00"]
    assert shown("0 3 * * *", moment("2026-11-22T03:00:00"), 1) == ["23. 03:00"]
    assert Interval(90.0).after(5.0) == 95.0


@pytest.mark.usefixtures("berlin")
def test_the_hour_that_is_left_out() -> None:
    """What falls into it is due an hour later, once; nothing is left out and nothing comes twice."""
    assert shown("30 2 * * *", moment("2026-03-28T12:00"), 2) == ["29. 03:30", "30. 02:30"]


@pytest.mark.usefixtures("berlin")
def test_the_hour_that_comes_twice() -> None:
    """What falls into it is due once, in the first of the two, also where it is asked in the second."""
    first = moment("2026-10-25T02:00")
    assert shown("30 2 * * *", first, 2) == ["25. 02:30", "26. 02:30"]
    assert shown("*/20 * * * *", first, 3) == ["25. 02:20", "25. 02:40", "25. 03:00"]
    assert Clock("0 3 * * *").after(first + 3700) == first + 7200
    assert Clock("* * * * *").after(first + 3700) == first + 7200


@given(st.floats(0, 4e9), st.sampled_from(["* * * * *", "0 3 * * *", "0 0 29 2 *", "*/7 */5 * * 1"]))
def test_a_next_time_is_later(begin: float, expression: str) -> None:
    """Whatever the clock, the next time is after the moment that it is asked for, and then another comes."""
    clock = Clock(expression)
    first = clock.after(begin)
    assert begin < first < clock.after(first)
