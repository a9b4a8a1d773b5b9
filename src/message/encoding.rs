//! The two encodings of RFC 2045 that make octets pass through seven bits, and encoded words (RFC 2047). For bodies and
//! reports; a message that passes through unchanged is never touched.

/// Characters of a line at most, without CRLF (RFC 2045 §6.7 (5), §6.8).
const LINE: usize = 76;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Text as quoted-printable: line ends stay line ends, all else can be read back octet by octet.
pub fn quoted_printable(body: &[u8], out: &mut Vec<u8>) {
    quote(body, out, |octet| matches!(octet, b'=' | 0..=8 | 10..=31 | 127..));
}

/// What is quoted-printable already and has octets that may not stand there.
pub fn requote(body: &[u8], out: &mut Vec<u8>) {
    for &octet in body {
        match octet {
            128.. => out.extend_from_slice(&hex(octet)),
            _ => out.push(octet),
        }
    }
}

fn quote(body: &[u8], out: &mut Vec<u8>, must: impl Fn(u8) -> bool) {
    let mut column = 0;
    let mut at = 0;
    while at < body.len() {
        if body[at..].starts_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
            (column, at) = (0, at + 2);
            continue;
        }
        let octet = body[at];
        let ends_line = at + 1 == body.len() || body[at + 1..].starts_with(b"\r\n");
        // A space or tab at the end of a line would be lost on the way (rule 3); a lone dot or "From " at the start of one
        // is what old hosts stumble over.
        let is_quoted = must(octet)
            || (ends_line && matches!(octet, b' ' | b'\t'))
            || (column == 0 && (octet == b'.' || body[at..].starts_with(b"From ")));
        let width = if is_quoted { 3 } else { 1 };
        // Room for the sign of a soft line break, except where the line ends by itself.
        if column + width > LINE - usize::from(!ends_line) {
            out.extend_from_slice(b"=\r\n");
            column = 0;
            continue;
        }
        if is_quoted {
            out.extend_from_slice(&hex(octet));
        } else {
            out.push(octet);
        }
        column += width;
        at += 1;
    }
}

fn hex(octet: u8) -> [u8; 3] {
    [b'=', HEX[usize::from(octet >> 4)], HEX[usize::from(octet & 15)]]
}

/// Anything as base64, in lines; the last one without CRLF.
pub fn base64(body: &[u8], out: &mut Vec<u8>) {
    // 57 octets make one line of 76 characters.
    for (number, line) in body.chunks(LINE / 4 * 3).enumerate() {
        if number > 0 {
            out.extend_from_slice(b"\r\n");
        }
        for group in line.chunks(3) {
            let at = |place: usize| u32::from(group.get(place).copied().unwrap_or(0));
            let bits = at(0) << 16 | at(1) << 8 | at(2);
            for place in 0..4 {
                let is_there = place <= group.len();
                let sign = ALPHABET[(bits >> (18 - 6 * place) & 63) as usize];
                out.push(if is_there { sign } else { b'=' });
            }
        }
    }
}

/// Octets of a text in one encoded word: with its frame at most 75 characters (RFC 2047 §2).
const WORD: usize = 42;

/// Unstructured text as encoded words, folded: UTF-8 where it is that, else in a charset nobody knows (RFC 1428).
pub fn encoded_words(text: &[u8]) -> String {
    let (charset, mut rest) = match std::str::from_utf8(text) {
        Ok(_) => ("utf-8", text),
        Err(_) => ("unknown-8bit", text),
    };
    let mut out = String::new();
    while !rest.is_empty() {
        let mut end = rest.len().min(WORD);
        // A character must not be cut in two (§5).
        while charset == "utf-8" && end < rest.len() && rest[end] & 0xc0 == 0x80 {
            end -= 1;
        }
        let (piece, behind) = rest.split_at(end);
        rest = behind;
        let mut encoded = Vec::with_capacity(60);
        base64(piece, &mut encoded);
        if !out.is_empty() {
            out.push_str("\r\n ");
        }
        out.push_str(&format!("=?{charset}?B?{}?=", String::from_utf8_lossy(&encoded)));
    }
    out
}

#[cfg(test)]
mod tests {
    use mail_parser::decoders::{base64::base64_decode, quoted_printable::quoted_printable_decode};
    use proptest::prelude::*;

    use super::*;

    fn quoted(body: &[u8]) -> String {
        let mut out = Vec::new();
        quoted_printable(body, &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn text_is_quoted_by_the_rules() {
        for (body, expected) in [
            ("grüße\r\n", "gr=C3=BC=C3=9Fe\r\n"),
            ("a = b\r\n", "a =3D b\r\n"),
            ("end \r\n\tx\t", "end=20\r\n\tx=09"),
            (".\r\nFrom me\r\nFromage", "=2E\r\n=46rom me\r\nFromage"),
            ("bare\rreturn", "bare=0Dreturn"),
            ("", ""),
        ] {
            assert_eq!(quoted(body.as_bytes()), expected);
        }
        let exactly = "x".repeat(76);
        assert_eq!(quoted(exactly.as_bytes()), exactly, "a line of 76 fits");
        assert_eq!(quoted("x".repeat(77).as_bytes()), format!("{}=\r\nxx", "x".repeat(75)));
    }

    #[test]
    fn words_cut_no_character_in_two() {
        let text = "ä".repeat(50);
        let words = encoded_words(text.as_bytes());
        assert!(words.lines().all(|line| line.trim().len() <= 75), "{words}");
        let decoded: Vec<u8> = words
            .split_whitespace()
            .flat_map(|word| {
                let inner = word.strip_prefix("=?utf-8?B?").and_then(|rest| rest.strip_suffix("?=")).expect("a word");
                let piece = base64_decode(inner.as_bytes()).expect("base64");
                std::str::from_utf8(&piece).expect("whole characters");
                piece
            })
            .collect();
        assert_eq!(decoded, text.as_bytes());
        assert!(encoded_words(b"\xfc").starts_with("=?unknown-8bit?B?"));
    }

    proptest! {
        #[test]
        fn both_encodings_come_back_in_short_ascii_lines(body in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut out = Vec::new();
            base64(&body, &mut out);
            prop_assert!(out.is_ascii() && out.split(|b| *b == b'\n').all(|line| line.len() <= 77));
            prop_assert_eq!(base64_decode(&out).unwrap_or_default(), body.clone());
            // A lone LF cannot occur: bodies have CRLF line ends.
            let text: Vec<u8> = body.into_iter().filter(|b| *b != b'\n').collect();
            let mut out = Vec::new();
            quoted_printable(&text, &mut out);
            prop_assert!(out.is_ascii() && out.split(|b| *b == b'\n').all(|line| line.len() <= 77));
            prop_assert_eq!(quoted_printable_decode(&out).unwrap_or_default(), text);
        }
    }
}
