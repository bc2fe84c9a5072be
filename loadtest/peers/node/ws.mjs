// An echo server on Node.js and the ws library, as its documentation shows. With --deflate it
// compresses, without context takeover.
import { readFileSync } from "node:fs";
import { WebSocketServer } from "ws";

if (process.argv.includes("--version")) {
  const manifest = new URL("node_modules/ws/package.json", import.meta.url);
  const { version } = JSON.parse(readFileSync(manifest, "utf8"));
  console.log(`Node ${process.versions.node}, ws ${version}`);
  process.exit(0);
}

const [host, port] = process.argv[process.argv.indexOf("--listen") + 1].split(":");
const perMessageDeflate = process.argv.includes("--deflate") && {
  clientNoContextTakeover: true,
  serverNoContextTakeover: true,
};
const server = new WebSocketServer({ host, port: Number(port), perMessageDeflate });
server.on("connection", (socket) => {
  socket.on("error", console.error);
  // The library answers pings and the closing handshake.
  socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
});
