// The first page: what the gateway does now, and how that changed over the last minutes.

import { get } from './api.js';
import { Charts } from './chart.js';
import { h } from './dom.js';
import { CLOSES, REFUSALS, TLS_FAILURES } from './reasons.js';
import { TILES, Tile } from './tiles.js';
import { FactList, PressureList, ReasonList, TopRooms, lookupFacts, tlsFacts } from './lists.js';
import { LabelTable, LoopTable } from './tables.js';

/** The page. */
export class Overview {
  constructor(app) {
    this.app = app;
    Object.assign(this, { charts: new Charts(), tiles: [], chosen: null });
    this.grid = h('div', { class: 'tiles' });
    this.rooms = new TopRooms();
    this.parts = [
      new LoopTable(),
      new ReasonList('Closed', 'connections_closed_total', CLOSES, 'No connection has ended.'),
      new ReasonList('Refused', 'requests_refused_total', REFUSALS, 'No request was refused.'),
      new PressureList(),
      new FactList('TLS', tlsFacts),
      new ReasonList(
        'TLS handshakes failed',
        'tls_handshakes_failed_total',
        TLS_FAILURES,
        'No TLS handshake failed.',
      ),
      new FactList('Look-ups', lookupFacts),
      new LabelTable('Routes', 'route', 'route_'),
      new LabelTable('Backends', 'upstream', 'upstream_'),
    ];
    const [loops, closed, refused, limits, tls, tlsFailures, lookups, ...tables] = this.parts.map(
      (part) => part.element,
    );
    this.tlsFailures = tlsFailures;
    const column = (...cards) => h('div', { class: 'column' }, ...cards);
    this.element = h(
      'div',
      { class: 'page' },
      h('h1', { class: 'unseen' }, 'Overview'),
      this.grid,
      h(
        'div',
        { class: 'columns' },
        column(loops, h('div', { class: 'halves' }, column(closed), column(refused, limits))),
        column(this.rooms.element, tls, tlsFailures, lookups),
      ),
      ...tables,
    );
  }

  update(history) {
    if (history.last) this.choose(history.last);
    for (const tile of this.tiles) tile.draw(history);
    if (!history.last) return;
    for (const part of this.parts) part.update(history.average);
    this.tlsFailures.hidden = !(history.last.value('tls_handshakes_failed_total') > 0);
  }

  /** Makes the tiles that the families call for, unless they are there. */
  choose(snapshot) {
    const tiles = TILES.filter(({ optional }) => !optional || snapshot.has(optional)).map((tile) => ({
      ...tile,
      series: tile.needs && !snapshot.has(tile.needs) ? tile.instead : tile.series,
    }));
    const chosen = tiles.map(({ title, series }) => `${title} ${series.length}`).join();
    if (chosen === this.chosen) return;
    this.chosen = chosen;
    this.charts = new Charts();
    this.tiles = tiles.map((tile) => new Tile(this.charts, tile));
    this.grid.replaceChildren(...this.tiles.map((tile) => tile.element));
  }

  async refresh() {
    try {
      const { rooms } = await get('/api/v1/rooms');
      this.rooms.show(rooms);
    } catch (error) {
      this.rooms.show([], `Rooms cannot be listed: ${error.message}.`);
      throw error;
    }
  }
}
