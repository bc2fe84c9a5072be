use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;

const BOTH: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

fn answer(lines: &[&str]) -> Option<String> {
    answer_within(None, lines)
}

fn answer_within(context_bits: Option<u8>, lines: &[&str]) -> Option<String> {
    let lines = lines.iter().map(|line| line.as_bytes());
    accept_deflate(lines, context_bits).map(|deflate| deflate.to_string())
}

#[test]
fn offers_of_browsers_and_libraries_are_accepted() {
    for offer in [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate;client_max_window_bits=15",
        "Permessage-Deflate ; Client_Max_Window_Bits = \"8\"",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        "x-webkit-deflate-frame, permessage-deflate",
        "other; a=\"permessage-deflate, x\"; b, permessage-deflate",
    ] {
        assert_eq!(answer(&[offer]).as_deref(), Some(BOTH), "{offer}");
    }
}

#[test]
fn a_requested_window_is_named_in_the_answer() {
    for bits in 9..=15 {
        for written in [format!("{bits}"), format!("\"{bits}\""), format!("\"\\{bits}\"")] {
            let offer = format!("permessage-deflate; server_max_window_bits={written}");
            let named = format!("{BOTH}; server_max_window_bits={bits}");
            assert_eq!(answer(&[&offer]), Some(named), "{offer}");
        }
    }
}

#[test]
fn an_invalid_offer_is_declined_and_the_next_one_tried() {
    for parameters in [
        "server_max_window_bits",
        "server_max_window_bits=",
        "server_max_window_bits=8",
        "server_max_window_bits=16",
        "server_max_window_bits=09",
        "server_max_window_bits=+9",
        "server_max_window_bits=9x",
        "server_max_window_bits=100",
        "server_max_window_bits=1 0",
        "server_max_window_bits=10=10",
        "server_max_window_bits=\"10",
        "server_max_window_bits=\"10\\\"",
        "server_max_window_bits=\"1\"0\"",
        "server_max_window_bits=\"\"",
        "server_max_window_bits=10; server_max_window_bits=10",
        "client_max_window_bits=7",
        "client_max_window_bits=0",
        "client_max_window_bits; client_max_window_bits=9",
        "client_no_context_takeover=1",
        "server_no_context_takeover=\"true\"",
        "server_no_context_takeover; server_no_context_takeover",
        "mystery",
        "mystery=1",
        "",
        ";",
    ] {
        let offer = format!("permessage-deflate; {parameters}");
        assert_eq!(answer(&[&offer]), None, "{offer}");
        // The next offer is tried, after a comma or on a line of its own.
        assert_eq!(answer(&[&offer, "permessage-deflate"]).as_deref(), Some(BOTH), "{offer}");
        // The comma is inside an unclosed quote.
        if parameters.matches('"').count() % 2 == 0 && !parameters.contains('\\') {
            let two = format!("{offer}, permessage-deflate");
            assert_eq!(answer(&[&two]).as_deref(), Some(BOTH), "{two}");
        }
    }
}

#[test]
fn the_answer_names_the_windows_of_context_takeover() {
    let offer = |parameters: &str| format!("permessage-deflate{parameters}");
    for (bits, offered, answered) in [
        // Chrome, Python's `websockets`, Node's `ws`.
        (12, "; client_max_window_bits", "; server_max_window_bits=12; client_max_window_bits=12"),
        (15, "; client_max_window_bits", "; client_max_window_bits=15"),
        // Firefox and Safari, whose own windows cannot be bounded.
        (12, "", "; client_no_context_takeover; server_max_window_bits=12"),
        (14, "", "; client_no_context_takeover; server_max_window_bits=14"),
        (15, "", ""),
        // The smaller of two bounds counts.
        (
            12,
            "; client_max_window_bits=10",
            "; server_max_window_bits=12; client_max_window_bits=10",
        ),
        (12, "; client_max_window_bits=8", "; server_max_window_bits=12; client_max_window_bits=8"),
        (9, "; client_max_window_bits=15", "; server_max_window_bits=9; client_max_window_bits=9"),
        (
            12,
            "; server_max_window_bits=10",
            "; client_no_context_takeover; server_max_window_bits=10",
        ),
        (
            12,
            "; server_max_window_bits=15",
            "; client_no_context_takeover; server_max_window_bits=12",
        ),
        (15, "; server_max_window_bits=15", "; server_max_window_bits=15"),
        // The client excludes a direction. Our window is then as without context takeover.
        (15, "; server_no_context_takeover", "; server_no_context_takeover"),
        (15, "; client_no_context_takeover", "; client_no_context_takeover"),
        (
            12,
            "; server_no_context_takeover; client_max_window_bits",
            "; server_no_context_takeover; client_max_window_bits=12",
        ),
        (
            12,
            "; client_no_context_takeover; client_max_window_bits",
            "; client_no_context_takeover; server_max_window_bits=12",
        ),
        (
            12,
            "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=14",
            "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=14",
        ),
    ] {
        let answer = answer_within(Some(bits), &[&offer(offered)]);
        assert_eq!(answer, Some(offer(answered)), "{bits} bits, {offered:?}");
    }
}

#[test]
fn other_extensions_are_ignored() {
    for lines in [&[][..], &[""], &[",", ";;"], &["permessage-bzip2"], &["permessage-deflate2"]] {
        assert_eq!(answer(lines), None, "{lines:?}");
    }
}

/// A parameter in one of its right forms, with the window that it asks of us.
fn parameter(index: usize) -> impl Strategy<Value = (String, Option<u8>)> {
    (9..=15u8, 8..=15u8, 0..3usize, select(vec!["", " ", "\t "])).prop_map(
        move |(ours, theirs, form, space)| {
            let written = |bits: u8| match form {
                0 => format!("{space}={space}{bits}"),
                _ => format!("={space}\"{bits}\""),
            };
            match index {
                0 => ("server_no_context_takeover".to_owned(), None),
                1 => ("client_no_context_takeover".to_owned(), None),
                2 => (format!("server_max_window_bits{}", written(ours)), Some(ours)),
                _ if form == 2 => ("client_max_window_bits".to_owned(), None),
                _ => (format!("client_max_window_bits{}", written(theirs)), None),
            }
        },
    )
}

proptest! {
    #[test]
    fn valid_parameters_are_accepted_in_any_order(
        parameters in subsequence(vec![0, 1, 2, 3], 0..=4).prop_shuffle().prop_flat_map(|indices| {
            indices.into_iter().map(parameter).collect::<Vec<_>>()
        }),
        separator in "[ \t]{0,2};[ \t]{0,2}",
        others in prop::collection::vec("[a-z]{3,8}(; ?[a-z]{1,4}(=(\"[a-z ,;]{0,4}\"|[a-z]))?)?", 0..3),
        is_last in any::<bool>(),
        context_bits in prop::option::of(9..=15u8),
    ) {
        let mut parts = vec!["permessage-deflate".to_owned()];
        parts.extend(parameters.iter().map(|(text, _)| text.clone()));
        let mut offers = others;
        offers.insert(if is_last { offers.len() } else { 0 }, parts.join(&separator));
        let line = offers.join(", ");
        let deflate = accept_deflate([line.as_bytes()].into_iter(), context_bits).unwrap();
        let asked = parameters.iter().find_map(|(_, window)| *window);
        let offers = |name: &str| parameters.iter().any(|(text, _)| text.starts_with(name));
        let takes_over = context_bits.is_some() && !offers("server_no_context");
        prop_assert_eq!(deflate.takes_over, takes_over);
        let bound = context_bits.filter(|_| takes_over).unwrap_or(15);
        prop_assert_eq!(deflate.window_bits, asked.unwrap_or(15).min(bound));

        // As a client reads it (RFC 7692 §7.1).
        let answer = deflate.to_string();
        prop_assert_eq!(answer.contains("server_no_context_takeover"), !takes_over);
        let keeps = deflate.client_context_bits.is_some();
        prop_assert_eq!(answer.contains("client_no_context_takeover"), !keeps);
        prop_assert!(!(offers("client_no_context") && keeps));
        prop_assert!(!answer.contains("client_max_window_bits") || offers("client_max"));
        prop_assert!(answer.contains("server_max_window_bits") || asked.is_none());
        // A window that is not named has 15 bits.
        let said = |name: &str| {
            let (_, rest) = answer.split_once(&format!("{name}="))?;
            rest.split(';').next()?.parse::<u8>().ok()
        };
        prop_assert_eq!(said("server_max_window_bits").unwrap_or(15), deflate.window_bits);
        if let Some(bits) = deflate.client_context_bits {
            prop_assert_eq!(said("client_max_window_bits").unwrap_or(15), bits);
            prop_assert!(Some(bits) <= context_bits);
        }
    }

    #[test]
    fn any_bytes_give_no_answer_or_one_that_was_asked_for(
        line in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80),
            "(permessage-deflate|;|,| |=|\"|\\\\|server_max_window_bits|1|0|9|client_max_window_bits){0,12}"
                .prop_map(String::into_bytes),
        ],
        context_bits in prop::option::of(9..=15u8),
    ) {
        if let Some(deflate) = accept_deflate([&line[..]].into_iter(), context_bits) {
            prop_assert!((9..=15).contains(&deflate.window_bits));
            prop_assert!(deflate.client_context_bits.is_none_or(|bits| (8..=15).contains(&bits)));
            let text = String::from_utf8_lossy(&line).to_ascii_lowercase();
            prop_assert!(text.contains("permessage-deflate"));
            let is_unasked = context_bits.is_some_and(|bits| bits < 15);
            prop_assert!(
                !deflate.names_window || is_unasked || text.contains("server_max_window_bits")
            );
        }
    }
}
