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
//! Our own signatures were made over the old octets: [`Resign`] knows them again and makes new ones.
//!
//! [`entity`] finds the parts of a message, [`fields`] reads and writes header fields.

mod entity;
mod fields;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::config::Convert;
use crate::message::header::Headers;

/// Makes our own DKIM signatures again after the octets under them have changed.
pub trait Resign: fmt::Debug + Send + Sync {
    /// Whether a `DKIM-Signature` field with this value, unfolded, is one of ours.
    fn is_ours(&self, value: &str) -> bool;
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
    let is_ours = |value: &str| resign.is_some_and(|resign| resign.is_ours(value));
    let mut signatures = Headers::of(message).all("DKIM-Signature");
    let is_foreign = signatures.any(|value| !is_ours(&value));
    if is_foreign && policy != Convert::Always {
        return Err(CannotConvert::Signed);
    }
    let has_ours = Headers::of(message).all("DKIM-Signature").any(|value| is_ours(&value));
    let Some(resign) = resign.filter(|_| has_ours) else { return entity::message(message) };
    let converted = entity::message(&fields::without(message, "DKIM-Signature", is_ours))?;
    let mut signed = resign.sign(&converted);
    signed.extend_from_slice(&converted);
    Ok(signed)
}
