"""Metrics as text, in the two forms that Prometheus reads: its own (0.0.4), and OpenMetrics (1.0.0).

Written here, and held in the tests against the parsers of the official library: loading that would cost each worker
2 MB of memory and its first reader 50 ms.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_TOTAL: Final = "_total"


class Sample(NamedTuple):
    """One line: what follows the name of the metric in it, its labels, its value."""

    suffix: str
    labels: Mapping[str, str]
    value: float


class Metric(NamedTuple):
    """A metric with its samples; the name of a counter ends in `_total`."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    samples: Sequence[Sample]


def single(name: str, kind: Literal["counter", "gauge"], text: str, value: float) -> Metric:
    """A metric of one number."""
    return Metric(name, kind, text, [Sample("", {}, value)])


def histogram(
    labels: Mapping[str, str], bounds: Sequence[float], counts: Sequence[int], total: float
) -> list[Sample]:
    """The samples of a histogram: how many were in each class, the last above all bounds, and the sum of all."""
    up_to = list(accumulate(counts))
    names = [*map(repr, bounds), "+Inf"]
    return [
        *(Sample("_bucket", {**labels, "le": name}, count) for name, count in zip(names, up_to, strict=True)),
        Sample("_count", labels, up_to[-1]),
        Sample("_sum", labels, total),
    ]


def write(metrics: Iterable[Metric], *, open_metrics: bool) -> bytes:
    """The body of an answer; its type is `OPEN_METRICS` or `TEXT`."""
    lines: list[str] = []
    for metric in metrics:
        is_counter = metric.kind == "counter"
        family = metric.name.removesuffix(_TOTAL) if open_metrics and is_counter else metric.name
        lines.append(f"# HELP {family} {_escaped(metric.help)}\n")
        lines.append(f"# TYPE {family} {metric.kind}\n")
        for suffix, labels, value in metric.samples:
            lines.append(f"{metric.name}{suffix}{_labels(labels)} {value!r}\n")
    if open_metrics:
        lines.append("# EOF\n")
    return "".join(lines).encode()


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_quoted(value)}"' for name, value in labels.items()) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', r"\"")
