// Parts that several pages have.

import { parameters } from './api.js';
import { h } from './dom.js';
import { visible } from './format.js';
import { CODES } from './reasons.js';

/** A phase with its color. */
export function phase(name) {
  return h('span', { class: 'phase', data: { phase: name } }, h('span', { class: 'dot' }), name);
}

/** The fields for what closed connections are told, and their values. */
export function closeFields() {
  const code = h('input', {
    type: 'number',
    min: 1000,
    max: 4999,
    value: 1000,
    required: true,
    'aria-label': 'Close code',
  });
  const known = h(
    'select',
    {
      'aria-label': 'Usual close codes',
      onchange: () => {
        if (known.value) code.value = known.value;
      },
    },
    CODES.map(([number, text]) => h('option', { value: number }, `${number} ${text}`)),
    h('option', { value: '' }, 'another'),
  );
  code.addEventListener('input', () => {
    known.value = CODES.some(([number]) => String(number) === code.value) ? code.value : '';
  });
  const reason = h('input', { maxLength: 123, autocomplete: 'off', placeholder: 'none' });
  return {
    elements: [
      h('div', { class: 'field' }, h('span', {}, 'Code'), h('div', { class: 'pair' }, known, code)),
      h('label', { class: 'field' }, h('span', {}, 'Reason'), reason),
    ],
    values: () => ({ code: Number(code.value), reason: reason.value }),
  };
}

/** Conditions as a sentence has them. */
export function describe(conditions) {
  return Object.entries(conditions)
    .map(([name, value]) => `${name} “${visible(value)}”`)
    .join(' and ');
}

/** A list of conditions that another page links to. */
export function listOf(conditions) {
  return `#connections?${parameters(conditions)}`;
}
