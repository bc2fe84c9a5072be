//! Keys that are published, rotated, withdrawn, and not to be had.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::KeySetSettings;
use crate::control::fetch::HttpUrl;
use crate::control::fetch::scripted_server::{Gate, PATIENCE, ScriptedServer, Step, reply};
use crate::control::{ControlRole, ControlThread};
use crate::http::parse_head;
use crate::jwt::{Algorithm, ClaimRules, Verifier};
use crate::key::ConnKey;
use crate::services::identity::{JwtIdentity, JwtJudge, TokenPlaces};
use crate::services::{
    Checked, IdentityCheck, IdentityOutcome, IdentitySender, Inquiry, Peer, Presented,
};
use crate::timer::WallTime;

struct Signer {
    kid: &'static str,
    pair: Ed25519KeyPair,
}

impl Signer {
    fn new(kid: &'static str) -> Self {
        let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self { kid, pair: Ed25519KeyPair::from_pkcs8(der.as_ref()).unwrap() }
    }

    fn token(&self) -> String {
        let base64 = |text: String| URL_SAFE_NO_PAD.encode(text);
        let header = base64(format!(r#"{{"alg":"EdDSA","kid":"{}"}}"#, self.kid));
        let signed = format!("{header}.{}", base64(r#"{"sub":"ann"}"#.to_owned()));
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    fn jwk(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key());
        format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{}","x":"{x}"}}"#, self.kid)
    }
}

fn set(signers: &[&Signer]) -> String {
    let jwks: Vec<String> = signers.iter().map(|own| own.jwk()).collect();
    format!(r#"{{"keys":[{}]}}"#, jwks.join(","))
}

/// A server whose reply is set by the test.
struct Publisher {
    server: ScriptedServer,
    reply: Arc<Mutex<Step>>,
}

impl Publisher {
    fn of(step: Step) -> Self {
        let reply = Arc::new(Mutex::new(step));
        let own = Arc::clone(&reply);
        let server = ScriptedServer::start(move |_| own.lock().unwrap().clone());
        Self { server, reply }
    }

    fn set(&self, step: Step) {
        *self.reply.lock().unwrap() = step;
    }
}

struct Asker {
    identity: JwtIdentity,
    sender: IdentitySender,
    outcomes: Receiver<(Peer, IdentityOutcome)>,
    control: ControlThread,
}

impl Asker {
    fn of(publisher: &Publisher, unknown_key_ms: u64) -> Self {
        Self::with(publisher, |settings| KeySetSettings { unknown_key_ms, ..settings })
    }

    fn with(publisher: &Publisher, change: impl FnOnce(KeySetSettings) -> KeySetSettings) -> Self {
        let rules = ClaimRules {
            issuers: Vec::new(),
            audiences: Vec::new(),
            leeway_ms: 0,
            needs_expiry: false,
            user: "sub".to_owned(),
        };
        let judge = Arc::new(JwtJudge {
            name: "users".into(),
            verifier: Verifier { token_bytes_max: 4096, rules },
            rooms_claim: None,
            rights_claim: None,
            info_claim: None,
        });
        let url = format!("http://127.0.0.1:{}/keys", publisher.server.port);
        let settings = change(KeySetSettings {
            url: HttpUrl::parse(&url).unwrap(),
            trust: None,
            algorithms: vec![Algorithm::EdDsa],
            refresh_ms: 3_600_000,
            unknown_key_ms: 0,
            fetch_ms: 60_000,
            waiting_max: 4,
        });
        let control = ControlThread::start(ControlRole::Backends, &Arc::default()).unwrap();
        let keys = control.remote_keys(settings, &judge).into_keys();
        let places = TokenPlaces { authorization: true, ..TokenPlaces::default() };
        let (post, outcomes) = mpsc::channel();
        let post = Mutex::new(post);
        let sender = IdentitySender::new(Arc::new(move |peer, outcome| {
            post.lock().unwrap().send((peer, outcome)).unwrap();
        }));
        Self { identity: JwtIdentity::new(judge, places, keys), sender, outcomes, control }
    }

    fn ask(&self, index: u32, token: &str) -> Checked {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
        let head = parse_head(head.as_bytes()).unwrap();
        let presented = Presented {
            request: Some(&head),
            paths: &[],
            address: None,
            is_from_trusted_proxy: false,
            certificate_names: None,
            wall_now: WallTime(0),
        };
        let mut inquiry = Inquiry { peer: peer(index), sender: &self.sender, work: 0 };
        self.identity.check(&presented, &mut inquiry)
    }

    fn judge(&self, token: &str) -> String {
        let outcome = match self.ask(0, token) {
            Checked::Now(outcome) => outcome,
            Checked::Later => self.outcomes.recv_timeout(PATIENCE).unwrap().1,
            Checked::Absent => panic!("there is a token"),
        };
        status(outcome)
    }
}

fn peer(index: u32) -> Peer {
    Peer { loop_index: 0, key: ConnKey { index, generation: 1 } }
}

/// The user, or the status of the rejection.
fn status(outcome: IdentityOutcome) -> String {
    match outcome {
        IdentityOutcome::Admitted(identity) => identity.user().to_string(),
        IdentityOutcome::Refused(rejection) | IdentityOutcome::Unavailable(rejection) => {
            rejection.status().code().to_string()
        }
    }
}

fn published(signers: &[&Signer]) -> Step {
    Step::Reply(reply("200 OK", &set(signers)))
}

#[test]
fn a_token_waits_for_the_first_keys() {
    let (gate, signer) = (Arc::new(Gate::default()), Signer::new("a"));
    let publisher = Publisher::of(Step::Gate(Arc::clone(&gate), reply("200 OK", &set(&[&signer]))));
    let asker = Asker::of(&publisher, 0);
    assert!(!asker.identity.is_available());
    for index in 0..4 {
        assert!(matches!(asker.ask(index, &signer.token()), Checked::Later));
    }
    // One more than may wait, and one that leaves.
    assert_eq!(asker.judge(&signer.token()), "503");
    asker.identity.cancel(peer(3));
    gate.open();
    let mut answered: Vec<u32> = (0..3)
        .map(|_| {
            let (peer, outcome) = asker.outcomes.recv_timeout(PATIENCE).unwrap();
            assert_eq!(status(outcome), "ann");
            peer.key.index
        })
        .collect();
    answered.sort_unstable();
    assert_eq!(answered, [0, 1, 2]);
    assert!(asker.identity.is_available());
    // From now on loops judge by themselves.
    assert!(matches!(asker.ask(0, &signer.token()), Checked::Now(_)));
    assert!(asker.outcomes.try_recv().is_err());
}

#[test]
fn a_token_of_a_new_key_has_the_keys_fetched() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let publisher = Publisher::of(published(&[&old]));
    let asker = Asker::of(&publisher, 0);
    assert_eq!(asker.judge(&old.token()), "ann");
    publisher.set(published(&[&new]));
    assert_eq!(asker.judge(&old.token()), "ann", "no other key was asked for");
    assert_eq!(asker.judge(&new.token()), "ann");
    // The old key is withdrawn, and that it is asked for does not bring it back.
    assert_eq!(asker.judge(&old.token()), "401");
    assert_eq!(asker.control.counters().key_sets.value(), 3);
}

#[test]
fn unknown_keys_have_the_set_fetched_once_within_the_pause() {
    let (own, other) = (Signer::new("own"), Signer::new("other"));
    let publisher = Publisher::of(published(&[&own]));
    let asker = Asker::of(&publisher, 3_600_000);
    assert_eq!(asker.judge(&own.token()), "ann");
    for _ in 0..10 {
        assert_eq!(asker.judge(&other.token()), "401");
    }
    assert_eq!(asker.control.counters().key_sets.value(), 1);
    assert_eq!(publisher.server.heads().len(), 1);
}

#[test]
fn the_last_good_keys_are_kept() {
    let (own, other) = (Signer::new("own"), Signer::new("other"));
    let publisher = Publisher::of(published(&[&own]));
    let asker = Asker::of(&publisher, 0);
    assert_eq!(asker.judge(&own.token()), "ann");
    let failures = [
        Step::Reply(reply("500 Internal Server Error", &set(&[&other]))),
        Step::Reply(reply("200 OK", "<html>")),
        Step::Reply(reply("200 OK", r#"{"keys":[]}"#)),
        Step::Reply(reply("200 OK", r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#)),
        Step::Reply("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n".to_owned()),
        Step::Reply(reply("200 OK", &" ".repeat(300 << 10))),
        Step::Last(String::new()),
    ];
    let count = failures.len() as u64;
    for failure in failures {
        publisher.set(failure.clone());
        // Its key may be among those that cannot be fetched.
        assert_eq!(asker.judge(&other.token()), "503", "{failure:?}");
        assert_eq!(asker.judge(&own.token()), "ann", "{failure:?}");
    }
    assert!(asker.control.counters().key_sets_failed.value() >= count);
    publisher.set(published(&[&own, &other]));
    assert_eq!(asker.judge(&other.token()), "ann");
}

#[test]
fn without_any_keys_tokens_cannot_be_judged() {
    let signer = Signer::new("a");
    let publisher = Publisher::of(Step::Last(String::new()));
    let asker = Asker::of(&publisher, 3_600_000);
    for _ in 0..3 {
        assert_eq!(asker.judge(&signer.token()), "503");
    }
    assert!(!asker.identity.is_available());
    // What could never be a token is refused all the same.
    assert_eq!(asker.judge("garbage"), "401");
}

#[test]
fn keys_are_fetched_again_and_again() {
    let signer = Signer::new("a");
    let fetches = Arc::new(AtomicUsize::new(0));
    let (count, body) = (Arc::clone(&fetches), set(&[&signer]));
    let server = ScriptedServer::start(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        Step::Reply(reply("200 OK", &body))
    });
    let publisher = Publisher { server, reply: Arc::new(Mutex::new(Step::Hang)) };
    let asker = Asker::with(&publisher, |settings| KeySetSettings { refresh_ms: 1, ..settings });
    for _ in 0..5 {
        publisher.server.head();
    }
    // Without an identity there are no more fetches.
    let Asker { identity, control, .. } = asker;
    drop(identity);
    control.stop();
    let fetched = fetches.load(Ordering::Relaxed);
    assert!(fetched >= 5);
}

#[test]
fn a_thread_that_fails_answers_who_waits_and_fetches_again() {
    let (gate, signer) = (Arc::new(Gate::default()), Signer::new("a"));
    let publisher = Publisher::of(Step::Gate(Arc::clone(&gate), reply("200 OK", &set(&[&signer]))));
    let asker = Asker::of(&publisher, 0);
    assert!(matches!(asker.ask(0, &signer.token()), Checked::Later));
    publisher.server.head();
    publisher.set(published(&[&signer]));
    asker.control.inject(|| panic!("injected"));
    let (_, outcome) = asker.outcomes.recv_timeout(PATIENCE).unwrap();
    assert_eq!(status(outcome), "503");
    publisher.server.head();
    while !asker.identity.is_available() {
        std::thread::yield_now();
    }
    assert_eq!(asker.judge(&signer.token()), "ann");
    gate.open();
}
