// Numbers, sizes and times as operators read them.

/** What stands where there is no value. */
export const NONE = '–';

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const precise = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });

/** A count in full: 100,000. */
export function count(value) {
  return isNumber(value) ? whole.format(value) : NONE;
}

/** A rate or another measured number: three digits matter. */
export function rate(value) {
  if (!isNumber(value)) return NONE;
  if (value >= 1e9) return `${precise.format(value / 1e9)} G`;
  if (value >= 1e6) return `${precise.format(value / 1e6)} M`;
  if (value >= 1e4) return `${precise.format(value / 1e3)} k`;
  return value >= 100 ? whole.format(value) : precise.format(value);
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** Bytes: 1.21 KiB. */
export function bytes(value) {
  if (!isNumber(value)) return NONE;
  let step = 0;
  let scaled = value;
  while (Math.abs(scaled) >= 1000 && step < UNITS.length - 1) {
    scaled /= 1024;
    step += 1;
  }
  return `${step === 0 ? whole.format(scaled) : precise.format(scaled)} ${UNITS[step]}`;
}

/** Seconds that are short: 64 µs, 1.2 ms. */
export function seconds(value) {
  if (!isNumber(value)) return NONE;
  if (value < 1e-3) return `${precise.format(value * 1e6)} µs`;
  if (value < 1) return `${precise.format(value * 1e3)} ms`;
  return `${precise.format(value)} s`;
}

/** A time that passes, in its two largest units: 3 d 4 h, 12 s. */
export function duration(ms) {
  if (!isNumber(ms)) return NONE;
  if (ms < 1000) return `${whole.format(ms)} ms`;
  const all = Math.floor(ms / 1000);
  const parts = [
    [Math.floor(all / 86400), 'd'],
    [Math.floor(all / 3600) % 24, 'h'],
    [Math.floor(all / 60) % 60, 'min'],
    [all % 60, 's'],
  ];
  const first = parts.findIndex(([value]) => value > 0);
  return parts
    .slice(first, first + 2)
    .filter(([value], at) => at === 0 || value > 0)
    .map(([value, unit]) => `${value} ${unit}`)
    .join(' ');
}

/** A share: 12 %. */
export function percent(share) {
  return isNumber(share) ? `${precise.format(share * 100)} %` : NONE;
}

/** The time of day. */
export function clock(unixMs) {
  return new Date(unixMs).toLocaleTimeString('en-GB');
}

/** The time of day with milliseconds. */
export function exactClock(unixMs) {
  return `${clock(unixMs)}.${String(Math.floor(unixMs % 1000)).padStart(3, '0')}`;
}

/** One connection, 2 connections. */
export function plural(value, one, many = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** Words of a name: `by_peer` is "by peer". */
export function words(name) {
  return name.replaceAll('_', ' ');
}

// Controls, separators of lines and paragraphs, and what changes the direction of a text (UAX #9): with them a
// name looks like another one. So do characters without any width.
const UNSEEN = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}\u{200b}\u{2060}\u{feff}]/gu;

/** A text of a client with what cannot be seen in it as escapes. Line feeds and tabs stay where `isLong`. */
export function visible(text, { isLong = false } = {}) {
  return text.replace(UNSEEN, (own) =>
    isLong && (own === '\n' || own === '\t') ? own : `\\u{${own.codePointAt(0).toString(16)}}`,
  );
}

function isNumber(value) {
  return typeof value === 'number' && Number.isFinite(value);
}
