"""What clients say to their users of a tag that does not move."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.clients.images import make_image
from tests.e2e.conftest import start

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.clients.images import Layout
    from tests.e2e.clients.program import Client
    from tests.e2e.conftest import Start

pytestmark = pytest.mark.clients

__all__ = ["start"]


@pytest.mark.parametrize("program", ["skopeo", "crane"])
def test_the_reason_is_shown(
    program: str, client: Callable[..., Client], start: Start, image: Layout, tmp_path: Path
) -> None:
    """A push that would move an immutable tag fails with the reason; the same image again, or another tag, does not."""
    server = start({"tags.immutable": json.dumps([{"repository": "prod/**", "tags": ["v*"]}])})
    other = make_image(tmp_path / "other", [{"file": b"another"}])

    def command(layout: Layout, tag: str) -> tuple[str | Path, ...]:
        target = f"{server.host}/prod/app:{tag}"
        if program == "crane":
            return "push", "--insecure", layout.path, target
        return "copy", "--dest-tls-verify=false", f"oci:{layout.path}:it", f"docker://{target}"

    run = client(program, *(["--insecure-policy"] if program == "skopeo" else []))
    run(*command(image, "v1"))
    run(*command(image, "v1"))
    said = run.refused(*command(other, "v1"))
    assert "the tag v1 is immutable here (v* in prod/**)" in said
    assert image.digest in said
    run(*command(other, "edge"))
    run(*command(image, "edge"))
