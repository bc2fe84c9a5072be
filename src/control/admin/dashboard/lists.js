// The lists of the overview: reasons and rooms with bars, and names with values.

import { card, h, keyed, setText } from './dom.js';
import { count, percent, rate, visible, words } from './format.js';
import { PRESSURE } from './reasons.js';

const ROOMS_SHOWN = 8;

/** Reasons with their rates and totals, the busiest first. */
export class ReasonList {
  constructor(title, family, explanations, nothing) {
    Object.assign(this, { family, explanations });
    this.sum = h('span', { class: 'sum' });
    this.body = h('tbody');
    this.empty = h('p', { class: 'empty' }, nothing);
    this.table = h(
      'table',
      { class: 'bars' },
      h(
        'thead',
        { class: 'unseen' },
        h(
          'tr',
          {},
          ['Reason', 'Per second', 'Total'].map((name) => h('th', { scope: 'col' }, name)),
        ),
      ),
      this.body,
    );
    this.element = card(title, { note: this.sum }, this.table, this.empty);
  }

  update(interval) {
    const { now } = interval;
    const rows = now
      .samples(this.family)
      .filter((sample) => sample.value > 0)
      .map(({ labels, value }) => ({
        reason: labels.reason,
        code: labels.code,
        total: value,
        rate: interval.rate(this.family, labels),
      }));
    rows.sort((left, right) => right.total - left.total);
    const max = Math.max(1, ...rows.map((row) => row.total));
    setText(this.sum, rows.length === 0 ? '' : `${count(now.value(this.family))} in all`);
    this.table.hidden = rows.length === 0;
    this.empty.hidden = rows.length > 0;
    keyed(
      this.body,
      rows,
      (row) => row.reason,
      () => reasonRow(),
      (element, row) => {
        const explanation = this.explanations[row.reason] ?? '';
        fillReason(element, { ...row, name: words(row.reason), explanation, share: row.total / max });
      },
    );
  }
}

function reasonRow() {
  return h(
    'tr',
    {},
    h(
      'th',
      { scope: 'row' },
      h('span', { class: 'bar' }),
      h('span', { class: 'what' }),
      h('span', { class: 'why' }),
    ),
    h('td', { class: 'figure' }),
    h('td', { class: 'figure strong' }),
  );
}

function fillReason(row, { name, code, explanation, share, rate: perSecond, total: all }) {
  const [head, speed, sum] = row.children;
  const [bar, what, why] = head.children;
  bar.style.setProperty('--share', share);
  setText(what, name);
  setText(why, code ? `${code}, ${explanation}` : explanation);
  setText(speed, perSecond > 0 ? `${rate(perSecond)}/s` : '');
  row.classList.toggle('is-moving', perSecond > 0);
  setText(sum, count(all));
}

/** Names with values, such as those of TLS. Shown only if there is any. */
export class FactList {
  constructor(title, factsOf) {
    this.factsOf = factsOf;
    this.list = h('dl', { class: 'facts' });
    this.element = card(title, {}, this.list);
    this.element.hidden = true;
  }

  update(interval) {
    const facts = this.factsOf(interval);
    this.element.hidden = facts.length === 0;
    keyed(
      this.list,
      facts,
      ([name]) => name,
      ([name]) => h('div', { class: 'fact' }, h('dt', {}, name), h('dd')),
      (element, [, value]) => setText(element.lastChild, value),
    );
  }
}

export function tlsFacts(interval) {
  const { now } = interval;
  const [full, resumed] = [now.value('tls_full_total') ?? 0, now.value('tls_resumed_total') ?? 0];
  const failed = now.value('tls_handshakes_failed_total') ?? 0;
  if (full + resumed + failed === 0) return [];
  const done = Math.max(1, full + resumed);
  const versions = [now.value('tls_12_total') ?? 0, now.value('tls_13_total') ?? 0];
  return [
    [
      'Handshakes',
      `${rate((interval.rate('tls_full_total') ?? 0) + (interval.rate('tls_resumed_total') ?? 0))}/s, ${count(full + resumed)} in all`,
    ],
    ['Resumed', percent(resumed / done)],
    ['Version 1.3', percent(versions[1] / Math.max(1, versions[0] + versions[1]))],
    ['Waiting now', count(now.value('tls_waiting') ?? 0)],
    ['Faults after the handshake', count(now.value('tls_faults_total') ?? 0)],
    ['Ended without a notice', count(now.value('tls_truncated_total') ?? 0)],
  ];
}

export function lookupFacts(interval) {
  const { now } = interval;
  if (!(now.value('lookups_total') > 0)) return [];
  const facts = [
    ['Started', `${rate(interval.rate('lookups_total'))}/s, ${count(now.value('lookups_total'))} in all`],
  ];
  for (const kind of ['right', 'wrong', 'unavailable', 'refused', 'cancelled']) {
    facts.push([kind[0].toUpperCase() + kind.slice(1), count(now.value(`lookups_${kind}_total`) ?? 0)]);
  }
  return facts;
}

/** The counters that say that a limit was hit. */
export class PressureList extends ReasonList {
  constructor() {
    super('Limits hit', '', {}, 'No limit was hit.');
  }

  update(interval) {
    const rows = Object.entries(PRESSURE)
      .map(([family, [name, explanation]]) => ({
        family,
        name,
        explanation,
        total: interval.now.value(family) ?? 0,
        rate: interval.rate(family),
      }))
      .filter((row) => row.total > 0);
    rows.sort((left, right) => right.total - left.total);
    this.table.hidden = rows.length === 0;
    this.empty.hidden = rows.length > 0;
    const max = Math.max(1, ...rows.map((row) => row.total));
    keyed(
      this.body,
      rows,
      (row) => row.family,
      () => reasonRow(),
      (element, row) => fillReason(element, { ...row, share: row.total / max }),
    );
  }
}

/** The rooms with the most members. */
export class TopRooms {
  constructor() {
    this.body = h('tbody');
    this.empty = h('p', { class: 'empty' }, 'Asking.');
    this.table = h(
      'table',
      { class: 'bars', hidden: true },
      h(
        'thead',
        { class: 'unseen' },
        h(
          'tr',
          {},
          ['Room', 'Route', 'Members'].map((name) => h('th', { scope: 'col' }, name)),
        ),
      ),
      this.body,
    );
    this.element = card(
      'Top rooms',
      { actions: h('a', { class: 'more', href: '#rooms' }, 'All rooms') },
      this.table,
      this.empty,
    );
  }

  show(rooms, error = 'No room has members.') {
    setText(this.empty, error);
    const shown = rooms.slice(0, ROOMS_SHOWN);
    const max = Math.max(1, shown[0]?.members ?? 0);
    this.table.hidden = shown.length === 0;
    this.empty.hidden = shown.length > 0;
    keyed(
      this.body,
      shown,
      ({ route, room }) => JSON.stringify([route, room]),
      () => reasonRow(),
      (element, own) => {
        fillReason(element, {
          name: visible(own.room || own.route),
          explanation: own.room ? own.route : 'the topic of the route',
          share: own.members / max,
          total: own.members,
        });
      },
    );
  }
}
