"""Publishes by gripcontrol and pubcontrol in every form in which they do.

    grip_publish.py URL KEY     URL is that of the listener for backends
"""

import sys
import threading

from gripcontrol import GripPubControl, WebSocketMessageFormat, parse_grip_uri
from pubcontrol import Format, Item, PubControlClient

URL, KEY = sys.argv[1:]


class Raw(Format):
    """A format as it is."""

    def __init__(self, **exported):
        self.exported = exported

    def name(self):
        return "ws-message"

    def export(self):
        return self.exported


def text(content):
    return WebSocketMessageFormat(content)


by_token = GripPubControl(parse_grip_uri(f"{URL}?iss=app&key={KEY}"))
by_key = PubControlClient(URL, auth_bearer=KEY)

# In a request of its own, signed anew.
by_token.publish("room", Item(text("by token")), blocking=True)
by_key.publish("room", Item(text("by key")), blocking=True)
by_key.publish("room", Item(WebSocketMessageFormat(b"\x01\x02", binary=True)), blocking=True)
# Of a thread, several in one request.
done = threading.Semaphore(0)
results = []


def called(result, message):
    results.append((result, message))
    done.release()


for number in range(3):
    by_token.publish("room", Item(text(f"later {number}")), callback=called)
for _ in range(3):
    assert done.acquire(timeout=30)
assert [is_done for is_done, _ in results] == [True] * 3, results
# Twice, and in the wrong order.
for id, prev_id in [("1", None), ("1", None), ("3", "2"), ("2", "1")]:
    by_key.publish("room", Item(text(f"id {id}"), id=id, prev_id=prev_id), blocking=True)
by_key.publish("room", Item(Raw(content="p", type="ping")), blocking=True)
by_key.publish("room", Item(text("not for ann"), meta={"sender": "ann"}), blocking=True)
by_key.publish("nobody", Item(text("for nobody")), blocking=True)
try:
    PubControlClient(URL, auth_bearer=KEY + "x").publish("room", Item(text("no")), blocking=True)
except ValueError as error:
    assert "401" in str(error), error
else:
    raise AssertionError("published without a right key")
close = WebSocketMessageFormat(action="close", code=4001, reason="over")
by_key.publish("room", Item(close), blocking=True)
print("done")
