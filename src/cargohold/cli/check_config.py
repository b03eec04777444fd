"""The command `cargohold check-config`: whether a server could start with these settings, and what it would serve."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import click

from cargohold.cli.help import epilog
from cargohold.cli.printing import print_line
from cargohold.cli.settings_options import with_options
from cargohold.config.checks import asks_for_login, check, has_keys
from cargohold.config.kinds import write_duration, write_json, write_size
from cargohold.config.load import examine
from cargohold.types.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cargohold.cli.surroundings import Surroundings
    from cargohold.config import Settings
    from cargohold.config.places import Problem


@click.command(
    epilog=epilog(
        "cargohold check-config registry.yaml",
        "cargohold check-config registry.yaml --running --json",
        codes="0 where a server could start, 1 where something is in its way",
    )
)
@click.argument("file", required=False)
@click.option("--running", is_flag=True, help="A server runs with these settings: do not ask for free ports.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object on stdout, and nothing else.")
@with_options("host", "port", "socket", "workers", "storage.path")
@click.pass_context
def check_config(
    context: click.Context, /, *, file: str | None, running: bool, as_json: bool, options: dict[str, object]
) -> None:
    """Find all that is wrong with the settings, and say what would be served.

    FILE is as --config; variables and options count as they do for "cargohold serve". Besides what is written, files,
    certificates, the storage and ports are tried, as the user who types this. Nothing is changed.
    """
    if file is not None:
        if "config" in options:
            raise click.UsageError("write FILE or --config, not both")
        options["config"] = file
    problems, warnings, summary = _examined(options, running=running)
    if as_json:
        answer = {
            "ok": not problems,
            "problems": [_record(problem) for problem in problems],
            "warnings": [_record(warning) for warning in warnings],
            "serves": None if problems else summary,
        }
        print_line(write_json(answer))
    else:
        for line in [*map(str, problems), *(f"warning: {warning}" for warning in warnings)]:
            click.echo(line, err=True)
        if not problems:
            width = max(map(len, summary))
            print_line("\n".join(f"{name:{width}}  {printable(text)}" for name, text in summary.items()))
    context.exit(1 if problems else 0)


def _examined(
    options: dict[str, object], *, running: bool
) -> tuple[list[Problem], list[Problem], dict[str, str]]:
    from cargohold.cli.surroundings import Surroundings  # noqa: PLC0415 - it brings the server in

    effective = examine(options, os.environ)
    around = Surroundings(effective.settings, running=running)
    faults = [*check(effective.settings), *around.faults]
    problems = [*effective.problems, *map(effective.problem, filter(effective.is_certain, faults))]
    warnings = map(effective.problem, filter(effective.is_certain, around.warnings))
    return problems, [*warnings], {} if problems else dict(_summary(effective.settings, around))


def _record(problem: Problem) -> dict[str, object]:
    place = problem.place
    in_file = place is not None and place.kind == "file"
    line, column = (place and place.mark) or (None, None)
    return {
        "file": place.source if place is not None and in_file else None,
        "line": line,
        "column": column,
        "source": None if place is None or in_file else place.source,
        "setting": problem.setting or None,
        "message": problem.message,
    }


def _summary(settings: Settings, around: Surroundings) -> Iterator[tuple[str, str]]:
    """What would be served, by headings."""
    yield "address", _address(settings)
    if settings.server.public_url:
        yield "public address", settings.server.public_url
    yield "storage", os.path.abspath(settings.storage.path)
    yield "content", _content(settings)
    yield from _keeping(settings)
    yield "login", _login(settings, around)
    yield "TLS", _tls(settings, around)
    yield "limits", _limits(settings)
    yield "workers", str(settings.workers)
    yield (
        "logs",
        f"{settings.log.level}, {settings.log.format}" + ("" if settings.log.requests else ", no requests"),
    )
    readers = {"login": "whoever is logged in, where that is asked for"}
    yield "metrics", f"for {readers.get(settings.metrics.access, settings.metrics.access)}"
    if settings.tracing.endpoint:
        yield "traces", f"sent to {settings.tracing.endpoint}"


def _address(settings: Settings) -> str:
    if settings.socket:
        return f"unix:{settings.socket}{settings.prefix}"
    scheme = "https" if settings.tls.certificate else "http"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    redirect = settings.tls.redirect_port
    sent = "" if redirect is None else f"; plain HTTP on port {redirect} is sent there"
    return f"{scheme}://{host}:{settings.port or '(any port)'}{settings.prefix}{sent}"


def _content(settings: Settings) -> str:
    if settings.read_only:
        return "can be pulled, and not changed"
    if not settings.deletion:
        return "can be pulled and pushed, and not deleted"
    return "can be pulled, pushed and deleted"


def _keeping(settings: Settings) -> Iterator[tuple[str, str]]:
    """What goes and what stays; the rules by their patterns, where there are any."""
    trash, gc = settings.trash.keep, settings.gc
    yield "trash", f"what is deleted can be restored for {write_duration(trash)}" if trash else "none"
    untagged = ", manifests without a tag too" if gc.untagged else ""
    garbage = f"schedule {gc.schedule}, grace time {write_duration(gc.grace)}{untagged}"
    yield "garbage", "nothing is collected" if settings.read_only else garbage
    if settings.retention:
        yield "retention", ", ".join(rule.repository for rule in settings.retention)
    if settings.tags.immutable:
        rules = (f"{' '.join(rule.tags)} in {rule.repository}" for rule in settings.tags.immutable)
        yield "immutable tags", ", ".join(rules)
    if settings.quotas:
        quotas = (
            f"{each.repository} {_written(each.bytes)}{' each' * each.each}" for each in settings.quotas
        )
        yield "quotas", ", ".join(quotas)


def _written(size: str | int) -> str:
    return size if isinstance(size, str) else write_size(size)


def _login(settings: Settings, around: Surroundings) -> str:
    auth = settings.auth
    if not asks_for_login(settings):
        return "none: whoever reaches the address may do everything"
    by = ["access tokens"]
    if around.users is not None:
        count = len(around.users.entries)
        by.insert(0, f"{count} user{'s' * (count != 1)} of {auth.htpasswd}")
    if has_keys(settings):
        by.append(f"tokens of {auth.bearer.issuer}")
    by += [f"id tokens of {trusted.issuer}" for trusted in auth.oidc]
    rules = f"; {len(auth.rules)} rule{'s' * (len(auth.rules) != 1)}" if auth.rules else ""
    return f"{', '.join(by)}{rules}"


def _tls(settings: Settings, around: Surroundings) -> str:
    if around.credentials is None:
        return "none"
    until = time.strftime("%Y-%m-%d", time.gmtime(around.credentials.expires))
    must = {"require": "must", "request": "may"}[settings.tls.client_certificates]
    clients = f"; clients {must} have certificates" if settings.tls.client_ca else ""
    return f"{settings.tls.minimum} or newer; the certificate is valid until {until}{clients}"


def _limits(settings: Settings) -> str:
    limits = settings.limits
    rates = {
        "reads of an address": limits.address.reads,
        "writes of an address": limits.address.writes,
        "reads of a user": limits.user.reads,
        "writes of a user": limits.user.writes,
        "failed logins": limits.failed_logins if asks_for_login(settings) else None,
    }
    given = [f"{what} {rate}" for what, rate in rates.items() if rate]
    manifests = f"manifests {write_size(settings.manifests.max_bytes)}"
    return ", ".join([*given, manifests, f"uploads without news {write_duration(settings.uploads.timeout)}"])
