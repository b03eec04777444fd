"""The whole registry as an ASGI application, settings and all."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

import httpx2

from cargohold import app

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

CONTENT = b"x" * 300_000
MANIFEST = b'{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}'


def test_push_and_pull(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`app.asgi` takes its settings from the environment, and what is pushed through it is pulled again."""
    monkeypatch.setenv("REGISTRY_STORAGE_PATH", str(tmp_path / "data"))
    monkeypatch.setenv("REGISTRY_HTTP_HEADERS", '{"X-Site": "here"}')
    digest = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"

    async def client_does() -> None:
        transport = httpx2.ASGITransport(app.asgi())
        async with httpx2.AsyncClient(transport=transport, base_url="http://registry") as client:
            pushed = await client.post(f"/v2/app/blobs/uploads/?digest={digest}", content=CONTENT)
            assert (pushed.status_code, pushed.headers["x-site"]) == (201, "here")
            assert (await client.get(f"/v2/app/blobs/{digest}")).content == CONTENT
            assert (await client.put("/v2/app/manifests/v1", content=MANIFEST)).status_code == 201
            pulled = await client.get("/v2/app/manifests/v1")
            assert (pulled.content, pulled.headers["x-site"]) == (MANIFEST, "here")

    asyncio.run(client_does())
