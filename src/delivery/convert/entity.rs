//! One entity after the other (RFC 2046): a leaf is encoded, a multipart is cut at its boundary and walked.

use memchr::memmem;

use super::CannotConvert;
use super::fields::{self, Kind};
use crate::message::encoding::{base64, quoted_printable, requote};
use crate::message::header::Headers;

/// Levels of parts within parts. Each level looks for a boundary of its own, so depth costs time.
const DEPTH: usize = 20;

/// A whole message.
pub(super) fn message(message: &[u8]) -> Result<Vec<u8>, CannotConvert> {
    let mut out = Vec::with_capacity(message.len() + message.len() / 4);
    let header = Headers::of(message);
    // Who forgot the version and told the kind all the same is read like that everywhere.
    let is_mime = ["MIME-Version", "Content-Type"].iter().any(|name| header.first(name).is_some());
    let (section, body) = message.split_at(header.size());
    if is_mime || body.is_ascii() {
        entity(message, &Kind::default(), 0, &mut out)?;
        return Ok(out);
    }
    // No MIME says what these octets are, and nobody will ever know (RFC 1428 §3).
    fields::write(section, Some("quoted-printable"), &mut out)?;
    out.extend_from_slice(b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n");
    let text = body.strip_prefix(b"\r\n").unwrap_or(body);
    out.extend_from_slice(b"\r\n");
    quoted_printable(text, &mut out);
    Ok(out)
}

/// An entity: its header, an empty line, its body. `default` is its kind where it does not say (RFC 2046 §5.1.5).
fn entity(whole: &[u8], default: &Kind, depth: usize, out: &mut Vec<u8>) -> Result<(), CannotConvert> {
    if depth > DEPTH {
        return Err(CannotConvert::Part);
    }
    let header = Headers::of(whole);
    let (section, rest) = whole.split_at(header.size());
    let (gap, body) = rest.split_at(if rest.starts_with(b"\r\n") { 2 } else { 0 });
    let said = header.first("Content-Transfer-Encoding").map(|value| value.trim().to_ascii_lowercase());
    let kind = Kind::of(header).unwrap_or_else(|| default.clone());
    if body.is_ascii() {
        // "8bit" promises nothing any more, and must not be said to such a host.
        let encoding = matches!(said.as_deref(), Some("8bit" | "binary")).then_some("7bit");
        fields::write(section, encoding, out)?;
        out.extend_from_slice(gap);
        // What is signed stays as it is to the octet, labels of its parts included (RFC 1847 §2.1).
        if encoding.is_some() && !is_sealed(&kind) && (kind.main == "multipart" || kind.is("message", "rfc822")) {
            return inside(&kind, body, depth, out);
        }
        out.extend_from_slice(body);
        return Ok(());
    }
    if is_sealed(&kind) {
        return Err(CannotConvert::Sealed);
    }
    if kind.main == "multipart" && kind.boundary.is_some() || kind.is("message", "rfc822") {
        fields::write(section, said.is_some().then_some("7bit"), out)?;
        out.extend_from_slice(gap);
        return inside(&kind, body, depth, out);
    }
    // Those of `message/global` and its kin may be encoded (RFC 6532 §3.7); the others must not (RFC 2046 §5.2).
    if kind.main == "message" && !kind.sub.starts_with("global") {
        return Err(CannotConvert::Part);
    }
    match said.as_deref() {
        // Octets that do not belong there: quoted now, or left out as whoever reads it would.
        Some("quoted-printable") => {
            fields::write(section, None, out)?;
            out.extend_from_slice(gap);
            requote(body, out);
        }
        Some("base64") => {
            fields::write(section, None, out)?;
            out.extend_from_slice(gap);
            out.extend(body.iter().filter(|octet| octet.is_ascii()));
        }
        _ if kind.main == "text" || kind.main.is_empty() => {
            fields::write(section, Some("quoted-printable"), out)?;
            out.extend_from_slice(gap);
            quoted_printable(body, out);
        }
        _ => {
            fields::write(section, Some("base64"), out)?;
            out.extend_from_slice(gap);
            base64(body, out);
            if body.ends_with(b"\r\n") {
                out.extend_from_slice(b"\r\n");
            }
        }
    }
    Ok(())
}

/// Signed or encrypted as a whole (RFC 1847 §2).
fn is_sealed(kind: &Kind) -> bool {
    kind.is("multipart", "signed") || kind.is("multipart", "encrypted")
}

/// What is inside a multipart or a message.
fn inside(kind: &Kind, body: &[u8], depth: usize, out: &mut Vec<u8>) -> Result<(), CannotConvert> {
    let Some(boundary) = kind.boundary.as_ref().filter(|_| kind.main == "multipart") else {
        return match kind.is("message", "rfc822") {
            true => entity(body, &Kind::default(), depth + 1, out),
            false => {
                out.extend_from_slice(body);
                Ok(())
            }
        };
    };
    let default = match kind.sub.as_str() {
        "digest" => Kind { main: "message".into(), sub: "rfc822".into(), boundary: None },
        _ => Kind::default(),
    };
    let mut delimiters = Delimiters::new(body, boundary);
    let mut open = false;
    let mut from = 0;
    while let Some(found) = delimiters.next() {
        let start = found.start.max(from);
        let part = &body[from..start];
        if open {
            entity(part, &default, depth + 1, out)?;
        } else {
            aside(part, out);
        }
        out.extend_from_slice(&body[start..found.end]);
        (open, from) = (!found.is_last, found.end);
        if found.is_last {
            break;
        }
    }
    match open {
        // The last boundary is missing: what is there is the last part.
        true => entity(&body[from..], &default, depth + 1, out)?,
        false => aside(&body[from..], out),
    }
    Ok(())
}

/// What stands before the first boundary or behind the last is read by nobody.
fn aside(text: &[u8], out: &mut Vec<u8>) {
    out.extend(text.iter().map(|octet| if octet.is_ascii() { *octet } else { b'?' }));
}

/// A line with the boundary; the CRLF before it belongs to it.
struct Delimiter {
    start: usize,
    end: usize,
    is_last: bool,
}

struct Delimiters<'a> {
    body: &'a [u8],
    line: Vec<u8>,
    from: usize,
}

impl<'a> Delimiters<'a> {
    fn new(body: &'a [u8], boundary: &[u8]) -> Self {
        // Trailing spaces are no part of it (RFC 2046 §5.1.1).
        Self { body, line: [b"--", boundary.trim_ascii_end()].concat(), from: 0 }
    }

    fn next(&mut self) -> Option<Delimiter> {
        loop {
            let at = self.from + memmem::find(&self.body[self.from..], &self.line)?;
            let behind = at + self.line.len();
            self.from = behind;
            if at > 0 && !self.body[..at].ends_with(b"\r\n") {
                continue;
            }
            let rest = &self.body[behind..];
            let is_last = rest.starts_with(b"--");
            let line = memmem::find(rest, b"\r\n");
            let filled = &rest[if is_last { 2 } else { 0 }..line.unwrap_or(rest.len())];
            // A longer word that only begins like it is another boundary, of a multipart inside.
            if !filled.iter().all(|octet| matches!(octet, b' ' | b'\t')) {
                continue;
            }
            let end = line.map_or(self.body.len(), |line| behind + line + 2);
            self.from = end;
            return Some(Delimiter { start: at.saturating_sub(2), end, is_last });
        }
    }
}
