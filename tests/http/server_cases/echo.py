"""A small application on the real server: `python echo.py ROOT [serve's arguments as JSON]`.

What it is asked for is in the path; how the reading of each body ended is a line of ROOT/outcomes.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from cargohold.http.application import Application
from cargohold.http.exchange import answer_faults
from cargohold.http.server import serve
from cargohold.http.tls import Tls
from cargohold.messages import Answer, Bytes, Empty, File, Request
from cargohold.types.errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cargohold.http.chores import Chore

STALL_TIMEOUT = 2.5


class Echo:
    """The handler; each public method is a path of one segment."""

    def __init__(self, root: str) -> None:
        self._root = root

    async def __call__(self, request: Request) -> Answer:
        name = request.path.removeprefix("/")
        action: Callable[[Request, dict[str, str]], Awaitable[Answer]] = getattr(self, name, self.seen)
        return await action(request, {key: values[0] for key, values in parse_qs(request.query).items()})

    async def hash(self, request: Request, asked: dict[str, str]) -> Answer:
        """Read the whole body; answer its length, its SHA-256 and the largest piece. `pause` after the first."""
        digest, received, largest = hashlib.sha256(), 0, 0
        self._record("reading")
        try:
            async for piece in request.body:
                received, largest = received + len(piece), max(largest, len(piece))
                assert piece, "a piece is never empty"
                digest.update(piece)
                await asyncio.sleep(float(asked.pop("pause", "0")))
        except RegistryError as error:
            self._record(f"{type(error).__name__} {received}")
            return _json(error.status, {"error": type(error).__name__, "message": error.message})
        except asyncio.CancelledError:
            self._record(f"CancelledError {received}")
            raise
        self._record(f"complete {received}")
        return _json(201, {"received": received, "sha256": digest.hexdigest(), "largest": largest})

    async def early(self, request: Request, asked: dict[str, str]) -> Answer:
        """Answer `status` after `pieces` pieces of the body."""
        pieces = aiter(request.body)
        for _ in range(int(asked.get("pieces", "0"))):
            await anext(pieces)
        return _json(int(asked["status"]), {"error": "early"})

    async def bytes(self, request: Request, asked: dict[str, str]) -> Answer:
        """Answer `n` bytes, as a HEAD's answer says them."""
        size = int(asked["n"])
        if request.method == "HEAD":
            return Empty(200, [("content-length", str(size))])
        return Bytes(200, [("content-type", "text/plain")], b"x" * size)

    async def file(self, request: Request, asked: dict[str, str]) -> Answer:
        """Answer the file `name`, or its bytes from `start` to `stop`; `claim` is a length that it does not have."""
        path = os.path.join(self._root, asked["name"])
        start, stop = int(asked.get("start", "0")), int(asked.get("stop", "0"))
        length = int(asked.get("claim", "0")) or (stop or os.stat(path).st_size) - start
        if request.method == "HEAD":
            return Empty(200, [("content-length", str(length))])
        if "vanish" in asked:
            os.unlink(path)
        status = 206 if start or stop else 200
        return File(status, [("content-length", str(length))], path, start, stop)

    async def seen(self, request: Request, _: dict[str, str]) -> Answer:
        """Answer the request as it arrived."""
        return _json(
            200,
            {
                "method": request.method,
                "path": request.path,
                "query": request.query,
                "accept": request.headers.get_all("accept"),
                "authorization": request.headers.get("authorization"),
                "authorization named": "authorization" in request.headers,
                "length": request.length,
                "client": request.client,
                "scheme": request.scheme,
                "host": request.host,
                "pid": os.getpid(),
            },
        )

    async def status(self, _: Request, asked: dict[str, str]) -> Answer:
        """Answer `status` with no body, and headers that no header may hold."""
        return Empty(
            int(asked["status"]), [("x-good", "1"), ("x-bad", "a\r\nx-injected: 1"), ("x-wide", "\xe9")]
        )

    async def boom(self, _: Request, __: dict[str, str]) -> Answer:
        """Fail as a bug does."""
        raise RuntimeError("a secret of the inside")

    async def sleep(self, _: Request, asked: dict[str, str]) -> Answer:
        """Answer after `seconds`."""
        self._record("sleeping")
        await asyncio.sleep(float(asked["seconds"]))
        return Empty(204, [])

    async def hang(self, _: Request, __: dict[str, str]) -> Answer:
        """Answer, and leave a thread that comes to no end."""
        asyncio.get_running_loop().run_in_executor(None, time.sleep, 300)
        return Empty(204, [])

    async def block(self, _: Request, __: dict[str, str]) -> Answer:
        """Let nothing else run in this process, for a long time."""
        self._record("blocking")
        time.sleep(300)  # noqa: ASYNC251 - it is what is asked for
        return Empty(204, [])

    async def die(self, _: Request, __: dict[str, str]) -> Answer:
        """End this worker as a crash does."""
        os.kill(os.getpid(), signal.SIGKILL)
        await asyncio.sleep(60)
        raise AssertionError("killed")

    def _record(self, line: str) -> None:
        with open(os.path.join(self._root, "outcomes"), "a") as outcomes:
            outcomes.write(line + "\n")


def _json(status: int, value: Any) -> Bytes:
    return Bytes(status, [("content-type", "application/json")], json.dumps(value).encode())


def marked(root: str, name: str) -> Callable[..., None]:
    """A hook that leaves its name among the outcomes."""

    def mark(*_: asyncio.AbstractEventLoop) -> None:
        with open(os.path.join(root, "outcomes"), "a") as outcomes:
            outcomes.write(name + "\n")

    return mark


def main(root: str, arguments: str = "{}", *, chore: Chore | None = None) -> int:
    """Serve; the address goes to stderr when it is ready."""

    def application(_place: int, _expires: float | None) -> Application:
        return Application(
            answer_faults(Echo(root)),
            headers=[("x-extra", "1")],
            start=marked(root, "started"),
            stop=marked(root, "stopped"),
            leave=marked(root, "left"),
            stall_timeout=STALL_TIMEOUT,
        )

    def ready(address: str) -> None:
        sys.stderr.write(f"ready {address}\n")
        sys.stderr.flush()

    given = {"port": 0, **json.loads(arguments)}
    if "tls" in given:
        given["tls"] = Tls(**given["tls"])
    return serve(application, ready=ready, chore=chore, **given)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
