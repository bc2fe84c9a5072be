// A client whose backend decides: node proxies.mjs URL FOLDER PACKAGE, in front of examples/channels/backend.py.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const [url, folder, name] = process.argv.slice(2);
const load = createRequire(`${folder}/`);
const { Centrifuge } = load(name);
const websocket = load('ws');

// For an answer, and between two pings: a busy machine needs longer than people wait.
const UNHURRIED = { timeout: 60000, maxServerPingDelay: 60000 };
function client(options = {}) {
  return new Centrifuge(url, { websocket, ...UNHURRIED, minReconnectDelay: 20, ...options });
}
function event(emitter, kind) {
  return new Promise((resolve) => emitter.once(kind, resolve));
}
async function fails(promise, code, message) {
  const error = await promise.then(() => null, (error) => error);
  assert.ok(error, `nothing failed, wanted ${code}`);
  assert.equal(error.code ?? error.error?.code, code, JSON.stringify(error));
  if (message) assert.equal(error.message ?? error.error?.message, message);
}

const late = setTimeout(() => {
  console.error('not done after five minutes');
  process.exit(1);
}, 300000);

// A client without a name is refused for good, and one that is not wanted is closed.
const stranger = client();
const gone = event(stranger, 'disconnected');
stranger.connect();
assert.equal((await gone).code, 401);
const mallory = client({ data: { name: 'mallory' } });
const banned = event(mallory, 'disconnected');
mallory.connect();
const { code, reason } = await banned;
assert.deepEqual([code, reason], [4500, 'banned']);

const ann = client({ data: { name: 'ann' } });
const bob = client({ data: { name: 'bob' } });
const given = event(ann, 'subscribed');
const connected = event(ann, 'connected');
ann.connect();
bob.connect();
assert.deepEqual((await connected).data, { greeting: 'hello, ann' });
const inbox = await given;
assert.deepEqual([inbox.channel, inbox.data], ['inbox:ann', { unread: 0 }]);
await bob.ready(60000);

const room = ann.newSubscription('room:a');
const subscribed = event(room, 'subscribed');
room.subscribe();
assert.deepEqual((await subscribed).data, { topic: 'ROOM:A' });
const staff = bob.newSubscription('room:staff');
const refused = event(staff, 'unsubscribed');
staff.subscribe();
assert.equal((await refused).code, 403);

const came = event(room, 'publication');
await bob.publish('room:a', { text: ' hi ' });
const publication = await came;
assert.deepEqual(publication.data, { text: 'hi', by: 'bob' });
assert.deepEqual(publication.tags, { checked: 'yes' });
assert.equal(publication.info.user, 'bob');
await fails(bob.publish('room:a', { text: 'spam' }), 422, 'no spam, please');

assert.deepEqual((await ann.rpc('sum', [1, 2, 3])).data, 6);
assert.deepEqual((await bob.rpc('whoami', null)).data, { user: 'bob', known: true });
await fails(ann.rpc('nothing', null), 404, 'there is no nothing');
const many = [...Array(50).keys()].map((number) => ann.rpc('sum', [number, 1]));
assert.deepEqual((await Promise.all(many)).map((own) => own.data), [...Array(50).keys()].map((own) => own + 1));

ann.disconnect();
bob.disconnect();
clearTimeout(late);
console.log('ok');
