//! What a client asks for beside the bare envelope, as it has to be kept until the mail is delivered and to be passed on.
//!
//! [`Wishes`] come with MAIL and hold for the whole message, [`RecipientWishes`] with RCPT. Delivery status notifications
//! are RFC 3461, internationalised mail RFC 6531, REQUIRETLS and `TLS-Required: No` RFC 8689. What was not said stays unsaid:
//! a default would change what the next host is told.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::xtext::Xtext;

/// What was asked for with MAIL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wishes {
    /// RET: how much of the message a report of failure returns (RFC 3461 §4.3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ret: Option<Return>,
    /// ENVID: the sender's own name for the envelope (RFC 3461 §4.4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope_id: Option<Xtext>,
    /// SMTPUTF8 (RFC 6531 §3.4): the envelope or the header may hold UTF-8.
    #[serde(default, skip_serializing_if = "is_false")]
    pub utf8: bool,
    /// What the sender says of TLS.
    #[serde(default, skip_serializing_if = "TlsWish::is_none")]
    pub tls: TlsWish,
}

impl Wishes {
    /// Nothing was asked for.
    pub const NONE: Self = Self { ret: None, envelope_id: None, utf8: false, tls: TlsWish::None };

    /// Whether nothing was asked for.
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// RET.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Return {
    /// The whole message.
    Full,
    /// Its header.
    Headers,
}

impl Return {
    /// As the parameter has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Headers => "HDRS",
        }
    }
}

/// What the sender says of TLS on the way to the receiver (RFC 8689).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsWish {
    /// Nothing.
    #[default]
    None,
    /// REQUIRETLS (§2): only over verified TLS to hosts that promise the same.
    Required,
    /// The header field `TLS-Required: No` (§5): rather without than not at all.
    Dispensable,
}

impl TlsWish {
    /// Whether nothing is said.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// What was asked for with RCPT.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RecipientWishes {
    /// NOTIFY: of what the sender is told (RFC 3461 §4.1). `None` was not said, which means failure, and delay at will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
    /// ORCPT: to whom the sender sent it (RFC 3461 §4.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<OriginalRecipient>,
}

impl RecipientWishes {
    /// Whether nothing was asked for.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// NOTIFY: never, or of some of three things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Notify {
    /// The mail was delivered, or passed on to where nobody tells.
    pub success: bool,
    /// It could not be delivered.
    pub failure: bool,
    /// It takes longer than usual.
    pub delay: bool,
}

impl Notify {
    /// `NOTIFY=NEVER`.
    pub const NEVER: Self = Self { success: false, failure: false, delay: false };
}

impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = [(self.success, "SUCCESS"), (self.failure, "FAILURE"), (self.delay, "DELAY")]
            .into_iter()
            .filter_map(|(is_set, word)| is_set.then_some(word));
        f.write_str(words.next().unwrap_or("NEVER"))?;
        words.try_for_each(|word| write!(f, ",{word}"))
    }
}

/// A text that is no NOTIFY.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("NOTIFY is NEVER, or some of SUCCESS, FAILURE and DELAY with commas between")]
pub struct BadNotify;

impl FromStr for Notify {
    type Err = BadNotify;

    fn from_str(text: &str) -> Result<Self, BadNotify> {
        if text.eq_ignore_ascii_case("NEVER") {
            return Ok(Self::NEVER);
        }
        let mut notify = Self::NEVER;
        for word in text.split(',') {
            let of = match word.to_ascii_uppercase().as_str() {
                "SUCCESS" => &mut notify.success,
                "FAILURE" => &mut notify.failure,
                "DELAY" => &mut notify.delay,
                _ => return Err(BadNotify),
            };
            *of = true;
        }
        Ok(notify)
    }
}

impl Serialize for Notify {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Notify {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// ORCPT: a type of address, such as `rfc822`, and the address in xtext.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OriginalRecipient {
    /// Type of the address: an atom of ASCII.
    pub kind: String,
    /// The address.
    pub address: Xtext,
}

impl fmt::Display for OriginalRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};{}", self.kind, self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notify_is_read_in_any_case_and_order_and_written_in_one() {
        let table = [
            ("NEVER", Some("NEVER")),
            ("never", Some("NEVER")),
            ("FAILURE", Some("FAILURE")),
            ("delay,Success,failure", Some("SUCCESS,FAILURE,DELAY")),
            ("SUCCESS,SUCCESS", Some("SUCCESS")),
            ("NEVER,FAILURE", None),
            ("", None),
            ("SUCCESS,", None),
            ("SUCCESS DELAY", None),
        ];
        for (text, written) in table {
            assert_eq!(text.parse::<Notify>().ok().map(|notify| notify.to_string()).as_deref(), written, "{text:?}");
        }
    }

    #[test]
    fn what_was_not_said_is_not_written() {
        assert_eq!(serde_json::to_string(&Wishes::default()).expect("json"), "{}");
        assert_eq!(serde_json::to_string(&RecipientWishes::default()).expect("json"), "{}");
        let wishes = Wishes {
            ret: Some(Return::Headers),
            envelope_id: Xtext::of("QQ 314159").ok(),
            utf8: true,
            tls: TlsWish::Dispensable,
        };
        let text = serde_json::to_string(&wishes).expect("json");
        assert_eq!(text, r#"{"ret":"headers","envelope_id":"QQ+20314159","utf8":true,"tls":"dispensable"}"#);
        assert_eq!(serde_json::from_str::<Wishes>(&text).expect("wishes"), wishes);
        assert!(Wishes::default().is_none() && !wishes.is_none());
    }
}
