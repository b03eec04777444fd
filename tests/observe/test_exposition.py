"""Metrics as text: the parsers of the official library read what was meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from cargohold.observe.exposition import Metric, Sample, histogram, single, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prometheus_client.metrics_core import Metric as Family

PARSERS: dict[bool, Callable[[str], Iterable[Family]]] = {False: parse_text, True: parse_open_metrics}
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from('\n"\\'), max_size=20)
VALUES = st.integers(0, 2**63) | st.floats(0, 1e18)


def parsed(metrics: list[Metric], *, open_metrics: bool) -> dict[str, Family]:
    text = write(metrics, open_metrics=open_metrics).decode()
    return {family.name: family for family in PARSERS[open_metrics](text)}


def samples(family: Family) -> list[tuple[str, Mapping[str, str], float]]:
    return [(sample.name, sample.labels, float(sample.value)) for sample in family.samples]


@given(WORDS, WORDS, VALUES, st.booleans())
def test_one_number(text: str, label: str, value: float, open_metrics: bool) -> None:
    """Name, kind, help, labels and value are read as they were written, whatever stands in help and labels."""
    metrics = [
        Metric("some_total", "counter", text, [Sample("", {"a": label, "b": "c"}, value)]),
        single("some_bytes", "gauge", text, value),
    ]
    found = parsed(metrics, open_metrics=open_metrics)
    # The library takes spaces away around a help.
    assert [(each.name, each.type, each.documentation.strip()) for each in found.values()] == [
        ("some", "counter", text.strip()),
        ("some_bytes", "gauge", text.strip()),
    ]
    assert samples(found["some"]) == [("some_total", {"a": label, "b": "c"}, float(value))]
    assert samples(found["some_bytes"]) == [("some_bytes", {}, float(value))]


@given(st.lists(st.integers(0, 10**9), min_size=4, max_size=4), st.floats(0, 1e9), st.booleans())
def test_a_histogram(counts: list[int], total: float, open_metrics: bool) -> None:
    """Each bound counts all below it too; the last is infinity, and says as much as the count."""
    made = histogram({"a": "b"}, (0.5, 1.0, 2.5), counts, total)
    found = parsed([Metric("some_seconds", "histogram", "", made)], open_metrics=open_metrics)["some_seconds"]
    sums = [sum(counts[: number + 1]) for number in range(4)]
    assert [(each.labels["le"], each.value) for each in found.samples if each.name.endswith("_bucket")] == [
        (bound, float(up_to)) for bound, up_to in zip(("0.5", "1.0", "2.5", "+Inf"), sums, strict=True)
    ]
    assert ("some_seconds_count", {"a": "b"}, float(sums[-1])) in samples(found)
    assert ("some_seconds_sum", {"a": "b"}, total) in samples(found)


def test_the_end() -> None:
    """OpenMetrics says where it ends, so that what was cut off is not taken for whole; the older form does not."""
    assert write([], open_metrics=True) == b"# EOF\n"
    assert write([], open_metrics=False) == b""
