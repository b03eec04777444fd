"""Since when pulls were recorded, and for how much of a time."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from cargohold.storage.keeping import Recording

HOUR = 3600.0


def test_it_begins() -> None:
    """A pattern is recorded from the moment that it is asked for; others go on as they were."""
    first = Recording().continued(["a"], 100.0)
    assert first == Recording({"a": 100.0}, (), 100.0)
    assert first.continued(["a", "b"], 200.0) == Recording({"a": 100.0, "b": 200.0}, (), 200.0)


def test_it_ends() -> None:
    """A pattern that is not asked for any more is forgotten, and begins anew when it comes again."""
    without = Recording({"a": 1.0, "b": 1.0}, (), 100.0).continued(["b"], 200.0)
    assert without == Recording({"b": 1.0}, (), 200.0)
    assert without.continued(["a", "b"], 300.0).since == {"a": 300.0, "b": 1.0}
    assert without.continued([], 300.0) == Recording({}, (), 300.0)


def test_gaps() -> None:
    """More than an hour without a word is a gap; clocks that were put back make none."""
    recording = Recording({"a": 100.0}, (), 1000.0)
    assert recording.continued(["a"], 1000.0 + HOUR).gaps == ()
    gone = recording.continued(["a"], 1001.0 + HOUR)
    assert gone == Recording({"a": 100.0}, ((1000.0, 1001.0 + HOUR),), 1001.0 + HOUR)
    assert recording.continued(["a"], 500.0) == Recording({"a": 100.0}, (), 500.0)
    # Before any pattern was recorded there is no gap to speak of, and what was before all of them is forgotten.
    assert Recording({}, (), 1.0).continued(["a"], 9 * HOUR) == Recording({"a": 9 * HOUR}, (), 9 * HOUR)
    assert gone.continued(["b"], 2000.0 + HOUR).gaps == ()


def test_horizon() -> None:
    """The horizon lies as far back as there are so many seconds of recording; gaps, also one now, do not count."""
    now = 100 * HOUR
    recording = Recording({"a": 0.0}, ((10 * HOUR, 20 * HOUR), (50 * HOUR, 90 * HOUR)), now)
    assert recording.horizon("a", 4 * HOUR, now) == 96 * HOUR
    assert recording.horizon("a", 10 * HOUR, now) == 90 * HOUR
    assert recording.horizon("a", 11 * HOUR, now) == 49 * HOUR
    assert recording.horizon("a", 41 * HOUR, now) == 9 * HOUR
    assert recording.horizon("a", 50 * HOUR, now) == 0
    assert recording.horizon("a", 51 * HOUR, now) == -math.inf
    # Nobody has recorded for nine days: no time has passed.
    assert recording.horizon("a", 11 * HOUR, now + 216 * HOUR) == 49 * HOUR
    assert recording.horizon("b", HOUR, now) == Recording().horizon("a", HOUR, now) == -math.inf


def test_too_many_gaps() -> None:
    """Of very many gaps the last thousand are kept; what was recorded before them counts for nothing."""
    recording = Recording({"a": 0.0}, (), 1.0)
    for number in range(1, 1003):
        recording = recording.continued(["a"], number * 3 * HOUR).continued(["a"], (number * 3 + 1) * HOUR)
    assert len(recording.gaps) == 1000
    assert recording.since == {"a": 6 * HOUR}
    assert recording.gaps[0] == (7 * HOUR, 9 * HOUR)


@given(
    st.integers(0, 60),
    st.lists(st.integers(0, 60), max_size=8, unique=True).map(sorted),
    st.integers(1, 70),
)
def test_as_counted_hour_by_hour(since: int, edges: list[int], hours: int) -> None:
    """The horizon is what a count of the hours that were recorded says, the last first."""
    gaps = [(start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=False) if stop > since]
    recorded = [hour for hour in range(since, 61) if not any(start <= hour < stop for start, stop in gaps)]
    recording = Recording(
        {"a": since * HOUR}, tuple((start * HOUR, stop * HOUR) for start, stop in gaps), 61 * HOUR
    )
    expected = recorded[-hours] * HOUR if hours <= len(recorded) else -math.inf
    assert recording.horizon("a", hours * HOUR, 61 * HOUR) == expected
