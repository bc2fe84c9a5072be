//! The chat pages in a real browser, against a gateway with its default routes. Screenshots are left
//! in `target/screenshots`.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::thread;

use rustix::process::Signal;
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::{Message, WebSocket};

use crate::certificates::CertificateFolder;
use crate::gateway::{DEFAULT_ROUTES, Gateway, Launch};
use crate::messages::connect;
use crate::wait::until;
use crate::webdriver::{Browser, Window};

impl Window<'_> {
    /// Fills in the login form and waits until the page is connected.
    fn enter_as(&self, name: &str) {
        self.type_into("[name=name]", name);
        self.is_connected_as(name);
    }

    fn is_connected_as(&self, name: &str) {
        self.type_into("[name=name]", ENTER);
        self.until_text("#status", &format!("Connected as {name}"));
    }

    fn send_message(&self, text: &str) {
        self.type_into("#text", &format!("{text}{ENTER}"));
    }

    /// Waits until this text is the last message shown.
    fn sees_message(&self, text: &str) {
        self.until(&format!("{LAST_MESSAGE} === {text:?}"));
    }

    fn sees_note(&self, text: &str) {
        self.until(&format!(
            "[...document.querySelectorAll('.note')].at(-1)?.textContent === {text:?}"
        ));
    }

    fn sees_members(&self, count: usize) {
        self.until_text("#count", &format!("{count} here"));
    }

    fn has_state(&self, state: &str) {
        self.until(&format!("document.body.dataset.state === {state:?}"));
    }

    /// All messages shown, each with its sender.
    fn messages(&self) -> Value {
        self.value(
            "[...document.querySelectorAll('#messages li:not(.note)')].map((entry) => \
             [entry.querySelector('bdi').textContent, entry.querySelector('.text').textContent])",
        )
    }
}

/// A chat client without a browser, which sends faster than a page can be typed into.
struct ScriptedClient {
    socket: WebSocket<std::net::TcpStream>,
}

impl ScriptedClient {
    fn enter(address: SocketAddr, name: &str) -> Self {
        let uri = format!("ws://{address}/chat?user={name}&room=lobby");
        let mut request = uri.into_client_request().unwrap();
        let protocol = "tidegate.chat.v1".parse().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        let (socket, _) = tungstenite::client(request, connect(address)).unwrap();
        Self { socket }
    }

    fn send_message(&mut self, text: &str) {
        let message = json!({"type": "message", "text": text});
        self.socket.send(Message::text(message.to_string())).unwrap();
    }
}

fn chat(gateway: &Gateway) -> String {
    format!("http://{}/rooms", gateway.address())
}

/// Lines in the browser's console that a page must not cause. The browser itself logs that a server
/// cannot be reached.
fn unexpected_console_lines(browser: &Browser) -> Vec<String> {
    let mut unexpected_console_lines = browser.console();
    unexpected_console_lines.retain(|line| !line.contains("WebSocket connection to"));
    unexpected_console_lines
}

#[test]
fn two_pages_exchange_messages_and_show_joins_and_leaves() {
    let Some(browser) = Browser::start() else { return };
    let gateway = Gateway::with_config(DEFAULT_ROUTES);
    let alice = browser.open(&chat(&gateway));
    alice.enter_as("alice");
    alice.sees_members(1);
    let bob = browser.open(&chat(&gateway));
    bob.enter_as("bob");
    alice.sees_note("bob joined");
    alice.sees_members(2);
    bob.sees_members(2);

    alice.send_message("hello, bob");
    bob.sees_message("hello, bob");
    bob.type_into("#text", "hello, alice");
    bob.click("#send");
    alice.sees_message("hello, alice");
    assert_eq!(bob.value("document.activeElement.id"), "text", "ready for the next message");
    assert_eq!(bob.value("document.querySelector('#text').value"), "");
    assert_eq!(alice.messages(), json!([["You", "hello, bob"], ["bob", "hello, alice"]]));
    assert_eq!(bob.messages(), json!([["alice", "hello, bob"], ["You", "hello, alice"]]));

    alice.click("#members");
    alice.until("document.querySelector('#names').innerText.includes('bob')");

    bob.click("#leave");
    bob.has_state("login");
    alice.sees_note("bob left");
    alice.sees_members(1);
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn pages_over_https_exchange_messages_over_wss() {
    let Some(browser) = Browser::accepting_any_certificate() else { return };
    let folder = CertificateFolder::new();
    let config = format!(
        "{TOKENS}[[listener]]\naddress = \"127.0.0.1:0\"\ntls = true\n{}",
        folder.table("server")
    );
    let gateway =
        Gateway::launch(&Launch { toml: Some(&config), listen: None, ..Launch::default() });
    let url = |path| format!("https://localhost:{}{path}", gateway.address().port());
    let (alice, bob) = (browser.open(&url("/chatroom")), browser.open(&url("/chatroom")));
    for (page, name, token) in [(&alice, "alice", "secret"), (&bob, "bob", "sec/ret")] {
        assert_eq!(page.value("isSecureContext && location.protocol"), "https:");
        page.type_into("[name=token]", token);
        page.enter_as(name);
    }
    alice.send_message("hello, bob");
    bob.sees_message("hello, bob");
    bob.send_message("hello, alice");
    alice.sees_message("hello, alice");
    alice.reload();
    alice.has_state("open");
    bob.send_message("still here");
    alice.sees_message("still here");
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn a_reloaded_page_logs_in_again_unless_it_had_left() {
    let Some(browser) = Browser::start() else { return };
    let gateway = Gateway::with_config(DEFAULT_ROUTES);
    let alice = browser.open(&chat(&gateway));
    alice.type_into("[name=room]", "-of-cats");
    alice.enter_as("alice & co");
    alice.until_text("#place", "lobby-of-cats");
    alice.reload();
    alice.until_text("#status", "Connected as alice & co");
    alice.until_text("#place", "lobby-of-cats");
    alice.click("#leave");
    alice.reload();
    alice.has_state("login");
    assert_eq!(alice.value("document.querySelector('[name=name]').value"), "alice & co");
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn markup_in_a_message_stays_text() {
    let Some(browser) = Browser::start() else { return };
    let gateway = Gateway::with_config(DEFAULT_ROUTES);
    let alice = browser.open(&chat(&gateway));
    alice.enter_as("alice");
    let mut mallory = ScriptedClient::enter(gateway.address(), "mallory");
    for hostile in [
        r#"<img src=x onerror="document.title = 'broken'">"#,
        "<script>document.title = 'broken'</script>",
        "</li><h1>broken</h1>\n<!--",
    ] {
        mallory.send_message(hostile);
        alice.sees_message(hostile);
    }
    let made = "document.querySelectorAll('#messages :is(img, script, h1)').length";
    assert_eq!(alice.value(made), 0);
    assert_eq!(alice.value("document.title"), "lobby · tidegate");
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn the_message_list_scrolls_only_when_it_is_at_its_end() {
    let Some(browser) = Browser::start() else { return };
    let gateway = Gateway::with_config(DEFAULT_ROUTES);
    let alice = browser.open(&chat(&gateway));
    alice.enter_as("alice");
    let mut bob = ScriptedClient::enter(gateway.address(), "bob");
    let distance = "document.querySelector('#messages').scrollHeight - \
        document.querySelector('#messages').clientHeight - \
        document.querySelector('#messages').scrollTop";
    for number in 0..60 {
        bob.send_message(&format!("message {number}"));
    }
    alice.sees_message("message 59");
    alice.until(&format!("{distance} < 2"));
    assert_eq!(alice.value("document.querySelector('#newer').hidden"), true);

    alice.run("document.querySelector('#messages').scrollTop = 100");
    // The page handles the scroll event within two animation frames.
    alice.run(
        "requestAnimationFrame(() => requestAnimationFrame(() => { window.hasFrame = true }))",
    );
    alice.until("window.hasFrame");
    bob.send_message("one");
    alice.until_text("#newer", "1 new message");
    bob.send_message("two");
    alice.until_text("#newer", "2 new messages");
    assert_eq!(alice.value("document.querySelector('#messages').scrollTop"), 100);
    alice.screenshot("chat-newer");

    alice.click("#newer");
    alice.until(&format!("{distance} < 2"));
    alice.until("document.querySelector('#newer').hidden");
    bob.send_message("three");
    alice.sees_message("three");
    alice.until(&format!("{distance} < 2"));

    // The list keeps the last 500 messages.
    for number in 0..600 {
        bob.send_message(&format!("message {number}"));
    }
    alice.sees_message("message 599");
    assert_eq!(alice.value("document.querySelector('#messages').childElementCount"), 500);
    alice.until(&format!("{distance} < 2"));
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn a_page_replaced_by_a_second_login_does_not_reconnect() {
    let Some(browser) = Browser::start() else { return };
    let gateway = Gateway::with_config(DEFAULT_ROUTES);
    let first = browser.open(&chat(&gateway));
    first.enter_as("alice");
    // If it reconnected, it would do so without delay.
    first.run("Math.random = () => 0");
    let second = browser.open(&chat(&gateway));
    second.enter_as("alice");
    first.has_state("kicked");
    first.until_text("#status", "You logged in elsewhere, so this page was disconnected.");
    first.screenshot("chat-kicked");
    first.run("window.dispatchEvent(new Event('online'))");
    first.run("document.dispatchEvent(new Event('visibilitychange'))");
    first.send_message("is anyone here?");
    first.until("document.querySelector('#hint').textContent.startsWith('Not connected')");
    assert_eq!(first.value("document.body.dataset.state"), "kicked");
    gateway.assert_counter("upgrades", 2);

    // A reload does not reconnect either; submitting the form does.
    first.reload();
    first.has_state("login");
    gateway.assert_counter("upgrades", 2);
    first.click("#login button");
    first.has_state("open");
    second.has_state("kicked");
    second.click("#now");
    second.has_state("open");
    first.has_state("kicked");
    gateway.assert_counter("upgrades", 4);
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn pages_reconnect_after_a_restart_with_growing_delays() {
    let Some(browser) = Browser::start() else { return };
    let mut gateway = Gateway::with_config(DEFAULT_ROUTES);
    let address = gateway.address().to_string();
    let (alice, bob) = (browser.open(&chat(&gateway)), browser.open(&chat(&gateway)));
    alice.enter_as("alice");
    bob.enter_as("bob");
    // The longest delays for one page, short ones for the other.
    alice.run(
        "Math.random = () => 1; window.delays = []; const arm = setTimeout; \
         window.setTimeout = (act, ms) => { delays.push(ms); return arm(act, ms); }; \
         window.statuses = []; const status = document.querySelector('#status'); \
         new MutationObserver(() => statuses.push(status.textContent)).observe(status, {childList: true})",

    );
    bob.run("Math.random = () => 0.1");
    alice.sees_members(2);
    alice.click("#members summary");
    alice.until(MEMBERS_OPEN);
    let names = "document.querySelector('#names').textContent";
    assert_eq!(alice.value(names), "alicebob");

    gateway.signal(Signal::TERM);
    assert_eq!(gateway.exit_status().code(), Some(0));
    alice.has_state("waiting");
    assert_eq!(alice.value("statuses[0]"), "The server is shutting down.");
    alice.screenshot("chat-waiting");
    // The list of members, which is out of date, leaves the button free.
    alice.until(&format!("!({MEMBERS_OPEN})"));
    alice.until(
        "(({ x, y, width, height }) => document.elementFromPoint(x + width / 2, y + height / 2))\
         (document.querySelector('#now').getBoundingClientRect()).id === 'now'",
    );
    alice.send_message("can you hear me?");
    alice.until("document.querySelector('#hint').textContent.startsWith('Not connected')");
    let delays = || {
        // Without the timeouts of connection attempts.
        let delays = alice.value("delays.filter((ms) => ms !== 15000)");
        delays.as_array().unwrap().clone()
    };
    let expected: Vec<Value> =
        [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000].map(Value::from).into();
    until("the delays grow to the longest", || {
        alice.run(
            "if (document.body.dataset.state === 'waiting') document.querySelector('#now').click()",
        );
        (delays().len() >= expected.len()).then_some(())
    });
    assert_eq!(delays()[..expected.len()], expected);

    let gateway = Gateway::launch(&Launch {
        toml: Some(DEFAULT_ROUTES),
        listen: Some(&address),
        ..Launch::default()
    });
    bob.has_state("open");
    alice.run("window.dispatchEvent(new Event('online'))");
    alice.has_state("open");
    alice.sees_members(2);
    // In the same order as before, although bob was first this time.
    assert_eq!(alice.value(names), "alicebob");
    gateway.assert_counter("upgrades", 2);
    // The text that could not be sent is still in the input field.
    alice.until("document.querySelector('#hint').textContent.startsWith('Connected again')");
    alice.send_message("");
    bob.sees_message("can you hear me?");
    assert_eq!(unexpected_console_lines(&browser), [""; 0]);
}

#[test]
fn a_refused_name_shows_the_form_with_the_reason() {
    let Some(browser) = Browser::start() else { return };
    let gateway = Gateway::with_config(DEFAULT_ROUTES);
    let alice = browser.open(&chat(&gateway));
    // Within the form's limit in characters, over the gateway's limit in bytes.
    alice.type_into("[name=name]", &"é".repeat(33));
    alice.run("Math.random = () => 0");
    alice.click("#login button");
    alice.until("document.querySelector('#refusal').textContent.startsWith('name refused: ')");
    alice.has_state("login");
    alice.run("window.dispatchEvent(new Event('online'))");
    gateway.assert_counter("upgrades", 1);
    alice.type_into("[name=name]", &format!("{SELECT_ALL}alice"));
    alice.is_connected_as("alice");
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn the_hall_requires_a_token_and_shows_own_messages_once() {
    let Some(browser) = Browser::start() else { return };
    let gateway = Gateway::with_config(TOKENS);
    let hall = format!("http://{}/chatroom", gateway.address());
    let alice = browser.open(&hall);
    alice.type_into("[name=name]", "alice");
    alice.type_into("[name=token]", "wrong");
    alice.click("#login button");
    alice
        .until("document.querySelector('#refusal').textContent.startsWith('Refused: wrong token')");
    alice.has_state("login");
    alice.screenshot("hall-refused");
    alice.type_into("[name=token]", &format!("{SELECT_ALL}secret"));
    alice.is_connected_as("alice");
    let bob = browser.open(&hall);
    bob.type_into("[name=token]", "sec/ret");
    bob.enter_as("bob");
    alice.sees_members(2);
    alice.send_message("hello, hall");
    bob.sees_message("hello, hall");
    alice.sees_message("hello, hall");
    assert_eq!(alice.messages(), json!([["You", "hello, hall"]]), "once");
    assert_eq!(unexpected_console_lines(&browser), [""; 0]);
}

#[test]
fn pages_fit_their_window_in_light_in_dark_and_on_a_phone() {
    let Some(browser) = Browser::start() else { return };
    let gateway = Gateway::with_config(DEFAULT_ROUTES);
    let alice = browser.open(&chat(&gateway));
    let look = |what: &str| {
        for (scheme, width, height) in
            [("light", 960, 640), ("dark", 960, 640), ("dark", 360, 640), ("light", 360, 640)]
        {
            alice.prefer(scheme);
            alice.resize(width, height);
            let is_dark = format!(
                "getComputedStyle(document.body).colorScheme.includes('light') && \
                 matchMedia('(prefers-color-scheme: {scheme})').matches && innerWidth === {width}"
            );
            alice.until(&is_dark);
            let overflows = "document.documentElement.scrollWidth > innerWidth";
            assert_eq!(alice.value(overflows), false, "{what} at {width} pixels");
            alice.screenshot(&format!("{what}-{scheme}-{width}"));
        }
    };
    look("login");
    alice.enter_as("alice");
    let mut bob = ScriptedClient::enter(gateway.address(), "bob");
    let mut grace = ScriptedClient::enter(gateway.address(), "grace");
    alice.sees_members(3);
    bob.send_message("Is the gate at the harbour open? The tide table says 14:20.");
    alice.sees_message("Is the gate at the harbour open? The tide table says 14:20.");
    alice.send_message("On my way.");
    alice.send_message("Ten minutes, if the gate is open.");
    let link = "It is: https://gateway.example/so/long/an/address/that/it/must/be/broken/somewhere";
    grace.send_message(link);
    alice.sees_message(link);
    bob.send_message("See you there ⚓");
    alice.sees_message("See you there ⚓");
    look("chat");
    alice.click("#members");
    look("members");
    assert_eq!(browser.console(), [""; 0]);
}

/// The text of the last message shown, `undefined` before the first.
const LAST_MESSAGE: &str =
    "[...document.querySelectorAll('#messages li:not(.note) .text')].at(-1)?.textContent";
/// Logins of the hall; a token may contain a slash.
const TOKENS: &str = r#"
    [[identity]]
    name = "members"
    kind = "tokens"
    tokens = [{ name = "alice", token = "secret" }, { name = "bob", token = "sec/ret" }]
"#;
/// Keys as WebDriver writes them (§17.4.2): Enter, and Control and A with Control up again.
const ENTER: &str = "\u{e007}";
const SELECT_ALL: &str = "\u{e009}a\u{e009}";

/// A proxy that serves the gateway below `/app/`, as `location /app/` of nginx does.
fn proxy_below_app(gateway: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut server) = (client.unwrap(), connect(gateway));
            let (mut from_server, mut to_client) =
                (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || {
                // Either side may end at any time.
                let _ = io::copy(&mut from_server, &mut to_client);
                let _ = to_client.shutdown(Shutdown::Both);
            });
            thread::spawn(move || {
                let mut prefix = [0; 9];
                if client.read_exact(&mut prefix).is_ok() && prefix == *b"GET /app/" {
                    server.write_all(b"GET /").unwrap();
                    let _ = io::copy(&mut client, &mut server);
                }
                let _ = server.shutdown(Shutdown::Both);
                let _ = client.shutdown(Shutdown::Both);
            });
        }
    });
    address
}

#[test]
fn pages_work_below_a_prefix_that_a_proxy_removes() {
    let Some(browser) = Browser::start() else { return };
    let gateway = Gateway::with_config(TOKENS);
    let proxy = proxy_below_app(gateway.address());
    let page = browser.open(&format!("http://{proxy}/app/chatroom"));
    page.type_into("[name=token]", "secret");
    page.enter_as("alice");
    page.send_message("hello from below");
    page.sees_message("hello from below");

    let gateway = Gateway::start();
    let proxy = proxy_below_app(gateway.address());
    let page = browser.open(&format!("http://{proxy}/app/rooms"));
    page.enter_as("bob");
    page.send_message("hello from below");
    page.sees_message("hello from below");
}

const MEMBERS_OPEN: &str = "document.querySelector('#members').open";
