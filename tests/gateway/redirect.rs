//! A listener that redirects to `https`.

use std::net::SocketAddr;

use rustix::process::Signal;

use crate::certificates::CertificateFolder;
use crate::clients::{curl, has};
use crate::gateway::{Gateway, Launch, config_file, write_config};
use crate::messages::{Ending, Reply, Request, exchange};
use crate::wait::until;

/// A configuration with a TLS listener behind one that redirects to it, which has these further keys.
fn config(folder: &CertificateFolder, keys: &str) -> String {
    format!(
        "loops = 2\n[[listener]]\naddress = \"127.0.0.1:0\"\nredirect = \"https\"\n{keys}\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\ntls = true\n{}\
         [[route]]\npath = \"/\"\nservice = \"page\"\n[[route]]\npath = \"/echo\"\nservice = \"echo\"\n",
        folder.table("server"),
    )
}

/// Where the gateway redirects, and where it serves TLS.
fn start(config: &str) -> (Gateway, SocketAddr, SocketAddr) {
    let gateway =
        Gateway::launch(&Launch { toml: Some(config), listen: None, ..Launch::default() });
    let address = |what: &str| {
        let line = gateway.logged(what);
        let (address, _) = line.split_once("listening on ").unwrap().1.split_once(": ").unwrap();
        address.parse().unwrap()
    };
    let (plain, tls) = (address(": redirects to https"), address(": https://"));
    (gateway, plain, tls)
}

fn ask(address: SocketAddr, request: &Request) -> Reply {
    Reply::parse(&exchange(address, &request.bytes(), Ending::Open))
}

#[test]
fn every_request_is_sent_to_the_same_url_over_tls() {
    let folder = CertificateFolder::new();
    let (gateway, plain, tls) = start(&config(&folder, ""));
    for (request, location) in [
        (Request::get("/a?b=c"), "/a?b=c"),
        (Request::upgrade("/echo"), "/echo"),
        (Request::of_line("POST /a HTTP/1.1").with("Host", "localhost:80"), "/a"),
        (Request::of_line("HEAD / HTTP/1.1").with("Host", "LOCALHOST"), "/"),
    ] {
        let reply = ask(plain, &request);
        assert_eq!(reply.status, 308);
        let host = if location == "/" { "LOCALHOST" } else { "localhost" };
        let url = format!("https://{host}:{}{location}", tls.port());
        assert_eq!(reply.header("Location"), Some(url.as_str()));
        reply.assert_is_last(location == "/");
    }
    gateway.assert_counter("redirects", 4);
    assert_eq!((gateway.counter("upgrades"), gateway.counter("pages")), (0, 0));
}

#[test]
fn requests_without_a_sound_host_are_refused() {
    let folder = CertificateFolder::new();
    let (gateway, plain, _) = start(&config(&folder, "hosts = [\"chat.example\"]"));
    for (request, status) in [
        (Request::of_line("GET / HTTP/1.1"), 400),
        (Request::of_line("GET / HTTP/1.0"), 400),
        (Request::get("/").with("Host", "chat.example"), 400),
        (Request::get("/").set("Host", "chat.example\tb"), 400),
        (Request::get("/").set("Host", "a@chat.example"), 400),
        (Request::get("/").set("Host", "chat.example/evil"), 400),
        (Request::get("/").set("Host", "evil.example"), 421),
        (Request::get("http://evil.example/").set("Host", "chat.example"), 421),
        (Request::get("/").set("Host", "chat.example:80"), 308),
    ] {
        let reply = ask(plain, &request);
        assert_eq!(reply.status, status, "{request:?}");
        assert_eq!(reply.header("Location").is_some(), status == 308);
    }
    gateway.assert_counter("refused_malformed", 6);
    gateway.assert_counter("refused_host", 2);
}

#[test]
fn curl_follows_to_the_page() {
    if !has("curl", "--version") {
        return;
    }
    let folder = CertificateFolder::new();
    let (_gateway, plain, _) = start(&config(&folder, ""));
    let ca = folder.file("ca.pem").display().to_string();
    let url = format!("http://localhost:{}/", plain.port());
    let output = curl(&["--fail", "--location", "--cacert", &ca, &url]);
    assert!(output.stdout.starts_with(b"<!doctype html>"));
}

#[test]
fn a_reload_turns_redirects_on_and_off() {
    let folder = CertificateFolder::new();
    let redirecting = config(&folder, "redirect_port = 8443");
    let file = config_file(&redirecting);
    let launch = Launch { listen: None, ..Launch::default() };
    let gateway = Gateway::launch_with(&launch, Some(file.path()));
    let plain = gateway.address();
    let location = || ask(plain, &Request::get("/")).header("Location").map(str::to_owned);
    assert_eq!(location().as_deref(), Some("https://localhost:8443/"));
    let serving = redirecting.replace("redirect = \"https\"\nredirect_port = 8443\n", "");
    for (text, expected) in [(&serving, None), (&redirecting, Some("https://localhost:8443/"))] {
        write_config(file.path(), text);
        gateway.signal(Signal::HUP);
        until("the reload has happened", || (location().as_deref() == expected).then_some(()));
    }
}
