//! Which module may use which: the tables, and what holds the code to them.

use super::code::Token;
use super::imports::{Program, Source};

/// Modules of one height, and the uses among them that are allowed, as `(from, to)`.
pub(crate) type Row = (&'static [&'static str], &'static [(&'static str, &'static str)]);

/// The layers of the gateway, top first: a module uses those in lower rows. What is not there yet
/// has its row already.
pub(crate) const LAYERS: &[Row] = &[
    (&["main"], &[]),
    (&["cli"], &[]),
    (&["server", "sim", "client"], &[]),
    (&["config"], &[]),
    (&["control"], &[]),
    (&["logging"], &[]),
    (&["reactor"], &[]),
    (&["conn"], &[]),
    (&["services"], &[]),
    (&["access", "inspect"], &[]),
    (&["mail"], &[]),
    (&["effects"], &[]),
    (&["output"], &[]),
    (&["stream", "hub"], &[]),
    (&["centrifugo", "events"], &[]),
    (&["channels"], &[]),
    (&["pool"], &[]),
    (&["admission", "certificates", "http", "jwt", "proxy_protocol", "tls", "upstream", "ws"], &[]),
    (&["foreign", "line", "transport", "os"], &[("os", "transport")]),
    (&["rate"], &[]),
    (&["timer"], &[]),
    (&["display", "key", "metrics", "shrink", "visible", "work"], &[]),
];

/// Lower modules that a module does without all the same, and why.
pub(crate) const DENIED_MODULES: &[(&str, &[&str], &str)] = &[
    (
        "control",
        &["reactor", "conn", "stream", "hub", "pool", "transport"],
        "waits for others, and speaks to loops by mail and traits only",
    ),
    ("services", &["hub", "stream", "pool"], "sees messages and peers, and answers with effects"),
];

/// The layers of the load generator, top first.
pub(crate) const LOADTEST_LAYERS: &[Row] = &[
    (&["main"], &[]),
    (&["commands"], &[]),
    (&["load", "servers"], &[]),
    (&["driver", "peers", "stats"], &[]),
    (&["message"], &[]),
    (&["websocket"], &[]),
    (&["error", "output", "random", "system", "target", "url_argument"], &[]),
    (&["tls"], &[]),
];

/// What the files below some places must not name: paths that end in `::` by their beginning, other
/// words wherever they stand. Then what these files are instead.
pub(crate) const DENIED_WORDS: &[(&[&str], &[&str], &str)] = &[
    (
        &[
            "src/centrifugo",
            "src/certificates",
            "src/channels",
            "src/events",
            "src/foreign",
            "src/foreign.rs",
            "src/hub",
            "src/http",
            "src/jwt",
            "src/key.rs",
            "src/line.rs",
            "src/output",
            "src/pool",
            "src/proxy_protocol",
            "src/rate.rs",
            "src/shrink.rs",
            "src/timer",
            "src/visible.rs",
            "src/work",
            "src/ws",
        ],
        &["std::net::", "std::os::", "std::thread::", "Mutex", "RwLock", "Instant", "SystemTime"],
        "is a function of bytes and numbers",
    ),
    (
        &["src/admission"],
        &[
            "TcpStream",
            "TcpListener",
            "std::os::",
            "std::thread::",
            "RwLock",
            "Instant",
            "SystemTime",
        ],
        "knows addresses and no socket, and is told the time",
    ),
    (
        &[
            "src/admission/bucket.rs",
            "src/admission/network.rs",
            "src/admission/network_set.rs",
            "src/admission/settings.rs",
            "src/admission/table.rs",
        ],
        &["Mutex", "Atomic"],
        "is a function of addresses and numbers",
    ),
    (
        &[
            "src/access.rs",
            "src/conn",
            "src/effects",
            "src/inspect",
            "src/metrics",
            "src/services",
            "src/stream",
        ],
        &["std::os::", "std::thread::", "Mutex", "RwLock", "Instant", "SystemTime"],
        "belongs to one loop, and is told the time",
    ),
    (
        &["src/mail", "src/reactor", "src/transport.rs"],
        &["Instant", "SystemTime", "sleep"],
        "runs on any clock, and waits in the poller only",
    ),
    (&["src/control"], &["std::thread::sleep::"], "has a timer that does not block its thread"),
    (
        &["src/client"],
        &["signal_hook::", "std::thread::", "Mutex", "Instant"],
        "hears signals through os, and waits in one place",
    ),
    (
        &[
            "src/client/ending.rs",
            "src/client/header.rs",
            "src/client/lines.rs",
            "src/client/repeat.rs",
            "src/client/reply.rs",
            "src/client/url.rs",
        ],
        &["std::net::", "std::io::", "std::os::", "crate::os::", "Clock"],
        "is a function of text and numbers",
    ),
];

/// Crates that only some places may name, and what belongs there.
pub(crate) const DENIED_CRATES: &[(&[&str], &[&str], &str)] = &[
    (
        &["mio::", "libc::", "rustix::", "socket2::"],
        &["src/client/waiting.rs", "src/os", "src/reactor/mio_poller.rs"],
        "what knows the operating system",
    ),
    (
        &["tokio::", "async_nats::", "redis::", "async", "await"],
        &["src/control"],
        "what waits for others",
    ),
];

/// The methods of `transport::Transport`.
pub(crate) const TRANSPORT_METHODS: &[&str] =
    &["read", "read_both", "write", "write_last", "shutdown_write", "peer_address"];

/// The modules from which a client's socket can be reached and that must not call its methods.
/// `conn` is among them as soon as there is a `stream`.
const WITHOUT_SOCKETS: &[&str] = &[
    "access",
    "centrifugo",
    "certificates",
    "channels",
    "conn",
    "effects",
    "events",
    "foreign",
    "http",
    "hub",
    "inspect",
    "jwt",
    "key",
    "line",
    "mail",
    "metrics",
    "output",
    "pool",
    "proxy_protocol",
    "reactor",
    "services",
    "shrink",
    "timer",
    "work",
    "ws",
];

/// The one file of these modules that implements the trait, and so calls the real socket.
const TRANSPORT_OF_THE_KERNEL: &str = "src/reactor/mio_poller.rs";

/// Uses that the table of layers does not allow. A re-export upwards is one as well.
pub(crate) fn upward_uses(
    program: &Program,
    layers: &[Row],
    denied: &[(&str, &[&str], &str)],
) -> Vec<String> {
    let mut broken = Vec::new();
    for file in 0..program.files.len() {
        let module = program.module(file);
        if module != "lib" && row(layers, &module).is_none() {
            broken.push(format!("{}: `{module}` has no row", program.files[file].name));
        }
    }
    for edge in program.edges() {
        let from = program.module(edge.from);
        let place = format!("{}:{}", program.files[edge.from].name, edge.line);
        let defining = Some(program.module(edge.to));
        let mut used: Vec<String> = defining.into_iter().chain(edge.through).collect();
        used.dedup();
        for to in used {
            if !is_allowed(layers, &from, &to) {
                broken.push(format!("{place} uses {to}::{}, not below {from}", edge.item));
            }
            for (_, _, rule) in denied
                .iter()
                .filter(|(module, others, _)| from == *module && others.contains(&&*to))
            {
                broken.push(format!("{place} uses {to}::{}: {from} {rule}", edge.item));
            }
        }
    }
    broken.sort();
    broken.dedup();
    broken
}

/// The number of a module's row.
fn row(layers: &[Row], module: &str) -> Option<usize> {
    layers.iter().position(|(modules, _)| modules.contains(&module))
}

fn is_allowed(layers: &[Row], from: &str, to: &str) -> bool {
    let (Some(upper), Some(lower)) = (row(layers, from), row(layers, to)) else { return true };
    let among = layers[upper].1;
    from == to || upper < lower || (upper == lower && among.contains(&(from, to)))
}

/// Words of `words` that a file names, as `file:line names word`.
pub(crate) fn named(source: &Source, words: &[&str]) -> Vec<String> {
    let paths = source.full_paths();
    let paths = paths.iter().map(|(path, line)| (format!("{path}::"), *line));
    let paths: Vec<(String, usize)> = paths.collect();
    let mut found = Vec::new();
    for word in words {
        let by_path =
            paths.iter().filter(|(path, _)| word.ends_with("::") && path.starts_with(word));
        let by_word = source.tokens.iter().filter(|token| token.is(word)).map(|token| token.line);
        for line in by_path.map(|(_, line)| *line).chain(by_word) {
            found.push(format!("{}:{line} names {word}", source.name));
        }
    }
    found
}

/// Whether a file is one of `places` or below one.
pub(crate) fn is_below(source: &Source, places: &[&str]) -> bool {
    places.iter().any(|place| {
        let rest = source.name.strip_prefix(place);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Calls of a socket's methods from where there should be none.
pub(crate) fn calls_of_sockets(program: &Program) -> Vec<String> {
    let has_stream = (0..program.files.len()).any(|file| program.module(file) == "stream");
    let mut found = Vec::new();
    for (file, source) in program.files.iter().enumerate() {
        let module = program.module(file);
        let may_call = !WITHOUT_SOCKETS.contains(&&*module)
            || source.name == TRANSPORT_OF_THE_KERNEL
            || (module == "conn" && !has_stream);
        if !may_call {
            let calls = method_calls(source, TRANSPORT_METHODS);
            found.extend(calls.map(|call| {
                format!("{}:{} calls {}, as only stream may", source.name, call.line, call.text)
            }));
        }
    }
    found
}

/// Calls of methods by these names on anything but `self`.
pub(crate) fn method_calls<'s>(
    source: &'s Source,
    methods: &'s [&str],
) -> impl Iterator<Item = &'s Token> {
    source.tokens.windows(4).filter_map(|window| {
        let [receiver, dot, name, open] = window else { return None };
        let is_call = !receiver.is("self") && dot.is(".") && open.is("(");
        (is_call && methods.contains(&name.text.as_str())).then_some(name)
    })
}
