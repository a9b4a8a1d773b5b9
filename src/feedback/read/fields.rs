//! Header fields as reports hold them: `Name: value`, folded, with whatever line ends.
//!
//! One reader for header sections, `message/delivery-status`, `message/feedback-report` and returned headers. It is
//! more lenient than [`crate::message::header`], which reads what we are about to send on: reports reach us with bare
//! LF, with a `From ` line of a mailbox in front, with lines that are no field. Such lines are stepped over.

use std::borrow::Cow;

use mail_parser::parsers::MessageStream;

/// Octets of one value that are kept.
const VALUE_MAX: usize = 16 * 1024;
/// Fields of one section that are kept.
const FIELDS_MAX: usize = 20_000;

/// Fields in their order: name in lower case, value unfolded and trimmed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// Reads up to the first empty line; gives the fields and what follows that line.
    pub(super) fn section(octets: &[u8]) -> (Self, &[u8]) {
        let (mut fields, mut rest, mut first) = (Self::default(), octets, true);
        while let Some((line, after)) = next_line(rest) {
            rest = after;
            if line.trim_ascii().is_empty() {
                return (fields, rest);
            }
            // The separator line of mailbox files.
            if !(first && line.starts_with(b"From ")) {
                fields.push_line(line);
            }
            first = false;
        }
        (fields, rest)
    }

    /// Takes in one line: a field, the continuation of the last one, or nothing of use.
    pub(super) fn push_line(&mut self, line: &[u8]) {
        let line = &line[..line.len().min(VALUE_MAX)];
        if line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
            if let Some((_, value)) = self.0.last_mut()
                && value.len() + line.len() < VALUE_MAX
            {
                if !value.is_empty() {
                    value.push(' ');
                }
                value.push_str(String::from_utf8_lossy(line).trim());
            }
        } else if let Some((name, value)) = split_field(line)
            && self.0.len() < FIELDS_MAX
        {
            self.0.push((name, String::from_utf8_lossy(value).trim().to_owned()));
        }
    }

    /// The first value of this name (lower case).
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(seen, _)| seen == name).map(|(_, value)| value.as_str())
    }

    /// All values of this name (lower case).
    pub(super) fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s str> {
        self.0.iter().filter(move |(seen, _)| seen == name).map(|(_, value)| value.as_str())
    }

    /// The first value of this name, encoded words (RFC 2047) decoded.
    pub(super) fn decoded(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| unstructured(value).into_owned())
    }
}

/// Decodes encoded words.
fn unstructured(value: &str) -> Cow<'_, str> {
    if !value.contains("=?") {
        return Cow::Borrowed(value);
    }
    let line = format!("{value}\n");
    let decoded = MessageStream::new(line.as_bytes()).parse_unstructured();
    decoded.as_text().map_or(Cow::Borrowed(value), |text| Cow::Owned(text.to_owned()))
}

/// A line without its end, and the rest.
pub(super) fn next_line(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    if octets.is_empty() {
        return None;
    }
    let (line, rest) = match memchr::memchr(b'\n', octets) {
        Some(at) => (&octets[..at], &octets[at + 1..]),
        None => (octets, &octets[octets.len()..]),
    };
    Some((line.strip_suffix(b"\r").unwrap_or(line), rest))
}

/// Name in lower case and value of a line that is a field.
pub(super) fn split_field(line: &[u8]) -> Option<(String, &[u8])> {
    let colon = memchr::memchr(b':', &line[..line.len().min(100)])?;
    let name = line[..colon].trim_ascii_end();
    let sound = !name.is_empty() && name.iter().all(|byte| matches!(byte, 33..=126));
    sound.then(|| (String::from_utf8_lossy(name).to_ascii_lowercase(), &line[colon + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folded_fields_are_one_whatever_the_line_ends() {
        let text = b"From x Thu Jan 1\nSubject: a\n\tb\r\nno field here\nTO :\r\n c@d\r\n\r\nbody";
        let (fields, body) = Fields::section(text);
        assert_eq!(fields.0, [("subject".into(), "a b".into()), ("to".into(), "c@d".into())]);
        assert_eq!(body, b"body");
    }

    #[test]
    fn encoded_words_are_decoded() {
        let (fields, _) = Fields::section(b"Subject: =?UTF-8?Q?R=C3=A9ponse_automatique?= : x\n");
        assert_eq!(fields.decoded("subject").as_deref(), Some("Réponse automatique : x"));
    }
}
