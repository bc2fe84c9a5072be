// The chat on channels. This module is put together of files that use each other in this order: protocol, names,
// state, view, main.
//
// Protocol: a client of channels, with the commands, replies and pushes of the Centrifugo client protocol in JSON.
// It knows nothing of what is said in a channel. A subscription that was made is made again after a reconnect, and
// gets what it has missed, or is told that this is no longer kept.

const CONNECT_MS_MAX = 15_000;
const CALL_MS_MAX = 10_000;
const DELAY_MS_FIRST = 500;
const DELAY_MS_MAX = 30_000;
// A connection that was open this long counts as a success: the next delay is the first one again.
const STEADY_MS = 5_000;
// How much later than announced a ping may come.
const PING_DELAY_MS_MAX = 10_000;
// Commands share a frame up to this length. A frame with the longest message, at three bytes for each character, is
// shorter than the 16 KiB that the gateway takes.
const FRAME_CHARACTERS_MAX = 4_000;

const GOING_AWAY = 1001, SHUTDOWN = 3001, TOO_SLOW = 3008, TOO_BIG = 1009;
const WHY_CLOSED = {
  [GOING_AWAY]: 'The server is shutting down.',
  [SHUTDOWN]: 'The server is shutting down.',
  [TOO_SLOW]: 'This page was too slow to keep up.',
  [TOO_BIG]: 'That message was too big.',
};
// The code of a failure that is no answer: the connection ended first.
const LOST = 0;

// A command that was not done, with the code of the protocol.
class Failure extends Error {
  constructor({ code = LOST, message = 'The connection was lost.', temporary = false } = {}) {
    super(message);
    this.code = code;
    this.isTemporary = temporary;
  }
}

class Client {
  #url;
  #tell;
  #socket = null;
  #isOpen = false;
  #openedAt = Infinity;
  #subscriptions = new Map();
  #calls = new Map();
  #lastId = 0;
  #queue = [];
  #failures = 0;
  #deadline = 0;
  #retry = 0;
  #pingMs = 0;

  // `tell` gets the state: 'connecting', 'open', 'waiting' with {why, due, wasOpen}, and 'ended' with {why}.
  constructor(url, tell) {
    this.#url = url;
    this.#tell = tell;
  }

  get isOpen() {
    return this.#isOpen;
  }

  connect() {
    clearTimeout(this.#retry);
    this.#discard();
    const own = this.#socket = new WebSocket(this.#url);
    this.#deadline = setTimeout(() => this.#lose(own), CONNECT_MS_MAX);
    this.#tell('connecting');
    own.onopen = () => own === this.#socket && this.#greet();
    own.onmessage = ({ data }) => {
      if (own !== this.#socket) return;
      this.#expectPing(own);
      for (const line of data.split('\n')) if (line) this.#receive(JSON.parse(line));
    };
    own.onclose = ({ code, reason }) => this.#lose(own, code, reason);
  }

  close() {
    clearTimeout(this.#retry);
    this.#discard();
    this.#subscriptions.clear();
  }

  // The network may be gone, or another one: what is open may be dead without anyone having said so.
  distrust() {
    if (this.#socket) this.#lose(this.#socket);
  }

  // `events` are subscribed({publications, recovered, wasRecovering, epoch, offset}), publication(publication),
  // joined(info), left(info) and refused(failure).
  subscribe(channel, events, { joins = false } = {}) {
    const subscription = { channel, events, joins, epoch: '', offset: 0, canRecover: false };
    this.#subscriptions.set(channel, subscription);
    if (this.#isOpen) this.#join(subscription);
  }

  unsubscribe(channel) {
    if (this.#subscriptions.delete(channel) && this.#isOpen) this.call('unsubscribe', { channel }).catch(() => {});
  }

  // The reply to a command. Fails with a Failure.
  call(method, parameters) {
    return this.#isOpen ? this.#command(method, parameters) : Promise.reject(new Failure());
  }

  #command(method, parameters) {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#calls.delete(id);
        reject(new Failure({ message: 'The server did not answer.' }));
      }, CALL_MS_MAX);
      this.#calls.set(id, { method, resolve, reject, timer });
      this.#enqueue({ id, [method]: parameters });
    });
  }

  async #greet() {
    const own = this.#socket;
    // All in one go: the server does it in this order.
    const connected = this.#command('connect', { name: 'tidegate chat' });
    for (const subscription of this.#subscriptions.values()) this.#join(subscription);
    try {
      const { ping = 0 } = await connected;
      if (own !== this.#socket) return;
      clearTimeout(this.#deadline);
      this.#pingMs = ping * 1000;
      this.#isOpen = true;
      this.#openedAt = performance.now();
      this.#expectPing(own);
      this.#tell('open');
    } catch (failure) {
      this.#lose(own, undefined, failure.message);
    }
  }

  async #join(subscription) {
    const { channel, joins, canRecover, epoch, offset, events } = subscription;
    const position = canRecover ? { recover: true, epoch, offset } : {};
    const isCurrent = () => this.#subscriptions.get(channel) === subscription;
    try {
      const reply = await this.#command('subscribe', { channel, recoverable: true, join_leave: joins, ...position });
      if (!isCurrent()) return;
      const { recoverable = false, publications = [], recovered = false, was_recovering: wasRecovering = false } = reply;
      subscription.canRecover = recoverable;
      subscription.epoch = reply.epoch ?? '';
      subscription.offset = reply.offset ?? 0;
      for (const { offset } of publications) subscription.offset = Math.max(subscription.offset, offset);
      events.subscribed({ publications, recovered, wasRecovering, epoch: subscription.epoch, offset: subscription.offset });
    } catch (failure) {
      if (!isCurrent() || failure.code === LOST) return;
      if (failure.isTemporary) setTimeout(() => isCurrent() && this.#isOpen && this.#join(subscription), 1000 + 2000 * Math.random());
      else this.#refuse(subscription, failure);
    }
  }

  #refuse({ channel, events }, failure) {
    this.#subscriptions.delete(channel);
    events.refused(failure);
  }

  #receive(reply) {
    if (reply.id) return this.#answer(reply);
    // What says nothing is a ping, and the same is its answer.
    if (!reply.push) return this.#enqueue({});
    const { channel, pub, join, leave, unsubscribe } = reply.push;
    const subscription = this.#subscriptions.get(channel);
    if (!subscription) return undefined;
    if (pub) {
      if (pub.offset) subscription.offset = pub.offset;
      subscription.events.publication(pub);
    }
    if (join) subscription.events.joined?.(join.info);
    if (leave) subscription.events.left?.(leave.info);
    if (unsubscribe?.code >= 2500) this.#join(subscription);
    else if (unsubscribe) this.#refuse(subscription, new Failure({ code: unsubscribe.code, message: unsubscribe.reason }));
    return undefined;
  }

  #answer({ id, error, ...results }) {
    const call = this.#calls.get(id);
    if (!call) return;
    this.#calls.delete(id);
    clearTimeout(call.timer);
    if (error) call.reject(new Failure(error));
    else call.resolve(results[call.method] ?? {});
  }

  #enqueue(command) {
    if (this.#queue.push(JSON.stringify(command)) === 1) queueMicrotask(() => this.#flush());
  }

  #flush() {
    let frame = '';
    for (const command of this.#queue.splice(0)) {
      if (frame && frame.length + command.length >= FRAME_CHARACTERS_MAX) {
        this.#socket?.send(frame);
        frame = '';
      }
      frame += frame ? `\n${command}` : command;
    }
    if (frame && this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(frame);
  }

  #expectPing(own) {
    if (!this.#isOpen || !this.#pingMs) return;
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(() => this.#lose(own), this.#pingMs + PING_DELAY_MS_MAX);
  }

  #lose(own, code, reason) {
    if (own !== this.#socket) return;
    const wasOpen = this.#isOpen;
    if (performance.now() - this.#openedAt >= STEADY_MS) this.#failures = 0;
    this.#discard();
    const isFinal = (code >= 3500 && code < 4000) || (code >= 4500 && code < 5000);
    if (isFinal && reason) return this.#tell('ended', { why: reason });
    // Exponential backoff with full jitter, so that pages do not reconnect all at the same time.
    const delay = Math.random() * Math.min(DELAY_MS_MAX, DELAY_MS_FIRST * 2 ** this.#failures);
    this.#failures += 1;
    this.#retry = setTimeout(() => this.connect(), delay);
    const why = WHY_CLOSED[code] ?? (wasOpen ? 'The connection was lost.' : 'The server cannot be reached.');
    return this.#tell('waiting', { why, due: performance.now() + delay, wasOpen });
  }

  #discard() {
    clearTimeout(this.#deadline);
    const own = this.#socket;
    this.#socket = null;
    this.#isOpen = false;
    this.#openedAt = Infinity;
    this.#queue = [];
    own?.close(1000);
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const { timer, reject } of calls) {
      clearTimeout(timer);
      reject(new Failure());
    }
  }
}

