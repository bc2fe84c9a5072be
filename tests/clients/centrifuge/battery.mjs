// A client of channels by its own features: node battery.mjs URL FOLDER PACKAGE SECRET FORMAT API KEY, where the
// folder holds node_modules, the package is the version to load, the secret signs tokens (HS256), the format is
// json or protobuf, and API with KEY is the HTTP API for backends.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { createRequire } from 'node:module';

const [url, folder, name, secret, format, api, key] = process.argv.slice(2);
const load = createRequire(`${folder}/`);
const speaksProtobuf = format === 'protobuf';
const { Centrifuge, UnauthorizedError } = load(speaksProtobuf ? `${name}/build/protobuf` : name);
// What is published: of Protobuf the bytes of the same JSON.
const pack = (value) => (speaksProtobuf ? new TextEncoder().encode(JSON.stringify(value)) : value);
const unpack = (data) => (speaksProtobuf ? JSON.parse(new TextDecoder().decode(data)) : data);
const websocket = load('ws');

const base64 = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
function token(claims) {
  const signed = `${base64({ alg: 'HS256', typ: 'JWT' })}.${base64(claims)}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}
// The older version gives the offsets of Protobuf as objects.
const offset = (one) => Number(one.offset);
const now = () => Math.floor(Date.now() / 1000);

// For an answer, and between two pings: a busy machine needs longer than people wait.
const UNHURRIED = { timeout: 60000, maxServerPingDelay: 60000 };
const open = [];
function client(options = {}) {
  const own = new Centrifuge(url, { websocket, ...UNHURRIED, minReconnectDelay: 20, ...options });
  open.push(own);
  return own;
}
function user(sub, more = {}) {
  return client({ token: token({ sub, exp: now() + 600, ...more }) });
}
function event(emitter, kind, fits = () => true) {
  return new Promise((resolve) => {
    const listener = (context) => {
      if (fits(context)) {
        emitter.off(kind, listener);
        resolve(context);
      }
    };
    emitter.on(kind, listener);
  });
}
// What a backend asks for.
async function call(method, body) {
  const headers = { 'X-API-Key': key };
  const reply = await (await fetch(`${api}/${method}`, { method: 'POST', headers, body: JSON.stringify(body) })).json();
  assert.equal(reply.error, undefined, JSON.stringify(reply));
  return reply.result;
}
async function connected(own) {
  own.connect();
  await own.ready(60000);
  return own;
}
async function subscribed(own, channel, options = {}) {
  const subscription = own.newSubscription(channel, options);
  const done = event(subscription, 'subscribed');
  subscription.subscribe();
  return [subscription, await done];
}
// Collects what comes until there is as much of it as wanted.
function collected(subscription) {
  const all = [];
  const waiting = [];
  subscription.on('publication', (context) => {
    all.push(context);
    for (const one of waiting) one();
  });
  return (count) => new Promise((resolve) => {
    const look = () => all.length >= count && resolve(all);
    waiting.push(look);
    look();
  });
}
// Ends the socket below a client, as a network does.
function cut(own) {
  own._transport._transport.terminate();
}

const tests = {
  async 'publications come with offset and publisher'() {
    const ann = await connected(user('ann', { info: { name: 'Ann' } }));
    const bob = await connected(user('bob'));
    const [, context] = await subscribed(bob, 'kept:a');
    assert.equal(context.recoverable, true);
    const [own] = await subscribed(ann, 'kept:a');
    const got = collected(bob.getSubscription('kept:a'));
    const published = [];
    for (let number = 1; number <= 200; number += 1) published.push(own.publish(pack({ number })));
    await Promise.all(published);
    const all = await got(200);
    assert.deepEqual(all.map((one) => unpack(one.data).number), all.map((_, index) => index + 1));
    const offsets = all.map(offset);
    assert.deepEqual(offsets, offsets.map((_, index) => offsets[0] + index));
    assert.equal(all[0].info.user, 'ann');
    assert.deepEqual(unpack(all[0].info.connInfo), { name: 'Ann' });
  },

  async 'what was missed is recovered after a cut'() {
    const [ann, bob] = [await connected(user('ann')), await connected(user('bob'))];
    const [own] = await subscribed(bob, 'kept:cut');
    const [publisher] = await subscribed(ann, 'kept:cut');
    const got = collected(own);
    await publisher.publish(pack(0));
    await got(1);
    const again = event(own, 'subscribed');
    cut(bob);
    for (let number = 1; number <= 50; number += 1) await publisher.publish(pack(number));
    const context = await again;
    assert.deepEqual([context.wasRecovering, context.recovered], [true, true]);
    await publisher.publish(pack(51));
    const all = await got(52);
    assert.deepEqual(all.map((one) => unpack(one.data)), [...Array(52).keys()]);
  },

  async 'what is gone is told to be lost'() {
    const [ann, bob] = [await connected(user('ann')), await connected(user('bob'))];
    const [own] = await subscribed(bob, 'short:x');
    const again = event(own, 'subscribed');
    cut(bob);
    for (let number = 0; number < 5; number += 1) await ann.publish('short:x', pack(number));
    const context = await again;
    // The cut may have been mended before the third of them.
    if (context.wasRecovering && !context.recovered) assert.equal(context.hasRecoveredPublications, false);
  },

  async 'history is paged in both directions'() {
    const ann = await connected(user('ann'));
    // Of its own, for a gateway that several runs have used.
    const channel = `kept:pages-${process.pid}`;
    for (let number = 1; number <= 9; number += 1) await ann.publish(channel, pack(number));
    const first = await ann.history(channel, { limit: 4 });
    assert.deepEqual(first.publications.map((one) => unpack(one.data)), [1, 2, 3, 4]);
    const since = { offset: first.publications[3].offset, epoch: first.epoch };
    const second = await ann.history(channel, { limit: 4, since });
    assert.deepEqual(second.publications.map((one) => unpack(one.data)), [5, 6, 7, 8]);
    const last = await ann.history(channel, { limit: 2, reverse: true });
    assert.deepEqual(last.publications.map((one) => unpack(one.data)), [9, 8]);
    const top = await ann.history(channel, { limit: 0 });
    assert.deepEqual([top.publications.length, offset(top)], [0, 9]);
    await assert.rejects(ann.history(channel, { limit: 1, since: { offset: 1, epoch: 'x' } }), { code: 112 });
  },

  async 'presence, joins and leaves'() {
    const [ann, bob] = [await connected(user('ann')), await connected(user('bob'))];
    const [own] = await subscribed(ann, 'told:x', { joinLeave: true });
    const join = event(own, 'join', (context) => context.info.user === 'bob');
    const [other] = await subscribed(bob, 'told:x');
    await join;
    const presence = await own.presence();
    assert.deepEqual(Object.values(presence.clients).map((one) => one.user).sort(), ['ann', 'bob']);
    assert.deepEqual(await own.presenceStats(), { numClients: 2, numUsers: 2 });
    const leave = event(own, 'leave', (context) => context.info.user === 'bob');
    other.unsubscribe();
    await leave;
    assert.deepEqual(await own.presenceStats(), { numClients: 1, numUsers: 1 });
  },

  async 'errors have their codes'() {
    const ann = await connected(user('ann'));
    await assert.rejects(ann.publish('closed:x', pack(1)), { code: 103 });
    await assert.rejects(ann.publish('nowhere:x', pack(1)), { code: 102 });
    await assert.rejects(ann.presence('kept:x'), { code: 108 });
    await assert.rejects(ann.rpc('x', pack({})), { code: 108 });
    for (const [channel, code] of [['closed:x', 103], ['nowhere:x', 102], ['$private', 103]]) {
      const own = ann.newSubscription(channel);
      const over = event(own, 'unsubscribed');
      own.subscribe();
      assert.equal((await over).code, code);
    }
    const over = event(ann, 'disconnected');
    ann.send(pack({}));
    assert.equal((await over).code, 3508);
  },

  async 'tokens of channels let in and are renewed'() {
    const ann = await connected(user('ann'));
    let asked = 0;
    const own = ann.newSubscription('$private', {
      getToken: async ({ channel }) => {
        asked += 1;
        return token({ sub: 'ann', channel, exp: now() + 2, info: { role: 'x' } });
      },
    });
    const done = event(own, 'subscribed');
    own.subscribe();
    await done;
    const got = collected(own);
    await own.publish(pack('first'));
    assert.deepEqual(unpack((await got(1))[0].info.chanInfo), { role: 'x' });
    while (asked < 2) await new Promise((resolve) => setTimeout(resolve, 50));
    await own.publish(pack('second'));
    await got(2);
    const wrong = ann.newSubscription('$other', {
      getToken: async () => token({ sub: 'bob', channel: '$other', exp: now() + 600 }),
    });
    const over = event(ann, 'disconnected');
    wrong.subscribe();
    assert.equal((await over).code, 3500);
  },

  async 'tokens of connections are renewed, refused and asked for anew'() {
    let asked = 0;
    const getToken = async () => {
      asked += 1;
      return token({ sub: 'ann', exp: now() + (asked === 1 ? 2 : 60) });
    };
    const ann = client({ getToken });
    await connected(ann);
    while (asked < 2) await new Promise((resolve) => setTimeout(resolve, 50));
    await ann.publish('kept:renewed', pack(1));

    const expired = client({ token: token({ sub: 'ann', exp: now() - 5 }), getToken: async () => token({ sub: 'ann' , exp: now() + 600 }) });
    const error = event(expired, 'error');
    await connected(expired);
    assert.equal((await error).error.code, 109);

    const forged = client({ token: `${token({ sub: 'ann', exp: now() + 600 })}x` });
    const over = event(forged, 'disconnected');
    forged.connect();
    assert.equal((await over).code, 3500);

    const refused = client({ getToken: async () => { throw new UnauthorizedError('no'); } });
    const gone = event(refused, 'disconnected');
    refused.connect();
    assert.equal((await gone).code, 1);
  },

  async 'the server subscribes by a token, and recovers after a cut'() {
    const publish = (data) => call('publish', { channel: 'kept:served', data });
    const subs = { 'told:served': { info: { role: 'x' }, data: { hello: 1 } } };
    const ann = user('served', { channels: ['kept:served'], subs });
    const got = collected(ann);
    const first = event(ann, 'subscribed', (own) => own.channel === 'kept:served');
    const told = event(ann, 'subscribed', (own) => own.channel === 'told:served');
    await connected(ann);
    assert.equal((await first).recoverable, true);
    assert.deepEqual(unpack((await told).data), { hello: 1 });
    const { presence } = await call('presence', { channel: 'told:served' });
    assert.deepEqual(Object.values(presence).map((one) => [one.user, one.chan_info]), [['served', { role: 'x' }]]);
    await publish(0);
    await got(1);
    const again = event(ann, 'subscribed', (own) => own.channel === 'kept:served');
    cut(ann);
    for (let number = 1; number <= 20; number += 1) await publish(number);
    const context = await again;
    assert.deepEqual([context.wasRecovering, context.recovered], [true, true]);
    await publish(21);
    const all = await got(22);
    assert.deepEqual(all.map((one) => unpack(one.data)), [...Array(22).keys()]);
    assert.equal(all[5].channel, 'kept:served');
  },

  async 'a backend subscribes, unsubscribes, renews and disconnects'() {
    const ann = await connected(user('moved'));
    const got = collected(ann);
    const { offset, epoch } = await call('publish', { channel: 'kept:moved', data: 0 });
    await call('publish', { channel: 'kept:moved', data: 1 });
    const subscribedByServer = event(ann, 'subscribed');
    await call('subscribe', {
      user: 'moved', channel: 'kept:moved', recover_since: { offset, epoch }, data: 7,
    });
    const context = await subscribedByServer;
    assert.deepEqual([context.channel, unpack(context.data)], ['kept:moved', 7]);
    await call('publish', { channel: 'kept:moved', data: 2 });
    assert.deepEqual((await got(2)).map((one) => unpack(one.data)), [1, 2]);
    await call('refresh', { user: 'moved', expire_at: now() + 600, info: { x: 1 } });
    const over = event(ann, 'unsubscribed');
    await call('unsubscribe', { user: 'moved', channel: 'kept:moved' });
    assert.equal((await over).channel, 'kept:moved');
    const other = await connected(user('moved'));
    const keeps = (await call('presence_stats', { channel: 'told:none' })).num_clients;
    assert.equal(keeps, 0);
    let gone = event(ann, 'disconnected');
    await call('disconnect', {
      user: 'moved', whitelist: [other._client], disconnect: { code: 4600, reason: 'moved away' },
    });
    const end = await gone;
    assert.deepEqual([end.code, end.reason], [4600, 'moved away']);
    assert.equal(other.state, 'connected');
    gone = event(other, 'connecting');
    await call('refresh', { user: 'moved', expired: true });
    assert.equal((await gone).code, 3005);
  },

  async 'a token without a user is anonymous'() {
    const ann = await connected(client({ token: token({ exp: now() + 600 }) }));
    await assert.rejects(ann.publish('kept:x', pack(1)), { code: 103 });
  },

  async 'pings keep a quiet connection'() {
    const ann = await connected(user('ann'));
    let connects = 0;
    ann.on('connecting', () => { connects += 1; });
    await new Promise((resolve) => setTimeout(resolve, 6000));
    assert.equal(connects, 0);
    assert.equal(ann.state, 'connected');
  },

  async 'clients of both formats share a channel'() {
    const channel = `kept:both-${process.pid}`;
    const other = load(speaksProtobuf ? name : `${name}/build/protobuf`).Centrifuge;
    const bob = await connected(new other(url, { websocket, ...UNHURRIED, token: token({ sub: 'bob', exp: now() + 600 }) }));
    open.push(bob);
    const ann = await connected(user('ann'));
    const [[own], [others]] = [await subscribed(ann, channel), await subscribed(bob, channel)];
    const [got, gotByOthers] = [collected(own), collected(others)];
    const text = new TextEncoder();
    await own.publish(pack({ from: 'ann' }));
    await others.publish(speaksProtobuf ? { from: 'bob' } : text.encode('{"from":\n"bob"}'));
    const readable = (data) => (data instanceof Uint8Array ? JSON.parse(new TextDecoder().decode(data)) : data);
    for (const all of [await got(2), await gotByOthers(2)]) {
      assert.deepEqual(all.map((one) => readable(one.data).from), ['ann', 'bob']);
      assert.deepEqual(all.map(offset), [1, 2]);
    }
    // What is not JSON reaches the one, and ends the connection of the other.
    const [whoSpeaks, who] = speaksProtobuf ? [own, bob] : [others, ann];
    const over = event(who, 'disconnected');
    await whoSpeaks.publish(new Uint8Array([0, 255]));
    const three = await (speaksProtobuf ? got : gotByOthers)(3);
    assert.deepEqual([...three[2].data], [0, 255]);
    assert.equal((await over).code, 3506);
  },

  async 'many subscriptions in one frame, and batches'() {
    const ann = user('ann');
    const all = [];
    for (let number = 0; number < 40; number += 1) {
      const own = ann.newSubscription(`kept:many-${number}`);
      all.push(event(own, 'subscribed'));
      own.subscribe();
    }
    await connected(ann);
    await Promise.all(all);
    ann.startBatching();
    const published = Promise.all([...Array(40).keys()].map((number) => ann.publish(`kept:many-${number}`, pack(number))));
    ann.stopBatching();
    await published;
  },
};

const late = setTimeout(() => {
  console.error('not done after five minutes');
  process.exit(1);
}, 300000);
for (const [what, run] of Object.entries(tests)) {
  try {
    await run();
    console.log(`ok: ${what}`);
  } catch (error) {
    console.error(`failed: ${what}: ${error?.stack ?? JSON.stringify(error)}`);
    process.exitCode = 1;
  }
  for (const own of open.splice(0)) own.disconnect();
}
clearTimeout(late);
