//! Backends that are told of events as functions behind API Gateway are, and manage connections as those do.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::admin_client::request;
use crate::clients::{below_root, run};
use crate::events_backend::{Answer, EventsBackend, Told, reply};
use crate::frames::{BINARY, CLOSE, TEXT, client_frame, close_payload};
use crate::gateway::Gateway;
use crate::messages::{Reply, Request};
use crate::skip::skip_without;
use crate::socket::Socket;

const KEY: &str = "a-secret-access-key-of-some-length";

fn in_front_of(port: u16, more: &str) -> Gateway {
    Gateway::with_config(&format!(
        "loops = 2\n[api]\naddress = \"127.0.0.1:0\"\nkeys = \"{KEY}\"\n[[upstream]]\nname = \"app\"\n\
         servers = [\"127.0.0.1:{port}\"]\n[[route]]\npath = \"/app/*\"\nservice = \"events\"\n\
         upstream = \"app\"\ndialect = \"api-gateway\"\n{more}"
    ))
}

fn ask(gateway: &Gateway, path: &str) -> (Socket, Reply) {
    let mut socket = Socket::connect(gateway.address());
    socket.send(&Request::upgrade(path).with("User-Agent", "tests/1").bytes());
    let reply = socket.receive_head();
    (socket, reply)
}

fn json_of(told: &Told) -> Value {
    serde_json::from_slice(&told.body).unwrap()
}

fn say(socket: &mut Socket, text: &str) {
    socket.send(&client_frame(TEXT, text.as_bytes()));
}

fn hear(socket: &mut Socket) -> String {
    String::from_utf8(socket.receive_frame().payload).unwrap()
}

/// A function: what it returns by the route of the event.
fn function(told: &Told) -> Answer {
    let event = json_of(told);
    let returned = match event["requestContext"]["routeKey"].as_str().unwrap() {
        "$connect" if event["queryStringParameters"]["token"] == "no" => {
            json!({ "statusCode": 401, "body": "no" })
        }
        "$connect" => json!({ "statusCode": 200, "headers": { "X-Own": "1" } }),
        "ask" => json!({ "statusCode": 200, "body": "answer" }),
        "bytes" => json!({ "statusCode": 200, "body": "AQI=", "isBase64Encoded": true }),
        "fail" => return reply("500 Internal Server Error", "", "oops"),
        _ => json!({ "statusCode": 200, "body": "for no one" }),
    };
    reply("200 OK", "Content-Type: application/json\r\n", &returned.to_string())
}

#[test]
fn each_event_is_a_request_of_its_own_for_its_route() {
    let backend = EventsBackend::start(function);
    let gateway = in_front_of(
        backend.address.port(),
        "route_responses = [\"ask\", \"bytes\"]\nstage = \"prod\"\n",
    );
    let (_, refused) = ask(&gateway, "/app/ws?token=no");
    assert_eq!(refused.status, 401);
    backend.told();
    let (mut socket, opened) = ask(&gateway, "/app/ws?token=1");
    assert_eq!((opened.status, opened.header("X-Own")), (101, Some("1")));
    let told = backend.told();
    assert_eq!(told.line, "POST /app/ws?token=1 HTTP/1.1");
    assert_eq!(told.header("Content-Type"), Some("application/json"));
    let connect = json_of(&told);
    let context = &connect["requestContext"];
    assert_eq!(context["eventType"], "CONNECT");
    assert_eq!((&context["stage"], &context["apiId"]), (&json!("prod"), &json!("tidegate")));
    assert_eq!(context["identity"], json!({ "sourceIp": "127.0.0.1", "userAgent": "tests/1" }));
    let id = context["connectionId"].clone();

    say(&mut socket, r#"{"action": "ask"}"#);
    say(&mut socket, r#"{"action": "bytes"}"#);
    say(&mut socket, "plain");
    say(&mut socket, r#"{"action": "fail"}"#);
    assert_eq!(hear(&mut socket), "answer");
    let frame = socket.receive_frame();
    assert_eq!((frame.first, frame.payload), (BINARY, vec![1, 2]));
    // The reply to the third had no route response.
    let failure: Value = serde_json::from_str(&hear(&mut socket)).unwrap();
    assert_eq!(failure["message"], "Internal server error");
    assert_eq!(failure["connectionId"], id);
    let events: Vec<Value> = (0..4).map(|_| json_of(&backend.told())).collect();
    let routes: Vec<&Value> = events.iter().map(|own| &own["requestContext"]["routeKey"]).collect();
    assert_eq!(routes, ["ask", "bytes", "$default", "fail"]);
    assert_eq!(failure["requestId"], events[3]["requestContext"]["requestId"]);
    assert!(events.iter().all(|own| own["requestContext"]["connectionId"] == id));
    assert_eq!(
        (&events[2]["body"], &events[2]["isBase64Encoded"]),
        (&json!("plain"), &json!(false))
    );

    socket.send(&client_frame(CLOSE, &close_payload(4000, "bye")));
    socket.assert_close_answered(4000);
    let context = json_of(&backend.told())["requestContext"].clone();
    assert_eq!((&context["eventType"], &context["connectionId"]), (&json!("DISCONNECT"), &id));
    assert_eq!(context["disconnectStatusCode"], 4000);
    assert_eq!(context["disconnectReason"], "bye");
    assert!(backend.is_quiet());
}

#[test]
fn connections_are_managed_with_a_key_and_are_gone_afterwards() {
    let backend = EventsBackend::start(function);
    let gateway = in_front_of(backend.address.port(), "");
    let (mut socket, _) = ask(&gateway, "/app/ws");
    let id = backend.told().header("Connection-Id").unwrap().to_owned();
    let key = format!("X-API-Key: {KEY}");
    let manage = |method: &str, path: &str, body: &str| {
        request(gateway.api_address(), method, path, &[&key], body)
    };
    let path = format!("/@connections/{id}");
    assert_eq!(manage("POST", &path, "hello").status, 200);
    assert_eq!(hear(&mut socket), "hello");
    assert_eq!(manage("POST", &format!("/prod{}", path.replace('-', "%2D")), "again").status, 200);
    assert_eq!(hear(&mut socket), "again");
    assert_eq!(manage("GET", &path, "").json()["identity"]["userAgent"], "tests/1");
    let unsigned = request(gateway.api_address(), "GET", &path, &[], "");
    assert_eq!(unsigned.status, 401);
    assert_eq!(manage("DELETE", &path, "").status, 204);
    socket.assert_close_answered(1000);
    let gone = manage("POST", &path, "x");
    assert_eq!((gone.status, gone.header("x-amzn-ErrorType")), (410, Some("GoneException")));
}

#[test]
fn boto3_manages_connections() {
    let python = below_root("target/clients/python/bin/python");
    let mut probe = Command::new(&python);
    probe.args(["-c", "import boto3"]).stderr(Stdio::null());
    if !probe.status().is_ok_and(|status| status.success()) {
        return skip_without("boto3, which scripts/install-clients installs");
    }
    let backend = EventsBackend::start(function);
    let gateway = in_front_of(backend.address.port(), "");
    let (mut socket, _) = ask(&gateway, "/app/ws");
    let id = backend.told().header("Connection-Id").unwrap().to_owned();
    let mut command = Command::new(python);
    command.arg(below_root("tests/clients/manage_connections.py"));
    command.args([&format!("http://{}/prod", gateway.api_address()), KEY, &id]);
    let output = run(command);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "done\n");
    assert_eq!(hear(&mut socket), "grüße");
    assert_eq!(hear(&mut socket).len(), 128 * 1024);
    socket.assert_close_answered(1000);
}

/// `examples/api-gateway/backend.py`, as it stands in the documents.
#[test]
fn the_example_answers_by_routes() {
    let Ok(mut child) = Command::new("python3")
        .arg(below_root("examples/api-gateway/backend.py"))
        .arg("0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
    else {
        return skip_without("Python 3");
    };
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut line = || lines.next().unwrap().unwrap();
    let port: u16 = line().strip_prefix("ready ").unwrap().parse().unwrap();
    let gateway = in_front_of(port, "route_responses = [\"*\"]\n");
    assert_eq!(ask(&gateway, "/app/ws").1.status, 403);
    let (mut socket, opened) = ask(&gateway, "/app/ws?name=ann");
    assert_eq!(opened.status, 101);
    say(&mut socket, "hello");
    assert_eq!(hear(&mut socket), "you said: hello");
    say(&mut socket, r#"{"action": "who"}"#);
    let who: Value = serde_json::from_str(&hear(&mut socket)).unwrap();
    assert_eq!(who["from"], "127.0.0.1");
    socket.send(&client_frame(CLOSE, &close_payload(1000, "")));
    socket.assert_close_answered(1000);
    assert_eq!(line(), format!("{} has left: 1000", who["you"].as_str().unwrap()));
    child.kill().unwrap();
    child.wait().unwrap();
}
