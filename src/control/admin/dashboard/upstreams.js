// The servers of upstreams: what is known of each, and which get nothing new.

import { card, confirm, h, keyed, scroller, setText, toast } from './dom.js';
import { NONE, count, plural } from './format.js';
import { change } from './session.js';

const STATES = {
  up: ['good', 'Up'],
  failed: ['bad', 'Failed'],
  unhealthy: ['bad', 'Unhealthy'],
  drained: ['warn', 'Drained'],
};
const COLUMNS = ['Server', 'Upstream', 'State', 'Connections', 'Begun', 'Failed', 'Connect', ''];

/** The card of all servers; hidden without any. */
export class UpstreamsCard {
  constructor(app) {
    this.app = app;
    this.body = h('tbody');
    const name = (own) => h('th', { scope: 'col' }, own || h('span', { class: 'unseen' }, 'Actions'));
    const head = h('thead', {}, h('tr', {}, COLUMNS.map(name)));
    const table = h('table', { class: 'plain upstreams' }, head, this.body);
    this.element = card('Backends', {}, scroller('Backends', table));
    this.element.hidden = true;
  }

  show(upstreams) {
    const servers = upstreams.flatMap(({ name, servers }) =>
      servers.map((server) => ({ upstream: name, ...server })),
    );
    this.element.hidden = servers.length === 0;
    keyed(
      this.body,
      servers,
      ({ upstream, address }) => JSON.stringify([upstream, address]),
      () => h('tr', {}, h('th', { scope: 'row' }), COLUMNS.slice(1).map(() => h('td'))),
      (row, server) => this.fill(row, server),
    );
  }

  fill(row, server) {
    // What the button acts on when it is pressed.
    row.server = server;
    const [address, upstream, state, connections, begun, failed, connect, actions] = row.children;
    const [kind, word] = STATES[server.state] ?? ['warn', server.state];
    setText(address, server.address);
    setText(upstream, server.upstream);
    state.replaceChildren(h('span', { class: `badge ${kind}` }, server.is_listed ? word : `${word}, has left`));
    setText(connections, count(server.connections));
    setText(begun, count(server.connects));
    setText(failed, count(server.failures));
    setText(connect, server.connect_ms_average === null ? NONE : `${count(server.connect_ms_average)} ms`);
    const isDrained = server.state === 'drained';
    if (actions.dataset.drained === String(isDrained)) return;
    actions.dataset.drained = String(isDrained);
    actions.replaceChildren(
      h(
        'button',
        {
          class: 'button small',
          type: 'button',
          onclick: () => this.set(row.server, !isDrained),
        },
        isDrained ? 'Resume' : 'Drain',
      ),
    );
  }

  async set({ upstream, address, connections }, drains) {
    const body = [
      h(
        'p',
        {},
        `It gets nothing new. Its ${plural(connections, 'connection')} stay, and other servers of ${upstream} get the rest.`,
      ),
    ];
    if (drains && !(await confirm({ title: `Drain ${address}?`, body, yes: 'Drain the server' }))) return;
    const path = `/api/v1/upstreams/${encodeURIComponent(upstream)}/servers/${encodeURIComponent(address)}`;
    await this.app.attempt(async () => {
      await change(`${path}/${drains ? 'drain' : 'resume'}`, {});
      toast(drains ? `${address} gets nothing new.` : `${address} gets its part again.`, 'good');
    });
    this.app.refreshPage();
  }
}
