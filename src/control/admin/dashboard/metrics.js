// Metrics: what the API says at one time, and what two such answers say about the time between them.

/** All families at one time. */
export class Snapshot {
  /** `atMs` is on the clock of performance.now(). */
  constructor(families, atMs, unixMs) {
    this.families = new Map(families.map((family) => [family.name, family]));
    this.atMs = atMs;
    this.unixMs = unixMs;
  }

  has(name) {
    return this.families.has(name);
  }

  samples(name) {
    return this.families.get(name)?.samples ?? [];
  }

  /** The sum of all samples of a family that have these labels; null if there are none. */
  value(name, labels = {}) {
    const fitting = this.samples(name).filter((sample) => fits(sample.labels, labels) && 'value' in sample);
    return fitting.length === 0 ? null : fitting.reduce((sum, sample) => sum + sample.value, 0);
  }

  /** The sample with exactly these labels. */
  sample(name, labels) {
    const size = Object.keys(labels).length;
    return this.samples(name).find(
      (own) => Object.keys(own.labels).length === size && fits(own.labels, labels),
    );
  }
}

/** The time between two snapshots of one process. `before` is null at first, and after a restart. */
export class Interval {
  constructor(before, now) {
    this.before = before;
    this.now = now;
    this.seconds = before ? (now.atMs - before.atMs) / 1000 : 0;
  }

  /** How fast a counter grew, by the second; null if that is not known. */
  rate(name, labels = {}) {
    if (!this.before || this.seconds <= 0) return null;
    const [from, to] = [this.before.value(name, labels), this.now.value(name, labels)];
    return from === null || to === null || to < from ? null : (to - from) / this.seconds;
  }

  /** What a histogram counted in this time, or null: bounds with counts, the count above, and the sum. */
  histogram(name, labels) {
    const now = this.now.sample(name, labels);
    const before = this.before?.sample(name, labels);
    if (!now?.buckets || !before?.buckets || now.buckets.length !== before.buckets.length) return null;
    const counts = now.buckets.map(([bound, count], at) => [bound, count - before.buckets[at][1]]);
    const above = now.above - before.above;
    if (above < 0 || counts.some(([, count]) => count < 0)) return null;
    return { counts, above, sum: now.sum - before.sum };
  }
}

/** Whether another process answers than before: it began at another time, or its counters fell. */
export function isRestart(before, now) {
  const [began, begins] = [before, now].map((own) => own.value('process_start_time_seconds'));
  // The system gives the time of the start with a hundredth of a second.
  if (began !== null && begins !== null) return Math.abs(began - begins) > 0.5;
  return ALWAYS_GROW.some((name) => {
    const [from, to] = [before.value(name), now.value(name)];
    return from !== null && to !== null && to < from;
  });
}

/** How many values a histogram counted. */
export function total({ counts, above }) {
  return counts.reduce((sum, [, count]) => sum + count, above);
}

/** The bound that a share of all values is within, interpolated inside its bucket; null without values. */
export function quantile(histogram, share) {
  const all = total(histogram);
  if (all === 0) return null;
  const wanted = share * all;
  let counted = 0;
  let lower = 0;
  for (const [bound, count] of histogram.counts) {
    if (count > 0 && counted + count >= wanted) return lower + (bound - lower) * ((wanted - counted) / count);
    counted += count;
    lower = bound;
  }
  return lower;
}

/** Several histograms as one. */
export function merged(histograms) {
  const known = histograms.filter(Boolean);
  if (known.length === 0) return null;
  const counts = known[0].counts.map(([bound], at) => [
    bound,
    known.reduce((sum, own) => sum + (own.counts[at]?.[1] ?? 0), 0),
  ]);
  const sumOf = (name) => known.reduce((sum, own) => sum + own[name], 0);
  return { counts, above: sumOf('above'), sum: sumOf('sum') };
}

/**
 * Families with a label as a table: a row for each value of the label, a column for each family. Families with
 * further labels are summed.
 */
export function tableBy(interval, label, isWanted) {
  const columns = [];
  const rows = new Set();
  for (const family of interval.now.families.values()) {
    if (family.kind === 'histogram' || !isWanted(family.name)) continue;
    const values = family.samples
      .map((sample) => sample.labels[label])
      .filter((value) => value !== undefined);
    if (values.length === 0) continue;
    columns.push(family);
    values.forEach((value) => rows.add(value));
  }
  return { columns, rows: [...rows] };
}

function fits(labels, wanted) {
  return Object.entries(wanted).every(([name, value]) => labels[name] === value);
}

const ALWAYS_GROW = ['connections_accepted_total', 'turns_total', 'writes_total'];
