// Main: who is logged in, and when to connect.

const view = new View();
let client = null;
let chat = null;

// Asks the page's own path: `session`, `login=NAME` or `logout`. The cookie that proves the answer is out of reach
// for scripts.
async function ask(question) {
  const reply = await fetch(`${location.pathname}?${question}`, { method: 'POST', cache: 'no-store' });
  if (!reply.ok) throw new Failure({ code: reply.status, message: (await reply.text()).trim() });
  return reply.json();
}

function enter(self) {
  const url = new URL(page.chat.dataset.socket, location);
  url.protocol = location.protocol.replace('http', 'ws');
  client = new Client(url, connectionChanged);
  chat = new Chat(self, client, view);
  view.enter(chat);
  chat.start();
  client.connect();
}

function exit(why = '') {
  client?.close();
  client = null;
  chat = null;
  view.enter(null);
  page.refusal.textContent = why;
}

function connectionChanged(state, details = {}) {
  view.connection(state, details);
  if (state === 'open') return;
  chat.disconnected();
  view.membersChanged(chat.current);
  // A request that was refused does not tell why: perhaps the login has ended.
  if (!details.wasOpen && state !== 'connecting') checkSession();
}

async function checkSession() {
  const own = client;
  try {
    const { user } = await ask('session');
    if (own && own === client && !user) exit('Your login has ended. Log in again.');
  } catch { /* The server cannot be reached, and the client goes on trying. */ }
}

function connectNow() {
  if (client && !client.isOpen) client.connect();
}

page.login.onsubmit = async (event) => {
  event.preventDefault();
  page.refusal.textContent = '';
  try {
    enter(await ask(`login=${encodeURIComponent(page.login.elements.name.value)}`));
  } catch (failure) {
    page.refusal.textContent = failure instanceof Failure ? failure.message : 'The server cannot be reached.';
  }
};
page.logOut.onclick = async () => {
  chat.forget();
  exit();
  try { await ask('logout'); } catch { page.refusal.textContent = 'The server cannot be reached: you are still logged in.'; }
};
page.now.onclick = connectNow;
addEventListener('online', connectNow);
addEventListener('offline', () => client?.distrust());
document.addEventListener('visibilitychange', () => {
  if (document.hidden) return;
  chat?.seen();
  if (document.body.dataset.connection === 'waiting') connectNow();
});

try {
  const self = await ask('session');
  if (self.user) enter(self);
  else view.enter(null);
} catch {
  view.enter(null);
  page.refusal.textContent = 'The server cannot be reached.';
}
