"""The small application of `echo` on an ASGI server: `python asgi_echo.py ROOT [{"port": PORT}]`."""

from __future__ import annotations

import asyncio
import json
import signal
import sys

from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from granian.server.embed import Server

from cargohold.http.asgi import AsgiApplication
from cargohold.http.exchange import answer_faults
from tests.http.server_cases.echo import STALL_TIMEOUT, Echo, marked


async def serve(root: str, port: int) -> None:
    """Serve until SIGTERM; the address goes to stderr when connections are taken."""
    application = AsgiApplication(
        answer_faults(Echo(root)),
        headers=[("x-extra", "1")],
        start=marked(root, "started"),
        stop=marked(root, "stopped"),
        stall_timeout=STALL_TIMEOUT,
    )
    server = Server(
        application,
        port=port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        websockets=False,
        log_level=LogLevels.error,
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.stop)
    serving = asyncio.create_task(server.serve())
    for _ in range(1000):
        if await accepts(port):
            break
        await asyncio.sleep(0.01)
    sys.stderr.write(f"ready http://127.0.0.1:{port}\n")
    sys.stderr.flush()
    await serving


async def accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], **json.loads(sys.argv[2])))
