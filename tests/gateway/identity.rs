//! Who clients are: tokens, certificates and stated users, what rooms grant them, and where they show.

use std::fs;
use std::io::Write as _;

use crate::admin_client::{CONFIG, get, post};
use crate::certificates::CertificateFolder;
use crate::chat_client::ChatClient;
use crate::frames::{TEXT, client_frame, server_frame};
use crate::gateway::{Gateway, Launch};
use crate::messages::{Reply, Request};
use crate::socket::Socket;
use crate::tls_client::TlsClient;
use crate::wait::until;

/// Tokens in the query, and users that cookies state, on every service; a room that tells them apart.
const IDENTITIES: &str = r#"
[[identity]]
name = "staff"
kind = "tokens"
place = "query"
tokens = [{ name = "ann", token = "s3cret-5318008" }, { name = "bob", token = "s3cret-8008135" }]

[[identity]]
name = "guests"
kind = "cookie"
cookie = "guest"

[[route]]
path = "/echo"
service = "echo"
identity = ["staff", "guests"]

[[route]]
path = "/broadcast"
service = "broadcast"
identity = ["staff"]
identity_optional = true

[[route]]
path = "/room"
service = "room"
name = "identity"
logins = "one"
identity = ["staff", "guests"]
write = ["staff"]
see_members = ["staff"]
"#;

const ANN: &str = "user=ann&token=s3cret-5318008";

/// The head of the reply.
fn reply(gateway: &Gateway, request: &Request) -> Reply {
    Socket::reply_to(gateway.address(), request)
}

/// A socket that is open.
fn opened(gateway: &Gateway, request: &Request) -> Socket {
    let mut socket = Socket::connect(gateway.address());
    socket.send(&request.bytes());
    assert_eq!(socket.receive_head().status, 101);
    socket
}

#[test]
fn every_service_asks_for_a_credential_and_the_first_found_decides() {
    let gateway = Gateway::with_config(&format!("loops = 2\n{IDENTITIES}"));
    let upgrade = |target: &str| Request::upgrade(target);
    for (request, expected) in [
        (upgrade("/echo"), 401),
        (upgrade("/echo?user=ann"), 401),
        (upgrade("/echo?token=s3cret-5318008"), 400),
        (upgrade("/echo?user=ann&token=wrong"), 403),
        (upgrade("/echo?user=eve&token=s3cret-5318008"), 403),
        // A bad credential is not forgiven by a good one of the next kind.
        (upgrade("/echo?user=ann&token=wrong").with("Cookie", "guest=eve"), 403),
        (upgrade("/echo").with("Cookie", "guest=eve; guest=ann"), 400),
        (upgrade("/broadcast?user=ann&token=wrong"), 403),
    ] {
        let reply = reply(&gateway, &request);
        assert_eq!(reply.status, expected, "{request:?}");
        assert_eq!(reply.header("WWW-Authenticate").is_some(), expected == 401, "{request:?}");
    }
    for request in [
        upgrade(&format!("/echo?{ANN}")),
        upgrade("/echo").with("Cookie", "theme=dark; guest=eve"),
        upgrade(&format!("/broadcast?{ANN}")),
        upgrade("/broadcast"),
    ] {
        let mut socket = opened(&gateway, &request);
        socket.send(&client_frame(TEXT, b"hello"));
        assert_eq!(socket.receive_frame().payload, b"hello");
    }
    gateway.assert_counter("refused_without_identity", 2);
    gateway.assert_counter("refused_identity", 6);
    gateway.assert_counter("identified", 3);
}

#[test]
fn a_room_tells_identities_apart_and_a_user_has_one_login() {
    let gateway = Gateway::with_config(&format!("loops = 4\n{IDENTITIES}"));
    let mut ann = ChatClient::join_with_events(gateway.address(), &format!("/room?{ANN}"));
    assert_eq!(ann.receive_event()["name"], "ann");
    let guest = Request::upgrade("/room").with("Cookie", "guest=eve");
    let mut eve = opened(&gateway, &guest);
    assert_eq!(ann.receive_event()["type"], "joined");
    ann.send_event("hello");
    assert_eq!(eve.receive_frame().payload, b"ann: hello");
    eve.send(&client_frame(TEXT, b"may I?"));
    let close = eve.receive_frame();
    assert_eq!(&close.payload[2..], b"you may not write in this room");
    assert_eq!(ann.receive_event()["text"], "hello", "its own message");
    assert_eq!(ann.receive_event()["type"], "left");
    let _again = ChatClient::join(gateway.address(), &format!("/room?{ANN}"));
    assert_eq!(ann.close_frame().0, 4001);
}

#[test]
fn operators_see_users_and_find_and_close_them_by_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let access = folder.path().join("access.log");
    let log = format!("[log]\nlevel = \"trace\"\naccess = \"{}\"\n", access.display());
    let gateway = Gateway::with_config(&format!("loops = 2\n{log}{IDENTITIES}{CONFIG}"));
    let admin = gateway.admin_address();
    let mut ann = opened(&gateway, &Request::upgrade(&format!("/echo?{ANN}")));
    let mut eve = opened(&gateway, &Request::upgrade("/echo").with("Cookie", "guest=eve"));
    let list = get(admin, "/api/v1/connections?user=ann").json();
    let rows = list["connections"].as_array().unwrap();
    assert_eq!(rows.len(), 1, "{list}");
    assert_eq!((&rows[0]["user"], &rows[0]["route"]), (&"ann".into(), &"echo /echo".into()));
    let id = rows[0]["id"].as_str().unwrap();
    let detail = get(admin, &format!("/api/v1/connections/{id}")).json();
    assert_eq!(detail["identity"], "staff");
    assert!(detail["identity_expires_unix_ms"].is_null());
    let body = "{\"conditions\": {\"user\": \"ann\"}, \"code\": 4321, \"reason\": \"bye\"}";
    assert_eq!(post(admin, "/api/v1/connections/close", body).json()["closed"], 1);
    assert_eq!(&ann.receive_frame().payload[..2], &4321_u16.to_be_bytes());
    eve.send(&client_frame(TEXT, b"still here"));
    assert_eq!(eve.receive_frame().payload, b"still here");
    assert_eq!(reply(&gateway, &Request::upgrade("/echo?user=ann&token=wrong-9009")).status, 403);
    drop((ann, eve));
    let told = until("both are in the access log", || {
        let told = fs::read_to_string(&access).unwrap();
        Some(told).filter(|told| told.ends_with('\n') && told.lines().count() >= 3)
    });
    assert!(told.contains("ann") && told.contains("eve"), "{told}");
    for secret in ["s3cret", "wrong-9009"] {
        assert!(!told.contains(secret), "{told}");
        let lines = gateway.log_lines();
        let shown = lines.iter().find(|line| line.contains(secret));
        assert_eq!(shown, None);
    }
    assert!(gateway.log_lines().iter().any(|line| line.contains("accepted from")), "at trace");
}

#[test]
fn a_certificate_of_the_client_is_an_identity() {
    let folder = CertificateFolder::new();
    folder.write_pair("other", &folder.authority.client("other"));
    let config = format!(
        "loops = 1\n[[listener]]\naddress = \"127.0.0.1:0\"\ntls = true\n\
         client_certificates = \"optional\"\nclient_ca = {:?}\n{}\
         [[identity]]\nname = \"devices\"\nkind = \"certificate\"\n\
         [[route]]\npath = \"/room\"\nservice = \"room\"\nname = \"identity\"\n\
         identity = [\"devices\"]\n",
        folder.file("client-ca.pem").display().to_string(),
        folder.table("server"),
    );
    let gateway =
        Gateway::launch(&Launch { toml: Some(&config), listen: None, ..Launch::default() });
    let ask = |client: TlsClient| {
        let mut socket = client.connect(gateway.address()).unwrap();
        let status = socket.ask(&Request::upgrade("/room")).unwrap().status;
        (socket, status)
    };
    let (_, refused) = ask(TlsClient::new(&folder));
    assert_eq!(refused, 401);
    let (mut device, status) = ask(TlsClient::new(&folder).with_certificate(&folder, "client"));
    assert_eq!(status, 101);
    device.stream.write_all(&client_frame(TEXT, b"hello")).unwrap();
    device.assert_receives(&server_frame(TEXT, b"client: hello"));
}

#[test]
fn a_path_with_a_token_serves_any_service() {
    let gateway = Gateway::with_config(
        "[[identity]]\nname = \"a\"\nkind = \"tokens\"\n\
         tokens = [{ name = \"ann\", token = \"s3/cret\" }]\n\
         [[route]]\npath = \"/echo/:name/:token\"\nservice = \"echo\"\nidentity = [\"a\"]\n",
    );
    for (path, expected) in [
        ("/echo/ann/s3%2Fcret", 101),
        ("/echo/ann/s3cret", 403),
        ("/echo/ann", 404),
        ("/echo/%00/s3%2Fcret", 400),
    ] {
        assert_eq!(reply(&gateway, &Request::upgrade(path)).status, expected, "{path}");
    }
}
