//! What a broker gives out, as if another node had written it: whatever it is, it is refused or read, and what
//! was read is written the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::channels::remote::{
    read_member, read_publication, write_member, write_publication,
};

fuzz_target!(|data: &[u8]| {
    if let Ok(publication) = read_publication(data) {
        assert_eq!(write_publication(&publication), data);
    }
    if let Ok((change, info)) = read_member(data) {
        assert_eq!(write_member(change, &info), data);
    }
});
