//! Reply code, enhanced status code, text (RFC 5321 §4.2, RFC 3463).

use std::fmt;

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
    /// Enhanced status code where it leads the text of the last line.
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

/// Octets that are no SMTP reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadReply(String);

/// Splits a stream into replies. Stand-in until the real one is merged.
#[derive(Debug, Default)]
pub struct ReplyParser {
    code: Option<u16>,
    enhanced: Option<EnhancedCode>,
    lines: Vec<String>,
}

impl ReplyParser {
    /// Takes one complete reply off the front of `buf`; `None` when more octets are needed.
    pub fn feed(&mut self, buf: &mut bytes::BytesMut) -> Result<Option<Reply>, BadReply> {
        while let Some(end) = memchr::memchr(b'\n', buf) {
            let line = buf.split_to(end + 1);
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\r', '\n']);
            if self.code.is_none() {
                self.lines.clear();
            }
            let code = line
                .get(..3)
                .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|digits| digits.parse::<u16>().ok())
                .filter(|code| (200..600).contains(code) && self.code.is_none_or(|first| first == *code))
                .ok_or_else(|| BadReply(format!("not a reply: {line:.80}")))?;
            let last = match line.as_bytes().get(3) {
                None | Some(b' ') => true,
                Some(b'-') => false,
                _ => return Err(BadReply(format!("not a reply: {line:.80}"))),
            };
            let mut text = line.get(4..).unwrap_or("");
            self.enhanced = enhanced(text);
            if self.enhanced.is_some() {
                text = text.split_once(' ').map_or("", |(_, rest)| rest);
            }
            self.lines.push(text.to_owned());
            self.code = Some(code);
            if last {
                self.code = None;
                let mut text = self.lines.join(" ");
                if text.len() > Reply::TEXT_MAX {
                    text.truncate((0..=Reply::TEXT_MAX).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0));
                }
                return Ok(Some(Reply { code, enhanced: self.enhanced, text }));
            }
        }
        Ok(None)
    }

    /// The text lines of the last complete reply.
    pub fn take_lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }
}

fn enhanced(text: &str) -> Option<EnhancedCode> {
    let mut parts = text.split(' ').next()?.splitn(3, '.');
    let class = parts.next()?.parse().ok().filter(|class| [2, 4, 5].contains(class))?;
    Some(EnhancedCode { class, subject: parts.next()?.parse().ok()?, detail: parts.next()?.parse().ok()? })
}
