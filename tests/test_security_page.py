"""Every sentence of the page about security has tests that hold it, and the tests are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from cargohold.config.access import OPTIONAL_PATH
from cargohold.config.settings import SETTINGS

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs/security.md").read_text()

# Each sentence by how it begins, with the files and the tests in them that hold it.
HELD: dict[str, dict[str, str]] = {
    "A server that other machines can reach": {
        "config/test_checks.py": "test_what_others_can_reach_needs_a_login test_this_machine_needs_no_login",
        "cli/test_command.py": "test_what_others_can_reach_needs_a_login",
    },
    "Where a login is configured, every request needs one": {
        "http/test_guard.py": "test_every_operation_is_guarded test_nobody_is_let_in_without_a_login"
    },
    "What a user may do is decided": {
        "http/test_guard.py": "test_who_lacks_the_permission_is_refused",
        "e2e/test_leaks.py": "test_what_is_hidden_answers_as_what_is_not_there",
        "auth/test_rules_table.py": "test_case",
    },
    "Where no rule decides": {"auth/test_rules.py": "test_reasons_where_no_rule_decides"},
    "A repository in which its asker may do nothing": {
        "e2e/test_leaks.py": "test_what_is_hidden_answers_as_what_is_not_there",
        "e2e/test_foreign_tokens.py": "test_token_for_another_repository_shows_nothing_of_this_one",
    },
    "Neither the catalog nor a mount": {
        "e2e/test_leaks.py": "test_the_catalog_shows_what_may_be_pulled test_a_mount_does_not_tell_what_is_hidden"
        " test_a_mount_from_anywhere_does_not_find_what_is_hidden",
        "http/test_guard.py": "test_a_mount_shows_only_what_may_be_pulled",
    },
    "The time that an answer takes": {
        "e2e/test_leaks.py": "test_time_does_not_tell_what_is_hidden test_time_does_not_tell_what_could_be_mounted"
        " test_time_does_not_tell_what_the_catalog_hides"
    },
    "Settings that contradict": {"config/test_checks.py": "test_what_does_not_go_together"},
    "Passwords are kept as hashes": {"auth/test_userfile.py": "test_what_is_no_hash_of_bcrypt"},
    "A password that was right": {
        "auth/test_login.py": "test_secrets_are_not_kept",
        "auth/test_login_memory.py": "test_remembered",
        "auth/test_remembered.py": "test_no_secret_is_kept test_for_so_many_seconds",
    },
    "The head of a request": {"http/http1/test_hostile_clients.py": "test_heads_are_forgotten"},
    "A user who does not exist": {
        "auth/test_passwords.py": "test_wrong_costs_the_same",
        "e2e/test_basic_login.py": "test_who_is_unknown_cannot_be_told_from_who_is",
    },
    "A user who is taken out": {
        "e2e/test_basic_login.py": "test_users_come_and_go_without_a_restart",
        "e2e/test_token_service.py": "test_new_password",
        "auth/test_issuer.py": "test_dies_with_its_subject",
    },
    "After too many failures": {
        "e2e/test_rate_limits.py": "test_failed_logins_are_limited_more_strictly",
        "auth/test_attempts.py": "test_workers_count_together",
    },
    "Guesses that are sent at once": {"e2e/test_rate_limits.py": "test_guesses_at_once_are_no_more"},
    "Nobody can lock a user out": {
        "auth/test_attempts.py": "test_nobody_can_lock_a_user_out",
        "e2e/test_rate_limits.py": "test_nobody_can_lock_a_user_out",
    },
    "Many guesses do not hold up": {
        "e2e/test_basic_login.py": "test_many_guesses_do_not_hold_up_who_is_known"
    },
    "No password, token or secret": {
        "e2e/test_basic_login.py": "test_no_password_is_logged",
        "e2e/test_token_service.py": "test_one_service",
        "e2e/test_robot_revocation.py": "test_wrong_secrets",
    },
    "Tokens are signed with ES256": {
        "auth/test_issuer.py": "test_others_can_verify",
        "auth/test_keys.py": "test_first_start",
    },
    "The server refuses to start with a private key": {
        "e2e/test_token_service.py": "test_key_that_others_may_read"
    },
    "A token is valid for five minutes": {
        "auth/test_issuer.py": "test_times test_never_beyond_the_proof test_never_beyond_its_subject",
        "routes/test_token_post.py": "test_never_beyond_what_it_was_given_for",
        "e2e/test_robot_revocation.py": "test_expired",
    },
    "A token that is forged": {
        "auth/test_issuer_attacks.py": "test_every_bit_counts test_truncated test_claims_that_are_not_ours",
        "auth/test_issuer.py": "test_other_registry test_times",
        "auth/test_bearer_claims.py": "test_wrong_iss test_wrong_aud test_expired test_not_yet_valid",
        "auth/test_bearer_spelling.py": "test_truncated test_every_changed_character test_one_megabyte",
        "auth/test_bearer_attacks.py": "test_alg_none test_no_kid test_unknown_kid test_signature_of_zeros",
    },
    "No key that a token brings along": {
        "auth/test_issuer_attacks.py": "test_key_that_a_token_brings_along",
        "auth/test_bearer_attacks.py": "test_jwk_in_the_header test_address_of_a_key_in_the_header"
        " test_x5c_in_the_header",
    },
    "A public key is never used as a secret": {
        "auth/test_issuer_attacks.py": "test_public_key_as_a_secret",
        "auth/test_bearer_attacks.py": "test_hs_signed_with_the_public_key",
    },
    "A token opens what it names": {
        "auth/test_issuer_attacks.py": "test_another_repository",
        "auth/test_bearer_claims.py": "test_token_for_another_repository",
        "e2e/test_foreign_tokens.py": "test_token_opens_what_it_names",
        "e2e/test_leaks.py": "test_a_token_mounts_what_its_user_may_pull",
    },
    "With `cargohold keys rotate --now`": {"e2e/test_token_service.py": "test_rotation_at_once"},
    "Secrets of robots and refresh tokens": {
        "auth/test_robots.py": "test_form_of_secrets test_hash_is_no_secret",
        "auth/test_refresh.py": "test_form test_kept_as_a_hash",
    },
    "A robot that is revoked": {"e2e/test_robot_revocation.py": "test_next_request test_under_load"},
    "An id token is accepted": {
        "auth/test_oidc.py": "test_wrong_audience test_forged_signatures test_other_passwords_are_none_of_this_sort",
        "e2e/test_keyless_push.py": "test_what_a_job_may_do_follows_from_its_claims",
    },
    "No value of a claim": {"auth/test_oidc_claims.py": "test_no_value_widens_what_a_rule_gives"},
    "Keys of other issuers": {
        "config/test_checks.py": "test_what_cannot_be_meant",
        "e2e/test_keyless_push.py": "test_id_token_as_password_by_basic",
        "auth/test_discovery.py": "test_only_certificates_of_the_systems_authorities_are_believed"
        " test_discovery_that_leads_elsewhere_is_refused",
        "auth/test_published_keys.py": "test_slow_issuer_is_given_up_after_a_time test_broken_answer_keeps_the_keys",
    },
    "TLS is spoken from version 1.2": {"http/test_tls_server.py": "test_versions"},
    "A certificate is renewed": {
        "http/test_tls_renewal.py": "test_a_signal_renews_the_certificate test_nobody_is_refused_meanwhile",
        "e2e/test_tls.py": "test_transfers_go_on_across_a_renewal",
    },
    "Where certificates of clients are required": {
        "http/test_tls_server.py": "test_certificates_of_clients",
        "e2e/test_tls.py": "test_a_client_without_a_certificate_is_kept_out",
    },
    "A login that crosses a network": {
        "config/test_checks.py": "test_logins_cross_a_network_in_the_clear",
        "cli/test_command.py": "test_a_login_without_tls_is_warned_of",
    },
    "Forwarded addresses are believed": {
        "http/test_proxies.py": "test_nobody_else_is_believed test_what_a_client_writes_never_counts",
        "e2e/test_rate_limits.py": "test_only_trusted_proxies_say_who_asks",
    },
    "Requests are limited": {
        "e2e/test_rate_limits.py": "test_all_workers_count_as_one test_users_have_limits_of_their_own"
    },
    "Clients that send nothing": {
        "http/test_server_load.py": "test_silent_connections_block_nobody"
        " test_idle_and_stalled_connections_block_nobody test_silent_clients_are_let_go",
        "http/test_server_requests.py": "test_what_is_too_large_is_told_so",
        "http/test_tls_server.py": "test_handshakes_that_come_to_no_end",
        "e2e/test_check_manifest_bodies.py": "test_stalled_manifests",
    },
    "What is stored under a digest": {
        "registry/test_uploads.py": "test_the_digest_of_other_bytes_ends_the_session",
        "routes/test_manifest_push.py": "test_a_push_by_another_digest_is_refused",
    },
    "A blob is seen only": {
        "registry/test_blobs.py": "test_a_miss_is_a_blob_unknown test_a_delete_is_of_one_repository"
    },
    "No address leads out": {
        "e2e/test_protocol_addresses.py": "test_a_crooked_address_leads_nowhere",
        "http/test_router.py": "test_no_operation_holds_a_path",
    },
    "No answer shows a trace": {
        "http/test_server_answers.py": "test_a_fault_is_a_500_that_tells_nothing",
        "e2e/test_fuzz.py": "test_every_hostile_request_is_answered",
    },
    "Where `read_only` is on": {
        "routes/test_settings.py": "test_a_read_only_registry_takes_nothing test_deletion_can_be_switched_off"
    },
    "Content is kept as it was pushed": {"storage/test_tree_layout.py": "test_blob"},
    "Content is kept once": {"e2e/test_check_syncs.py": "test_syncs_are_those_of_the_page"},
    "The server checks the certificates of clients": {
        "http/test_tls_server.py": "test_certificates_of_clients"
    },
    "Who may push to a repository, or delete in it": {
        "e2e/test_leaks.py": "test_who_may_push_or_delete_learns_what_is_there"
    },
    "Rules are asked when a request begins": {
        "e2e/test_revoked_download.py": "test_a_download_goes_on_when_its_user_is_gone"
    },
    "Write to the maintainers": {"test_security_page.py": "test_no_public_place_is_named"},
    "Send the version": {"cli/test_command.py": "test_version"},
    "Send the settings": {"test_security_page.py": "test_no_setting_holds_a_secret"},
}


def sentences() -> list[str]:
    """What the page says below its first paragraph, sentence by sentence."""
    _, _, held = PAGE.partition("\n## ")
    items = re.findall(r"^- (.*(?:\n  .*)*)", held, re.MULTILINE)
    texts = [" ".join(item.split()) for item in items]
    assert sum(len(item.splitlines()) for item in items) + held.count("\n## ") + 1 == len(
        [line for line in held.splitlines() if line]
    ), "the page says something outside its lists"
    return [sentence for text in texts for sentence in re.split(r"(?<=[.!?]) (?=[A-Z])", text)]


def names_in(file: str) -> set[str]:
    tree = ast.parse((TESTS / file).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("sentence", sentences())
def test_every_sentence_is_held(sentence: str) -> None:
    """One entry of the table is this sentence's, and every test that it names is there."""
    (held,) = (tests for begins, tests in HELD.items() if sentence.startswith(begins))
    for file, names in held.items():
        assert set(names.split()) <= names_in(file), (file, names)


def test_nothing_is_held_that_is_not_said() -> None:
    """The table has no entry for a sentence that is gone."""
    assert len(sentences()) == len(HELD)


def test_no_public_place_is_named() -> None:
    """Whoever reads how to report a hole is not led to where everyone reads it."""
    assert "://" not in PAGE


def test_no_setting_holds_a_secret() -> None:
    """What has to do with passwords and keys is the name of a file, so that settings can be shown."""
    secret = re.compile(r"password|secret|key$|htpasswd|certificate$")
    found = {path: setting.kind for path, setting in SETTINGS.items() if secret.search(path)}
    assert {"auth.htpasswd", "auth.bearer.key", "tls.key"} <= set(found)
    assert set(found.values()) == {OPTIONAL_PATH}
