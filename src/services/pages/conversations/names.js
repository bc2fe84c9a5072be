// Names: which channel belongs to which conversation, and what is shown of people and groups.

const GLOBAL = 'chat-global:all';
const GROUPS = 'chat-list:groups';
const GROUP_CHARACTERS_MAX = 48;
// The name of a channel has at most 255 bytes.
const CHANNEL_CHARACTERS_MAX = 255;

const inboxOf = (user) => `chat-inbox:#${user}`;
const dialogOf = (first, second) => `chat-dialog:#${[first, second].sort().join()}`;
const groupChannel = (name) => `chat-group:${encodeURIComponent(name)}`;

// The name of a group as all write it, or '' if it is none.
function groupName(text) {
  if (typeof text !== 'string' || !text.isWellFormed()) return '';
  // Characters that show nothing could make two names look the same.
  const name = text.normalize('NFC').replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu, '')
    .replace(/\s+/gu, ' ').trim();
  const fits = name.length <= GROUP_CHARACTERS_MAX && groupChannel(name).length <= CHANNEL_CHARACTERS_MAX;
  return fits ? name : '';
}

// What is proven of who has published: the gateway adds it, not the page that has sent.
function personOf(info) {
  const user = String(info?.user ?? '');
  const name = info?.conn_info?.name;
  return { user, name: typeof name === 'string' && name ? name : 'unknown' };
}

// The end of an ID, which tells people with one name apart.
const tagOf = (user) => user.slice(-4);

// A colour for each user, always the same.
function hueOf(text) {
  let sum = 0;
  for (const letter of text) sum = (sum * 31 + letter.codePointAt()) % 360;
  return sum;
}

const byName = new Intl.Collator(undefined, { numeric: true });

