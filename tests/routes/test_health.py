from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cargohold.config import Settings
from cargohold.config.logins import Auth
from cargohold.config.sections import Storage
from cargohold.storage.memory import MemoryStore
from cargohold.storage.protocols import Full
from tests.routes.caller import Registry

if TYPE_CHECKING:
    from pathlib import Path

ADDRESSES = ["/health", "/health/ready"]


class FullStore(MemoryStore):
    """A store without room."""

    async def try_writing(self) -> None:
        raise Full("/srv/private: No space left on device")


@pytest.mark.parametrize(("address", "status"), [("/health", "ok"), ("/health/ready", "ready")])
def test_all_is_well(registry: Registry, address: str, status: str) -> None:
    """200 with a small JSON document, which nobody may keep."""
    reply = registry.ask("GET", address)
    assert (reply.status, reply.json) == (200, {"status": status})
    assert reply["cache-control"] == "no-store"
    assert registry.ask("HEAD", address).status == 200


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_it_is_only_read(registry: Registry, method: str, address: str) -> None:
    """Any other method is refused, with those that there are."""
    reply = registry.ask(method, address)
    assert reply.error == (405, "UNSUPPORTED")
    assert reply["allow"] == "GET, HEAD"


def test_not_ready() -> None:
    """503 with the reason and when to ask again; nothing of paths. The process is alive all the same."""
    registry = Registry(store=FullStore())
    reply = registry.ask("GET", "/health/ready")
    assert (reply.status, reply.json) == (503, {"status": "unavailable", "reason": "the storage is full"})
    assert int(reply["retry-after"]) > 0
    assert reply["cache-control"] == "no-store"
    assert registry.ask("GET", "/health").status == 200


def test_nothing_is_written_where_nothing_may_be() -> None:
    """With `read_only` the storage is ready when it can be read."""
    assert Registry(Settings(read_only=True), FullStore()).ask("GET", "/health/ready").status == 200


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_login_is_needed(tmp_path: Path, address: str) -> None:
    """Load balancers have none; below a prefix they ask there."""
    registry = Registry(Settings(storage=Storage(path=str(tmp_path)), auth=Auth(required=True)))
    assert registry.ask("GET", "/v2/").status == 401
    assert registry.ask("GET", address).status == 200
    prefixed = Registry(Settings(prefix="/registry"))
    assert prefixed.ask("GET", f"/registry{address}").status == 200
    assert prefixed.ask("GET", address).status == 404
