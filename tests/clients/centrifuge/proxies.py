"""A client whose backend decides: proxies.py URL, in front of examples/channels/backend.py."""

import asyncio
import sys

from centrifuge import CentrifugeError, Client, SubscriptionEventHandler

URL = sys.argv[1]


class Collector(SubscriptionEventHandler):
    def __init__(self):
        self.publications = asyncio.Queue()

    async def on_publication(self, ctx):
        await self.publications.put(ctx.pub)


async def fails(awaitable, code):
    try:
        await awaitable
    except CentrifugeError as error:
        assert getattr(error, "code", code) == code, error
        return
    raise AssertionError(f"nothing failed, wanted {code}")


async def main():
    # A busy machine needs longer for an answer than people wait.
    unhurried = {"timeout": 60.0, "max_server_ping_delay": 60.0}
    ann = Client(URL, data={"name": "ann"}, **unhurried)
    bob = Client(URL, data={"name": "bob"}, **unhurried)
    await asyncio.gather(ann.connect(), bob.connect())
    await asyncio.gather(ann.ready(timeout=60), bob.ready(timeout=60))
    collector = Collector()
    room = ann.new_subscription("room:python", events=collector)
    await room.subscribe()
    await room.ready(timeout=60)
    await bob.publish("room:python", {"text": " hi "})
    got = await asyncio.wait_for(collector.publications.get(), 60)
    assert got.data == {"text": "hi", "by": "bob"}, got
    await fails(bob.publish("room:python", {"text": "spam"}), 422)
    assert (await ann.rpc("sum", [1, 2, 3])).data == 6
    assert (await bob.rpc("whoami", None)).data == {"user": "bob", "known": True}
    await fails(ann.rpc("nothing", None), 404)
    await asyncio.gather(ann.disconnect(), bob.disconnect())
    print("ok")


asyncio.run(asyncio.wait_for(main(), 300))
