//! The parts of a mail: octets → leaves, each with its fields and decoded text.
//!
//! `mail-parser` decodes fields, transfer encodings and character sets. The tree is walked here, for two reasons. A
//! `message/rfc822` is a leaf for us: what a returned message says is not what the report says, and a report inside a
//! returned message must not be taken for the outer one. And a mail of ten megabytes can nest three hundred thousand
//! messages, which a tree of owned messages does not survive being dropped; here depth, parts and text are bounded.

use std::borrow::Cow;

use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::decoders::html::html_to_text;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::parsers::MessageStream;

use super::fields::{Fields, next_line, split_field};

/// How deep multiparts are followed.
const DEPTH_MAX: usize = 8;
/// Leaves of one mail that are looked at.
const PARTS_MAX: usize = 1000;
/// Octets of one leaf that are looked at.
const OCTETS_MAX: usize = 1024 * 1024;

/// A leaf, or the mail itself where it has no parts.
#[derive(Clone, Debug)]
pub(super) struct Part<'a> {
    /// Its fields; for a mail without parts those of the mail.
    pub fields: Fields,
    /// What it says it is.
    pub media: Media,
    body: &'a [u8],
}

/// The content type.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Media {
    /// `type/subtype` in lower case; text/plain where nothing is said.
    pub kind: String,
    boundary: Option<String>,
    charset: Option<String>,
    /// `report-type` of a multipart/report, in lower case.
    pub report: Option<String>,
    /// Whether a spam filter says that this is the mail it wrapped.
    pub wrapped: bool,
}

/// A mail taken apart.
#[derive(Clone, Debug)]
pub(super) struct Opened<'a> {
    /// The fields of the mail.
    pub fields: Fields,
    /// Its content type.
    pub media: Media,
    /// Its leaves in order.
    pub parts: Vec<Part<'a>>,
}

/// Takes a mail apart.
pub(super) fn open(mail: &[u8]) -> Opened<'_> {
    // Some stores put empty lines before the header.
    let start = mail.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(mail.len());
    let (fields, body) = Fields::section(&mail[start..]);
    let media = Media::of(&fields, "text/plain");
    let mut parts = Vec::new();
    gather(Part { fields: fields.clone(), media: media.clone(), body }, 0, &mut parts);
    Opened { fields, media, parts }
}

fn gather<'a>(part: Part<'a>, depth: usize, leaves: &mut Vec<Part<'a>>) {
    if leaves.len() >= PARTS_MAX {
        return;
    }
    let multipart = part.media.kind.starts_with("multipart/") && depth < DEPTH_MAX;
    let boundary = if multipart { part.media.boundary.clone().or_else(|| guess_boundary(part.body)) } else { None };
    let Some(boundary) = boundary.filter(|boundary| !boundary.is_empty()) else { return leaves.push(part) };
    let default = if part.media.kind == "multipart/digest" { "message/rfc822" } else { "text/plain" };
    let pieces = pieces(part.body, boundary.as_bytes(), PARTS_MAX - leaves.len());
    if pieces.is_empty() {
        return leaves.push(part);
    }
    for piece in pieces {
        let (fields, body) = Fields::section(piece);
        let media = Media::of(&fields, default);
        gather(Part { fields, media, body }, depth + 1, leaves);
    }
}

/// What stands between the delimiter lines; the last piece may lack its own.
fn pieces<'a>(body: &'a [u8], boundary: &[u8], at_most: usize) -> Vec<&'a [u8]> {
    let delimiter = [b"--", boundary].concat();
    let (mut pieces, mut open) = (Vec::new(), None);
    for at in memchr::memmem::find_iter(body, &delimiter) {
        if pieces.len() >= at_most {
            return pieces;
        }
        // First, because most of what looks like a delimiter in a hostile mail stands in the midst of one endless line.
        if !(at == 0 || body[at - 1] == b'\n') {
            continue;
        }
        let (line, rest) = next_line(&body[at..]).unwrap_or_default();
        // A stray CR at the end of a boundary is no longer part of the line.
        let tail = line.get(delimiter.len()..).unwrap_or_default().trim_ascii_end();
        if !(tail.is_empty() || tail == b"--") {
            continue;
        }
        if let Some(start) = open {
            pieces.push(&body[start..at.max(start)]);
        }
        open = tail.is_empty().then_some(body.len() - rest.len());
        if open.is_none() {
            return pieces;
        }
    }
    pieces.extend(open.map(|start| &body[start..]));
    pieces
}

/// For a multipart that does not name its boundary: the first line of two hyphens with a field below.
fn guess_boundary(body: &[u8]) -> Option<String> {
    let mut rest = &body[..body.len().min(16 * 1024)];
    while let Some((line, after)) = next_line(rest) {
        rest = after;
        if let Some(boundary) = line.strip_prefix(b"--")
            && next_line(rest).and_then(|(below, _)| split_field(below)).is_some_and(|(n, _)| n.starts_with("content-"))
        {
            return std::str::from_utf8(boundary.trim_ascii_end()).ok().map(str::to_owned);
        }
    }
    None
}

impl Media {
    fn of(fields: &Fields, default: &str) -> Self {
        let Some(value) = fields.get("content-type") else {
            return Self { kind: default.to_owned(), ..Self::default() };
        };
        let line = format!("{value}\n");
        let parsed = MessageStream::new(line.as_bytes()).parse_content_type();
        let Some(content) = parsed.as_content_type() else {
            return Self { kind: default.to_owned(), ..Self::default() };
        };
        let attribute = |name: &str| content.attribute(name).map(str::to_owned);
        let kind = match content.subtype() {
            Some(subtype) => format!("{}/{subtype}", content.ctype()).to_ascii_lowercase(),
            // `Content-Type: text` of old systems.
            None => default.to_owned(),
        };
        Self {
            kind,
            boundary: attribute("boundary"),
            charset: attribute("charset"),
            report: attribute("report-type").map(|report| report.to_ascii_lowercase()),
            wrapped: attribute("x-spam-type").is_some_and(|kind| kind.eq_ignore_ascii_case("original")),
        }
    }
}

impl<'a> Part<'a> {
    /// Whether it holds a returned message or its header.
    pub(super) fn is_returned(&self) -> bool {
        let kind = self.media.kind.as_str();
        kind.starts_with("text/rfc822")
            || kind.starts_with("message/rfc822")
            || kind.starts_with("message/global") && !kind.contains("delivery") && !kind.contains("disposition")
    }

    /// Whether it is meant to be read by people.
    pub(super) fn is_prose(&self) -> bool {
        matches!(self.media.kind.as_str(), "text/plain" | "text/html" | "text/enriched")
            || self.media.kind.starts_with("multipart/")
    }

    /// Its octets, transfer encoding taken off; bounded.
    pub(super) fn octets(&self) -> Cow<'a, [u8]> {
        let body = &self.body[..self.body.len().min(OCTETS_MAX)];
        let encoding = self.fields.get("content-transfer-encoding").unwrap_or_default().to_ascii_lowercase();
        let decoded = match encoding.split([';', ' ']).next() {
            Some("base64") => base64_decode(body),
            Some("quoted-printable") => quoted_printable_decode(body),
            _ => None,
        };
        decoded.map_or(Cow::Borrowed(body), Cow::Owned)
    }

    /// Its text, decoded; HTML without its tags.
    pub(super) fn text(&self) -> String {
        let octets = self.octets();
        let decoder = self.media.charset.as_deref().and_then(|charset| charset_decoder(charset.as_bytes()));
        let text = match (std::str::from_utf8(&octets), decoder) {
            // What is sound UTF-8 with octets above 127 is that, whatever it says it is.
            (Ok(text), _) if !text.is_ascii() => text.to_owned(),
            (_, Some(decode)) => decode(&octets),
            _ => String::from_utf8_lossy(&octets).into_owned(),
        };
        if self.media.kind == "text/html" { html_to_text(&text) } else { text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(mail: &str) -> Vec<String> {
        open(mail.as_bytes()).parts.iter().map(|part| format!("{}:{}", part.media.kind, part.text().trim())).collect()
    }

    #[test]
    fn leaves_are_found_at_any_level_and_decoded() {
        let mail = "Content-Type: multipart/mixed; boundary=a\r\n\r\npreamble\r\n--a\r\nContent-Type: multipart/alternative;\r\n boundary=\"ab\"\r\n\r\n--ab\r\n\r\none\r\n--ab\r\nContent-Type: text/html\r\n\r\n<p>two</p>\r\n--ab--\r\n--a\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ndr=E9i\r\n--a--\r\nepilogue";
        assert_eq!(kinds(mail), ["text/plain:one", "text/html:two", "text/plain:dréi"]);
        assert_eq!(kinds(&mail.replace("\r\n", "\n")), ["text/plain:one", "text/html:two", "text/plain:dréi"]);
    }

    #[test]
    fn a_missing_boundary_is_guessed_and_a_wrong_one_leaves_the_text() {
        let guessed = "Content-Type: multipart/report\n\n--x y\nContent-Type: text/plain\n\none\n--x y--\n";
        assert_eq!(kinds(guessed), ["text/plain:one"]);
        assert_eq!(kinds("Content-Type: multipart/mixed; boundary=q\n\nonly"), ["multipart/mixed:only"]);
    }

    #[test]
    fn a_returned_message_is_a_leaf() {
        let mail = "Content-Type: message/rfc822\n\nContent-Type: message/delivery-status\n\nx";
        let opened = open(mail.as_bytes());
        assert_eq!(opened.parts.len(), 1);
        assert!(opened.parts[0].is_returned());
    }
}
