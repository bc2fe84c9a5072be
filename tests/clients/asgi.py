"""ASGI applications behind a relay, served by uvicorn, and their clients at the gateway.

    python asgi.py serve unix:/tmp/app.sock      (prints `ready`)
    python asgi.py talk ws://127.0.0.1:8080

`/fastapi/...` is an application of FastAPI, `/channels/...` one of Django's Channels.
"""

import asyncio
import json
import sys

import websockets
from websockets.asyncio.client import connect

CLIENTS = 20


def fastapi_app():
    from fastapi import FastAPI, Header, WebSocket, WebSocketException

    app = FastAPI()

    @app.websocket("/fastapi/{name}")
    async def greet(socket: WebSocket, name: str, x_forwarded_for: str = Header()):
        if name == "nobody":
            raise WebSocketException(code=1008)
        chosen = "v2" if "v2" in socket.scope["subprotocols"] else None
        await socket.accept(subprotocol=chosen, headers=[(b"set-cookie", b"seen=1")])
        await socket.send_json({"name": name, "address": x_forwarded_for, "query": str(socket.query_params)})
        async for text in socket.iter_text():
            if text == "leave":
                await socket.close(4001, "as you like")
                return
            await socket.send_text(text)

    return app


def channels_app():
    import django
    from django.conf import settings

    layers = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    settings.configure(SECRET_KEY="of no use", INSTALLED_APPS=["channels"], CHANNEL_LAYERS=layers)
    django.setup()

    from channels.generic.websocket import AsyncJsonWebsocketConsumer
    from channels.routing import ProtocolTypeRouter, URLRouter
    from django.urls import path

    class Hall(AsyncJsonWebsocketConsumer):
        groups = ["hall"]

        async def receive_json(self, content):
            await self.channel_layer.group_send("hall", {"type": "said", "content": content})

        async def said(self, event):
            await self.send_json(event["content"])

    class Echo(AsyncJsonWebsocketConsumer):
        async def receive(self, text_data=None, bytes_data=None):
            await self.send(text_data=text_data, bytes_data=bytes_data)

    consumers = [path("channels/hall", Hall.as_asgi()), path("channels/echo", Echo.as_asgi())]
    return ProtocolTypeRouter({"websocket": URLRouter(consumers)})


def serve(place):
    import uvicorn

    applications = {"fastapi": fastapi_app(), "channels": channels_app()}

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            return
        application = applications[scope["path"].split("/")[1]]
        await application(scope, receive, send)

    class Server(uvicorn.Server):
        async def startup(self, sockets=None):
            await super().startup(sockets)
            print("ready", flush=True)

    path = place.removeprefix("unix:")
    config = uvicorn.Config(app, uds=path, lifespan="off", log_level="error", ws_max_size=1 << 24)
    Server(config).run()


async def talk(url):
    async with connect(f"{url}/fastapi/J%C3%B6rg?a=b%20c", subprotocols=["v1", "v2"]) as socket:
        assert socket.subprotocol == "v2"
        assert socket.response.headers["Set-Cookie"] == "seen=1"
        told = json.loads(await socket.recv())
        assert told == {"name": "Jörg", "address": "127.0.0.1", "query": "a=b+c"}, told
        for text in ("", "ü" * 500_000, *map(str, range(200))):
            await socket.send(text)
            assert await socket.recv() == text
        await socket.send("leave")
        try:
            await socket.recv()
        except websockets.ConnectionClosed as closed:
            assert (closed.rcvd.code, closed.rcvd.reason) == (4001, "as you like"), closed
    try:
        async with connect(f"{url}/fastapi/nobody"):
            raise AssertionError("it let nobody in")
    except websockets.InvalidStatus as refused:
        assert refused.response.status_code == 403, refused

    async with connect(f"{url}/channels/echo", max_size=None) as socket:
        for data in (b"", bytes(range(256)) * 40_000, "text"):
            await socket.send(data)
            assert await socket.recv() == data
    halls = [await connect(f"{url}/channels/hall") for _ in range(CLIENTS)]
    # The last to come has joined once it hears itself.
    for number, hall in enumerate(halls):
        await hall.send(json.dumps(number))
        while json.loads(await hall.recv()) != number:
            pass
    await halls[0].send(json.dumps({"hello": "everybody"}))
    for hall in halls:
        while json.loads(await hall.recv()) != {"hello": "everybody"}:
            pass
    await asyncio.gather(*(hall.close() for hall in halls))
    print("the applications are served")


if __name__ == "__main__":
    mode, place = sys.argv[1:3]
    if mode == "serve":
        serve(place)
    else:
        asyncio.run(talk(place))
