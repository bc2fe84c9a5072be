//! The secrets that the keys of session tickets are derived from: random ones that are replaced in
//! time, or those of a file that several processes share.

use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::error::CertificateError;
use crate::timer::Millis;

/// The secrets that keys of tickets are derived from. The first one makes tickets, all accept them.
#[derive(Clone)]
pub struct TicketRoots {
    roots: Vec<Root>,
    /// When the newest of random ones was made; `None` for those of a file.
    made: Option<Millis>,
}

type Root = Zeroizing<[u8; ROOT_BYTES]>;

impl TicketRoots {
    /// A random one, to be replaced in time.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn random(now: Millis) -> Result<Self, CertificateError> {
        Ok(Self { roots: vec![random_root()?], made: Some(now) })
    }

    /// Those of a file: 1 to 16 secrets of 32 random bytes each, one behind the other.
    ///
    /// # Errors
    /// If the file has another length, or the same secret twice.
    pub fn from_file(bytes: &[u8]) -> Result<Self, CertificateError> {
        let (chunks, rest) = bytes.as_chunks::<ROOT_BYTES>();
        if !rest.is_empty() || !(1..=ROOTS_MAX).contains(&chunks.len()) {
            return Err(CertificateError::TicketKeys(bytes.len()));
        }
        let is_repeated = (1..chunks.len()).any(|at| chunks[..at].contains(&chunks[at]));
        let is_constant = chunks.iter().any(|chunk| chunk.iter().all(|byte| *byte == chunk[0]));
        if is_repeated || is_constant {
            return Err(CertificateError::RepeatedTicketKey);
        }
        Ok(Self { roots: chunks.iter().copied().map(Zeroizing::new).collect(), made: None })
    }

    /// Replaces the random secret that makes tickets if it is [`ROTATION_MS`] old; the last one goes on
    /// to accept them for as long. Returns whether it did. Those of a file stay.
    ///
    /// # Errors
    /// If the system gives no random bytes; then all stays as it was.
    pub fn rotate(&mut self, now: Millis) -> Result<bool, CertificateError> {
        let Some(made) = self.made.filter(|made| now.since(*made) >= ROTATION_MS) else {
            return Ok(false);
        };
        self.roots.insert(0, random_root()?);
        // After a long sleep of the machine the last one is too old as well.
        let is_last_kept = now.since(made) < 2 * ROTATION_MS;
        self.roots.truncate(if is_last_kept { 2 } else { 1 });
        self.made = Some(now);
        Ok(true)
    }

    /// Each secret, the one that makes tickets first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8; ROOT_BYTES]> {
        self.roots.iter().map(|root| &**root)
    }
}

impl std::fmt::Debug for TicketRoots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { roots, made } = self;
        f.debug_struct("TicketRoots").field("count", &roots.len()).field("made", made).finish()
    }
}

fn random_root() -> Result<Root, CertificateError> {
    let mut root = Zeroizing::new([0; ROOT_BYTES]);
    SystemRandom::new().fill(&mut *root).map_err(|_| CertificateError::Random)?;
    Ok(root)
}

/// How long a random secret makes tickets, in milliseconds. It accepts them for twice as long, which is
/// how long sessions are resumed for at most.
pub const ROTATION_MS: u64 = 12 * 3_600_000;
const ROOT_BYTES: usize = 32;
const ROOTS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(roots: &TicketRoots) -> Vec<[u8; ROOT_BYTES]> {
        roots.iter().copied().collect()
    }

    #[test]
    fn random_secrets_are_replaced_in_time_and_the_last_one_stays_a_while() {
        let mut roots = TicketRoots::random(Millis(5)).unwrap();
        let first = bytes(&roots);
        assert_eq!(roots.rotate(Millis(ROTATION_MS)), Ok(false));
        assert_eq!(bytes(&roots), first);
        assert_eq!(roots.rotate(Millis(5 + ROTATION_MS)), Ok(true));
        let second = bytes(&roots);
        assert_eq!((second.len(), second[1]), (2, first[0]));
        assert_eq!(roots.rotate(Millis(5 + 2 * ROTATION_MS)), Ok(true));
        let third = bytes(&roots);
        assert_eq!((third.len(), third[1]), (2, second[0]));
        assert_eq!(roots.rotate(Millis(5 + 4 * ROTATION_MS)), Ok(true));
        assert_eq!(bytes(&roots).len(), 1, "the last one was used for too long");
        assert!(!format!("{roots:?}").contains(&format!("{:?}", bytes(&roots)[0][0..4].to_vec())));
    }

    #[test]
    fn a_file_holds_whole_secrets_that_differ_and_stay() {
        let file: Vec<u8> = (0..=255).collect();
        for length in [0, 1, 31, 33, 63] {
            let error = TicketRoots::from_file(&file[..length]).unwrap_err();
            assert_eq!(error, CertificateError::TicketKeys(length));
        }
        let many: Vec<u8> = (0..17 * 32_u32).flat_map(u32::to_be_bytes).take(17 * 32).collect();
        assert_eq!(TicketRoots::from_file(&many).unwrap_err(), CertificateError::TicketKeys(544));
        assert_eq!(TicketRoots::from_file(&many[..512]).unwrap().iter().count(), 16);
        for bad in [[0; 64].to_vec(), [&file[..32], &file[..32]].concat()] {
            let error = TicketRoots::from_file(&bad).unwrap_err();
            assert_eq!(error, CertificateError::RepeatedTicketKey);
        }
        let mut roots = TicketRoots::from_file(&file[..64]).unwrap();
        assert_eq!(bytes(&roots).concat(), file[..64]);
        assert_eq!(roots.rotate(Millis(u64::MAX)), Ok(false));
    }
}
