//! A real browser: headless Chromium, controlled through chromedriver (W3C WebDriver).

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::clients::has;
use crate::wait::eventually;

/// A running browser with a profile of its own. Only one runs at a time, since it keeps all cores
/// busy.
#[derive(Debug)]
pub(crate) struct Browser {
    driver: Child,
    /// Kept open because the driver goes on writing to it.
    _driver_output: BufReader<ChildStdout>,
    address: SocketAddr,
    /// The path of the session, once there is one.
    session: String,
    /// Chromium itself.
    process: Option<Pid>,
    _home: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Browser {
    /// Starts a browser; `None`, with a note, where it is not installed.
    pub(crate) fn start() -> Option<Self> {
        Self::with_capabilities(&json!({}))
    }

    /// As [`Browser::start`], accepting certificates of authorities that it does not know (WebDriver §7).
    pub(crate) fn accepting_any_certificate() -> Option<Self> {
        Self::with_capabilities(&json!({"acceptInsecureCerts": true}))
    }

    fn with_capabilities(further: &Value) -> Option<Self> {
        if !has("chromium", "--version") || !has("chromedriver", "--version") {
            return None;
        }
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let home = tempfile::tempdir().unwrap();
        let profile = home.path().join("profile");
        let (driver, driver_output, port) = start_driver(home.path());
        let mut browser = Self {
            driver,
            _driver_output: driver_output,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            session: String::new(),
            process: None,
            _home: home,
            _turn: turn,
        };
        let session = browser.send("POST", "/session", &capabilities(&profile, further));
        browser.session = format!("/session/{}", session["sessionId"].as_str().unwrap());
        let process = session["capabilities"]["goog:processID"].as_i64().unwrap();
        browser.process = Pid::from_raw(process.try_into().unwrap());
        Some(browser)
    }

    /// Opens a window with a session storage of its own.
    pub(crate) fn open(&self, url: &str) -> Window<'_> {
        let new = self.call("POST", "/window/new", &json!({"type": "window"}));
        let window = Window { browser: self, handle: new["handle"].as_str().unwrap().to_owned() };
        window.resize(960, 640);
        window.call("/url", &json!({"url": url}));
        window
    }

    /// The console lines of all windows since the last call.
    pub(crate) fn console(&self) -> Vec<String> {
        let entries = self.call("POST", "/se/log", &json!({"type": "browser"}));
        entries.as_array().unwrap().iter().map(|entry| entry["message"].to_string()).collect()
    }

    /// A command of the session.
    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        self.send(method, &format!("{}{path}", self.session), body)
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.try_send(method, path, body);
        answer.unwrap_or_else(|error| panic!("{method} {path} {body}: {}", error["message"]))
    }

    /// As above; an error as the driver has it.
    fn try_send(&self, method: &str, path: &str, body: &Value) -> Result<Value, Value> {
        let (status_line, reply) = self.exchange(method, path, body).unwrap();
        let mut answer: Value = serde_json::from_slice(&reply).unwrap();
        let value = answer["value"].take();
        if status_line.starts_with("HTTP/1.1 200 ") { Ok(value) } else { Err(value) }
    }

    /// One request and the first line and the body of its reply.
    fn exchange(&self, method: &str, path: &str, body: &Value) -> io::Result<(String, Vec<u8>)> {
        let address = self.address;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(COMMAND_TIMEOUT))?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len(),
        );
        stream.write_all(request.as_bytes())?;
        // The driver keeps the connection open, so the body ends at its Content-Length.
        let mut stream = BufReader::new(stream);
        let mut status_line = String::new();
        stream.read_line(&mut status_line)?;
        let mut body_bytes = 0;
        for line in stream.by_ref().lines() {
            let line = line?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(length) = line.strip_prefix("content-length:") {
                body_bytes = length.trim().parse().map_err(io::Error::other)?;
            }
        }
        let mut body = vec![0; body_bytes];
        stream.read_exact(&mut body)?;
        Ok((status_line, body))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends the browser with itself.
        let asked = self.exchange("POST", "/shutdown", &json!({}));
        let ended = asked.is_ok() && eventually(|| self.driver.try_wait().ok().flatten()).is_some();
        if !ended {
            let _ = self.driver.kill();
            let _ = self.driver.wait();
            if let Some(process) = self.process {
                let _ = kill_process(process, Signal::KILL);
            }
        }
    }
}

/// A window of the browser with one page.
#[derive(Debug)]
pub(crate) struct Window<'b> {
    browser: &'b Browser,
    handle: String,
}

impl Window<'_> {
    /// Runs a script in the page and returns its result.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.call("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// As [`Window::run`], of a script that gives its result to the last of its arguments (WebDriver §13.2.2).
    pub(crate) fn run_async(&self, script: &str) -> Value {
        self.call("/execute/async", &json!({"script": script, "args": []}))
    }

    /// The value of an expression.
    pub(crate) fn value(&self, expression: &str) -> Value {
        self.run(&format!("return {expression}"))
    }

    /// Waits until the expression is true.
    pub(crate) fn until(&self, expression: &str) {
        let is_true = || (self.value(expression) == json!(true)).then_some(());
        if eventually(is_true).is_none() {
            self.screenshot("failed");
            panic!("waited in vain for {expression} in: {}", self.value("document.body.innerText"));
        }
    }

    /// Waits until the element has exactly this text.
    pub(crate) fn until_text(&self, selector: &str, text: &str) {
        self.until(&format!("document.querySelector({selector:?})?.textContent === {text:?}"));
    }

    /// Sends keystrokes to the first element that the selector finds.
    pub(crate) fn type_into(&self, selector: &str, text: &str) {
        self.call_element(selector, "value", &json!({"text": text}));
    }

    /// Sends keystrokes to the element that has the focus.
    pub(crate) fn keys(&self, text: &str) {
        self.switch();
        let active = self.browser.call("GET", "/element/active", &Value::Null);
        let path = format!("/element/{}/value", active[ELEMENT_KEY].as_str().unwrap());
        self.call(&path, &json!({"text": text}));
    }

    /// Clicks an element. Fails where it is hidden or covered.
    pub(crate) fn click(&self, selector: &str) {
        self.call_element(selector, "click", &json!({}));
    }

    /// Loads the page anew.
    pub(crate) fn reload(&self) {
        self.call("/refresh", &json!({}));
    }

    /// Sets the size of the page in CSS pixels.
    pub(crate) fn resize(&self, width: u32, height: u32) {
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": 2, "mobile": false,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// Emulates the preference for `light` or `dark`, and for pages that do not move, so that no look at one comes
    /// in the middle of an animation.
    pub(crate) fn prefer(&self, scheme: &str) {
        let features = json!([
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]);
        self.devtools("Emulation.setEmulatedMedia", &json!({"features": features}));
    }

    /// Saves a screenshot in `target/screenshots`.
    pub(crate) fn screenshot(&self, name: &str) {
        self.switch();
        let image = self.browser.call("GET", "/screenshot", &Value::Null);
        let image = STANDARD.decode(image.as_str().unwrap()).unwrap();
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{name}.png")), image).unwrap();
    }

    fn element(&self, selector: &str) -> String {
        let query = json!({"using": "css selector", "value": selector});
        let element = self.call("/element", &query);
        format!("/element/{}", element[ELEMENT_KEY].as_str().unwrap())
    }

    /// A command to the first element that the selector finds. A page that draws it anew between the two has
    /// another in its place, which is asked for then.
    fn call_element(&self, selector: &str, command: &str, body: &Value) {
        crate::wait::until(&format!("{selector} stays where it is"), || {
            let path = format!("{}{}/{command}", self.browser.session, self.element(selector));
            match self.browser.try_send("POST", &path, body) {
                Ok(_) => Some(()),
                Err(error) if error["error"] == "stale element reference" => None,
                Err(error) => panic!("{command} {selector}: {}", error["message"]),
            }
        });
    }

    fn devtools(&self, command: &str, parameters: &Value) {
        self.call("/goog/cdp/execute", &json!({"cmd": command, "params": parameters}));
    }

    /// A command to this window.
    fn call(&self, path: &str, body: &Value) -> Value {
        self.switch();
        self.browser.call("POST", path, body)
    }

    fn switch(&self) {
        self.browser.call("POST", "/window", &json!({"handle": self.handle}));
    }
}

/// Starts of a driver that may end in nothing.
const DRIVER_STARTS_MAX: usize = 5;

/// A driver, what it goes on to say, and its port. Where another program takes the port that it has chosen it ends before
/// it listens, and is started again.
fn start_driver(home: &Path) -> (Child, BufReader<ChildStdout>, u16) {
    let mut said = String::new();
    for _ in 0..DRIVER_STARTS_MAX {
        let errors = File::create(home.join("errors")).unwrap();
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").env("HOME", home).env("TMPDIR", home);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
        let mut driver = command.spawn().unwrap();
        let mut output = BufReader::new(driver.stdout.take().unwrap());
        match port_of(&mut output) {
            Ok(port) => return (driver, output, port),
            Err(lines) => said = lines,
        }
        let status = driver.wait().unwrap();
        let errors = fs::read_to_string(home.join("errors")).unwrap();
        said = format!("{status}\n{said}{errors}");
    }
    panic!("chromedriver does not start: {said}");
}

/// The port in the driver's first lines of output; all lines if it ends before it says one.
fn port_of(driver_output: &mut impl io::BufRead) -> Result<u16, String> {
    let mut lines = String::new();
    while let Ok(1..) = driver_output.read_line(&mut lines) {
        let port = lines.trim_end().rsplit_once("started successfully on port ");
        if let Some(Ok(port)) = port.map(|(_, port)| port.trim_end_matches('.').parse()) {
            return Ok(port);
        }
    }
    Err(lines)
}

fn capabilities(profile: &Path, further: &Value) -> Value {
    let mut arguments = vec![
        "--headless".to_owned(),
        format!("--user-data-dir={}", profile.display()),
        "--no-proxy-server".to_owned(),
        "--disable-dev-shm-usage".to_owned(),
        "--lang=en".to_owned(),
    ];
    if geteuid().is_root() {
        // Chromium's sandbox refuses to run as root.
        arguments.push("--no-sandbox".to_owned());
    }
    let own = json!({
        "goog:chromeOptions": {"args": arguments},
        "goog:loggingPrefs": {"browser": "ALL"},
    });
    // Each of the first with the whole of the others is one set (WebDriver §7.2).
    json!({"capabilities": {"alwaysMatch": own, "firstMatch": [further]}})
}

/// The key of an element reference in answers (WebDriver §12.2).
const ELEMENT_KEY: &str = "element-6066-11e4-a52e-4f735466cecf";
/// Long enough for the start of a browser on a busy machine.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
static TURN: Mutex<()> = Mutex::new(());
