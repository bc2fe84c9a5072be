// What the charts show, derived from each pair of snapshots.

import { Interval, isRestart, merged, quantile } from './metrics.js';

/** How far back the charts go. */
const WINDOW_MS = 10 * 60 * 1000;
// A page that has just begun shows no more than this, so that its first points are not a dot at the edge.
const WINDOW_MS_MIN = 2 * 60 * 1000;
// Rates in lists and tables are those of so many polls: what happens now and then would flicker otherwise.
const AVERAGED = 5;

// Memory by connection says nothing while the program itself is most of it.
const CONNECTIONS_MIN = 100;

/** The snapshots that came, as points of the charts. */
export class History {
  constructor() {
    /** The points of the last minutes, the oldest first. Between two processes stands a point without values. */
    this.points = [];
    this.last = null;
    /** The time since the last snapshot but one, and about ten seconds. */
    this.interval = null;
    this.average = null;
    this.snapshots = [];
  }

  /** How much time the charts show, in milliseconds. */
  get windowMs() {
    const shown = this.points.length === 0 ? 0 : this.points.at(-1).unixMs - this.points[0].unixMs;
    return Math.min(WINDOW_MS, Math.max(WINDOW_MS_MIN, shown));
  }

  /** Adds a snapshot. Whether another process answers than before. */
  add(snapshot) {
    const restarted = this.last !== null && isRestart(this.last, snapshot);
    if (restarted) {
      this.points.push({ unixMs: snapshot.unixMs });
      this.snapshots = [];
    }
    this.interval = new Interval(restarted ? null : this.last, snapshot);
    this.average = new Interval(this.snapshots[0] ?? null, snapshot);
    this.snapshots.push(snapshot);
    if (this.snapshots.length > AVERAGED) this.snapshots.shift();
    this.last = snapshot;
    this.points.push(point(this.interval));
    const oldest = snapshot.unixMs - WINDOW_MS;
    const kept = this.points.findIndex((own) => own.unixMs >= oldest);
    // One beyond the edge, so that the line reaches it.
    if (kept > 1) this.points.splice(0, kept - 1);
    return restarted;
  }
}

/** The numbers of the loops that say how long their turns take. */
export function loopsOf(snapshot) {
  const names = snapshot.samples('turn_duration_seconds').map((sample) => sample.labels.loop);
  return names.filter((name) => name !== undefined).sort((left, right) => left - right);
}

function point(interval) {
  const { now } = interval;
  const value = (name) => now.value(name);
  const rate = (name) => interval.rate(name);
  const connections = value('connections');
  const [open, halfOpen] = [value('open'), value('half_open')];
  const resident = value('process_resident_memory_bytes');
  const anonymous = value('process_anonymous_memory_bytes');
  const pool = value('pool_bytes');
  const byConnection = (bytes) =>
    bytes === null || connections < CONNECTIONS_MIN ? null : bytes / connections;
  return {
    unixMs: now.unixMs,
    connections,
    open,
    halfOpen,
    connectionsMax: value('connections_max'),
    closing: value('closing') ?? (connections === null ? null : Math.max(0, connections - open - halfOpen)),
    accepted: rate('connections_accepted_total'),
    upgrades: rate('upgrades_total'),
    refused: rate('requests_refused_total'),
    closed: rate('connections_closed_total'),
    messagesIn: rate('messages_in_total'),
    messagesOut: rate('messages_out_total'),
    writes: rate('writes_total'),
    publications: rate('publications_total'),
    bytesIn: rate('bytes_in_total') ?? rate('message_bytes_in_total'),
    bytesOut: rate('bytes_out_total'),
    resident,
    anonymous,
    pool,
    residentEach: byConnection(resident),
    anonymousEach: byConnection(anonymous),
    poolEach: byConnection(pool),
    processor: rate('process_cpu_seconds_total'),
    tlsFull: rate('tls_full_total'),
    tlsResumed: rate('tls_resumed_total'),
    ...turns(interval),
  };
}

/** The turns of all loops together, and those of the worst. */
function turns(interval) {
  const loops = loopsOf(interval.now).map((loop) => interval.histogram('turn_duration_seconds', { loop }));
  const lags = loopsOf(interval.now).map((loop) => interval.histogram('loop_lag_seconds', { loop }));
  const worst = (histograms) => {
    const bounds = histograms
      .filter(Boolean)
      .map((own) => quantile(own, 0.99))
      .filter((own) => own !== null);
    return bounds.length === 0 ? null : Math.max(...bounds);
  };
  const all = merged(loops);
  return { turnHalf: all && quantile(all, 0.5), turnWorst: worst(loops), lagWorst: worst(lags) };
}
