// An echo server on Bun, whose WebSockets are those of uWebSockets, as its documentation shows. A
// message to /broadcast goes to all connections to /broadcast. With --deflate the server compresses,
// without context takeover; with --certificate and --key it speaks TLS.
if (process.argv.includes("--version")) {
  console.log(`Bun ${Bun.version}`);
  process.exit(0);
}

const ALL = "all";
const deflate = process.argv.includes("--deflate");
const option = (name) => {
  const index = process.argv.indexOf(name);
  return index < 0 ? undefined : process.argv[index + 1];
};
const [hostname, port] = option("--listen").split(":");
const certificate = option("--certificate");
const server = Bun.serve({
  hostname,
  port: Number(port),
  tls: certificate && { cert: Bun.file(certificate), key: Bun.file(option("--key")) },
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
