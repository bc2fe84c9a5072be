// The gateway itself: readiness, drain, reload, log, certificates, configuration.

import { get } from './api.js';
import { card, fact, h } from './dom.js';
import { bytes, count, duration, percent, plural } from './format.js';
import { DrainCard } from './drain.js';
import { ReloadCard } from './reload.js';
import { ConfigurationCard, LevelCard } from './settings.js';
import { UpstreamsCard } from './upstreams.js';

const DAY_MS = 86_400_000;

/** The page. */
export class GatewayPage {
  constructor(app) {
    this.app = app;
    this.process = h('dl', { class: 'facts' });
    this.ready = h('div', { class: 'ready' });
    this.drain = new DrainCard(app);
    this.reload = new ReloadCard(app);
    this.level = new LevelCard(app);
    this.certificates = h('ul', { class: 'list' });
    this.noCertificates = h('p', { class: 'empty' }, 'No listener speaks TLS.');
    this.upstreams = new UpstreamsCard(app);
    this.configuration = new ConfigurationCard();
    this.element = h(
      'div',
      { class: 'page' },
      h('h1', { class: 'unseen' }, 'Gateway'),
      h(
        'div',
        { class: 'thirds' },
        h('div', { class: 'column' }, card('Readiness', {}, this.ready), card('Process', {}, this.process)),
        h(
          'div',
          { class: 'column' },
          this.drain.element,
          card('Certificates', {}, this.certificates, this.noCertificates),
        ),
        h('div', { class: 'column' }, this.reload.element, this.level.element),
      ),
      this.upstreams.element,
      this.configuration.element,
    );
  }

  update(history) {
    this.last = history;
    this.showProcess();
  }

  async refresh() {
    const [{ certificates }, { level }, { toml }, { upstreams }] = await Promise.all(
      ['certificates', 'log-level', 'configuration', 'upstreams'].map((name) => get(`/api/v1/${name}`)),
    );
    this.noCertificates.hidden = certificates.length > 0;
    this.certificates.hidden = certificates.length === 0;
    const ends = this.app.history.last?.samples('certificate_expiry_timestamp_seconds') ?? [];
    this.certificates.replaceChildren(...certificates.map((line, at) => certificate(line, ends[at]?.value)));
    this.level.show(level);
    this.configuration.show(toml);
    this.upstreams.show(upstreams);
    this.showHealth(await get('/healthz', { accepted: 503 }));
  }

  /** What the app has learned of the whole. */
  showState({ version, readiness, drain }) {
    this.version = version;
    this.showProcess();
    this.drain.show(drain);
    if (!readiness) return;
    const { reasons, away } = readiness;
    this.readyRows = [
      h(
        'p',
        { class: `verdict ${reasons.length === 0 ? 'good' : 'warn'}` },
        h('span', { class: 'dot' }),
        reasons.length === 0 ? 'Ready for clients' : 'Not ready for clients',
      ),
      reasons.length > 0 &&
        h(
          'ul',
          { class: 'list' },
          reasons.map((reason) => h('li', {}, reason)),
        ),
      away.length > 0 && h('p', { class: 'muted small' }, 'Away, without counting:'),
      away.length > 0 &&
        h(
          'ul',
          { class: 'list' },
          away.map((own) => h('li', {}, own)),
        ),
    ].filter(Boolean);
    this.showReady();
  }

  showHealth({ stuck_loops: stuck = [] }) {
    this.healthRow =
      stuck.length === 0
        ? h('p', { class: 'verdict good' }, h('span', { class: 'dot' }), 'All loops answer')
        : h(
            'p',
            { class: 'verdict bad' },
            h('span', { class: 'dot' }),
            `Loops that do not answer: ${stuck.join(', ')}`,
          );
    this.showReady();
  }

  showReady() {
    this.ready.replaceChildren(...(this.readyRows ?? []), ...(this.healthRow ? [this.healthRow] : []));
  }

  showProcess() {
    const { version } = this;
    if (!version) return;
    const now = this.last?.last;
    const value = (name) => now?.value(name) ?? null;
    const pairs = [
      ['Version', version.version],
      ['Up for', duration(version.uptime_ms)],
      ['Process', String(version.pid)],
      ['Loops', count(version.loops)],
      ['Features', version.features.join(', ') || 'none'],
      [
        'Resident memory',
        value('process_resident_memory_bytes') === null
          ? null
          : bytes(value('process_resident_memory_bytes')),
      ],
      [
        'Descriptors',
        value('process_open_fds') === null
          ? null
          : `${count(value('process_open_fds'))}${value('process_max_fds') === null ? '' : ` of ${count(value('process_max_fds'))}`}`,
      ],
      [
        'Processor',
        this.last?.points.at(-1)?.processor == null
          ? null
          : `${percent(this.last.points.at(-1).processor)} of one core`,
      ],
    ];
    this.process.replaceChildren(
      ...pairs.filter(([, own]) => own !== null).map(([name, own]) => fact(name, own)),
    );
  }
}

/** A certificate: its line, and how near its end is, in seconds of the Unix clock. */
function certificate(line, endSeconds) {
  const left = endSeconds === undefined ? NaN : endSeconds * 1000 - Date.now();
  const state = left < 7 * DAY_MS ? 'bad' : left < 21 * DAY_MS ? 'warn' : 'good';
  const days = Number.isNaN(left)
    ? null
    : left < 0
      ? 'has ended'
      : `${plural(Math.floor(left / DAY_MS), 'day')} left`;
  return h(
    'li',
    { class: 'spread' },
    h('span', {}, line),
    days && h('span', { class: `badge ${state}` }, days),
  );
}
