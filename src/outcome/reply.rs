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
