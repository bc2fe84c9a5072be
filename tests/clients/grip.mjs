// A backend by @fanoutio/serve-grip, which publishes by @fanoutio/grip.
//
//     grip.mjs URL KEY     URL is that of the listener for backends; prints `ready PORT`
//
// It is in target/clients when it runs, so that its imports are found.
import { createServer } from 'node:http';
import { Item, WebSocketMessageFormat, createWebSocketControlMessage } from '@fanoutio/grip';
import { ServeGrip } from '@fanoutio/serve-grip';

const [url, key] = process.argv.slice(2);
const serveGrip = new ServeGrip({
  grip: { control_uri: url, control_iss: 'app', key, verify_iss: 'edge' },
  isGripProxyRequired: true,
});
const publisher = serveGrip.getPublisher();
// The other way in which it shows a key.
const byKey = new ServeGrip({ grip: { control_uri: url, key } }).getPublisher();

async function answer(request) {
  const ws = request.grip.wsContext;
  if (!request.grip.isSigned || ws == null) throw new Error('not by the gateway');
  if (ws.isOpening()) {
    ws.accept();
    ws.subscribe('room');
    ws.meta.count = '0';
  }
  while (ws.canRecv()) {
    let text;
    try {
      text = ws.recv();
    } catch {
      // By an error the library tells that the connection has ended otherwise than by the client's close.
      return;
    }
    if (text == null) {
      ws.close(ws.closeCode);
    } else if (text === 'all') {
      await publisher.publishFormats('room', new WebSocketMessageFormat('to all'));
      await byKey.publish('room', new Item(new WebSocketMessageFormat(new Uint8Array([1, 2]))));
    } else if (text === 'leave') {
      ws.unsubscribe('room');
      ws.send('left');
    } else if (text === 'later') {
      ws.sendControl(createWebSocketControlMessage('send-delayed', { content: 'delayed', timeout: 60 }));
      ws.sendControl(createWebSocketControlMessage('flush-delayed'));
    } else if (text === 'end') {
      await publisher.publishFormats('room', new WebSocketMessageFormat(null, true, 4001));
    } else if (text === 'detach') {
      ws.detach();
    } else {
      ws.meta.count = String(Number(ws.meta.count) + 1);
      ws.send(`${ws.meta.count}: ${text}`);
    }
  }
}

const server = createServer(async (request, response) => {
  try {
    if (!(await serveGrip.run(request, response))) return;
    await answer(request);
    response.end();
  } catch (error) {
    console.error(error);
    response.statusCode = 500;
    response.end();
  }
});
server.listen(0, '127.0.0.1', () => console.log('ready', server.address().port));
