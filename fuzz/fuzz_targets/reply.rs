//! A backend's reply in parts of any size: what is found in parts is what is found in the whole, and
//! what is passed on of a refusal is one reply with the same body, and nothing behind it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::http::{
    HttpDate, Reply, ReplyError, ReplyLimits, SwitchedExtensions, check_no_extensions, check_switched,
    read_reply, write_refused, write_switched,
};

const LIMITS: ReplyLimits =
    ReplyLimits { head_bytes_max: 2048, lines_max: 16, body_bytes_max: 512 };

/// The status, and the body or the end of the head.
type Found = (u16, Option<Vec<u8>>, usize);

fn read(input: &[u8], has_ended: bool) -> Result<Option<Found>, ReplyError> {
    Ok(read_reply(input, has_ended, LIMITS)?.map(|reply| match reply {
        Reply::Switched { head, end } => (head.code(), None, end),
        Reply::Refused { head, body } => (head.code(), body.map(|body| body.into_owned()), 0),
    }))
}

fuzz_target!(|input: (Vec<u8>, u8)| {
    let (bytes, part) = input;
    let ends = (0..bytes.len()).step_by(usize::from(part) + 1);
    let early = ends.map(|end| read(&bytes[..end], false)).find(|found| *found != Ok(None));
    let whole = read(&bytes, true);
    if let Some(early) = early {
        // A rule that is broken behind what was needed is not found early, and the other way round
        // only by a limit.
        assert!(early == whole || early.is_err() || matches!(&early, Ok(Some((_, None, 0)))));
    }
    let mut out = Vec::new();
    match read_reply(&bytes, true, LIMITS) {
        Ok(Some(Reply::Switched { head, .. })) => {
            let _ = check_switched(&head, &[b'a'; 28]);
            write_switched(&mut out, &head, SwitchedExtensions::OfBackend);
            let _ = check_no_extensions(&head);
            assert!(matches!(read(&out, false), Ok(Some((101, None, end))) if end == out.len()));
        }
        Ok(Some(Reply::Refused { head, body })) => {
            write_refused(&mut out, &HttpDate::from_unix_seconds(0), &head, body.as_deref());
            // The head may grow by what the gateway writes.
            let limits = ReplyLimits { head_bytes_max: 4096, lines_max: 32, ..LIMITS };
            let Ok(Some(Reply::Refused { head: again, body: same })) =
                read_reply(&out, false, limits)
            else {
                panic!("a refusal that cannot be read again")
            };
            assert_eq!((again.code(), same), (head.code(), Some(body.unwrap_or_default())));
        }
        Ok(None) | Err(_) => {}
    }
});
