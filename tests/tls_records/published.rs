//! The records of RFC 8448 §3, which are sealed with keys of a published trace.

use tidegate::tls::{Alert, Cipher, ExpandedKeys, Opened, Records, Secret, Suite, Version};

const CLIENT_SECRET: &str = "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5";
const SERVER_SECRET: &str = "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643";
const CLIENT_DATA: &str = "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b98\
    19a8a5b46b395bd54a9a20441e2b62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4";
const SERVER_DATA: &str = "17030300432e937e11ef4ac740e538ad36005fc4a46932fc3225d05f82aa1b36e30e\
    faf97d90e6dffc602dcb501a59a8fcc49c4bf2e5f0a21c0047c2abf332540dd032e167c2955d";
const CLIENT_END: &str = "1703030013c9872760655666b74d7ff1153efd6db6d0b0e3";
const SERVER_END: &str = "1703030013b58fd67166ebf599d24720cfbe7efa7a8864a9";

#[test]
fn the_records_of_the_published_trace_are_opened_and_sealed() {
    let suite = Suite { version: Version::Tls13, cipher: Cipher::Aes128Gcm };
    let secret = |text: &str| Secret::of(&[&hex(text)]).unwrap();
    let (client, server) = (secret(CLIENT_SECRET), secret(SERVER_SECRET));
    // The server's record with number 0 is its ticket.
    let mut records = Records::new(suite, (0, client), (1, server));
    let mut keys = ExpandedKeys::default();
    let plaintext: Vec<u8> = (0..50).collect();

    let mut arrived = hex(CLIENT_DATA);
    let length = arrived.len();
    assert_eq!(records.open(&mut keys, &mut arrived, 0, 0..length), Ok(Opened::Data(50)));
    assert_eq!(arrived[..50], plaintext);

    let mut sealed = Vec::new();
    records.seal_data(&mut keys, &mut sealed, |out| out.extend_from_slice(&plaintext)).unwrap();
    assert_eq!(sealed, hex(SERVER_DATA));

    let mut arrived = hex(CLIENT_END);
    let length = arrived.len();
    assert_eq!(records.open(&mut keys, &mut arrived, 0, 0..length), Ok(Opened::Ended));

    sealed.clear();
    records.seal_alert(&mut keys, &mut sealed, Alert::CLOSE_NOTIFY).unwrap();
    assert_eq!(sealed, hex(SERVER_END));
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}
