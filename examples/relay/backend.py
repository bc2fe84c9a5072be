"""A WebSocket backend for a relay: it echoes, and says who its clients are.

    python3 backend.py unix:/tmp/app.sock          (or a port of 127.0.0.1)

Needs the package `websockets`. It logs nothing and ends with SIGTERM.
"""

import asyncio
import http
import sys

from websockets.asyncio.server import serve, unix_serve
from websockets.exceptions import ConnectionClosedError


async def echo(connection):
    try:
        async for message in connection:
            if message == "who":
                message = connection.request.headers["X-Forwarded-For"]
            await connection.send(message)
    except ConnectionClosedError:
        pass  # Closed with a code of the client's own, or cut.


def refuse(connection, request):
    """Clients without a key are refused, as the gateway's clients are to see."""
    if request.path.endswith("/members") and request.headers.get("X-Key") != "secret":
        return connection.respond(http.HTTPStatus.UNAUTHORIZED, "a key is needed\n")
    return None


async def main(place):
    options = {"process_request": refuse, "max_size": None}
    if place.startswith("unix:"):
        server = unix_serve(echo, place.removeprefix("unix:"), **options)
    else:
        server = serve(echo, "127.0.0.1", int(place), **options)
    async with server as listening:
        print("ready", flush=True)
        await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
