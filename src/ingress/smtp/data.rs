//! The text of a message: between `354` and the final dot (RFC 5321 §4.1.1.4, §4.5.2), or in chunks of BDAT (RFC 3030).
//!
//! Only CRLF `.` CRLF ends it. What other programs may take for a line end — bare LF, bare CR, CR CR LF — does not:
//! a server that is generous here lets an attacker hide a second message inside the first ("SMTP smuggling"). Such a
//! message is read to its real end and then refused (§2.3.8), and so is one with NUL, with a line above [`MAX_LINE`]
//! octets, or above the size limit; of a refused message nothing more is kept in memory.
//!
//! In chunks nothing ends the text but the word of the client, and no dot is stuffed; what is no line end there is none
//! either, since the text goes on to hosts that take it by DATA. A last line without its CRLF is given one: the next host
//! could not be told otherwise, and to signatures it is the same (RFC 6376 §3.4.3).
//!
//! The reader takes its input in any pieces with the same result. It jumps from line end to line end (`memchr`) and
//! copies long runs at once; octets are looked at one by one only around line ends.

use bytes::{Bytes, BytesMut};

use crate::ingress::Refusal;

/// Octets of one text line, CRLF not included. RFC 5321 §4.5.3.1.6 asks for at least 998 and to handle more where
/// possible: real mail has long lines, and refusing them helps nobody.
pub const MAX_LINE: usize = 64 * 1024;

/// Reads one message.
#[derive(Debug)]
pub struct DataReader {
    at: At,
    body: BytesMut,
    /// Octets of the message so far, stored or not.
    total: u64,
    limit: u64,
    /// Octets of the present line, its stuffed dot not included.
    line: usize,
    eight_bit: bool,
    fault: Option<Fault>,
    /// Whether dots are stuffed and one of them ends the text.
    dots: bool,
}

/// Where in the text the reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// At the first octet, or behind CRLF.
    LineStart,
    /// Behind a dot at the start of a line.
    Dot,
    /// Behind dot and CR at the start of a line; the CR is not stored yet.
    DotCr,
    /// Inside a line.
    Line,
    /// Behind a CR inside a line.
    Cr,
    /// Behind the final dot and its CRLF.
    End,
}

/// Why a message is refused at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Larger than the limit.
    TooBig,
    /// A CR without LF.
    BareCr,
    /// An LF without CR.
    BareLf,
    /// An octet of value 0.
    Nul,
    /// A line above [`MAX_LINE`].
    LineTooLong,
    /// No room in memory, see [`crate::ingress::Room`].
    NoRoom,
}

impl Fault {
    /// The reply to give.
    pub fn refusal(self) -> Refusal {
        match self {
            Self::TooBig => Refusal::new(552, 3, 4, "message is larger than the limit"),
            Self::BareCr => Refusal::new(550, 6, 0, "bare CR in the message: lines must end in CRLF (RFC 5321 2.3.8)"),
            Self::BareLf => Refusal::new(550, 6, 0, "bare LF in the message: lines must end in CRLF (RFC 5321 2.3.8)"),
            Self::Nul => Refusal::new(550, 6, 0, "NUL octet in the message"),
            Self::NoRoom => Refusal::storage(),
            Self::LineTooLong => {
                Refusal::new(550, 6, 0, format!("a line of the message is longer than {MAX_LINE} octets"))
            }
        }
    }
}

/// A message read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The message: dots unstuffed, the final dot not included, empty or ending in CRLF.
    pub body: Bytes,
    /// Whether it holds octets above 127.
    pub eight_bit: bool,
}

impl DataReader {
    /// A reader for one message of at most `limit` octets; `expected` is the size the client announced, if any.
    pub fn new(limit: u64, expected: Option<u64>) -> Self {
        // The client's word is good for a first buffer, not for more than it could fill soon.
        let first = usize::try_from(expected.unwrap_or(0).min(limit).min(128 * 1024)).unwrap_or(0);
        Self {
            at: At::LineStart,
            body: BytesMut::with_capacity(first),
            total: 0,
            limit,
            line: 0,
            eight_bit: false,
            fault: None,
            dots: true,
        }
    }

    /// The same for a message in chunks: feed it what they hold, and say [`DataReader::last`] behind the last.
    pub fn in_chunks(limit: u64, expected: Option<u64>) -> Self {
        Self { dots: false, ..Self::new(limit, expected) }
    }

    /// Takes the next piece; returns how much of it belongs to the message (all of it, until the end is found).
    pub fn feed(&mut self, input: &[u8]) -> usize {
        let mut i = 0;
        // Start of the octets that are to be stored and are not yet.
        let mut run = 0;
        while let Some(&byte) = input.get(i) {
            match self.at {
                At::LineStart if byte == b'.' && self.dots => {
                    self.store(&input[run..i]);
                    i += 1;
                    run = i;
                    self.at = At::Dot;
                }
                At::Dot if byte == b'\r' => {
                    i += 1;
                    run = i;
                    self.at = At::DotCr;
                }
                At::DotCr if byte == b'\n' => {
                    self.at = At::End;
                    return i + 1;
                }
                At::DotCr => {
                    self.bare_cr();
                    self.total += 1;
                }
                At::Cr if byte == b'\n' => {
                    i += 1;
                    self.line = 0;
                    self.at = At::LineStart;
                }
                At::Cr => self.bare_cr(),
                At::LineStart | At::Dot | At::Line => i = self.line(input, i),
                At::End => return i,
            }
        }
        self.store(&input[run..]);
        input.len()
    }

    /// Goes on inside a line from `from` to behind the next CR, bare LF or NUL; returns where that is.
    fn line(&mut self, input: &[u8], from: usize) -> usize {
        self.at = At::Line;
        let found = memchr::memchr3(b'\r', b'\n', 0, &input[from..]);
        let end = found.map_or(input.len(), |n| from + n);
        self.line += end - from;
        if self.line > MAX_LINE {
            self.fail(Fault::LineTooLong);
        }
        match input.get(end) {
            None => return end,
            Some(b'\r') => self.at = At::Cr,
            Some(b'\n') => self.inside(Fault::BareLf),
            Some(_) => self.inside(Fault::Nul),
        }
        end + 1
    }

    fn bare_cr(&mut self) {
        self.at = At::Line;
        self.inside(Fault::BareCr);
    }

    /// An octet that must not stand inside a line does.
    fn inside(&mut self, fault: Fault) {
        self.line += 1;
        self.fail(fault);
    }

    /// Remembers the first fault and forgets the text: it will not be needed.
    fn fail(&mut self, fault: Fault) {
        if self.fault.is_none() {
            self.fault = Some(fault);
            self.body = BytesMut::new();
        }
    }

    fn store(&mut self, octets: &[u8]) {
        self.total += octets.len() as u64;
        if self.fault.is_some() {
            return;
        }
        if self.total > self.limit {
            self.body = BytesMut::new();
            return;
        }
        self.eight_bit = self.eight_bit || !octets.is_ascii();
        self.body.extend_from_slice(octets);
    }

    /// The last chunk was fed: the text ends here.
    pub fn last(&mut self) {
        match self.at {
            At::Cr => self.bare_cr(),
            At::Line if self.fault.is_none() && self.total <= self.limit => self.body.extend_from_slice(b"\r\n"),
            _ => {}
        }
        self.at = At::End;
    }

    /// Octets fed so far that count against the limit.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Octets of memory it holds.
    pub fn held(&self) -> u64 {
        self.body.capacity() as u64
    }

    /// Octets of memory it may hold when it was fed so many more, at most and at least where all of them are stored: a buffer
    /// that is full is doubled.
    pub fn held_after(&self, more: usize) -> (u64, u64) {
        let (len, capacity) = (self.body.len().saturating_add(more), self.body.capacity());
        if self.fault.is_some() || len <= capacity {
            return (capacity as u64, capacity as u64);
        }
        (len.max(2 * capacity) as u64, len as u64)
    }

    /// Why it will be refused, as far as it is known.
    pub fn fault(&self) -> Option<Fault> {
        if self.total > self.limit { Some(Fault::TooBig) } else { self.fault }
    }

    /// There is no room for it: what it holds is forgotten, and it is refused at its end.
    pub fn no_room(&mut self) {
        self.fail(Fault::NoRoom);
    }

    /// Whether the final dot was read.
    pub fn ended(&self) -> bool {
        self.at == At::End
    }

    /// The message, or why it is refused. Size goes first: it holds whatever else is wrong.
    pub fn finish(self) -> Result<Text, Fault> {
        match self.fault() {
            Some(fault) => Err(fault),
            None => Ok(Text { body: self.body.freeze(), eight_bit: self.eight_bit }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Result and octets consumed, the input given in pieces of these sizes (the last repeats).
    fn read(input: &[u8], limit: u64, pieces: &[usize]) -> (Option<Result<Text, Fault>>, usize) {
        let mut reader = DataReader::new(limit, None);
        let mut at = 0;
        let mut sizes = pieces.iter().copied().chain(std::iter::repeat(pieces.last().copied().unwrap_or(usize::MAX)));
        while at < input.len() && !reader.ended() {
            let size = sizes.next().unwrap_or(1).max(1);
            let piece = &input[at..input.len().min(at.saturating_add(size))];
            at += reader.feed(piece);
        }
        if reader.ended() { (Some(reader.finish()), at) } else { (None, at) }
    }

    /// The same, said plainly: split at CRLF, look for the line that is a single dot.
    fn read_naively(input: &[u8], limit: u64) -> (Option<Result<Text, Fault>>, usize) {
        let mut body = Vec::new();
        let mut fault = None;
        let mut at = 0;
        loop {
            let Some(len) = input[at..].windows(2).position(|pair| pair == b"\r\n") else { return (None, input.len()) };
            let line = &input[at..at + len];
            at += len + 2;
            if line == b"." {
                break;
            }
            let line = line.strip_prefix(b".").unwrap_or(line);
            for (n, byte) in line.iter().enumerate() {
                let here = match byte {
                    b'\r' => Some(Fault::BareCr),
                    b'\n' => Some(Fault::BareLf),
                    0 => Some(Fault::Nul),
                    _ if n >= MAX_LINE => Some(Fault::LineTooLong),
                    _ => None,
                };
                fault = fault.or(here);
            }
            body.extend_from_slice(line);
            body.extend_from_slice(b"\r\n");
        }
        let result = match fault {
            _ if body.len() as u64 > limit => Err(Fault::TooBig),
            Some(fault) => Err(fault),
            None => Ok(Text { eight_bit: !body.is_ascii(), body: body.into() }),
        };
        (Some(result), at)
    }

    fn text(body: &str) -> Option<Result<Text, Fault>> {
        Some(Ok(Text { body: Bytes::copy_from_slice(body.as_bytes()), eight_bit: !body.is_ascii() }))
    }

    #[test]
    fn only_crlf_dot_crlf_ends_the_text() {
        for (input, result, rest) in [
            (".\r\n", text(""), ""),
            ("a\r\n.\r\nQUIT\r\n", text("a\r\n"), "QUIT\r\n"),
            ("..\r\n...x\r\n.\r\n", text(".\r\n..x\r\n"), ""),
            (".x\r\n.\r\n", text("x\r\n"), ""),
            ("ä\r\n.\r\n", text("ä\r\n"), ""),
            ("a\r\n\r\n.\r\n", text("a\r\n\r\n"), ""),
            ("a\n.\n", None, ""),
            ("a\n.\r\n", None, ""),
            ("a\r.\r", None, ""),
            ("a\r\n.\r\r\n", None, ""),
            ("a\r\n.\n", None, ""),
            ("a\r\n.\r", None, ""),
            ("a\r.\r\n", None, ""),
            ("a\n\r\n.\r\n", Some(Err(Fault::BareLf)), ""),
            ("a\n.\r\nMAIL FROM:<x@y>\r\n.\r\n", Some(Err(Fault::BareLf)), ""),
            ("a\r\n.\r\r\nRSET\r\n.\r\n", Some(Err(Fault::BareCr)), ""),
            ("a\r\r\n.\r\n", Some(Err(Fault::BareCr)), ""),
            ("a\r\n.\rx\r\n.\r\n", Some(Err(Fault::BareCr)), ""),
            ("a\0\r\n.\r\n", Some(Err(Fault::Nul)), ""),
            (".\n\r\n.\r\n", Some(Err(Fault::BareLf)), ""),
        ] {
            let end = input.len() - rest.len();
            assert_eq!(read(input.as_bytes(), 1000, &[]), (result.clone(), end), "{input:?}");
            assert_eq!(read(input.as_bytes(), 1000, &[1]), (result, end), "{input:?} octet by octet");
        }
    }

    /// What a message in such chunks is.
    fn in_chunks(chunks: &[&[u8]], limit: u64) -> Result<Text, Fault> {
        let mut reader = DataReader::in_chunks(limit, None);
        for chunk in chunks {
            assert_eq!(reader.feed(chunk), chunk.len(), "all of it is text");
        }
        reader.last();
        assert!(reader.ended());
        reader.finish()
    }

    #[test]
    fn chunks_have_no_dots_and_an_open_last_line_is_closed() {
        for (chunks, result) in [
            (&[""][..], text("")),
            (&["a\r\n"], text("a\r\n")),
            (&["a"], text("a\r\n")),
            (&[".\r\n", "..\r\n.\r\n"], text(".\r\n..\r\n.\r\n")),
            (&["a\r", "\nb\r\n"], text("a\r\nb\r\n")),
            (&["a\r"], Some(Err(Fault::BareCr))),
            (&["a\r", "b\r\n"], Some(Err(Fault::BareCr))),
            (&["a\n", ".\r\n"], Some(Err(Fault::BareLf))),
            (&["a\0"], Some(Err(Fault::Nul))),
            (&["1234567890"], text("1234567890\r\n")),
            (&["1234", "5678901"], Some(Err(Fault::TooBig))),
        ] {
            let chunks: Vec<&[u8]> = chunks.iter().map(|chunk| chunk.as_bytes()).collect();
            assert_eq!(Some(in_chunks(&chunks, 10)), result, "{chunks:?}");
        }
    }

    #[test]
    fn what_will_be_held_is_known_before() {
        let mut reader = DataReader::in_chunks(u64::MAX, Some(100));
        for more in [1, 99, 1, 50, 500, 10_000, 3] {
            let (most, least) = reader.held_after(more);
            reader.feed(&vec![b'x'; more]);
            assert!((least..=most).contains(&reader.held()), "{more}: {} for {least} to {most}", reader.held());
        }
        reader.no_room();
        assert_eq!((reader.held_after(1 << 20), reader.held(), reader.fault()), ((0, 0), 0, Some(Fault::NoRoom)));
    }

    #[test]
    fn size_counts_the_text_without_stuffing_and_final_dot() {
        let input = b"..234\r\n.\r\n";
        assert_eq!(read(input, 6, &[]).0, text(".234\r\n"));
        assert_eq!(read(input, 5, &[]).0, Some(Err(Fault::TooBig)));
    }

    #[test]
    fn nothing_is_kept_beyond_the_limit() {
        let mut reader = DataReader::new(1000, Some(u64::MAX));
        for _ in 0..1000 {
            reader.feed(&[b'x'; 100]);
            assert!(reader.body.capacity() <= 4096);
        }
        reader.feed(b"\r\n.\r\n");
        assert_eq!(reader.finish(), Err(Fault::TooBig));
    }

    #[test]
    fn long_lines_are_taken_up_to_the_limit() {
        for (len, fault) in [(MAX_LINE, None), (MAX_LINE + 1, Some(Fault::LineTooLong))] {
            let input = [&vec![b'x'; len][..], b"\r\nb\r\n.\r\n"].concat();
            for piece in [usize::MAX, 7777] {
                assert_eq!(read(&input, u64::MAX, &[piece]).0.and_then(Result::err), fault);
            }
        }
    }

    fn octets() -> impl Strategy<Value = Vec<u8>> {
        let octet = prop_oneof![
            4 => Just(b"\r\n".to_vec()), 3 => Just(b".".to_vec()), 2 => Just(b"\r\n.\r\n".to_vec()),
            1 => Just(b"\r".to_vec()), 1 => Just(b"\n".to_vec()), 3 => Just(b"text".to_vec()),
            1 => Just(vec![0xe4]), 1 => Just(vec![0]),
        ];
        proptest::collection::vec(octet, 0..40).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn any_pieces_give_the_plain_result(
            input in octets(),
            limit in 0u64..80,
            pieces in proptest::collection::vec(1usize..9, 1..20),
        ) {
            let expected = read_naively(&input, limit);
            prop_assert_eq!(&read(&input, limit, &[]), &expected);
            prop_assert_eq!(&read(&input, limit, &[1]), &expected);
            prop_assert_eq!(&read(&input, limit, &pieces), &expected);
        }

        #[test]
        fn chunks_give_what_dots_give(
            parts in proptest::collection::vec(octets(), 0..4),
            limit in 0u64..80,
        ) {
            // The same lines by DATA: every line end in its place, every leading dot stuffed.
            let whole = parts.concat();
            let mut lines = Vec::new();
            let mut rest = &whole[..];
            while let Some(len) = rest.windows(2).position(|pair| pair == b"\r\n") {
                lines.push(&rest[..len]);
                rest = &rest[len + 2..];
            }
            let is_open = !rest.is_empty();
            lines.extend(is_open.then_some(rest));
            let mut stuffed = Vec::new();
            for line in lines {
                stuffed.extend_from_slice(if line.starts_with(b".") { b"." } else { b"" });
                stuffed.extend_from_slice(line);
                stuffed.extend_from_slice(b"\r\n");
            }
            stuffed.extend_from_slice(b".\r\n");
            let chunks: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            // The line end that was added does not count.
            let by_data = read(&stuffed, if is_open { limit + 2 } else { limit }, &[]).0.expect("ended");
            prop_assert_eq!(in_chunks(&chunks, limit), by_data);
        }

        #[test]
        fn stuffing_is_undone(lines in proptest::collection::vec("[.a-c]{0,5}", 0..10)) {
            let body: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
            let stuffed: String =
                lines.iter().map(|line| format!("{}{line}\r\n", if line.starts_with('.') { "." } else { "" })).collect();
            let input = format!("{stuffed}.\r\n");
            prop_assert_eq!(read(input.as_bytes(), 1000, &[]).0, text(&body));
        }
    }
}
