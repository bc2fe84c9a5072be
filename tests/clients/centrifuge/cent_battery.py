"""What backends ask with the library cent: cent_battery.py URL KEY. Fails where a result is another."""

import sys

import cent
from cent import (
    BatchRequest,
    BroadcastRequest,
    ChannelsRequest,
    Client,
    Disconnect,
    DisconnectRequest,
    HistoryRemoveRequest,
    HistoryRequest,
    InfoRequest,
    PresenceRequest,
    PresenceStatsRequest,
    PublishRequest,
    RefreshRequest,
    StreamPosition,
    SubscribeRequest,
    UnsubscribeRequest,
)

URL, KEY = sys.argv[1:3]
client = Client(URL, KEY)

# Without history there is no position.
assert client.publish(PublishRequest(channel="plain", data={"a": 1})).offset == 0
first = client.publish(PublishRequest(channel="kept:api", data={"number": 1}, tags={"k": "v"}))
assert first.offset == 1 and len(first.epoch) == 8, first
again = [
    client.publish(PublishRequest(channel="kept:api", data=2, idempotency_key="x")).offset
    for _ in range(2)
]
assert again == [2, 2], again

both = client.broadcast(BroadcastRequest(channels=["kept:api", "nowhere:x"], data=3))
assert both.responses[0].result.offset == 3, both
assert both.responses[1].error.code == 102, both

history = client.history(HistoryRequest(channel="kept:api", limit=-1))
assert [one.data for one in history.publications] == [{"number": 1}, 2, 3], history
assert history.offset == 3 and history.publications[0].tags == {"k": "v"}, history
since = StreamPosition(offset=2, epoch=history.epoch)
page = client.history(HistoryRequest(channel="kept:api", limit=1, since=since))
assert [one.offset for one in page.publications] == [3], page
reverse = client.history(HistoryRequest(channel="kept:api", limit=2, reverse=True))
assert [one.offset for one in reverse.publications] == [3, 2], reverse
client.history_remove(HistoryRemoveRequest(channel="kept:api"))
history = client.history(HistoryRequest(channel="kept:api", limit=-1))
assert history.publications == [] and history.offset == 3, history

assert client.presence(PresenceRequest(channel="told:api")).presence == {}
stats = client.presence_stats(PresenceStatsRequest(channel="told:api"))
assert (stats.num_clients, stats.num_users) == (0, 0), stats
assert client.channels(ChannelsRequest(pattern="*")).channels == {}
info = client.info(InfoRequest())
assert info.nodes[0].name == "tidegate" and info.nodes[0].num_clients == 0, info
client.unsubscribe(UnsubscribeRequest(user="ann", channel="plain"))
close = Disconnect(code=4500, reason="gone")
client.disconnect(DisconnectRequest(user="ann", whitelist=["x"], disconnect=close))
position = StreamPosition(offset=1, epoch=first.epoch)
client.subscribe(
    SubscribeRequest(user="ann", channel="kept:api", info={"a": 1}, recover_since=position)
)
client.refresh(RefreshRequest(user="ann", expire_at=4_000_000_000))
client.refresh(RefreshRequest(user="ann", client="x", session="y", expired=True))

for request, code in [
    (PublishRequest(channel="nowhere:x", data=1), 102),
    (PublishRequest(channel="", data=1), 107),
    (SubscribeRequest(user="ann", channel="nowhere:x"), 102),
    (PresenceRequest(channel="plain"), 108),
    (HistoryRequest(channel="plain", limit=1), 108),
]:
    try:
        call = {
            PublishRequest: client.publish,
            PresenceRequest: client.presence,
            SubscribeRequest: client.subscribe,
        }
        call.get(type(request), client.history)(request)
        raise AssertionError(f"{request} should fail")
    except cent.CentApiResponseError as error:
        assert error.code == code, error

batch = client.batch(
    BatchRequest(
        requests=[
            PublishRequest(channel="kept:api", data=4),
            HistoryRequest(channel="kept:api", limit=-1),
        ]
    )
)
assert len(batch.replies) == 2, batch

try:
    Client(URL, "another key").info(InfoRequest())
    raise AssertionError("another key should fail")
except cent.CentUnauthorizedError:
    pass
print("ok")
