//! What all loops share: verdicts, networks, and threads at once.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::thread;

use super::super::bucket::Rate;
use super::super::network_set::NetworkSet;
use super::*;

fn limits(per_s: u32, burst: u32) -> AddressLimits {
    AddressLimits { connections: Rate::new(per_s, burst), ..AddressLimits::default() }
}

fn settings(host: AddressLimits) -> AddressSettings {
    AddressSettings { host, ..AddressSettings::default() }
}

fn set(networks: &[&str]) -> NetworkSet {
    NetworkSet::new(&networks.iter().map(|own| own.parse().unwrap()).collect::<Vec<_>>())
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn reason(judgement: Judgement) -> Option<AddressReason> {
    judgement.refusal.map(|own| own.reason)
}

#[test]
fn lists_come_first_and_then_those_who_are_exempt() {
    let own = SharedAddresses::default();
    let settings = AddressSettings {
        allow: set(&["192.0.2.0/24", "10.9.0.0/16"]),
        deny: set(&["192.0.0.0/16", "10.8.0.0/15"]),
        proxies: set(&["203.0.113.1/32"]),
        ..settings(limits(1, 1))
    };
    for address in ["192.0.2.1", "10.9.0.1", "203.0.113.1", "127.0.0.1", "10.0.0.1", "fd00::1"] {
        for _ in 0..3 {
            let judgement = own.connect(ip(address), &settings, Millis(0));
            assert_eq!(judgement, Judgement::default(), "{address}");
        }
    }
    for address in ["192.0.3.1", "10.8.0.1", "::ffff:192.0.3.1"] {
        let judgement = own.connect(ip(address), &settings, Millis(0));
        assert_eq!(reason(judgement), Some(AddressReason::Denied), "{address}");
        assert!(judgement.refusal.unwrap().is_silent);
    }
    assert!(own.is_empty());
    let here = AddressSettings { exempts_local: false, ..settings };
    assert!(own.connect(ip("127.0.0.1"), &here, Millis(0)).entry.is_some());
    assert_eq!(reason(own.connect(ip("127.0.0.1"), &here, Millis(0))), Some(AddressReason::Rate));
}

#[test]
fn without_limits_nothing_is_counted() {
    let own = SharedAddresses::default();
    let judgement = own.connect(ip("192.0.2.1"), &AddressSettings::default(), Millis(0));
    assert_eq!((judgement, own.len()), (Judgement::default(), 0));
}

#[test]
fn a_client_is_an_address_of_ipv4_or_64_bits_of_ipv6() {
    let own = SharedAddresses::default();
    let settings = settings(limits(1, 1));
    let admits = |text: &str| own.connect(ip(text), &settings, Millis(0)).refusal.is_none();
    assert!(admits("192.0.2.1") && admits("192.0.2.2") && !admits("::ffff:192.0.2.2"));
    assert!(admits("2001:db8::1") && !admits("2001:db8::2") && admits("2001:db8:0:1::1"));
}

#[test]
fn a_network_refuses_what_its_clients_may() {
    let own = SharedAddresses::default();
    let network = AddressLimits { connections_max: 3, ..AddressLimits::default() };
    let settings = AddressSettings { network, ..settings(limits(100, 400)) };
    let connect =
        |last: u8| own.connect(Ipv4Addr::new(192, 0, 2, last).into(), &settings, Millis(0));
    let entries: Vec<AddressRef> = (0..3).filter_map(|last| connect(last).entry).collect();
    assert_eq!((entries.len(), own.len()), (3, 4));
    assert_eq!(reason(connect(1)), Some(AddressReason::Open));
    assert_eq!(reason(connect(9)), Some(AddressReason::Open));
    assert!(own.connect(ip("192.0.3.1"), &settings, Millis(0)).entry.is_some());
    own.release(entries[0], Millis(0));
    assert!(connect(9).entry.is_some() && connect(9).entry.is_none());
}

#[test]
fn failures_count_for_the_network_as_well() {
    let own = SharedAddresses::default();
    let failing = |per_s| AddressLimits { failures: Rate::new(per_s, 2), ..Default::default() };
    let settings = AddressSettings { network: failing(1), ..settings(failing(1000)) };
    let connect =
        |last: u8| own.connect(Ipv4Addr::new(192, 0, 2, last).into(), &settings, Millis(0));
    for last in 0..2 {
        own.note_failure(connect(last).entry.unwrap(), &settings, Millis(0));
    }
    let refusal = connect(2).refusal.unwrap();
    assert_eq!((refusal.reason, refusal.retry_after_s), (AddressReason::Failures, 1));
}

#[test]
fn open_connections_stay_with_their_network_when_its_width_changes() {
    let own = SharedAddresses::default();
    let network = AddressLimits { connections_max: 2, ..AddressLimits::default() };
    let narrow = AddressSettings { network, ..settings(limits(100, 400)) };
    let wide = AddressSettings { network_bits: PrefixBits { ipv4: 8, ipv6: 32 }, ..narrow.clone() };
    let address = ip("192.0.2.1");
    let entries: Vec<AddressRef> = [&narrow, &wide, &wide]
        .into_iter()
        .map(|settings| own.connect(address, settings, Millis(0)).entry.unwrap())
        .collect();
    for entry in entries {
        own.release(entry, Millis(0));
    }
    assert_eq!((own.trim(Millis(60_000)), own.len()), (None, 0));
}

/// The clients of a network that have no entries of their own share one, and then none.
#[test]
fn without_room_clients_are_counted_with_their_network() {
    let own = SharedAddresses::default();
    // One entry in each shard.
    let settings = AddressSettings { entries_max: 1, ..settings(limits(1, 1)) };
    let mut untracked = 0;
    for network in 0..64 {
        for last in 0..8 {
            let address = Ipv4Addr::new(198, 51, network, last);
            let judgement = own.connect(address.into(), &settings, Millis(0));
            untracked += u32::from(judgement.is_untracked);
            // Each client comes once, so only those that share an entry are refused.
            assert!(judgement.refusal.is_none() || judgement.entry.is_none());
        }
    }
    assert_eq!(own.len(), SHARDS);
    assert!(untracked > 300, "{untracked}");
}

#[test]
fn who_asks_too_often_is_told_when_to_come_again_and_then_no_more() {
    let own = SharedAddresses::default();
    let settings = settings(limits(10, 20));
    let connect = |now| own.connect(ip("192.0.2.1"), &settings, Millis(now));
    assert_eq!((0..20).filter(|_| connect(0).refusal.is_none()).count(), 20);
    let refusals: Vec<AddressRefusal> = (0..10).map(|_| connect(0).refusal.unwrap()).collect();
    assert!(refusals.iter().all(|own| (own.reason, own.retry_after_s) == (AddressReason::Rate, 1)));
    let answered = refusals.iter().filter(|own| !own.is_silent).count();
    assert_eq!(answered, 2, "a tenth of the burst");
    assert!(connect(1000).refusal.is_none());
}

#[test]
fn the_heaviest_come_first() {
    let own = SharedAddresses::default();
    let settings = settings(limits(100, 400));
    for last in 1..=20_u8 {
        for _ in 0..last {
            let address = Ipv6Addr::new(0x2001, 0xdb8, 0, last.into(), 0, 0, 0, 1);
            assert!(own.connect(address.into(), &settings, Millis(0)).entry.is_some());
        }
    }
    let heaviest = own.heaviest(3);
    let shown: Vec<(String, u32)> =
        heaviest.iter().map(|own| (own.network.to_string(), own.open)).collect();
    let expected =
        [(20, "2001:db8:0:14::/64"), (19, "2001:db8:0:13::/64"), (18, "2001:db8:0:12::/64")];
    assert_eq!(shown, expected.map(|(open, network)| (network.to_owned(), open)));
}

/// Loops that come and go at once leave nothing behind.
#[test]
fn threads_at_once_leave_the_table_empty() {
    let own = SharedAddresses::default();
    let network = AddressLimits { connections_max: 1000, ..AddressLimits::default() };
    let settings = AddressSettings { network, entries_max: 64, ..settings(limits(1000, 1000)) };
    thread::scope(|scope| {
        for thread in 0..4_u32 {
            let (own, settings) = (&own, &settings);
            scope.spawn(move || {
                let mut held = std::collections::VecDeque::new();
                for number in 0..20_000_u32 {
                    let address = Ipv4Addr::from_bits(0xC633_0000 + (number * 7 + thread) % 512);
                    let now = Millis(u64::from(number));
                    held.extend(own.connect(address.into(), settings, now).entry);
                    if let Some(entry) = held.front()
                        && number % 3 == 0
                    {
                        own.note_failure(*entry, settings, now);
                    }
                    if held.len() > 16 {
                        own.release(held.pop_front().unwrap(), now);
                    }
                }
                for entry in held {
                    own.release(entry, Millis(20_000));
                }
            });
        }
    });
    assert_eq!(own.trim(Millis(1_000_000)), None);
    assert_eq!((own.len(), own.bytes()), (0, 0));
}
