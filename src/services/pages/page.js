// A chat over one WebSocket. The login form configures it: `data-socket` is the path, with the form's
// fields in braces; `data-hears-itself` is set if the server sends a client its own messages; and
// `data-refusal` explains a first connection that never opens. Without it such a connection is retried.

const ENTRIES_MAX = 500;
const NAMES_MAX = 100;
const CONNECT_MS_MAX = 15_000;
const DELAY_MS_FIRST = 500;
const DELAY_MS_MAX = 30_000;
// A connection that was open this long counts as a success: the next delay is the first one again.
const STEADY_MS = 5_000;
const NEAR_BOTTOM_PX = 40;

const POLICY = 1008, GOING_AWAY = 1001, TOO_BIG = 1009, REPLACED = 4001, TOO_SLOW = 4002, NAME_REFUSED = 4003;
const WHY = {
  [GOING_AWAY]: 'The server is shutting down.',
  [TOO_BIG]: 'That message was too big.',
  [TOO_SLOW]: 'This page was too slow to keep up.',
};

// Every element with an id, by its id.
const {
  login, refusal, place, members, count, names, leave, status, countdown, now,
  messages, newer, composer, text, send, hint,
} = Object.fromEntries(Array.from(document.querySelectorAll('[id]'), (own) => [own.id, own]));
const { socket: path, refusal: neverOpened } = login.dataset;
const hearsItself = 'hearsItself' in login.dataset;
const pageTitle = document.title;

// The states of the page: login, connecting, open, waiting (to reconnect) and kicked. Only `show` sets
// the state.

const isIn = (state) => document.body.dataset.state === state;

function show(state, text = '', action = '') {
  document.body.dataset.state = state;
  // The status is a live region: screen readers would announce an unchanged text again.
  if (status.textContent !== text) status.textContent = text;
  countdown.textContent = '';
  now.textContent = action;
  // Not connected: the list is out of date, and it would cover the button.
  if (action) members.open = false;
}

function retitle() {
  const unreadCount = unread > 0 ? `(${unread}) ` : '';
  document.title = isIn('login') ? pageTitle : `${unreadCount}${place.textContent} · tidegate`;
}

// The form is kept for a reload, in this tab only, and a token only while it is in use. The browser may
// forbid storage.

const storageKey = 'tidegate ' + location.pathname;

function remember(staysIn) {
  const fields = Object.fromEntries(new FormData(login));
  if (!staysIn) delete fields.token;
  try { sessionStorage.setItem(storageKey, JSON.stringify({ fields, staysIn })); } catch { /* then not */ }
}

function recall() {
  try { return JSON.parse(sessionStorage.getItem(storageKey)); } catch { return null; }
}

// The connection. Events of earlier sockets are ignored.

let socket = null;
let wasOpen = false;
let failures = 0;
let retry, ticker;

function connect() {
  stopWaiting();
  const url = new URL(path.replace(/{(\w+)}/g, (_, field) => encodeURIComponent(login.elements[field].value)), location);
  url.protocol = location.protocol.replace('http', 'ws');
  const own = socket = new WebSocket(url, 'tidegate.chat.v1');
  const deadline = setTimeout(() => own.close(), CONNECT_MS_MAX);
  let openedAt = Infinity;
  show('connecting', 'Connecting …');
  own.onopen = () => {
    clearTimeout(deadline);
    openedAt = performance.now();
    if (own === socket) opened();
  };
  own.onmessage = ({ data }) => {
    if (own === socket) receive(JSON.parse(data));
  };
  own.onclose = ({ code, reason }) => {
    clearTimeout(deadline);
    if (own !== socket) return;
    socket = null;
    if (performance.now() - openedAt >= STEADY_MS) failures = 0;
    if (own.bufferedAmount > 0) note('What you sent last may not have arrived.', 'error');
    closed(code, reason);
  };
}

function opened() {
  if (wasOpen) note('Connected again. What was said meanwhile is not shown.');
  wasOpen = true;
  show('open', `Connected as ${ownName}`);
  if (hint.textContent) hint.textContent = 'Connected again: your message is still here to be sent.';
  if (document.activeElement === document.body) text.focus();
}

function closed(code, reason) {
  if (code === REPLACED) {
    // No reconnect, by a timer or a reload: two pages would replace each other's login without end.
    remember(false);
    show('kicked', 'You logged in elsewhere, so this page was disconnected.', 'Log in here again');
  } else if (code === NAME_REFUSED || code === POLICY) {
    refuse(reason || 'The server refuses this login.');
  } else if (neverOpened && !wasOpen) {
    refuse(neverOpened);
  } else {
    wait(WHY[code] ?? (wasOpen ? 'The connection was lost.' : 'The server cannot be reached.'));
  }
}

// Exponential backoff with full jitter, so that pages do not reconnect all at the same time.
function wait(why) {
  const delay = Math.random() * Math.min(DELAY_MS_MAX, DELAY_MS_FIRST * 2 ** failures);
  failures += 1;
  const due = performance.now() + delay;
  show('waiting', why, 'Connect now');
  const tell = () => {
    const seconds = Math.max(0, Math.ceil((due - performance.now()) / 1000));
    countdown.textContent = `Reconnecting in ${seconds} s.`;
  };
  tell();
  ticker = setInterval(tell, 250);
  retry = setTimeout(connect, delay);
}

function stopWaiting() {
  clearTimeout(retry);
  clearInterval(ticker);
}

function connectIfWaiting() {
  if (isIn('waiting')) connect();
}

function enter() {
  ownName = login.elements.name.value;
  refusal.textContent = '';
  wasOpen = false;
  failures = 0;
  remember(true);
  connect();
  meet({ room: login.elements.room?.value ?? 'hall', count: 0, names: [] });
  text.focus();
}

function exit() {
  stopWaiting();
  const own = socket;
  socket = null;
  own?.close(1000);
  remember(false);
  entering = [];
  lastFrom = null;
  messages.replaceChildren();
  tellNewer(0);
  hint.textContent = '';
  show('login');
  retitle();
  login.elements.name.focus();
}

function refuse(why) {
  exit();
  refusal.textContent = why;
}

// The members, in an order of their own: that of the server is another one after a reconnect. A large room
// announces only their count, and the names are dropped.

const byName = new Intl.Collator(undefined, { numeric: true });
let ownName = '';
let known = null;

function receive(event) {
  switch (event.type) {
    case 'members':
      ownName = event.name ?? ownName;
      show('open', `Connected as ${ownName}`);
      meet(event);
      break;
    case 'joined':
      if (known && known.size < NAMES_MAX) known.add(event.name);
      counted(event.count);
      note(`${event.name} joined`);
      break;
    case 'left':
      known?.delete(event.name);
      counted(event.count);
      note(`${event.name} left`);
      break;
    case 'message':
      message(event.from, event.text, hearsItself && event.from === ownName);
      break;
    case 'notice':
      note(event.text, 'notice');
      break;
    case 'error':
      note(event.text, 'error');
      break;
  }
}

function meet({ room, count, names }) {
  known = names ? new Set(names) : null;
  if (room) place.textContent = room;
  retitle();
  counted(count);
}

function counted(number) {
  count.textContent = `${number} here`;
  const sorted = [...known ?? []].sort(byName.compare);
  const named = sorted.map((name) => element('li', name === ownName ? 'own' : '', element('bdi', '', name)));
  const unnamed = number - named.length;
  if (unnamed > 0) named.push(element('li', 'more', known ? `and ${unnamed} more` : 'too many to name'));
  names.replaceChildren(...named);
}

// The messages. They wait for the next animation frame, so that a burst causes one layout.

let entering = [];
let lastFrom = null;
let unread = 0;

// Text from the network is only inserted as text, never as markup.
function element(tag, className, ...children) {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...children);
  return made;
}

function message(from, text, isOwn) {
  const at = new Date();
  const name = element('bdi', '', isOwn ? 'You' : from);
  if (!isOwn) name.style.setProperty('--hue', hue(from));
  const time = element('time', '', at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }));
  time.dateTime = at.toISOString();
  const said = element('div', 'text', text);
  said.dir = 'auto';
  const classes = [isOwn ? 'own' : '', lastFrom === from ? 'same' : ''];
  lastFrom = from;
  append(element('li', classes.join(' ').trim(), element('div', 'from', name, time), said));
  if (document.hidden) {
    unread += 1;
    retitle();
  }
}

function note(text, kind = '') {
  lastFrom = null;
  append(element('li', `note ${kind}`.trim(), text));
}

function append(entry) {
  if (entering.length === 0) requestAnimationFrame(flush);
  // A hidden page gets no animation frames.
  if (entering.push(entry) > ENTRIES_MAX) entering.shift();
}

function flush() {
  const arrived = entering.filter((entry) => !entry.matches('.note')).length;
  messages.append(...entering);
  entering = [];
  while (messages.childElementCount > ENTRIES_MAX) messages.firstElementChild.remove();
  if (follows) toBottom();
  else if (arrived > 0) tellNewer(missed + arrived);
}

// Whether the reader is at the bottom and wants to stay there. The scroll event comes before the
// animation frame.
let follows = true;
let missed = 0;

function tellNewer(number) {
  missed = number;
  newer.hidden = number === 0;
  newer.textContent = number === 1 ? '1 new message' : `${number} new messages`;
}

function toBottom() {
  follows = true;
  messages.scrollTop = messages.scrollHeight;
  tellNewer(0);
}

// A colour for each name, always the same.
function hue(name) {
  let sum = 0;
  for (const letter of name) sum = (sum * 31 + letter.codePointAt()) % 360;
  return sum;
}

messages.onscroll = () => {
  follows = messages.scrollHeight - messages.scrollTop - messages.clientHeight < NEAR_BOTTOM_PX;
  if (follows) tellNewer(0);
};
// A soft keyboard, or a taller composer, must not cover the last message.
new ResizeObserver(() => { if (follows) toBottom(); }).observe(messages);

// The controls.

login.onsubmit = (event) => {
  event.preventDefault();
  enter();
};
leave.onclick = exit;
composer.onsubmit = (event) => {
  event.preventDefault();
  const said = text.value.trim();
  if (!said) return;
  if (socket?.readyState !== WebSocket.OPEN) {
    hint.textContent = 'Not connected: your message is not sent. It stays here until you send it.';
    return;
  }
  socket.send(JSON.stringify({ type: 'message', text: said }));
  if (!hearsItself) message(ownName, said, true);
  text.value = '';
  hint.textContent = '';
  toBottom();
};
text.onkeydown = (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  composer.requestSubmit();
};
onPress(send, () => composer.requestSubmit());
onPress(newer, toBottom);
onPress(now, () => {
  remember(true);
  connect();
});

// Pressing a button does not move the focus away from the text, which would close a phone's keyboard. A
// button that had the focus gives it to the text, because the button may be hidden now.
function onPress(button, act) {
  button.onmousedown = (event) => event.preventDefault();
  button.onclick = () => {
    const hadFocus = document.activeElement === button;
    act();
    if (hadFocus) text.focus();
  };
}

addEventListener('click', ({ target }) => {
  if (!members.contains(target)) members.open = false;
});
addEventListener('keydown', ({ key }) => {
  if (key === 'Escape') members.open = false;
});
addEventListener('online', connectIfWaiting);
document.addEventListener('visibilitychange', () => {
  if (document.hidden) return;
  unread = 0;
  retitle();
  connectIfWaiting();
});

const remembered = recall();
for (const [field, value] of Object.entries(remembered?.fields ?? {})) {
  if (login.elements[field]) login.elements[field].value = value;
}
if (remembered?.staysIn) enter();
else login.elements.name.focus();
