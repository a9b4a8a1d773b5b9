//! What is kept of a password for SCRAM-SHA-256 (RFC 5802, RFC 7677): neither it nor anything that logs in by itself.
//!
//! Of the password there are two keys: with the one a client's proof is checked, with the other we prove that we know
//! it, too. Whoever steals them cannot log in with them, but can try passwords at the cost of [`ITERATIONS`] each,
//! which is less than argon2 takes: passwords that a program has chosen are out of reach either way.
//!
//! It stands in the file of users behind the argon2 hash, as `SCRAM-SHA-256$65536:salt$StoredKey:ServerKey` in base64, the
//! form that other programs have, too. Of passwords that are not plain ASCII there is none: these would have
//! to be prepared as RFC 4013 says, and what two programs prepare differently fits nowhere.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use base64ct::{Base64, Encoding};

/// The prefix of the text, and the name of the mechanism.
pub const NAME: &str = "SCRAM-SHA-256";
/// Passes of new verifiers (RFC 7677 §4: at least 4096). A client takes them at each login, and the clients made of Cyrus
/// SASL, such as Postfix, refuse to take more.
pub const ITERATIONS: u32 = 65_536;
/// Passes of those that are read.
const ITERATIONS_ALLOWED: std::ops::RangeInclusive<u32> = 4096..=10_000_000;
/// Octets of a hash.
const HASH: usize = 32;

/// See the module.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    /// Octets that a client mixes into the password.
    pub salt: Vec<u8>,
    /// How often.
    pub iterations: u32,
    stored: [u8; HASH],
    server: [u8; HASH],
    /// Whether there is such a user; with one who is not no proof is right.
    pub known: bool,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

fn mac(key: &[u8], text: &[u8]) -> [u8; HASH] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
    let mut octets = [0; HASH];
    octets.copy_from_slice(tag.as_ref());
    octets
}

fn hash(octets: &[u8]) -> [u8; HASH] {
    let mut out = [0; HASH];
    out.copy_from_slice(digest::digest(&digest::SHA256, octets).as_ref());
    out
}

impl Verifier {
    /// Of a password; `None` where it is not plain ASCII.
    pub fn of(password: &[u8], salt: &[u8], iterations: NonZeroU32) -> Option<Self> {
        if !password.iter().all(|octet| matches!(octet, b' '..=b'~')) {
            return None;
        }
        let mut salted = zeroize::Zeroizing::new([0; HASH]);
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password, &mut *salted);
        let stored = hash(&mac(&*salted, b"Client Key"));
        let server = mac(&*salted, b"Server Key");
        Some(Self { salt: salt.to_vec(), iterations: iterations.get(), stored, server, known: true })
    }

    /// Of somebody who is not there: always the same for the same name, so that asking twice tells nothing, and with as many
    /// passes as somebody has who is.
    pub fn of_nobody(name: &str, seed: u64, iterations: u32) -> Self {
        let key = seed.to_be_bytes();
        let salt = mac(&key, name.as_bytes())[..16].to_vec();
        let (stored, server) = (mac(&key, &salt), mac(&salt, &key));
        Self { salt, iterations, stored, server, known: false }
    }

    /// Reads its text.
    pub fn parse(text: &str) -> Option<Self> {
        let (head, keys) = text.strip_prefix(NAME)?.strip_prefix('$')?.split_once('$')?;
        let (iterations, salt) = head.split_once(':')?;
        let (stored, server) = keys.split_once(':')?;
        let iterations = iterations.parse().ok().filter(|n| ITERATIONS_ALLOWED.contains(n))?;
        let octets = |text: &str| Base64::decode_vec(text).ok();
        let key = |text: &str| <[u8; HASH]>::try_from(octets(text)?).ok();
        let salt = octets(salt).filter(|salt| (8..=64).contains(&salt.len()))?;
        Some(Self { salt, iterations, stored: key(stored)?, server: key(server)?, known: true })
    }

    /// Its text.
    pub fn to_text(&self) -> String {
        let coded = |octets: &[u8]| Base64::encode_string(octets);
        let (salt, stored, server) = (coded(&self.salt), coded(&self.stored), coded(&self.server));
        format!("{NAME}${}:{salt}${stored}:{server}", self.iterations)
    }

    /// Whether `proof` was made with the password (RFC 5802 §3), for what both sides have said.
    pub fn is_proven(&self, said: &[u8], proof: &[u8]) -> bool {
        let signature = mac(&self.stored, said);
        if proof.len() != signature.len() {
            return false;
        }
        let key: Vec<u8> = proof.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        constant_time::verify_slices_are_equal(&hash(&key), &self.stored).is_ok() && self.known
    }

    /// Our own proof.
    pub fn signature(&self, said: &[u8]) -> [u8; HASH] {
        mac(&self.server, said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677 §3.
    const SAID: &[u8] = b"n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

    fn pencil() -> Verifier {
        let salt = Base64::decode_vec("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        Verifier::of(b"pencil", &salt, NonZeroU32::new(4096).expect("not 0")).expect("ASCII")
    }

    #[test]
    fn the_vectors_of_the_rfc_hold() {
        let proof = Base64::decode_vec("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").expect("base64");
        assert!(pencil().is_proven(SAID, &proof));
        assert!(!pencil().is_proven(b"other words", &proof) && !pencil().is_proven(SAID, &proof[..31]));
        assert_eq!(Base64::encode_string(&pencil().signature(SAID)), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        let nobody = Verifier { known: false, ..pencil() };
        assert!(!nobody.is_proven(SAID, &proof));
    }

    #[test]
    fn its_text_is_read_as_it_was_written_and_shows_no_password() {
        let text = pencil().to_text();
        assert!(text.starts_with("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"), "{text}");
        assert_eq!(Verifier::parse(&text), Some(pencil()));
        assert_eq!(format!("{:?}", pencil()), "Verifier");
        for bad in [
            text.replace("4096", "4095"),
            text.replace("4096", "99999999"),
            text[..60].to_owned(),
            text.replace("==$", "$"),
        ] {
            assert_eq!(Verifier::parse(&bad), None, "{bad}");
        }
        assert_eq!(Verifier::of("p\u{e4}ss".as_bytes(), b"12345678", NonZeroU32::MIN), None);
        assert_eq!(Verifier::of_nobody("x", 1, 4096), Verifier::of_nobody("x", 1, 4096));
        assert_ne!(Verifier::of_nobody("x", 1, 4096).salt, Verifier::of_nobody("x", 2, 4096).salt);
    }
}
