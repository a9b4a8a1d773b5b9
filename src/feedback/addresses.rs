//! Which addresses are for reports, and which of those are real: the answer to RCPT.
//!
//! Reports come from anybody, so this is the only door that strangers find open. It opens for the addresses the operator
//! named, and for what we have sealed ourselves, at whatever domain: the seal is the proof, and a tenant whose return path
//! domain has changed, or is no more, still gets the bounces of what was sent before. Whoever guesses local parts at a
//! return path domain is refused before sending anything, and counted. `postmaster` is taken at every domain that takes
//! mail (RFC 5321 §4.5.1, which wants it without a domain, too); what clients that may relay send to the postmaster of our
//! name or of a named address' domain is theirs to relay, since those domains may well have mailboxes elsewhere.

use std::collections::HashSet;

use super::marks;
use super::token::{Keys, NotOurs};
use crate::config::Config;
use crate::message::Mailbox;

/// Whom a recipient means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressed {
    /// Not for reports.
    Elsewhere,
    /// An address the operator named.
    Reports,
    /// A return path of ours, with a mark of ours, however old.
    ReturnPath,
    /// The postmaster of a domain that takes mail here: for people to read.
    Postmaster,
    /// At a return path domain, but nothing we ever wrote there.
    NoSuchAddress,
    /// The shape of a return path of ours, but not sealed by us.
    Forged,
}

/// The addresses of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    named: Vec<Mailbox>,
    domains: HashSet<String>,
    /// Our own name, and the domains of the named addresses.
    hosts: HashSet<String>,
}

impl Addresses {
    /// Those of `[feedback]` and of the tenants.
    pub fn new(config: &Config) -> Self {
        let domains = config.tenants.iter().filter_map(|tenant| tenant.return_path_domain.as_ref());
        let named = config.feedback.as_ref().map_or_else(Vec::new, |feedback| feedback.addresses.clone());
        let hosts = named.iter().map(|named| named.domain_str().to_owned());
        Self {
            hosts: hosts.chain([config.server.hostname.to_string()]).collect(),
            named,
            domains: domains.map(ToString::to_string).collect(),
        }
    }

    /// Whom `to` means. Local parts are compared whatever their case: receivers fold it.
    pub fn addressed(&self, to: &Mailbox, keys: &Keys) -> Addressed {
        let is = |named: &&Mailbox| {
            named.domain_str() == to.domain_str() && named.local_part().eq_ignore_ascii_case(to.local_part())
        };
        if self.named.iter().any(|named| is(&named)) {
            return Addressed::Reports;
        }
        let opened = marks::of_return_path(to.local_part()).map(|mark| keys.open(mark));
        match opened {
            Some(Ok(_)) => Addressed::ReturnPath,
            _ if !self.domains.contains(to.domain_str()) => Addressed::Elsewhere,
            _ if is_postmaster(to) => Addressed::Postmaster,
            Some(Err(NotOurs::Forged)) => Addressed::Forged,
            Some(Err(NotOurs::Shape)) | None => Addressed::NoSuchAddress,
        }
    }

    /// Whom `to` means when it comes from somebody who may not relay.
    pub fn addressed_by_stranger(&self, to: &Mailbox, keys: &Keys) -> Addressed {
        match self.addressed(to, keys) {
            Addressed::Elsewhere if is_postmaster(to) && self.hosts.contains(to.domain_str()) => Addressed::Postmaster,
            other => other,
        }
    }
}

fn is_postmaster(to: &Mailbox) -> bool {
    to.local_part().eq_ignore_ascii_case("postmaster")
}

#[cfg(test)]
mod tests {
    use super::super::token::tests::fixtures::{attempted, keys};
    use super::*;

    #[test]
    fn the_door_opens_for_what_is_ours_and_for_nothing_else() {
        let addresses = Addresses {
            named: vec!["FBL@relay.example.net".parse().expect("valid")],
            domains: HashSet::from(["bounces.acme.example".to_owned()]),
            hosts: HashSet::from(["relay.example.net".to_owned()]),
        };
        let ours = keys(7).seal(&attempted());
        let forged = keys(8).seal(&attempted());
        for (to, expected) in [
            ("fbl@relay.example.net".to_owned(), Addressed::Reports),
            ("fbl@RELAY.example.net".to_owned(), Addressed::Reports),
            ("other@relay.example.net".to_owned(), Addressed::Elsewhere),
            ("fbl@acme.example".to_owned(), Addressed::Elsewhere),
            (format!("b-{ours}@bounces.acme.example"), Addressed::ReturnPath),
            (format!("B-{}@bounces.acme.example", ours.to_uppercase()), Addressed::ReturnPath),
            // A domain that is a return path domain no more.
            (format!("b-{ours}@acme.example"), Addressed::ReturnPath),
            (format!("b-{forged}@acme.example"), Addressed::Elsewhere),
            ("postmaster@relay.example.net".to_owned(), Addressed::Elsewhere),
            (format!("b-{forged}@bounces.acme.example"), Addressed::Forged),
            // Letters that no mark has.
            (format!("b-{}@bounces.acme.example", "i".repeat(58)), Addressed::NoSuchAddress),
            ("b-short@bounces.acme.example".to_owned(), Addressed::NoSuchAddress),
            ("info@bounces.acme.example".to_owned(), Addressed::NoSuchAddress),
            ("PostMaster@bounces.acme.example".to_owned(), Addressed::Postmaster),
        ] {
            let to: Mailbox = to.parse().expect("valid");
            assert_eq!(addresses.addressed(&to, &keys(7)), expected, "{to}");
        }
        for (to, expected) in [
            ("Postmaster@Relay.example.net", Addressed::Postmaster),
            ("postmaster@bounces.acme.example", Addressed::Postmaster),
            ("postmaster@acme.example", Addressed::Elsewhere),
            ("info@relay.example.net", Addressed::Elsewhere),
            ("fbl@relay.example.net", Addressed::Reports),
        ] {
            let to: Mailbox = to.parse().expect("valid");
            assert_eq!(addresses.addressed_by_stranger(&to, &keys(7)), expected, "{to}");
        }
    }
}
