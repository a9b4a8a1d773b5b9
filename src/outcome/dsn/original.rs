//! What a report returns of the message it is about (RFC 3462 §2, RFC 6533 §4).

use super::text::WORD_MAX;
use super::{Extent, ReportInput};
use crate::message::encoding::base64;
use crate::message::header::Headers;

/// Octets of original headers sent back at most.
const HEADERS_MAX: usize = 65_536;

/// The third part of a report: its header fields behind `Content-Type: `, and its octets.
#[derive(Debug)]
pub(super) struct Original {
    pub(super) kind: &'static str,
    pub(super) encoding: Option<&'static str>,
    pub(super) octets: Vec<u8>,
    pub(super) is_whole: bool,
}

impl Original {
    /// Writes the part.
    pub(super) fn put(&self, out: &mut Vec<u8>, boundary: &str) {
        out.extend_from_slice(format!("--{boundary}\r\nContent-Type: {}\r\n", self.kind).as_bytes());
        if let Some(encoding) = self.encoding {
            out.extend_from_slice(format!("Content-Transfer-Encoding: {encoding}\r\n").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.octets);
    }
}

/// The whole message where that was asked for and it is at hand, else its header, or nothing.
pub(super) fn original(input: &ReportInput<'_>) -> Option<Original> {
    if input.extent == Extent::Nothing {
        return None;
    }
    if input.extent == Extent::Full {
        let is_utf8_header = !input.original[..Headers::of(input.original).size()].is_ascii();
        // A message of this kind must not be encoded (RFC 2046 §5.2.1) unless it is one that says UTF-8 (RFC 6532 §3.7).
        if is_utf8_header {
            let mut octets = Vec::with_capacity(input.original.len() * 4 / 3 + 64);
            base64(input.original, &mut octets);
            return Some(Original { kind: "message/global", encoding: Some("base64"), octets, is_whole: true });
        }
        let encoding = (!input.original.is_ascii()).then_some("8bit");
        let octets = input.original.to_vec();
        return Some(Original { kind: "message/rfc822", encoding, octets, is_whole: true });
    }
    let octets = headers(input.original).into_bytes();
    Some(Original { kind: "text/rfc822-headers", encoding: None, octets, is_whole: false })
}

/// The headers of `message`, made harmless: CRLF line ends, printable ASCII and tabs, no line too long.
fn headers(message: &[u8]) -> String {
    let mut out = String::new();
    for line in message.split(|&b| b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || out.len() + line.len() > HEADERS_MAX {
            break;
        }
        let mut column = 0;
        for &byte in line {
            if column >= WORD_MAX {
                out.push_str("\r\n ");
                column = 1;
            }
            out.push(if matches!(byte, b'\t' | 32..=126) { char::from(byte) } else { '?' });
            column += 1;
        }
        out.push_str("\r\n");
    }
    out
}
