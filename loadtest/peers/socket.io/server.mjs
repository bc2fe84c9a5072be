// A room of socket.io: each client that connects is in it, and what is posted goes to all of them. Default settings, but
// for the transport, which is WebSocket alone.
import { createServer } from "node:http";
import { Server } from "socket.io";

const server = createServer((request, response) => {
  let body = "";
  request.on("data", (chunk) => (body += chunk));
  request.on("end", () => {
    io.to("load").emit("publication", body);
    response.end();
  });
});
const io = new Server(server, { transports: ["websocket"] });
io.on("connection", (socket) => socket.join("load"));
server.listen(Number(process.argv[2]), "127.0.0.1");
