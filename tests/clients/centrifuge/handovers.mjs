// Clients of channels while the gateway is replaced again and again: node handovers.mjs URL FOLDER PACKAGE.
// It publishes all the while, one message after the other, and says `again` on standard output after a number of
// them; a line `over` on standard input ends it. Each member must have got every message once and in order, by
// one epoch all the time.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const [url, folder, name] = process.argv.slice(2);
const load = createRequire(`${folder}/`);
const { Centrifuge } = load(name);
const websocket = load('ws');

const CHANNELS = ['kept:a', 'kept:b', 'kept:c'];
const MEMBERS = 12;
const ROUND = 60;

function client() {
  const own = new Centrifuge(url, { websocket, timeout: 60000, maxServerPingDelay: 60000, minReconnectDelay: 10, maxReconnectDelay: 100 });
  own.connect();
  return own;
}

const members = [];
for (let number = 0; number < MEMBERS; number += 1) {
  const own = client();
  for (const channel of CHANNELS) {
    const subscription = own.newSubscription(channel, { minResubscribeDelay: 10 });
    const member = { channel, number, got: [], epochs: new Set(), lost: 0 };
    subscription.on('subscribed', (context) => {
      member.epochs.add(context.streamPosition?.epoch);
      if (context.wasRecovering && !context.recovered) member.lost += 1;
    });
    subscription.on('publication', (context) => member.got.push([context.offset, context.data]));
    subscription.subscribe();
    members.push(member);
    await subscription.ready(60000);
  }
}

let isOver = false;
const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => { isOver ||= line === 'over'; });

// What has failed may have been published or not, so each publisher numbers its attempts, and knows which
// of them were answered.
const answered = new Map(CHANNELS.map((channel) => [channel, new Set()]));
let serial = 0;
let refused = 0;
let longest = 0;
const publisher = client();
await publisher.ready(60000);
async function publish(channel) {
  const began = Date.now();
  for (;;) {
    serial += 1;
    const data = serial;
    try {
      await publisher.publish(channel, data);
      answered.get(channel).add(data);
      longest = Math.max(longest, Date.now() - began);
      return;
    } catch (error) {
      // Error 100, or a connection that ended before the reply.
      refused += 1;
      if (publisher.state !== 'connected') await publisher.ready(60000);
      else await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

while (!isOver) {
  for (let count = 0; count < ROUND; count += 1) {
    for (const channel of CHANNELS) await publish(channel);
  }
  console.log('again');
  await new Promise((resolve) => setTimeout(resolve, 20));
}
const latest = new Map();
for (const channel of CHANNELS) {
  await publish(channel);
  latest.set(channel, Math.max(...answered.get(channel)));
}
for (const member of members) {
  while (member.got.at(-1)?.[1] !== latest.get(member.channel)) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const who = `${member.number} in ${member.channel}`;
  assert.equal(member.lost, 0, who);
  assert.equal(member.epochs.size, 1, who);
  member.got.forEach(([offset], index) => assert.equal(offset, index + 1, who));
  const data = new Set(member.got.map(([, own]) => own));
  assert.equal(data.size, member.got.length, `${who}: something came twice`);
  for (const own of answered.get(member.channel)) assert.ok(data.has(own), `${who}: ${own} is lost`);
}
console.error(`${serial} published, ${refused} of them refused or unanswered, the longest wait ${longest} ms`);
process.exit(0);
