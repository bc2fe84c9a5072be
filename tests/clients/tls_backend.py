"""A WebSocket backend that speaks TLS by OpenSSL: it echoes.

    python3 tls_backend.py CERTIFICATE KEY VERSION

VERSION is 1.2 or 1.3. Prints its port once it listens, and ends with SIGTERM.
"""

import asyncio
import ssl
import sys

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosedError


async def echo(connection):
    try:
        async for message in connection:
            await connection.send(message)
    except ConnectionClosedError:
        pass  # Closed with a code of the client's own, or cut.


async def main(certificate, key, version):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    only = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]
    context.minimum_version = context.maximum_version = only
    async with serve(echo, "127.0.0.1", 0, ssl=context, max_size=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
