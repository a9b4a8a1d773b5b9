//! Eight-bit mail for a host without 8BITMIME (RFC 6152 §3): each MIME part that needs it is encoded anew. Pure.
//!
//! What is text becomes quoted-printable, the rest base64 (RFC 2045 §6.7, §6.8). Multiparts are walked, and what they say
//! of their own encoding is put right; a part that is ASCII stays as it is, octet by octet. What cannot be converted is
//! refused, and the caller answers `554 5.6.3`:
//!
//! - what is signed or encrypted as a whole (`multipart/signed`, `multipart/encrypted`, RFC 1847 §2): any change breaks it;
//! - a message with a DKIM signature that is not ours, unless the operator prefers a broken signature to a bounce
//!   (`[delivery] convert = "always"`). Nothing of it is removed;
//! - kinds of message part that must not be encoded (RFC 2046 §5.2), and headers with octets above 127 outside fields of
//!   plain text, for which RFC 2047 has no form.
//!
//! Our own signatures were made over the old octets: they are taken off, and [`Resign`] makes new ones. They are known by
//! where they stand: we put them above our trace field, which is the first `Received` of all that is stored, and what came
//! with the mail stands below it. So it does not matter which keys there are by now, nor whether the program was restarted
//! in between: mail whose key is gone since loses that signature (to a receiver a broken one is none, RFC 6376 §6.1) and is
//! not bounced for it; and a signature that came with the mail is never taken off, whoever has the key.
//!
//! [`entity`] finds the parts of a message, [`fields`] reads and writes header fields.

mod entity;
mod fields;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::config::Convert;
use crate::message::header::Headers;

/// Name of the field with a signature (RFC 6376 §3.5).
const FIELD: &str = "DKIM-Signature";

/// Makes our own DKIM signatures again after the octets under them have changed.
pub trait Resign: fmt::Debug + Send + Sync {
    /// Fields to be put before this message, with CRLF line ends. Empty where none can be made.
    fn sign(&self, message: &[u8]) -> Vec<u8>;
}

/// Why a message stays eight-bit. The text is what the sender reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotConvert {
    /// `[delivery] convert = "never"`.
    #[error("message has eight-bit data, is not to be converted, and the host does not offer 8BITMIME")]
    Forbidden,
    /// DKIM of somebody else.
    #[error("message has eight-bit data under a DKIM signature and the host does not offer 8BITMIME")]
    Signed,
    /// RFC 1847.
    #[error("message has eight-bit data that is signed or encrypted and the host does not offer 8BITMIME")]
    Sealed,
    /// A header.
    #[error("message has eight-bit data in a header field and the host does not offer 8BITMIME")]
    Header,
    /// Nested too deep, or of a kind that has no other form.
    #[error("message has eight-bit data in a part that cannot be encoded and the host does not offer 8BITMIME")]
    Part,
}

/// The message with no octet above 127.
///
/// # Errors
/// It cannot be had, or is not to be.
pub fn seven_bit(message: &[u8], policy: Convert, resign: Option<&dyn Resign>) -> Result<Vec<u8>, CannotConvert> {
    if policy == Convert::Never {
        return Err(CannotConvert::Forbidden);
    }
    let rest = &message[own_signatures(message)..];
    let is_foreign = Headers::of(rest).count(FIELD) > 0;
    if is_foreign && policy != Convert::Always {
        return Err(CannotConvert::Signed);
    }
    let converted = entity::message(rest)?;
    let Some(resign) = resign.filter(|_| rest.len() < message.len()) else { return Ok(converted) };
    let mut signed = resign.sign(&converted);
    signed.extend_from_slice(&converted);
    Ok(signed)
}

/// Octets of the signatures that we put above our trace field.
fn own_signatures(message: &[u8]) -> usize {
    let mut octets = 0;
    for field in Headers::of(message).fields() {
        if field.is("Received") {
            return octets;
        }
        if !field.is(FIELD) {
            break;
        }
        octets += field.raw().len();
    }
    0
}
