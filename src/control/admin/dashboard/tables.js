// The tables of the overview: loops, and whatever families share a label.

import { card, h, keyed, scroller, setText } from './dom.js';
import { bytes, count, percent, rate, seconds, words } from './format.js';
import { quantile, tableBy, total } from './metrics.js';
import { loopsOf } from './points.js';

/** The loops, side by side. */
export class LoopTable {
  constructor() {
    this.head = h('tr');
    this.body = h('tbody');
    this.element = card(
      'Loops',
      {},
      scroller('Loops', h('table', { class: 'plain' }, h('thead', {}, this.head), this.body)),
    );
  }

  update(interval) {
    const loops = loopsOf(interval.now).map((loop) => loopRow(interval, loop));
    const columns = LOOP_COLUMNS.filter(([, key]) =>
      loops.some((own) => own[key] !== null && own[key] !== undefined),
    );
    keyed(
      this.head,
      columns,
      ([name]) => name,
      ([name, , , title]) => h('th', { scope: 'col', title }, name),
    );
    keyed(
      this.body,
      loops,
      (own) => own.loop,
      () => h('tr'),
      (row, own) => {
        keyed(
          row,
          columns,
          ([name]) => name,
          ([, key]) =>
            key === 'loop'
              ? h('th', { scope: 'row' })
              : key === 'busy'
                ? h('td', {}, h('span', { class: 'gauge' }), h('span'))
                : h('td'),
          (cell, [, key, format]) => {
            if (key !== 'busy') {
              setText(cell, format(own[key]));
              return;
            }
            cell.firstChild.style.setProperty('--share', Math.min(1, own.busy ?? 0));
            cell.firstChild.classList.toggle('is-high', own.busy > 0.8);
            setText(cell.lastChild, percent(own.busy));
          },
        );
      },
    );
    this.element.hidden = loops.length === 0;
  }
}

const LOOP_COLUMNS = [
  ['Loop', 'loop', String],
  ['Connections', 'connections', count],
  ['Busy', 'busy', percent, 'the share of the time that its turns take'],
  ['Turns/s', 'turns', rate],
  ['50 %', 'half', seconds, 'half of its turns take no longer'],
  ['99 %', 'nearly', seconds, '99 % of its turns take no longer'],
  ['Worst', 'worst', seconds, 'the bound of the bucket that holds the longest turn of the last ten seconds'],
  ['Lag 99 %', 'lag', seconds, 'from readiness to its turn'],
];

function loopRow(interval, loop) {
  const turns = interval.histogram('turn_duration_seconds', { loop });
  const lag = interval.histogram('loop_lag_seconds', { loop });
  return {
    loop,
    connections: interval.now.value('loop_connections', { loop }),
    busy: turns && turns.sum > 0 ? turns.sum / interval.seconds : null,
    turns: turns && total(turns) / interval.seconds,
    half: turns && quantile(turns, 0.5),
    nearly: turns && quantile(turns, 0.99),
    worst: turns && quantile(turns, 1),
    lag: lag && quantile(lag, 0.99),
  };
}

/** Families that share a label, such as those of routes. */
export class LabelTable {
  constructor(title, label, prefix) {
    Object.assign(this, { label, prefix });
    this.head = h('tr');
    this.body = h('tbody');
    this.element = card(
      title,
      {},
      scroller(title, h('table', { class: 'plain' }, h('thead', {}, this.head), this.body)),
    );
    this.element.hidden = true;
  }

  update(interval) {
    const { columns, rows } = tableBy(interval, this.label, (name) => name.startsWith(this.prefix));
    this.element.hidden = rows.length === 0;
    const title = (name) => words(name.slice(this.prefix.length).replace(/_total$/, '/s'));
    keyed(
      this.head,
      [null, ...columns],
      (own) => own?.name ?? '',
      (own) => h('th', { scope: 'col' }, own ? title(own.name) : words(this.label)),
    );
    keyed(
      this.body,
      rows,
      (row) => row,
      () => h('tr'),
      (element, row) => {
        keyed(
          element,
          [null, ...columns],
          (own) => own?.name ?? '',
          (own) => (own ? h('td') : h('th', { scope: 'row' })),
          (cell, own) => {
            const labels = { [this.label]: row };
            setText(
              cell,
              !own
                ? row
                : own.kind === 'counter'
                  ? figure(own.name)(interval.rate(own.name, labels))
                  : figure(own.name, count)(interval.now.value(own.name, labels)),
            );
          },
        );
      },
    );
  }
}

const figure = (name, usual = rate) => (/bytes/.test(name) ? bytes : /seconds/.test(name) ? seconds : usual);
