"""A chat room by Django and django-grip, in one file: the gateway holds the WebSockets, and Django answers
requests.

    python3 -m pip install django django-grip
    python3 examples/django-grip/app.py [PORT]

Behind examples/django-grip/tidegate.toml. The key in it and in GRIP_URL is the same: by it the gateway
signs what it sends here, and this publishes.
"""

import os
import sys
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import django
from django.conf import settings

GRIP_URL = os.environ.get("GRIP_URL", "http://127.0.0.1:8000?iss=chat&key=replace-this-key")

settings.configure(
    ALLOWED_HOSTS=["*"],
    GRIP_URL=GRIP_URL,
    MIDDLEWARE=["django_grip.GripMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="not used here",
)
django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpResponseForbidden  # noqa: E402
from django.urls import path  # noqa: E402
from django_grip import publish, websocket_only  # noqa: E402
from gripcontrol import WebSocketMessageFormat, websocket_control_message  # noqa: E402


@websocket_only
def chat(request, room):
    if not request.grip.signed:
        return HttpResponseForbidden("only by the gateway\n")
    ws = request.wscontext
    if ws.is_opening():
        ws.accept()
        ws.meta["name"] = request.GET.get("name", "somebody")
        name = ws.meta["name"]
        # Who writes a message does not get it back.
        ws.send_control(websocket_control_message("set-meta", {"name": "user", "value": name}))
        subscription = {"channel": room, "filters": ["skip-self"]}
        ws.send_control(websocket_control_message("subscribe", subscription))
        ws.send(f"welcome to {room}, {name}")
    name = ws.meta["name"]
    try:
        while ws.can_recv():
            text = ws.recv()
            if text is None:
                ws.close(ws.close_code)
                say(room, name, "has left")
                break
            if text == "/quit":
                ws.close(1000)
            elif text == "/quiet":
                ws.send("you are not heard any more")
                ws.detach()
            else:
                say(room, name, text)
    except OSError:
        say(room, name, "is gone")


def say(room, name, text):
    publish(room, WebSocketMessageFormat(f"{name}: {text}"), meta={"sender": name}, blocking=True)


urlpatterns = [path("chat/<str:room>", chat)]


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Handler(WSGIRequestHandler):
    def log_message(self, *_):
        pass


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 9001
    application = get_wsgi_application()
    server = make_server("127.0.0.1", port, application, server_class=Server, handler_class=Handler)
    print("ready", server.server_port, flush=True)
    server.serve_forever()
