//! Bodies in parts of any size: what is found in parts is what is found in the whole, and what is written anew
//! in chunks is read as the same body.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::http::{BodyError, BodyFraming, BodyReader, LAST_CHUNK, write_chunk};

/// The body, and where it ends.
type Found = Result<(Vec<u8>, Option<usize>), BodyError>;

fn read(framing: BodyFraming, input: &[u8], part: usize, chunks: &mut Vec<u8>) -> Found {
    let mut reader = BodyReader::new(framing);
    let (mut body, mut at) = (Vec::new(), 0);
    while at < input.len() && !reader.is_done() {
        let end = input.len().min((at / part + 1).saturating_mul(part));
        let found = reader.next(&input[at..end])?;
        assert!(found.consumed > 0 && found.data.len() <= found.consumed);
        body.extend_from_slice(found.data);
        write_chunk(chunks, found.data);
        at += found.consumed;
    }
    assert_eq!(reader.received(), body.len() as u64);
    Ok((body, reader.is_done().then_some(at)))
}

fuzz_target!(|input: (Vec<u8>, u8, u16)| {
    let (bytes, part, length) = input;
    let part = usize::from(part) + 1;
    let framings = [BodyFraming::Chunked, BodyFraming::Length(u64::from(length) + 1), BodyFraming::UntilEnd];
    for framing in framings {
        let mut chunks = Vec::new();
        let found = read(framing, &bytes, part, &mut chunks);
        assert_eq!(found, read(framing, &bytes, usize::MAX, &mut Vec::new()));
        if let Ok((body, _)) = found {
            chunks.extend_from_slice(LAST_CHUNK);
            let again = read(BodyFraming::Chunked, &chunks, part, &mut Vec::new());
            assert_eq!(again, Ok((body, Some(chunks.len()))));
        }
    }
});
