//! Header fields of an entity: what they say of its kind, and what is changed in them.

use super::CannotConvert;
use crate::message::encoding::encoded_words;
use crate::message::header::{Field, Headers};

/// Fields of plain text (RFC 5322 §3.6.5, RFC 2045 §8): octets above 127 have a form there.
const PLAIN: [&str; 3] = ["Subject", "Comments", "Content-Description"];

/// `type/subtype` in lower case, and one parameter if it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Kind {
    /// `multipart`, `text` …
    pub(super) main: String,
    /// Behind the slash.
    pub(super) sub: String,
    /// `boundary`.
    pub(super) boundary: Option<Vec<u8>>,
}

impl Kind {
    pub(super) fn is(&self, main: &str, sub: &str) -> bool {
        self.main == main && self.sub == sub
    }

    /// What `Content-Type` says; what cannot be read is text (RFC 2045 §5.2).
    pub(super) fn of(header: Headers<'_>) -> Option<Self> {
        let value = header.first("Content-Type")?;
        let (kind, parameters) = value.split_once(';').unwrap_or((&value, ""));
        let (main, sub) = kind.trim().split_once('/').unwrap_or(("text", "plain"));
        let word = |word: &str| word.trim().to_ascii_lowercase();
        Some(Self { main: word(main), sub: word(sub), boundary: parameter(parameters, "boundary") })
    }
}

/// The value of a parameter (RFC 2045 §5.1): a token, or a quoted string.
fn parameter(mut rest: &str, wanted: &str) -> Option<Vec<u8>> {
    loop {
        rest = rest.trim_start_matches([' ', '\t', ';']);
        let (name, behind) = rest.split_once('=')?;
        let behind = behind.trim_start();
        let (value, after) = match behind.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => {
                let end = behind.find([';', ' ', '\t']).unwrap_or(behind.len());
                (behind.as_bytes()[..end].to_vec(), &behind[end..])
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value).filter(|value| !value.is_empty());
        }
        rest = after;
    }
}

/// A quoted string up to its end, and what stands behind.
fn unquoted(text: &str) -> (Vec<u8>, &str) {
    let mut value = Vec::new();
    let mut chars = text.char_indices();
    let mut buffer = [0; 4];
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (value, &text[at + 1..]),
            '\\' => {
                if let Some((_, next)) = chars.next() {
                    value.extend_from_slice(next.encode_utf8(&mut buffer).as_bytes());
                }
            }
            other => value.extend_from_slice(other.encode_utf8(&mut buffer).as_bytes()),
        }
    }
    (value, "")
}

/// The header of an entity, with `encoding` in place of what it said of it.
pub(super) fn write(section: &[u8], encoding: Option<&str>, out: &mut Vec<u8>) -> Result<(), CannotConvert> {
    let mut is_said = false;
    for field in Headers::of(section).fields() {
        if let Some(encoding) = encoding
            && field.is("Content-Transfer-Encoding")
        {
            if !std::mem::replace(&mut is_said, true) {
                say(encoding, out);
            }
            continue;
        }
        write_field(&field, out)?;
    }
    if let Some(encoding) = encoding.filter(|encoding| !is_said && *encoding != "7bit") {
        say(encoding, out);
    }
    Ok(())
}

pub(super) fn say(encoding: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("Content-Transfer-Encoding: {encoding}\r\n").as_bytes());
}

fn write_field(field: &Field<'_>, out: &mut Vec<u8>) -> Result<(), CannotConvert> {
    let raw = field.raw();
    if raw.is_ascii() {
        out.extend_from_slice(raw);
        return Ok(());
    }
    let name = PLAIN.into_iter().find(|name| field.is(name)).ok_or(CannotConvert::Header)?;
    let value = raw.iter().position(|octet| *octet == b':').map_or(&raw[..0], |colon| &raw[colon + 1..]);
    let value: Vec<u8> = value.trim_ascii().iter().copied().filter(|octet| !matches!(octet, b'\r' | b'\n')).collect();
    out.extend_from_slice(format!("{name}: {}\r\n", encoded_words(&value)).as_bytes());
    Ok(())
}
