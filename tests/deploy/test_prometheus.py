"""Alerts, dashboard and configuration for Prometheus and Grafana: right by promtool, and of metrics that there are."""

from __future__ import annotations

import json
import re
import shlex
import ssl
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import yaml

from tests.certificates import Authority
from tests.docs.blocks import blocks_of
from tests.e2e.clients.absence import require
from tests.e2e.server import Server
from tests.http.serving import until
from tests.observe.reading import Scrape, scraped

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy/prometheus/alerts.yaml"
CONFIG = ROOT / "deploy/prometheus/prometheus.yaml"
DASHBOARD = ROOT / "deploy/grafana/cargohold.json"
PAGE = ROOT / "docs/monitoring.md"
OF_PROMETHEUS = {"up"}
NAMED_BY_USERS = 'registry_repositories_total non-counter metrics should not have "_total" suffix'
VARIABLES = {"$__rate_interval": "5m", "$instance": ".*"}
LATE = ("registry_storage_bytes", "registry_gc_last_run_timestamp_seconds")
SECONDS = 200

_NAME = re.compile(r"\b(?:registry|process)_[a-z_]+\b|\bup\b")


def promtool(*words: str | Path, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [require("promtool"), *map(str, words)]
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=SECONDS, check=False)


def succeeds(*words: str | Path) -> None:
    ended = promtool(*words)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A scrape of a server that has all that is told of: a disk counted and collected, a quota, a certificate."""
    folder = tmp_path_factory.mktemp("scraped")
    files = folder / "certificate", folder / "key"
    authority = Authority()
    authority.issue().write(*files)
    authority.write(folder / "authority")
    trust = ssl.create_default_context(cafile=str(folder / "authority"))
    settings = {
        "tls.certificate": files[0],
        "tls.key": files[1],
        "gc.schedule": "1s",
        "quotas": '[{"repository": "**", "bytes": "1GB"}]',
    }
    server = Server(folder / "data", settings)
    try:
        with httpx2.Client(base_url=server.url, verify=trust) as session:
            until(lambda: {*LATE} <= {*scraped(session.get("/metrics").content).families})
            return session.get("/metrics").text
    finally:
        server.stop()


@pytest.fixture(scope="module")
def scrape(text: str) -> Scrape:
    return scraped(text.encode())


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def expressions() -> Iterator[str]:
    """Every query of the dashboard, with its variables filled in."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"]
            for name, value in VARIABLES.items():
                query = query.replace(name, value)
            yield query


def check_names(expression: str, scrape: Scrape) -> None:
    """All metrics of an expression are told by a real server, and all labels that it picks them by."""
    names = set(_NAME.findall(re.sub(r'"[^"]*"', '""', expression)))
    assert names, expression
    for name in names - OF_PROMETHEUS:
        assert name in scrape, (name, expression)
        told = {label for _, labels in scrape.names_and_labels(name) for label in labels} | {
            "job",
            "instance",
        }
        for selector in re.findall(rf"\b{name}{{([^}}]*(?:}}[^}}]*)*?)}}", expression):
            asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", re.sub(r'"[^"]*"', '""', selector)))
            assert asked <= told, (asked, told, expression)


@pytest.mark.clients
def test_the_rules_hold() -> None:
    """Promtool takes the rules, and each of its tests comes out as it says."""
    succeeds("check", "rules", ALERTS)
    succeeds("test", "rules", ALERTS.with_suffix(".test.yaml"))


def test_every_alert_is_proved_and_told() -> None:
    """Each alert has a severity, words for people and a test that it is raised by; the page lists all of them."""
    tested = {
        case["alertname"]
        for test in yaml.safe_load(ALERTS.with_suffix(".test.yaml").read_text())["tests"]
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }
    named = {rule["alert"]: rule["labels"]["severity"] for rule in rules()}
    assert tested == named.keys()
    assert all({"summary", "description"} == rule["annotations"].keys() for rule in rules())
    assert dict(re.findall(r"^\| `(Registry\w+)` \| (\w+) \|", PAGE.read_text(), re.MULTILINE)) == named


def test_alerts_are_about_what_is_told(scrape: Scrape) -> None:
    """No alert waits for a metric or a label that no server tells."""
    for rule in rules():
        check_names(rule["expr"], scrape)


@pytest.mark.clients
def test_the_configuration_can_be_used(tmp_path: Path) -> None:
    """Promtool takes the whole configuration, with its rules and its password; the page shows its job."""
    password = tmp_path / "password"
    password.write_text("secret")
    copy = tmp_path / "prometheus.yaml"
    copy.write_text(CONFIG.read_text().replace("/etc/prometheus/cargohold-password", str(password)))
    (tmp_path / "alerts.yaml").write_text(ALERTS.read_text())
    succeeds("check", "config", copy)


def test_the_page_shows_the_configuration() -> None:
    """What the page says of reading the metrics is the end of the file."""
    (shown,) = [block.text for block in blocks_of("monitoring.md", "yaml") if "scrape_configs" in block.text]
    assert CONFIG.read_text().endswith(shown)


@pytest.mark.clients
def test_metrics_are_what_prometheus_expects(text: str) -> None:
    """Promtool finds one thing to say of a real scrape: a name that users of registries expect."""
    said = promtool("check", "metrics", given=text)
    assert (said.stdout + said.stderr).strip().splitlines() == [NAMED_BY_USERS]


def test_the_page_tells_every_metric(scrape: Scrape) -> None:
    """The table lists what a server tells, and of which kind it is; nothing more and nothing less."""
    rows = re.findall(r"^\| `((?:registry|process)_\w+)` \| (\w+) \|", PAGE.read_text(), re.MULTILINE)
    assert dict(rows) == scrape.families


@pytest.mark.clients
def test_the_dashboard_can_be_drawn(tmp_path: Path) -> None:
    """Every query of the dashboard is one that Prometheus understands."""
    rules = [{"record": f"panel{number}", "expr": query} for number, query in enumerate(expressions())]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    succeeds("check", "rules", file)
    assert len(rules) > 20


def test_the_dashboard_shows_what_is_told(scrape: Scrape) -> None:
    """Every query is of metrics and labels that a server tells, and every metric is shown."""
    for query in expressions():
        check_names(query, scrape)
    shown = " ".join(expressions())
    assert [name for name in scrape.families if name not in shown] == []


def test_panels_stand_beside_each_other() -> None:
    """Panels have numbers of their own, lie within the width, and none covers another."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (place["x"] + column, place["y"] + line)
            for column in range(place["w"])
            for line in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def commands(begin: str) -> list[list[str]]:
    """The lines of the one block of the page for a shell whose first line begins so."""
    (block,) = [block for block in blocks_of("monitoring.md", "sh") if block.first.startswith(begin)]
    return [shlex.split(line) for line in block.text.splitlines()]


@pytest.mark.clients
def test_checks_of_the_page() -> None:
    """The page's checks are of what is in the repository, from its top."""
    require("promtool")
    for command in commands("promtool"):
        ended = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr


def test_reading_as_the_page_does(tmp_path: Path) -> None:
    """What the page types prints the metrics."""
    server = Server(tmp_path / "data")
    try:
        ((program, *words),) = commands("curl")
        words = [word.replace("localhost:5000", server.host) for word in words]
        ended = subprocess.run([require(program), *words], capture_output=True, timeout=SECONDS, check=True)
        assert "registry_http_requests_total" in scraped(ended.stdout).families
    finally:
        server.stop()
