from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.bench import Bench
from benchmarks.content import Source
from benchmarks.contestants.cargohold import Cargohold
from benchmarks.load import requests, transfers
from benchmarks.outcome import MB, MIB, QUICK
from benchmarks.workloads.many_uploads import many_uploads


def test_the_largest_blobs_are_those_that_the_disk_holds(tmp_path: Path) -> None:
    """Why larger ones are not tried is said; each row has the times of its uploads and what they took."""
    program = Cargohold.find()
    assert program is not None
    scale = replace(QUICK, many_blob_bytes=(10**9 * MB, 3 * MB))
    folder = str(tmp_path)
    outcome = many_uploads(Bench([Cargohold(program)], scale, folder, Source(folder, 128 * MIB)))
    assert [row.case for row in outcome.rows] == ["100 uploads of 2 MB", "100 uploads of 3 MB"]
    assert outcome.about.count("Not tried: 100 blobs of 1000000000 MB, which need ") == 1
    assert outcome.about.count("Not tried") == 1
    for row, size in zip(outcome.rows, (2 * MB, 3 * MB), strict=True):
        figures = row.figures
        assert 0 < figures[requests.P50] <= figures[requests.P99] <= figures[requests.P999]
        # All stop in the middle for the last, so that none is much sooner than all together.
        assert figures[transfers.RATE] == pytest.approx(100 * size / figures[requests.P999] / 1e3, rel=0.5)
        assert figures[requests.PEAK] >= figures["idle memory MB"] > 5
