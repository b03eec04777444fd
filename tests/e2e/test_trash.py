"""The trash of a server that asks for a login, and that has several workers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.cli.test_command import SCRIPT, run
from tests.e2e.pushing import EMPTY, MANIFEST, digest_of, make_manifest
from tests.e2e.test_basic_login import authorization, line
from tests.http.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Start

ANN = authorization("ann", "s3cret")
IMAGE = make_manifest("image")
SIGNATURE = make_manifest("signature", subject=IMAGE)


def test_who_and_what(start: Start, tmp_path: Path) -> None:
    """The trash names the user who deleted; clients see what was deleted nowhere, and all of it when it is restored."""
    users = tmp_path / "users"
    users.write_text(line("ann", "s3cret"))
    server = start({"workers": 2, "auth.htpasswd": users, "manifests.allow_tag_deletion": True})
    digest = digest_of(IMAGE)
    with Wire(server.url) as wire:

        def ask(method: str, path: str, body: bytes = b"", *headers: str) -> int:
            return wire.ask(method, f"/v2/team/app/{path}", ANN, *headers, body=body).status

        def listed(path: str) -> object:
            return json.loads(wire.ask("GET", path, ANN).body)

        assert ask("POST", f"blobs/uploads/?digest={digest_of(EMPTY)}", EMPTY) == 201
        for reference, content in (("v1", IMAGE), ("v2", IMAGE), (digest_of(SIGNATURE), SIGNATURE)):
            assert ask("PUT", f"manifests/{reference}", content, f"Content-Type: {MANIFEST}") == 201
        assert ask("DELETE", "manifests/v2") == 202
        for reference in (digest_of(SIGNATURE), digest):
            assert ask("DELETE", f"manifests/{reference}") == 202
        for reference in ("v1", "v2", digest, digest_of(SIGNATURE)):
            assert ask("GET", f"manifests/{reference}") == 404
        assert listed("/v2/_catalog") == {"repositories": []}

        place = ("--storage-path", str(server.storage))
        found = json.loads(run(SCRIPT, "trash", "ls", "--json", *place).stdout)
        assert [(each["tags"], each["why"], each["by"]) for each in found] == [
            (["v2"], "tag deleted", "ann"),
            ([], "deleted", "ann"),
            (["v1"], "deleted", "ann"),
        ]
        for wanted in ("team/app:v2", f"team/app@{digest_of(SIGNATURE)}"):
            assert run(SCRIPT, "trash", "restore", wanted, *place).returncode == 0
        assert run(SCRIPT, "trash", "ls", "--json", *place).stdout == "[]\n"
        assert listed("/v2/_catalog") == {"repositories": ["team/app"]}
        assert listed("/v2/team/app/tags/list") == {"name": "team/app", "tags": ["v1", "v2"]}
        referrers = listed(f"/v2/team/app/referrers/{digest}")
        assert isinstance(referrers, dict)
        assert [each["digest"] for each in referrers["manifests"]] == [digest_of(SIGNATURE)]
        for reference in ("v1", "v2", digest, digest_of(SIGNATURE)):
            assert ask("GET", f"manifests/{reference}") == 200
