//! SIGUSR2 with channels: what is kept of them goes over to the new process, or it says that it does not.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::clients::{below_root, curl};
use crate::gateway::{Gateway, Successor};
use crate::handover::Installation;
use crate::skip::skip_without;
use crate::wait::until;

const KEY: &str = "fedcba9876543210";

fn config(more: &str) -> String {
    format!(
        r#"
        loops = 2
        [api]
        address = "127.0.0.1:0"
        keys = ["{KEY}"]
        [timeouts]
        drain_ms = 2000
        handover_ms = 60000
        [[route]]
        path = "/connection/websocket"
        service = "channels"
        origins = "*"
        [channels]
        allow_anonymous = true
        {more}
        [[channels.namespace]]
        name = "kept"
        history_size = 2000
        history_ttl_s = 3600
        force_recovery = true
        allow_subscribe_for_anonymous = true
        allow_publish_for_anonymous = true
        allow_history_for_anonymous = true
        "#
    )
}

/// On a busy machine the new process may take long to open.
fn with_snapshot(installation: &Installation) -> String {
    let path = installation.folder.path().join("channels");
    format!("snapshot = \"{}\"\nsnapshot_ms = 60000", path.display())
}

fn call(api: SocketAddr, method: &str, body: &Value) -> Value {
    let (url, key) = (format!("http://{api}/api/{method}"), format!("X-API-Key: {KEY}"));
    let body = body.to_string();
    let output = curl(&["--header", &key, "--data", &body, &url]);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn publish(api: SocketAddr, number: u64) -> Value {
    let body =
        json!({ "channel": "kept:x", "data": number, "idempotency_key": number.to_string() });
    call(api, "publish", &body)["result"].clone()
}

fn hand_over(gateway: &mut Gateway) -> Successor {
    gateway.signal(Signal::USR2);
    let successor = gateway.successor();
    assert_eq!(gateway.exit_status().code(), Some(0));
    successor
}

fn end(successor: &Successor) {
    successor.signal(Signal::TERM);
    until("the new process ends", || (!successor.is_running()).then_some(()));
}

#[test]
fn histories_positions_and_keys_go_over_to_the_new_process() {
    let installation = Installation::new(&config(""));
    let snapshot = with_snapshot(&installation);
    installation.configure(&config(&snapshot));
    let mut gateway = installation.start();
    let api = gateway.api_address();
    let first: Vec<Value> = (1..=5).map(|number| publish(api, number)).collect();
    assert_eq!(first[4]["offset"], 5);
    // With another number of loops channels have other homes.
    installation.configure(&config(&snapshot).replace("loops = 2", "loops = 3"));
    let successor = hand_over(&mut gateway);
    gateway.logged("channels stand still: 1 streams are in ");
    gateway.logged("channels go on: 1 streams of ");
    assert_eq!(publish(api, 5), first[4], "it is made once");
    let sixth = publish(api, 6);
    assert_eq!((&sixth["offset"], &sixth["epoch"]), (&json!(6), &first[0]["epoch"]));
    let history = call(api, "history", &json!({ "channel": "kept:x", "limit": 10 }));
    let data = history["result"]["publications"].as_array().unwrap().iter();
    let data: Vec<u64> = data.map(|own| own["data"].as_u64().unwrap()).collect();
    assert_eq!(data, [1, 2, 3, 4, 5, 6]);
    assert!(!installation.folder.path().join("channels").exists(), "it is for one handover");
    end(&successor);
}

#[test]
fn without_a_snapshot_a_new_epoch_says_that_nothing_goes_over() {
    let installation = Installation::new(&config(""));
    let mut gateway = installation.start();
    let api = gateway.api_address();
    let before = publish(api, 1);
    // The new process wants one, and the old one knows of none.
    installation.configure(&config(&with_snapshot(&installation)));
    let successor = hand_over(&mut gateway);
    gateway.logged("channels begin anew: the process before has no snapshot of them");
    let after = publish(api, 1);
    assert_eq!(after["offset"], 1);
    assert_ne!(after["epoch"], before["epoch"]);
    end(&successor);
}

#[test]
fn after_a_new_process_that_opened_and_failed_channels_go_on_with_another_epoch() {
    let installation = Installation::new(&config(""));
    installation.configure(&config(&with_snapshot(&installation)));
    let gateway = installation.start();
    let api = gateway.api_address();
    let before = publish(api, 1);
    // It takes the snapshot over, and then has no certificate to serve with.
    let missing = "[[certificate]]\ncertificate = \"/nonexistent\"\nkey = \"/nonexistent\"\n\
                   [[listener]]\naddress = \"127.0.0.1:0\"\ntls = true\n";
    installation.configure(&format!("{}\n{missing}", config(&with_snapshot(&installation))));
    gateway.signal(Signal::USR2);
    gateway.logged("the new process did not take over: ");
    let after = publish(api, 2);
    assert_eq!((&before["offset"], &after["offset"]), (&json!(1), &json!(2)), "all is there");
    // It had said that it opens, and may have published before it ended.
    assert_ne!(after["epoch"], before["epoch"]);
    assert!(!installation.folder.path().join("channels").exists());
}

#[test]
fn a_snapshot_that_cannot_be_written_begins_anew() {
    let installation = Installation::new(&config(""));
    let nowhere = "snapshot = \"/nonexistent/channels\"\nsnapshot_ms = 60000";
    installation.configure(&config(nowhere));
    let mut gateway = installation.start();
    let api = gateway.api_address();
    let before = publish(api, 1);
    let successor = hand_over(&mut gateway);
    gateway.logged("cannot write channels.snapshot = /nonexistent/channels: No such file");
    assert_ne!(publish(api, 2)["epoch"], before["epoch"]);
    end(&successor);
}

/// Members of a library of clients that knows nothing of this, and one of them that publishes all the while.
#[test]
fn nothing_is_lost_or_repeated_over_ten_handovers_under_load() {
    let clients = below_root("target/clients/centrifuge");
    if !clients.join("node_modules/centrifuge").exists() {
        return skip_without("centrifuge, which scripts/install-clients installs");
    }
    let installation = Installation::new(&config(""));
    installation.configure(&config(&with_snapshot(&installation)));
    let mut gateway = installation.start();
    let url = format!("ws://{}/connection/websocket", gateway.address());
    let mut command = Command::new("node");
    command.arg(below_root("tests/clients/centrifuge/handovers.mjs"));
    command.arg(url).arg(clients).arg("centrifuge");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut node = command.spawn().unwrap();
    let mut rounds = BufReader::new(node.stdout.take().unwrap()).lines();
    let mut processes: Vec<Successor> = Vec::new();
    for number in 0..10 {
        let round = rounds.next();
        assert!(round.is_some(), "{:?}", node.wait_with_output());
        match processes.last() {
            None => gateway.signal(Signal::USR2),
            Some(last) => last.signal(Signal::USR2),
        }
        let next = gateway.nth_successor(number);
        match processes.last() {
            None => assert_eq!(gateway.exit_status().code(), Some(0)),
            Some(last) => until("the last one ends", || (!last.is_running()).then_some(())),
        }
        processes.push(next);
    }
    assert!(rounds.next().is_some());
    node.stdin.take().unwrap().write_all(b"over\n").unwrap();
    // It goes on to the end of its round.
    rounds.for_each(drop);
    let output = node.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains(" published, "), "{text}");
    processes.iter().skip(9).for_each(end);
}
