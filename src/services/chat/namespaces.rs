//! The channels of the chat, and what each allows.

use crate::channels::{Namespace, Who};

/// The options of the channels that the chat uses, whose names begin with these:
///
/// | channel | what it is |
/// |---|---|
/// | `chat-global:all` | the conversation of all who are logged in |
/// | `chat-group:NAME` | a group; who knows its name enters, and `NAME` is percent-encoded |
/// | `chat-dialog:#USER,USER` | the conversation of two |
/// | `chat-inbox:#USER` | tells a user that another has begun such a conversation; all may publish, one reads |
/// | `chat-list:groups` | tells which groups there are |
///
/// Everything is kept for a week, and lost with the process.
#[must_use]
pub fn chat_namespaces() -> Vec<Namespace> {
    let (all, members) = (clients(), subscribers());
    let kept = |name: &str| Namespace {
        history_size: HISTORY_SIZE,
        history_ttl_ms: HISTORY_TTL_MS,
        force_recovery: true,
        see_history: members,
        ..Namespace::new(name)
    };
    let conversation = |name: &str| Namespace {
        presence: true,
        publish: members,
        see_presence: members,
        ..kept(name)
    };
    vec![
        // Without joins and leaves: among n who come, they are n² messages.
        Namespace { subscribe: all, ..conversation("chat-global") },
        Namespace { subscribe: all, join_leave: true, ..conversation("chat-group") },
        Namespace {
            allow_user_limited_channels: true,
            join_leave: true,
            ..conversation("chat-dialog")
        },
        Namespace {
            allow_user_limited_channels: true,
            publish: all,
            history_size: NEWS_SIZE,
            ..kept("chat-inbox")
        },
        Namespace { subscribe: all, publish: all, history_size: NEWS_SIZE, ..kept("chat-list") },
    ]
}

fn clients() -> Who {
    Who { clients: true, ..Who::default() }
}

fn subscribers() -> Who {
    Who { subscribers: true, ..Who::default() }
}

/// Messages of each conversation.
const HISTORY_SIZE: usize = 1000;
/// What is told of groups, and of conversations of two.
const NEWS_SIZE: usize = 100;
const HISTORY_TTL_MS: u64 = 7 * 24 * 3600 * 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_of_a_dialog_get_in() {
        let all = chat_namespaces();
        for own in &all {
            assert!(own.recovers(false), "{}: what is missed comes later", own.name);
            assert!(!own.see_history.allows(true, false), "{}: members only", own.name);
            assert!(!own.subscribe.anonymous && !own.publish.anonymous, "{}", own.name);
            let is_closed = matches!(&*own.name, "chat-dialog" | "chat-inbox");
            assert_eq!(own.subscribe.clients, !is_closed, "{}", own.name);
            assert_eq!(own.allow_user_limited_channels, is_closed, "{}", own.name);
        }
        let dialog = all.iter().find(|own| own.name == "chat-dialog").unwrap();
        assert!(!dialog.publish.allows(true, false) && dialog.publish.allows(true, true));
    }
}
