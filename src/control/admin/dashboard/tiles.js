// The tiles of the overview: a number or two, with a chart of the last minutes.

import { Chart } from './chart.js';
import { h, setText } from './dom.js';
import { bytes, clock, count, percent, rate, seconds } from './format.js';

// `needs` is a family without which a tile shows `instead`; a tile whose `optional` family is missing is left out.
export const TILES = [
  {
    title: 'Connections',
    series: [['open', 'open', count]],
    detail: (own) =>
      `${count(own.halfOpen)} in handshake, ${count(own.closing)} closing${own.connectionsMax ? `, at most ${count(own.connectionsMax)}` : ''}`,
  },
  {
    title: 'Upgrades',
    unit: '/s',
    series: [
      ['upgrades', 'upgraded', rate],
      ['refused', 'refused', rate],
    ],
    detail: (own) => `${rate(own.accepted)} accepted, ${rate(own.closed)} closed per second`,
  },
  {
    title: 'Messages',
    unit: '/s',
    series: [
      ['messagesIn', 'in', rate],
      ['messagesOut', 'out', rate],
    ],
    needs: 'messages_out_total',
    instead: [
      ['messagesIn', 'in', rate],
      ['writes', 'writes', rate],
    ],
    detail: (own) => `${rate(own.publications)} publications per second`,
  },
  {
    title: 'Traffic',
    unit: '/s',
    series: [
      ['bytesIn', 'in', bytes],
      ['bytesOut', 'out', bytes],
    ],
    detail: (own) =>
      own.messagesIn > 0 && own.bytesIn !== null
        ? `${bytes(own.bytesIn / own.messagesIn)} by message received`
        : 'bytes of messages in, of sockets out',
  },
  {
    title: 'Memory',
    series: [
      ['resident', 'resident', bytes],
      ['pool', 'pool', bytes],
    ],
    detail: (own) =>
      own.anonymous == null ? 'of the process, and of buffers in it' : `${bytes(own.anonymous)} anonymous`,
  },
  {
    title: 'Memory per connection',
    series: [
      ['residentEach', 'resident', bytes],
      ['poolEach', 'pool', bytes],
    ],
    detail: (own) =>
      own.residentEach == null
        ? 'shown from 100 connections on'
        : own.anonymousEach == null
          ? `over ${count(own.connections)} connections`
          : `${bytes(own.anonymousEach)} anonymous`,
  },
  {
    title: 'Worst loop, 99 %',
    series: [
      ['turnWorst', 'turn', seconds],
      ['lagWorst', 'lag', seconds],
    ],
    needs: 'loop_lag_seconds',
    instead: [['turnWorst', 'turn', seconds]],
    optional: 'turn_duration_seconds',
    detail: (own) => `${seconds(own.turnHalf)} by half of all turns`,
  },
  {
    title: 'Processor',
    series: [['processor', 'of one core', percent]],
    optional: 'process_cpu_seconds_total',
    detail: (own) =>
      own.messagesIn > 0 && own.processor !== null
        ? `${seconds(own.processor / own.messagesIn)} by message`
        : 'all threads together',
  },
];

/** A number with its chart. */
export class Tile {
  constructor(charts, { title, unit = '', series, detail }) {
    Object.assign(this, { series, detail, last: {} });
    this.values = series.map(() => h('span', { class: 'number' }));
    this.note = h('p', { class: 'detail' });
    this.time = h('span', { class: 'time' });
    const value = ([, name], at) =>
      h(
        'div',
        { class: 'value' },
        h('p', {}, this.values[at], unit && h('span', { class: 'unit' }, unit)),
        h('p', { class: `series series-${at}` }, h('span', { class: 'swatch' }), name),
      );
    this.chart = new Chart(
      charts,
      series.map(([key]) => key),
      { format: series[0][2], onMark: (point) => this.show(point) },
    );
    this.element = h(
      'section',
      { class: 'tile' },
      h('header', {}, h('h2', {}, title), this.time),
      h('div', { class: 'values' }, series.map(value)),
      this.note,
      this.chart.element,
    );
  }

  draw(history) {
    this.last = history.points.at(-1) ?? {};
    this.chart.draw(history);
  }

  /** Shows the point that is pointed at, or else the last one. */
  show(point) {
    const own = point ?? this.last;
    this.series.forEach(([key, , format], at) => setText(this.values[at], format(own[key])));
    setText(this.note, this.detail(own));
    setText(this.time, point ? clock(point.unixMs) : '');
  }
}
