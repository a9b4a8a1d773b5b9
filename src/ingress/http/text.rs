//! A whole message as it came in a body. Pure.
//!
//! What SMTP refuses at the final dot is refused here in the same words: NUL, bare CR or LF, lines too long. With one
//! exception: programs that write files end lines with LF, and so do most that make such a request; a message without any
//! CR is taken as one of those, and every LF made CRLF. One that has both kinds is refused as ever.

use bytes::Bytes;

use super::wrong::Wrong;
use crate::ingress::Refusal;
use crate::ingress::smtp::data::{Fault, MAX_LINE};

/// The message in the form in which it is sent: lines end in CRLF, the last one too.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(body: Bytes) -> Result<Bytes, Wrong> {
    if body.is_empty() {
        return Err(Wrong::new("body", "the message is empty"));
    }
    let body = if memchr::memchr(b'\r', &body).is_none() { with_crlf(&body) } else { body };
    let wrong = |fault: Fault| {
        let Refusal { text, .. } = fault.refusal();
        Wrong::new("body", text)
    };
    fault(&body).map_or(Ok(()), |fault| Err(wrong(fault)))?;
    if body.ends_with(b"\r\n") {
        return Ok(body);
    }
    Ok(Bytes::from([&body[..], b"\r\n"].concat()))
}

fn with_crlf(body: &[u8]) -> Bytes {
    let lines = memchr::memchr_iter(b'\n', body).count();
    let mut text = Vec::with_capacity(body.len() + lines + 2);
    for line in body.split_inclusive(|octet| *octet == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(line) => {
                text.extend_from_slice(line);
                text.extend_from_slice(b"\r\n");
            }
            None => text.extend_from_slice(line),
        }
    }
    text.into()
}

/// What must not stand in a message.
fn fault(text: &[u8]) -> Option<Fault> {
    let mut line_start = 0;
    let mut rest = 0;
    while let Some(found) = memchr::memchr3(b'\r', b'\n', 0, &text[rest..]) {
        let at = rest + found;
        if at - line_start > MAX_LINE {
            return Some(Fault::LineTooLong);
        }
        match (text[at], text.get(at + 1)) {
            (b'\r', Some(b'\n')) => {
                rest = at + 2;
                line_start = rest;
            }
            (b'\r', _) => return Some(Fault::BareCr),
            (b'\n', _) => return Some(Fault::BareLf),
            _ => return Some(Fault::Nul),
        }
    }
    (text.len() - line_start > MAX_LINE).then_some(Fault::LineTooLong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_smtp_refuses_is_refused_and_files_of_unix_are_made_mail() {
        let long = "x".repeat(MAX_LINE + 1);
        for (body, text) in [
            ("A: b\r\n\r\nc\r\n", Ok("A: b\r\n\r\nc\r\n")),
            ("A: b\r\n\r\n.\r\nc", Ok("A: b\r\n\r\n.\r\nc\r\n")),
            ("A: b\n\nä\n.\nc", Ok("A: b\r\n\r\nä\r\n.\r\nc\r\n")),
            ("\n", Ok("\r\n")),
            ("", Err("empty")),
            ("A: b\r\n\nc\r\n", Err("bare LF")),
            ("A: b\r\n\r\nc\rd", Err("bare CR")),
            ("A: b\r\n\r\nc\r", Err("bare CR")),
            ("A: b\n\nc\r\n", Err("bare LF")),
            ("A: b\r\n\0\r\n", Err("NUL")),
            ("A: b\n\0\n", Err("NUL")),
            (&long, Err("longer")),
            (&*format!("{long}\r\n"), Err("longer")),
        ] {
            match (read(Bytes::copy_from_slice(body.as_bytes())), text) {
                (Ok(read), Ok(text)) => assert_eq!(read, text.as_bytes()),
                (Err(wrong), Err(says)) => assert!(wrong.detail.contains(says), "{wrong:?}"),
                (read, _) => panic!("{:?}: {read:?}", &body[..body.len().min(50)]),
            }
        }
    }
}
