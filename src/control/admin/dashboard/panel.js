// The panel at the side: one connection with its whole state and what can be done to it, or a trace.

import { get } from './api.js';
import { confirm, fact, h, icon, toast } from './dom.js';
import { bytes, duration, visible } from './format.js';
import { closeFields, listOf, phase } from './parts.js';
import { change } from './session.js';
import { traceCard } from './trace.js';

/** The panel. It is empty, or shows one thing. */
export class Panel {
  constructor(app) {
    Object.assign(this, {
      app,
      element: document.getElementById('panel'),
      connection: null,
      onClose: null,
      opener: null,
      update: null,
    });
    this.element.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape' || event.defaultPrevented) return;
      event.preventDefault();
      this.close();
    });
  }

  /** Shows something under a title. The focus goes there, and back when it is closed. */
  show(title, content, { connection = null, onClose = null, update = null } = {}) {
    this.onClose?.();
    if (this.element.hidden) this.opener = document.activeElement;
    Object.assign(this, { connection, onClose, update });
    const heading = h('h2', { tabIndex: -1 }, title);
    const button = h(
      'button',
      {
        class: 'button quiet square',
        type: 'button',
        'aria-label': 'Close the panel',
        onclick: () => this.close(),
      },
      icon('close'),
    );
    this.element.replaceChildren(h('header', {}, heading, h('span', { class: 'grow' }), button), ...content);
    this.element.hidden = false;
    document.body.classList.add('has-panel');
    heading.focus({ preventScroll: true });
    this.app.panelChanged();
  }

  close() {
    if (this.element.hidden) return;
    this.onClose?.();
    Object.assign(this, { connection: null, onClose: null, update: null });
    this.element.hidden = true;
    this.element.replaceChildren();
    document.body.classList.remove('has-panel');
    if (this.opener?.isConnected) this.opener.focus();
    this.app.panelChanged();
  }

  async refresh() {
    await this.update?.();
  }

  /** Shows a connection. */
  open(id) {
    const state = h('dl', { class: 'facts' });
    const ended = h('p', { class: 'note bad', role: 'status', hidden: true }, 'This connection has ended.');
    const trace = traceCard(this.app, { connection: id });
    const actions = [this.closeForm(id), this.sendForm(id)];
    const update = async () => {
      try {
        const own = await get(`/api/v1/connections/${encodeURIComponent(id)}`);
        if (this.connection === id) state.replaceChildren(...facts(own));
      } catch (error) {
        if (error.status !== 404) {
          if (error.status !== 0) throw error;
          return;
        }
        ended.hidden = false;
        this.element.classList.add('is-ended');
        if (this.connection === id) this.update = null;
      }
    };
    this.element.classList.remove('is-ended');
    this.show(h('span', { class: 'mono' }, id), [ended, state, ...actions, trace.card], {
      connection: id,
      onClose: trace.end,
      update,
    });
    this.app.attempt(update);
  }

  closeForm(id) {
    const fields = closeFields();
    return section(
      'Close',
      fields.elements,
      h('button', { class: 'button danger', type: 'submit' }, 'Close the connection'),
      async () => {
        const { code } = fields.values();
        if (
          !(await confirm({
            title: `Close connection ${id}?`,
            body: [h('p', {}, `The client is disconnected with code ${code}.`)],
            yes: 'Close it',
          }))
        )
          return;
        await change(`/api/v1/connections/${encodeURIComponent(id)}/close`, fields.values());
        toast(`Connection ${id} is closing.`, 'good');
        await this.refresh();
        this.app.reload();
      },
      this.app,
    );
  }

  sendForm(id) {
    const text = h('textarea', { rows: 3, required: true, 'aria-label': 'Text' });
    return section(
      'Send a text',
      [text],
      h('button', { class: 'button', type: 'submit' }, 'Send'),
      async () => {
        await change(`/api/v1/connections/${encodeURIComponent(id)}/send`, { text: text.value });
        toast(`Sent to ${id}.`, 'good');
        text.value = '';
      },
      this.app,
    );
  }
}

function section(title, content, button, onSubmit, app) {
  return h(
    'form',
    {
      class: 'part',
      onsubmit: async (event) => {
        event.preventDefault();
        button.disabled = true;
        await app.attempt(onSubmit);
        button.disabled = false;
      },
    },
    h('h3', {}, title),
    ...content,
    h('div', { class: 'actions' }, button),
  );
}

function facts(own) {
  const address = own.address && h('a', { href: listOf({ address: host(own.address) }) }, own.address);
  const user = own.user && h('a', { href: listOf({ user: own.user }) }, visible(own.user));
  const room = own.room && h('a', { href: listOf({ room: own.room }) }, visible(own.room));
  const pairs = [
    ['Phase', phase(own.phase)],
    ['User', user],
    ['Address', address],
    ['Proxy', own.proxy],
    ['Route', own.route],
    ['Room', room],
    ['Protocol', own.protocol],
    ['TLS', own.tls_version ?? (own.tls ? 'handshake under way' : 'no')],
    ['Compression', own.deflate_window_bits === null ? 'no' : `window of ${own.deflate_window_bits} bits`],
    ['Silent for', duration(own.silent_ms)],
    ['Waits for a pong', own.waits_for_pong ? 'yes' : 'no'],
    ['Reading paused by', own.paused_by.join(', ') || 'nothing'],
    ['Backlog', bytes(own.backlog_bytes)],
    ['Partial message', bytes(own.partial_bytes)],
    ['Memory beside its slot', bytes(own.held_bytes)],
  ];
  return pairs
    .filter(([, value]) => value !== null && value !== undefined && value !== '')
    .map(([name, value]) => fact(name, value));
}

/** The address without its port. */
function host(address) {
  return address.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
}
