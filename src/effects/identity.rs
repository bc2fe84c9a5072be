//! Who a connection is, as far as its credential has proven it.

use std::sync::Arc;

use thiserror::Error;

use super::rights::{Rights, RoomGrants};
use crate::http::ResponseHeader;
use crate::timer::WallTime;

/// Who a connection is, and what follows from that. Without more it holds for any time, with every right
/// in every room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    name: Arc<str>,
    user: Arc<str>,
    /// [`NEVER`] where it holds for any time.
    expires_at: WallTime,
    rights: Rights,
    /// What few identities have, so that the others do not keep room for it.
    details: Option<Box<Details>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Details {
    info: Option<Box<str>>,
    rooms: Option<RoomGrants>,
    headers: Vec<ResponseHeader>,
}

/// A text cannot be the name of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a user must be 1 to {USER_BYTES_MAX} bytes without control characters")]
pub struct InvalidUser;

impl Identity {
    /// The identity of `user`, proven to the `[[identity]]` called `name`.
    ///
    /// # Errors
    /// [`InvalidUser`] if the user is empty, too long, or holds control characters.
    pub fn new(name: &Arc<str>, user: &str) -> Result<Self, InvalidUser> {
        if user.is_empty() || user.len() > USER_BYTES_MAX || user.chars().any(char::is_control) {
            return Err(InvalidUser);
        }
        Ok(Self {
            name: Arc::clone(name),
            user: user.into(),
            expires_at: NEVER,
            rights: Rights::ALL,
            details: None,
        })
    }

    /// The same until this date, at which its connection is closed.
    #[must_use]
    pub fn until(self, expires_at: WallTime) -> Self {
        Self { expires_at, ..self }
    }

    /// The same with these rights, in every room for which [`Identity::in_rooms`] does not name others.
    #[must_use]
    pub fn with_rights(self, rights: Rights) -> Self {
        Self { rights, ..self }
    }

    /// The same for these rooms only.
    #[must_use]
    pub fn in_rooms(mut self, rooms: RoomGrants) -> Self {
        self.details().rooms = Some(rooms);
        self
    }

    /// The same with what its issuer says of the user, as JSON text of at most [`INFO_BYTES_MAX`] bytes.
    #[must_use]
    pub fn with_info(mut self, info: impl Into<Box<str>>) -> Self {
        self.details().info = Some(info.into());
        self
    }

    /// The same with headers for the reply 101, such as `Set-Cookie`.
    #[must_use]
    pub fn with_headers(mut self, headers: Vec<ResponseHeader>) -> Self {
        self.details().headers = headers;
        self
    }

    /// The name of the `[[identity]]` that it was proven to.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The user: 1 to [`USER_BYTES_MAX`] bytes without control characters.
    #[must_use]
    pub fn user(&self) -> &Arc<str> {
        &self.user
    }

    /// The date from which on it no longer holds, if there is one.
    #[must_use]
    pub fn expires_at(&self) -> Option<WallTime> {
        (self.expires_at != NEVER).then_some(self.expires_at)
    }

    /// What its issuer says of the user, as JSON text.
    #[must_use]
    pub fn info(&self) -> Option<&str> {
        self.details.as_ref()?.info.as_deref()
    }

    /// What the user may do in `room`; `None` if it may not enter.
    #[must_use]
    pub fn rights_in(&self, room: &str) -> Option<Rights> {
        match self.details.as_ref().and_then(|details| details.rooms.as_ref()) {
            Some(grants) => grants.rights_in(room, self.rights),
            None => Some(self.rights),
        }
    }

    /// Moves the date of its expiry.
    pub(crate) fn set_expiry(&mut self, expires_at: WallTime) {
        self.expires_at = expires_at;
    }

    /// The headers for the reply 101, which are needed once.
    pub(crate) fn take_headers(&mut self) -> Vec<ResponseHeader> {
        let Some(details) = &mut self.details else { return Vec::new() };
        let headers = std::mem::take(&mut details.headers);
        if **details == Details::default() {
            self.details = None;
        }
        headers
    }

    /// Bytes on the heap, without the name, which all connections of an `[[identity]]` share.
    pub(crate) fn held_bytes(&self) -> usize {
        let details = self.details.as_ref().map_or(0, |details| details.held_bytes());
        self.user.len() + COUNTS_BYTES + BLOCK_BYTES + details
    }

    fn details(&mut self) -> &mut Details {
        self.details.get_or_insert_default()
    }
}

impl Details {
    fn held_bytes(&self) -> usize {
        let info = self.info.as_ref().map_or(0, |info| info.len() + BLOCK_BYTES);
        let rooms = self.rooms.as_ref().map_or(0, |rooms| rooms.held_bytes() + BLOCK_BYTES);
        size_of::<Self>() + BLOCK_BYTES + info + rooms
    }
}

/// Later than any date that an issuer means.
const NEVER: WallTime = WallTime(u64::MAX);
/// The longest name of a user, in bytes.
pub const USER_BYTES_MAX: usize = 256;
/// The longest [`Identity::info`], in bytes.
pub const INFO_BYTES_MAX: usize = 4096;
/// What the allocator needs for a block beside its bytes.
const BLOCK_BYTES: usize = 16;
/// The two counts of an `Arc`.
const COUNTS_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(user: &str) -> Result<Identity, InvalidUser> {
        Identity::new(&"users".into(), user)
    }

    #[test]
    fn a_user_is_short_and_one_line() {
        for user in ["a", "ann@example.com", "张三", &"x".repeat(USER_BYTES_MAX)] {
            assert_eq!(&**identity(user).unwrap().user(), user);
        }
        for user in ["", "a\nb", "\u{1b}[31m", &"x".repeat(USER_BYTES_MAX + 1)] {
            assert_eq!(identity(user), Err(InvalidUser), "{user:?}");
        }
    }

    #[test]
    fn what_is_needed_once_is_not_kept() {
        assert_eq!(size_of::<Identity>(), 56);
        let plain = identity("ann").unwrap();
        let header = ResponseHeader::new("X-A", "1").unwrap();
        let mut own = plain.clone().with_headers(vec![header.clone()]);
        assert_eq!(own.take_headers(), [header]);
        assert_eq!((own.take_headers(), own), (vec![], plain));
    }

    #[test]
    fn rooms_bound_the_rights() {
        let own = identity("ann").unwrap().with_rights(Rights::READ);
        assert_eq!(own.rights_in("any"), Some(Rights::READ));
        let rooms = RoomGrants::new([("a", None), ("b", Some(Rights::ALL))]).unwrap();
        let own = own.in_rooms(rooms);
        let rights = ["a", "b", "c"].map(|room| own.rights_in(room));
        assert_eq!(rights, [Some(Rights::READ), Some(Rights::ALL), None]);
        assert_eq!((own.expires_at(), own.info()), (None, None));
    }
}
