//! Which keys sign a message. Pure.
//!
//! A signature whose domain is that of `From:` says that the domain itself stands for the mail (DMARC, RFC 9989 §4.4), so it
//! is made for those tenants only that the key names ([`crate::config::DkimKey::tenants`]). Any other signature says who
//! passed the mail on, which is a name of the house: the key signs in it where the tenant names the key
//! ([`crate::config::Tenant::dkim`]), but not if the mail is `From:` the key's own domain or a relative of it: a tenant could
//! otherwise write in the name of the house.
//!
//! What is a relative DMARC says by a list of public suffixes or a walk through the DNS. Here it is who shares the last two
//! labels: more than DMARC calls so (all of `co.uk` is one family), which costs a signature in the name of the house now and
//! then, and never gives one away.
//!
//! Where it is not certain what `From:` says (no such field, several of them, nothing in it that is an address, or
//! something that different readers may read differently) nothing is signed.

use crate::config::DkimKey;
use crate::message::header::Headers;
use crate::message::{Domain, Mailbox, TenantName};

/// Octets of `From:` that are read.
const FROM_MAX: usize = 16 * 1024;

/// The domains of those who wrote a message, as `From:` names them; empty where that is not certain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Author(Vec<Domain>);

impl Author {
    /// Reads the one `From:` field.
    pub fn of(headers: Headers<'_>) -> Self {
        let mut fields = headers.all("From");
        match (fields.next(), fields.next()) {
            (Some(value), None) if value.len() <= FROM_MAX => Self::read(&value),
            _ => Self::default(),
        }
    }

    fn read(value: &str) -> Self {
        let domains: Option<Vec<Domain>> = mailboxes(value).map(|all| all.iter().map(Mailbox::domain).collect());
        Self(domains.unwrap_or_default())
    }
}

/// The addresses of a list of mailboxes (RFC 5322 §3.4); `None` where it is anything else. Strict: no groups, no routes, no
/// comments: what readers differ about is not worth a signature.
fn mailboxes(value: &str) -> Option<Vec<Mailbox>> {
    let mut all = Vec::new();
    for one in split(value)? {
        let one = one.trim();
        let address = match one.find('<') {
            // A quoted name may hold brackets; `split` has cut them out.
            Some(at) => one[at + 1..].strip_suffix('>')?,
            None => one,
        };
        all.push(address.trim().parse::<Mailbox>().ok()?);
    }
    (!all.is_empty()).then_some(all)
}

/// The parts between commas, without the quoted names in them.
fn split(value: &str) -> Option<Vec<String>> {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let (mut quoted, mut angle) = (false, false);
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            // A local part in quotes is not worth the doubt: its `@` may be read as another's.
            '"' if angle => return None,
            '\\' if quoted => drop(chars.next()?),
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' | ')' | ';' | ':' | '\\' => return None,
            '<' if angle => return None,
            '>' if !angle => return None,
            '<' | '>' => {
                angle = c == '<';
                part.push(c);
            }
            ',' if !angle => parts.push(std::mem::take(&mut part)),
            other => part.push(other),
        }
    }
    if quoted || angle {
        return None;
    }
    parts.push(part);
    Some(parts)
}

/// Whether `key` signs mail of `tenant` that `author` wrote; `is_house` says that the tenant names the key.
pub fn signs(key: &DkimKey, is_house: bool, tenant: &TenantName, Author(domains): &Author) -> bool {
    if domains.is_empty() {
        return false;
    }
    let is_own = |from: &Domain| *from == key.domain || key.subdomains && is_below(from.as_str(), key.domain.as_str());
    if key.tenants.contains(tenant) && domains.iter().all(is_own) {
        return true;
    }
    is_house && !domains.iter().any(|from| are_related(from.as_str(), key.domain.as_str()))
}

/// Whether `name` lies below `domain`.
fn is_below(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

/// Whether two domains share their last two labels, or one lies below the other.
fn are_related(one: &str, other: &str) -> bool {
    let family = |name: &str| {
        let mut labels = name.rsplit('.');
        (labels.next().map(str::to_owned), labels.next().map(str::to_owned))
    };
    family(one) == family(other) || is_below(one, other) || is_below(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(domain: &str, tenants: &[&str], subdomains: bool) -> DkimKey {
        DkimKey {
            name: "k".into(),
            domain: domain.parse().expect("a domain"),
            selector: "s".into(),
            key: "k.pem".into(),
            tenants: tenants.iter().map(TenantName::new).collect(),
            subdomains,
            headers: Vec::new(),
            expire: None,
        }
    }

    fn from(field: &str) -> Author {
        let message = format!("Received: x\r\n{field}Subject: x\r\n\r\n");
        Author::of(Headers::of(message.as_bytes()))
    }

    #[test]
    fn a_key_signs_its_own_domain_for_those_it_names_and_nobody_else() {
        let acme = TenantName::new("acme");
        for (domain, tenants, below, house, author, signs_it) in [
            ("acme.example", &["acme"][..], false, false, "a@acme.example", true),
            ("acme.example", &["acme"], false, false, "a@ACME.example", true),
            ("acme.example", &["acme"], false, false, "a@news.acme.example", false),
            ("acme.example", &["acme"], true, false, "a@news.acme.example", true),
            ("acme.example", &["acme"], true, false, "a@evilacme.example", false),
            ("acme.example", &["globex"], true, false, "a@acme.example", false),
            ("acme.example", &[], true, false, "a@acme.example", false),
            ("acme.example", &["acme"], true, false, "a@other.test", false),
            // In the name of the house.
            ("esp.test", &[], false, true, "a@acme.example", true),
            ("esp.test", &["acme"], false, true, "a@acme.example", true),
            ("esp.test", &[], false, true, "ceo@esp.test", false),
            ("esp.test", &[], false, true, "ceo@hq.esp.test", false),
            ("mail.esp.test", &[], false, true, "ceo@esp.test", false),
            ("mail.esp.test", &[], false, true, "ceo@www.esp.test", false),
            ("esp.test", &["acme"], false, true, "ceo@esp.test", true),
            ("test", &[], false, true, "ceo@esp.test", false),
        ] {
            let key = key(domain, tenants, below);
            let author = from(&format!("From: {author}\r\n"));
            assert_eq!(signs(&key, house, &acme, &author), signs_it, "{key:?} {house} {author:?}");
        }
    }

    #[test]
    fn all_who_wrote_it_count() {
        let acme = TenantName::new("acme");
        let both = from("From: a@acme.example, ceo@esp.test\r\n");
        assert!(!signs(&key("acme.example", &["acme"], false), false, &acme, &both));
        assert!(!signs(&key("esp.test", &[], false), true, &acme, &both), "one of them is the house");
        assert!(signs(&key("third.example.org", &[], false), true, &acme, &both));
    }

    #[test]
    fn what_from_says_is_read_strictly_or_not_at_all() {
        let read = |value: &str| {
            let Author(domains) = Author::read(value);
            domains.iter().map(|domain| domain.as_str().to_owned()).collect::<Vec<_>>().join(" ")
        };
        for (value, domains) in [
            ("a@x.test", "x.test"),
            ("Ann <a@x.test>", "x.test"),
            ("\"Ann, <ceo@esp.test>\" <a@x.test>", "x.test"),
            ("\"A \\\"B\\\" C\" <a@x.test>", "x.test"),
            ("=?utf-8?q?=C3=84nn?= <a@x.test>, b@y.test", "x.test y.test"),
            ("", ""),
            ("Ann", ""),
            ("Ann <>", ""),
            ("<a@x.test> b@y.test", ""),
            ("a@x.test <b@y.test>", "y.test"),
            ("<a@x.test> <b@y.test>", ""),
            ("<a@x.test", ""),
            ("a@x.test>", ""),
            ("\"a@x.test", ""),
            ("a@x.test,", ""),
            ("<@y.test:a@x.test>", ""),
            ("Friends: a@x.test, b@y.test;", ""),
            ("a@x.test (b@y.test)", ""),
            ("<\"a@y.test\"@x.test>", ""),
            ("a@[192.0.2.1]", "[192.0.2.1]"),
        ] {
            assert_eq!(read(value), domains, "{value}");
        }
        assert_eq!(from("From: a@x.test\r\nfrom: b@y.test\r\n"), Author::default());
        assert_eq!(from(""), Author::default());
        assert_eq!(from("From : a@x.test\r\n"), Author(vec!["x.test".parse().expect("a domain")]));
    }
}
