// The table of connections: search, pages, and what is done to all that fit.

import { get, parameters } from './api.js';
import { confirm, h, scroller, square, toast } from './dom.js';
import { NONE, bytes, clock, count, duration, plural, visible } from './format.js';
import { closeFields, describe, phase } from './parts.js';
import { change } from './session.js';
import { traceCard } from './trace.js';

const PAGE = 100;
const LIVE_MS = 5000;

const CONDITIONS = [
  { name: 'user', label: 'User' },
  { name: 'address', label: 'Address' },
  { name: 'room', label: 'Room or topic' },
  { name: 'route', label: 'Route' },
  { name: 'phase', label: 'Phase' },
  { name: 'connection', label: 'Connection' },
];

const PHASES = ['', 'open', 'handshake', 'closing'];

/** The page. */
export class Connections {
  constructor(app) {
    this.app = app;
    // The cursors of the pages before this one, and where the next one begins.
    Object.assign(this, {
      before: [],
      cursor: null,
      next: null,
      rows: [],
      running: null,
      timer: null,
      conditions: {},
    });
    this.form = this.filterForm();
    this.body = h('tbody', { onkeydown: (event) => this.step(event) });
    this.status = h('span', { class: 'muted', role: 'status' });
    this.empty = h('p', { class: 'empty' });
    const names = [
      'Connection',
      'Phase',
      'User',
      'Address',
      'Route',
      'Room',
      'Protocol',
      'Silent',
      'Backlog',
    ];
    const head = h(
      'tr',
      {},
      names.map((name) => h('th', { scope: 'col' }, name)),
    );
    this.table = h('table', { class: 'plain rows' }, h('thead', {}, head), this.body);
    this.place = h('span', { class: 'muted' });
    this.live = h('input', { type: 'checkbox', onchange: () => this.schedule() });
    this.back = square('left', 'The page before', () => this.turn(-1));
    this.forth = square('right', 'The next page', () => this.turn(1));
    this.bulk = this.bulkActions();
    const space = () => h('span', { class: 'grow' });
    const live = h('label', { class: 'switch' }, this.live, h('span', { class: 'knob' }), 'Live');
    const refresh = square('refresh', 'Refresh', () => this.load());
    this.element = h(
      'div',
      { class: 'page' },
      h('h1', { class: 'unseen' }, 'Connections'),
      h(
        'section',
        { class: 'card flush' },
        this.form,
        h('div', { class: 'bar-line' }, this.status, space(), this.bulk, live, refresh),
        scroller('Connections', this.table),
        this.empty,
        h('div', { class: 'bar-line bottom' }, this.place, space(), this.back, this.forth),
      ),
    );
  }

  /** What is done to all that fit. */
  bulkActions() {
    const action = (text, kind, onclick) =>
      h('button', { class: `button ${kind}`, type: 'button', onclick }, text);
    return h(
      'div',
      { class: 'bulk', hidden: true },
      action('Trace all that fit', '', () => this.trace()),
      action('Send to all that fit', '', () => this.send()),
      action('Close all that fit', 'danger', () => this.close()),
    );
  }

  filterForm() {
    const field = ({ name, label }) => {
      const control =
        name === 'route' || name === 'phase'
          ? h('select', { name })
          : h('input', {
              name,
              type: 'search',
              autocomplete: 'off',
              spellcheck: false,
              autocapitalize: 'off',
              maxLength: 256,
            });
      if (name === 'phase')
        control.append(...PHASES.map((phase) => h('option', { value: phase }, phase || 'any')));
      if (name === 'route') control.append(h('option', { value: '' }, 'any'));
      if (name === 'connection') control.placeholder = '0.12.345';
      return h('label', { class: 'field' }, h('span', {}, label), control);
    };
    return h(
      'form',
      {
        class: 'filters',
        role: 'search',
        'aria-label': 'Which connections',
        onsubmit: (event) => {
          event.preventDefault();
          this.search();
        },
        onchange: () => this.search(),
      },
      CONDITIONS.map(field),
      h(
        'div',
        { class: 'field buttons' },
        h('button', { class: 'button primary', type: 'submit' }, 'Search'),
        h(
          'button',
          {
            class: 'button',
            type: 'button',
            onclick: () => {
              location.hash = '#connections';
            },
          },
          'Clear',
        ),
      ),
    );
  }

  /** The address of the page has changed: its conditions are those of the form. */
  open(given) {
    this.conditions = Object.fromEntries(
      CONDITIONS.map(({ name }) => [name, given.get(name) ?? '']).filter(([, value]) => value !== ''),
    );
    for (const { name } of CONDITIONS) {
      const control = this.form.elements[name];
      const value = this.conditions[name] ?? '';
      if (control.tagName === 'SELECT' && !Array.from(control.options).some((own) => own.value === value))
        control.append(h('option', { value }, value));
      control.value = value;
    }
    this.bulk.hidden = !this.hasCondition();
    Object.assign(this, { before: [], cursor: null });
    this.load();
    this.schedule();
    this.loadRoutes();
  }

  leave() {
    clearInterval(this.timer);
    this.running?.abort();
  }

  hasCondition() {
    return Object.keys(this.conditions).length > 0;
  }

  search() {
    const fields = Object.fromEntries(new FormData(this.form));
    for (const name of Object.keys(fields)) fields[name] = fields[name].trim();
    const query = parameters(fields);
    const hash = query ? `#connections?${query}` : '#connections';
    // The same conditions again ask again.
    if (location.hash === hash) this.load();
    else location.hash = hash;
  }

  schedule() {
    clearInterval(this.timer);
    if (this.live.checked)
      this.timer = setInterval(() => {
        if (!document.hidden && !this.running) this.load();
      }, LIVE_MS);
  }

  turn(direction) {
    if (direction > 0) this.before.push(this.cursor);
    this.cursor = direction > 0 ? this.next : (this.before.pop() ?? null);
    this.load();
  }

  async loadRoutes() {
    const { routes } = await get('/api/v1/routes').catch(() => ({ routes: [] }));
    const select = this.form.elements.route;
    const known = new Set(Array.from(select.options, (own) => own.value));
    select.append(
      ...routes.filter((route) => !known.has(route)).map((route) => h('option', { value: route }, route)),
    );
  }

  /**
   * Loads a page. The API ends a search that takes long with a short page and a cursor: then it goes on from
   * there until the page is full, or all were looked at, or the operator asks for something else.
   */
  async load() {
    this.running?.abort();
    const running = (this.running = new AbortController());
    const { signal } = running;
    const found = [];
    let cursor = this.cursor;
    try {
      do {
        const query = parameters({ ...this.conditions, limit: PAGE - found.length, cursor });
        const page = await get(`/api/v1/connections?${query}`, { signal });
        found.push(...page.connections);
        cursor = page.next;
        if (cursor !== null && found.length < PAGE)
          this.status.textContent = `Searching, ${count(found.length)} so far`;
      } while (cursor !== null && found.length < PAGE);
      Object.assign(this, { rows: found, next: cursor });
      this.show();
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 401) {
        this.app.loggedOut();
        return;
      }
      Object.assign(this, { rows: [], next: null });
      this.show(error.message);
    } finally {
      if (this.running === running) this.running = null;
    }
  }

  show(error = '') {
    const { rows, before, next } = this;
    const first = before.length * PAGE;
    this.status.textContent = error
      ? ''
      : `${next === null && before.length === 0 ? plural(rows.length, 'connection') : `Page ${before.length + 1}`}, as of ${clock(Date.now())}`;
    this.table.hidden = rows.length === 0;
    this.empty.hidden = rows.length > 0;
    this.empty.className = error ? 'empty error' : 'empty';
    this.empty.textContent =
      error || (this.hasCondition() ? 'No connection fits these conditions.' : 'There are no connections.');
    this.place.textContent =
      rows.length === 0
        ? ''
        : `${count(first + 1)} to ${count(first + rows.length)}${next === null ? ` of ${count(first + rows.length)}` : ''}`;
    this.back.disabled = before.length === 0;
    this.forth.disabled = next === null;
    const focused = this.body.contains(document.activeElement)
      ? document.activeElement.closest('tr').dataset.id
      : null;
    this.body.replaceChildren(...rows.map((own) => this.row(own)));
    this.mark(this.app.panel.connection);
    if (focused) this.body.querySelector(`tr[data-id="${CSS.escape(focused)}"] button`)?.focus();
  }

  row(own) {
    const open = () => this.app.openConnection(own.id);
    const cell = (label, raw, name) => {
      const text = raw ? visible(raw) : '';
      return h(
        'td',
        { class: name, 'data-label': label, title: text || undefined },
        text || h('span', { class: 'none' }, NONE),
      );
    };
    return h(
      'tr',
      {
        data: { id: own.id },
        onclick: () => {
          if (String(getSelection()) === '') open();
        },
      },
      h(
        'th',
        { scope: 'row', 'data-label': 'Connection' },
        h(
          'button',
          {
            class: 'link',
            type: 'button',
            onclick: (event) => {
              event.stopPropagation();
              open();
            },
          },
          own.id,
        ),
      ),
      h('td', { 'data-label': 'Phase' }, phase(own.phase)),
      cell('User', own.user, 'name'),
      cell('Address', own.address, 'mono'),
      cell('Route', own.route, 'name'),
      cell('Room', own.room, 'name'),
      cell('Protocol', `${PROTOCOLS[own.protocol] ?? own.protocol}${own.tls ? ', TLS' : ''}`),
      cell('Silent', duration(own.silent_ms), 'figure'),
      h(
        'td',
        { class: 'figure', 'data-label': 'Backlog' },
        own.backlog_bytes > 0 ? bytes(own.backlog_bytes) : h('span', { class: 'none' }, '0'),
      ),
    );
  }

  /** Marks the row that the panel shows. */
  mark(id) {
    for (const row of this.body.children) row.classList.toggle('is-open', row.dataset.id === id);
  }

  /** The arrow keys go from row to row. */
  step(event) {
    const direction = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const row = event.target.closest('tr');
    if (!direction || !row) return;
    const next = direction > 0 ? row.nextElementSibling : row.previousElementSibling;
    if (!next) return;
    event.preventDefault();
    next.querySelector('button').focus();
  }

  async close() {
    const fields = closeFields();
    const fit = describe(this.conditions);
    const isSure = await confirm({
      title: 'Close all connections that fit?',
      body: [h('p', {}, `Every open connection with ${fit} is disconnected.`), ...fields.elements],
      yes: 'Close them',
    });
    if (!isSure) return;
    await this.app.attempt(async () => {
      const { closed } = await change('/api/v1/connections/close', {
        conditions: this.conditions,
        ...fields.values(),
      });
      toast(`${plural(closed, 'connection')} closed.`, 'good');
      this.load();
    });
  }

  async send() {
    const text = h('textarea', { rows: 4, required: true });
    const isSure = await confirm({
      title: 'Send to all connections that fit?',
      body: [
        h('p', {}, `Every open connection with ${describe(this.conditions)} gets this text message.`),
        h('label', { class: 'field' }, h('span', {}, 'Text'), text),
      ],
      yes: 'Send',
      danger: false,
    });
    if (!isSure) return;
    await this.app.attempt(async () => {
      const { sent } = await change('/api/v1/send', { conditions: this.conditions, text: text.value });
      toast(`Sent to ${plural(sent, 'connection')}.`, 'good');
    });
  }

  trace() {
    const { card: own, end } = traceCard(this.app, this.conditions, { begins: true });
    this.app.panel.show(`Trace: ${describe(this.conditions)}`, [own], { onClose: end });
  }
}

const PROTOCOLS = { http: 'HTTP', line: 'lines', relay: 'relay', websocket: 'WebSocket' };
