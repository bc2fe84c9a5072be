// An echo server on Node.js and the ws library, as its documentation shows. With --deflate it
// compresses, without context takeover; with --certificate and --key it speaks TLS.
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import { WebSocketServer } from "ws";

if (process.argv.includes("--version")) {
  const manifest = new URL("node_modules/ws/package.json", import.meta.url);
  const { version } = JSON.parse(readFileSync(manifest, "utf8"));
  console.log(`Node ${process.versions.node}, ws ${version}`);
  process.exit(0);
}

const option = (name) => {
  const index = process.argv.indexOf(name);
  return index < 0 ? undefined : process.argv[index + 1];
};
const [host, port] = option("--listen").split(":");
const perMessageDeflate = process.argv.includes("--deflate") && {
  clientNoContextTakeover: true,
  serverNoContextTakeover: true,
};
const certificate = option("--certificate");
const secure =
  certificate && createServer({ cert: readFileSync(certificate), key: readFileSync(option("--key")) });
const server = new WebSocketServer({
  perMessageDeflate,
  ...(secure ? { server: secure } : { host, port: Number(port) }),
});
secure?.listen(Number(port), host);
server.on("connection", (socket) => {
  socket.on("error", console.error);
  // The library answers pings and the closing handshake.
  socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
});
