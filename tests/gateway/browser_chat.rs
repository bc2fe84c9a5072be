//! The page of conversations in a real browser, against a gateway with its default routes. Two people have two
//! names of one host, since a browser keeps one login for each. Screenshots are left in `target/screenshots`.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::{Message, WebSocket};

use crate::clients::below_root;
use crate::gateway::{DEFAULT_ROUTES, Gateway, Launch};
use crate::messages::{Ending, connect, exchange};
use crate::skip::skip_without;
use crate::webdriver::{Browser, Window};

impl Window<'_> {
    /// Logs in, and waits until the page is connected.
    fn logs_in_as(&self, name: &str) {
        self.until("!document.querySelector('#login-page').hidden");
        self.type_into("[name=name]", &format!("{SELECT_ALL}{name}{ENTER}"));
        self.is_online();
        self.until_text("#self bdi", name);
    }

    fn is_online(&self) {
        self.until("document.body.dataset.connection === 'open'");
    }

    fn says(&self, text: &str) {
        self.type_into("#text", &format!("{text}{ENTER}"));
        self.hears(text);
    }

    /// Waits until this text is the last message shown.
    fn hears(&self, text: &str) {
        self.until(&format!("{LAST_MESSAGE} === {text:?}"));
    }

    /// All messages shown, each with its sender.
    fn shown(&self) -> Value {
        self.value(
            "[...document.querySelectorAll('.message')].map((entry) => \
             [entry.querySelector('bdi').textContent, entry.querySelector('.text').textContent])",
        )
    }

    /// Opens the conversation whose entry in the list has this name.
    fn opens(&self, name: &str) {
        self.until(&format!("{} !== undefined", entry(name)));
        self.run(&format!("{}.click()", entry(name)));
        self.until_text("#title", name);
    }

    fn has_unread(&self, name: &str, count: usize) {
        self.until(&format!(
            "{}?.querySelector('.unread')?.textContent === '{count}'",
            entry(name)
        ));
    }

    /// Creates a group, or enters it.
    fn enters_group(&self, name: &str) {
        self.click("#new-group");
        self.until("document.querySelector('#group-dialog').open");
        self.type_into("[name=group]", &format!("{name}{ENTER}"));
        self.until_text("#title", name);
    }

    fn shows_members(&self, count: usize) {
        self.until_text("#show-members", &format!("Members ({count})"));
    }

    /// What is wrong with the names and roles that assistive technology is given.
    fn has_no_unnamed_controls(&self) {
        assert_eq!(self.run(UNNAMED), json!([]));
    }
}

/// The button of a conversation, by its name.
fn entry(name: &str) -> String {
    format!(
        "[...document.querySelectorAll('#lists .entry')].find((own) => own.checkVisibility() && \
         own.querySelector('bdi').textContent === {name:?})"
    )
}

fn page_of(gateway: &Gateway) -> [String; 2] {
    let port = gateway.address().port();
    ["127.0.0.1", "localhost"].map(|host| format!("http://{host}:{port}/"))
}

/// A member without a browser, which sends faster than a page can be typed into.
struct ScriptedMember {
    socket: WebSocket<TcpStream>,
    calls: u32,
}

impl ScriptedMember {
    /// Logs in as `name`, and subscribes to what all are in.
    fn enter(address: SocketAddr, name: &str) -> Self {
        let head = format!("POST /?login={name} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        let reply = exchange(address, head.as_bytes(), Ending::Open);
        let reply = String::from_utf8(reply).unwrap();
        let cookie = reply.lines().find_map(|line| line.strip_prefix("Set-Cookie: ")).unwrap();
        let cookie = cookie.split(';').next().unwrap();
        let uri = format!("ws://{address}/connection/websocket");
        let mut request = uri.into_client_request().unwrap();
        request.headers_mut().insert("Cookie", cookie.parse().unwrap());
        let (socket, _) = tungstenite::client(request, connect(address)).unwrap();
        let mut member = Self { socket, calls: 0 };
        member.call("connect", &json!({}));
        member.call("subscribe", &json!({"channel": GLOBAL}));
        member
    }

    fn call(&mut self, method: &str, parameters: &Value) {
        self.calls += 1;
        let command = json!({"id": self.calls, method: parameters});
        self.socket.send(Message::text(command.to_string())).unwrap();
        let id = json!(self.calls);
        loop {
            let reply = self.socket.read().unwrap().into_text().unwrap();
            let reply: Value = serde_json::from_str(&reply).unwrap();
            if reply["id"] == id {
                assert_eq!(reply["error"], Value::Null, "{command}");
                return;
            }
        }
    }

    fn say(&mut self, text: &str) {
        self.publish(GLOBAL, &json!({"id": "1", "text": text, "at": 1_700_000_000_000_u64}));
    }

    fn publish(&mut self, channel: &str, data: &Value) {
        self.call("publish", &json!({"channel": channel, "data": data}));
    }
}

/// Passes connections on to a gateway, until the network is cut.
struct Network {
    address: SocketAddr,
    open: Arc<Mutex<Option<HashMap<u64, TcpStream>>>>,
}

impl Network {
    fn to(gateway: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let open = Arc::new(Mutex::new(Some(HashMap::new())));
        let of_thread = Arc::clone(&open);
        thread::spawn(move || {
            for (number, client) in (0..).zip(listener.incoming()) {
                let client = client.unwrap();
                let mut open = of_thread.lock().unwrap();
                // A network that is cut loses them.
                let Some(open) = open.as_mut() else { continue };
                open.insert(number, client.try_clone().unwrap());
                let server = connect(gateway);
                pass_on(client.try_clone().unwrap(), server.try_clone().unwrap());
                pass_on(server, client);
            }
        });
        Self { address, open }
    }

    fn cut(&self) {
        let open = self.open.lock().unwrap().take();
        open.into_iter().flatten().for_each(|(_, own)| drop(own.shutdown(Shutdown::Both)));
    }

    fn mend(&self) {
        *self.open.lock().unwrap() = Some(HashMap::new());
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        // Either side may end at any time.
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
}

/// What the browser logs by itself where a server cannot be reached; a page must cause nothing else.
fn unexpected_lines(browser: &Browser) -> Vec<String> {
    let mut lines = browser.console();
    lines.retain(|line| {
        !line.contains("WebSocket connection to") && !line.contains("Failed to load resource")
    });
    lines
}

#[test]
fn two_people_talk_with_everyone_in_a_group_and_alone() {
    let Some(browser) = Browser::start() else { return };
    let gateway = Gateway::with_config(DEFAULT_ROUTES);
    let [first, second] = page_of(&gateway);
    let alice = browser.open(&first);
    alice.logs_in_as("alice");
    let bob = browser.open(&second);
    bob.logs_in_as("bob");
    alice.says("hello, all");
    bob.hears("hello, all");
    assert_eq!(bob.shown(), json!([["alice", "hello, all"]]));
    assert_eq!(alice.shown(), json!([["You", "hello, all"]]));

    alice.enters_group("Tides & gates");
    alice.says("high water at noon");
    bob.opens("Tides & gates");
    bob.hears("high water at noon");
    alice.shows_members(2);
    bob.says("so it is");
    alice.hears("so it is");

    // Alone with one of the members: he learns of it without having asked.
    alice.click("#show-members");
    alice.click("#people button");
    alice.until_text("#title", "bob");
    alice.says("a word between us");
    bob.has_unread("alice", 1);
    bob.until("document.title === '(1) tidegate chat'");
    bob.opens("alice");
    bob.hears("a word between us");
    bob.says("go on");
    alice.hears("go on");
    alice.until_text("#subtitle", "here now");
    // What is private to two is in no channel that others may enter.
    let mut mallory = ScriptedMember::enter(gateway.address(), "mallory");
    mallory.say("anything private here?");
    alice.has_unread("Everyone", 1);
    assert_eq!(alice.shown(), json!([["You", "a word between us"], ["bob", "go on"]]));

    // A reload finds all of it again, and who was read.
    bob.reload();
    bob.is_online();
    bob.until_text("#title", "alice");
    bob.hears("go on");
    assert_eq!(bob.shown(), json!([["alice", "a word between us"], ["You", "go on"]]));
    bob.opens("Tides & gates");
    bob.hears("so it is");
    bob.click("#leave");
    bob.until_text("#title", "Everyone");
    bob.until(&format!(
        "{}?.querySelector('.said').textContent === 'Enter'",
        entry("Tides & gates")
    ));
    alice.opens("Tides & gates");
    alice.shows_members(1);
    assert_eq!(unexpected_lines(&browser), [""; 0]);
}

#[test]
fn a_history_is_read_by_scrolling_up_and_stays_in_its_place() {
    let Some(browser) = Browser::start() else { return };
    let gateway = Gateway::with_config(DEFAULT_ROUTES);
    let mut grace = ScriptedMember::enter(gateway.address(), "grace");
    (0..120).for_each(|number| grace.say(&format!("message {number}")));
    let alice = browser.open(&page_of(&gateway)[0]);
    alice.logs_in_as("alice");
    alice.hears("message 119");
    let count = |number: usize| {
        alice.until(&format!("document.querySelectorAll('.message').length === {number}"));
    };
    count(50);
    alice.until(&format!("{FROM_BOTTOM} < 2"));
    alice.run(&format!(
        "document.querySelector('#messages').scrollTop = 60; window.place = {PLACE}"
    ));
    let stays = format!("Math.abs({PLACE} - window.place) < 2");
    count(100);
    assert_eq!(alice.value(&stays), true);
    assert_eq!(alice.value("document.querySelectorAll('.day').length"), 1);
    // Who reads is not disturbed by what is new.
    grace.say("something new");
    alice.until_text("#newer", "1 new message");
    assert_eq!(alice.value(&stays), true);
    alice.screenshot("conversations-newer");
    alice.run("document.querySelector('#messages').scrollTop = 0");
    count(121);
    alice.until(
        "document.querySelector('#messages .note').textContent === 'This is the beginning.'",
    );
    alice.click("#newer");
    alice.until(&format!("{FROM_BOTTOM} < 2"));
    let texts = alice
        .value("[...document.querySelectorAll('.message .text')].map((own) => own.textContent)");
    let mut expected: Vec<String> = (0..120).map(|number| format!("message {number}")).collect();
    expected.push("something new".to_owned());
    assert_eq!(texts, json!(expected), "each once, and in order");
    assert_eq!(unexpected_lines(&browser), [""; 0]);
}

#[test]
fn the_title_of_a_hidden_page_counts_all_that_comes() {
    let Some(browser) = Browser::start() else { return };
    let gateway = Gateway::with_config(DEFAULT_ROUTES);
    let alice = browser.open(&page_of(&gateway)[0]);
    alice.logs_in_as("alice");
    // What a browser does with a window behind others.
    alice.run(
        "window.requestAnimationFrame = () => 0; \
         Object.defineProperty(document, 'hidden', {get: () => true})",
    );
    let mut grace = ScriptedMember::enter(gateway.address(), "grace");
    for count in 1..=3 {
        grace.say("are you there?");
        alice.until(&format!("document.title === '({count}) tidegate chat'"));
    }
}

#[test]
fn what_was_missed_is_there_after_a_dead_network() {
    let Some(browser) = Browser::start() else { return };
    let gateway = Gateway::with_config(DEFAULT_ROUTES);
    let network = Network::to(gateway.address());
    let alice = browser.open(&format!("http://{}/", network.address));
    alice.logs_in_as("alice");
    let mut bob = ScriptedMember::enter(gateway.address(), "bob");
    bob.say("before");
    alice.hears("before");
    alice.says("I hear you");
    network.cut();
    alice.until("document.body.dataset.connection === 'waiting'");
    alice.until("document.querySelector('#status').textContent.length > 0 && !document.querySelector('#now').hidden");
    alice.screenshot("conversations-offline");
    alice.type_into("#text", &format!("are you there?{ENTER}"));
    alice.until("document.querySelector('#hint').textContent.startsWith('Not connected')");
    (0..30).for_each(|number| bob.say(&format!("missed {number}")));
    network.mend();
    alice.run("window.dispatchEvent(new Event('online'))");
    alice.is_online();
    alice.hears("missed 29");
    let mut expected = vec![json!(["bob", "before"]), json!(["You", "I hear you"])];
    expected.extend((0..30).map(|number| json!(["bob", format!("missed {number}")])));
    assert_eq!(alice.shown(), json!(expected), "each once, and in order");
    // What could not be sent is still there.
    assert_eq!(alice.value("document.querySelector('#text').value"), "are you there?");
    alice.type_into("#text", ENTER);
    alice.hears("are you there?");

    // More than is recovered: all is fetched anew, and nothing is shown twice.
    network.cut();
    alice.until("document.body.dataset.connection === 'waiting'");
    (0..310).for_each(|number| bob.say(&format!("flood {number}")));
    network.mend();
    alice.run("window.dispatchEvent(new Event('online'))");
    alice.hears("flood 309");
    let shown = alice.shown();
    let expected: Vec<Value> =
        (260..310).map(|number| json!(["bob", format!("flood {number}")])).collect();
    assert_eq!(shown, json!(expected));
    assert_eq!(unexpected_lines(&browser), [""; 0]);
}

#[test]
fn a_gateway_that_is_started_anew_asks_for_another_login() {
    let Some(browser) = Browser::start() else { return };
    let mut gateway = Gateway::with_config(DEFAULT_ROUTES);
    let address = gateway.address().to_string();
    let alice = browser.open(&page_of(&gateway)[0]);
    alice.logs_in_as("alice");
    alice.run("Math.random = () => 0.1");
    gateway.signal(rustix::process::Signal::TERM);
    assert_eq!(gateway.exit_status().code(), Some(0));
    alice.until("document.body.dataset.connection === 'waiting'");
    let _gateway = Gateway::launch(&Launch {
        toml: Some(DEFAULT_ROUTES),
        listen: Some(&address),
        ..Launch::default()
    });
    alice.until("document.body.dataset.state === 'login'");
    alice.until_text("#refusal", "Your login has ended. Log in again.");
    alice.logs_in_as("alice");
    alice.click("#log-out");
    alice.until("document.body.dataset.state === 'login'");
    alice.reload();
    alice.until("document.body.dataset.state === 'login'");
    assert_eq!(unexpected_lines(&browser), [""; 0]);
}

#[test]
fn a_page_that_reconnects_in_a_loop_is_refused_until_it_waits() {
    let Some(browser) = Browser::start() else { return };
    let gateway = Gateway::with_config(DEFAULT_ROUTES);
    let alice = browser.open(&page_of(&gateway)[0]);
    alice.logs_in_as("alice");
    // A page without the delays of this one.
    alice.run(
        "window.refused = 0; const again = () => { const own = new WebSocket('/connection/websocket'); \
         own.onopen = () => own.close(); own.onclose = ({ wasClean }) => { refused += !wasClean; if (refused < 3) again(); }; }; again()",
    );
    alice.until("window.refused === 3");
    assert!(gateway.counter("refused_user_rate") >= 3);
    assert_eq!(alice.value("document.body.dataset.connection"), "open");
    alice.says("still here");
    // Others are not concerned.
    ScriptedMember::enter(gateway.address(), "bob").say("and I am new");
    alice.hears("and I am new");
}

#[test]
fn markup_in_names_and_texts_stays_text() {
    let Some(browser) = Browser::start() else { return };
    let gateway = Gateway::with_config(DEFAULT_ROUTES);
    let alice = browser.open(&page_of(&gateway)[0]);
    let markup = "<img src=x onerror=broken()>";
    alice.logs_in_as(markup);
    alice.says("<script>document.title = 'broken'</script>");
    alice.enters_group("<b>bold</b>");
    alice.says(markup);
    alice.opens("Everyone");
    let mut mallory = ScriptedMember::enter(gateway.address(), "%3Ch1%3Ex");
    // What is no message at all, and what claims to be from another.
    let strange = [
        json!(null),
        json!([1]),
        json!({"text": {"a": 1}, "at": "x"}),
        json!({"id": {}, "text": markup, "at": -1e300, "user": "root", "info": {"user": "root"}}),
    ];
    strange.iter().for_each(|data| mallory.publish(GLOBAL, data));
    for group in
        [json!(null), json!({"group": 1}), json!({"group": "a\u{202e}b"}), json!({"group": "<i>"})]
    {
        mallory.publish("chat-list:groups", &group);
    }
    mallory.say("</li><h1>broken</h1>\n<!--");
    alice.hears("</li><h1>broken</h1>\n<!--");
    alice.until(&format!("{} !== undefined", entry("<i>")));
    assert_eq!(
        alice.value(
            "document.querySelectorAll('#chat :is(img, script, b, i, #messages h1)').length"
        ),
        0
    );
    assert_eq!(alice.value("document.querySelectorAll('#groups li').length"), 1);
    let senders = "[...new Set([...document.querySelectorAll('.message bdi')].map((own) => own.textContent))]";
    assert_eq!(alice.value(senders), json!(["You", "<h1>x"]));
    assert_eq!(unexpected_lines(&browser), [""; 0]);
}

#[test]
fn all_of_it_is_done_with_the_keyboard_alone() {
    let Some(browser) = Browser::start() else { return };
    let gateway = Gateway::with_config(DEFAULT_ROUTES);
    let alice = browser.open(&page_of(&gateway)[0]);
    let bob = browser.open(&page_of(&gateway)[1]);
    bob.logs_in_as("bob");
    alice.until("document.activeElement.name === 'name'");
    alice.has_no_unnamed_controls();
    alice.keys("alice\u{e007}");
    alice.is_online();
    alice.shows_members(2);
    // From the beginning of the page: the new group comes first.
    alice.keys(TAB);
    alice.until("document.activeElement.id === 'new-group'");
    alice.keys(ENTER);
    alice.until("document.activeElement.name === 'group'");
    alice.keys(ESCAPE);
    alice.until("!document.querySelector('#group-dialog').open && document.activeElement.id === 'new-group'");
    alice.keys(TAB);
    alice.until("document.activeElement.dataset.channel === 'chat-global:all' && document.activeElement.ariaCurrent === 'true'");
    alice.keys(ENTER);
    alice.until("document.activeElement.id === 'text'");
    alice.keys("typed\u{e007}");
    alice.hears("typed");
    // Back over the messages to the list of members.
    alice.keys(BACK_TAB);
    alice.until("document.activeElement.id === 'messages'");
    alice.keys(BACK_TAB);
    alice.until("document.activeElement.id === 'show-members'");
    alice.keys(ENTER);
    alice.until("!document.querySelector('#members').hidden && document.activeElement.ariaExpanded === 'true'");
    alice.has_no_unnamed_controls();
    alice.keys(ESCAPE);
    alice.until(
        "document.querySelector('#members').hidden && document.activeElement.id === 'show-members'",
    );
    alice.keys(ENTER);
    alice.run("document.querySelector('#hide-members').focus()");
    alice.keys(TAB);
    alice.until("document.activeElement.textContent === 'Talk with Bbob'");
    alice.keys(ENTER);
    alice.until_text("#title", "bob");
    alice.until("document.activeElement.id === 'text'");
    alice.keys("privately\u{e007}");
    alice.hears("privately");
    bob.has_unread("alice", 1);
    alice.has_no_unnamed_controls();
    assert_eq!(unexpected_lines(&browser), [""; 0]);
}

#[test]
fn conversations_fit_their_window_in_light_in_dark_and_on_a_phone() {
    let Some(browser) = Browser::start() else { return };
    let gateway = Gateway::with_config(DEFAULT_ROUTES);
    let alice = browser.open(&page_of(&gateway)[0]);
    let look = |what: &str| {
        for (scheme, width, height) in [
            ("light", 1280, 800),
            ("dark", 1280, 800),
            ("light", 800, 640),
            ("dark", 360, 640),
            ("light", 360, 640),
        ] {
            alice.prefer(scheme);
            alice.resize(width, height);
            alice.until(&format!(
                "matchMedia('(prefers-color-scheme: {scheme})').matches && innerWidth === {width}"
            ));
            let overflows = "document.documentElement.scrollWidth > innerWidth";
            assert_eq!(alice.value(overflows), false, "{what} at {width} pixels");
            let is_seen =
                |part| alice.value(&format!("document.querySelector('#{part}').checkVisibility()"));
            let seen = [is_seen("sidebar"), is_seen("conversation")];
            match (what, width) {
                ("login", _) => assert_eq!(seen, [false, false]),
                (_, 360) => assert_ne!(seen[0], seen[1], "{what}: one at a time on a phone"),
                _ => assert_eq!(seen, [true, true], "{what} at {width} pixels"),
            }
            alice.screenshot(&format!("conversations-{what}-{scheme}-{width}"));
        }
        alice.resize(1280, 800);
    };
    alice.until("!document.querySelector('#login-page').hidden");
    look("login");
    alice.logs_in_as("alice");
    let bob = browser.open(&page_of(&gateway)[1]);
    bob.logs_in_as("bob");
    let mut grace = ScriptedMember::enter(gateway.address(), "grace");
    grace.say("This was said long ago.");
    bob.says("Is the gate at the harbour open? The tide table says 14:20.");
    alice.says("On my way.");
    alice.says("Ten minutes, if the gate is open.");
    bob.says("It is: https://gateway.example/so/long/an/address/that/it/must/be/broken/somewhere");
    bob.enters_group("A group with a name that is too long for it");
    bob.says("Anyone here?");
    alice.enters_group("Tides");
    alice.says("High water at noon.");
    alice.opens("Everyone");
    bob.click("#show-members");
    bob.opens("Everyone");
    bob.until("document.querySelectorAll('#people button').length > 0");
    bob.run("[...document.querySelectorAll('#people button')].find((own) => own.textContent.endsWith('alice')).click()");
    bob.says("Between us: bring the chart.");
    alice.has_unread("bob", 1);
    alice.shows_members(3);
    look("list");
    alice.run("document.body.dataset.pane = 'talk'");
    look("talk");
    alice.click("#show-members");
    look("members");
    for scheme in ["light", "dark"] {
        alice.prefer(scheme);
        assert_eq!(alice.run(UNREADABLE_HUES), json!([]), "{scheme}");
    }
    alice.click("#hide-members");
    alice.click("#new-group");
    look("group");
    assert_eq!(unexpected_lines(&browser), [""; 0]);
}

/// The rules of axe-core, by Deque, in all that can be seen.
#[test]
fn no_rule_of_accessibility_is_broken_in_any_state() {
    let axe = below_root("target/clients/node_modules/axe-core/axe.min.js");
    let Ok(axe) = fs::read_to_string(&axe) else {
        return skip_without("axe-core, which scripts/install-clients installs");
    };
    let Some(browser) = Browser::start() else { return };
    let gateway = Gateway::with_config(DEFAULT_ROUTES);
    let network = Network::to(gateway.address());
    let alice = browser.open(&format!("http://{}/", network.address));
    let script = format!("if (!window.axe) {{ {axe} }} const tell = arguments[0]; {RUN_AXE}");
    let look = |what: &str| {
        for scheme in ["light", "dark"] {
            alice.prefer(scheme);
            let broken = alice.run_async(&script);
            assert_eq!(broken, json!([]), "{what} in {scheme}");
        }
    };
    alice.until("!document.querySelector('#login-page').hidden");
    look("login");
    alice.logs_in_as("alice");
    let mut bob = ScriptedMember::enter(gateway.address(), "bob");
    bob.publish("chat-list:groups", &json!({"group": "Tides"}));
    bob.say("High water at noon.");
    alice.hears("High water at noon.");
    alice.says("So it is.");
    alice.until("document.querySelectorAll('#groups li').length === 1");
    alice.click("#show-members");
    alice.until("document.querySelectorAll('#people button').length === 1");
    look("members");
    for scheme in ["light", "dark"] {
        alice.prefer(scheme);
        assert_eq!(alice.run(UNREADABLE_HUES), json!([]), "{scheme}");
    }
    alice.click("#hide-members");
    alice.click("#new-group");
    look("group");
    alice.click("#group-cancel");
    for pane in ["list", "talk"] {
        alice.resize(360, 640);
        alice.run(&format!("document.body.dataset.pane = '{pane}'"));
        look(pane);
    }
    network.cut();
    alice.until("document.body.dataset.connection === 'waiting'");
    look("offline");
}

/// Runs the rules, and tells which are broken where.
const RUN_AXE: &str = "axe.run(document, {resultTypes: ['violations']}).then(({ violations }) => \
    tell(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html.slice(0, 200))])), \
    (error) => tell(String(error)))";
/// Hues, of which a user's ID chooses one, at which a name or an avatar has less contrast than WCAG 1.4.3 asks for.
const UNREADABLE_HUES: &str = r"
    const parts = (colour) => colour.match(/[\d.]+/g).slice(0, 3).map((part) => part / 255);
    const linear = (part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    const luminance = (colour) => {
        const [red, green, blue] = parts(colour).map(linear);
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const contrast = (one, other) => {
        const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
        return (light + 0.05) / (dark + 0.05);
    };
    const surface = getComputedStyle(document.querySelector('#chat')).backgroundColor;
    const name = document.querySelector('.message:not(.own) .from bdi');
    const avatar = document.querySelector('#people .avatar');
    const unreadable = [];
    for (let hue = 0; hue < 360; hue += 1) {
        for (const own of [name, avatar]) own.style.setProperty('--hue', hue);
        const { color, backgroundColor } = getComputedStyle(avatar);
        const least = Math.min(contrast(getComputedStyle(name).color, surface), contrast(color, backgroundColor));
        if (!(least >= 4.5)) unreadable.push([hue, least]);
    }
    return unreadable;
";
const GLOBAL: &str = "chat-global:all";
/// The text of the last message shown, `undefined` before the first.
const LAST_MESSAGE: &str = "[...document.querySelectorAll('.message .text')].at(-1)?.textContent";
/// Where one of the messages is on the screen.
const PLACE: &str = "[...document.querySelectorAll('.text')].find((own) => own.textContent === 'message 72')\
    .getBoundingClientRect().top";
/// How far the reader is from the end of the messages.
const FROM_BOTTOM: &str = "document.querySelector('#messages').scrollHeight - \
    document.querySelector('#messages').clientHeight - document.querySelector('#messages').scrollTop";
/// Keys as WebDriver writes them (§17.4.2).
const ENTER: &str = "\u{e007}";
/// Control and A, with Control up again.
const SELECT_ALL: &str = "\u{e009}a\u{e009}";
const TAB: &str = "\u{e004}";
const BACK_TAB: &str = "\u{e008}\u{e004}\u{e008}";
const ESCAPE: &str = "\u{e00c}";

/// Controls that can be seen and have no name, fields without a label, and lists that hold something else than
/// entries.
const UNNAMED: &str = r"
    const seen = (own) => own.checkVisibility();
    const described = (own) => own.ariaLabel || own.textContent.trim() || own.labels?.length ||
        own.getAttribute('aria-labelledby')?.split(' ').every((id) => document.getElementById(id)?.textContent.trim());
    const all = (selector) => [...document.querySelectorAll(selector)].filter(seen);
    const unnamed = all('button, input, textarea, dialog, nav, aside, main:not(:has([id=title]:empty)), [role=log]').filter((own) => !described(own));
    const mixed = all('ul, ol').filter((own) => [...own.children].some((child) => child.localName !== 'li'));
    const ids = [...document.querySelectorAll('[id]')].map((own) => own.id);
    const repeated = ids.filter((id, index) => ids.indexOf(id) !== index);
    const levels = all('h1, h2, h3').length > 0 ? [] : ['no heading'];
    return [...unnamed, ...mixed].map((own) => own.outerHTML.slice(0, 200)).concat(repeated, levels);
";
