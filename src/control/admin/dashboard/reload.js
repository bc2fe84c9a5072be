// A reload of the configuration.

import { card, h } from './dom.js';
import { clock } from './format.js';
import { change } from './session.js';

/** A reload: first what it would change, then the change. */
export class ReloadCard {
  constructor(app) {
    this.app = app;
    this.result = h('div', { class: 'changes', role: 'status' });
    this.preview = h(
      'button',
      { class: 'button', type: 'button', onclick: () => this.run(true) },
      'Show what would change',
    );
    this.apply = h(
      'button',
      { class: 'button primary', type: 'button', onclick: () => this.run(false), hidden: true },
      'Apply',
    );
    this.element = card(
      'Reload',
      {},
      h(
        'p',
        { class: 'muted small' },
        'Reads the configuration again. Open connections stay; a file with a fault changes nothing.',
      ),
      this.result,
      h('div', { class: 'actions' }, this.preview, this.apply),
    );
  }

  async run(isDry) {
    this.preview.disabled = this.apply.disabled = true;
    await this.app.attempt(async () => {
      try {
        this.show(await change('/api/v1/reload', { dry_run: isDry }));
      } catch (error) {
        if (error.status !== 422) throw error;
        this.apply.hidden = true;
        this.result.replaceChildren(h('p', { class: 'note bad' }, error.message));
      }
    });
    this.preview.disabled = this.apply.disabled = false;
  }

  show({ dry_run: isDry, applied, needs_restart: later }) {
    const group = (title, changes) =>
      changes.length > 0 && [h('h3', {}, title), h('ul', { class: 'diff' }, changes.map(difference))];
    const parts = [
      group(isDry ? 'Would change at once' : 'In force now', applied),
      group('Needs a restart', later),
      applied.length + later.length === 0 &&
        h('p', { class: 'muted' }, 'The file says what is in force already.'),
      !isDry && h('p', { class: 'muted small' }, `Reloaded at ${clock(Date.now())}.`),
    ];
    this.result.replaceChildren(...parts.flat(2).filter(Boolean));
    this.apply.hidden = !isDry || applied.length === 0;
  }
}

/** A change as `key: old -> new`. */
function difference(text) {
  const found = /^(.*?): (.*) -> (.*)$/s.exec(text);
  if (!found) return h('li', {}, text);
  const [, key, old, now] = found;
  return h('li', {}, h('span', { class: 'key' }, key), h('del', {}, old), h('ins', {}, now));
}
