//! TLS records under known keys: any bytes, and sealed ones that are changed. What was changed is
//! refused, and what was not is opened as it was sealed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::tls::{Cipher, ExpandedKeys, Header, Opened, Records, Secret, Suite, Version};

const CIPHERS: [Cipher; 3] = [Cipher::Aes128Gcm, Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305];

fuzz_target!(|input: (Vec<u8>, u8, u16, u8, Vec<u8>)| {
    let (data, kind, at, change, foreign) = input;
    let version = if kind & 1 == 0 { Version::Tls13 } else { Version::Tls12 };
    let suite = Suite { version, cipher: CIPHERS[usize::from(kind >> 1) % 3] };
    let (mut sender, mut receiver) = (records(suite, 1, 2), records(suite, 2, 1));
    let (mut sender_keys, mut keys) = (ExpandedKeys::default(), ExpandedKeys::default());

    let mut record = Vec::new();
    let fill = |out: &mut Vec<u8>| out.extend_from_slice(&data);
    sender.seal_data(&mut sender_keys, &mut record, fill).unwrap();
    let at = usize::from(at) % record.len();
    record[at] ^= change;
    // In front of it lies what was opened before.
    let to = usize::from(kind >> 4);
    let mut buffer = vec![0; to];
    buffer.extend_from_slice(&record);
    let opened = receiver.open(&mut keys, &mut buffer, 0, to..to + record.len());
    match opened {
        // The minor version is not looked at, and is not authenticated as it stands there.
        Ok(Opened::Data(count)) => {
            assert!(change == 0 || at == 2);
            assert_eq!(buffer[..count], data);
        }
        Ok(Opened::Nothing) => assert!(data.is_empty() && (change == 0 || at == 2)),
        Ok(other) => panic!("{other:?}"),
        Err(_) => assert_ne!(change, 0),
    }

    let mut rest = foreign;
    while let Ok(Some(header)) = Header::read(&rest) {
        let bytes = header.record_bytes();
        if rest.len() < bytes || receiver.open(&mut keys, &mut rest, 0, 0..bytes).is_err() {
            return;
        }
        rest.drain(..bytes);
    }
});

fn records(suite: Suite, read: u8, write: u8) -> Records {
    let secret = |byte: u8| (0, Secret::of(&[&[byte; 48]]).unwrap());
    Records::new(suite, secret(read), secret(write))
}
