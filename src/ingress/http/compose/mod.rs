//! A message described in JSON, and made of that. Pure.
//!
//! [`read`] turns the object, of which there are only so many values, into a [`Message`] field by field, so that whatever is
//! wrong is said with the name of the field;
//! [`build`] writes it as MIME with mail-builder, which knows how names, subjects and file names that are not ASCII are
//! written (RFC 2047, RFC 2231) and where lines are folded. No value can begin another field: control characters are refused
//! wherever they are no text of a body. Date, Message-ID and boundaries come from outside, so that the same description
//! makes the same message.

mod build;
mod plain;
mod read;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::build::{Given, build};
pub use self::read::{most_values, read};

use super::envelope::{Envelope, Said};
use super::wrong::Wrong;
use crate::message::Mailbox;

/// A message in words: the header and the envelope follow from it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// `From:`. Bounces go there, unless `sender` says otherwise.
    pub from: Named,
    /// `To:`
    #[serde(default)]
    pub to: Vec<Named>,
    /// `Cc:`
    #[serde(default)]
    pub cc: Vec<Named>,
    /// Recipients that the others do not see.
    #[serde(default)]
    pub bcc: Vec<Named>,
    /// `Reply-To:`
    #[serde(default)]
    pub reply_to: Vec<Named>,
    /// Where bounces go (the reverse path), if not to `from`; an empty text sends none.
    #[serde(default)]
    pub sender: Option<String>,
    /// `Subject:`
    #[serde(default)]
    pub subject: Option<String>,
    /// The text.
    #[serde(default)]
    pub text: Option<String>,
    /// The same as HTML. With `text` both are sent as alternatives.
    #[serde(default)]
    pub html: Option<String>,
    /// Further fields of the header, by name: a value, or several.
    #[serde(default)]
    pub headers: BTreeMap<String, Values>,
    /// Files.
    #[serde(default)]
    pub attachments: Vec<Attachment>,
    /// Kind of mail, as in `tenant.NAME.pools`.
    #[serde(default)]
    pub stream: Option<String>,
    /// The sender's own name for the envelope, told in reports (RFC 3461 ENVID).
    #[serde(default)]
    pub envelope_id: Option<String>,
    /// How much of the mail a report of failure returns: `full` or `headers`.
    #[serde(default)]
    pub ret: Option<String>,
    /// Of what the sender is told: `never`, or some of `success`, `failure` and `delay` with commas between.
    #[serde(default)]
    pub notify: Option<String>,
}

/// An address with or without a name: `"ann@example.org"`, `"Ann <ann@example.org>"` or an object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Named {
    /// As in a header field.
    Text(String),
    /// In parts.
    Parts(Parts),
}

impl Default for Named {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

/// An address in parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    /// The address.
    pub address: String,
    /// The name.
    #[serde(default)]
    pub name: Option<String>,
}

/// One value or several, each a field of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Values {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Values {
    fn all(&self) -> &[String] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Several(values) => values,
        }
    }
}

/// A file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// Its name.
    pub name: String,
    /// Its media type, such as `application/pdf`.
    #[serde(rename = "type")]
    pub media: String,
    /// What is in it, base64 (RFC 4648 §4).
    #[schema(content_encoding = "base64")]
    pub content: String,
    /// Name by which the HTML shows it (`<img src="cid:logo">`); then it is part of that and no attachment.
    #[serde(default)]
    pub id: Option<String>,
}

impl Named {
    /// Name and address.
    fn parsed(&self, field: &str) -> Result<(Option<String>, Mailbox), Wrong> {
        let (name, address) = match self {
            Self::Parts(Parts { name, address }) => (name.clone(), address.as_str()),
            Self::Text(text) => match text.trim().strip_suffix('>').and_then(|text| text.rsplit_once('<')) {
                Some((name, address)) => (Some(unquoted(name.trim())), address.trim()),
                None => (None, text.trim()),
            },
        };
        let name = name.filter(|name| !name.is_empty());
        if let Some(name) = &name {
            printable(field, name)?;
        }
        Ok((name, super::envelope::address(field, address)?))
    }
}

/// A quoted name without its quotes (RFC 5322 §3.2.4).
fn unquoted(name: &str) -> String {
    let Some(inner) = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) else { return name.to_owned() };
    let mut plain = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        plain.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    plain
}

/// Refuses what could end a line or hide something: a header field is one line of text.
fn printable(field: &str, text: &str) -> Result<(), Wrong> {
    match text.chars().find(|c| c.is_control() && *c != '\t' || matches!(c, '\u{2028}' | '\u{2029}')) {
        Some(c) => Err(Wrong::new(field, format!("a line break or control character ({c:?}) has no place there"))),
        None => Ok(()),
    }
}

impl Message {
    /// Who gets it, and who is told of bounces.
    ///
    /// # Errors
    /// The field that is wrong.
    pub fn envelope(&self, most: usize) -> Result<Envelope, Wrong> {
        let mut to = Vec::new();
        for (field, list) in [("to", &self.to), ("cc", &self.cc), ("bcc", &self.bcc)] {
            for (n, named) in list.iter().enumerate() {
                to.push(named.parsed(&format!("{field}[{n}]"))?.1);
            }
        }
        let from = match self.sender.as_deref() {
            None => Some(self.from.parsed("from")?.1),
            Some("" | "<>") => None,
            Some(text) => Some(super::envelope::address("sender", text)?),
        };
        let said = Said {
            stream: self.stream.as_deref(),
            envelope_id: self.envelope_id.as_deref(),
            ret: self.ret.as_deref(),
            notify: self.notify.as_deref(),
        };
        Envelope::of(from, to, said, most)
    }
}

#[cfg(test)]
mod tests;
