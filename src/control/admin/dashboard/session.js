// Who the operator is: logging in, logging out, and changes, which need a token.

import { ApiError, get, post } from './api.js';
import { confirm, h, setText } from './dom.js';

const byId = (id) => document.getElementById(id);

const state = { mayChange: false, hasTokens: false, isAsking: null };

/** A change that the operator did not go on with. */
export class Cancelled extends Error {}

/** Learns what this page may do, and shows it. */
export async function learn() {
  const { may_change: mayChange, has_tokens: hasTokens } = await get('/session');
  Object.assign(state, { mayChange, hasTokens });
  const button = byId('access');
  button.hidden = false;
  setText(button, mayChange ? 'Log out' : hasTokens ? 'Log in' : 'Read only');
}

/** Begins to take clicks. `onChange` is called after each login and logout. */
export function begin(onChange) {
  byId('access').addEventListener('click', async () => {
    if (state.mayChange) await post('/logout').catch(() => {});
    else if (state.hasTokens) await logIn('To change something, show the token.');
    else await explain();
    onChange();
  });
}

/**
 * Posts a change, logging in first where that is needed. What it answers.
 * Throws `Cancelled` if the operator does not log in, or cannot.
 */
export async function change(path, body) {
  for (;;) {
    try {
      return await post(path, body);
    } catch (error) {
      await allow(error);
    }
  }
}

/** After an error: logs in if that is what was missing, and throws the error if not. */
export async function allow(error) {
  const isMissing = error instanceof ApiError && error.status === 401;
  const isImpossible = error instanceof ApiError && error.status === 403 && !state.hasTokens;
  if (isImpossible) {
    await explain();
    throw new Cancelled();
  }
  if (!isMissing) throw error;
  if (!(await logIn('This needs the token of the gateway.'))) throw new Cancelled();
}

/**
 * Asks for the token until it is right. `isForced` leaves no other way on. Whether it was.
 * Several that ask share one dialog.
 */
export function logIn(why, { isForced = false } = {}) {
  state.isAsking ??= ask(why, isForced).finally(() => {
    state.isAsking = null;
  });
  return state.isAsking;
}

function ask(why, isForced) {
  const [dialog, form, error, send, cancel] = [
    'login',
    'login-form',
    'login-error',
    'login-send',
    'login-cancel',
  ].map(byId);
  setText(byId('login-why'), why);
  setText(error, '');
  cancel.hidden = isForced;
  dialog.classList.toggle('is-forced', isForced);
  form.reset();
  dialog.showModal();
  return new Promise((resolve) => {
    const listeners = new AbortController();
    const finish = async (isIn) => {
      listeners.abort();
      form.reset();
      dialog.close();
      if (isIn) await learn().catch(() => {});
      resolve(isIn);
    };
    const { signal } = listeners;
    cancel.addEventListener('click', () => finish(false), { signal });
    dialog.addEventListener(
      'cancel',
      (event) => {
        event.preventDefault();
        if (!isForced) finish(false);
      },
      { signal },
    );
    form.addEventListener(
      'submit',
      async (event) => {
        event.preventDefault();
        send.disabled = true;
        setText(error, '');
        try {
          await post('/login', { token: form.elements.token.value });
          await finish(true);
        } catch (refused) {
          setText(error, refused.status === 401 ? 'The token is wrong.' : refused.message);
          form.elements.token.select();
        } finally {
          send.disabled = false;
        }
      },
      { signal },
    );
  });
}

/** Says which setting permits changes. */
function explain() {
  return confirm({
    title: 'This dashboard can only read',
    body: [
      h(
        'p',
        {},
        'Changes and traces need a token, and the configuration has none. Set one and start the gateway again:',
      ),
      h('pre', { class: 'code' }, '[admin]\ntoken_file = "/run/secrets/admin"'),
    ],
    yes: 'Understood',
    danger: false,
  });
}
