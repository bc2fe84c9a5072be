// Live traces: what connections send, get and end by, as server-sent events.

import { check, parameters } from './api.js';
import { h, setText } from './dom.js';
import { bytes, count, exactClock, visible } from './format.js';
import { allow } from './session.js';

const EVENTS_MAX = 500;
const IDLE = 'Events are shown as they happen. Payloads are cut after 256 bytes.';

/** A part of the panel that traces the connections that fit, and what ends it. */
export function traceCard(app, conditions, { begins = false } = {}) {
  const trace = new Trace(app, conditions);
  if (begins) trace.begin();
  return { card: trace.element, end: () => trace.end() };
}

class Trace {
  constructor(app, conditions) {
    Object.assign(this, { app, conditions, source: null, waiting: [], painting: null, seen: 0 });
    this.payloads = h('input', {
      type: 'checkbox',
      onchange: () => {
        if (this.source) this.begin();
      },
    });
    this.button = h(
      'button',
      { class: 'button', type: 'button', onclick: () => (this.source ? this.end() : this.begin()) },
      'Start',
    );
    this.status = h('p', { class: 'muted small', role: 'status' }, IDLE);
    this.list = h('ol', { class: 'events', reversed: true });
    this.element = h(
      'section',
      { class: 'part' },
      h(
        'div',
        { class: 'line' },
        h('h3', {}, 'Live trace'),
        h('span', { class: 'grow' }),
        h('label', { class: 'switch' }, this.payloads, h('span', { class: 'knob' }), 'Payloads'),
        this.button,
      ),
      this.status,
      this.list,
    );
  }

  begin() {
    this.source?.close();
    const query = parameters({ ...this.conditions, payload: this.payloads.checked ? '1' : '' });
    const source = (this.source = new EventSource(`/api/v1/trace?${query}`));
    this.say('Beginning');
    this.button.textContent = 'Stop';
    source.addEventListener('open', (event) => {
      // The browser calls the beginning of the stream by the same name, without data.
      if (event.data === undefined) this.say('Tracing');
      else this.add('open', event);
    });
    for (const name of ['received', 'sent', 'closed', 'missed'])
      source.addEventListener(name, (event) => this.add(name, event));
    source.addEventListener('error', () => {
      if (this.source !== source) return;
      if (source.readyState === EventSource.CLOSED) this.failed(query);
      else this.say('Lost, trying again');
    });
  }

  end() {
    this.source?.close();
    this.source = null;
    this.button.textContent = 'Start';
    this.say(this.seen > 0 ? 'Stopped' : IDLE);
  }

  /** An EventSource does not tell why it was refused: the same request does. */
  async failed(query) {
    this.end();
    await this.app.attempt(async () => {
      try {
        await check(`/api/v1/trace?${query}`);
        this.say('The trace has ended');
      } catch (error) {
        await allow(error);
        this.begin();
      }
    });
  }

  say(text) {
    setText(this.status, this.seen > 0 ? `${text}, ${count(this.seen)} events` : text);
  }

  add(name, { data }) {
    this.seen += 1;
    this.waiting.push([name, JSON.parse(data)]);
    if (this.waiting.length > EVENTS_MAX) this.waiting.shift();
    // Many events are one change of the page.
    this.painting ??= setTimeout(() => this.paint(), 100);
  }

  paint() {
    this.painting = null;
    const hasMany = !('connection' in this.conditions);
    this.list.prepend(
      ...this.waiting
        .splice(0)
        .map((own) => entry(own, hasMany))
        .reverse(),
    );
    while (this.list.childElementCount > EVENTS_MAX) this.list.lastElementChild.remove();
    this.say(this.source ? 'Tracing' : 'Stopped');
  }
}

const NAMES = { open: 'open', received: 'in', sent: 'out', closed: 'closed', missed: 'missed' };

function entry([name, own], hasMany) {
  const what = {
    open: () =>
      [own.user, own.route, own.room]
        .filter(Boolean)
        .map((text) => visible(text))
        .join(' · ') || 'open',
    received: () => `${own.kind}, ${bytes(own.bytes)}`,
    sent: () => `${own.kind}, ${bytes(own.bytes)}`,
    closed: () => visible(own.reason),
    missed: () => `${count(own.events)} events were too many to show`,
  }[name]();
  return h(
    'li',
    { data: { kind: name } },
    h('time', {}, own.unix_ms ? exactClock(own.unix_ms) : ''),
    h('span', { class: 'kind' }, NAMES[name]),
    h('span', { class: 'what' }, hasMany && own.connection ? `${own.connection} ` : '', what),
    own.payload && h('code', {}, visible(own.payload, { isLong: true })),
  );
}
