//! The messages of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), without base64 around them.
//!
//! The client says who it is and a nonce ([`First`]), we answer with ours, a salt and the cost ([`Second`]), it proves that it
//! knows the password, we prove that we do. In the PLUS form what binds the login to the TLS session
//! (`tls-exporter`, RFC 9266) goes into what is proven, so nobody in between can pass it on.
//!
//! Of messages that are not as they must be nothing is repeated.

use base64ct::{Base64, Encoding};

use crate::ingress::Secret;
use crate::ingress::Verifier;

/// Octets of a client's nonce.
const NONCE_MAX: usize = 128;
/// The type of binding that we know.
const BINDING: &str = "tls-exporter";

/// The client's first message.
#[derive(Clone, PartialEq, Eq)]
pub struct First {
    /// The user's name.
    pub user: String,
    nonce: String,
    /// What stands before the message itself.
    header: String,
    bare: String,
    binding: Option<Secret>,
}

impl std::fmt::Debug for First {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("First")
    }
}

/// Why a first message is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadFirst {
    Syntax,
    /// In the name of somebody else.
    Other,
    /// The client thinks that we cannot bind: somebody has changed what we offered.
    Downgrade,
}

impl First {
    /// Reads it. `plus`: as the mechanism that binds; `binding`: what binds this session.
    pub(super) fn read(message: &[u8], plus: bool, binding: Option<&Secret>) -> Result<Self, BadFirst> {
        let text = std::str::from_utf8(message).map_err(|_| BadFirst::Syntax)?;
        let mut parts = text.splitn(3, ',');
        let (Some(flag), Some(as_whom), Some(bare)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(BadFirst::Syntax);
        };
        let binding = match (flag, plus) {
            ("n", false) => None,
            ("y", false) if binding.is_none() => None,
            ("y", false) => return Err(BadFirst::Downgrade),
            (flag, true) if flag.strip_prefix("p=") == Some(BINDING) => Some(binding.ok_or(BadFirst::Syntax)?.clone()),
            _ => return Err(BadFirst::Syntax),
        };
        let mut attributes = bare.split(',');
        let user = attributes.next().and_then(|word| word.strip_prefix("n=")).and_then(name).ok_or(BadFirst::Syntax)?;
        let nonce = attributes.next().and_then(|word| word.strip_prefix("r=")).ok_or(BadFirst::Syntax)?;
        if !(8..=NONCE_MAX).contains(&nonce.len()) || !nonce.bytes().all(|octet| octet.is_ascii_graphic()) {
            return Err(BadFirst::Syntax);
        }
        if !as_whom.is_empty() && as_whom.strip_prefix("a=").and_then(name).as_ref() != Some(&user) {
            return Err(BadFirst::Other);
        }
        let header = format!("{flag},{as_whom},");
        Ok(Self { user, nonce: nonce.to_owned(), header, bare: bare.to_owned(), binding })
    }

    /// Our answer, and what is expected next. `nonce` is random.
    pub(super) fn answer(self, verifier: Verifier, nonce: &[u8]) -> (Second, String) {
        let nonce = format!("{}{}", self.nonce, Base64::encode_string(nonce));
        let salt = Base64::encode_string(&verifier.salt);
        let answer = format!("r={nonce},s={salt},i={}", verifier.iterations);
        let bound = [self.header.as_bytes(), self.binding.as_ref().map_or(&[][..], Secret::expose)].concat();
        let expected = format!("c={},r={nonce}", Base64::encode_string(&bound));
        let said = format!("{},{answer},", self.bare);
        (Second { user: self.user, verifier, expected, said }, answer)
    }
}

/// A name with its commas and equal signs as they are meant (RFC 5802 §5.1).
fn name(text: &str) -> Option<String> {
    let mut name = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('=') {
        name.push_str(before);
        name.push(match after.get(..2)? {
            "2C" => ',',
            "3D" => '=',
            _ => return None,
        });
        rest = &after[2..];
    }
    name.push_str(rest);
    (!name.is_empty()).then_some(name)
}

/// What we wait for after our answer.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Second {
    user: String,
    verifier: Verifier,
    expected: String,
    said: String,
}

impl std::fmt::Debug for Second {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Second")
    }
}

/// What came of it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Proven {
    pub(super) user: String,
    pub(super) right: bool,
    /// Our own proof, for a client that was right.
    pub(super) last_word: String,
}

impl Second {
    /// The client's last message; `None` where it is none.
    pub(super) fn prove(self, message: &[u8]) -> Option<Proven> {
        let text = std::str::from_utf8(message).ok()?;
        let (without, proof) = text.rsplit_once(",p=")?;
        let proof = Base64::decode_vec(proof).ok()?;
        let said = format!("{}{without}", self.said);
        // What is bound and both nonces, and nothing that we do not know.
        let is_expected = without == self.expected;
        let right = self.verifier.is_proven(said.as_bytes(), &proof) && is_expected;
        let last_word = format!("v={}", Base64::encode_string(&self.verifier.signature(said.as_bytes())));
        Some(Proven { user: self.user, right, last_word })
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;

    use super::*;

    fn verifier() -> Verifier {
        let salt = Base64::decode_vec("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        Verifier::of(b"pencil", &salt, NonZeroU32::new(4096).expect("not 0")).expect("ASCII")
    }

    /// Of what binds: `header` is what goes into `c=`.
    fn talk(first: &str, plus: bool, binding: Option<&[u8]>, bound: &[u8]) -> Option<bool> {
        let binding = binding.map(|octets| Secret::new(octets.to_vec()));
        let first = First::read(first.as_bytes(), plus, binding.as_ref()).ok()?;
        let bare = first.bare.clone();
        let (second, answer) = first.answer(verifier(), b"0123456789");
        let nonce = answer.split(',').next().expect("r=").to_owned();
        let without = format!("c={},{nonce}", Base64::encode_string(bound));
        let said = format!("{bare},{answer},{without}");
        // The client's side, from the same password.
        let mut salted = [0; 32];
        let salt = &verifier().salt;
        let passes = NonZeroU32::new(4096).expect("not 0");
        aws_lc_rs::pbkdf2::derive(aws_lc_rs::pbkdf2::PBKDF2_HMAC_SHA256, passes, salt, b"pencil", &mut salted);
        let mac = |key: &[u8], text: &[u8]| {
            aws_lc_rs::hmac::sign(&aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key), text).as_ref().to_vec()
        };
        let key = mac(&salted, b"Client Key");
        let stored = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &key);
        let proof: Vec<u8> = key.iter().zip(mac(stored.as_ref(), said.as_bytes())).map(|(a, b)| a ^ b).collect();
        let message = format!("{without},p={}", Base64::encode_string(&proof));
        second.prove(message.as_bytes()).map(|proven| proven.right)
    }

    #[test]
    fn the_talk_of_the_rfc_is_carried_on_to_its_end() {
        let first = First::read(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", false, None).expect("good");
        assert_eq!(first.user, "user");
        let (mut second, _) = first.answer(verifier(), b"x");
        // The nonce of the RFC is no base64, so it is put in its place by hand.
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        second.expected = format!("c=biws,r={nonce}");
        second.said = format!("n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,");
        let last = format!("c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let proven = second.prove(last.as_bytes()).expect("read");
        assert!(proven.right);
        assert_eq!(proven.last_word, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn what_is_proven_holds_the_header_and_what_binds() {
        let key = &[7u8; 32][..];
        let plus = "p=tls-exporter,,n=user,r=abcdefgh";
        let bound = |header: &str, key: &[u8]| [header.as_bytes(), key].concat();
        for (first, is_plus, binding, said, right) in [
            ("n,,n=user,r=abcdefgh", false, None, bound("n,,", b""), Some(true)),
            ("n,,n=user,r=abcdefgh", false, Some(key), bound("n,,", b""), Some(true)),
            ("n,,n=user,r=abcdefgh", false, None, bound("y,,", b""), Some(false)),
            ("y,,n=user,r=abcdefgh", false, None, bound("y,,", b""), Some(true)),
            ("y,,n=user,r=abcdefgh", false, Some(key), bound("y,,", b""), None),
            (plus, true, Some(key), bound("p=tls-exporter,,", key), Some(true)),
            (plus, true, Some(key), bound("p=tls-exporter,,", b"other"), Some(false)),
            (plus, true, None, bound("p=tls-exporter,,", key), None),
            (plus, false, Some(key), bound("p=tls-exporter,,", key), None),
            ("n,,n=user,r=abcdefgh", true, Some(key), bound("n,,", b""), None),
            ("p=tls-unique,,n=user,r=abcdefgh", true, Some(key), Vec::new(), None),
            ("n,a=user,n=user,r=abcdefgh", false, None, bound("n,a=user,", b""), Some(true)),
            ("n,a=boss,n=user,r=abcdefgh", false, None, Vec::new(), None),
            ("n,,m=x,n=user,r=abcdefgh", false, None, Vec::new(), None),
            ("n,,n=user,r=short", false, None, Vec::new(), None),
            ("n,,n=,r=abcdefgh", false, None, Vec::new(), None),
        ] {
            assert_eq!(talk(first, is_plus, binding, &said), right, "{first} {is_plus} {binding:?}");
        }
        assert_eq!(name("a=2Cb=3Dc").as_deref(), Some("a,b=c"));
        assert_eq!((name("a=2cb"), name("a=")), (None, None));
    }

    proptest! {
        #[test]
        fn any_message_is_answered(first in "[nyp=,a-z\u{e4}]{0,40}", last in "[cr=,p+/A-Z]{0,60}") {
            if let Ok(first) = First::read(format!("n,,n=u,r=abcdefgh{first}").as_bytes(), false, None) {
                let (second, _) = first.answer(verifier(), b"x");
                let _ = second.prove(last.as_bytes());
            }
            let _ = First::read(first.as_bytes(), true, None);
        }
    }
}
