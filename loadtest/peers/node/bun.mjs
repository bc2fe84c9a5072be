// An echo server on Bun, whose WebSockets are those of uWebSockets, as its documentation shows;
// with a broadcast to all who are connected to /broadcast. With --deflate it compresses, each message
// on its own.
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
    // Pings and the closing handshake are answered by Bun.
    message(socket, data) {
      if (socket.data.isBroadcast) {
        // Unlike the socket's own, it includes the sender.
        server.publish(ALL, data, deflate);
      } else {
        socket.send(data, deflate);
      }
    },
  },
});
