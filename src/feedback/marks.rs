//! Where a mark travels, and how it is found again.
//!
//! | place | form | comes back in |
//! |---|---|---|
//! | return path, where the tenant opted in | `b-MARK@return_path_domain` | the recipient of the report, `Original-Mail-From`, `Return-Path` |
//! | header field | `X-Remuda-Id: MARK` | the returned header section |
//! | envelope id (RFC 3461 §4.4), where the receiver offers DSN | `ENVID=MARK` | `Original-Envelope-Id` |
//!
//! One mark in three places, because each of them gets lost somewhere: complaint loops cut the recipient and the return
//! path, prose bounces quote no header, most hosts do not offer DSN.
//!
//! Header field and envelope id name the attempt to the minute. The return path may not change from try to try: receivers
//! that greylist know a mail again by client, MAIL FROM and recipient, and would take each retry for a first try. So all
//! attempts over one binding send with the return path of the first, whose mark says when that was and how many
//! recipients waited then. Binding, tenant, pool and destination are right all the same; only the time of delivery may lie
//! later than the mark says, by less than the mail's lifetime in the queue.

use super::token;
use crate::message::{Domain, Mailbox};

/// What the local part of a rewritten return path begins with.
const PREFIX: &str = "b-";

/// The rewritten return path for a mark; `None` where the domain is too long for a mailbox.
pub fn return_path(mark: &str, domain: &Domain) -> Option<Mailbox> {
    format!("{PREFIX}{mark}@{domain}").parse().ok()
}

/// The mark in a rewritten return path, whatever its domain; `None` where it has not the shape of one.
pub fn of_return_path(local_part: &str) -> Option<&str> {
    let (prefix, mark) = local_part.split_at_checked(PREFIX.len())?;
    (prefix.eq_ignore_ascii_case(PREFIX) && has_shape(mark)).then_some(mark)
}

/// Whether a text is of a mark's length and letters.
pub fn has_shape(text: &str) -> bool {
    text.len() == token::LENGTH && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The header field with a mark, with its line end.
pub fn header_field(name: &str, mark: &str) -> String {
    format!("{name}: {mark}\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rewritten_return_path_fits_the_limits_and_gives_the_mark_back() {
        let mark = "k".repeat(token::LENGTH);
        let path = return_path(&mark, &"bounces.acme.example".parse().expect("domain")).expect("fits");
        // RFC 5321 §4.5.3.1.1
        assert!(path.local_part().len() <= 64);
        assert_eq!(of_return_path(path.local_part()), Some(mark.as_str()));
        assert_eq!(of_return_path(&path.local_part().to_ascii_uppercase()).map(str::len), Some(token::LENGTH));
    }

    #[test]
    fn other_local_parts_hold_no_mark() {
        let almost = format!("b-{}é", "k".repeat(token::LENGTH - 2));
        for other in [
            "",
            "b",
            "b-",
            "é",
            "bounces",
            "b-short",
            "x-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            &almost,
        ] {
            assert_eq!(of_return_path(other), None, "{other}");
        }
    }
}
