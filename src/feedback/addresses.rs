//! Which addresses are for reports, and which of those are real: the answer to RCPT.
//!
//! Reports come from anybody, so this is the only door that strangers find open. It opens for the addresses the operator
//! named, and below a tenant's return path domain for what we have sealed ourselves: whoever guesses local parts there
//! is refused before sending anything, and counted. `postmaster` is taken at every domain that takes mail (RFC 5321
//! §4.5.1).

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
    /// The postmaster of a return path domain: for people to read.
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
}

impl Addresses {
    /// Those of `[feedback]` and of the tenants.
    pub fn new(config: &Config) -> Self {
        let domains = config.tenants.iter().filter_map(|tenant| tenant.return_path_domain.as_ref());
        Self {
            named: config.feedback.as_ref().map_or_else(Vec::new, |feedback| feedback.addresses.clone()),
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
        if !self.domains.contains(to.domain_str()) {
            return Addressed::Elsewhere;
        }
        if to.local_part().eq_ignore_ascii_case("postmaster") {
            return Addressed::Postmaster;
        }
        match marks::of_return_path(to.local_part()).map(|mark| keys.open(mark)) {
            Some(Ok(_)) => Addressed::ReturnPath,
            Some(Err(NotOurs::Forged)) => Addressed::Forged,
            Some(Err(NotOurs::Shape)) | None => Addressed::NoSuchAddress,
        }
    }
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
            (format!("b-{ours}@acme.example"), Addressed::Elsewhere),
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
    }
}
