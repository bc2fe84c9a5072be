// A drain: how far it is, its start and its end.

import { card, confirm, fact, h, toast } from './dom.js';
import { NONE, count, duration, plural } from './format.js';
import { STAGES } from './reasons.js';
import { change } from './session.js';

/** The card of the drain. */
export class DrainCard {
  constructor(app) {
    this.app = app;
    this.stage = h('p', { class: 'verdict' });
    this.progress = h('progress', { max: 1, value: 0, 'aria-label': 'Connections that were told to go' });
    this.facts = h('dl', { class: 'facts' });
    this.start = h(
      'button',
      { class: 'button danger', type: 'button', onclick: () => this.begin() },
      'Start a drain',
    );
    this.cancel = h(
      'button',
      { class: 'button', type: 'button', onclick: () => this.end() },
      'Cancel the drain',
    );
    this.element = card(
      'Drain',
      {},
      this.stage,
      this.progress,
      this.facts,
      h('div', { class: 'actions' }, this.cancel, this.start),
    );
  }

  show(drain) {
    if (!drain) return;
    const isServing = drain.stage === 'serving';
    this.stage.className = `verdict ${isServing ? 'good' : 'warn'}`;
    this.stage.replaceChildren(
      h('span', { class: 'dot' }),
      isServing ? 'Serving, no drain is on' : `Draining: ${STAGES[drain.stage] ?? drain.stage}`,
    );
    this.progress.hidden = this.facts.hidden = isServing;
    // Some of those that are left have been told already: it comes to its end in any case.
    this.progress.value = drain.connections === 0 ? 1 : drain.told / (drain.told + drain.connections);
    this.facts.replaceChildren(
      fact('Connections left', count(drain.connections)),
      fact('Told to go', count(drain.told)),
      fact('Dropped in', drain.left_ms === null ? NONE : duration(drain.left_ms)),
    );
    this.start.hidden = !isServing;
    // Later there is no way back.
    this.cancel.hidden = drain.stage !== 'grace';
  }

  async begin() {
    const number = (label, name, hint) => {
      const input = h('input', {
        type: 'number',
        min: 0,
        max: 86400,
        step: 'any',
        name,
        placeholder: 'as configured',
      });
      return [
        input,
        h('label', { class: 'field' }, h('span', {}, label), input, h('small', { class: 'muted' }, hint)),
      ];
    };
    const [grace, graceField] = number(
      'Go on accepting for, in seconds',
      'grace',
      'Until balancers have seen that this gateway is not ready.',
    );
    const [drain, drainField] = number(
      'Then close all within, in seconds',
      'drain',
      'Clients are told to go one by one; those that are left are dropped.',
    );
    const open = this.app.history.last?.value('open');
    const all = typeof open === 'number' ? plural(open, 'open connection') : 'All connections';
    const body = [
      h(
        'p',
        {},
        `${all} will be closed, and the process ends. It can be cancelled only while connections are still accepted.`,
      ),
      graceField,
      drainField,
    ];
    if (!(await confirm({ title: 'Drain this gateway?', body, yes: 'Start the drain' }))) return;
    const ms = (input) => (input.value === '' ? null : Math.round(Number(input.value) * 1000));
    await this.app.attempt(async () => {
      await change('/api/v1/drain/start', { grace_ms: ms(grace), drain_ms: ms(drain) });
      toast('The drain has begun.');
    });
    this.app.learnState();
  }

  async end() {
    await this.app.attempt(async () => {
      await change('/api/v1/drain/cancel', {});
      toast('The drain is cancelled.', 'good');
    });
    this.app.learnState();
  }
}
