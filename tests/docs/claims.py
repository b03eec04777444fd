"""Which test runs which of the commands in the documentation.

Pages in `TYPED` are typed whole, by `test_typed.py`. The blocks of all others are claimed in `CLAIMED`: a page, the
beginning of a block (or of several; `*` is every block of the page that no other claim of it is for), and a test that
runs it, as `file below tests/::name`.
"""

from __future__ import annotations

TYPED = frozenset({"troubleshooting.md"})

CLAIMED: dict[str, dict[str, str]] = {
    "README.md": {
        "make serve": "e2e/test_readme.py::made",
        "docker ": "e2e/test_readme.py::test_docker",
        "podman ": "e2e/test_readme.py::test_podman",
        "skopeo ": "e2e/test_readme.py::test_skopeo",
        "curl ": "e2e/test_readme.py::check_pushed",
        "python3 -m venv": "e2e/test_readme.py::test_installed",
        "cargohold serve --host": "e2e/test_readme.py::test_installed",
        "REGISTRY_HOST=": "e2e/test_readme.py::test_installed",
        "cargohold htpasswd create": "e2e/test_readme.py::test_login",
    },
    "access.md": {"cargohold access explain": "auth/test_access_page.py::test_command"},
    "backup.md": {
        "set -eu": "docs/test_backup_page.py::test_restored_from_a_copy_under_load",
        "cd /backup/last/": "docs/test_backup_page.py::test_restored_from_a_copy_under_load",
        "mv /srv/registry": "docs/test_backup_page.py::test_restored_from_a_copy_under_load",
        "cp -a /backup/last/. /srv/look": "docs/test_backup_page.py::test_a_copy_that_is_looked_into",
    },
    "commands.md": {"*": "cli/test_commands_page.py::test_what_is_typed"},
    "ci.md": {"curl ": "e2e/test_ci_page.py::test_exchange_gives_a_token"},
    "gc.md": {"*": "docs/test_gc_page.py::test_what_is_typed"},
    "fsck.md": {
        "cargohold fsck --verify-content": "docs/test_fsck_page.py::test_what_is_printed",
        "cargohold fsck --quiet": "docs/test_fsck_page.py::test_from_cron",
        "cp -a": "docs/test_fsck_page.py::test_putting_back",
    },
    "install.md": {
        "python3 -m venv ~/": "e2e/test_readme.py::test_installed",
        "python3 -m venv /opt/": "e2e/test_readme.py::test_installed",
        "make image": "deploy/test_image.py::test_the_page",
        "podman ": "deploy/test_image.py::test_the_page",
        "make binary": "deploy/test_binary.py::test_the_page",
        "dist/cargohold serve": "deploy/test_binary.py::test_the_page",
    },
    "kubernetes.md": {
        "cargohold htpasswd": "deploy/test_kubernetes_page.py::test_what_is_made_first",
        "kubectl create namespace": "deploy/test_kubernetes_page.py::test_what_is_made_first",
        "helm install": "deploy/test_kubernetes_page.py::test_the_release_is_tested",
        "helm template": "deploy/test_kubernetes_page.py::test_plain_manifests_are_the_same",
        "helm package": "deploy/test_kubernetes_page.py::test_the_chart_is_kept_in_a_registry",
    },
    "login.md": {"*": "e2e/clients/test_login_commands.py::test_every_line_of_the_page_is_typed"},
    "logs.md": {
        "jq -c 'select(.level": "docs/test_logs_page.py::test_what_failed",
        "jq 'select(.request_id": "docs/test_logs_page.py::test_all_of_one_request",
        "jq -sc": "docs/test_logs_page.py::test_the_slowest",
        "jq -rs": "docs/test_logs_page.py::test_bytes_of_repositories",
        "jq -c 'select(.method": "docs/test_logs_page.py::test_who_pushed",
        "jq -r 'select(.status": "docs/test_logs_page.py::test_where_logins_are_refused",
    },
    "monitoring.md": {
        "curl ": "deploy/test_prometheus.py::test_reading_as_the_page_does",
        "promtool ": "deploy/test_prometheus.py::test_checks_of_the_page",
    },
    "running.md": {"*": "docs/test_running_page.py::test_what_is_typed"},
    "migrate.md": {
        "cat config.yml": "docs/test_migrate_page.py::test_in_place",
        "cargohold check-config": "docs/test_migrate_page.py::test_in_place",
        "cargohold serve": "docs/test_migrate_page.py::test_in_place",
        "crane ": "docs/test_migrate_page.py::test_copied_with_crane",
        "skopeo ": "docs/test_migrate_page.py::test_copied_with_skopeo",
        "regctl ": "docs/test_migrate_page.py::test_copied_with_what_refers_to_it",
    },
    "move.md": {
        "cargohold export --to": "docs/test_move_page.py::test_all_and_some",
        "cargohold export team/app:v1": "docs/test_move_page.py::test_all_and_some",
        "skopeo copy oci:": "docs/test_move_page.py::test_names",
        "cargohold export team/app --plain-tags": "docs/test_move_page.py::test_names",
        "docker save": "docs/test_move_page.py::test_what_docker_saves",
        "skopeo copy docker:": "docs/test_move_page.py::test_archives",
        "cargohold export 'team/**' --to -": "docs/test_move_page.py::test_through_a_pipe",
    },
    "proxies.md": {"curl ": "docs/test_proxies_page.py::test_where_clients_are_sent"},
    "retention.md": {"*": "docs/test_retention_page.py::test_what_is_typed"},
    "settings.md": {
        "REGISTRY_PORT=": "config/test_pages.py::test_examples_are_equal",
        "*": "config/test_page_commands.py::test_commands",
    },
    "start.md": {
        "python3 -m venv": "e2e/test_readme.py::test_installed",
        "*": "docs/test_start_page.py::test_what_is_typed",
    },
    "systemd.md": {"*": "deploy/test_systemd.py::test_what_is_typed"},
    "tokens.md": {"cargohold token": "cli/test_token_page.py::test_commands"},
    "trash.md": {"*": "docs/test_trash_page.py::test_what_is_typed"},
    "users.md": {
        "cargohold ": "cli/test_users_page.py::test_commands",
        "chmod 700": "cli/test_users_page.py::test_a_volume_that_was_opened_to_a_group",
    },
}

OTHERS: dict[str, str] = {
    "api.md: {": "docs/test_examples.py::test_an_error",
    "ci.md: on: push": "e2e/test_ci_page.py::test_pipeline_pushes",
    "ci.md: push:": "e2e/test_ci_page.py::test_pipeline_pushes",
    "gc.md: gc:": "docs/test_gc_page.py::test_the_defaults",
    "kubernetes.md: image:": "deploy/test_kubernetes_page.py::test_plain_manifests_are_the_same",
    "kubernetes.md: metrics:": "deploy/test_kubernetes_page.py::test_monitoring",
    "monitoring.md: scrape_configs:": "deploy/test_prometheus.py::test_the_page_shows_the_configuration",
    "proxies.md: entryPoints:": "docs/test_proxies_page.py::test_push_and_pull",
    "proxies.md: http:": "docs/test_proxies_page.py::test_push_and_pull",
    "quotas.md: {": "docs/test_quotas_page.py::test_answer",
}
"""Blocks of YAML and JSON that are no settings of ours, or set nothing new, by page and first line; and the test that
reads each.
"""


def claim_of(page: str, first: str) -> str | None:
    """The beginning in `CLAIMED` that is for a block of this page; None where there is none."""
    begins = [each for each in CLAIMED.get(page, {}) if first.startswith(each)]
    found = max(begins, key=len, default="*")
    return found if found in CLAIMED.get(page, {}) else None
