// graphql-ws of both sides through a relay: its server, and its own clients at the gateway.
//
//     node graphql.mjs serve unix:/tmp/app.sock FOLDER          (prints `ready`)
//     node graphql.mjs talk ws://127.0.0.1:8080/graphql FOLDER
//
// FOLDER is the one with `node_modules`.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { createRequire } from "node:module";

const [mode, place, folder] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const WebSocket = require("ws");

function serve() {
  const { buildSchema } = require("graphql");
  const { useServer } = require("graphql-ws/use/ws");
  const schema = buildSchema(`
    type Query { twice(text: String!): String! }
    type Subscription { count(to: Int!): Int! forever: Int! }
  `);
  const rootValue = {
    twice: ({ text }) => text + text,
    async *count({ to }) {
      for (let number = 1; number <= to; number += 1) yield { count: number };
    },
    async *forever() {
      for (let number = 1; ; number += 1) {
        await new Promise((done) => setTimeout(done, 1));
        yield { forever: number };
      }
    },
  };
  const roots = { query: rootValue, subscription: rootValue };
  const server = createServer();
  const sockets = new WebSocket.WebSocketServer({ server, path: "/graphql" });
  const onConnect = ({ connectionParams }) => connectionParams?.token !== "wrong";
  // Its own pings, which want an answer within as long as the time between two, are as far apart as by default.
  useServer({ schema, roots, onConnect }, sockets);
  server.listen(place.slice("unix:".length), () => console.log("ready"));
}

async function talk() {
  const { createClient, CloseCode } = require("graphql-ws");
  const open = (more = {}) => createClient({ url: place, webSocketImpl: WebSocket, retryAttempts: 0, ...more });
  const ask = async (client, query, variables) => {
    const results = [];
    for await (const result of client.iterate({ query, variables })) results.push(result);
    return results;
  };

  const client = open();
  const text = "ü".repeat(100_000);
  const twice = "query ($text: String!) { twice(text: $text) }";
  assert.deepEqual(await ask(client, twice, { text }), [{ data: { twice: text + text } }]);
  const counts = await Promise.all(
    Array.from({ length: 20 }, () => ask(client, "subscription { count(to: 100) }")),
  );
  for (const own of counts) {
    assert.deepEqual(own.map((result) => result.data.count), Array.from({ length: 100 }, (_, index) => index + 1));
  }
  // One that has no end is ended by its client, and its connection serves on.
  let seen = 0;
  for await (const result of client.iterate({ query: "subscription { forever }" })) {
    seen = result.data.forever;
    if (seen === 20) break;
  }
  assert.equal(seen, 20);
  const faulty = await ask(client, "{ nothing }").catch((errors) => errors);
  assert.match(faulty[0].message, /Cannot query field/);
  await client.dispose();

  // The codes that the library closes with are the backend's own.
  const closed = async (more) => {
    const refused = open(more);
    const ended = new Promise((done) => refused.on("closed", done));
    await ask(refused, "{ twice(text: \"a\") }").catch(() => undefined);
    const { code, reason } = await ended;
    return [code, reason];
  };
  assert.deepEqual(await closed({ connectionParams: { token: "wrong" } }), [CloseCode.Forbidden, "Forbidden"]);
  const socket = new WebSocket(place, ["unknown"]);
  const error = await new Promise((done) => socket.on("error", done).on("close", (code) => done(code)));
  assert.ok(error instanceof Error || error === 4406, String(error));

  // Pings of the protocol itself, asked for by the client.
  const pongs = [];
  const alive = open({ lazy: false, keepAlive: 20, onNonLazyError: () => undefined });
  await new Promise((done) => alive.on("pong", (received) => received && pongs.push(1) === 3 && done()));
  await alive.dispose();
  console.log("graphql-ws is served");
  process.exit(0);
}

await (mode === "serve" ? serve() : talk());
