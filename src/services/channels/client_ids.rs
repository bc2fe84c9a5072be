//! Names of connections that cannot be foreseen: what knows one may speak about the connection to a backend.

use ring::rand::{SecureRandom as _, SystemRandom};

use crate::channels::ClientId;

/// Gives names of connections, from the kernel's generator (getrandom(2)), many at a time.
#[derive(Debug, Default)]
pub(super) struct ClientIds {
    random: Vec<[u8; 16]>,
}

impl ClientIds {
    /// A name that no connection had; `None` if the kernel gives none.
    pub(super) fn next(&mut self) -> Option<ClientId> {
        if self.random.is_empty() {
            let mut random = vec![[0; 16]; AT_ONCE];
            SystemRandom::new().fill(random.as_flattened_mut()).ok()?;
            self.random = random;
        }
        self.random.pop().map(ClientId::new)
    }

    /// A number that cannot be foreseen, for the epochs of a loop.
    pub(super) fn number() -> u32 {
        let mut bytes = [0; 4];
        // Without randomness an epoch repeats after a restart, as if none had been.
        let _ = SystemRandom::new().fill(&mut bytes);
        u32::from_ne_bytes(bytes)
    }
}

/// One call of the kernel for this number of connections costs next to nothing.
const AT_ONCE: usize = 64;
