// Rooms and topics with their members.

import { get } from './api.js';
import { confirm, h, keyed, scroller, setText, toast } from './dom.js';
import { count, plural, visible } from './format.js';
import { listOf } from './parts.js';
import { change } from './session.js';

/** The page. */
export class Rooms {
  constructor(app) {
    Object.assign(this, { app, rooms: [], isWhole: true });
    this.search = h('input', {
      type: 'search',
      placeholder: 'Name or route',
      autocomplete: 'off',
      spellcheck: false,
      oninput: () => this.show(),
      'aria-label': 'Name or route',
    });
    this.status = h('span', { class: 'muted' });
    this.body = h('tbody');
    this.empty = h('p', { class: 'empty' }, 'Asking.');
    this.table = h(
      'table',
      { class: 'plain rooms', hidden: true },
      h(
        'thead',
        {},
        h(
          'tr',
          {},
          ['Room or topic', 'Route', 'Members', ''].map((name) =>
            h('th', { scope: 'col' }, name || h('span', { class: 'unseen' }, 'Actions')),
          ),
        ),
      ),
      this.body,
    );
    this.element = h(
      'div',
      { class: 'page' },
      h('h1', { class: 'unseen' }, 'Rooms'),
      h(
        'section',
        { class: 'card flush' },
        h('div', { class: 'bar-line' }, this.search, h('span', { class: 'grow' }), this.status),
        scroller('Rooms', this.table),
        this.empty,
      ),
    );
  }

  async refresh() {
    try {
      const { rooms, is_whole: isWhole } = await get('/api/v1/rooms');
      Object.assign(this, { rooms, isWhole });
      this.show();
    } catch (error) {
      this.rooms = [];
      this.show(`Rooms cannot be listed: ${error.message}.`);
      throw error;
    }
  }

  show(error = '') {
    const wanted = this.search.value.trim().toLowerCase();
    const shown = this.rooms.filter(({ room, route }) => `${room} ${route}`.toLowerCase().includes(wanted));
    const max = Math.max(1, ...this.rooms.map((own) => own.members));
    setText(this.empty, error || (this.rooms.length > 0 ? 'No room fits.' : 'No room has members.'));
    setText(
      this.status,
      this.isWhole ? plural(shown.length, 'room') : `the ${count(this.rooms.length)} largest`,
    );
    this.table.hidden = shown.length === 0;
    this.empty.hidden = shown.length > 0;
    keyed(
      this.body,
      shown,
      ({ route, room }) => JSON.stringify([route, room]),
      (own) => this.row(own),
      (row, { members }) => {
        const [, , figure] = row.children;
        figure.firstChild.style.setProperty('--share', members / max);
        setText(figure.lastChild, count(members));
      },
    );
  }

  row({ route, room }) {
    // The only topic of a route has no name of its own.
    const name = visible(room || route);
    return h(
      'tr',
      {},
      h('th', { scope: 'row', class: 'name', title: name }, h('a', { href: listOf({ room, route }) }, name)),
      h('td', { class: 'name', title: route }, route),
      h('td', { class: 'members' }, h('span', { class: 'gauge' }), h('span')),
      h(
        'td',
        { class: 'figure' },
        h(
          'button',
          {
            class: 'button small',
            type: 'button',
            'aria-label': `Publish to ${name}`,
            onclick: () => this.publish(route, room),
          },
          'Publish',
        ),
      ),
    );
  }

  async publish(route, room) {
    const text = h('textarea', { rows: 4, required: true });
    const body = [
      h('p', {}, 'All members get it as if a member had said so.'),
      h('label', { class: 'field' }, h('span', {}, 'Text'), text),
    ];
    if (
      !(await confirm({ title: `Publish to ${visible(room || route)}`, body, yes: 'Publish', danger: false }))
    )
      return;
    await this.app.attempt(async () => {
      await change('/api/v1/publish', { route, room, text: text.value });
      toast(`Published to ${visible(room || route)}.`, 'good');
    });
  }
}
