import msgspec
from benchmarks.outcome import Goal, Outcome, Row
from benchmarks.report import section, write

RATE = "requests/s"
OUTCOME = Outcome(
    "Reads",
    "Read over and over.",
    [
        Row("GET", "cargohold", {RATE: 300.0, "server CPU-us/request": 10.0}),
        Row("GET", "nginx", {RATE: 600.0, "server CPU-us/request": 2.5}),
        Row("HEAD", "cargohold", {RATE: 5.0}),
        Row("disk", "limit", {RATE: 1.5}),
    ],
    [Goal("GET: times that of nginx", 0.5, 0.4, at_least=True), Goal("p99 ms", 7.0, 5.0)],
)


def test_a_section_has_the_figures_the_ratios_and_the_goals() -> None:
    """A ratio is ours over theirs, of what a row begins with and of its processor time, where both were measured."""
    lines = list(section(OUTCOME))
    assert "| GET | cargohold | 300 | 10.0 |" in lines
    assert "| disk | limit | 1.50 |  |" in lines
    start = lines.index("| cargohold, times |  | nginx |")
    assert lines[start + 2 : start + 5] == [
        "| GET | requests/s | 0.500 |",
        "| GET | server CPU-us/request | 4.00 |",
        "",
    ]
    assert "| GET: times that of nginx | 0.500 | at least 0.4 | met |" in lines
    assert "| p99 ms | 7.00 | at most 5 | **missed** |" in lines


def test_a_report_is_a_page_and_the_same_for_programs(tmp_path: object) -> None:
    """Both name the machine and the versions, without which figures say nothing."""
    page = write("now", {"date": "today"}, {"cargohold": "0.1.0"}, {"reads": OUTCOME}, str(tmp_path))
    with open(page, encoding="utf-8") as file:
        told = file.read()
    assert page == f"{tmp_path}/now/README.md"
    assert "| date | today |\n| cargohold | 0.1.0 |" in told
    assert "## Reads" in told
    with open(f"{tmp_path}/now/results.json", "rb") as data:
        found = msgspec.json.decode(data.read())
    assert found["machine"] == {"date": "today"}
    assert found["workloads"]["reads"]["rows"][0]["figures"][RATE] == 300.0
    assert [goal["met"] for goal in found["workloads"]["reads"]["goals"]] == [True, False]
