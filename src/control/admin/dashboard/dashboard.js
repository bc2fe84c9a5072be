// The dashboard: what is asked of the gateway and when, and which page is shown.

import { ApiError, get } from './api.js';
import { Connections } from './connections.js';
import { h, setText, toast } from './dom.js';
import { Explorer } from './explorer.js';
import { clock, duration, plural } from './format.js';
import { GatewayPage } from './gateway.js';
import { Snapshot } from './metrics.js';
import { Overview } from './overview.js';
import { Panel } from './panel.js';
import { History } from './points.js';
import { STAGES } from './reasons.js';
import { Rooms } from './rooms.js';
import { Cancelled, begin as beginSession, learn, logIn } from './session.js';

const POLL_MS = 2000;
// What changes slowly is asked for with every fifth poll, and the drain with each while it is on.
const SLOW_POLLS = 5;
const RETRY_MS_MAX = 30_000;

const byId = (id) => document.getElementById(id);

class App {
  constructor() {
    this.history = new History();
    this.panel = new Panel(this);
    this.pages = {
      overview: new Overview(this),
      connections: new Connections(this),
      rooms: new Rooms(this),
      gateway: new GatewayPage(this),
      metrics: new Explorer(),
    };
    Object.assign(this, {
      page: null,
      timer: null,
      polls: 0,
      failures: 0,
      isPolling: false,
      isLoggedOut: false,
    });
    Object.assign(this, { version: null, readiness: null, drain: null });
    this.banners = {};
    setText(byId('host'), location.host);
    addEventListener('hashchange', () => this.route());
    addEventListener('keydown', (event) => this.key(event));
    document.addEventListener('visibilitychange', () =>
      document.hidden ? clearTimeout(this.timer) : this.poll(),
    );
    beginSession(() => this.again());
    this.route();
    this.poll();
    learn().catch(() => {});
  }

  // Pages

  route() {
    const [name, query = ''] = location.hash.slice(1).split('?');
    const chosen = name in this.pages ? name : 'overview';
    const page = this.pages[chosen];
    if (this.page !== page) {
      this.page?.leave?.();
      this.panel.close();
      this.page = page;
      byId('main').replaceChildren(page.element);
      scrollTo(0, 0);
    }
    for (const link of byId('pages').children) {
      if (link.hash === `#${chosen}`) link.setAttribute('aria-current', 'page');
      else link.removeAttribute('aria-current');
    }
    document.title = `${chosen === 'overview' ? '' : `${chosen[0].toUpperCase()}${chosen.slice(1)} · `}tidegate`;
    page.open?.(new URLSearchParams(query));
    page.update?.(this.history);
    page.showState?.(this);
    this.refreshPage();
  }

  key(event) {
    const isTyping = event.target.closest?.('input, select, textarea, dialog');
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === 'Escape') this.panel.close();
    const search = this.page.element.querySelector('input[type=search]');
    if (event.key === '/' && search) {
      event.preventDefault();
      search.focus();
    }
  }

  openConnection(id) {
    this.panel.open(id);
  }

  panelChanged() {
    this.pages.connections.mark(this.panel.connection);
  }

  /** The list of connections is out of date. */
  reload() {
    if (this.page === this.pages.connections) this.pages.connections.load();
  }

  // Polling

  async poll() {
    clearTimeout(this.timer);
    if (this.isPolling || this.isLoggedOut) return;
    this.isPolling = true;
    try {
      await this.ask();
      this.found();
    } catch (error) {
      if (error.status === 401) this.loggedOut();
      else this.lost(error);
    } finally {
      this.isPolling = false;
    }
    if (!document.hidden && !this.isLoggedOut) this.timer = setTimeout(() => this.poll(), this.pause());
  }

  /** Two seconds; after failures twice as long each time, and not the same for all pages that are open. */
  pause() {
    if (this.failures === 0) return POLL_MS;
    return Math.min(RETRY_MS_MAX, 1000 * 2 ** (this.failures - 1)) * (0.75 + Math.random() / 2);
  }

  async ask() {
    const { families } = await get('/api/v1/metrics');
    const restarted = this.history.add(new Snapshot(families, performance.now(), Date.now()));
    const isSlow = this.polls % SLOW_POLLS === 0;
    this.polls += 1;
    if (restarted || isSlow || this.failures > 0) await this.learnState();
    else if (this.drain && this.drain.stage !== 'serving') await this.learnDrain();
    if (restarted) this.restarted(null);
    this.page.update?.(this.history);
    if (isSlow) this.refreshPage();
    this.panel.refresh().catch(() => {});
  }

  /** What changes slowly: the version, readiness, the drain. */
  async learnState() {
    const [version, readiness] = await Promise.all([
      get('/api/v1/version'),
      get('/readyz', { accepted: 503 }),
      this.learnDrain(),
    ]);
    const before = this.version;
    Object.assign(this, { version, readiness });
    if (before && before.pid !== version.pid) this.restarted(before);
    this.showState();
  }

  async learnDrain() {
    this.drain = await get('/api/v1/drain');
    this.showState();
  }

  showState() {
    const { readiness, drain } = this;
    const isDraining = drain !== null && drain.stage !== 'serving';
    if (this.failures > 0) this.pill('lost', 'No contact');
    else if (isDraining) this.pill('warn', 'Draining');
    else if (readiness && readiness.reasons.length > 0) this.pill('warn', 'Not ready');
    else if (readiness) this.pill('good', 'Ready');
    const left =
      isDraining && drain.left_ms !== null ? `, the rest is dropped in ${duration(drain.left_ms)}` : '';
    this.banner(
      'drain',
      isDraining
        ? `Draining, ${plural(drain.connections, 'connection')} left: ${STAGES[drain.stage] ?? drain.stage}${left}.`
        : '',
      'warn',
    );
    const reasons = readiness?.reasons ?? [];
    this.banner(
      'ready',
      !isDraining && reasons.length > 0 ? `Not ready for clients: ${reasons.join(', ')}.` : '',
      'warn',
    );
    this.page.showState?.(this);
  }

  refreshPage() {
    const refreshed = this.page.refresh?.();
    refreshed?.catch((error) => {
      if (error.status === 401) this.loggedOut();
    });
  }

  // What may happen

  found() {
    const wasLost = this.failures > 0;
    this.failures = 0;
    this.banner('lost', '');
    document.body.classList.remove('is-lost');
    if (wasLost) this.showState();
  }

  lost(error) {
    this.failures += 1;
    document.body.classList.add('is-lost');
    const since = this.history.last ? ` What is shown is of ${clock(this.history.last.unixMs)}.` : '';
    this.banner('lost', `${error.message} Trying again.${since}`, 'bad');
    this.showState();
    // A fault of the page: it goes on, and the console has it.
    if (!(error instanceof ApiError)) reportError(error);
  }

  restarted(before) {
    const from = before ? `: process ${before.pid} is ${this.version.pid} now` : '';
    // The change of the process says more than that counters fell.
    if (!before && this.banners.restart) return;
    this.banner(
      'restart',
      `Another process answers since ${clock(Date.now())}${from}. Rates begin anew.`,
      'info',
      true,
    );
  }

  async loggedOut() {
    if (this.isLoggedOut) return;
    this.isLoggedOut = true;
    clearTimeout(this.timer);
    this.pill('unknown', 'Logged out');
    await logIn('Reading needs the token of the gateway.', { isForced: true });
    this.isLoggedOut = false;
    this.again();
  }

  /** Rights have changed. */
  again() {
    learn().catch(() => {});
    this.polls = 0;
    this.poll();
    this.route();
  }

  /** Runs what may be refused, and says so. Whether it was done. */
  async attempt(action) {
    try {
      await action();
      return true;
    } catch (error) {
      if (error instanceof Cancelled) return false;
      if (!(error instanceof ApiError)) throw error;
      toast(error.message, 'bad');
      return false;
    }
  }

  pill(state, text) {
    byId('readiness').dataset.state = state;
    setText(byId('readiness-text'), text);
  }

  /** A line above all pages; none if the text is empty. */
  banner(name, text, kind = 'info', canGo = false) {
    const old = this.banners[name];
    if (text === '') {
      old?.remove();
      delete this.banners[name];
      return;
    }
    if (old) {
      setText(old.firstChild, text);
      return;
    }
    const own = h(
      'div',
      { class: `banner ${kind}` },
      h('span', {}, text),
      h('span', { class: 'grow' }),
      canGo &&
        h(
          'button',
          { class: 'button small quiet', type: 'button', onclick: () => this.banner(name, '') },
          'Dismiss',
        ),
    );
    this.banners[name] = own;
    byId('banners').append(own);
  }
}

new App();
