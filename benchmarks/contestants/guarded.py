"""cargohold where everyone must log in."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import bcrypt

from benchmarks.content import REPOSITORY, TAG
from benchmarks.contestants.cargohold import Cargohold
from benchmarks.load.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.content import Blob
    from benchmarks.processes import Server

_USER, _PASSWORD = "bench", "a password of usual length"
_COST = 10


class Guarded(Cargohold):
    """With a file of one user, hashed at the cost that is usual, and with all other defaults."""

    name = "cargohold with logins"

    def command(self, folder: str, port: int) -> list[str]:
        """Prepare the folder and say what to run."""
        users = f"{folder}/users"
        hashed = bcrypt.hashpw(_PASSWORD.encode(), bcrypt.gensalt(_COST)).decode()
        with open(users, "w", encoding="ascii") as file:
            file.write(f"{_USER}:{hashed}\n")
        return [*super().command(folder, port), "--set", f"auth.htpasswd={users}"]

    def publish(self, server: Server, blobs: Sequence[Blob], manifest: bytes) -> None:
        """As the user."""
        with Connection(server.port, by_password()) as connection:
            for blob in blobs:
                connection.push_blob(REPOSITORY, blob)
            connection.push_manifest(REPOSITORY, TAG, manifest)


def by_password() -> dict[str, str]:
    """The header of Basic."""
    return {"Authorization": f"Basic {base64.b64encode(f'{_USER}:{_PASSWORD}'.encode()).decode()}"}


def by_token(server: Server) -> dict[str, str]:
    """The header of Bearer, with a token to pull that the built-in service has issued."""
    with Connection(server.port, by_password()) as connection:
        answer = connection.ask(200, "GET", f"/auth/token?scope=repository:{REPOSITORY}:pull")
    return {"Authorization": f"Bearer {json.loads(answer.body)['token']}"}
