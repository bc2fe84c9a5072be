//! Whom a certificate of a client names, as text: its subject in the form of RFC 4514, and its alternative
//! names.

use rustls::pki_types::CertificateDer;
use x509_parser::der_parser::asn1_rs::ToDer as _;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::x509::AttributeTypeAndValue;

/// The subject of a client's certificate, such as `CN=device-7,O=Example`, as RFC 4514 writes it: the
/// most specific part first. Characters that show nothing or change a line are escaped.
///
/// `None` if there is no subject, if it is longer than [`SUBJECT_BYTES_MAX`] as text (a part of it
/// could be the subject of another client), or if the certificate cannot be read.
#[must_use]
pub fn subject_of(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let mut text = String::new();
    let names: Vec<_> = parsed.subject().iter().collect();
    for name in names.into_iter().rev() {
        for (at, attribute) in name.iter().enumerate() {
            match at {
                0 if text.is_empty() => {}
                0 => text.push(','),
                _ => text.push('+'),
            }
            push_attribute(attribute, &mut text)?;
            if text.len() > SUBJECT_BYTES_MAX {
                return None;
            }
        }
    }
    Some(text).filter(|text| !text.is_empty())
}

/// The subject of a client's certificate as [`subject_of`] gives it, and below it one line for each of its
/// alternative names (RFC 5280 section 4.2.1.6) that is a mail address, a DNS name or a URI. The first line is
/// empty where there is no subject.
///
/// `None` if it has no names, or cannot be read. If all its alternative names together are longer than
/// [`SUBJECT_BYTES_MAX`], or one of them is no single word, there are none: a part of them could name another
/// client.
#[must_use]
pub fn names_of(certificate: &CertificateDer<'_>) -> Option<String> {
    let mut text = subject_of(certificate).unwrap_or_default();
    if let Some(alternatives) = alternatives_of(certificate) {
        text.push_str(&alternatives);
    }
    Some(text).filter(|text| !text.is_empty())
}

/// A line for each alternative name, with a line break before it.
fn alternatives_of(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let extension = parsed.subject_alternative_name().ok()??;
    let mut lines = String::new();
    for name in &extension.value.general_names {
        let (kind, value) = match name {
            GeneralName::DNSName(value) => (AlternativeName::Dns, value),
            GeneralName::RFC822Name(value) => (AlternativeName::Email, value),
            GeneralName::URI(value) => (AlternativeName::Uri, value),
            GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::IPAddress(_)
            | GeneralName::Invalid(..)
            | GeneralName::OtherName(..)
            | GeneralName::RegisteredID(_)
            | GeneralName::X400Address(_) => continue,
        };
        if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        lines.push('\n');
        lines.push_str(kind.prefix());
        lines.push_str(value);
        if lines.len() > SUBJECT_BYTES_MAX {
            return None;
        }
    }
    Some(lines)
}

/// A kind of alternative name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlternativeName {
    /// A DNS name.
    Dns,
    /// A mail address.
    Email,
    /// A URI.
    Uri,
}

impl AlternativeName {
    fn prefix(self) -> &'static str {
        match self {
            Self::Dns => "dns:",
            Self::Email => "email:",
            Self::Uri => "uri:",
        }
    }

    /// The name of this kind in what [`names_of`] gives, if there is exactly one.
    #[must_use]
    pub fn only_in(self, names: &str) -> Option<&str> {
        let mut values = names.lines().skip(1).filter_map(|line| line.strip_prefix(self.prefix()));
        values.next().filter(|_| values.next().is_none())
    }
}

/// The subject in what [`names_of`] gives.
#[must_use]
pub fn subject_in(names: &str) -> Option<&str> {
    names.lines().next().filter(|subject| !subject.is_empty())
}

/// The common name in a subject as [`subject_of`] writes it; `None` if there is none, if there are several,
/// or if it is no text.
#[must_use]
pub fn common_name_of(subject: &str) -> Option<String> {
    let (mut found, mut rest) = (None, subject);
    loop {
        let (attribute, next) = split_attribute(rest);
        if let Some(value) = attribute.strip_prefix("CN=") {
            if found.is_some() {
                return None;
            }
            found = Some(value);
        }
        match next {
            Some(next) => rest = next,
            None => return unescaped(found?),
        }
    }
}

/// What stands before the first separator that is not escaped, and what behind it.
fn split_attribute(text: &str) -> (&str, Option<&str>) {
    let mut is_escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            ',' | '+' if !is_escaped => return (&text[..at], Some(&text[at + 1..])),
            _ => is_escaped = character == '\\' && !is_escaped,
        }
    }
    (text, None)
}

/// The value behind what [`push_escaped`] has written; `None` for an encoding.
fn unescaped(value: &str) -> Option<String> {
    if value.starts_with('#') {
        return None;
    }
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let escaped = behind.split_first_chunk::<2>().filter(|_| *first == b'\\');
        let by_number = escaped.and_then(|(digits, after)| Some((hex_byte(*digits)?, after)));
        let (byte, after) = match (by_number, first, behind.split_first()) {
            (Some(found), ..) => found,
            (None, b'\\', Some((special, after))) => (*special, after),
            (None, ..) => (*first, behind),
        };
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

fn hex_byte(digits: [u8; 2]) -> Option<u8> {
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    u8::try_from(high? << 4 | low?).ok()
}

fn push_attribute(attribute: &AttributeTypeAndValue<'_>, text: &mut String) -> Option<()> {
    let oid = attribute.attr_type().to_id_string();
    let name = SHORT_NAMES.iter().find(|(known, _)| *known == oid).map(|(_, name)| *name);
    // RFC 4514 section 2.4: what has no name, and what is no text, is written as its encoding.
    match (name, attribute.as_str()) {
        (Some(name), Ok(value)) => {
            text.push_str(name);
            text.push('=');
            push_escaped(value, text);
        }
        _ => {
            text.push_str(name.unwrap_or(&oid));
            text.push_str("=#");
            attribute.attr_value().to_der_vec().ok()?.iter().for_each(|byte| push_hex(*byte, text));
        }
    }
    Some(())
}

/// RFC 4514 section 2.4.
fn push_escaped(value: &str, text: &mut String) {
    let last = value.chars().count().saturating_sub(1);
    for (at, character) in value.chars().enumerate() {
        let is_special = matches!(character, '"' | '+' | ',' | ';' | '<' | '>' | '\\')
            || (at == 0 && matches!(character, ' ' | '#'))
            || (at == last && character == ' ');
        let shows_nothing =
            character != ' ' && (character.is_control() || character.is_whitespace());
        if shows_nothing || is_unseen(character) {
            for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                text.push('\\');
                push_hex(byte, text);
            }
        } else {
            if is_special {
                text.push('\\');
            }
            text.push(character);
        }
    }
}

/// Characters that show nothing or reorder what stands around them.
fn is_unseen(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
    )
}

fn push_hex(byte: u8, text: &mut String) {
    for digit in [byte >> 4, byte & 15] {
        text.push(char::from_digit(u32::from(digit), 16).unwrap_or_default());
    }
}

/// The longest subject as text, in bytes.
pub const SUBJECT_BYTES_MAX: usize = 1024;

/// RFC 4514 section 3.
const SHORT_NAMES: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};

    use super::*;

    fn certificate(parts: Vec<(DnType, DnValue)>) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind, value);
        }
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().into()
    }

    fn text(value: &str) -> DnValue {
        DnValue::Utf8String(value.to_owned())
    }

    #[test]
    fn the_most_specific_part_comes_first_and_what_is_special_is_escaped() {
        for (parts, subject) in [
            (
                vec![
                    (DnType::OrganizationName, text("Example, Ltd.")),
                    (DnType::CommonName, text("device 7")),
                ],
                r"CN=device 7,O=Example\, Ltd.",
            ),
            (vec![(DnType::CommonName, text("#a\"+;<>\\ "))], r#"CN=\#a\"\+\;\<\>\\\ "#),
            (vec![(DnType::CommonName, text(" "))], r"CN=\ "),
            (vec![(DnType::CommonName, text("a\u{1b}\u{202e}\nb"))], r"CN=a\1b\e2\80\ae\0ab"),
            (vec![(DnType::CommonName, text("张三"))], "CN=张三"),
            (vec![(DnType::CustomDnType(vec![1, 2, 3]), text("x"))], "1.2.3=#0c0178"),
        ] {
            assert_eq!(subject_of(&certificate(parts)).as_deref(), Some(subject));
        }
    }

    #[test]
    fn no_subject_and_one_too_long_are_none() {
        assert_eq!(subject_of(&certificate(vec![])), None);
        let long = |length| vec![(DnType::CommonName, text(&"x".repeat(length)))];
        let longest = SUBJECT_BYTES_MAX - 3;
        assert_eq!(subject_of(&certificate(long(longest))).unwrap().len(), SUBJECT_BYTES_MAX);
        assert_eq!(subject_of(&certificate(long(longest + 1))), None);
    }

    #[test]
    fn alternative_names_stand_below_the_subject() {
        use rcgen::SanType;
        let with = |subject: Option<&str>, names: Vec<SanType>| {
            let mut params = CertificateParams::default();
            params.distinguished_name = DistinguishedName::new();
            if let Some(subject) = subject {
                params.distinguished_name.push(DnType::CommonName, subject);
            }
            params.subject_alt_names = names;
            let key = KeyPair::generate().unwrap();
            names_of(&params.self_signed(&key).unwrap().into())
        };
        let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
        let email = |name: &str| SanType::Rfc822Name(name.try_into().unwrap());
        let uri = |name: &str| SanType::URI(name.try_into().unwrap());
        let names = with(
            Some("device"),
            vec![dns("a.example"), email("ann@b.example"), dns("c.example"), uri("spiffe://d/e")],
        );
        let names = names.unwrap();
        assert_eq!(subject_in(&names), Some("CN=device"));
        assert_eq!(AlternativeName::Dns.only_in(&names), None, "there are two");
        assert_eq!(AlternativeName::Email.only_in(&names), Some("ann@b.example"));
        assert_eq!(AlternativeName::Uri.only_in(&names), Some("spiffe://d/e"));
        let names = with(None, vec![email("ann@b.example")]).unwrap();
        assert_eq!(subject_in(&names), None);
        assert_eq!(AlternativeName::Email.only_in(&names), Some("ann@b.example"));
        assert_eq!(with(None, vec![]), None);
        // None rather than a part of them, and none that could look like another.
        let long = vec![dns(&format!("{}.example", "x".repeat(60))); 20];
        assert_eq!(with(Some("a"), long).as_deref(), Some("CN=a"));
        let broken = vec![email("ann\nemail:bob@b.example")];
        assert_eq!(with(Some("a"), broken).as_deref(), Some("CN=a"));
    }

    #[test]
    fn the_common_name_is_read_back() {
        for (subject, name) in [
            ("CN=device 7,O=Example", Some("device 7")),
            (r"O=Example\, CN=x+CN=a\+b\1b", Some("a+b\u{1b}")),
            (r"CN=\\,O=x", Some("\\")),
            ("CN=a,CN=b", None),
            ("O=Example", None),
            ("CN=#0c0178", None),
            (r"O=a\,CN=b", None),
            ("", None),
        ] {
            assert_eq!(common_name_of(subject).as_deref(), name, "{subject}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn different_subjects_differ_as_text_and_stay_one_line(a in ".{0,20}", b in ".{0,20}") {
            let subject = |value: &str| {
                subject_of(&certificate(vec![(DnType::CommonName, text(value))]))
            };
            let (of_a, of_b) = (subject(&a), subject(&b));
            prop_assert_eq!(of_a == of_b, a == b);
            prop_assert!(!of_a.unwrap_or_default().chars().any(char::is_control));
        }

        #[test]
        fn any_common_name_is_read_back(name in ".{1,20}", other in ".{0,20}") {
            let parts = vec![(DnType::OrganizationName, text(&other)), (DnType::CommonName, text(&name))];
            let subject = subject_of(&certificate(parts)).unwrap();
            prop_assert_eq!(common_name_of(&subject), Some(name));
        }

        #[test]
        fn no_text_makes_it_panic(subject in "[CN=,+#\\\\a1é]{0,12}") {
            let _ = common_name_of(&subject);
        }

        #[test]
        fn no_bytes_make_it_panic(
            mut bytes in prop::collection::vec(any::<u8>(), 0..200),
            at: prop::sample::Index,
            is_mutated: bool,
            byte: u8,
        ) {
            if is_mutated {
                bytes = certificate(vec![(DnType::CommonName, text("device"))]).to_vec();
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let certificate = CertificateDer::from(bytes);
            let subject = subject_of(&certificate);
            let names = names_of(&certificate).unwrap_or_default();
            prop_assert_eq!(subject_in(&names), subject.as_deref());
            prop_assert!(subject.is_none_or(|subject| subject.len() <= SUBJECT_BYTES_MAX));
        }
    }
}
