// All metrics with their values and rates, to search in.

import { h, keyed, scroller, setText } from './dom.js';
import { bytes, count, rate, seconds } from './format.js';
import { quantile, total } from './metrics.js';

/** The page. */
export class Explorer {
  constructor() {
    this.history = null;
    this.search = h('input', {
      type: 'search',
      placeholder: 'Name or label',
      autocomplete: 'off',
      spellcheck: false,
      oninput: () => this.show(),
      'aria-label': 'Name or label',
    });
    this.zeros = h('input', { type: 'checkbox', onchange: () => this.show() });
    this.body = h('tbody');
    this.status = h('span', { class: 'muted' });
    this.empty = h('p', { class: 'empty' }, 'No metric fits.');
    this.table = h(
      'table',
      { class: 'plain metrics' },
      h(
        'thead',
        {},
        h(
          'tr',
          {},
          ['Name', 'Labels', 'Per second', 'Value'].map((name) => h('th', { scope: 'col' }, name)),
        ),
      ),
      this.body,
    );
    this.element = h(
      'div',
      { class: 'page' },
      h('h1', { class: 'unseen' }, 'Metrics'),
      h(
        'section',
        { class: 'card flush' },
        h(
          'div',
          { class: 'bar-line' },
          this.search,
          h('label', { class: 'switch' }, this.zeros, h('span', { class: 'knob' }), 'Zeros too'),
          h('span', { class: 'grow' }),
          this.status,
          h(
            'a',
            { class: 'more', href: '/metrics', target: '_blank', rel: 'noopener' },
            'Text for collectors',
          ),
        ),
        scroller('Metrics', this.table),
        this.empty,
      ),
    );
  }

  update(history) {
    this.history = history;
    this.show();
  }

  show() {
    const interval = this.history?.average;
    if (!interval) return;
    const wanted = this.search.value.trim().toLowerCase();
    const rows = [];
    for (const family of interval.now.families.values()) {
      for (const sample of family.samples) {
        const labels = Object.entries(sample.labels)
          .map(([name, value]) => `${name}=${value}`)
          .join(' ');
        const isZero =
          'value' in sample
            ? sample.value === 0
            : sample.sum === 0 && total({ counts: sample.buckets, above: sample.above }) === 0;
        if ((isZero && !this.zeros.checked) || !`${family.name} ${labels}`.toLowerCase().includes(wanted))
          continue;
        rows.push({ family, sample, labels });
      }
    }
    setText(this.status, `${count(rows.length)} shown`);
    this.table.hidden = rows.length === 0;
    this.empty.hidden = rows.length > 0;
    keyed(
      this.body,
      rows,
      ({ family, labels }) => `${family.name} ${labels}`,
      ({ family, labels }) =>
        h(
          'tr',
          {},
          h('th', { scope: 'row', class: 'mono' }, family.name),
          h('td', { class: 'mono muted' }, labels),
          h('td', { class: 'figure' }),
          h('td', { class: 'figure' }),
        ),
      (row, own) => {
        const [speed, value] = figures(interval, own);
        setText(row.children[2], speed);
        setText(row.children[3], value);
      },
    );
  }
}

function figures(interval, { family: { name, kind }, sample }) {
  if ('value' in sample) {
    const format = /bytes/.test(name)
      ? bytes
      : /seconds/.test(name) && kind !== 'counter' && sample.value < 1e8
        ? seconds
        : count;
    const perSecond = kind === 'counter' ? interval.rate(name, sample.labels) : null;
    return [
      perSecond > 0 ? (/bytes/.test(name) ? bytes : rate)(perSecond) : '',
      /seconds/.test(name) && kind === 'counter' ? rate(sample.value) : format(sample.value),
    ];
  }
  const recent = interval.histogram(name, sample.labels);
  const within = recent && quantile(recent, 0.99);
  const format = /seconds/.test(name) ? seconds : rate;
  return [
    recent ? rate(total(recent) / interval.seconds) : '',
    within === null ? 'none now' : `99 % within ${format(within)}`,
  ];
}
