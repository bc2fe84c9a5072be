//! What other gateways say of themselves, ask, and answer, each a line: whatever it is, it is heard or left alone; what
//! is no call is refused, and what is no answer has no part in the result.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::channels::remote::{Asked, NodeId, Nodes};
use tidegate::control::admin::gather_answers;
use tidegate::timer::Millis;

fuzz_target!(|data: &[u8]| {
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let mut nodes = Nodes::new(NodeId { number: 1, name: "own".into() });
    let (mut commands, mut events) = (Vec::new(), Vec::new());
    nodes.set_up(true, Millis(0), &mut commands, &mut events);
    for line in &lines {
        nodes.ask((String::new(), Asked::All), Millis(0), &mut commands, &mut events);
        nodes.on_told(line, Millis(0), &mut commands, &mut events);
        assert!(nodes.count() <= lines.len() + 1);
    }
    assert!(nodes.others().iter().all(|own| own.number != 1 && own.name.len() <= 80));

    let texts: Vec<&str> = lines.iter().filter_map(|line| std::str::from_utf8(line).ok()).collect();
    let Some((call, answers)) = texts.split_first() else { return };
    for call in [*call, r#"{"call":"rooms"}"#, CONNECTIONS, CLOSE] {
        let Some((written, answer)) = gather_answers(call, answers) else { continue };
        assert_eq!(gather_answers(&written, answers), Some((written, answer.clone())));
        let count = |of: &str| answer[of].as_array().map_or(0, Vec::len);
        assert_eq!(count("nodes") + count("missing"), answers.len());
    }
});

const CONNECTIONS: &str = r#"{"call":"connections","conditions":{},"limit":1,"from":null}"#;
const CLOSE: &str = r#"{"call":"close","conditions":{},"code":1000,"reason":""}"#;
