//! Mail addresses and domains (RFC 5321 §4.1.2).
//!
//! A [`Mailbox`] keeps the local part exactly as it was given — quoted parts stay quoted, case is kept — because only
//! the receiver may interpret it (§2.3.11). The domain is kept in lower case, so that it can serve as a key.
//!
//! Internationalised addresses (RFC 6531 §3.3) are read by [`Mailbox::international`] only, where the client has said
//! SMTPUTF8. Their domain is shown as it was typed, and known everywhere else — as a key, in look-ups, against patterns —
//! by its A-labels ([`Mailbox::domain`]): `grüße@bücher.example` and `grüße@xn--bcher-kva.example` go the same way.

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
    /// The address; behind it the domain in A-labels, where it was typed in others.
    text: Arc<str>,
    at: u16,
    /// Where the address ends.
    end: u16,
}

impl Mailbox {
    /// Reads an address that may hold UTF-8 on both sides of its `@` (RFC 6531 §3.3), which `parse` refuses.
    ///
    /// # Errors
    /// It is no address, or its domain has no form in A-labels (RFC 5891, UTS 46).
    pub fn international(text: &str) -> Result<Self, BadAddress> {
        let at = text.rfind('@').filter(|&at| at > 0).ok_or(BadAddress::NoLocalPart)?;
        let (local, domain) = (&text[..at], &text[at + 1..]);
        if local.len() > 64 {
            return Err(BadAddress::LocalPartTooLong);
        }
        if !(is_dot_string(local) || is_quoted_string(local)) {
            return Err(BadAddress::BadLocalPart);
        }
        if domain.is_ascii() {
            let domain: Domain = domain.parse()?;
            return Ok(Self::joined(local, domain.as_str(), ""));
        }
        // Also bounds the work: a name of 255 octets in A-labels is shorter than 255 characters.
        if domain.len() > 1020 || domain.chars().any(char::is_control) {
            return Err(BadAddress::BadDomain);
        }
        let ascii: Domain = to_ascii(domain)?;
        Ok(Self::joined(local, domain, ascii.as_str()))
    }

    /// Lengths were checked: 64 octets, 1020 at most and one between them.
    fn joined(local: &str, domain: &str, ascii: &str) -> Self {
        let end = local.len() + 1 + domain.len();
        Self { text: format!("{local}@{domain}{ascii}").into(), at: local.len() as u16, end: end as u16 }
    }

    /// The local part as it was given, quotes included.
    pub fn local_part(&self) -> &str {
        &self.text[..usize::from(self.at)]
    }

    /// The domain in lower case, in A-labels.
    pub fn domain(&self) -> Domain {
        Domain(Arc::from(self.domain_str()))
    }

    /// The domain in lower case, in A-labels, borrowed: for look-ups that need no key of their own.
    pub fn domain_str(&self) -> &str {
        match &self.text[usize::from(self.end)..] {
            "" => &self.text[usize::from(self.at) + 1..],
            ascii => ascii,
        }
    }

    /// The whole address, without angle brackets, its domain as it was typed.
    pub fn as_str(&self) -> &str {
        &self.text[..usize::from(self.end)]
    }

    /// Whether it can stand in an envelope without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.as_str().is_ascii()
    }

    /// The same in ASCII, which is possible unless the local part is not (RFC 6531 §3.2 leaves no other way to write it).
    pub fn to_ascii(&self) -> Option<Self> {
        self.local_part().is_ascii().then(|| Self::joined(self.local_part(), self.domain_str(), ""))
    }
}

/// A domain of U-labels in A-labels, by the rules of UTS 46 as resolvers and browsers apply them.
fn to_ascii(domain: &str) -> Result<Domain, BadAddress> {
    let ascii = idna::uts46::Uts46::new().to_ascii(
        domain.as_bytes(),
        idna::uts46::AsciiDenyList::STD3,
        idna::uts46::Hyphens::CheckFirstLast,
        idna::uts46::DnsLength::VerifyAllowRootDot,
    );
    ascii.map_err(|_| BadAddress::BadDomain)?.parse()
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.as_str())
    }
}

impl Serialize for Mailbox {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Mailbox {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        // What is stored was let in once; whether it may be UTF-8 was asked then.
        Self::international(&text).map_err(serde::de::Error::custom)
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
    /// Non-ASCII text where nobody has said SMTPUTF8.
    #[error("address is not ASCII, which needs SMTPUTF8")]
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
        Self::international(text)
    }
}

/// RFC 5321 `Dot-string`, a little wider: empty atoms (`a..b`, `a.`) are let through, since such addresses exist and
/// only their own host may judge them. RFC 6531 §3.3 adds all of UTF-8; control characters stay out.
fn is_dot_string(local: &str) -> bool {
    local.chars().all(|c| if c.is_ascii() { is_atom(c) } else { !c.is_control() })
}

fn is_atom(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c)
}

fn is_quoted_string(local: &str) -> bool {
    let Some(inner) = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return false };
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        let is_good = match c {
            '\\' => chars.next().is_some_and(|c| matches!(c, ' '..='~')),
            '"' => false,
            ' '..='~' => true,
            c => !c.is_ascii() && !c.is_control(),
        };
        if !is_good {
            return false;
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

    #[test]
    fn an_international_address_is_shown_as_typed_and_known_by_its_a_labels() {
        for (text, domain, ascii) in [
            ("grüße@bücher.example", "xn--bcher-kva.example", None),
            ("ann@Bücher.Example", "xn--bcher-kva.example", Some("ann@xn--bcher-kva.example")),
            ("ann@例え。テスト", "xn--r8jz45g.xn--zckzah", Some("ann@xn--r8jz45g.xn--zckzah")),
            ("\"grüße da\"@example.org", "example.org", None),
            ("ann@Example.ORG", "example.org", Some("ann@example.org")),
        ] {
            let mailbox = Mailbox::international(text).expect(text);
            assert_eq!((mailbox.domain_str(), mailbox.domain().as_str()), (domain, domain), "{text}");
            assert_eq!(mailbox.to_ascii().as_ref().map(Mailbox::as_str), ascii, "{text}");
            assert!(mailbox.to_ascii().is_none_or(|ascii| ascii.is_ascii() && ascii.domain_str() == domain));
            let shown = if mailbox.is_ascii() { text.to_ascii_lowercase() } else { text.to_owned() };
            assert_eq!((mailbox.as_str(), mailbox.to_string()), (&*shown, shown.clone()), "{text}");
            let stored = serde_json::to_string(&mailbox).expect("json");
            assert_eq!(serde_json::from_str::<Mailbox>(&stored).expect("stored"), mailbox, "{stored}");
        }
    }

    #[test]
    fn what_is_no_international_address_says_why() {
        let long = format!("{}@x.org", "ü".repeat(33));
        let long_label = format!("a@{}.org", "ü".repeat(63));
        for (text, why) in [
            (&*long, BadAddress::LocalPartTooLong),
            (&long_label, BadAddress::BadDomain),
            ("a\u{85}b@x.org", BadAddress::BadLocalPart),
            ("ü b@x.org", BadAddress::BadLocalPart),
            ("a@ü x.org", BadAddress::BadDomain),
            ("a@-ü.org", BadAddress::BadDomain),
            ("a@ü..org", BadAddress::BadDomain),
            ("a@ü_.org", BadAddress::BadDomain),
            ("a@\u{200d}ü.org", BadAddress::BadDomain),
            ("a@[ü]", BadAddress::BadDomain),
            ("ü", BadAddress::NoLocalPart),
        ] {
            assert_eq!(Mailbox::international(text), Err(why), "{text:?}");
        }
    }
}
