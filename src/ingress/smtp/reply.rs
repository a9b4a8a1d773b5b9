//! Replies on the wire (RFC 5321 §4.2, RFC 2034).
//!
//! The one place that writes them: what a text may hold, how lines are joined and what is counted is settled here.

use std::io::Write as _;

use crate::ingress::Refusal;

/// Replies written, by class: 2yz, 3yz, 4yz, 5yz.
pub(super) type ReplyCounts = [u64; 4];

/// Octets of text in a reply line. RFC 5321 §4.5.3.1.5 gives a line 512, code and line end included.
const TEXT_MAX: usize = 480;

/// Writes the replies of a session and remembers what the log and the metrics want to know of them.
#[derive(Debug, Default)]
pub(super) struct Replies {
    counts: ReplyCounts,
    last_refusal: Option<String>,
}

impl Replies {
    /// One line. The text may come from elsewhere, so it is made safe: printable ASCII and not too long.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, code: u16, enhanced: Option<(u8, u16, u16)>, text: &str) {
        self.count(code);
        // Writing to a Vec cannot fail.
        let _ = match enhanced {
            Some((class, subject, detail)) => write!(out, "{code} {class}.{subject}.{detail} "),
            None => write!(out, "{code} "),
        };
        out.extend(text.chars().take(TEXT_MAX).map(|c| if matches!(c, ' '..='~') { c as u8 } else { b'?' }));
        out.extend_from_slice(b"\r\n");
    }

    /// A reply of several lines, all but the last with a hyphen.
    pub(super) fn write_lines(&mut self, out: &mut Vec<u8>, code: u16, lines: &[&str]) {
        self.count(code);
        for (n, line) in lines.iter().enumerate() {
            let separator = if n + 1 == lines.len() { ' ' } else { '-' };
            let _ = write!(out, "{code}{separator}{line}\r\n");
        }
    }

    /// `250 2.subject.detail`
    pub(super) fn ok(&mut self, out: &mut Vec<u8>, subject: u16, detail: u16, text: &str) {
        self.write(out, 250, Some((2, subject, detail)), text);
    }

    /// A negative reply.
    pub(super) fn refuse(&mut self, out: &mut Vec<u8>, refusal: &Refusal) {
        let code = refusal.enhanced;
        self.write(out, refusal.code, Some((code.class, code.subject, code.detail)), &refusal.text);
        self.last_refusal = Some(format!("{} {code} {}", refusal.code, refusal.text));
    }

    /// The last negative reply.
    pub(super) fn last_refusal(&self) -> Option<&str> {
        self.last_refusal.as_deref()
    }

    /// Replies written since the last call.
    pub(super) fn take_counts(&mut self) -> ReplyCounts {
        std::mem::take(&mut self.counts)
    }

    fn count(&mut self, code: u16) {
        if let Some(counter) = self.counts.get_mut(usize::from(code / 100).saturating_sub(2)) {
            *counter += 1;
        }
    }
}
