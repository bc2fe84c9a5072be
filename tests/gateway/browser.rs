//! The pages as people meet them: in a real browser, against the gateway as it is without routes in
//! its configuration. What the browser showed is in `target/screenshots` afterwards.

use std::net::SocketAddr;

use rustix::process::Signal;
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::{Message, WebSocket};

use crate::gateway::{Gateway, Launch};
use crate::messages::connect;
use crate::patience::until;
use crate::webdriver::{Browser, Window};

impl Window<'_> {
    /// Fills in the form as somebody who wants to talk, and waits to be let in.
    fn enter_as(&self, name: &str) {
        self.type_into("[name=name]", name);
        self.is_let_in_as(name);
    }

    fn is_let_in_as(&self, name: &str) {
        self.type_into("[name=name]", ENTER);
        self.until_text("#status", &format!("Connected as {name}"));
    }

    fn say(&self, text: &str) {
        self.type_into("#text", &format!("{text}{ENTER}"));
    }

    /// Waits for something that somebody says.
    fn hears(&self, text: &str) {
        self.until(&format!("{LAST_SAID} === {text:?}"));
    }

    fn sees_note(&self, text: &str) {
        self.until(&format!(
            "[...document.querySelectorAll('.note')].at(-1)?.textContent === {text:?}"
        ));
    }

    fn sees_members(&self, count: usize) {
        self.until_text("#count", &format!("{count} here"));
    }

    fn is_in(&self, state: &str) {
        self.until(&format!("document.body.dataset.state === {state:?}"));
    }

    /// Everything said, each with who said it.
    fn said(&self) -> Value {
        self.value(
            "[...document.querySelectorAll('#messages li:not(.note)')].map((entry) => \
             [entry.querySelector('bdi').textContent, entry.querySelector('.text').textContent])",
        )
    }
}

/// Somebody without a browser, who talks faster than anyone could type.
struct Talker {
    socket: WebSocket<std::net::TcpStream>,
}

impl Talker {
    fn enter(address: SocketAddr, name: &str) -> Self {
        let uri = format!("ws://{address}/chat?user={name}&room=lobby");
        let mut request = uri.into_client_request().unwrap();
        let protocol = "tidegate.chat.v1".parse().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        let (socket, _) = tungstenite::client(request, connect(address)).unwrap();
        Self { socket }
    }

    fn say(&mut self, text: &str) {
        let message = json!({"type": "message", "text": text});
        self.socket.send(Message::text(message.to_string())).unwrap();
    }
}

fn chat(gateway: &Gateway) -> String {
    format!("http://{}/", gateway.address())
}

/// What the console said that no page should make it say. That a server cannot be reached is said
/// by the browser itself.
fn complaints(browser: &Browser) -> Vec<String> {
    let mut complaints = browser.console();
    complaints.retain(|line| !line.contains("WebSocket connection to"));
    complaints
}

#[test]
fn two_people_talk_and_see_each_other_come_and_go() {
    let Some(browser) = Browser::start() else { return };
    let gateway = Gateway::launch(&Launch::default());
    let alice = browser.open(&chat(&gateway));
    alice.enter_as("alice");
    alice.sees_members(1);
    let bob = browser.open(&chat(&gateway));
    bob.enter_as("bob");
    alice.sees_note("bob joined");
    alice.sees_members(2);
    bob.sees_members(2);

    alice.say("hello, bob");
    bob.hears("hello, bob");
    bob.type_into("#text", "hello, alice");
    bob.click("#send");
    alice.hears("hello, alice");
    assert_eq!(bob.value("document.activeElement.id"), "text", "ready for the next message");
    assert_eq!(bob.value("document.querySelector('#text').value"), "");
    assert_eq!(alice.said(), json!([["You", "hello, bob"], ["bob", "hello, alice"]]));
    assert_eq!(bob.said(), json!([["alice", "hello, bob"], ["You", "hello, alice"]]));

    alice.click("#members");
    alice.until("document.querySelector('#names').innerText.includes('bob')");

    bob.click("#leave");
    bob.is_in("login");
    alice.sees_note("bob left");
    alice.sees_members(1);
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn a_reload_logs_in_again() {
    let Some(browser) = Browser::start() else { return };
    let gateway = Gateway::launch(&Launch::default());
    let alice = browser.open(&chat(&gateway));
    alice.type_into("[name=room]", "-of-cats");
    alice.enter_as("alice & co");
    alice.until_text("#place", "lobby-of-cats");
    alice.reload();
    alice.until_text("#status", "Connected as alice & co");
    alice.until_text("#place", "lobby-of-cats");
    alice.click("#leave");
    alice.reload();
    alice.is_in("login");
    assert_eq!(alice.value("document.querySelector('[name=name]').value"), "alice & co");
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn markup_in_a_message_stays_text() {
    let Some(browser) = Browser::start() else { return };
    let gateway = Gateway::launch(&Launch::default());
    let alice = browser.open(&chat(&gateway));
    alice.enter_as("alice");
    let mut mallory = Talker::enter(gateway.address(), "mallory");
    for hostile in [
        r#"<img src=x onerror="document.title = 'broken'">"#,
        "<script>document.title = 'broken'</script>",
        "</li><h1>broken</h1>\n<!--",
    ] {
        mallory.say(hostile);
        alice.hears(hostile);
    }
    let made = "document.querySelectorAll('#messages :is(img, script, h1)').length";
    assert_eq!(alice.value(made), 0);
    assert_eq!(alice.value("document.title"), "lobby · tidegate");
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn the_list_follows_only_a_reader_who_is_at_its_end() {
    let Some(browser) = Browser::start() else { return };
    let gateway = Gateway::launch(&Launch::default());
    let alice = browser.open(&chat(&gateway));
    alice.enter_as("alice");
    let mut bob = Talker::enter(gateway.address(), "bob");
    let distance = "document.querySelector('#messages').scrollHeight - \
        document.querySelector('#messages').clientHeight - \
        document.querySelector('#messages').scrollTop";
    for number in 0..60 {
        bob.say(&format!("message {number}"));
    }
    alice.hears("message 59");
    alice.until(&format!("{distance} < 2"));
    assert_eq!(alice.value("document.querySelector('#newer').hidden"), true);

    alice.run("document.querySelector('#messages').scrollTop = 100");
    // The page has heard of it after a frame.
    alice.run(
        "requestAnimationFrame(() => requestAnimationFrame(() => { window.hasFrame = true }))",
    );
    alice.until("window.hasFrame");
    bob.say("one");
    alice.until_text("#newer", "1 new message");
    bob.say("two");
    alice.until_text("#newer", "2 new messages");
    assert_eq!(alice.value("document.querySelector('#messages').scrollTop"), 100);
    alice.screenshot("chat-newer");

    alice.click("#newer");
    alice.until(&format!("{distance} < 2"));
    alice.until("document.querySelector('#newer').hidden");
    bob.say("three");
    alice.hears("three");
    alice.until(&format!("{distance} < 2"));

    // The list does not grow for ever.
    for number in 0..600 {
        bob.say(&format!("message {number}"));
    }
    alice.hears("message 599");
    assert_eq!(alice.value("document.querySelector('#messages').childElementCount"), 500);
    alice.until(&format!("{distance} < 2"));
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn a_second_login_ends_the_first_for_good() {
    let Some(browser) = Browser::start() else { return };
    let gateway = Gateway::launch(&Launch::default());
    let first = browser.open(&chat(&gateway));
    first.enter_as("alice");
    // Were it to connect again, it would do so without delay.
    first.run("Math.random = () => 0");
    let second = browser.open(&chat(&gateway));
    second.enter_as("alice");
    first.is_in("kicked");
    first.until_text("#status", "You logged in elsewhere, so this page was disconnected.");
    first.screenshot("chat-kicked");
    first.run("window.dispatchEvent(new Event('online'))");
    first.run("document.dispatchEvent(new Event('visibilitychange'))");
    first.say("is anyone here?");
    first.until("document.querySelector('#hint').textContent.startsWith('Not connected')");
    assert_eq!(first.value("document.body.dataset.state"), "kicked");
    assert_eq!(gateway.counter("upgrades"), 2);

    // Neither does a reload take the login back; whoever is there may.
    first.reload();
    first.is_in("login");
    assert_eq!(gateway.counter("upgrades"), 2);
    first.click("#login button");
    first.is_in("open");
    second.is_in("kicked");
    second.click("#now");
    second.is_in("open");
    first.is_in("kicked");
    assert_eq!(gateway.counter("upgrades"), 4);
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn pages_connect_again_by_themselves_after_a_restart() {
    let Some(browser) = Browser::start() else { return };
    let mut gateway = Gateway::launch(&Launch::default());
    let address = gateway.address().to_string();
    let (alice, bob) = (browser.open(&chat(&gateway)), browser.open(&chat(&gateway)));
    alice.enter_as("alice");
    bob.enter_as("bob");
    // The longest delays for the one, rather short ones for the other.
    alice.run(
        "Math.random = () => 1; window.delays = []; const arm = setTimeout; \
         window.setTimeout = (act, ms) => { delays.push(ms); return arm(act, ms); }; \
         window.told = []; const status = document.querySelector('#status'); \
         new MutationObserver(() => told.push(status.textContent)).observe(status, {childList: true})",

    );
    bob.run("Math.random = () => 0.1");

    gateway.signal(Signal::TERM);
    assert_eq!(gateway.exit_status().code(), Some(0));
    alice.is_in("waiting");
    assert_eq!(alice.value("told[0]"), "The server is shutting down.");
    alice.screenshot("chat-waiting");
    alice.say("can you hear me?");
    alice.until("document.querySelector('#hint').textContent.startsWith('Not connected')");
    let delays = || {
        // Beside them are the deadlines of connections being opened.
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

    let gateway = Gateway::launch(&Launch { listen: Some(&address), ..Launch::default() });
    alice.run("window.dispatchEvent(new Event('online'))");
    alice.is_in("open");
    bob.is_in("open");
    alice.sees_members(2);
    assert_eq!(gateway.counter("upgrades"), 2);
    // What could not be sent is still there, to be sent or not.
    alice.until("document.querySelector('#hint').textContent.startsWith('Connected again')");
    alice.say("");
    bob.hears("can you hear me?");
    assert_eq!(complaints(&browser), [""; 0]);
}

#[test]
fn a_refused_name_leads_back_to_the_form_which_says_why() {
    let Some(browser) = Browser::start() else { return };
    let gateway = Gateway::launch(&Launch::default());
    let alice = browser.open(&chat(&gateway));
    // Few enough characters for the form, and too many bytes for the gateway.
    alice.type_into("[name=name]", &"é".repeat(33));
    alice.run("Math.random = () => 0");
    alice.click("#login button");
    alice.until("document.querySelector('#refusal').textContent.startsWith('name refused: ')");
    alice.is_in("login");
    alice.run("window.dispatchEvent(new Event('online'))");
    assert_eq!(gateway.counter("upgrades"), 1);
    alice.type_into("[name=name]", &format!("{SELECT_ALL}alice"));
    alice.is_let_in_as("alice");
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn the_hall_wants_a_token_and_lets_its_people_hear_themselves() {
    let Some(browser) = Browser::start() else { return };
    let gateway = Gateway::with_config(TOKENS);
    let hall = format!("http://{}/chatroom", gateway.address());
    let alice = browser.open(&hall);
    alice.type_into("[name=name]", "alice");
    alice.type_into("[name=token]", "wrong");
    alice.click("#login button");
    alice
        .until("document.querySelector('#refusal').textContent.startsWith('Refused: wrong token')");
    alice.is_in("login");
    alice.screenshot("hall-refused");
    alice.type_into("[name=token]", &format!("{SELECT_ALL}secret"));
    alice.is_let_in_as("alice");
    let bob = browser.open(&hall);
    bob.type_into("[name=token]", "sec/ret");
    bob.enter_as("bob");
    alice.sees_members(2);
    alice.say("hello, hall");
    bob.hears("hello, hall");
    alice.hears("hello, hall");
    assert_eq!(alice.said(), json!([["You", "hello, hall"]]), "once");
    assert_eq!(complaints(&browser), [""; 0]);
}

#[test]
fn pages_look_right_in_light_in_dark_and_on_a_phone() {
    let Some(browser) = Browser::start() else { return };
    let gateway = Gateway::launch(&Launch::default());
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
    let mut bob = Talker::enter(gateway.address(), "bob");
    let mut grace = Talker::enter(gateway.address(), "grace");
    alice.sees_members(3);
    bob.say("Is anybody at the harbour? The tide table says 14:20.");
    alice.hears("Is anybody at the harbour? The tide table says 14:20.");
    alice.say("On my way.");
    alice.say("Ten minutes, if the gate is open.");
    let link = "It is: https://gateway.example/so/long/an/address/that/it/must/be/broken/somewhere";
    grace.say(link);
    alice.hears(link);
    bob.say("See you there ⚓");
    alice.hears("See you there ⚓");
    look("chat");
    alice.click("#members");
    look("members");
    assert_eq!(browser.console(), [""; 0]);
}

/// What was said last, `undefined` before anything was.
const LAST_SAID: &str =
    "[...document.querySelectorAll('#messages li:not(.note) .text')].at(-1)?.textContent";
/// Who may enter the hall; a token may hold what separates segments.
const TOKENS: &str = r#"
    [[identity]]
    name = "members"
    kind = "tokens"
    tokens = [{ name = "alice", token = "secret" }, { name = "bob", token = "sec/ret" }]
"#;
/// Keys as WebDriver writes them (§17.4.2): Enter, and Control and A with Control up again.
const ENTER: &str = "\u{e007}";
const SELECT_ALL: &str = "\u{e009}a\u{e009}";
