//! A key that verifies tokens, bound to one algorithm.

use std::fmt;

use ring::hmac;
use ring::signature::{
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use rustls::pki_types::pem::{PemObject as _, SectionKind};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::algorithm::{Algorithm, Curve, KeyKind};
use crate::work::prices;

/// A key that verifies tokens of exactly one algorithm: which one is said by the configuration or by
/// the set that the key comes from, never by a token (RFC 8725 section 3.1).
pub struct Key {
    algorithm: Algorithm,
    material: Material,
}

enum Material {
    Secret(hmac::Key),
    Rsa {
        parameters: &'static RsaParameters,
        /// Big-endian, without zeros in front.
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    Point {
        verification: &'static dyn VerificationAlgorithm,
        curve: Curve,
        point: Vec<u8>,
    },
}

/// Why a key cannot be used. Displays as the end of a sentence that names the key, and never shows any
/// part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A secret is shorter than RFC 7518 section 3.2 asks for.
    #[error("must have at least {bytes_min} bytes for this algorithm (RFC 7518 section 3.2)")]
    ShortSecret {
        /// The fewest bytes.
        bytes_min: usize,
    },
    /// A secret is the text of a PEM file.
    #[error(
        "must not be a key in PEM: anybody may know a public key, and sign with it as a secret"
    )]
    PemSecret,
    /// The algorithm needs a public key.
    #[error("must be left out: this algorithm verifies by a public key")]
    NeedsPublicKey,
    /// The algorithm needs a secret.
    #[error("must be left out: this algorithm verifies by a secret")]
    NeedsSecret,
    /// A file holds a private key.
    #[error("holds a private key; the gateway needs the public one only (PUBLIC KEY in PEM)")]
    PrivateKey,
    /// A file is not PEM, or holds no public key.
    #[error("holds no public key in PEM (BEGIN PUBLIC KEY)")]
    NoPublicKey,
    /// A public key is of another kind than the algorithm needs.
    #[error("holds a key of another kind than this algorithm needs")]
    OtherKind,
    /// A key of RSA is too small or too large.
    #[error("holds an RSA key that has not 2048 to 8192 bits")]
    RsaSize,
}

impl Key {
    /// The key of an HMAC.
    ///
    /// # Errors
    /// If the algorithm is no HMAC, or the secret is too short or looks like a public key.
    pub fn from_secret(algorithm: Algorithm, secret: &[u8]) -> Result<Self, KeyError> {
        let KeyKind::Secret { hmac, secret_bytes_min } = algorithm.key_kind() else {
            return Err(KeyError::NeedsPublicKey);
        };
        if secret.windows(PEM_BEGIN.len()).any(|window| window == PEM_BEGIN) {
            return Err(KeyError::PemSecret);
        }
        if secret.len() < secret_bytes_min {
            return Err(KeyError::ShortSecret { bytes_min: secret_bytes_min });
        }
        Ok(Self { algorithm, material: Material::Secret(hmac::Key::new(hmac, secret)) })
    }

    /// The first public key of a PEM file (RFC 7468 section 13).
    ///
    /// # Errors
    /// If there is none, or one that is not for this algorithm.
    pub fn from_pem(algorithm: Algorithm, pem: &[u8]) -> Result<Self, KeyError> {
        if algorithm.is_symmetric() {
            return Err(KeyError::NeedsSecret);
        }
        let der = public_key_der(pem)?;
        let (rest, info) =
            SubjectPublicKeyInfo::from_der(&der).map_err(|_| KeyError::NoPublicKey)?;
        if !rest.is_empty() {
            return Err(KeyError::NoPublicKey);
        }
        match info.parsed().map_err(|_| KeyError::OtherKind)? {
            PublicKey::RSA(key) => Self::from_rsa(algorithm, key.modulus, key.exponent),
            PublicKey::EC(point) => {
                let curve = curve_of(&info).ok_or(KeyError::OtherKind)?;
                Self::from_point(algorithm, curve, point.data())
            }
            PublicKey::Unknown(point) if info.algorithm.algorithm == ED25519_OID => {
                Self::from_point(algorithm, Curve::Ed25519, point)
            }
            PublicKey::Unknown(_)
            | PublicKey::DSA(_)
            | PublicKey::GostR3410(_)
            | PublicKey::GostR3410_2012(_) => Err(KeyError::OtherKind),
        }
    }

    /// A public key of RSA by its two numbers, big-endian.
    pub(super) fn from_rsa(
        algorithm: Algorithm,
        modulus: &[u8],
        exponent: &[u8],
    ) -> Result<Self, KeyError> {
        let KeyKind::Rsa(parameters) = algorithm.key_kind() else {
            return Err(KeyError::OtherKind);
        };
        let (modulus, exponent) = (without_zeros(modulus), without_zeros(exponent));
        let bits = modulus.first().map_or(0, |first| {
            modulus.len() * 8 - usize::try_from(first.leading_zeros()).unwrap_or(8)
        });
        if !(2048..=RSA_BITS_MAX).contains(&bits) {
            return Err(KeyError::RsaSize);
        }
        let (modulus, exponent) = (modulus.to_vec(), exponent.to_vec());
        Ok(Self { algorithm, material: Material::Rsa { parameters, modulus, exponent } })
    }

    /// A public key that is a point of a curve: uncompressed for P-256 and P-384 (SEC 1 section 2.3.3),
    /// 32 bytes for Ed25519 (RFC 8032 section 5.1.5).
    pub(super) fn from_point(
        algorithm: Algorithm,
        on: Curve,
        point: &[u8],
    ) -> Result<Self, KeyError> {
        let KeyKind::Point { verification, curve } = algorithm.key_kind() else {
            return Err(KeyError::OtherKind);
        };
        if on != curve || point.len() != curve.point_bytes() {
            return Err(KeyError::OtherKind);
        }
        let point = point.to_vec();
        Ok(Self { algorithm, material: Material::Point { verification, curve, point } })
    }

    /// The algorithm whose tokens it verifies.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether `signature` is that of `message` by this key.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Secret(key) => hmac::verify(key, message, signature).is_ok(),
            Material::Rsa { parameters, modulus: n, exponent: e } => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok()
            }
            Material::Point { verification, point, .. } => {
                UnparsedPublicKey::new(*verification, point).verify(message, signature).is_ok()
            }
        }
    }

    /// What a verification costs, without the bytes of the message, in units of [`crate::work`].
    pub(super) fn price(&self) -> u64 {
        match &self.material {
            Material::Secret(_) => prices::JWT_HMAC,
            Material::Rsa { modulus, .. } => prices::jwt_rsa(modulus.len() * 8),
            Material::Point { curve: Curve::P256, .. } => prices::JWT_P256,
            Material::Point { curve: Curve::P384, .. } => prices::JWT_P384,
            Material::Point { curve: Curve::Ed25519, .. } => prices::JWT_ED25519,
        }
    }
}

impl fmt::Debug for Key {
    /// Shows nothing of the key itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl Curve {
    /// The length of a point.
    fn point_bytes(self) -> usize {
        match self {
            Self::P256 => 65,
            Self::P384 => 97,
            Self::Ed25519 => 32,
        }
    }
}

/// The first section of a PEM file that is a public key.
fn public_key_der(pem: &[u8]) -> Result<Vec<u8>, KeyError> {
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
        match section.map_err(|_| KeyError::NoPublicKey)? {
            (SectionKind::PublicKey, der) => return Ok(der),
            (
                SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey,
                _,
            ) => return Err(KeyError::PrivateKey),
            _ => {}
        }
    }
    Err(KeyError::NoPublicKey)
}

/// The curve that the parameters of a key name (RFC 5480 section 2.1.1).
fn curve_of(info: &SubjectPublicKeyInfo<'_>) -> Option<Curve> {
    let name = info.algorithm.parameters.as_ref()?.as_oid().ok()?;
    [(P256_OID, Curve::P256), (P384_OID, Curve::P384)]
        .into_iter()
        .find_map(|(oid, curve)| (oid == name).then_some(curve))
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

use x509_parser::der_parser::asn1_rs::Oid;
use x509_parser::der_parser::oid;

const ED25519_OID: Oid<'static> = oid!(1.3.101.112);
const P256_OID: Oid<'static> = oid!(1.2.840.10045.3.1.7);
const P384_OID: Oid<'static> = oid!(1.3.132.0.34);
const PEM_BEGIN: &[u8] = b"-----BEGIN ";
/// The most that ring verifies by.
const RSA_BITS_MAX: usize = 8192;
