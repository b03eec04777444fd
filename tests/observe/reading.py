"""A scrape, read by the official library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Scrape:
    """Every sample, by name and labels; `families` are the kinds by the names of the metrics."""

    def __init__(self, text: str, *, open_metrics: bool = False) -> None:
        parse = parse_open_metrics if open_metrics else parse_text
        self.families: dict[str, str] = {}
        self._samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for family in parse(text):
            self.families[f"{family.name}_total" if family.type == "counter" else family.name] = family.type
            for sample in family.samples:
                key = sample.name, frozenset(sample.labels.items())
                assert key not in self._samples, f"{key} stands twice"
                self._samples[key] = sample.value

    def __getitem__(self, key: tuple[str, Mapping[str, str]]) -> float:
        """The value of one sample; KeyError where it is not there."""
        return self._samples[key[0], frozenset(key[1].items())]

    def __contains__(self, name: str) -> bool:
        return any(name == key for key, _ in self._samples)

    def one(self, name: str) -> float:
        """The value of a sample without labels."""
        return self[name, {}]

    def total(self, name: str, **labels: str) -> float:
        """The sum of all samples of this name that have these labels, and perhaps others."""
        return sum(
            value for (key, found), value in self._samples.items() if key == name and labels.items() <= found
        )

    def names_and_labels(self, prefix: str = "") -> Iterator[tuple[str, dict[str, str]]]:
        """All samples whose names begin so."""
        return ((name, dict(labels)) for name, labels in self._samples if name.startswith(prefix))

    def counters(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """What must never fall: counters, and the parts of histograms."""
        growing = {name for name, kind in self.families.items() if kind in ("counter", "histogram")}
        return {
            key: value
            for key, value in self._samples.items()
            if any(key[0].removesuffix(end) in growing for end in ("", "_bucket", "_count", "_sum"))
        }


def scraped(body: bytes, *, open_metrics: bool = False) -> Scrape:
    """What the body of an answer says."""
    return Scrape(body.decode(), open_metrics=open_metrics)
