//! The SMTP reply inside a report's diagnostic, so that the rules for live replies judge it too.

use super::Reported;
use crate::outcome::{EnhancedCode, Reply};

impl Reported {
    /// The reply the report quotes, as one of the dialogue would have been: from the diagnostic, or else code and
    /// text made of `Status`. `None` where the report holds neither. The lines of a long reply are joined, with their
    /// codes taken out.
    pub fn reply(&self) -> Option<Reply> {
        let status = self.status.as_deref().and_then(|text| EnhancedCode::lead(text.as_bytes())).map(|(code, _)| code);
        let text = self.diagnostic.as_deref().unwrap_or_default();
        let Some((code, rest)) = code_of(text) else {
            let status = status.filter(|status| status.class != 2)?;
            let code = if status.class == 4 { 450 } else { 550 };
            return Some(Reply { code, enhanced: Some(status), text: kept(text) });
        };
        let (continued, last) = (format!("{code}-"), format!("{code} "));
        let mut rest = rest.trim_start_matches([' ', '-', '\'', '"']);
        // `550 550 5.1.1`: quoted twice.
        rest = rest.strip_prefix(&last).unwrap_or(rest).trim_start();
        let (enhanced, rest) = match EnhancedCode::lead(rest.as_bytes()) {
            Some((enhanced, after)) => (Some(enhanced), &rest[rest.len() - after.len()..]),
            None => (None, rest),
        };
        let again = enhanced.map(|enhanced| enhanced.to_string()).unwrap_or_default();
        let multiline = text.contains(&continued);
        let words = rest.split_whitespace().filter_map(|word| {
            let bare = if multiline { word.strip_prefix(&continued).unwrap_or(word) } else { word };
            let repeated = multiline && (bare == again || bare == last.trim_end());
            (!bare.is_empty() && !repeated).then_some(bare)
        });
        let text = words.collect::<Vec<_>>().join(" ");
        Some(Reply { code, enhanced: enhanced.or(status), text: kept(&text) })
    }
}

/// The first reply code of 4yz or 5yz that stands by itself, and what follows it.
pub(super) fn code_of(text: &str) -> Option<(u16, &str)> {
    let bytes = text.as_bytes();
    let at = (0..bytes.len().saturating_sub(2)).find(|&at| {
        matches!(bytes[at], b'4' | b'5')
            && bytes[at + 1..at + 3].iter().all(u8::is_ascii_digit)
            && matches!(bytes.get(at + 3), None | Some(b' ' | b'-' | b'\t'))
            && (at == 0
                || matches!(
                    bytes[at - 1],
                    b' ' | b'\t' | b':' | b'(' | b'[' | b'\'' | b'"' | b'#' | b';' | b'<' | b'>'
                ))
    })?;
    Some((text[at..at + 3].parse().ok()?, &text[at + 3..]))
}

fn kept(text: &str) -> String {
    let mut end = text.len().min(Reply::TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
