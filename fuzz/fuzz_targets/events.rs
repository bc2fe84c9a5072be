//! Bodies of events that a backend sends: whatever they are, a conversation takes or refuses them, what
//! was read is written the same, and the end is told once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::events::grip::{Control, Grip};
use tidegate::events::publish::parse_items;
use tidegate::events::{
    ClientEvent, Conversation, ConversationLimits, End, Events, ReplyFacts, encode_event,
};

const LIMITS: ConversationLimits =
    ConversationLimits { waiting_bytes_max: 64, waiting_messages_max: 4, meta_bytes_max: 64 };

fuzz_target!(|data: &[u8]| {
    let events: Vec<_> = Events::of(data).collect();
    if let Ok(events) = events.into_iter().collect::<Result<Vec<_>, _>>() {
        let mut written = Vec::new();
        for event in &events {
            encode_event(&mut written, event.kind, event.content);
        }
        let again: Vec<_> = Events::of(&written).map(|event| event.unwrap()).collect();
        assert_eq!(events, again);
    }
    let _ = parse_items(data);
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = (Control::parse(text), Grip::parse(text));
    }

    // The first byte is what the headers of the replies say, and the rest is their bodies.
    let (first, rest) = data.split_first().unwrap_or((&0, &[]));
    let mut own = Conversation::new(LIMITS);
    for body in rest.split(|byte| *byte == b'|') {
        own.message(ClientEvent::Text, b"abc");
        if own.next_request().is_none() {
            break;
        }
        let facts = ReplyFacts {
            accepted_bytes: (first & 1 > 0).then_some(usize::from(first >> 4)),
            keep_alive_s: (first & 2 > 0).then_some(20),
            grip: (first & 4 > 0).then(|| Grip::parse("grip")).flatten(),
            ..ReplyFacts::default()
        };
        let _ = own.replied(facts, body);
    }
    own.end(End::Gone);
    if own.next_request().is_some() {
        let _ = own.replied(ReplyFacts::default(), b"");
    }
    assert!(own.has_ended() && own.held_bytes() == 0);
});
