// Charts of the last minutes: lines over time, with one time pointed at in all of them together.

import { h, svg } from './dom.js';
import { bytes } from './format.js';

const HEIGHT = 66;
// The number of the upper line stands above it, where no value reaches.
const TOP = 17;
// A longer pause between two points, such as a hidden tab, is shown as a gap.
const GAP_MS = 12_000;

/** All charts that are shown, which point at one time together. */
export class Charts {
  constructor() {
    this.all = new Set();
    this.pointedMs = null;
  }

  point(unixMs) {
    this.pointedMs = unixMs;
    for (const chart of this.all) chart.mark();
  }
}

/** One chart. `keys` name the values of points, in the order of the classes series-0, series-1. */
export class Chart {
  /** `onMark` gets the point that is pointed at, or null. */
  constructor(charts, keys, { format, onMark }) {
    Object.assign(this, {
      charts,
      keys,
      format,
      onMark,
      points: [],
      width: 0,
      max: 0,
      nowMs: 0,
      windowMs: 1,
    });
    this.areas = keys.map((_, at) => svg('path', { class: `area series-${at}` }));
    this.lines = keys.map((_, at) => svg('path', { class: `line series-${at}` }));
    this.dots = keys.map((_, at) => svg('circle', { class: `mark series-${at}`, r: 3 }));
    this.cursor = svg('line', { class: 'cursor', y1: 0, y2: HEIGHT });
    this.grid = svg('path', { class: 'grid' });
    this.picture = svg(
      'svg',
      { height: HEIGHT, 'aria-hidden': 'true' },
      this.grid,
      ...this.areas.slice(0, 1),
      ...this.lines,
      this.cursor,
      ...this.dots,
    );
    this.maxLabel = h('span', { class: 'scale' });
    this.element = h(
      'div',
      {
        class: 'chart',
        onpointermove: (event) => this.hover(event),
        onpointerleave: () => charts.point(null),
      },
      this.picture,
      this.maxLabel,
    );
    new ResizeObserver(([entry]) => this.resize(entry.contentRect.width)).observe(this.element);
    charts.all.add(this);
  }

  draw({ points, windowMs }) {
    Object.assign(this, { points, windowMs });
    this.nowMs = points.at(-1)?.unixMs ?? 0;
    const values = points.flatMap((point) => this.keys.map((key) => point[key])).filter(isKnown);
    this.max = ceiling(Math.max(0, ...values), this.format === bytes);
    this.maxLabel.textContent = values.length > 1 && this.max > 0 ? this.format(this.max) : '';
    this.paint();
  }

  resize(width) {
    if (width === 0 || width === this.width) return;
    this.width = width;
    this.picture.setAttribute('viewBox', `0 0 ${width} ${HEIGHT}`);
    this.paint();
  }

  paint() {
    if (this.width === 0) return;
    const base = HEIGHT - 0.5;
    this.grid.setAttribute(
      'd',
      `M0 ${TOP + 0.5}H${this.width}M0 ${(TOP + base) / 2}H${this.width}M0 ${base}H${this.width}`,
    );
    this.keys.forEach((key, at) => {
      const runs = this.runs(key);
      this.lines[at].setAttribute('d', runs.map((run) => `M${run.map(pair).join('L')}`).join(''));
      const closed = (run) => `M${run[0][0]} ${base}L${run.map(pair).join('L')}L${run.at(-1)[0]} ${base}Z`;
      this.areas[at].setAttribute('d', runs.map(closed).join(''));
    });
    this.mark();
  }

  /** The parts of a line without gaps, as pairs of coordinates. */
  runs(key) {
    const runs = [];
    let run = null;
    let lastMs = null;
    for (const point of this.points) {
      if (!isKnown(point[key])) {
        run = null;
        continue;
      }
      if (run === null || point.unixMs - lastMs > GAP_MS) runs.push((run = []));
      run.push([this.x(point.unixMs), this.y(point[key])]);
      lastMs = point.unixMs;
    }
    return runs;
  }

  x(unixMs) {
    return round((1 - (this.nowMs - unixMs) / this.windowMs) * this.width);
  }

  y(value) {
    return round(HEIGHT - 1 - (this.max > 0 ? value / this.max : 0) * (HEIGHT - 1 - TOP));
  }

  hover(event) {
    const { left, width } = this.picture.getBoundingClientRect();
    this.charts.point(this.nowMs - (1 - (event.clientX - left) / width) * this.windowMs);
  }

  mark() {
    const { pointedMs } = this.charts;
    const point = pointedMs === null ? null : nearest(this.points, pointedMs);
    this.picture.classList.toggle('is-pointed', point !== null);
    if (point) {
      const x = this.x(point.unixMs);
      this.cursor.setAttribute('x1', x);
      this.cursor.setAttribute('x2', x);
      this.keys.forEach((key, at) => {
        this.dots[at].setAttribute('cx', x);
        this.dots[at].setAttribute('cy', isKnown(point[key]) ? this.y(point[key]) : -10);
      });
    }
    this.onMark(point);
  }
}

function nearest(points, unixMs) {
  let found = null;
  for (const point of points) {
    if (found === null || Math.abs(point.unixMs - unixMs) < Math.abs(found.unixMs - unixMs)) found = point;
  }
  return found;
}

/** A round number that is not below `value`, in the unit that bytes are shown in. */
function ceiling(value, isBytes) {
  if (value <= 0) return 0;
  const unit = isBytes ? 1024 ** Math.floor(Math.log(value) / Math.log(1024)) : 1;
  const power = unit * 10 ** Math.floor(Math.log10(value / unit));
  return power * ([1, 1.5, 2, 3, 4, 5, 6, 8].find((step) => step * power >= value) ?? 10);
}

const pair = ([x, y]) => `${x} ${y}`;
const round = (value) => Math.round(value * 10) / 10;
const isKnown = (value) => typeof value === 'number' && Number.isFinite(value);
