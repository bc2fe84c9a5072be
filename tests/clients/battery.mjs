// Runs the `ws` client against the gateway whose /echo the first argument names; the second is the
// folder whose node_modules holds `ws`. Exits with 0 if every check holds. The route must prefer
// `v2.echo` over `v1.echo`, and /takeover beside it take over contexts with windows of 11 bits.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import path from 'node:path';

const [url, clients] = process.argv.slice(2);
const WebSocket = createRequire(path.resolve(clients, 'package.json'))('ws');
const SIZES = [0, 1, 125, 126, 65_535, 65_536, 1 << 20];
// Without a single message, handshake or close. The checks may take as long as they need.
const PATIENCE_MS = 60_000;
const patience = setTimeout(() => {
  console.error(`no progress within ${PATIENCE_MS} ms`);
  process.exit(1);
}, PATIENCE_MS);

async function open(subprotocols = [], options = {}, at = url) {
  const client = new WebSocket(at, subprotocols, options);
  client.on('upgrade', (response) => {
    client.agreed = response.headers['sec-websocket-extensions'];
  });
  // Messages may arrive in the same tick as the event that opens the socket.
  client.received = [];
  client.on('message', (data, isBinary) => {
    patience.refresh();
    client.received.push(isBinary ? data : data.toString());
    client.emit('kept');
  });
  await once(client, 'open');
  patience.refresh();
  return client;
}

async function receive(client) {
  while (client.received.length === 0) await once(client, 'kept');
  return client.received.shift();
}

async function close(client, code = 1000) {
  const closed = once(client, 'close');
  client.close(code, 'bye');
  const [answered] = await closed;
  patience.refresh();
  assert.equal(answered, code);
}

const checks = {
  async echoes() {
    // ws offers permessage-deflate by default.
    for (const perMessageDeflate of [false, true, { threshold: 0, serverMaxWindowBits: 10 }]) {
      const client = await open([], { perMessageDeflate });
      assert.equal(client.extensions, perMessageDeflate ? 'permessage-deflate' : '');
      for (const size of SIZES) {
        const bytes = Buffer.from(Array.from({ length: size }, (_, at) => at % 251));
        const characters = 'tü張😀'.repeat(Math.floor(size / 10));
        const text = characters + 'x'.repeat(size - Buffer.byteLength(characters));
        for (const message of [bytes, text]) {
          client.send(message);
          assert.deepEqual(await receive(client), message);
        }
      }
      await close(client);
    }
  },

  async takesOverContexts() {
    const both = 'permessage-deflate; server_max_window_bits=11; client_max_window_bits=11';
    for (const [options, agreed] of [
      // The default offer.
      [{}, both],
      [{ serverMaxWindowBits: 9, clientMaxWindowBits: 10 },
        'permessage-deflate; server_max_window_bits=9; client_max_window_bits=10'],
      [{ serverNoContextTakeover: true },
        'permessage-deflate; server_no_context_takeover; client_max_window_bits=11'],
      [{ clientNoContextTakeover: true },
        'permessage-deflate; client_no_context_takeover; server_max_window_bits=11'],
    ]) {
      const perMessageDeflate = { threshold: 0, ...options };
      const client = await open([], { perMessageDeflate }, url.replace('/echo', '/takeover'));
      assert.equal(client.agreed, agreed);
      const noise = Buffer.from(Array.from({ length: 5_000 }, (_, at) => (at * at) % 251));
      for (let serial = 0; serial < 200; serial++) {
        const tick = JSON.stringify({ type: 'tick', symbol: 'EURUSD', serial });
        for (const message of [tick, tick.repeat((serial % 5) * 20), noise, '']) {
          // Uncompressed messages enter neither window.
          client.send(message, { compress: serial % 3 !== 0 });
          assert.deepEqual(await receive(client), message);
        }
        client.send(tick.slice(0, 9), { fin: false });
        client.send(tick.slice(9));
        assert.equal(await receive(client), tick);
      }
      await close(client);
    }
  },

  async echoesFragments() {
    const client = await open();
    const pieces = ['gr', 'ü', '', 'ße ', '張'.repeat(30_000)];
    pieces.forEach((piece, at) => client.send(piece, { fin: at === pieces.length - 1 }));
    assert.equal(await receive(client), pieces.join(''));
    await close(client);
  },

  async answersPings() {
    const client = await open();
    for (const payload of [Buffer.alloc(0), Buffer.from('ping'), Buffer.alloc(125, 7)]) {
      client.ping(payload);
      const [answer] = await once(client, 'pong');
      assert.deepEqual(answer, payload);
    }
    await close(client);
  },

  async echoesManyAtOnce() {
    const client = await open();
    for (let number = 0; number < 1_000; number++) client.send(`message ${number}`);
    for (let number = 0; number < 1_000; number++) {
      assert.equal(await receive(client), `message ${number}`);
    }
    await close(client);
  },

  async answersCloseCodes() {
    for (const code of [1000, 3456, 4999]) await close(await open(), code);
  },

  async refusesTooMuchWith1009() {
    const client = await open();
    const closed = once(client, 'close');
    client.send(Buffer.alloc((1 << 20) + 1));
    const [code] = await closed;
    assert.equal(code, 1009);
  },

  async choosesSubprotocols() {
    for (const [offered, chosen] of [
      [['v1.echo'], 'v1.echo'],
      [['v1.echo', 'v2.echo'], 'v2.echo'],
      [[], ''],
    ]) {
      const client = await open(offered);
      assert.equal(client.protocol, chosen);
      await close(client);
    }
  },

  async refusesForeignOrigins() {
    const client = new WebSocket(url, { origin: 'http://stranger.example' });
    const [, response] = await once(client, 'unexpected-response');
    assert.equal(response.statusCode, 403);
    const body = (await response.toArray()).join('');
    assert.match(body, /`origins`/);
  },
};

for (const [name, check] of Object.entries(checks)) {
  console.log(name);
  await check();
}
clearTimeout(patience);
