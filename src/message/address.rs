//! Mail addresses and domains (RFC 5321 §4.1.2).
//!
//! A [`Mailbox`] keeps the local part exactly as it was given — quoted parts stay quoted, case is kept — because only
//! the receiver may interpret it (§2.3.11). The domain is kept in lower case, so that it can serve as a key.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A domain name in lower case without a trailing dot, or an address literal such as `[192.0.2.1]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String)]
pub struct Domain(Arc<str>);

impl Domain {
    /// The domain as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// `local-part@domain`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mailbox {
    text: Arc<str>,
    at: u16,
}

impl Mailbox {
    /// The local part as it was given, quotes included.
    pub fn local_part(&self) -> &str {
        &self.text[..usize::from(self.at)]
    }

    /// The domain in lower case.
    pub fn domain(&self) -> Domain {
        Domain(Arc::from(&self.text[usize::from(self.at) + 1..]))
    }

    /// The domain in lower case, borrowed: for look-ups that need no key of their own.
    pub fn domain_str(&self) -> &str {
        &self.text[usize::from(self.at) + 1..]
    }

    /// The whole address, without angle brackets.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.text)
    }
}

impl Serialize for Mailbox {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Mailbox {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a text is no address; each says what is wrong in words fit for an SMTP reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// No `@`, or nothing before it.
    #[error("address lacks a local part or an @")]
    NoLocalPart,
    /// Local part over 64 octets (§4.5.3.1.1).
    #[error("local part is longer than 64 octets")]
    LocalPartTooLong,
    /// A character the local part must not hold.
    #[error("local part has a character that must be quoted or is not allowed")]
    BadLocalPart,
    /// Domain empty, over 255 octets, or not made of letters, digits, hyphens and dots (or a literal).
    #[error("domain is not valid")]
    BadDomain,
    /// Non-ASCII text; SMTPUTF8 is not offered.
    #[error("address is not ASCII and SMTPUTF8 is not offered")]
    NotAscii,
}

impl FromStr for Domain {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if !text.is_ascii() {
            return Err(BadAddress::NotAscii);
        }
        if let Some(literal) = text.strip_prefix('[') {
            let inner = literal.strip_suffix(']').ok_or(BadAddress::BadDomain)?;
            let ip: std::net::IpAddr =
                inner.strip_prefix("IPv6:").unwrap_or(inner).parse().map_err(|_| BadAddress::BadDomain)?;
            let tag = if ip.is_ipv6() { "IPv6:" } else { "" };
            return Ok(Self(format!("[{tag}{ip}]").into()));
        }
        let good_label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if text.is_empty() || text.len() > 255 || !text.split('.').all(good_label) {
            return Err(BadAddress::BadDomain);
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }
}

impl FromStr for Mailbox {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        if !text.is_ascii() {
            return Err(BadAddress::NotAscii);
        }
        let at = text.rfind('@').filter(|&at| at > 0).ok_or(BadAddress::NoLocalPart)?;
        let (local, domain) = (&text[..at], &text[at + 1..]);
        if local.len() > 64 {
            return Err(BadAddress::LocalPartTooLong);
        }
        if !(is_dot_string(local) || is_quoted_string(local)) {
            return Err(BadAddress::BadLocalPart);
        }
        let domain: Domain = domain.parse()?;
        Ok(Self { text: format!("{local}@{domain}").into(), at: at as u16 })
    }
}

/// RFC 5321 `Dot-string`, a little wider: empty atoms (`a..b`, `a.`) are let through, since such addresses exist and
/// only their own host may judge them.
fn is_dot_string(local: &str) -> bool {
    local.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b))
}

fn is_quoted_string(local: &str) -> bool {
    let Some(inner) = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return false };
    let mut bytes = inner.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => match bytes.next() {
                Some(32..=126) => {}
                _ => return false,
            },
            b'"' => return false,
            32..=126 => {}
            _ => return false,
        }
    }
    local.len() >= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_their_local_part_and_lower_their_domain() {
        let mailbox: Mailbox = "Ann.Lee+x@Example.COM".parse().expect("valid");
        assert_eq!(mailbox.local_part(), "Ann.Lee+x");
        assert_eq!(mailbox.domain().as_str(), "example.com");
        assert_eq!(mailbox.as_str(), "Ann.Lee+x@example.com");
        let quoted: Mailbox = r#""a b\"@c"@example.org"#.parse().expect("valid");
        assert_eq!(quoted.local_part(), r#""a b\"@c""#);
        let literal: Mailbox = "x@[IPv6:2001:DB8::1]".parse().expect("valid");
        assert_eq!(literal.domain().as_str(), "[IPv6:2001:db8::1]");
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (text, why) in [
            ("", BadAddress::NoLocalPart),
            ("@example.org", BadAddress::NoLocalPart),
            ("a b@example.org", BadAddress::BadLocalPart),
            ("a<b@example.org", BadAddress::BadLocalPart),
            ("\"a@example.org", BadAddress::BadLocalPart),
            ("a@", BadAddress::BadDomain),
            ("a@-x.org", BadAddress::BadDomain),
            ("a@x..org", BadAddress::BadDomain),
            ("a@[300.1.1.1]", BadAddress::BadDomain),
            ("ä@example.org", BadAddress::NotAscii),
        ] {
            assert_eq!(text.parse::<Mailbox>(), Err(why), "{text}");
        }
        assert_eq!(format!("{}@x.org", "a".repeat(65)).parse::<Mailbox>(), Err(BadAddress::LocalPartTooLong));
    }
}
