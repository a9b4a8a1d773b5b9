//! Which senders a tenant may have (`tenant.NAME.senders`).
//!
//! Asked of the reverse path, and where the tenant wants it of every address of every `From:` field. Mail without a reverse path
//! (bounces) has no sender that could be wrong, and only its `From:` is asked. What holds no address that can be read is no
//! sender that is allowed.

use mail_parser::MessageParser;

use crate::config::{DomainPattern, SenderCheck, Tenant};
use crate::message::Mailbox;
use crate::message::header::Headers;

/// Octets of a `From:` field that are read.
const FROM_MAX: usize = 16 * 1024;

/// What one tenant allows.
#[derive(Clone, Debug)]
pub struct Senders {
    patterns: Vec<DomainPattern>,
    check: SenderCheck,
}

impl Senders {
    /// As it is configured.
    pub fn of(tenant: &Tenant) -> Self {
        Self { patterns: tenant.senders.clone(), check: tenant.sender_check }
    }

    /// Whether the reverse path is allowed; the address that is not.
    ///
    /// # Errors
    /// It is not.
    pub fn allow_envelope(&self, reverse_path: Option<&Mailbox>) -> Result<(), String> {
        match reverse_path {
            Some(sender) if !self.has(sender.domain_str()) => Err(sender.to_string()),
            _ => Ok(()),
        }
    }

    /// Whether both the reverse path and, where it is asked, `From:` are allowed; the address that is not.
    ///
    /// # Errors
    /// One is not.
    pub fn allow(&self, reverse_path: Option<&Mailbox>, headers: Headers<'_>) -> Result<(), String> {
        self.allow_envelope(reverse_path)?;
        if self.patterns.is_empty() || self.check == SenderCheck::Envelope {
            return Ok(());
        }
        let mut fields = headers.all("From").peekable();
        if fields.peek().is_none() {
            return Err("mail without From:".to_owned());
        }
        for field in fields {
            let mut all = addresses(&field).into_iter().peekable();
            if all.peek().is_none() {
                return Err("a From: that holds no address".to_owned());
            }
            let domain = |address: &str| address.rsplit_once('@').map(|(_, domain)| domain.to_ascii_lowercase());
            if let Some(other) = all.find(|address| !domain(address).is_some_and(|domain| self.has(&domain))) {
                return Err(other);
            }
        }
        Ok(())
    }

    /// Of a domain in lower case.
    fn has(&self, domain: &str) -> bool {
        self.patterns.is_empty() || self.patterns.iter().any(|pattern| pattern.matches(domain))
    }
}

/// The addresses of a field, those inside groups included; a name without an address counts as one.
fn addresses(field: &str) -> Vec<String> {
    let cut = field.get(..FROM_MAX).unwrap_or(field);
    let text = format!("From: {}\r\n\r\n", cut.replace(['\r', '\n'], " "));
    let Some(message) = MessageParser::new().parse(text.as_bytes()) else { return Vec::new() };
    let Some(from) = message.from() else { return Vec::new() };
    from.iter().map(|one| one.address().or(one.name()).unwrap_or("").to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn senders(check: SenderCheck) -> Senders {
        let mut tenant = Tenant::new("acme");
        tenant.senders = vec![
            DomainPattern::Exact("acme.example".parse().expect("valid")),
            DomainPattern::Below("acme.example".parse().expect("valid")),
        ];
        tenant.sender_check = check;
        Senders::of(&tenant)
    }

    #[test]
    fn the_reverse_path_is_of_an_allowed_domain_or_none() {
        for (sender, good) in [
            (Some("a@acme.example"), true),
            (Some("a@ACME.example"), true),
            (Some("a@news.acme.example"), true),
            (Some("a@xacme.example"), false),
            (Some("a@acme.example.evil.test"), false),
            (Some("\"a@acme.example\"@evil.test"), false),
            (None, true),
        ] {
            let sender: Option<Mailbox> = sender.map(|text| text.parse().expect("valid"));
            let said = senders(SenderCheck::Envelope).allow(sender.as_ref(), Headers::of(b"From: x@evil.test\r\n\r\n"));
            assert_eq!(said.is_ok(), good, "{sender:?}");
            let anybody = Senders { patterns: Vec::new(), check: SenderCheck::Both };
            assert!(anybody.allow(sender.as_ref(), Headers::of(b"\r\n")).is_ok());
        }
    }

    #[test]
    fn every_address_of_every_from_is_asked() {
        for (header, good) in [
            ("From: a@acme.example\r\n", true),
            ("From: A <a@Acme.Example>\r\n", true),
            ("From: \"x@evil.test\" <a@acme.example>\r\n", true),
            ("From: \"a@acme.example\" <x@evil.test>\r\n", false),
            ("From: a@acme.example, b@news.acme.example\r\n", true),
            ("From: a@acme.example,\r\n x@evil.test\r\n", false),
            ("From: team: a@acme.example, x@evil.test;\r\n", false),
            ("From: a@acme.example\r\nfrom: x@evil.test\r\n", false),
            ("From: acme.example\r\n", false),
            ("From:\r\n", false),
            ("Sender: a@acme.example\r\n", false),
        ] {
            let message = format!("{header}\r\nbody\r\n");
            let said = senders(SenderCheck::Both).allow(None, Headers::of(message.as_bytes()));
            assert_eq!(said.is_ok(), good, "{header}: {said:?}");
        }
    }
}
