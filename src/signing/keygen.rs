//! New keys, and the records that let others verify what they sign.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

/// What to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// RSA of so many bits: 2048, 3072 or 4096.
    Rsa(u16),
    /// Ed25519 (RFC 8463).
    Ed25519,
}

/// A new key.
pub struct Made {
    /// PKCS#8 in PEM.
    pub pem: Zeroizing<String>,
    /// The record's text (RFC 6376 §3.6.1).
    pub record: String,
}

/// Makes a key. RSA takes a second or so.
///
/// # Errors
/// In words.
pub fn make(kind: Kind) -> Result<Made, String> {
    let failed = |_| "the key could not be made".to_owned();
    match kind {
        Kind::Ed25519 => {
            let pair = Ed25519KeyPair::generate().map_err(failed)?;
            let secret = pair.to_pkcs8v1().map_err(failed)?;
            Ok(Made { pem: pem(secret.as_ref()), record: record("ed25519", pair.public_key().as_ref()) })
        }
        Kind::Rsa(bits) => {
            let size = match bits {
                2048 => KeySize::Rsa2048,
                3072 => KeySize::Rsa3072,
                4096 => KeySize::Rsa4096,
                other => return Err(format!("{other} is no length of a key; 2048, 3072 or 4096")),
            };
            let pair = RsaKeyPair::generate(size).map_err(failed)?;
            let secret: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
            let public: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(failed)?;
            Ok(Made { pem: pem(secret.as_ref()), record: record("rsa", public.as_ref()) })
        }
    }
}

/// The text of a record for a public key.
pub fn record(kind: &str, public: &[u8]) -> String {
    format!("v=DKIM1; k={kind}; p={}", Base64::encode_string(public))
}

/// The record as a line of a zone file: strings of at most 255 octets (RFC 1035 §3.3), put together again by who reads it.
pub fn zone_line(selector: &str, domain: &str, record: &str) -> String {
    let mut strings = Vec::new();
    let mut rest = record;
    while !rest.is_empty() {
        // The text is ASCII.
        let (string, more) = rest.split_at(rest.len().min(250));
        strings.push(format!("\"{string}\""));
        rest = more;
    }
    format!("{selector}._domainkey.{domain}. IN TXT ( {} )", strings.join("\n    "))
}

/// An RSAPublicKey in the wrapping of RFC 5280 §4.1.2.7 with the algorithm rsaEncryption.
pub fn subject_public_key_info(key: &[u8]) -> Vec<u8> {
    const ALGORITHM: [u8; 15] = [0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
    let bits = element(3, &[&[0], key].concat());
    element(0x30, &[&ALGORITHM, &bits[..]].concat())
}

/// A DER element of less than 64 KiB (X.690 §8.1).
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = match content.len() {
        short @ 0..0x80 => vec![short as u8],
        middle @ 0x80..0x100 => vec![0x81, middle as u8],
        long => [&[0x82], &(long as u16).to_be_bytes()[..]].concat(),
    };
    [&[tag], &length[..], content].concat()
}

fn pem(der: &[u8]) -> Zeroizing<String> {
    let text = Zeroizing::new(Base64::encode_string(der));
    let mut pem = Zeroizing::new(String::with_capacity(text.len() + text.len() / 64 + 64));
    pem.push_str("-----BEGIN PRIVATE KEY-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = more;
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    pem
}
