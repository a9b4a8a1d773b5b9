//! What DMARC and DKIM records say (RFC 9989 §4.7, RFC 6376 §3.6.1). Reads what strangers wrote.

use std::fmt;

use mail_parser::decoders::base64::base64_decode;

/// Shortest RSA key that large receivers accept.
const RSA_LEAST: usize = 1024;
/// Characters of a record's words that are repeated.
const QUOTED: usize = 60;

/// The DMARC records at one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Dmarc {
    /// None among the TXT records.
    Absent,
    /// More than one: receivers ignore them all.
    Many,
    /// One that means nothing.
    Wrong(String),
    /// The policy for the domain itself and for those below it.
    Policy { own: &'static str, below: &'static str },
}

/// Reads the TXT records at `_dmarc.…`.
pub(super) fn dmarc(texts: &[String]) -> Dmarc {
    let is_dmarc = |text: &&String| {
        let first = tags(text).next();
        first.is_some_and(|(name, value)| name == "v" && value == "DMARC1")
    };
    let found: Vec<&String> = texts.iter().filter(is_dmarc).collect();
    let record = match found.as_slice() {
        [] => return Dmarc::Absent,
        [record] => record,
        _ => return Dmarc::Many,
    };
    let of = |name: &str| tags(record).find(|(tag, _)| *tag == name).map(|(_, value)| value);
    let Some(own) = of("p") else { return Dmarc::Wrong("the policy (p=) is missing".to_owned()) };
    let Some(own) = policy(own) else { return Dmarc::Wrong(format!("p={} is no policy", quoted(own))) };
    Dmarc::Policy { own, below: of("sp").and_then(policy).unwrap_or(own) }
}

fn policy(word: &str) -> Option<&'static str> {
    ["none", "quarantine", "reject"].into_iter().find(|policy| policy.eq_ignore_ascii_case(word))
}

/// A DKIM key that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// The key itself.
    pub(super) octets: Vec<u8>,
    kind: &'static str,
    bits: usize,
    /// The domain is testing (`t=y`).
    pub(super) testing: bool,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} key of {} bit", self.kind, self.bits)
    }
}

/// Reads the TXT records at `SELECTOR._domainkey.…`; says in words what is wrong with them.
pub(super) fn dkim(texts: &[String]) -> Result<Key, String> {
    let [text] = texts else {
        return Err(format!("{} records where there must be one", texts.len()));
    };
    let of = |name: &str| tags(text).find(|(tag, _)| *tag == name).map(|(_, value)| value);
    if let Some(version) = of("v").filter(|version| *version != "DKIM1") {
        return Err(format!("v={} is not DKIM1", quoted(version)));
    }
    let Some(key) = of("p") else { return Err("it holds no key (p=)".to_owned()) };
    if key.is_empty() {
        return Err("the key is revoked (p= is empty)".to_owned());
    }
    let packed: String = key.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let key = base64_decode(packed.as_bytes()).filter(|key| !key.is_empty());
    let Some(key) = key else { return Err("the key is no base64".to_owned()) };
    let testing = of("t").is_some_and(|flags| flags.split(':').any(|flag| flag.trim() == "y"));
    match of("k").unwrap_or("rsa") {
        "rsa" => match rsa_bits(&key) {
            Some(bits) if bits < RSA_LEAST => Err(format!("the RSA key has {bits} bit; {RSA_LEAST} is the least")),
            Some(bits) => Ok(Key { kind: "RSA", bits, testing, octets: key }),
            None => Err("the key is no RSA public key".to_owned()),
        },
        "ed25519" if key.len() == 32 => Ok(Key { kind: "Ed25519", bits: 256, testing, octets: key }),
        "ed25519" => Err(format!("an Ed25519 key has 32 octets, not {}", key.len())),
        other => Err(format!("k={} is no known kind of key", quoted(other))),
    }
}

/// `name=value` pairs between semicolons.
fn tags(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(';').filter_map(|tag| tag.split_once('=')).map(|(name, value)| (name.trim(), value.trim()))
}

fn quoted(text: &str) -> String {
    text.chars().take(QUOTED).collect()
}

/// Length of the modulus of an RSA public key in DER: a SubjectPublicKeyInfo, as everybody publishes, or the bare
/// RSAPublicKey of RFC 6376.
fn rsa_bits(der: &[u8]) -> Option<usize> {
    const INTEGER: u8 = 0x02;
    const BITS: u8 = 0x03;
    const SEQUENCE: u8 = 0x30;
    let (tag, outer, _) = element(der)?;
    if tag != SEQUENCE {
        return None;
    }
    let (tag, first, rest) = element(outer)?;
    let modulus = match tag {
        INTEGER => first,
        SEQUENCE => {
            let (tag, bits, _) = element(rest)?;
            // The first octet says how many bits of the last do not count; a key fills it.
            let key = bits.strip_prefix(&[0]).filter(|_| tag == BITS)?;
            let (tag, numbers, _) = element(key)?;
            let (number, modulus, _) = element(numbers)?;
            Some(modulus).filter(|_| tag == SEQUENCE && number == INTEGER)?
        }
        _ => return None,
    };
    let start = modulus.iter().position(|octet| *octet != 0)?;
    let significant = &modulus[start..];
    Some(significant.len() * 8 - significant.first()?.leading_zeros() as usize)
}

/// Tag, content and what follows of the first DER element (X.690 §8.1).
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let octets = usize::from(first & 0x7f);
        // No key is longer than two octets can say.
        if !(1..=2).contains(&octets) || rest.len() < octets {
            return None;
        }
        let (length, rest) = rest.split_at(octets);
        (length.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet)), rest)
    };
    (rest.len() >= length).then(|| (tag, &rest[..length], &rest[length..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base64(bytes: &[u8]) -> String {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let word = chunk.iter().chain([0, 0].iter()).take(3).fold(0u32, |sum, b| sum << 8 | u32::from(*b));
            for at in 0..4 {
                let sextet = usize::try_from(word >> (18 - 6 * at) & 63).unwrap();
                text.push(if at <= chunk.len() { char::from(ALPHABET[sextet]) } else { '=' });
            }
        }
        text
    }

    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![tag];
        match content.len() {
            short @ 0..0x80 => out.push(u8::try_from(short).unwrap()),
            long => {
                out.push(0x82);
                out.extend(u16::try_from(long).unwrap().to_be_bytes());
            }
        }
        out.extend(content);
        out
    }

    /// A public key with a modulus of `bits`, in the form of RFC 6376 or as everybody has it.
    fn rsa(bits: usize, wrapped: bool) -> Vec<u8> {
        let mut modulus = vec![0xff; bits / 8];
        modulus.insert(0, 0);
        let key = tlv(0x30, &[tlv(0x02, &modulus), tlv(0x02, &[1, 0, 1])].concat());
        if !wrapped {
            return key;
        }
        let algorithm = tlv(0x30, &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00]);
        tlv(0x30, &[algorithm, tlv(0x03, &[vec![0], key].concat())].concat())
    }

    #[test]
    fn keys_are_measured_in_both_forms() {
        for bits in [512, 1024, 2048, 4096] {
            assert_eq!(rsa_bits(&rsa(bits, true)), Some(bits));
            assert_eq!(rsa_bits(&rsa(bits, false)), Some(bits));
        }
        let whole = rsa(1024, true);
        for cut in 0..whole.len() {
            // Also: no panic.
            assert_eq!(rsa_bits(&whole[..cut]), None, "{cut}");
        }
        for strange in [&b""[..], b"\x30", b"\x30\xff", b"\x30\x82\xff\xff", b"\x02\x01\x01", b"\x30\x03\x02\x01\x00"] {
            assert_eq!(rsa_bits(strange), None, "{strange:?}");
        }
    }

    #[test]
    fn a_key_is_good_or_it_is_said_why_not() {
        let p = |key: &[u8]| format!("v=DKIM1; k=rsa; p={}", base64(key));
        let good = p(&rsa(2048, true));
        for (text, said) in [
            (good.clone(), "RSA key of 2048 bit"),
            (good.replace("v=DKIM1; k=rsa; ", ""), "RSA key of 2048 bit"),
            (p(&rsa(1024, false)), "RSA key of 1024 bit"),
            (format!("k=ed25519; p={}", base64(&[7; 32])), "Ed25519 key of 256 bit"),
        ] {
            assert_eq!(dkim(std::slice::from_ref(&text)).expect(&text).to_string(), said);
        }
        let split = good.replace("; p=MII", "; p= M I\tI");
        assert!(dkim(&[split]).is_ok(), "white space in the key is none of it");
        assert!(dkim(&[format!("{good}; t=s:y")]).unwrap().testing);
        for (text, word) in [
            (p(&rsa(512, true)), "512 bit"),
            ("v=DKIM1; p=".to_owned(), "revoked"),
            ("v=DKIM1".to_owned(), "no key"),
            ("v=DKIM2; p=abc".to_owned(), "not DKIM1"),
            ("p=aGVsbG8=".to_owned(), "no RSA"),
            (format!("k=ed25519; p={}", base64(&[7; 31])), "32 octets"),
            (format!("k=rot13; p={}", base64(&[7; 31])), "no known kind"),
            ("something else".to_owned(), "no key"),
        ] {
            let error = dkim(std::slice::from_ref(&text)).expect_err(&text);
            assert!(error.contains(word), "{text}: {error}");
        }
        assert!(dkim(&[good.clone(), good]).unwrap_err().contains("2 records"));
    }

    #[test]
    fn policies_are_read_as_receivers_read_them() {
        let of = |texts: &[&str]| dmarc(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        let policy = |own, below| Dmarc::Policy { own, below };
        assert_eq!(of(&["v=DMARC1; p=reject"]), policy("reject", "reject"));
        assert_eq!(of(&["other", "v=DMARC1;p=None; sp=Quarantine"]), policy("none", "quarantine"));
        assert_eq!(of(&[]), Dmarc::Absent);
        assert_eq!(of(&["v=spf1 -all", "p=reject; v=DMARC1"]), Dmarc::Absent, "v stands first");
        assert_eq!(of(&["v=DMARC1; p=none", "v=DMARC1; p=reject"]), Dmarc::Many);
        assert!(matches!(of(&["v=DMARC1; rua=mailto:a@example.org"]), Dmarc::Wrong(_)));
        assert!(matches!(of(&["v=DMARC1; p=block"]), Dmarc::Wrong(_)));
    }
}
