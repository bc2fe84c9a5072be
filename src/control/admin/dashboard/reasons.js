// What reasons and counters mean for an operator, in a few words each.

export const CLOSES = {
  aged: 'reached the maximum age',
  by_operator: 'an operator closed',
  by_peer: 'the client closed',
  by_service: 'the service closed',
  drained: 'told to go by a drain',
  evicted: 'held the most memory when it was short',
  fragments: 'a message of too many fragments',
  gone: 'left without a close frame',
  idle: 'no pong came in time',
  message_idle: 'no message came in time',
  not_deflate: 'a compressed message that cannot be inflated',
  not_utf8: 'text that is not UTF-8',
  over_rate: 'sent more than its rate',
  overload: 'no memory was left',
  protocol: 'broke the protocol',
  reset: 'the socket failed',
  slow: 'its backlog was full',
  stalled: 'the kernel took no byte for long',
  tls: 'its TLS failed',
  too_big: 'a message over the limit',
  unfinished: 'a message was begun and not finished',
};

export const REFUSALS = {
  at_limit: '503: connections_max is reached',
  by_service: 'the service said no',
  draining: '503: the gateway is going',
  host: '421: a host that is not permitted',
  malformed: '400, 431 or 505: malformed or too large',
  not_found: '404 or 405: no such path',
  origin: '403: an origin that is not allowed',
  upgrade_required: '426: not a WebSocket',
  without_memory: '503: no memory for the head',
};

export const TLS_FAILURES = {
  by_peer: 'the client sent an alert',
  certificate: 'the certificate of the client',
  incompatible: 'no version, suite or group in common',
  internal: 'a fault of the gateway',
  malformed: 'not TLS, or broken',
  memory: 'no memory was left',
  name: 'no certificate for that name',
  plain_http: 'plain HTTP to a TLS listener',
};

/** Counters that say that a limit was hit or that something is short. */
export const PRESSURE = {
  handshakes_timed_out_total: ['Handshakes too slow', 'not complete within handshake_ms'],
  handshakes_abandoned_total: ['Handshakes abandoned', 'the client left before its head was complete'],
  half_open_dropped_total: ['Half-open dropped', 'half_open_max was reached'],
  accept_failures_total: ['Accepts failed', 'descriptors or memory ran out'],
  accepts_shed_total: ['Accepts shed', 'taken with the reserve descriptor and dropped'],
  reading_paused_total: ['Reading paused', 'replies piled up over backlog_high_bytes'],
  pushes_dropped_total: ['Pushes dropped', 'backlog_hard_bytes was reached'],
  outbox_full_total: ['Mailboxes full', 'another loop is behind; who causes it is not read'],
  deflate_given_up_total: ['Sent uncompressed', 'compressing would have held up the loop'],
  deflate_out_of_room_total: ['No room to compress', 'pool_bytes_max left none'],
  close_timed_out_total: ['Closes not answered', 'dropped after close_ms'],
  lookups_refused_total: ['Look-ups refused', 'lookups_max were under way'],
  lookups_unavailable_total: ['Look-ups failed', 'the backend was away or too slow'],
  certificate_reloads_failed_total: ['Certificates not loaded', 'changed files that could not be used'],
  control_restarts_total: ['Control thread restarted', 'a bug: see the log'],
  log_lines_dropped_total: ['Log lines dropped', 'standard error is not read'],
};

/** The stages of a drain. */
export const STAGES = {
  serving: 'no drain is on',
  grace: 'connections are still accepted',
  draining: 'connections are being closed',
  ended: 'the process ends',
};

/** Close codes that an operator may send, with what they say (RFC 6455 §7.4.1). */
export const CODES = [
  [1000, 'normal closure'],
  [1001, 'going away'],
  [1008, 'policy violation'],
  [1011, 'internal error'],
  [1012, 'service restart'],
  [1013, 'try again later'],
];
