//! The dashboard of the admin listener in a real browser. Screenshots are left in `target/screenshots`.

use serde_json::json;

use crate::admin_client::{CONFIG, TOKEN};
use crate::chat_client::ChatClient;
use crate::gateway::Gateway;
use crate::port::reserved_address;
use crate::webdriver::{Browser, Window};

impl Window<'_> {
    /// Waits until the first number of the overview, the connections that are open, is this.
    fn counts_open(&self, count: usize) {
        self.until(&format!("document.querySelector('.tile .number')?.textContent === '{count}'"));
    }

    /// Goes to a page of the dashboard by its link.
    fn goes_to(&self, page: &str) {
        self.click(&format!("#pages [href='#{page}']"));
        self.until(&format!("location.hash === '#{page}'"));
    }

    /// Waits until the table lists this number of connections.
    fn lists(&self, count: usize) {
        self.until(&format!("document.querySelectorAll('.rows tbody tr').length === {count}"));
    }

    /// Fills in the form that asks for the token.
    fn log_in(&self) {
        self.until("document.querySelector('#login').open");
        self.type_into("[name=token]", "wrong\u{e007}");
        self.until_text("#login-error", "The token is wrong.");
        self.run("document.querySelector('[name=token]').value = ''");
        self.type_into("[name=token]", &format!("{TOKEN}\u{e007}"));
        self.until("!document.querySelector('#login').open");
        self.until_text("#access", "Log out");
    }

    /// Takes a picture at each of three widths, and checks that nothing is wider than the page.
    fn pictures(&self, name: &str) {
        for width in [360, 800, 1440] {
            self.resize(width, 900);
            self.until(&format!("document.documentElement.scrollWidth <= {width}"));
            self.screenshot(&format!("admin-{name}-{width}"));
        }
    }
}

/// What the browser logs by itself where an answer says no; a page must cause nothing else.
fn unexpected_lines(browser: &Browser) -> Vec<String> {
    let mut lines = browser.console();
    lines.retain(|line| !line.contains("Failed to load resource"));
    lines
}

/// The clients answer pings only while they read, so none is sent.
fn gateway() -> Gateway {
    Gateway::with_config(&format!(
        "loops = 2\n[timeouts]\nping_idle_ms = 86400000\ndrain_grace_ms = 3600000\n{CONFIG}"
    ))
}

fn page_of(gateway: &Gateway) -> String {
    format!("http://{}/", gateway.admin_address())
}

#[test]
fn connections_are_counted_listed_and_closed() {
    let Some(browser) = Browser::start() else { return };
    let gateway = gateway();
    let page = browser.open(&page_of(&gateway));
    page.resize(1440, 900);
    page.counts_open(0);
    let address = gateway.address();
    let mut bob = ChatClient::join(address, "/chat?user=bob&room=lobby");
    let _markup = ChatClient::join(address, &format!("/chat?user={MARKUP_IN_URL}&room=lobby"));
    let _echo = ChatClient::join(address, "/echo");
    page.counts_open(3);
    page.prefer("light");
    page.pictures("overview");
    page.prefer("dark");
    page.pictures("overview-dark");

    page.goes_to("connections");
    page.lists(3);
    let users =
        "[...document.querySelectorAll('.rows [data-label=User]')].map((own) => own.textContent)";
    page.until(&format!("{users}.includes({MARKUP:?})"));
    assert_eq!(page.value("document.images.length"), 0);
    page.pictures("connections");

    page.type_into("[name=user]", "bob\u{e007}");
    page.lists(1);
    assert_eq!(page.value(users), json!(["bob"]));
    page.click(".rows tbody button");
    page.until("document.querySelector('#panel .facts')?.textContent.includes('lobby')");
    page.pictures("connection");

    page.run("document.querySelector('#panel form .button.danger').click()");
    page.until("document.querySelector('#confirm').open");
    page.click("#confirm-yes");
    page.log_in();
    assert_eq!(bob.close_frame().0, 1000);
    page.lists(0);
    page.until("!document.querySelector('#panel .note').hidden");
    assert_eq!(unexpected_lines(&browser), [""; 0]);
}

#[test]
fn every_page_is_shown_and_a_change_waits_for_its_confirmation() {
    let Some(browser) = Browser::start() else { return };
    let gateway = gateway();
    let _member = ChatClient::join(gateway.address(), "/chat?user=bob&room=lobby");
    let mut client = ChatClient::join(gateway.address(), "/echo");
    let page = browser.open(&page_of(&gateway));
    page.click("#access");
    page.log_in();
    page.goes_to("rooms");
    page.until("document.querySelector('.rooms tbody')?.textContent.includes('lobby')");
    page.pictures("rooms");
    page.goes_to("metrics");
    page.until("document.querySelector('.metrics tbody')?.textContent.includes('connections_accepted_total')");
    page.pictures("metrics");
    page.goes_to("gateway");
    page.until("document.querySelector('pre.code')?.textContent.includes('[admin]')");
    assert_eq!(page.value(&format!("document.body.textContent.includes({TOKEN:?})")), false);
    page.pictures("gateway");

    let drain = "[...document.querySelectorAll('.button.danger')].find((own) => own.textContent === 'Start a drain')";
    page.run(&format!("{drain}.click()"));
    page.until("document.querySelector('#confirm').open");
    page.screenshot("admin-drain");
    page.click("#confirm-cancel");
    page.until("!document.querySelector('#confirm').open");
    page.until_text("#readiness-text", "Ready");
    page.run(&format!("{drain}.click()"));
    page.click("#confirm-yes");
    page.until_text("#readiness-text", "Draining");
    page.pictures("draining");
    page.run("[...document.querySelectorAll('.button')].find((own) => own.textContent === 'Cancel the drain').click()");
    page.until_text("#readiness-text", "Ready");
    client.send_text("still here");
    assert_eq!(client.receive_text(), "still here");
    assert_eq!(gateway.counter("closed_drained"), 0);
    assert_eq!(unexpected_lines(&browser), [""; 0]);
}

#[test]
fn a_server_of_an_upstream_is_drained_and_put_back() {
    let Some(browser) = Browser::start() else { return };
    let backend = reserved_address();
    let gateway = Gateway::with_config(&format!(
        "[[upstream]]\nname = \"app\"\nservers = [\"{backend}\"]\n\
         [[route]]\npath = \"/\"\nservice = \"relay\"\nupstream = \"app\"\n{CONFIG}"
    ));
    let page = browser.open(&page_of(&gateway));
    page.click("#access");
    page.log_in();
    page.goes_to("gateway");
    let badge = ".upstreams tbody .badge";
    page.until_text(badge, "Up");
    page.pictures("upstreams");
    page.click(".upstreams tbody button");
    page.until("document.querySelector('#confirm').open");
    page.click("#confirm-yes");
    page.until_text(badge, "Drained");
    page.click(".upstreams tbody button");
    page.until_text(badge, "Up");
    assert_eq!(unexpected_lines(&browser), [""; 0]);
}

#[test]
fn without_a_token_in_the_configuration_the_page_says_what_is_missing() {
    let Some(browser) = Browser::start() else { return };
    let gateway = Gateway::with_config("[admin]\naddress = \"127.0.0.1:0\"\n");
    let page = browser.open(&page_of(&gateway));
    page.until_text("#access", "Read only");
    page.click("#access");
    page.until("document.querySelector('#confirm-body').textContent.includes('[admin]')");
    assert_eq!(unexpected_lines(&browser), [""; 0]);
}

#[test]
fn a_page_asks_for_the_token_where_reading_needs_it() {
    let Some(browser) = Browser::start() else { return };
    let gateway = Gateway::with_config(&CONFIG.replace("127.0.0.1", "0.0.0.0"));
    let port = gateway.admin_address().port();
    let page = browser.open(&format!("http://127.0.0.1:{port}/"));
    page.until("document.querySelector('#login').open");
    page.screenshot("admin-login");
    page.log_in();
    page.counts_open(0);
    page.click("#access");
    page.until("document.querySelector('#login').open");
    assert_eq!(unexpected_lines(&browser), [""; 0]);
}

/// What the scripts make of two answers of the API, and of names.
#[test]
fn a_restart_gives_no_rate_and_what_cannot_be_seen_is_shown() {
    let Some(browser) = Browser::start() else { return };
    let gateway = gateway();
    let page = browser.open(&page_of(&gateway));
    page.run(FIGURES);
    page.until("window.figures !== undefined");
    let expected = json!({
        "grown": [false, 5],
        "fallen": [true, null],
        "other": [true],
        "half": 0.0015,
        "none": null,
        "name": "a\\u{202e}b\\u{0}",
        "kept": "a\nb",
    });
    assert_eq!(page.value("window.figures"), expected);
}

#[test]
fn a_page_finds_the_gateway_again_after_a_restart() {
    let Some(browser) = Browser::start() else { return };
    let address = reserved_address();
    let config = format!("[admin]\naddress = \"{address}\"\n");
    let first = Gateway::with_config(&config);
    let _client = ChatClient::join(first.address(), "/echo");
    let page = browser.open(&page_of(&first));
    page.counts_open(1);
    drop(first);
    page.until("document.querySelector('.banner.bad')?.textContent.includes('does not answer')");
    let _second = Gateway::with_config(&config);
    page.counts_open(0);
    page.until("document.querySelector('.banner.bad') === null");
    page.until("document.querySelector('.banner.info')?.textContent.includes('Another process')");
    assert_eq!(unexpected_lines(&browser), [""; 0]);
}

/// Loads modules of the page, and leaves in `window.figures` what they say.
const FIGURES: &str = r"
    Promise.all(['metrics', 'format'].map((name) => import(`/dashboard/${name}.js`))).then(([metrics, format]) => {
        const gauge = (name, value) => ({ name, kind: 'gauge', samples: [{ labels: {}, value }] });
        const at = (ms, turns, began) => new metrics.Snapshot(
            [gauge('turns_total', turns), ...(began ? [gauge('process_start_time_seconds', began)] : [])], ms, ms);
        const between = (before, now) =>
            [metrics.isRestart(before, now), new metrics.Interval(before, now).rate('turns_total')];
        const counts = { counts: [[0.001, 1], [0.002, 2], [0.004, 0]], above: 1, sum: 1 };
        window.figures = {
            grown: between(at(0, 10), at(2000, 20)),
            fallen: between(at(0, 10), at(2000, 9)),
            other: [metrics.isRestart(at(0, 10, 100), at(2000, 20, 130))],
            half: metrics.quantile(counts, 0.5),
            none: metrics.quantile({ counts: [[0.001, 0]], above: 0, sum: 0 }, 0.5),
            name: format.visible('a\u202eb\u0000'),
            kept: format.visible('a\nb', { isLong: true }),
        };
    });
";
const MARKUP: &str = "<img src=x>";
const MARKUP_IN_URL: &str = "%3Cimg%20src%3Dx%3E";
