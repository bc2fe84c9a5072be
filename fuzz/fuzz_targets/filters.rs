//! Filters of members by GRIP: whatever a publication and a member say, a text is changed as its directives
//! say, grows no further than it may, and one without directives is not changed.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use tidegate::events::filter::{Filter, Member, Meta, Published, filtered};

// The first byte selects filters, and lines the rest: the content is the last.
fuzz_target!(|data: &[u8]| {
    let (selected, rest) = data.split_first().unwrap_or((&0, &[]));
    let mut lines = rest.split(|byte| *byte == b'\n');
    let content = lines.next_back().unwrap_or_default();
    let mut text = || String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let names = ["skip-self", "skip-users", "require-sub", "build-id", "var-subst"];
    let filters: Vec<Filter> = (0..names.len())
        .filter(|number| selected >> number & 1 == 1)
        .map(|number| Filter::of_name(names[number]).unwrap())
        .collect();
    let channel = text();
    let channels: Vec<Arc<str>> = vec![channel.as_str().into(), text().into()];
    let own = ["user", "id_format", "id_encoding", "name"];
    let meta: Vec<(Box<str>, Box<str>)> =
        own.iter().map(|name| (Box::from(*name), text().into())).collect();
    let said = ["sender", "skip_users", "require_sub"];
    let said = Meta::new(said.iter().map(|name| (Box::from(*name), text().into())).collect());
    let id = text();

    let member = Member { meta: &meta, channels: &channels };
    let published = Published { channel: &channel, id: Some(&id), meta: &said };
    let all = filtered(&filters, member, published, content);
    assert!(all.is_none_or(|own| own.len() <= (2 << 20) + data.len()));

    // A text whose every % stands for itself is the text.
    let escaped: Vec<u8> = content
        .iter()
        .flat_map(|byte| if *byte == b'%' { vec![b'%'; 2] } else { vec![*byte] })
        .collect();
    let same = filtered(&[Filter::VarSubst], member, published, &escaped);
    assert_eq!(same.as_deref(), Some(content));
});
