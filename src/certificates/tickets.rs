//! Session tickets without state (RFC 8446 section 4.6.1, RFC 5077), whose keys belong to what a
//! listener asks of its clients.
//!
//! Resumption checks the suite and the name, and never the verifier: a client that resumes is not asked
//! for its certificate again. So the keys are derived from the shared secrets together with whether
//! certificates are asked for and the authorities that they come from. A ticket of a listener without
//! client certificates is nothing but noise at one that requires them, and so are all tickets once
//! the file of authorities has changed.
//!
//! ```text
//! ticket   = name (16) ‖ salt (32) ‖ AES-256-GCM(key of the ticket, nonce 0, aad = name ‖ salt,
//!                                                date (8) ‖ session)
//! listener = HKDF-Expand(HKDF-Extract(label, secret), "listener" ‖ mode ‖ SHA-256(authorities))
//! name     = HKDF-Expand(listener, "name")
//! key      = HKDF-Expand(listener, "ticket" ‖ salt)
//! ```
//!
//! Each ticket has a key of its own, from its random salt: a nonce that is random itself would limit
//! the tickets of one key to 2³² (NIST SP 800-38D section 8.3), and a file's keys know no such end.
//!
//! Each bears the date at which it was made, and is refused once it is older than it was said to last:
//! keys of a file may stay for as long as their operator leaves them there.

use std::sync::Arc;

use arc_swap::ArcSwap;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::server::ProducesTickets;
use rustls::time_provider::TimeProvider;

use super::options::ClientCertificates;
use super::ticket_roots::TicketRoots;

/// Makes and accepts the tickets of one listener.
#[derive(Debug)]
pub(super) struct Tickets {
    current: ArcSwap<Keys>,
    clock: Arc<dyn TimeProvider>,
}

/// What tickets are bound to: what a listener asks of its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Binding {
    pub(super) client_certificates: ClientCertificates,
    /// SHA-256 of the file of authorities; zeros where there is none.
    pub(super) authorities: [u8; 32],
}

/// The keys of one listener, of which the first one makes tickets.
#[derive(Debug)]
pub(super) struct Keys {
    keys: Vec<Key>,
}

struct Key {
    name: [u8; NAME_BYTES],
    listener: Prk,
}

impl Keys {
    /// The keys of a listener with this binding.
    pub(super) fn derive(roots: &TicketRoots, binding: Binding) -> Self {
        let keys = roots.iter().filter_map(|root| Key::derive(root, binding)).collect();
        Self { keys }
    }

    /// A ticket with this content, made `now_s` seconds after the epoch.
    fn make(&self, plain: &[u8], now_s: u64) -> Option<Vec<u8>> {
        let key = self.keys.first()?;
        let mut salt = [0; SALT_BYTES];
        SystemRandom::new().fill(&mut salt).ok()?;
        let bytes = HEAD_BYTES + DATE_BYTES + plain.len() + AES_256_GCM.tag_len();
        let mut ticket = Vec::with_capacity(bytes);
        ticket.extend_from_slice(&key.name);
        ticket.extend_from_slice(&salt);
        let aad = Aad::from(ticket.clone());
        ticket.extend_from_slice(&now_s.to_be_bytes());
        ticket.extend_from_slice(plain);
        let sealed = ticket.get_mut(HEAD_BYTES..)?;
        let tag = key.of_ticket(&salt)?.seal_in_place_separate_tag(nonce(), aad, sealed).ok()?;
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    /// The content of a ticket, if one of the keys made it and it has not ended.
    fn accept(&self, ticket: &[u8], now_s: u64) -> Option<Vec<u8>> {
        let (head, sealed) = ticket.split_at_checked(HEAD_BYTES)?;
        let (name, salt) = head.split_first_chunk::<NAME_BYTES>()?;
        // The name is public.
        let key = self.keys.iter().find(|key| key.name == *name)?;
        let mut opened = sealed.to_vec();
        let aad = Aad::from(head);
        let opened = key.of_ticket(salt)?.open_in_place(nonce(), aad, &mut opened).ok()?;
        let (made_s, plain) = opened.split_first_chunk::<DATE_BYTES>()?;
        // In both directions: the clocks of processes that share keys differ a little, and one that
        // was wrong must not have made a ticket that lasts for years.
        let age_s = now_s.abs_diff(u64::from_be_bytes(*made_s));
        (age_s < u64::from(LIFETIME_S)).then(|| plain.to_vec())
    }
}

impl Key {
    fn derive(root: &[u8], binding: Binding) -> Option<Self> {
        let mode = match binding.client_certificates {
            ClientCertificates::Off => [0],
            ClientCertificates::Optional => [1],
            ClientCertificates::Required => [2],
        };
        let shared = Salt::new(HKDF_SHA256, LABEL).extract(root);
        let info: [&[u8]; 3] = [b"listener", &mode, &binding.authorities];
        let listener = Prk::from(shared.expand(&info, HKDF_SHA256).ok()?);
        let mut name = [0; NAME_BYTES];
        listener.expand(&[b"name"], NameLength).ok()?.fill(&mut name).ok()?;
        Some(Self { name, listener })
    }

    /// The key of the ticket with this salt.
    fn of_ticket(&self, salt: &[u8]) -> Option<LessSafeKey> {
        let info = [b"ticket".as_slice(), salt];
        let key = self.listener.expand(&info, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(key)))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Tickets {
    /// By these keys. `clock` tells the date.
    pub(super) fn new(keys: Keys, clock: Arc<dyn TimeProvider>) -> Self {
        Self { current: ArcSwap::from_pointee(keys), clock }
    }

    /// Goes by these keys from now on.
    pub(super) fn replace(&self, keys: Keys) {
        self.current.store(Arc::new(keys));
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME_S
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.current.load().make(plain, self.clock.current_time()?.as_secs())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.current.load().accept(ticket, self.clock.current_time()?.as_secs())
    }
}

/// The length of a name, for HKDF-Expand.
#[derive(Clone, Copy, Debug)]
struct NameLength;

impl KeyType for NameLength {
    fn len(&self) -> usize {
        NAME_BYTES
    }
}

/// Each ticket has a key of its own, which seals nothing else.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

const LABEL: &[u8] = b"tidegate session tickets 2";
const NAME_BYTES: usize = 16;
const SALT_BYTES: usize = 32;
const HEAD_BYTES: usize = NAME_BYTES + SALT_BYTES;
const DATE_BYTES: usize = size_of::<u64>();
/// For how long a ticket is accepted, and a random secret accepts tickets at most (RFC 8446 section
/// 4.6.1 allows a week).
const LIFETIME_S: u32 = 24 * 3600;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::certificates::ROTATION_MS;
    use crate::timer::Millis;

    const NOW_S: u64 = 1_800_000_000;

    const OFF: Binding =
        Binding { client_certificates: ClientCertificates::Off, authorities: [0; 32] };

    fn roots(seed: u8) -> TicketRoots {
        let bytes: Vec<u8> = (0..32).map(|at| at ^ seed).collect();
        TicketRoots::from_file(&bytes).unwrap()
    }

    fn keys(seed: u8, binding: Binding) -> Keys {
        Keys::derive(&roots(seed), binding)
    }

    proptest! {
        #[test]
        fn a_ticket_is_accepted_by_its_keys_alone_and_only_whole(
            plain in prop::collection::vec(any::<u8>(), 0..300),
            at: prop::sample::Index,
            bit in 0_u8..8,
        ) {
            let ticket = keys(1, OFF).make(&plain, NOW_S).unwrap();
            prop_assert_eq!(ticket.len(), plain.len() + 72);
            prop_assert_eq!(keys(1, OFF).accept(&ticket, NOW_S), Some(plain));
            let required = ClientCertificates::Required;
            for other in [
                keys(2, OFF),
                keys(1, Binding { client_certificates: required, ..OFF }),
                keys(1, Binding { authorities: [1; 32], ..OFF }),
            ] {
                prop_assert_eq!(other.accept(&ticket, NOW_S), None);
            }
            let mut changed = ticket.clone();
            changed[at.index(ticket.len())] ^= 1 << bit;
            prop_assert_eq!(keys(1, OFF).accept(&changed, NOW_S), None);
            prop_assert_eq!(keys(1, OFF).accept(&ticket[..at.index(ticket.len())], NOW_S), None);
        }

        #[test]
        fn noise_is_no_ticket(
            mut noise in prop::collection::vec(any::<u8>(), 0..300),
            begins_as_one: bool,
        ) {
            let keys = keys(1, OFF);
            if let Some(name) = noise.get_mut(..NAME_BYTES).filter(|_| begins_as_one) {
                name.copy_from_slice(&keys.keys[0].name);
            }
            prop_assert_eq!(keys.accept(&noise, NOW_S), None);
        }
    }

    #[test]
    fn tickets_are_accepted_until_their_secret_is_replaced_twice() {
        let mut roots = TicketRoots::random(Millis(0)).unwrap();
        let clock = Arc::new(rustls::time_provider::DefaultTimeProvider);
        let tickets = Tickets::new(Keys::derive(&roots, OFF), clock);
        let ticket = tickets.encrypt(b"session").unwrap();
        for (rotations, is_accepted) in [(1, true), (2, false)] {
            assert_eq!(roots.rotate(Millis(rotations * ROTATION_MS)), Ok(true));
            tickets.replace(Keys::derive(&roots, OFF));
            let accepted = tickets.decrypt(&ticket);
            assert_eq!(accepted, is_accepted.then(|| b"session".to_vec()), "{rotations}");
        }
    }

    #[test]
    fn a_ticket_ends_by_its_own_date_whatever_its_keys_do() {
        let lifetime_s = u64::from(LIFETIME_S);
        let ticket = keys(1, OFF).make(b"session", NOW_S).unwrap();
        for (now_s, is_accepted) in [
            (NOW_S + lifetime_s - 1, true),
            (NOW_S + lifetime_s, false),
            (u64::MAX, false),
            // Of a process whose clock goes ahead.
            (NOW_S - 60, true),
            (NOW_S - lifetime_s, false),
        ] {
            let accepted = keys(1, OFF).accept(&ticket, now_s);
            assert_eq!(accepted, is_accepted.then(|| b"session".to_vec()), "{now_s}");
        }
    }
}
