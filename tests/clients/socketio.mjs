// Socket.IO of both sides through a relay, by WebSocket alone: its server, and clients at the gateway.
//
//     node socketio.mjs serve unix:/tmp/app.sock FOLDER          (prints `ready`)
//     node socketio.mjs talk http://127.0.0.1:8080 FOLDER
//
// FOLDER is the one with `node_modules`. The gateway's route is `/socket.io/*`.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { once } from "node:events";

const [mode, place, folder] = process.argv.slice(2);
const require = createRequire(`${folder}/`);

function serve() {
  const { Server } = require("socket.io");
  const server = createServer();
  const sockets = new Server(server, { transports: ["websocket"], pingInterval: 300, pingTimeout: 5000 });
  sockets.use((socket, next) => next(socket.handshake.auth.token === "wrong" ? new Error("no") : undefined));
  sockets.on("connection", (socket) => {
    socket.emit("address", socket.handshake.headers["x-forwarded-for"]);
    socket.on("echo", (...items) => items.pop()(...items));
    socket.on("join", async (room, done) => {
      await socket.join(room);
      done();
    });
    socket.on("say", (room, message) => sockets.to(room).emit("said", message));
    socket.on("leave", () => socket.disconnect(true));
  });
  sockets.of("/other").on("connection", (socket) => socket.emit("name", socket.nsp.name));
  server.listen(place.slice("unix:".length), () => console.log("ready"));
}

async function talk() {
  const { io } = require("socket.io-client");
  const open = (path = "", options = {}) =>
    io(place + path, { transports: ["websocket"], forceNew: true, reconnectionDelay: 10, ...options });

  const clients = Array.from({ length: 20 }, () => open());
  const addresses = await Promise.all(clients.map((client) => once(client, "address")));
  assert.deepEqual(new Set(addresses.flat()), new Set(["127.0.0.1"]));

  const [first] = clients;
  const items = [1, "zwei", { three: [3] }, Buffer.alloc(200_000, 7)];
  const whole = await new Promise((done) => first.emit("echo", ...items, (...all) => done(all)));
  assert.deepEqual(whole, items);
  const long = "é".repeat(400_000);
  assert.equal(await first.emitWithAck("echo", long), long);

  await Promise.all(clients.map((client) => client.emitWithAck("join", "hall")));
  const heard = clients.map((client) => once(client, "said"));
  first.emit("say", "hall", "hello");
  assert.deepEqual(await Promise.all(heard), clients.map(() => ["hello"]));

  // Heartbeats of its own go both ways.
  for (let count = 0; count < 3; count += 1) await once(first.io, "ping");

  const [name] = await once(open("/other"), "name");
  assert.equal(name, "/other");
  const [error] = await once(open("", { auth: { token: "wrong" } }), "connect_error");
  assert.equal(error.message, "no");

  // Ended by the server, by the client, and by neither, after which it comes back by itself.
  const ended = once(first, "disconnect");
  first.emit("leave");
  assert.equal((await ended)[0], "io server disconnect");
  const left = once(clients[1], "disconnect");
  clients[1].disconnect();
  assert.equal((await left)[0], "io client disconnect");
  const cut = clients[2];
  const back = once(cut.io, "reconnect");
  cut.io.engine.transport.ws._socket.destroy();
  await back;
  assert.equal(await cut.emitWithAck("echo", "again"), "again");
  console.log("socket.io is served");
  process.exit(0);
}

await (mode === "serve" ? serve() : talk());
