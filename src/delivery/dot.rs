//! Dot-stuffing (RFC 5321 §4.5.2), without copying the body.
//!
//! [`pieces`] cuts the body at each dot that begins a line; the dot is sent at the end of one piece and again at the
//! start of the next. A body without such lines is one piece. What follows the last piece, [`terminator`], ends the
//! body with CRLF and the lone dot.

use memchr::memmem;

/// The parts of `body`, to be sent one after the other.
#[derive(Debug)]
pub struct Pieces<'a> {
    body: &'a [u8],
    /// Where the next piece starts.
    from: usize,
    /// Where the search for the next dot goes on; `None` before the first, when the body itself starts a line.
    search: Option<usize>,
}

/// Cuts `body`, which has CRLF line ends.
pub fn pieces(body: &[u8]) -> Pieces<'_> {
    debug_assert!(!has_bare_lf(body), "a body must have CRLF line ends");
    Pieces { body, from: 0, search: None }
}

/// What to send after the last piece.
pub fn terminator(body: &[u8]) -> &'static [u8] {
    if body.is_empty() || body.ends_with(b"\r\n") { b".\r\n" } else { b"\r\n.\r\n" }
}

/// Octets of `body` as SIZE counts them (RFC 1870 §3): with the last CRLF, without stuffing and final dot.
pub fn announced_size(body: &[u8]) -> u64 {
    let missing = if body.is_empty() || body.ends_with(b"\r\n") { 0 } else { 2 };
    body.len() as u64 + missing
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.from >= self.body.len() {
            return None;
        }
        let dot = match self.search {
            None if self.body.starts_with(b".") => Some(0),
            searched => {
                let at = searched.unwrap_or(0);
                memmem::find(&self.body[at..], b"\r\n.").map(|found| at + found + 2)
            }
        };
        let Some(dot) = dot else {
            let rest = &self.body[self.from..];
            self.from = self.body.len();
            return Some(rest);
        };
        let piece = &self.body[self.from..=dot];
        self.from = dot;
        self.search = Some(dot + 1);
        Some(piece)
    }
}

fn has_bare_lf(body: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', body).any(|at| at == 0 || body[at - 1] != b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sent(body: &[u8]) -> Vec<u8> {
        let mut out: Vec<u8> = pieces(body).flatten().copied().collect();
        out.extend_from_slice(terminator(body));
        out
    }

    #[test]
    fn dots_at_line_starts_are_doubled_and_no_others() {
        for (body, wire) in [
            ("", ".\r\n"),
            ("a", "a\r\n.\r\n"),
            ("a\r\n", "a\r\n.\r\n"),
            (".", "..\r\n.\r\n"),
            (".\r\n", "..\r\n.\r\n"),
            (".\r\n.\r\n", "..\r\n..\r\n.\r\n"),
            ("..a\r\nb.c\r\n.", "...a\r\nb.c\r\n..\r\n.\r\n"),
            ("\r\n\r\n.x\r\n", "\r\n\r\n..x\r\n.\r\n"),
        ] {
            assert_eq!(String::from_utf8_lossy(&sent(body.as_bytes())), wire, "{body:?}");
        }
    }

    #[test]
    fn a_body_without_such_dots_is_sent_from_where_it_lies() {
        let body = b"Subject: a.b.c\r\n\r\nno dots. at starts\r\n";
        let all: Vec<_> = pieces(body).collect();
        assert_eq!(all.len(), 1);
        assert!(std::ptr::eq(all[0], body.as_slice()));
    }

    /// Undoes the stuffing as a receiver does (RFC 5321 §4.5.2).
    fn received(wire: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let mut rest = wire;
        loop {
            let end = memmem::find(rest, b"\r\n")? + 2;
            let line = &rest[..end];
            rest = &rest[end..];
            if line == b".\r\n" {
                return rest.is_empty().then_some(out);
            }
            out.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        }
    }

    proptest! {
        #[test]
        fn the_receiver_gets_the_body_back(lines in proptest::collection::vec("[.a]{0,4}", 0..12), ends in any::<bool>()) {
            let mut body = lines.join("\r\n");
            if ends && !body.is_empty() {
                body.push_str("\r\n");
            }
            let mut expected = body.clone();
            if !expected.is_empty() && !expected.ends_with("\r\n") {
                expected.push_str("\r\n");
            }
            prop_assert_eq!(announced_size(body.as_bytes()), expected.len() as u64);
            prop_assert_eq!(received(&sent(body.as_bytes())), Some(expected.into_bytes()));
        }
    }
}
