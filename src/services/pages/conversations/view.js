// View: shows the state in the elements of the page, and passes on what the reader does.

const NEAR_BOTTOM_PX = 40;
const NEAR_TOP_PX = 120;
const MEMBERS_EVERY_MS = 20_000;
const DAY_FORMAT = { weekday: 'long', day: 'numeric', month: 'long' };
const TIME_FORMAT = { hour: '2-digit', minute: '2-digit' };
// Messages of one person within this time stand under one name.
const TOGETHER_MS = 5 * 60_000;

// Every element with an id, by its id in camel case.
const page = Object.fromEntries(Array.from(document.querySelectorAll('[id]'), (own) =>
  [own.id.replace(/-(\w)/g, (_, letter) => letter.toUpperCase()), own]));

// Text from the network is only inserted as text, never as markup.
function element(tag, className, ...children) {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...children);
  return made;
}

// What only readers of the screen need.
const unseen = (text) => element('span', 'unseen', text);

function avatar(text, seed) {
  const made = element('span', 'avatar', [...text][0]?.toUpperCase() ?? '?');
  made.style.setProperty('--hue', hueOf(seed));
  made.ariaHidden = 'true';
  return made;
}

// A name, with the end of the ID behind it where another in sight has the same name.
function nameOf({ user, name }, people) {
  const isShared = people.some((other) => other.name === name && other.user !== user);
  return isShared ? `${name} (${tagOf(user)})` : name;
}

function button(className, act, ...children) {
  const made = element('button', className, ...children);
  made.type = 'button';
  made.onclick = act;
  return made;
}

class View {
  #chat = null;
  #follows = true;
  #missed = 0;
  #ticker = 0;
  #wantsList = false;

  constructor() {
    page.messages.onscroll = () => this.#scrolled();
    // A soft keyboard, or a taller composer, must not cover the last message.
    new ResizeObserver(() => { if (this.#follows) this.#toBottom(); }).observe(page.messages);
    page.newer.onclick = () => {
      this.#toBottom();
      page.text.focus();
    };
    page.composer.onsubmit = (event) => {
      event.preventDefault();
      this.#send();
    };
    page.text.onkeydown = (event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#send();
    };
    page.text.oninput = () => { if (this.#chat?.current) this.#chat.current.draft = page.text.value; };
    page.back.onclick = () => this.#showList();
    page.leave.onclick = () => {
      this.#chat.leave(this.#chat.current);
      this.#showList();
    };
    page.showMembers.onclick = () => this.#showMembers(page.members.hidden);
    page.hideMembers.onclick = () => {
      this.#showMembers(false);
      page.showMembers.focus();
    };
    page.newGroup.onclick = () => page.groupDialog.showModal();
    page.groupCancel.onclick = () => page.groupDialog.close();
    page.groupForm.onsubmit = (event) => {
      event.preventDefault();
      const field = page.groupForm.elements.group;
      if (!this.#chat.openGroup(field.value)) return;
      page.groupForm.reset();
      page.groupDialog.close();
      this.#showTalk();
    };
    addEventListener('keydown', ({ key }) => {
      if (key === 'Escape' && !page.members.hidden && !page.groupDialog.open) page.hideMembers.onclick();
    });
    setInterval(() => {
      if (this.#chat?.current?.isJoined && !document.hidden) this.#chat.refreshMembers(this.#chat.current);
    }, MEMBERS_EVERY_MS);
  }

  // The page is that of who is logged in; `null` for the login.
  enter(chat) {
    this.#chat = chat;
    document.body.dataset.state = chat ? 'chat' : 'login';
    document.body.dataset.pane = 'list';
    page.loginPage.hidden = chat !== null;
    page.chat.hidden = chat === null;
    page.self.replaceChildren();
    if (chat) page.self.append(avatar(chat.self.name, chat.self.user), unseen('Logged in as '), element('bdi', '', chat.self.name));
    else page.login.elements.name.focus();
    this.#retitle();
  }

  // The state of the connection, with what can be done about it.
  connection(state, { why = '', due = 0 } = {}) {
    clearInterval(this.#ticker);
    document.body.dataset.connection = state;
    const texts = { connecting: 'Connecting …', open: 'Connected', waiting: why, ended: why };
    // A live region: screen readers would announce an unchanged text again.
    if (page.status.textContent !== texts[state]) page.status.textContent = texts[state];
    page.countdown.textContent = '';
    page.now.hidden = state === 'connecting' || state === 'open';
    if (state !== 'waiting') return;
    const tell = () => {
      const seconds = Math.max(0, Math.ceil((due - performance.now()) / 1000));
      page.countdown.textContent = `Reconnecting in ${seconds} s.`;
    };
    tell();
    this.#ticker = setInterval(tell, 250);
  }

  // What the state tells.

  listChanged() {
    // A hidden page gets no animation frames, and its title is all that is seen of it.
    this.#retitle();
    if (this.#wantsList) return;
    this.#wantsList = true;
    // A burst causes one layout.
    requestAnimationFrame(() => {
      this.#wantsList = false;
      if (this.#chat) this.#showConversations();
    });
  }

  reset(conversation) {
    if (conversation !== this.#chat?.current) return;
    page.title.textContent = conversation.title;
    page.leave.hidden = conversation.kind === 'global';
    page.leave.textContent = conversation.kind === 'group' ? 'Leave' : 'Put away';
    page.text.value = conversation.draft;
    page.hint.textContent = '';
    page.conversation.dataset.kind = conversation.kind;
    this.#render(conversation);
    this.#toBottom();
    this.membersChanged(conversation);
    this.#retitle();
  }

  added(conversation, messages) {
    if (conversation !== this.#chat.current) return;
    const all = conversation.messages;
    const first = all.indexOf(messages[0]);
    // What comes is last, unless a history has overtaken it. The first of all replaces a word about nothing.
    if (first > 0 && all.length - first === messages.length) page.messages.append(...this.#entries(messages, all[first - 1]));
    else this.#render(conversation);
    if (this.#follows || messages.at(-1).user === this.#chat.self.user) this.#toBottom();
    else this.#tellNewer(this.#missed + messages.length);
  }

  // Older messages have come: what the reader looks at stays where it is.
  grown(conversation) {
    if (conversation !== this.#chat?.current) return;
    const below = page.messages.scrollHeight - page.messages.scrollTop;
    this.#render(conversation);
    page.messages.scrollTop = this.#follows ? page.messages.scrollHeight : page.messages.scrollHeight - below;
  }

  membersChanged(conversation) {
    if (conversation !== this.#chat?.current) return;
    const { people, memberCount, kind } = conversation;
    page.subtitle.textContent = this.#subtitle(conversation);
    const count = memberCount === null ? '' : ` (${memberCount})`;
    if (page.showMembers.textContent !== `Members${count}`) page.showMembers.textContent = `Members${count}`;
    page.people.replaceChildren(...people.map((person) => this.#person(person, people, kind)));
    const isTooLong = memberCount > 0 && people.length === 0;
    page.peopleNote.textContent = isTooLong ? 'These are too many to be listed.' : '';
  }

  draftReturned(conversation, why) {
    if (conversation !== this.#chat.current) return;
    page.text.value = conversation.draft;
    page.hint.textContent = `${why} Your message is still here.`;
  }

  notice(text) {
    page.hint.textContent = text;
  }

  // The list of conversations.

  #showConversations() {
    // The element that has the focus is replaced by its successor.
    const focused = document.activeElement?.dataset.channel;
    const people = this.#chat.sorted.filter(({ kind }) => kind === 'dialog').map(({ peer, title }) => ({ user: peer, name: title }));
    page.conversations.replaceChildren(...this.#chat.sorted.map((own) => element('li', '', this.#conversation(own, people))));
    const others = this.#chat.otherGroups;
    page.others.hidden = others.length === 0;
    page.groups.replaceChildren(...others.map((name) => element('li', '', this.#group(name))));
    if (focused) page.chat.querySelector(`[data-channel="${CSS.escape(focused)}"]`)?.focus();
  }

  #conversation(own, people) {
    const isCurrent = own === this.#chat.current;
    const title = own.kind === 'dialog' ? nameOf({ user: own.peer, name: own.title }, people) : own.title;
    const last = own.messages.at(-1);
    const said = last ? `${last.user === this.#chat.self.user ? 'You' : last.name}: ${last.text}` : '';
    const made = button(`entry ${own.kind}`, () => this.#open(own),
      own.kind === 'dialog' ? avatar(own.title, own.peer) : avatar('#', own.channel),
      element('span', 'name', element('bdi', '', title)), element('span', 'said', said));
    made.dataset.channel = own.channel;
    if (isCurrent) made.ariaCurrent = 'true';
    if (own.unread > 0) {
      const count = element('span', 'unread', own.unread > 99 ? '99+' : String(own.unread));
      count.ariaHidden = 'true';
      made.append(count, unseen(`, ${own.unread} unread`));
    }
    return made;
  }

  #group(name) {
    const channel = groupChannel(name);
    const made = button('entry group', () => {
      this.#chat.openGroup(name);
      this.#showTalk();
    }, avatar('#', channel), element('span', 'name', element('bdi', '', name)), element('span', 'said', 'Enter'));
    made.dataset.channel = channel;
    return made;
  }

  #open(conversation) {
    this.#chat.select(conversation);
    this.#showTalk();
  }

  #showTalk() {
    document.body.dataset.pane = 'talk';
    this.#toBottom();
    // On a phone the keyboard would cover what was opened to be read.
    if (matchMedia('(pointer: coarse)').matches) page.title.focus();
    else page.text.focus();
  }

  #showList() {
    document.body.dataset.pane = 'list';
    this.#showMembers(false);
    page.conversations.querySelector('[aria-current]')?.focus();
  }

  #retitle() {
    const unread = [...this.#chat?.conversations.values() ?? []].reduce((sum, own) => sum + own.unread, 0);
    document.title = `${unread > 0 ? `(${unread}) ` : ''}tidegate chat`;
  }

  // The members.

  #showMembers(isShown) {
    page.members.hidden = !isShown;
    page.showMembers.ariaExpanded = String(isShown);
    const { current } = this.#chat;
    if (isShown && current.isJoined) this.#chat.refreshMembers(current);
  }

  #subtitle({ kind, memberCount, people, peer, isJoined }) {
    if (!isJoined) return '';
    if (kind === 'dialog') return people.some(({ user }) => user === peer) ? 'here now' : 'not here now';
    return memberCount === null ? '' : `${memberCount} here now`;
  }

  #person(person, people, kind) {
    const isSelf = person.user === this.#chat.self.user;
    const name = element('bdi', '', nameOf(person, people));
    const content = [avatar(person.name, person.user), element('span', 'name', name, isSelf ? ' (you)' : '')];
    if (isSelf || kind === 'dialog') return element('li', 'person', ...content);
    const open = button('entry', () => {
      this.#showMembers(false);
      this.#chat.openDialog(person);
      this.#showTalk();
    }, unseen('Talk with '), ...content);
    return element('li', '', open);
  }

  // The messages.

  #render({ earlier, messages, isWhole, isJoined }) {
    // Not announced again.
    page.messages.ariaLive = 'off';
    const entries = earlier.length > 0
      ? [...this.#entries(earlier), element('div', 'note', 'The server was started anew: what stands above is no longer kept.')]
      : [];
    if (earlier.length === 0 && isJoined && isWhole) entries.push(element('div', 'note', messages.length > 0 ? 'This is the beginning.' : 'Nothing has been said yet.'));
    entries.push(...this.#entries(messages));
    page.messages.replaceChildren(...entries);
    requestAnimationFrame(() => { page.messages.ariaLive = 'polite'; });
  }

  #entries(messages, before) {
    const people = messages.map(({ user, name }) => ({ user, name }));
    let previous = before;
    return messages.flatMap((message) => {
      const day = new Date(message.at).toDateString();
      const isSameDay = previous && new Date(previous.at).toDateString() === day;
      const isSame = isSameDay && previous.user === message.user && message.at - previous.at < TOGETHER_MS;
      previous = message;
      const entry = this.#message(message, isSame, people);
      return isSameDay ? [entry] : [this.#day(message.at), entry];
    });
  }

  #day(at) {
    const date = new Date(at);
    const today = new Date();
    const yesterday = new Date(today.getFullYear(), today.getMonth(), today.getDate() - 1);
    const names = { [today.toDateString()]: 'Today', [yesterday.toDateString()]: 'Yesterday' };
    const year = date.getFullYear() === today.getFullYear() ? {} : { year: 'numeric' };
    const time = element('time', '', names[date.toDateString()] ?? date.toLocaleDateString([], { ...DAY_FORMAT, ...year }));
    time.dateTime = date.toISOString().slice(0, 10);
    return element('div', 'day', time);
  }

  #message({ user, name, text, at }, isSame, people) {
    const isOwn = user === this.#chat.self.user;
    const from = element('bdi', '', isOwn ? 'You' : nameOf({ user, name }, people));
    if (!isOwn) from.style.setProperty('--hue', hueOf(user));
    const time = element('time', '', new Date(at).toLocaleTimeString([], TIME_FORMAT));
    time.dateTime = new Date(at).toISOString();
    const said = element('div', 'text', text);
    said.dir = 'auto';
    return element('div', `message${isOwn ? ' own' : ''}${isSame ? ' same' : ''}`, element('div', 'from', from, time), said);
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = page.messages;
    this.#follows = scrollHeight - scrollTop - clientHeight < NEAR_BOTTOM_PX;
    if (this.#follows) this.#tellNewer(0);
    if (scrollTop < NEAR_TOP_PX && this.#chat?.current) this.#chat.loadOlder(this.#chat.current);
  }

  #tellNewer(number) {
    this.#missed = number;
    page.newer.hidden = number === 0;
    page.newer.textContent = number === 1 ? '1 new message' : `${number} new messages`;
  }

  #toBottom() {
    this.#follows = true;
    page.messages.scrollTop = page.messages.scrollHeight;
    this.#tellNewer(0);
  }

  #send() {
    // Other control characters show nothing, and take six bytes each.
    const text = page.text.value.replace(/[^\P{Cc}\n\t]/gu, '').trim();
    const { current } = this.#chat;
    if (!text) return;
    if (!current.isJoined) {
      page.hint.textContent = 'Not connected: your message is not sent. It stays here until you send it.';
      return;
    }
    this.#chat.send(current, text);
    page.text.value = '';
    page.hint.textContent = '';
    this.#toBottom();
  }
}

