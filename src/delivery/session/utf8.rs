//! Addresses beyond ASCII towards a host without SMTPUTF8 (RFC 6531 §3.2).
//!
//! A domain has a second form in ASCII (A-labels, RFC 5890) that means the same; a local part has none, and only its own
//! host might know another name for the mailbox. So a domain is rewritten, and an address whose local part is not ASCII is
//! refused: a recipient for itself, a sender for all. A header beyond ASCII is refused for all, too: what could be written
//! otherwise (RFC 6857) breaks signatures and replies.

use crate::message::{Domain, Mailbox};
use crate::outcome::{EnhancedCode, Reply};

/// A local part that this host cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotAscii;

/// The address in ASCII; `None` where it is already.
pub(super) fn in_ascii(address: &Mailbox) -> Result<Option<Mailbox>, NotAscii> {
    match text_in_ascii(address.as_str())? {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| NotAscii),
    }
}

fn text_in_ascii(address: &str) -> Result<Option<String>, NotAscii> {
    if address.is_ascii() {
        return Ok(None);
    }
    let (local, domain) = address.rsplit_once('@').ok_or(NotAscii)?;
    if !local.is_ascii() {
        return Err(NotAscii);
    }
    let domain: Domain = idna::domain_to_ascii(domain).ok().and_then(|domain| domain.parse().ok()).ok_or(NotAscii)?;
    Ok(Some(format!("{local}@{domain}")))
}

/// What a recipient is refused with, or all of them for their sender's sake (RFC 5248 §2.4, X.6.7).
pub(super) fn address_refused(what: &str) -> Reply {
    refused(550, 7, &format!("{what} address is not ASCII and the host does not offer SMTPUTF8"))
}

/// What all are refused with for the header's sake (X.6.9).
pub(super) fn header_refused() -> Reply {
    refused(554, 9, "header of the message is not ASCII and the host does not offer SMTPUTF8")
}

fn refused(code: u16, detail: u16, text: &str) -> Reply {
    Reply { code, enhanced: Some(EnhancedCode { class: 5, subject: 6, detail }), text: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_has_an_ascii_form_and_a_local_part_has_none() {
        for (address, plain) in [
            ("a@example.org", Ok(None)),
            ("a@bücher.example", Ok(Some("a@xn--bcher-kva.example"))),
            ("A.b@BÜCHER.Example", Ok(Some("A.b@xn--bcher-kva.example"))),
            ("grüße@example.org", Err(NotAscii)),
            ("grüße@bücher.example", Err(NotAscii)),
            ("\"a@b\"@bücher.example", Ok(Some("\"a@b\"@xn--bcher-kva.example"))),
            ("a@\u{ff0e}\u{ff0e}.example", Err(NotAscii)),
        ] {
            assert_eq!(text_in_ascii(address).as_ref().map(Option::as_deref), plain.as_ref().map(|p| *p), "{address}");
        }
    }
}
