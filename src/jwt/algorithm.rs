//! The algorithms that tokens may be signed with, and the kind of key that each needs.

use ring::hmac::{HMAC_SHA256, HMAC_SHA384, HMAC_SHA512};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, VerificationAlgorithm,
};

/// An algorithm of RFC 7518 section 3.1 or RFC 8037 section 3.1. `none` is not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256 and a shared secret.
    Hs256,
    /// HMAC with SHA-384 and a shared secret.
    Hs384,
    /// HMAC with SHA-512 and a shared secret.
    Hs512,
    /// RSA PKCS #1 v1.5 with SHA-256.
    Rs256,
    /// RSA PKCS #1 v1.5 with SHA-384.
    Rs384,
    /// RSA PKCS #1 v1.5 with SHA-512.
    Rs512,
    /// RSA PSS with SHA-256.
    Ps256,
    /// RSA PSS with SHA-384.
    Ps384,
    /// RSA PSS with SHA-512.
    Ps512,
    /// ECDSA on the curve P-256 with SHA-256.
    Es256,
    /// ECDSA on the curve P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

/// The kind of key that an algorithm needs, with what verifies by it. An algorithm has one kind, so a
/// public key can never be taken for a secret (RFC 8725 section 2.1).
#[derive(Clone, Copy)]
pub(super) enum KeyKind {
    /// A secret of at least `secret_bytes_min` bytes (RFC 7518 section 3.2).
    Secret { hmac: ring::hmac::Algorithm, secret_bytes_min: usize },
    /// A public key of RSA.
    Rsa(&'static RsaParameters),
    /// A point on a curve, which takes `point_bytes` bytes uncompressed.
    Point { verification: &'static dyn VerificationAlgorithm, curve: Curve },
}

/// The curves of public keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    Ed25519,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 12] = [
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// The value of `alg` in headers and keys (RFC 7518 section 3.1).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The value of `alg` as the library reads it.
    pub(super) fn in_header(self) -> jsonwebtoken::Algorithm {
        use jsonwebtoken::Algorithm as Header;
        match self {
            Self::Hs256 => Header::HS256,
            Self::Hs384 => Header::HS384,
            Self::Hs512 => Header::HS512,
            Self::Rs256 => Header::RS256,
            Self::Rs384 => Header::RS384,
            Self::Rs512 => Header::RS512,
            Self::Ps256 => Header::PS256,
            Self::Ps384 => Header::PS384,
            Self::Ps512 => Header::PS512,
            Self::Es256 => Header::ES256,
            Self::Es384 => Header::ES384,
            Self::EdDsa => Header::EdDSA,
        }
    }

    /// Whether its key is a secret that signer and gateway share.
    #[must_use]
    pub fn is_symmetric(self) -> bool {
        matches!(self.key_kind(), KeyKind::Secret { .. })
    }

    pub(super) fn key_kind(self) -> KeyKind {
        let secret = |hmac, secret_bytes_min| KeyKind::Secret { hmac, secret_bytes_min };
        match self {
            Self::Hs256 => secret(HMAC_SHA256, 32),
            Self::Hs384 => secret(HMAC_SHA384, 48),
            Self::Hs512 => secret(HMAC_SHA512, 64),
            Self::Rs256 => KeyKind::Rsa(&RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => KeyKind::Rsa(&RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => KeyKind::Rsa(&RSA_PKCS1_2048_8192_SHA512),
            Self::Ps256 => KeyKind::Rsa(&RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => KeyKind::Rsa(&RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => KeyKind::Rsa(&RSA_PSS_2048_8192_SHA512),
            Self::Es256 => {
                KeyKind::Point { verification: &ECDSA_P256_SHA256_FIXED, curve: Curve::P256 }
            }
            Self::Es384 => {
                KeyKind::Point { verification: &ECDSA_P384_SHA384_FIXED, curve: Curve::P384 }
            }
            Self::EdDsa => KeyKind::Point { verification: &ED25519, curve: Curve::Ed25519 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hs_algorithms_are_symmetric() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.is_symmetric(), algorithm.name().starts_with("HS"));
        }
    }
}
