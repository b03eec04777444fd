"""What was counted, as the metrics that Prometheus reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cargohold.observe.counts import BOUNDS
from cargohold.observe.exposition import Metric, Sample, histogram, single
from cargohold.observe.processes import usage
from cargohold.storage.runs import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cargohold.observe.counts import Counts
    from cargohold.storage.protocols import Room, Totals
    from cargohold.storage.runs import Runs
    from cargohold.types.quotas import QuotaUse


class Metrics:
    """The metrics of a server, whichever of its processes is asked.

    `expires` is when the certificate does that is served, in seconds since the epoch.
    """

    def __init__(self, counts: Counts, version: str, expires: float | None = None) -> None:
        self._counts = counts
        self._version = version
        self._expires = expires

    def collect(
        self,
        totals: Totals | None = None,
        room: Room | None = None,
        runs: Runs | None = None,
        quotas: Sequence[QuotaUse] = (),
    ) -> Iterator[Metric]:
        """All of them as they are now; what is not known is left out."""
        yield from self._of_requests()
        if totals is not None:
            yield from _of_totals(totals)
        if room is not None:
            yield from _of_room(room)
        if runs is not None:
            yield from _of_runs(runs)
        if quotas:
            yield from _of_quotas(quotas)
        yield from self._of_server()

    def _of_requests(self) -> Iterator[Metric]:
        rows = list(self._counts.rows())
        yield Metric(
            "registry_http_requests_total",
            "counter",
            "Requests that were answered, by method, pattern of the address, and status.",
            [
                Sample("", {"method": row.method, "route": row.route, "status": status}, count)
                for row in rows
                for status, count in row.statuses.items()
            ],
        )
        yield Metric(
            "registry_http_request_duration_seconds",
            "histogram",
            "Time from the head of a request to its answer; files are sent after that.",
            [
                sample
                for row in rows
                for sample in histogram(
                    {"method": row.method, "route": row.route}, BOUNDS, row.durations, row.seconds
                )
            ],
        )
        yield single(
            "registry_blob_upload_bytes_total",
            "counter",
            "Bytes received as parts of blobs.",
            self._counts.bytes_uploaded(),
        )
        yield single(
            "registry_blob_download_bytes_total",
            "counter",
            "Bytes of blobs that answers promised.",
            self._counts.bytes_downloaded(),
        )

    def _of_server(self) -> Iterator[Metric]:
        counts = self._counts
        yield Metric(
            "registry_build_info",
            "gauge",
            "The version that runs; always 1.",
            [Sample("", {"version": self._version}, 1)],
        )
        yield single(
            "registry_log_lines_dropped_total",
            "counter",
            "Lines of the log that were lost because nobody read them.",
            counts.lines_dropped(),
        )
        if self._expires is not None:
            yield single(
                "registry_tls_certificate_expiry_timestamp_seconds",
                "gauge",
                "When the certificate expires that is served, in seconds since 1970.",
                self._expires,
            )
        yield single(
            "process_start_time_seconds",
            "gauge",
            "When the server was started, in seconds since 1970.",
            counts.started,
        )
        used = usage(counts.pid, counts.pids())
        if used is not None:
            yield single("registry_workers", "gauge", "Processes that take requests.", used.workers)
            yield single(
                "process_cpu_seconds_total",
                "counter",
                "Time of processors that all processes took, those that have ended included.",
                used.cpu_seconds,
            )
            yield single(
                "process_resident_memory_bytes",
                "gauge",
                "Memory of all processes; what several share counts for each of them.",
                used.resident_bytes,
            )


def _of_totals(totals: Totals) -> Iterator[Metric]:
    yield single("registry_storage_bytes", "gauge", "Bytes of blobs and manifests stored.", totals.content)
    yield single("registry_active_uploads", "gauge", "Upload sessions that are open.", totals.uploads)
    yield single(
        "registry_repositories_total",
        "gauge",
        "Repositories that hold a manifest.",
        totals.repositories,
    )
    yield single(
        "registry_storage_counted_timestamp_seconds",
        "gauge",
        "When all that is stored was last counted, in seconds since 1970.",
        totals.counted,
    )


def _of_room(room: Room) -> Iterator[Metric]:
    yield single(
        "registry_storage_free_bytes", "gauge", "Room left on the file system of the storage.", room.free
    )
    yield single(
        "registry_storage_size_bytes", "gauge", "Size of the file system of the storage.", room.whole
    )


def _of_runs(runs: Runs) -> Iterator[Metric]:
    yield Metric(
        "registry_gc_runs_total",
        "counter",
        "Runs of the garbage collector, by what came of them.",
        [Sample("", {"result": outcome}, runs.outcomes.get(outcome, 0)) for outcome in OUTCOMES],
    )
    yield single(
        "registry_gc_freed_bytes_total", "counter", "Bytes of content that were collected.", runs.freed
    )
    if runs.ended:
        yield single(
            "registry_gc_last_run_timestamp_seconds",
            "gauge",
            "When the last run that came to its end did, in seconds since 1970.",
            runs.ended,
        )
        yield single("registry_gc_last_run_duration_seconds", "gauge", "How long it took.", runs.seconds)
        yield single(
            "registry_gc_skipped_repositories",
            "gauge",
            "Repositories in which it collected nothing, since they hold something that cannot be read.",
            runs.skipped,
        )


def _of_quotas(quotas: Sequence[QuotaUse]) -> Iterator[Metric]:
    labels = [
        {"repository": each.quota.repository, "each": "true" if each.quota.each else "false"}
        for each in quotas
    ]
    yield Metric(
        "registry_quota_used_bytes",
        "gauge",
        "Bytes that are used of a quota; of one of each, by the repository that uses most.",
        [Sample("", own, each.used) for own, each in zip(labels, quotas, strict=True)],
    )
    yield Metric(
        "registry_quota_allowed_bytes",
        "gauge",
        "Bytes that a quota allows.",
        [Sample("", own, each.quota.bytes) for own, each in zip(labels, quotas, strict=True)],
    )
