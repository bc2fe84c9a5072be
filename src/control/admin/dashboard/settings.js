// What is in force: the level of the log, and the configuration.

import { card, h, icon, toast } from './dom.js';
import { change } from './session.js';

const LEVELS = ['off', 'error', 'warn', 'info', 'debug', 'trace'];

/** The level of the log. */
export class LevelCard {
  constructor(app) {
    this.app = app;
    this.select = h(
      'select',
      { 'aria-label': 'Level of the log', onchange: () => this.set() },
      LEVELS.map((level) => h('option', { value: level }, level)),
    );
    this.element = card(
      'Log level',
      { actions: this.select },
      h(
        'p',
        { class: 'muted small' },
        'Until the next start. Each level holds those before it; debug and trace cost time.',
      ),
    );
  }

  show(level) {
    if (!LEVELS.includes(level) && !Array.from(this.select.options).some((own) => own.value === level))
      this.select.append(h('option', { value: level }, level));
    this.level = level;
    if (document.activeElement !== this.select) this.select.value = level;
  }

  async set() {
    const wanted = this.select.value;
    const isDone = await this.app.attempt(async () => {
      const { level } = await change('/api/v1/log-level/set', { level: wanted });
      this.level = level;
      toast(`The log has level ${level} now.`, 'good');
    });
    if (!isDone) this.select.value = this.level;
  }
}

/** The configuration in force. */
export class ConfigurationCard {
  constructor() {
    this.toml = '';
    this.text = h('pre', { class: 'code', tabIndex: 0, 'aria-label': 'Configuration in force' });
    const copy = h(
      'button',
      { class: 'button small', type: 'button', onclick: () => this.copy() },
      icon('copy'),
      'Copy',
    );
    this.element = card('Configuration in force', { actions: copy }, this.text);
  }

  show(toml) {
    if (toml === this.toml) return;
    this.toml = toml;
    this.text.replaceChildren(...toml.split('\n').flatMap((line) => [...colored(line), '\n']));
  }

  async copy() {
    try {
      await navigator.clipboard.writeText(this.toml);
      toast('Copied.', 'good');
    } catch {
      // Pages that are neither local nor encrypted may not (Clipboard API, section 6).
      getSelection().selectAllChildren(this.text);
      toast('Selected: the browser lets this page not copy.');
    }
  }
}

/** A line of TOML in parts with the classes of their kinds. */
function colored(line) {
  if (/^\s*#/.test(line)) return [h('span', { class: 'comment' }, line)];
  if (/^\s*\[/.test(line)) return [h('span', { class: 'table' }, line)];
  const found = /^(\s*[^=]+?)(\s*=\s*)(.*)$/.exec(line);
  if (!found) return [line];
  const [, key, equals, value] = found;
  return [
    h('span', { class: 'key' }, key),
    equals,
    h('span', { class: /^["'[]/.test(value) ? 'string' : 'plain' }, value),
  ];
}
