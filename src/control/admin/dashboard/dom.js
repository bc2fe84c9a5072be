// Elements. What comes from clients or from the API reaches the page as text nodes and properties only.

/**
 * An element. `class`, `for`, `role` and names with a hyphen are attributes, `on…` are listeners, `data` is
 * the dataset, everything else a property. Children are elements, texts, or nothing (null, undefined, false).
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name === 'data') Object.assign(element.dataset, value);
    else if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name.includes('-') || ['class', 'for', 'role', 'scope'].includes(name))
      element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(
    ...children.flat().filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

const SVG = 'http://www.w3.org/2000/svg';

/** An SVG element with attributes. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** An icon of index.html. */
export function icon(name) {
  return svg('svg', { class: 'icon', 'aria-hidden': 'true' }, svg('use', { href: `#icon-${name}` }));
}

/** A button that shows an icon only. */
export function square(name, label, onclick) {
  return h('button', { class: 'button square', type: 'button', 'aria-label': label, onclick }, icon(name));
}

/** Sets a text only if it differs, so that a selection and a live region are left alone. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Has a container show one element for each item, in their order. Elements are kept by the key of their item,
 * so that focus and selection survive an update.
 */
export function keyed(container, items, keyOf, create, update) {
  const old = new Map(Array.from(container.children, (child) => [child.dataset.key, child]));
  let at = container.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let element = old.get(key);
    old.delete(key);
    if (!element) {
      element = create(item);
      element.dataset.key = key;
    }
    update?.(element, item);
    if (element === at) at = at.nextElementSibling;
    else container.insertBefore(element, at);
  }
  for (const element of old.values()) element.remove();
}

/** A value behind its name. */
export function fact(name, value, title) {
  return h('div', { class: 'fact', title }, h('dt', {}, name), h('dd', {}, value));
}

/** A region with a heading. */
export function card(title, { note, actions } = {}, ...children) {
  return h(
    'section',
    { class: 'card' },
    h('header', {}, h('h2', {}, title), note, h('span', { class: 'grow' }), actions),
    ...children,
  );
}

/** A region that scrolls where its table is too wide; the keyboard can scroll it too. */
export function scroller(label, table) {
  return h('div', { class: 'scroll', role: 'region', tabIndex: 0, 'aria-label': label }, table);
}

/** A note that goes by itself. */
export function toast(text, kind = 'info') {
  const own = h('p', { class: `toast ${kind}` }, text);
  document.getElementById('toasts').append(own);
  setTimeout(() => own.remove(), kind === 'bad' ? 9000 : 4500);
}

/** Asks once. `body` holds what is to be said or filled in. Whether the answer was yes. */
export function confirm({ title, body = [], yes, danger = true }) {
  const dialog = document.getElementById('confirm');
  setText(document.getElementById('confirm-title'), title);
  document.getElementById('confirm-body').replaceChildren(...body);
  const button = document.getElementById('confirm-yes');
  button.textContent = yes;
  button.className = danger ? 'button danger' : 'button primary';
  dialog.returnValue = '';
  dialog.showModal();
  // What disconnects is not under the first Enter.
  (dialog.querySelector('input, select, textarea') ?? document.getElementById('confirm-cancel')).focus();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}
