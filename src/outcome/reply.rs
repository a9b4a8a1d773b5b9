//! Reply code, enhanced status code, text (RFC 5321 §4.2, RFC 3463), and the parser that reads them off a connection.
//!
//! [`ReplyParser`] is fed with whatever has arrived and takes exactly one reply at a time off the front of the buffer,
//! so pipelined replies stay where they are. It is strict where a mistake could put a wrong meaning on a recipient
//! (lines without a code, codes outside 200–599) and lenient where real servers are sloppy and nothing hangs on it
//! (bare LF as line end, long lines, octets above 127, NUL). Everything it keeps is bounded.
//!
//! The code and the enhanced code are those of the last line. All lines of a reply should carry the same code (RFC 5321
//! §4.2.1), but hosts exist whose lines do not, and what they mean is what they say last: taking such a reply for no
//! reply at all would try the same mail again until its lifetime ends.

use std::fmt;

use bytes::{Buf, BytesMut};

/// RFC 3463 `class.subject.detail`, kept in full: Microsoft's 5.7.515 must not become 5.7.255.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnhancedCode {
    /// 2, 4 or 5.
    pub class: u8,
    /// 0–999.
    pub subject: u16,
    /// 0–999.
    pub detail: u16,
}

impl EnhancedCode {
    /// Takes an enhanced code off the front of `text`, with a `#` before it tolerated (IronPort writes `#5.1.0`).
    ///
    /// Gives the code and what follows it. `None` unless white space or the end of the text comes after the code.
    pub fn lead(text: &[u8]) -> Option<(Self, &[u8])> {
        let text = text.strip_prefix(b"#").unwrap_or(text);
        let (class, rest) = text.split_first()?;
        if !matches!(class, b'2' | b'4' | b'5') {
            return None;
        }
        let (subject, rest) = number(rest.strip_prefix(b".")?)?;
        let (detail, rest) = number(rest.strip_prefix(b".")?)?;
        match rest.first() {
            None | Some(b' ' | b'\t') => Some((Self { class: class - b'0', subject, detail }, rest)),
            Some(_) => None,
        }
    }
}

/// One to three digits off the front of `text`.
fn number(text: &[u8]) -> Option<(u16, &[u8])> {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    if !(1..=3).contains(&digits) {
        return None;
    }
    let (number, rest) = text.split_at(digits);
    Some((number.iter().fold(0, |n, b| n * 10 + u16::from(b - b'0')), rest))
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// A complete reply, all lines joined by one space, code and enhanced code taken off each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 200–599.
    pub code: u16,
    /// Enhanced status code where it leads the text of the last line (or else of an earlier one).
    pub enhanced: Option<EnhancedCode>,
    /// The text; at most [`Reply::TEXT_MAX`] octets, any UTF-8 (hostile bytes replaced).
    pub text: String,
}

impl Reply {
    /// Octets of text kept.
    pub const TEXT_MAX: usize = 4096;

    /// 2yz: positive completion.
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        if self.text.is_empty() { Ok(()) } else { write!(f, " {}", self.text) }
    }
}

/// Why what was read is no reply. The connection is of no use after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadReply {
    /// A line does not begin with three digits followed by space, hyphen or its end (RFC 5321 §4.2).
    #[error("line without a reply code")]
    NoCode,
    /// A code that SMTP does not have.
    #[error("reply code {0} is outside 200-599")]
    CodeOutOfRange(u16),
    /// A line of more than [`ReplyParser::LINE_MAX`] octets.
    #[error("reply line longer than {} octets", ReplyParser::LINE_MAX)]
    LineTooLong,
    /// More than [`ReplyParser::LINES_MAX`] lines.
    #[error("reply of more than {} lines", ReplyParser::LINES_MAX)]
    TooManyLines,
    /// More than [`ReplyParser::REPLY_MAX`] octets.
    #[error("reply of more than {} octets", ReplyParser::REPLY_MAX)]
    TooLong,
}

/// Reads replies from a stream of octets, however it is cut into pieces.
#[derive(Debug, Default)]
pub struct ReplyParser {
    /// Octets at the front of the buffer already known to hold no LF.
    scanned: usize,
    code: Option<u16>,
    enhanced: Option<EnhancedCode>,
    text: String,
    lines: Vec<String>,
    octets: usize,
    failed: Option<BadReply>,
}

impl ReplyParser {
    /// Octets of one line, line end not counted. RFC 5321 §4.5.3.1.5 allows 510; real servers write more.
    pub const LINE_MAX: usize = 8192;
    /// Lines of one reply.
    pub const LINES_MAX: usize = 256;
    /// Octets of one reply.
    pub const REPLY_MAX: usize = 65_536;

    /// Takes one reply off the front of `input`; `None` when more is needed.
    ///
    /// Complete lines are taken off `input` as they are read, an unfinished line stays in it: hand in the same buffer
    /// again with more appended. Octets after the reply are left for the next call.
    ///
    /// # Errors
    ///
    /// What came is no SMTP reply. The error stays: every later call returns it again.
    pub fn feed(&mut self, input: &mut BytesMut) -> Result<Option<Reply>, BadReply> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        self.advance(input).inspect_err(|why| self.failed = Some(*why))
    }

    fn advance(&mut self, input: &mut BytesMut) -> Result<Option<Reply>, BadReply> {
        loop {
            let from = self.scanned.min(input.len());
            let Some(end) = memchr::memchr(b'\n', &input[from..]).map(|at| from + at) else {
                self.scanned = input.len();
                // One octet more for a CR whose LF has not come yet.
                return if input.len() > Self::LINE_MAX + 1 { Err(BadReply::LineTooLong) } else { Ok(None) };
            };
            if self.code.is_none() {
                self.lines.clear();
            }
            let line = &input[..end];
            let last = self.line(line.strip_suffix(b"\r").unwrap_or(line))?;
            input.advance(end + 1);
            self.scanned = 0;
            if last {
                return Ok(self.take());
            }
        }
    }

    /// Takes in one line; true when it is the last of its reply.
    fn line(&mut self, line: &[u8]) -> Result<bool, BadReply> {
        if line.len() > Self::LINE_MAX {
            return Err(BadReply::LineTooLong);
        }
        let (code, last, rest) = split_code(line)?;
        if self.code.replace(code).is_some_and(|before| before != code) {
            // It belongs to the code that no longer counts.
            self.enhanced = None;
        }
        self.octets += line.len();
        if self.lines.len() >= Self::LINES_MAX {
            return Err(BadReply::TooManyLines);
        }
        if self.octets > Self::REPLY_MAX {
            return Err(BadReply::TooLong);
        }
        self.lines.push(clean(rest));
        let text = match EnhancedCode::lead(rest) {
            Some((enhanced, text)) => {
                self.enhanced = Some(enhanced);
                text
            }
            None => rest,
        };
        self.append(text);
        Ok(last)
    }

    fn append(&mut self, text: &[u8]) {
        if self.text.len() >= Reply::TEXT_MAX {
            return;
        }
        let text = clean(text);
        let text = text.trim_ascii();
        if text.is_empty() {
            return;
        }
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(text);
        if self.text.len() > Reply::TEXT_MAX {
            let end = (0..=Reply::TEXT_MAX).rev().find(|&at| self.text.is_char_boundary(at)).unwrap_or(0);
            self.text.truncate(end);
        }
    }

    /// Hands out what was gathered and makes ready for the next reply; the lines stay for [`Self::take_lines`].
    fn take(&mut self) -> Option<Reply> {
        let code = self.code.take()?;
        self.octets = 0;
        Some(Reply { code, enhanced: self.enhanced.take(), text: std::mem::take(&mut self.text) })
    }

    /// The lines of the last reply without their codes: after EHLO, the domain and the extensions (RFC 5321 §4.1.1.1).
    pub fn take_lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }

    /// Whether a reply has begun and not ended. `input` is the buffer as [`Self::feed`] left it.
    pub fn is_incomplete(&self, input: &[u8]) -> bool {
        self.code.is_some() || !input.is_empty()
    }

    /// What there is of a reply that was cut off, the unfinished line in `input` included: for the log, not to be
    /// judged as if it had been complete. `None` where not even a code came.
    pub fn cut(&mut self, input: &mut BytesMut) -> Option<Reply> {
        let rest = input.split();
        self.scanned = 0;
        if self.code.is_none() {
            self.lines.clear();
        }
        if self.failed.is_none() && !rest.is_empty() {
            // A damaged last line does not spoil the lines before it.
            let _ = self.line(rest.strip_suffix(b"\r").unwrap_or(&rest));
        }
        self.take()
    }
}

/// Code, whether the line is the last one, and what follows the code and its separator.
fn split_code(line: &[u8]) -> Result<(u16, bool, &[u8]), BadReply> {
    let (digits, rest) = line.split_at_checked(3).ok_or(BadReply::NoCode)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(BadReply::NoCode);
    }
    let code = digits.iter().fold(0, |n, b| n * 10 + u16::from(b - b'0'));
    let (last, rest) = match rest.split_first() {
        None => (true, rest),
        Some((b' ', rest)) => (true, rest),
        Some((b'-', rest)) => (false, rest),
        Some(_) => return Err(BadReply::NoCode),
    };
    if !(200..=599).contains(&code) {
        return Err(BadReply::CodeOutOfRange(code));
    }
    Ok((code, last, rest))
}

/// Readable text of `bytes`: tabs become spaces, control characters and what is no UTF-8 the replacement character.
fn clean(bytes: &[u8]) -> String {
    if bytes.iter().all(|b| matches!(b, 32..=126)) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    String::from_utf8_lossy(bytes)
        .chars()
        .map(|c| match c {
            '\t' => ' ',
            c if c.is_control() => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(raw: &[u8]) -> Result<(Option<Reply>, Vec<String>, usize), BadReply> {
        let (mut parser, mut input) = (ReplyParser::default(), BytesMut::from(raw));
        let reply = parser.feed(&mut input)?;
        Ok((reply, parser.take_lines(), input.len()))
    }

    fn show(raw: &str) -> String {
        match read(raw.as_bytes()) {
            Ok((Some(reply), ..)) => reply.to_string(),
            Ok((None, ..)) => "more".into(),
            Err(why) => why.to_string(),
        }
    }

    #[test]
    fn replies_are_read_in_all_their_forms() {
        for (raw, shown) in [
            ("250 ok\r\n", "250 ok"),
            ("250\r\n", "250"),
            ("250 \r\n", "250"),
            ("250-one\r\n250 two\r\n", "250 one two"),
            ("250-\r\n250\r\n", "250"),
            ("250 bare line end\n", "250 bare line end"),
            ("550-5.7.515 Access\r\n550 5.7.515 denied\r\n", "550 5.7.515 Access denied"),
            ("550-5.7.1 Access\r\n550 denied\r\n", "550 5.7.1 Access denied"),
            ("550 #5.1.0 Address rejected.\r\n", "550 5.1.0 Address rejected."),
            ("550 5.1.1\r\n", "550 5.1.1"),
            ("550 5.1.1: no\r\n", "550 5.1.1: no"),
            ("550 3.1.1 no class\r\n", "550 3.1.1 no class"),
            ("550 5.1.1111 no\r\n", "550 5.1.1111 no"),
            ("550 4.2.2 full\r\n", "550 4.2.2 full"),
            ("250 gr\u{fc}n \u{0}\r\n", "250 gr\u{fc}n \u{fffd}"),
            ("25", "more"),
            ("250 ok", "more"),
            ("250 ok\r", "more"),
            ("250-ok\r\n", "more"),
        ] {
            assert_eq!(show(raw), shown, "{raw:?}");
        }
    }

    #[test]
    fn what_is_no_reply_is_an_error() {
        for (raw, why) in [
            ("hello\r\n", BadReply::NoCode),
            ("\r\n", BadReply::NoCode),
            ("25\r\n", BadReply::NoCode),
            ("250ok\r\n", BadReply::NoCode),
            (" 250 ok\r\n", BadReply::NoCode),
            ("199 x\r\n", BadReply::CodeOutOfRange(199)),
            ("600 x\r\n", BadReply::CodeOutOfRange(600)),
        ] {
            assert_eq!(read(raw.as_bytes()), Err(why), "{raw:?}");
        }
    }

    #[test]
    fn where_codes_differ_the_last_line_decides() {
        for (raw, shown) in [
            ("250-a\r\n550 b\r\n", "550 a b"),
            ("550-5.1.1 a\r\n451 b\r\n", "451 a b"),
            ("451-4.3.0 a\r\n550 5.1.1 b\r\n", "550 5.1.1 a b"),
            ("550-5.1.1 a\r\n451-4.3.0 b\r\n250 2.1.5 c\r\n", "250 2.1.5 a b c"),
            ("550-5.1.1 a\r\n550 b\r\n", "550 5.1.1 a b"),
        ] {
            assert_eq!(show(raw), shown, "{raw:?}");
        }
    }

    #[test]
    fn an_error_stays() {
        let (mut parser, mut input) = (ReplyParser::default(), BytesMut::from("hello\r\n"));
        assert_eq!(parser.feed(&mut input), Err(BadReply::NoCode));
        input = BytesMut::from("250 ok\r\n");
        assert_eq!(parser.feed(&mut input), Err(BadReply::NoCode));
    }

    #[test]
    fn pipelined_replies_come_one_at_a_time() {
        let (mut parser, mut input) = (ReplyParser::default(), BytesMut::from("250 a\r\n550-b\r\n550 c\r\n354 d\r\n2"));
        let mut seen = Vec::new();
        while let Ok(Some(reply)) = parser.feed(&mut input) {
            seen.push(reply.to_string());
        }
        assert_eq!(seen, ["250 a", "550 b c", "354 d"]);
        assert_eq!(&input[..], b"2");
        assert!(parser.is_incomplete(&input));
    }

    #[test]
    fn lines_of_an_ehlo_reply_are_kept_apart() {
        let (_, lines, rest) = read(b"250-mx.example Hello\r\n250-SIZE 1000\r\n250 STARTTLS\r\n").expect("valid");
        assert_eq!(lines, ["mx.example Hello", "SIZE 1000", "STARTTLS"]);
        assert_eq!(rest, 0);
    }

    #[test]
    fn lines_are_those_of_the_last_reply_only() {
        let (mut parser, mut input) = (ReplyParser::default(), BytesMut::from("220 hi\r\n250-a\r\n250 b\r\n"));
        parser.feed(&mut input).expect("valid");
        parser.feed(&mut input).expect("valid");
        assert_eq!(parser.take_lines(), ["a", "b"]);
    }

    #[test]
    fn long_replies_are_cut_and_endless_ones_refused() {
        let line = format!("250-{}\r\n", "x".repeat(1000));
        let (reply, ..) = read(format!("{}250 end\r\n", line.repeat(20)).as_bytes()).expect("within bounds");
        assert_eq!(reply.expect("complete").text.len(), Reply::TEXT_MAX);
        let umlauts = format!("250 {}\r\n", "ü".repeat(3000));
        assert!(read(umlauts.as_bytes()).expect("within bounds").0.expect("complete").text.len() <= Reply::TEXT_MAX);
        assert_eq!(read(line.repeat(70).as_bytes()), Err(BadReply::TooLong));
        assert_eq!(read("250-x\r\n".repeat(257).as_bytes()), Err(BadReply::TooManyLines));
        assert_eq!(read(&[b'2'; ReplyParser::LINE_MAX + 2]), Err(BadReply::LineTooLong));
    }

    #[test]
    fn a_reply_cut_off_shows_what_there_is() {
        let (mut parser, mut input) = (ReplyParser::default(), BytesMut::from("550-5.1.1 no such\r\n550-5.1.1 us"));
        assert_eq!(parser.feed(&mut input), Ok(None));
        assert!(parser.is_incomplete(&input));
        assert_eq!(parser.cut(&mut input).expect("has a code").to_string(), "550 5.1.1 no such us");
        assert_eq!(parser.cut(&mut BytesMut::from("55")), None);
    }

    proptest! {
        #[test]
        fn any_octets_give_replies_or_an_error(raw in proptest::collection::vec(any::<u8>(), 0..300)) {
            let (mut parser, mut input) = (ReplyParser::default(), BytesMut::from(&raw[..]));
            while let Ok(Some(reply)) = parser.feed(&mut input) {
                prop_assert!((200..=599).contains(&reply.code));
            }
            parser.cut(&mut input);
        }

        #[test]
        fn cutting_the_stream_anywhere_changes_nothing(
            raw in "(([245][0-9][0-9][ -]([245]\\.[0-9]\\.[0-9]{1,3} )?[a-z\u{e9}\r]{0,8}\r?\n)|.{0,3}){0,8}",
            cuts in proptest::collection::vec(1usize..9, 1..60),
        ) {
            let drain = |chunks: &mut dyn Iterator<Item = &[u8]>| {
                let (mut parser, mut input, mut seen) = (ReplyParser::default(), BytesMut::new(), Vec::new());
                for chunk in chunks {
                    input.extend_from_slice(chunk);
                    loop {
                        match parser.feed(&mut input) {
                            Ok(Some(reply)) => seen.push(Ok((reply, parser.take_lines()))),
                            Ok(None) => break,
                            Err(why) => { seen.push(Err(why)); return seen; }
                        }
                    }
                }
                seen
            };
            let bytes = raw.as_bytes();
            let whole = drain(&mut std::iter::once(bytes));
            let (mut rest, mut chunks) = (bytes, Vec::new());
            for &cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (head, tail) = rest.split_at(cut.min(rest.len()));
                chunks.push(head);
                rest = tail;
            }
            prop_assert_eq!(drain(&mut chunks.into_iter()), whole);
        }
    }
}
