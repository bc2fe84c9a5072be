use proptest::prelude::*;

use super::*;
use crate::config::{SECTIONS, arbitrary};

fn parse(text: &str) -> Config {
    Config::from_toml(text, "test.toml").unwrap()
}

fn lines(changes: &[KeyChange]) -> Vec<String> {
    changes.iter().map(ToString::to_string).collect()
}

#[test]
fn only_single_tables_have_keys_that_need_a_restart() {
    // `kept_from` looks at no others.
    let lists = SECTIONS.iter().filter(|section| section.is_array);
    for key in lists.flat_map(|section| section.keys()) {
        assert!(key.reloadable, "{}", key.name);
    }
}

#[test]
fn a_change_is_named_with_both_values() {
    let old = parse(
        "loops = 1\n[limits]\nhead_bytes_max = 1024\n[[route]]\npath = \"/a\"\nservice = \"echo\"\n",
    );
    let new = parse(
        "loops = 2\n[limits]\nhead_bytes_max = 2048\n[[route]]\npath = \"/b\"\nservice = \"room\"\n\
         [[route]]\npath = \"/a\"\nservice = \"echo\"\nslow_policy = \"keep_latest\"\n",
    );
    let changes = old.changes_to(&new);
    assert_eq!(
        lines(&changes.applied),
        [
            "limits.head_bytes_max changes from 1024 to 2048",
            "route[0] is added: room /b",
            "route[1].slow_policy changes from \"disconnect\" to \"keep_latest\"",
        ]
    );
    assert_eq!(lines(&changes.needs_restart), ["loops changes from 1 to 2"]);
    assert_eq!(
        lines(&new.changes_to(&old).applied)[1..],
        [
            "route[0].slow_policy changes from \"keep_latest\" to \"disconnect\"",
            "route[0] is removed: room /b"
        ]
    );
}

#[test]
fn the_order_of_routes_is_a_change_of_its_own() {
    let route = |path: &str| format!("[[route]]\npath = \"{path}\"\nservice = \"room\"\n");
    let routes = [route("/:room"), route("/b")];
    let (old, new) = (parse(&routes.concat()), parse(&[&*routes[1], &*routes[0]].concat()));
    let line = "route changes from room /:room, room /b to room /b, room /:room";
    assert_eq!(lines(&old.changes_to(&new).applied), [line]);
}

#[test]
fn a_secret_that_changes_is_named_and_not_shown() {
    let tokens = |tokens: &str| {
        parse(&format!("[[identity]]\nname = \"a\"\nkind = \"tokens\"\ntokens = [{tokens}]\n"))
    };
    let bob = "{ name = \"bob\", token = \"one\" }";
    let (old, new) = (tokens(bob), tokens("{ name = \"bob\", token = \"two\" }"));
    assert_eq!(lines(&old.changes_to(&new).applied), ["identity[0].tokens[0].token has changed"]);
    let more = tokens(&format!("{{ name = \"张三\", token = \"x\" }}, {bob}"));
    assert_eq!(lines(&old.changes_to(&more).applied), ["identity[0].tokens[0] is added: 张三"]);
}

#[test]
fn listeners_without_a_port_are_told_apart_by_their_order() {
    let listener = "[[listener]]\naddress = \"127.0.0.1:0\"\n";
    let (one, two) = (parse(listener), parse(&listener.repeat(2)));
    assert_eq!(lines(&one.changes_to(&two).applied), ["listener[1] is added: 127.0.0.1:0"]);
    assert_eq!(lines(&two.changes_to(&one).applied), ["listener[1] is removed: 127.0.0.1:0"]);
}

#[test]
fn what_an_option_makes_idle_is_no_change_by_itself() {
    let route = |more: &str| parse(&format!("[[route]]\npath = \"/\"\nservice = \"echo\"\n{more}"));
    let changes = route("").changes_to(&route("deflate = false\n"));
    assert_eq!(lines(&changes.applied), ["route[0].deflate changes from true to false"]);
}

/// Two configurations of which one may be the other with some of its parts.
fn pair() -> impl Strategy<Value = (Config, Config)> {
    (arbitrary::config(), arbitrary::config(), any::<[bool; 10]>()).prop_map(
        |(old, other, takes)| {
            let mut new = old.clone();
            macro_rules! take {
            ($($at:literal $part:ident)+) => {
                $(if takes[$at] { new.$part = other.$part.clone(); })+
            };
        }
            take!(0 process 1 listeners 2 certificates 3 tls 4 limits 5 timeouts 6 turn 7 socket
              8 routes 9 identities);
            (old, new)
        },
    )
}

proptest! {
    #[test]
    fn there_are_changes_unless_configurations_are_the_same((old, new) in pair()) {
        prop_assert!(old.changes_to(&old).is_empty());
        prop_assert_eq!(old.changes_to(&new).is_empty(), old == new);
    }

    #[test]
    fn a_reload_changes_what_it_can_and_nothing_else((old, new) in pair()) {
        let changes = old.changes_to(&new);
        let merged = new.clone().kept_from(&old);
        let applied = Changes { needs_restart: Vec::new(), ..changes.clone() };
        prop_assert_eq!(old.changes_to(&merged), applied);
        let left = Changes { applied: Vec::new(), ..changes };
        prop_assert_eq!(merged.changes_to(&new), left);
        // What stays is said again at each reload until the process is started again.
        prop_assert_eq!(new.kept_from(&merged), merged);
    }

    #[test]
    fn no_secret_is_shown((old, new) in pair()) {
        let Changes { applied, needs_restart } = old.changes_to(&new);
        for change in applied.iter().chain(&needs_restart) {
            let text = format!("{change} {change:?}");
            prop_assert!(!text.contains(arbitrary::SECRET));
        }
    }
}
