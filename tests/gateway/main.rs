//! The gateway as a process, with real sockets and real clients.
//!
//! Every test starts a process of its own on a free port and ends it. No test waits for a fixed
//! time: `wait` polls for conditions, with a timeout that only a fault reaches.
//!
//! | module | what it tests |
//! |---|---|
//! | `start` | command line, configuration, limits, the lines it logs, exit codes |
//! | `admin` | the admin listener: rights, health, metrics, connections seen and closed |
//! | `acme` | certificates that the gateway gets from an ACME server |
//! | `hosts` | which hosts requests may name, on each listener |
//! | `http`, `handshake` | every reply before the upgrade, and the end of the connection after it |
//! | `foreign` | clients that came to the wrong port |
//! | `redirect` | a listener that redirects to `https` |
//! | `client_command` | `tidegate client`: input, output, how it ends, exit codes |
//! | `client_tls` | `tidegate client` over TLS: certificates, and servers that speak none |
//! | `echo`, `clients` | messages of every size, fragmentation and kind, from clients in three languages |
//! | `compression`, `takeover` | permessage-deflate: negotiation, both directions, bombs, contexts |
//! | `independent_peer` | random messages exchanged with yawc |
//! | `browser` | the pages in a real browser |
//! | `browser_admin` | the dashboard of the admin listener in a real browser |
//! | `login_chat`, `hub_chat`, `broadcast_chat`, `line_chat` | the routes of the default configuration, on four loops |
//! | `add_service` | the example program |
//! | `tls` | TLS: versions, certificates, what goes wrong, clients of other makers |
//! | `tls_tools` | TLS as tlslite-ng and sslyze see it |
//! | `proxies` | the documented configurations of nginx and HAProxy |
//! | `coming_from` | what docs/coming-from.md says of nginx, HAProxy and Pushpin, side by side with them |
//! | `proxied` | the addresses of clients of proxies: nginx and HAProxy as documented, and what is claimed |
//! | `certificates_reload` | certificates at start, and files that change |
//! | `events` | backends that speak plain HTTP, and what becomes of their clients |
//! | `events_api` | what backends ask of the gateway: publications, keys, connections |
//! | `gateway_style` | backends as behind API Gateway, and boto3 |
//! | `grip` | backends by the libraries of GRIP, in Python and Node |
//! | `plain_http` | requests that upgrade nothing, on their way to backends of other makers |
//! | `smuggling` | bytes that a gateway and a backend might read as different requests |
//! | `webhooks` | webhooks that are told of connections, fail, hang and come back |
//! | `relay` | backends in Python, Node and Rust behind the gateway, killed, moved and reloaded |
//! | `relayed_libraries` | Socket.IO, graphql-ws, FastAPI and Channels through relays, both their ends |
//! | `reload` | the configuration, read again on SIGHUP |
//! | `identity` | who clients are by tokens, certificates and cookies, and what follows from it |
//! | `backends` | who clients are by a backend's callback and by signed tokens, in Python |
//! | `limits` | descriptors and handshakes run out, and open connections are served on |
//! | `overload` | newcomers are refused while memory is short |
//! | `log` | levels, formats, repeated lines, and standard error that is not read |
//! | `access_log` | a line for each connection, in a file that is rotated under load |
//! | `drain` | signals, close frames, exit codes |
//! | `activation` | sockets passed by a supervisor, and what the supervisor hears |
//! | `handover` | SIGUSR2: a new process takes over, or fails, under load |
//! | `engines` | several gateways with one engine |
//! | `deployed` | the files of deploy/compose: three gateways with one engine behind HAProxy |
//! | `survey` | what operators list and do at all gateways that share an engine |
//! | `backpressure` | a client that does not read costs bounded memory and loses no byte |

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panic")]

#[cfg(feature = "acme")]
mod acme_server;
mod admin_client;
#[path = "../support/certificates.rs"]
mod certificates;
mod chat_client;
mod events_backend;
mod frames;
mod gateway;
mod member;
mod messages;
#[cfg(feature = "nats")]
#[allow(dead_code, reason = "shared with others")]
#[path = "../support/nats_server.rs"]
mod nats_server;
#[path = "../support/port.rs"]
mod port;
mod proxy_server;
mod reconnecting_clients;
#[path = "../support/redis_server.rs"]
mod redis_server;
mod relay_backend;
#[path = "../support/skip.rs"]
mod skip;
mod smuggling;
mod socket;
mod tls_client;
mod unhurried;
mod wait;
mod webdriver;

#[cfg(feature = "acme")]
mod acme;
mod activation;
mod admin;
mod channel_proxies;
mod channels;
mod channels_client;
mod channels_codes;
mod channels_handover;
mod channels_slow;
mod handover;
mod start;
mod takeover;

mod foreign;
mod handshake;
mod hosts;
mod http;
mod redirect;

mod browser;
mod browser_admin;
mod browser_chat;
mod client_command;
mod client_tls;
mod clients;
mod coming_from;
mod compression;
mod echo;
mod plain_http;
mod proxied;
mod proxies;
mod tls;
mod tls_tools;

mod add_service;
mod broadcast_chat;
mod hub_chat;
mod independent_peer;
mod line_chat;
mod login_chat;

mod access_log;
mod addresses;
mod backends;
mod backpressure;
mod certificates_reload;
mod deployed;
mod dns;
mod drain;
mod engines;
mod events;
mod events_api;
mod gateway_style;
mod grip;
mod identity;
mod limits;
mod log;
mod overload;
mod rates;
mod relay;
mod relayed_libraries;
mod reload;
mod survey;
mod upstream_tls;
mod upstreams;
mod webhooks;
