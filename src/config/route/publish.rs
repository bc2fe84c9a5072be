//! The options of services that publish to members: `broadcast` and `room`.

use crate::config::declare::{keys, one_of, words};
use crate::services::Order;

keys! {
    /// The options of services that publish to members.
    "route." pub(in crate::config) struct PublishOptions {
        /// Whether all members see one order, or only each sender's messages in their order.
        pub(in crate::config) order: Order {
            default: Order::Topic,
            rule: one_of::<Order>(),
            reload: true,
        }
    }
}

words! { Order: "room" = Topic, "sender" = Sender }
