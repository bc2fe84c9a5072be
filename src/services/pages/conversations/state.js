// State: the conversations of the user who is logged in, their messages and members. It knows no elements of the
// page, and tells the view what has changed.

const PAGE_SIZE = 50;
const MESSAGES_KEPT = 500;
const CONVERSATIONS_MAX = 60;
const NEWS_MAX = 100;
const GROUPS_LISTED_MAX = 100;
const MEMBERS_MAX = 500;
const TEXT_CHARACTERS_MAX = 4000;

class Conversation {
  constructor(kind, channel, title, peer = null) {
    Object.assign(this, { kind, channel, title, peer });
    // Of one epoch, in the order of their offsets. What an earlier process has kept stands before them.
    this.messages = [];
    this.earlier = [];
    this.epoch = null;
    this.unread = 0;
    this.activity = 0;
    this.members = new Map();
    this.memberCount = null;
    this.draft = '';
    // Whether there is nothing older than the first message, and whether older ones are on their way.
    this.isWhole = false;
    this.isLoading = false;
    // The least offset that was looked at: not all that is published is a message.
    this.oldest = null;
    this.isJoined = false;
    this.wasAnnounced = false;
    // What was sent and has not come back, by its ID.
    this.sending = new Map();
  }

  // Puts a message where its offset belongs. Whether it is new.
  insert(message) {
    let index = this.messages.length;
    while (index > 0 && this.messages[index - 1].offset > message.offset) index -= 1;
    if (index > 0 && this.messages[index - 1].offset === message.offset) return false;
    this.messages.splice(index, 0, message);
    return true;
  }

  get people() {
    const people = new Map();
    for (const { user, name } of this.members.values()) people.set(user, name);
    return [...people].map(([user, name]) => ({ user, name }))
      .sort((left, right) => byName.compare(left.name, right.name) || byName.compare(left.user, right.user));
  }
}

class Chat {
  #client;
  #view;
  #storageKey;
  #read;

  // `self` is {user, name}. `view` is told of listChanged(), reset(conversation), added(conversation, messages),
  // grown(conversation), membersChanged(conversation), draftReturned(conversation, why) and notice(text).
  constructor(self, client, view) {
    this.self = self;
    this.#client = client;
    this.#view = view;
    this.#storageKey = `tidegate chat ${self.user}`;
    this.conversations = new Map();
    this.groups = new Map();
    this.current = null;
  }

  // Begins with the conversations that this browser remembers.
  start() {
    const { groups = [], dialogs = [], read = {}, current } = this.#recall();
    this.#read = read;
    this.#add(new Conversation('global', GLOBAL, 'Everyone'));
    for (const name of groups) if (groupName(name)) this.#addGroup(groupName(name));
    for (const [user, name] of dialogs) this.#addDialog({ user: String(user), name: String(name) });
    this.#subscribeNews();
    this.select(this.conversations.get(current) ?? this.conversations.get(GLOBAL));
  }

  get sorted() {
    const rank = ({ kind }) => (kind === 'global' ? 0 : 1);
    return [...this.conversations.values()].sort((left, right) =>
      rank(left) - rank(right) || right.activity - left.activity || byName.compare(left.title, right.title));
  }

  // Groups that others are in.
  get otherGroups() {
    const others = [...this.groups.keys()].filter((name) => !this.conversations.has(groupChannel(name)));
    return others.sort(byName.compare);
  }

  select(conversation) {
    if (this.current?.messages.length > MESSAGES_KEPT) this.#trim(this.current);
    this.current = conversation;
    this.#markRead(conversation);
    this.#view.reset(conversation);
    if (conversation.isJoined) this.refreshMembers(conversation);
    this.#remember();
  }

  openGroup(text) {
    const name = groupName(text);
    if (!name) return false;
    const conversation = this.conversations.get(groupChannel(name)) ?? (this.#hasRoom() ? this.#addGroup(name) : null);
    if (!conversation) return true;
    if (!this.groups.has(name)) this.#client.call('publish', { channel: GROUPS, data: { group: name } }).catch(() => {});
    this.select(conversation);
    return true;
  }

  openDialog(person) {
    const channel = dialogOf(this.self.user, person.user);
    const conversation = this.conversations.get(channel) ?? (this.#hasRoom() ? this.#addDialog(person) : null);
    if (conversation) this.select(conversation);
  }

  // Leaves a group, or puts a conversation of two away until something is said in it again.
  leave(conversation) {
    this.#client.unsubscribe(conversation.channel);
    this.conversations.delete(conversation.channel);
    if (conversation === this.current) this.select(this.conversations.get(GLOBAL));
    this.#remember();
    this.#view.listChanged();
  }

  async send(conversation, text) {
    const id = crypto.getRandomValues(new Uint32Array(2)).join('-');
    conversation.sending.set(id, text);
    conversation.draft = '';
    this.#announce(conversation);
    try {
      await this.#client.call('publish', { channel: conversation.channel, data: { id, text, at: Date.now() } });
      conversation.sending.delete(id);
    } catch (failure) {
      // Whether it was sent is known when the messages that were missed have come.
      if (failure.code !== LOST || !conversation.isJoined) this.#returnDraft(conversation, id, `Not sent: ${failure.message}`);
    }
  }

  // Fetches what is older than the first message that is there.
  async loadOlder(conversation) {
    if (conversation.isWhole || conversation.isLoading || !conversation.isJoined) return;
    conversation.isLoading = true;
    const { channel, epoch } = conversation;
    const isFirst = conversation.oldest === null;
    const since = isFirst ? {} : { since: { offset: conversation.oldest, epoch } };
    try {
      const reply = await this.#client.call('history', { channel, limit: PAGE_SIZE, reverse: true, ...since });
      if (conversation.epoch !== epoch) return;
      const publications = reply.publications ?? [];
      for (const publication of publications) this.#take(conversation, publication);
      conversation.oldest = publications.at(-1)?.offset ?? conversation.oldest;
      conversation.isWhole = publications.length < PAGE_SIZE || conversation.oldest === 1;
      if (isFirst) this.#settle(conversation);
      this.#view.grown(conversation);
    } catch (failure) {
      // What is older is no longer kept, or comes with the next connection.
      if (failure.code !== LOST) conversation.isWhole = true;
    } finally {
      conversation.isLoading = false;
    }
  }

  async refreshMembers(conversation) {
    const { channel } = conversation;
    try {
      const { num_users: users } = await this.#client.call('presence_stats', { channel });
      conversation.memberCount = users;
      if (users <= MEMBERS_MAX) {
        const { presence } = await this.#client.call('presence', { channel });
        conversation.members = new Map(Object.entries(presence).map(([client, info]) => [client, personOf(info)]));
        conversation.memberCount = conversation.people.length;
      } else {
        conversation.members.clear();
      }
      this.#view.membersChanged(conversation);
    } catch { /* It is asked again after a reconnect. */ }
  }

  // Nothing is a member while there is no connection.
  disconnected() {
    for (const conversation of this.conversations.values()) {
      conversation.isJoined = false;
      conversation.members.clear();
      conversation.memberCount = null;
    }
  }

  // What the reader has seen, who is looking at the page.
  seen() {
    if (this.current) this.#markRead(this.current);
  }

  forget() {
    try { localStorage.removeItem(this.#storageKey); } catch { /* then not */ }
  }

  #hasRoom() {
    const hasRoom = this.conversations.size < CONVERSATIONS_MAX;
    if (!hasRoom) this.#view.notice(`These are ${CONVERSATIONS_MAX} conversations: leave one to begin another.`);
    return hasRoom;
  }

  #addGroup(name) {
    return this.#add(new Conversation('group', groupChannel(name), name));
  }

  #addDialog({ user, name }) {
    return this.#add(new Conversation('dialog', dialogOf(this.self.user, user), name, user));
  }

  #add(conversation) {
    const { channel, kind } = conversation;
    this.conversations.set(channel, conversation);
    const withMember = (change) => (info) => {
      change(conversation.members, info);
      conversation.memberCount = conversation.people.length;
      this.#view.membersChanged(conversation);
    };
    this.#client.subscribe(channel, {
      subscribed: (position) => this.#joined(conversation, position),
      publication: (publication) => this.#arrived(conversation, [publication]),
      joined: withMember((members, info) => members.set(info.client, personOf(info))),
      left: withMember((members, info) => members.delete(info.client)),
      refused: (failure) => {
        this.#view.notice(`${conversation.title}: ${failure.message}`);
        if (kind !== 'global') this.leave(conversation);
      },
    }, { joins: kind !== 'global' });
    this.#remember();
    this.#view.listChanged();
    return conversation;
  }

  #joined(conversation, { publications, recovered, wasRecovering, epoch, offset }) {
    const isSame = conversation.epoch === epoch;
    conversation.isJoined = true;
    if (wasRecovering && recovered && isSame) {
      this.#arrived(conversation, publications);
      this.#returnDrafts(conversation);
    } else {
      // All is fetched anew. What only an earlier process has kept stays in view.
      if (!isSame && conversation.messages.length > 0) conversation.earlier = [...conversation.earlier, ...conversation.messages].slice(-MESSAGES_KEPT);
      conversation.messages = [];
      conversation.oldest = null;
      conversation.epoch = epoch;
      conversation.isWhole = false;
      conversation.isLoading = false;
      this.#countUnread(conversation, offset);
      this.loadOlder(conversation);
    }
    if (conversation === this.current) this.refreshMembers(conversation);
  }

  // The newest messages have come for the first time.
  #settle(conversation) {
    conversation.activity = conversation.messages.at(-1)?.at ?? 0;
    if (conversation === this.current && !document.hidden) this.#markRead(conversation);
    this.#returnDrafts(conversation);
    this.#view.reset(conversation);
    this.#view.listChanged();
  }

  #arrived(conversation, publications) {
    const added = [];
    for (const publication of publications) {
      const message = this.#take(conversation, publication);
      if (!message) continue;
      conversation.sending.delete(message.id);
      added.push(message);
      conversation.activity = Date.now();
      if (message.user !== this.self.user) conversation.unread += 1;
    }
    if (added.length === 0) return;
    if (conversation.messages.length > MESSAGES_KEPT && conversation !== this.current) this.#trim(conversation);
    if (conversation === this.current && !document.hidden) this.#markRead(conversation);
    this.#view.added(conversation, added);
    this.#view.listChanged();
  }

  // Scrolling up fetches what is dropped here again.
  #trim(conversation) {
    conversation.messages.splice(0, conversation.messages.length - MESSAGES_KEPT);
    conversation.oldest = conversation.messages[0].offset;
    conversation.isWhole = false;
  }

  // The message that was published, if it is one and is new.
  #take(conversation, publication) {
    const message = this.#message(publication);
    return message.text && conversation.insert(message) ? message : null;
  }

  #message({ offset, data, info }) {
    const { user, name } = personOf(info);
    const text = typeof data?.text === 'string' ? data.text.slice(0, TEXT_CHARACTERS_MAX) : '';
    // The sender's clock, which may be wrong: nothing was said later than now, and nothing at no time.
    const at = Math.max(0, Math.min(Number.isFinite(data?.at) ? data.at : Date.now(), Date.now()));
    return { offset, id: data?.id, user, name, text, at };
  }

  // Of what was sent when the connection was lost, all that has not come back was not said.
  #returnDrafts(conversation) {
    for (const { id } of conversation.messages) conversation.sending.delete(id);
    for (const id of [...conversation.sending.keys()]) this.#returnDraft(conversation, id, 'Not sent: the connection was lost.');
  }

  #returnDraft(conversation, id, why) {
    const text = conversation.sending.get(id);
    if (text === undefined) return;
    conversation.sending.delete(id);
    conversation.draft = conversation.draft ? `${text}\n${conversation.draft}` : text;
    this.#view.draftReturned(conversation, why);
  }

  // Tells the other of two that there is something to read, unless it sees that anyway.
  #announce(conversation) {
    const { kind, peer, wasAnnounced, people } = conversation;
    if (kind !== 'dialog' || wasAnnounced || people.some(({ user }) => user === peer)) return;
    conversation.wasAnnounced = true;
    this.#client.call('publish', { channel: inboxOf(peer), data: { dialog: true } }).catch(() => { conversation.wasAnnounced = false; });
  }

  #subscribeNews() {
    this.#follow(GROUPS, ({ data }) => {
      const name = groupName(data?.group);
      if (name && name === data.group && this.groups.size < GROUPS_LISTED_MAX) this.groups.set(name, true);
      this.#view.listChanged();
    });
    const inbox = inboxOf(this.self.user);
    this.#follow(inbox, ({ info, offset }, epoch) => {
      const [knownEpoch, known] = this.#read[inbox] ?? [];
      // A conversation that was put away comes back when something new is said.
      if (epoch === knownEpoch && offset <= known) return;
      this.#read[inbox] = [epoch, offset];
      const person = personOf(info);
      const isOther = person.user && person.user !== this.self.user;
      const isKnown = this.conversations.has(dialogOf(this.self.user, person.user));
      if (isOther && !isKnown && this.conversations.size < CONVERSATIONS_MAX) this.#addDialog(person);
      else this.#remember();
    });
  }

  // All that is kept of a channel, and all that comes, in its order.
  #follow(channel, take) {
    let current = '';
    this.#client.subscribe(channel, {
      subscribed: async ({ publications, recovered, epoch }) => {
        current = epoch;
        if (recovered) return publications.forEach((own) => take(own, epoch));
        try {
          const reply = await this.#client.call('history', { channel, limit: NEWS_MAX, reverse: true });
          return reply.publications?.reverse().forEach((own) => take(own, epoch));
        } catch { return undefined; }
      },
      publication: (own) => take(own, current),
      refused: () => {},
    });
  }

  // Where the reader was when it left; at the end for what it has never seen, unless someone has written to it.
  #countUnread(conversation, offset) {
    const [epoch, read] = this.#read[conversation.channel] ?? [];
    const unseen = conversation.kind === 'dialog' ? offset : 0;
    conversation.unread = epoch === conversation.epoch ? Math.max(0, offset - read) : unseen;
    this.#view.listChanged();
  }

  #markRead(conversation) {
    const last = conversation.messages.at(-1);
    conversation.unread = 0;
    if (last) this.#read[conversation.channel] = [conversation.epoch, last.offset];
    this.#remember();
    this.#view.listChanged();
  }

  // What this browser remembers. It may forbid storage.
  #remember() {
    const all = [...this.conversations.values()];
    const state = {
      groups: all.filter(({ kind }) => kind === 'group').map(({ title }) => title),
      dialogs: all.filter(({ kind }) => kind === 'dialog').map(({ peer, title }) => [peer, title]),
      read: Object.fromEntries(Object.entries(this.#read).filter(([channel]) => this.conversations.has(channel) || channel === inboxOf(this.self.user))),
      current: this.current?.channel,
    };
    try { localStorage.setItem(this.#storageKey, JSON.stringify(state)); } catch { /* then not */ }
  }

  #recall() {
    try { return JSON.parse(localStorage.getItem(this.#storageKey)) ?? {}; } catch { return {}; }
  }
}

