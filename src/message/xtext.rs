//! Texts in parameters of MAIL and RCPT (RFC 3461 §4): printable ASCII, with `+` and two hexadecimal digits for the rest.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Octets at most, encoded: what fits on the longest command line with all that stands beside it.
const MOST: usize = 500;

/// A text in its encoded form, which is what is passed on: `QQ+20314159`.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Xtext(String);

/// A text that is not xtext, or too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not xtext (RFC 3461), or too long")]
pub struct BadXtext;

impl Xtext {
    /// Encodes a text.
    ///
    /// # Errors
    /// It is empty or too long.
    pub fn of(text: &str) -> Result<Self, BadXtext> {
        let mut encoded = String::with_capacity(text.len());
        for byte in text.bytes() {
            match byte {
                b'!'..=b'~' if byte != b'+' && byte != b'=' => encoded.push(char::from(byte)),
                other => encoded += &format!("+{other:02X}"),
            }
        }
        encoded.parse()
    }

    /// As it is passed on.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The octets it stands for.
    pub fn decoded(&self) -> Vec<u8> {
        let mut decoded = Vec::with_capacity(self.0.len());
        let mut bytes = self.0.bytes();
        while let Some(byte) = bytes.next() {
            match byte {
                b'+' => {
                    let digit =
                        |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16)).unwrap_or(0) as u8;
                    decoded.push(digit(bytes.next()) << 4 | digit(bytes.next()));
                }
                other => decoded.push(other),
            }
        }
        decoded
    }
}

impl FromStr for Xtext {
    type Err = BadXtext;

    fn from_str(text: &str) -> Result<Self, BadXtext> {
        let is_hex = |byte: Option<u8>| byte.is_some_and(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'));
        let mut bytes = text.bytes();
        while let Some(byte) = bytes.next() {
            let is_good = match byte {
                b'+' => is_hex(bytes.next()) && is_hex(bytes.next()),
                b'=' => false,
                other => matches!(other, b'!'..=b'~'),
            };
            if !is_good {
                return Err(BadXtext);
            }
        }
        if text.is_empty() || text.len() > MOST { Err(BadXtext) } else { Ok(Self(text.to_owned())) }
    }
}

impl fmt::Display for Xtext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Xtext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl<'de> Deserialize<'de> for Xtext {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xtext_is_read_and_written() {
        let table = [
            ("QQ314159", Some("QQ314159")),
            ("a+2Bb", Some("a+b")),
            ("+E2+82+AC", Some("€")),
            ("", None),
            ("a b", None),
            ("a=b", None),
            ("a+2", None),
            ("a+2g", None),
            ("a+2b", None),
            ("ä", None),
        ];
        for (text, stands_for) in table {
            let decoded = text.parse::<Xtext>().ok().map(|xtext| String::from_utf8(xtext.decoded()).expect("UTF-8"));
            assert_eq!(decoded.as_deref(), stands_for, "{text:?}");
        }
        assert!("x".repeat(MOST + 1).parse::<Xtext>().is_err());
    }

    #[test]
    fn every_text_comes_back() {
        for text in ["a+b=c d", "grüße@example.org", "\u{0}\n~!"] {
            let encoded = Xtext::of(text).expect("short");
            assert!(encoded.as_str().is_ascii() && !encoded.as_str().contains([' ', '=']), "{encoded}");
            assert_eq!(encoded.decoded(), text.as_bytes());
        }
        assert_eq!(Xtext::of(""), Err(BadXtext));
    }
}
