"""A backend of FastAPI for a relay: it echoes, and says who its clients are.

    python3 fastapi_app.py unix:/tmp/app.sock          (or a port of 127.0.0.1)

Needs the packages `fastapi`, `uvicorn` and `websockets`. It logs nothing and ends with SIGTERM.
"""

import sys

import uvicorn
from fastapi import FastAPI, Header, WebSocket, WebSocketDisconnect
from fastapi.responses import PlainTextResponse

app = FastAPI()


@app.websocket("/app/members")
async def members(socket: WebSocket, x_key: str = Header("")):
    """Clients without a key are refused, as the gateway's clients are to see."""
    if x_key == "secret":
        await echo(socket)
    else:
        await socket.send_denial_response(PlainTextResponse("a key is needed\n", 401))


@app.websocket("/app/{name}")
async def echo(socket: WebSocket):
    await socket.accept()
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text, data = message.get("text"), message.get("bytes")
            if text == "who":
                await socket.send_text(socket.headers["X-Forwarded-For"])
            elif text is not None:
                await socket.send_text(text)
            else:
                await socket.send_bytes(data)
    except WebSocketDisconnect:
        pass


class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        print("ready", flush=True)


if __name__ == "__main__":
    place = sys.argv[1]
    listens = {"uds": place.removeprefix("unix:")} if place.startswith("unix:") else {"port": int(place)}
    Server(uvicorn.Config(app, log_level="error", lifespan="off", **listens)).run()
