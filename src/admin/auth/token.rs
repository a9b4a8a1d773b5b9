//! Tokens, and what is kept of them.

use std::fmt;

use aws_lc_rs::{constant_time, digest, rand};

use crate::admin::problem::Problem;

/// What every token begins with: so that people and scanners of repositories know one when they see it.
const PREFIX: &str = "remuda_";
/// Octets of randomness.
const OCTETS: usize = 32;

/// The system has no randomness to give.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoRandom;

impl From<NoRandom> for Problem {
    fn from(why: NoRandom) -> Self {
        Self::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, why.to_string())
    }
}

/// SHA-256 of a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// That of `token`.
    pub fn of(token: &str) -> Self {
        let mut octets = [0; 32];
        octets.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
        Self(octets)
    }

    /// Whether they are the same, in a time that tells nothing of where they differ.
    pub fn is(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }

    /// As the configuration has it.
    pub fn written(&self) -> String {
        let hex: String = self.0.iter().map(|octet| format!("{octet:02x}")).collect();
        format!("sha256:{hex}")
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(…)")
    }
}

/// A token nobody has: [`PREFIX`] and 256 bits from the system's generator, in hexadecimal.
///
/// # Errors
/// [`NoRandom`]
pub fn random() -> Result<String, NoRandom> {
    let mut octets = [0; OCTETS];
    rand::fill(&mut octets).map_err(|_| NoRandom)?;
    let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    Ok(format!("{PREFIX}{hex}"))
}

/// 128 bits from the system's generator, in hexadecimal: a text that stands nowhere else.
///
/// # Errors
/// [`NoRandom`]
pub fn nonce() -> Result<String, NoRandom> {
    let mut octets = [0; 16];
    rand::fill(&mut octets).map_err(|_| NoRandom)?;
    Ok(octets.iter().map(|octet| format!("{octet:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_token_is_its_sha_256() {
        // FIPS 180-2, appendix B.1.
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of("abc").written(), abc);
        assert!(Digest::of("abc").is(&Digest::of("abc")) && !Digest::of("abc").is(&Digest::of("abd")));
        assert_eq!(format!("{:?}", Digest::of("abc")), "Digest(…)");
    }

    #[test]
    fn no_two_tokens_are_alike() {
        let tokens: std::collections::BTreeSet<String> = (0..100).map(|_| random().expect("random")).collect();
        assert_eq!(tokens.len(), 100);
        assert!(tokens.iter().all(|token| token.len() == PREFIX.len() + 64), "{tokens:?}");
    }
}
