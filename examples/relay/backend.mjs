// A WebSocket backend for a relay, with the package `ws`: it echoes, and says who its clients are.
//
//     node backend.mjs unix:/tmp/app.sock          (or a port of 127.0.0.1)
//
// The second argument, if there is one, is the folder with `node_modules`.

import { createRequire } from "node:module";
import { createServer } from "node:http";

const [place, folder = process.cwd()] = process.argv.slice(2);
const { WebSocketServer } = createRequire(`${folder}/`)("ws");

const server = createServer((_, response) => response.writeHead(404).end("no WebSocket\n"));
const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: true });

server.on("upgrade", (request, socket, head) => {
  if (request.url.endsWith("/members") && request.headers["x-key"] !== "secret") {
    const body = "a key is needed\n";
    socket.end(`HTTP/1.1 401 Unauthorized\r\nContent-Type: text/plain\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    return;
  }
  sockets.handleUpgrade(request, socket, head, (connection) => {
    connection.on("message", (data, isBinary) => {
      const isQuestion = !isBinary && data.toString() === "who";
      connection.send(isQuestion ? request.headers["x-forwarded-for"] : data, { binary: isBinary });
    });
  });
});

const listens = () => console.log("ready");
if (place.startsWith("unix:")) {
  server.listen(place.slice("unix:".length), listens);
} else {
  server.listen(Number(place), "127.0.0.1", listens);
}
