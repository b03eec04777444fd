import pytest
from benchmarks.workloads.zb import milliseconds, parse

TOLD = """\
Skipping test Push Monolith 10MB
Starting tests ...
============
Test name:            Get Catalog
Time taken for tests: 4.168556282s
Requests per second:  19.191298
Complete requests:    80
Failed requests:      2

2xx responses: 80

min: 1.33836ms
p50: 4.86641ms
p99: 1m2.5s

Manifest HEAD TTFB p50: 425.97µs
"""


def test_the_figures_are_found_in_what_it_prints() -> None:
    """The rate, the times of whole requests and not of their parts, and how many failed."""
    assert parse(TOLD) == {"requests/s": 19.191298, "p50 ms": 4.86641, "p99 ms": 62_500.0, "failed": 2.0}


def test_what_lacks_the_figures_is_told_whole() -> None:
    """A tool that ended before its figures has said why."""
    with pytest.raises(RuntimeError, match=r"(?s)Requests per second.*Expected: 201, Got: 404"):
        parse("Starting tests ...\nExpected: 201, Got: 404\n")


@pytest.mark.parametrize(
    ("duration", "expected"),
    [("425.97µs", 0.42597), ("12ms", 12.0), ("1.5s", 1500.0), ("1h0m1s", 3_601_000.0), ("800ns", 0.0008)],
)
def test_durations_are_written_as_go_does(duration: str, expected: float) -> None:
    """Each unit that Go's times are printed in."""
    assert milliseconds(duration) == pytest.approx(expected)
