//! `loadtest fanout`: publications that are lost, repeated or late.

use crate::{broadcast_server, reserved_address, run, run_failing, run_successfully};

/// The patience for a publication comes last: only a fault exhausts it.
const OPTIONS: [&str; 10] = [
    "--publish-path",
    "/publish",
    "--subscribers",
    "5",
    "--publications",
    "20",
    "--burst",
    "4",
    "--timeout",
    "60",
];

#[test]
fn every_delivery_is_counted() {
    let address = broadcast_server::start(|_, _| 1);
    let pid = std::process::id().to_string();
    for options in [&["--publishers", "3", "--text"][..], &["--bytes", "70000"]] {
        let options = [&OPTIONS, options, &["--pid", &pid]].concat();
        let report = run_successfully("fanout", address, &options);
        let publishers = report["publishers"].as_u64().unwrap();
        assert_eq!(report["deliveries"], 20 * 5 * publishers);
        assert_eq!(report["latency"]["count"], 20 * 5 * publishers);
        assert_eq!((&report["lost"], &report["repeated_or_late"]), (&0.into(), &0.into()));
        assert!(report["cpu"]["server_cpu_us_per_unit"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn members_that_publish_receive_their_own_publications() {
    let address = broadcast_server::start(|_, _| 1);
    let members = ["--members-publish", "--subscribe-path", "/member", "--publishers", "2"];
    let report = run_successfully("fanout", address, &[&OPTIONS[..], &members].concat());
    assert_eq!(report["deliveries"], 20 * 5 * 2);
    assert_eq!((&report["lost"], &report["repeated_or_late"]), (&0.into(), &0.into()));

    let too_many = ["--members-publish", "--subscribers", "2", "--publishers", "3"];
    let run = run("fanout", reserved_address(), &too_many);
    assert_eq!(run.exit_code, 2);
    assert!(run.stderr.contains("more publishers than subscribers"), "{}", run.stderr);
}

#[test]
fn a_publication_that_is_dropped_is_caught() {
    // The warm-up has 10 publications, so this one is the third of its burst.
    let address =
        broadcast_server::start(|subscriber, number| usize::from((subscriber, number) != (3, 16)));
    let report = run_failing("fanout", address, &OPTIONS, "1 before it did not");
    assert_eq!(report["lost"], 1);
    assert_eq!(report["deliveries"], 20 * 5 - 1);
}

#[test]
fn the_last_publication_of_a_burst_that_is_dropped_is_caught() {
    let address =
        broadcast_server::start(|subscriber, number| usize::from((subscriber, number) != (3, 29)));
    // The patience runs out, but not before the other publications of the burst have come.
    let mut options = OPTIONS;
    options[9] = "5";
    let reason = "1 publications did not come within 5 s";
    let report = run_failing("fanout", address, &options, reason);
    assert_eq!(report["lost"], 1);
}

#[test]
fn a_publication_that_comes_twice_is_caught() {
    let address = broadcast_server::start(
        |subscriber, number| {
            if (subscriber, number) == (0, 15) { 2 } else { 1 }
        },
    );
    let reason = "publication 15 of publisher 0 came again, or after a later one";
    let report = run_failing("fanout", address, &OPTIONS, reason);
    assert_eq!((&report["lost"], &report["repeated_or_late"]), (&0.into(), &1.into()));
}

#[test]
fn a_publication_without_room_for_its_number_is_a_usage_error() {
    let run = run("fanout", reserved_address(), &["--bytes", "15"]);
    assert_eq!(run.exit_code, 2);
    assert!(run.stderr.contains("needs 16 for its number"), "{}", run.stderr);
}
