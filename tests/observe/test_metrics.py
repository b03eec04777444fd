"""What the metrics tell of the garbage collector, and of quotas."""

from __future__ import annotations

from cargohold.observe.counts import Counts
from cargohold.observe.exposition import write
from cargohold.observe.metrics import Metrics
from cargohold.storage.runs import OUTCOMES, Runs
from cargohold.types.quotas import Quota, QuotaUse
from tests.observe.reading import Scrape, scraped

LAST = (
    "registry_gc_last_run_timestamp_seconds",
    "registry_gc_last_run_duration_seconds",
    "registry_gc_skipped_repositories",
)


def told(runs: Runs | None) -> Scrape:
    return scraped(write(Metrics(Counts(("/v2/",), 1), "1").collect(None, None, runs), open_metrics=False))


def test_nothing_where_nothing_is_known() -> None:
    """A storage that was never collected has no metrics of that."""
    assert not list(told(None).names_and_labels("registry_gc_"))


def test_before_the_first_run_has_ended() -> None:
    """Counters begin at zero, so that the first run is seen; there is no time of a run that never was."""
    found = told(Runs(since=5.0))
    assert {found["registry_gc_runs_total", {"result": outcome}] for outcome in OUTCOMES} == {0}
    assert found.one("registry_gc_freed_bytes_total") == 0
    assert not any(name in found for name in LAST)


def test_what_runs_have_come_to() -> None:
    """Runs are counted by what came of them, and the last that came to its end is told of."""
    found = told(
        Runs(since=5.0, ended=9.0, seconds=1.5, skipped=2, freed=77, outcomes={"partial": 3, "failed": 1})
    )
    counts = {outcome: found["registry_gc_runs_total", {"result": outcome}] for outcome in OUTCOMES}
    assert counts == {"complete": 0, "partial": 3, "stopped": 0, "failed": 1}
    assert found.one("registry_gc_freed_bytes_total") == 77
    assert [found.one(name) for name in LAST] == [9.0, 1.5, 2]


def test_quotas() -> None:
    """Of each quota it is told how much it allows and how much is used, by its pattern; nothing without quotas."""
    uses = [QuotaUse(Quota("team/*", 20, each=True), 3), QuotaUse(Quota("team/*", 50), 7)]
    metrics = Metrics(Counts(("/v2/",), 1), "1")
    found = scraped(write(metrics.collect(quotas=uses), open_metrics=True))
    for each, used, allowed in (("true", 3, 20), ("false", 7, 50)):
        labels = {"repository": "team/*", "each": each}
        assert found["registry_quota_used_bytes", labels] == used
        assert found["registry_quota_allowed_bytes", labels] == allowed
    assert not list(told(None).names_and_labels("registry_quota_"))
