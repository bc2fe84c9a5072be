//! The file of channels of another process: what is taken is written down again and taken again, and bytes with
//! the right checksum panic no more than others.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::channels::{HEADER_BYTES, SnapshotHeader, SnapshotWriter, parse_snapshot};
use tidegate::timer::WallTime;

const KEY: [u8; 16] = [7; 16];

fuzz_target!(|bytes: &[u8]| {
    let _ = parse_snapshot(bytes, &KEY);
    // The same as the streams of a file whose header fits.
    let mut writer = SnapshotWriter::default();
    writer.append_raw(bytes);
    let header = writer.finish(SnapshotHeader { key: KEY, made_at: WallTime(5) });
    let file = [&header[..], bytes].concat();
    assert!(file.len() == HEADER_BYTES + bytes.len());
    if let Ok((made_at, streams)) = parse_snapshot(&file, &KEY) {
        let mut again = SnapshotWriter::default();
        let body = again.append(&streams).unwrap();
        let header = again.finish(SnapshotHeader { key: KEY, made_at });
        let second = parse_snapshot(&[&header[..], &body].concat(), &KEY).unwrap();
        assert_eq!(second.1, streams);
    }
});
