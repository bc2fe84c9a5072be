// An echo server on Bun, whose WebSockets are those of uWebSockets, as its documentation shows.
if (process.argv.includes("--version")) {
  console.log(`Bun ${Bun.version}`);
  process.exit(0);
}

const [hostname, port] = process.argv[process.argv.indexOf("--listen") + 1].split(":");
Bun.serve({
  hostname,
  port: Number(port),
  fetch(request, server) {
    if (!server.upgrade(request)) {
      return new Response("expected a WebSocket", { status: 400 });
    }
  },
  websocket: {
    // Pings and the closing handshake are answered by Bun.
    message(socket, data) {
      socket.send(data);
    },
  },
});
