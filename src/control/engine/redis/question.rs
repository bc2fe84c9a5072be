//! Questions of the gateway that wait for an answer of Redis, and what is told then.

use redis::Value;

use super::reply::{Malformed, batch, positions, published};
use crate::channels::Position;
use crate::channels::remote::{BrokerError, BrokerEvent, Span};

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// To publish, by the script.
    Publish(u64),
    /// To publish what is not kept, without the script.
    PublishUnkept(u64),
    /// To read.
    Read { number: u64, span: Span, size: usize },
    /// To forget what is kept.
    Remove(u64),
    /// Where some of the channels of a question are, which stand there at these indexes.
    Positions { number: u64, indexes: Vec<usize> },
}

/// What is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// All of it.
    Event(BrokerEvent),
    /// Positions for these indexes of a question.
    Positions { number: u64, indexes: Vec<usize>, found: Result<Vec<Position>, BrokerError> },
}

impl Question {
    /// Takes a reply that is no error. `own` makes a position of a stored one.
    pub(super) fn answered(
        self,
        value: Value,
        own: impl Fn(Position) -> Position,
    ) -> Result<Answer, Malformed> {
        let event = match self {
            Self::Publish(number) => {
                BrokerEvent::Published(number, Ok(published(&value)?.map(own)))
            }
            Self::PublishUnkept(number) => BrokerEvent::Published(number, Ok(None)),
            Self::Read { number, span, size } => {
                let mut batch = batch(value, span, size)?;
                batch.position = own(batch.position);
                BrokerEvent::Read(number, Ok(batch))
            }
            Self::Remove(number) => BrokerEvent::Removed(number, Ok(())),
            Self::Positions { number, indexes } => {
                let found: Vec<Position> = positions(value)?.into_iter().map(own).collect();
                if found.len() != indexes.len() {
                    return Err(Malformed);
                }
                return Ok(Answer::Positions { number, indexes, found: Ok(found) });
            }
        };
        Ok(Answer::Event(event))
    }

    /// What is told where Redis has done nothing.
    pub(super) fn refused(self) -> Answer {
        let why = BrokerError::Refused;
        Answer::Event(match self {
            Self::Publish(number) | Self::PublishUnkept(number) => {
                BrokerEvent::Published(number, Err(why))
            }
            Self::Read { number, .. } => BrokerEvent::Read(number, Err(why)),
            Self::Remove(number) => BrokerEvent::Removed(number, Err(why)),
            Self::Positions { number, indexes } => {
                return Answer::Positions { number, indexes, found: Err(why) };
            }
        })
    }
}
