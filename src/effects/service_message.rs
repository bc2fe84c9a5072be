//! What an instance of a service tells a sibling on another loop.

use std::any::Any;
use std::fmt;

/// Any value, on its way to another instance of the service or from a thread that works for it, and
/// how many bytes of memory it holds: mailboxes are bounded in bytes.
pub struct ServiceMessage {
    value: Box<dyn Any + Send>,
    bytes: usize,
}

impl ServiceMessage {
    /// A message that holds `held_bytes` on the heap beside its own size, such as the length of a
    /// text in it.
    #[must_use]
    pub fn holding<T: Any + Send>(value: T, held_bytes: usize) -> Self {
        Self { value: Box::new(value), bytes: size_of::<T>() + held_bytes }
    }

    /// The value, if it is a `T`.
    ///
    /// # Errors
    /// The message itself, if it is something else.
    pub fn downcast<T: Any>(self) -> Result<Box<T>, Self> {
        let Self { value, bytes } = self;
        value.downcast().map_err(|value| Self { value, bytes })
    }

    /// Bytes of memory that it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// A value that holds nothing on the heap worth counting.
impl<T: Any + Send> From<Box<T>> for ServiceMessage {
    fn from(value: Box<T>) -> Self {
        Self { value, bytes: size_of::<T>() }
    }
}

impl fmt::Debug for ServiceMessage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ServiceMessage").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
