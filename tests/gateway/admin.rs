//! The admin listener: who may do what, health, metrics, and connections seen and closed.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::admin_client::{CONFIG, METRICS_TOKEN, TOKEN, get, post, request};
use crate::chat_client::ChatClient;
use crate::clients::below_root;
use crate::gateway::{Gateway, Launch, config_file, run_to_end, write_config};
use crate::messages::Request;
use crate::port::reserved_address;
use crate::proxy_server::program;
use crate::skip::skip_without;
use crate::socket::Socket;
use crate::wait::until;

fn gateway() -> Gateway {
    Gateway::with_config(&format!("loops = 2\n{CONFIG}"))
}

#[test]
fn an_idle_gateway_is_alive_and_ready() {
    let gateway = gateway();
    let admin = gateway.admin_address();
    assert_eq!(get(admin, "/healthz").json()["status"], "ok");
    let ready = get(admin, "/readyz");
    assert_eq!((ready.status, &ready.json()["status"]), (200, &Value::from("ready")));
    let version = get(admin, "/api/v1/version").json();
    assert_eq!(
        (&version["loops"], &version["version"]),
        (&2.into(), &env!("CARGO_PKG_VERSION").into())
    );
}

/// Every path of the description with each kind of proof.
#[test]
fn changes_and_traces_need_a_token_and_reading_none_on_this_machine() {
    let gateway = gateway();
    let admin = gateway.admin_address();
    let description: Value = get(admin, "/api/v1/openapi.json").json();
    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    for (path, methods) in description["paths"].as_object().unwrap() {
        let path = path.replace("{id}", "0.1.1");
        for method in methods.as_object().unwrap().keys() {
            let method = method.to_ascii_uppercase();
            let is_open = method == "GET" && path != "/api/v1/trace";
            let none = request(admin, &method, &path, &[], "");
            assert_eq!(none.status == 401, !is_open, "{method} {path}: {none:?}");
            for wrong in [bearer("0123456789abcdeF"), bearer(""), bearer(METRICS_TOKEN)] {
                assert_eq!(request(admin, &method, &path, &[&wrong], "").status, 401);
            }
            if path.ends_with("/start") {
                continue;
            }
            let right = request(admin, &method, &path, &[&bearer(TOKEN)], "");
            assert!(![401, 403].contains(&right.status), "{method} {path}: {right:?}");
        }
    }
    for token in [TOKEN, METRICS_TOKEN] {
        assert_eq!(request(admin, "GET", "/metrics", &[&bearer(token)], "").status, 200);
    }
}

#[test]
fn without_a_token_in_the_configuration_nothing_can_be_changed() {
    let gateway = Gateway::with_config("[admin]\naddress = \"127.0.0.1:0\"\n");
    let reply = request(gateway.admin_address(), "POST", "/api/v1/drain/start", &[], "");
    assert_eq!(reply.status, 403);
    assert!(reply.json()["error"].as_str().unwrap().contains("admin.token"));
}

#[test]
fn beyond_this_machine_only_health_needs_no_token() {
    let config = CONFIG.replace("127.0.0.1", "0.0.0.0");
    let gateway = Gateway::with_config(&config);
    let mut admin = gateway.admin_address();
    admin.set_ip([127, 0, 0, 1].into());
    for (path, status) in [
        ("/healthz", 200),
        ("/readyz", 200),
        ("/", 200),
        ("/metrics", 401),
        ("/api/v1/version", 401),
        ("/api/v1/connections", 401),
    ] {
        assert_eq!(get(admin, path).status, status, "{path}");
    }
    let metrics = format!("Authorization: Bearer {METRICS_TOKEN}");
    assert_eq!(request(admin, "GET", "/metrics", &[&metrics], "").status, 200);
    assert_eq!(request(admin, "GET", "/api/v1/version", &[&metrics], "").status, 401);
}

#[test]
fn a_page_whose_name_resolves_to_this_machine_gets_nothing() {
    let gateway = gateway();
    let admin = gateway.admin_address();
    for (host, status) in [
        ("evil.example", 421),
        ("evil.example:8090", 421),
        ("localhost", 200),
        ("LOCALHOST:8090", 200),
        ("127.0.0.1", 200),
        ("[::1]:8090", 200),
        ("", 421),
    ] {
        let reply = request(admin, "GET", "/api/v1/version", &[&format!("Host: {host}")], "");
        assert_eq!(reply.status, status, "{host}");
    }
}

#[test]
fn the_dashboard_logs_in_by_a_cookie() {
    let gateway = gateway();
    let admin = gateway.admin_address();
    let wrong = request(admin, "POST", "/login", &[], "{\"token\": \"0123456789abcdee\"}");
    assert_eq!(wrong.status, 401);
    let login = request(admin, "POST", "/login", &[], &format!("{{\"token\": \"{TOKEN}\"}}"));
    assert_eq!(login.status, 204);
    let set = login.header("set-cookie").unwrap();
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict"), "{set}");
    let cookie = format!("Cookie: {}", set.split(';').next().unwrap());
    let drain =
        |headers: &[&str]| request(admin, "POST", "/api/v1/drain/cancel", headers, "").status;
    assert_eq!(drain(&[&cookie]), 409, "there is no drain, and it may be asked");
    let own = format!("Origin: http://{admin}");
    assert_eq!(drain(&[&cookie, &own]), 409);
    assert_eq!(drain(&[&cookie, "Origin: http://evil.example"]), 403);
    request(admin, "POST", "/logout", &[&cookie], "");
    assert_eq!(drain(&[&cookie]), 401);
}

#[test]
fn connections_are_listed_page_by_page_found_and_closed() {
    let gateway = gateway();
    let admin = gateway.admin_address();
    let mut clients: Vec<ChatClient> = (0..25)
        .map(|number| ChatClient::join(gateway.address(), &format!("/chat?user=n{number}")))
        .collect();
    let mut echo = ChatClient::join(gateway.address(), "/echo");
    let mut ids = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = get(admin, &format!("/api/v1/connections?limit=7{cursor}")).json();
        let listed = page["connections"].as_array().unwrap();
        assert!(listed.len() <= 7);
        ids.extend(listed.iter().map(|own| own["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 26);

    let found = get(admin, "/api/v1/connections?user=n7").json();
    let one = &found["connections"][0];
    assert_eq!(found["connections"].as_array().unwrap().len(), 1);
    assert_eq!((&one["phase"], &one["protocol"]), (&"open".into(), &"websocket".into()));
    assert!(one["address"].as_str().unwrap().starts_with("127.0.0.1:"));
    let id = one["id"].as_str().unwrap();
    let whole = get(admin, &format!("/api/v1/connections/{id}")).json();
    assert_eq!((&whole["user"], &whole["paused_by"]), (&"n7".into(), &Value::Array(vec![])));

    let path = format!("/api/v1/connections/{id}");
    let sent = post(admin, &format!("{path}/send"), "{\"text\": \"from the operator\"}");
    assert_eq!(sent.json()["sent"], 1);
    until("the text arrives", || (clients[7].receive_text() == "from the operator").then_some(()));
    let order = "{\"code\": 4000, \"reason\": \"moved\"}";
    assert_eq!(post(admin, &format!("{path}/close"), order).json()["closed"], 1);
    assert_eq!(clients[7].close_frame(), (4000, "moved".to_owned()));
    until("it is gone", || (get(admin, &path).status == 404).then_some(()));

    let unconditional = post(admin, "/api/v1/connections/close", "{}");
    assert_eq!(unconditional.status, 400, "no condition, and not `all`");
    let order = "{\"conditions\": {\"route\": \"/echo\"}, \"code\": 1012}";
    assert_eq!(post(admin, "/api/v1/connections/close", order).json()["closed"], 1);
    assert_eq!(echo.close_frame().0, 1012);
    let all = post(admin, "/api/v1/connections/close", "{\"all\": true}").json();
    assert_eq!(all["closed"], 24);
    for (number, client) in clients.iter_mut().enumerate().filter(|(number, _)| *number != 7) {
        assert_eq!(client.close_frame().0, 1000, "{number}");
    }
    gateway.assert_counter("closed_by_operator", 26);
}

#[test]
fn orders_that_make_no_sense_are_refused_with_a_reason() {
    let gateway = gateway();
    let admin = gateway.admin_address();
    let close = "/api/v1/connections/close";
    for (path, body, status) in [
        (close, "{\"all\": true, \"code\": 1005}", 400),
        (close, "{\"all\": true, \"code\": 999}", 400),
        (close, "{\"all\": true, \"code\": 70000}", 422),
        (close, "{\"al\": true}", 422),
        (close, "{", 400),
        (close, "{\"conditions\": {\"address\": \"localhost\"}}", 400),
        ("/api/v1/connections/x/close", "{}", 400),
        ("/api/v1/connections/9.1.1/close", "{}", 404),
        ("/api/v1/log-level/set", "{\"level\": \"loud\"}", 400),
        ("/api/v1/nothing", "{}", 404),
        ("/api/v1/version", "{}", 405),
    ] {
        let reply = post(admin, path, body);
        assert_eq!(reply.status, status, "{path} {body}: {reply:?}");
        assert!(!reply.json()["error"].as_str().unwrap().is_empty());
    }
    for query in ["limit=0", "limit=1001", "cursor=x", "phase=shut", "color=red", "connection=1"] {
        assert_eq!(get(admin, &format!("/api/v1/connections?{query}")).status, 400, "{query}");
    }
    let long = format!("{{\"text\": \"{}\"}}", "x".repeat(300 << 10));
    assert_eq!(post(admin, "/api/v1/send", &long).status, 413);
}

#[test]
fn the_log_level_can_be_changed() {
    let gateway = gateway();
    let admin = gateway.admin_address();
    let set = post(admin, "/api/v1/log-level/set", "{\"level\": \"debug\"}");
    assert_eq!(set.json()["level"], "debug");
    drop(ChatClient::join(gateway.address(), "/echo"));
    gateway.logged("accepted from 127.0.0.1");
}

#[test]
fn a_taken_default_address_is_a_warning_and_a_configured_one_an_error() {
    let gateway = gateway();
    let admin = gateway.admin_address();
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = format!("[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"{admin}\"\n");
    fs::write(file.path(), text).unwrap();
    let refused = run_to_end(&["--config", file.path().to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        said.contains(&format!("admin.address = {admin}: in use by another process")),
        "{said}"
    );
}

#[test]
fn a_unix_socket_is_for_its_owner_and_goes_with_the_gateway() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    // Left behind by a process that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let config = format!("[admin]\naddress = \"{}\"\n", path.display());
    let mut gateway = Gateway::launch(&Launch { toml: Some(&config), ..Launch::default() });
    gateway.logged("admin at /");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n") && reply.ends_with("{\"status\":\"ok\"}"));
    gateway.signal(rustix::process::Signal::TERM);
    assert!(gateway.exit_status().success());
    assert!(!path.exists());
}

#[test]
fn promtool_finds_nothing_to_say_about_the_metrics() {
    let Some(promtool) = program("promtool") else {
        return skip_without("promtool, which scripts/install-servers installs");
    };
    let gateway = gateway();
    let mut client = ChatClient::join(gateway.address(), "/echo");
    client.send_text("hello");
    assert_eq!(client.receive_text(), "hello");
    let metrics = get(gateway.admin_address(), "/metrics");
    assert!(metrics.body.contains("\ntidegate_open 1\n"), "{}", metrics.body);
    let mut check = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    check.stdin.take().unwrap().write_all(metrics.body.as_bytes()).unwrap();
    let said = check.wait_with_output().unwrap();
    let text = [said.stdout, said.stderr].map(|own| String::from_utf8(own).unwrap()).concat();
    assert!(said.status.success() && text.is_empty(), "{text}");
}

#[test]
fn prometheus_scrapes_the_gateway() {
    let Some(prometheus) = program("prometheus") else {
        return skip_without("prometheus, which scripts/install-servers installs");
    };
    let gateway = gateway();
    let _client = ChatClient::join(gateway.address(), "/echo");
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("prometheus.yml");
    let text = format!(
        "global:\n  scrape_interval: 1s\nscrape_configs:\n  - job_name: tidegate\n    \
         authorization:\n      credentials: {METRICS_TOKEN}\n    \
         static_configs:\n      - targets: [\"{}\"]\n",
        gateway.admin_address()
    );
    fs::write(&config, text).unwrap();
    let address = reserved_address();
    let mut child = Command::new(prometheus)
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let value = crate::wait::eventually(|| {
        std::net::TcpStream::connect(address).ok()?;
        let reply = get(address, "/api/v1/query?query=tidegate_open");
        let found: Value = serde_json::from_str(&reply.body).ok()?;
        found["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(value.as_deref(), Some("1"));
}

#[test]
fn a_drain_is_shown_called_off_and_carried_out() {
    let mut gateway = gateway();
    let admin = gateway.admin_address();
    let mut client = ChatClient::join(gateway.address(), "/echo");
    let ready = || get(admin, "/readyz").status;
    assert_eq!((ready(), &get(admin, "/api/v1/drain").json()["stage"]), (200, &"serving".into()));
    let order = "{\"grace_ms\": 3600000}";
    assert_eq!(post(admin, "/api/v1/drain/start", order).status, 202);
    until("the grace has begun", || {
        (get(admin, "/api/v1/drain").json()["stage"] == "grace").then_some(())
    });
    assert_eq!(get(admin, "/readyz").json()["reasons"][0], "draining");
    // It is not ready, and serves on.
    drop(ChatClient::join(gateway.address(), "/echo"));
    assert_eq!(post(admin, "/api/v1/drain/cancel", "").json()["draining"], false);
    until("it is ready again", || (ready() == 200).then_some(()));
    assert_eq!(post(admin, "/api/v1/drain/cancel", "").status, 409);

    let order = "{\"grace_ms\": 0, \"drain_ms\": 1000}";
    assert_eq!(post(admin, "/api/v1/drain/start", order).status, 202);
    assert_eq!(client.close_frame().0, 1001);
    drop(client);
    assert!(gateway.exit_status().success());
}

#[test]
fn rooms_are_listed_and_spoken_into() {
    let gateway = gateway();
    let admin = gateway.admin_address();
    let mut clients: Vec<ChatClient> = (0..4)
        .map(|number| ChatClient::join(gateway.address(), &format!("/chat?user=n{number}")))
        .collect();
    until("the room has all members", || {
        let rooms = get(admin, "/api/v1/rooms").json();
        let room = rooms["rooms"].as_array()?.iter().find(|own| own["members"] == 4)?;
        (room["route"] == "room /chat" && rooms["is_whole"] == true).then_some(())
    });
    let order = "{\"route\": \"/chat\", \"room\": \"lobby\", \"text\": \"tea is ready\"}";
    assert_eq!(post(admin, "/api/v1/publish", order).json()["published"], true);
    for client in &mut clients {
        until("the text arrives", || client.receive_text().contains("tea is ready").then_some(()));
    }
    let nowhere = "{\"route\": \"/nowhere\", \"text\": \"x\"}";
    assert_eq!(post(admin, "/api/v1/publish", nowhere).status, 404);
}

/// What the admin listener says of a reload, with its own token: the status and the reply.
fn reload(admin: SocketAddr, dry_run: bool) -> (u16, Value) {
    let reply = post(admin, "/api/v1/reload", &format!("{{\"dry_run\": {dry_run}}}"));
    (reply.status, reply.json())
}

#[test]
fn a_changed_file_is_shown_by_a_dry_run_and_taken_over_without() {
    let before = format!("loops = 2\n{CONFIG}");
    let file = config_file(&before);
    let launch = Launch { toml: Some(&before), ..Launch::default() };
    let gateway = Gateway::launch_with(&launch, Some(file.path()));
    let admin = gateway.admin_address();
    let none = serde_json::json!({ "dry_run": false, "applied": [], "needs_restart": [] });
    assert_eq!(reload(admin, false), (200, none));

    let added = "[[route]]\npath = \"/new\"\nservice = \"echo\"\n[limits]\nconnections_max = 77\n";
    write_config(file.path(), &format!("loops = 1\n{CONFIG}ready_needs = []\n{added}"));
    let (status, dry) = reload(admin, true);
    assert_eq!((status, &dry["dry_run"]), (200, &true.into()));
    let lines = |reply: &Value, list: &str| -> Vec<String> {
        let lines = reply[list].as_array().unwrap().iter();
        lines.map(|line| line.as_str().unwrap().to_owned()).collect()
    };
    let applied = lines(&dry, "applied");
    assert!(applied.contains(&"limits.connections_max is added: 77".to_owned()), "{dry}");
    assert!(applied.contains(&"route[0] is added: echo /new".to_owned()), "{dry}");
    assert_eq!(lines(&dry, "needs_restart"), ["loops changes from 2 to 1"]);
    let in_force = || get(admin, "/api/v1/configuration").body;
    let metrics = || get(admin, "/metrics").body;
    assert!(!in_force().contains("connections_max = 77"), "{}", in_force());

    let (status, done) = reload(admin, false);
    assert_eq!((status, lines(&done, "applied")), (200, applied));
    assert!(in_force().contains("connections_max = 77"), "{}", in_force());
    assert!(in_force().contains("loops = 2"), "{}", in_force());
    assert!(get(admin, "/api/v1/routes").body.contains("echo /new"));
    let mut client = Socket::connect(gateway.address());
    client.send(&Request::upgrade("/new").bytes());
    assert_eq!(client.receive_head().status, 101);
    client.assert_echoes(b"x");
    let sums = metrics();
    for sum in [
        "tidegate_connections_max 77\n",
        "tidegate_reloads_total 2\n",
        "tidegate_reloads_failed_total 0\n",
        // A route that a reload has brought is counted like any other.
        "tidegate_messages_in_total{route=\"echo /new\"} 1\n",
        "# TYPE tidegate_reloaded_timestamp_seconds gauge\n",
    ] {
        assert!(sums.contains(sum), "{sum}: {sums}");
    }
}

#[test]
fn a_bad_file_is_refused_by_the_api_with_its_line_and_changes_nothing() {
    let before = format!("loops = 2\n{CONFIG}");
    let file = config_file(&before);
    let launch = Launch { toml: Some(&before), ..Launch::default() };
    let gateway = Gateway::launch_with(&launch, Some(file.path()));
    let admin = gateway.admin_address();
    let in_force = get(admin, "/api/v1/configuration").body;
    let refused = format!("loops = 2\n[limits]\nmessage_bytes_max = 1\n{CONFIG}");
    write_config(file.path(), &refused);
    for dry_run in [true, false] {
        let (status, reply) = reload(admin, dry_run);
        let error = reply["error"].as_str().unwrap();
        let reason = ":3: limits.message_bytes_max = 1: must be";
        assert!(status == 422 && error.contains(reason), "{status} {error}");
    }
    assert_eq!(get(admin, "/api/v1/configuration").body, in_force);
    let sums = get(admin, "/metrics").body;
    assert!(sums.contains("tidegate_reloads_failed_total 1\n"), "{sums}");
    ChatClient::join(gateway.address(), "/chat?user=anna");
}

#[test]
fn an_identity_that_is_away_counts_only_if_readiness_needs_it() {
    let nowhere = reserved_address();
    let identity = format!(
        "[[identity]]\nname = \"users\"\nkind = \"redis\"\nurl = \"redis://{nowhere}\"\n\
         [[route]]\npath = \"/:name/:token\"\nservice = \"room\"\nname = \"token\"\n\
         identity = [\"users\"]\n{CONFIG}"
    );
    let gateway = Gateway::with_config(&identity);
    let admin = gateway.admin_address();
    let ready = get(admin, "/readyz");
    assert_eq!((ready.status, &ready.json()["away"][0]), (200, &"users".into()));
    let metrics = get(admin, "/metrics").body;
    assert!(metrics.contains("tidegate_identity_available{identity=\"users\"} 0\n"), "{metrics}");
    let gateway = Gateway::with_config(&format!("{identity}ready_needs = [\"users\"]\n"));
    let ready = get(gateway.admin_address(), "/readyz");
    assert_eq!((ready.status, &ready.json()["reasons"][0]), (503, &"away".into()));
}

/// The description of the API against its answers, and requests that no client would write by hand.
#[test]
fn schemathesis_finds_no_fault_in_the_api() {
    let program = below_root("target/clients/python/bin/schemathesis");
    if !program.exists() {
        return skip_without("schemathesis (Python), which scripts/install-clients installs");
    }
    let gateway = gateway();
    let admin = gateway.admin_address();
    let _clients: Vec<ChatClient> = (0..5)
        .map(|number| ChatClient::join(gateway.address(), &format!("/chat?user=n{number}")))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let run = Command::new(program)
        .current_dir(folder.path())
        .args(["run", &format!("http://{admin}/api/v1/openapi.json")])
        .args(["--header", &format!("Authorization: Bearer {TOKEN}")])
        // It never ends, and it ends the gateway.
        .args(["--exclude-path", "/api/v1/trace", "--exclude-path", "/api/v1/drain/start"])
        .args(["--max-examples", "20", "--seed", "1", "--request-timeout", "20"])
        // Not that every order which the description allows is carried out: rooms have to be there.
        .args(["--exclude-checks", "positive_data_acceptance"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = [run.stdout, run.stderr].map(|own| String::from_utf8_lossy(&own).into_owned());
    assert!(run.status.success(), "{}", said.concat());
    assert_eq!(get(admin, "/healthz").status, 200);
}
