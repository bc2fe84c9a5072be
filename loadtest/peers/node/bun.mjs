// An echo server on Bun, whose WebSockets are those of uWebSockets, as its documentation shows. A
// message to /broadcast goes to all connections to /broadcast. With --deflate the server compresses,
// without context takeover.
if (process.argv.includes("--version")) {
  console.log(`Bun ${Bun.version}`);
  process.exit(0);
}

const ALL = "all";
const deflate = process.argv.includes("--deflate");
const [hostname, port] = process.argv[process.argv.indexOf("--listen") + 1].split(":");
const server = Bun.serve({
  hostname,
  port: Number(port),
  fetch(request, server) {
    const isBroadcast = new URL(request.url).pathname === "/broadcast";
    if (!server.upgrade(request, { data: { isBroadcast } })) {
      return new Response("expected a WebSocket", { status: 400 });
    }
  },
  websocket: {
    perMessageDeflate: deflate && { compress: "shared", decompress: "shared" },
    open(socket) {
      if (socket.data.isBroadcast) {
        socket.subscribe(ALL);
      }
    },
    // Bun answers pings and the closing handshake.
    message(socket, data) {
      if (socket.data.isBroadcast) {
        // Unlike socket.publish, it includes the sender.
        server.publish(ALL, data, deflate);
      } else {
        socket.send(data, deflate);
      }
    },
  },
});
