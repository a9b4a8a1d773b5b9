//! The JSON object, field by field.

use std::collections::BTreeMap;

use super::super::wrong::Wrong;
use super::plain::Plain;
use super::{Attachment, Message, Named, Parts, Values};
use crate::config::suggest;

/// All fields there are.
const FIELDS: [&str; 15] = [
    "from",
    "to",
    "cc",
    "bcc",
    "reply_to",
    "sender",
    "subject",
    "text",
    "html",
    "headers",
    "attachments",
    "stream",
    "envelope_id",
    "ret",
    "notify",
];

/// Values of a description besides those of its recipients.
const MOST: usize = 10_000;

/// Fields by their names.
type Fields = BTreeMap<String, Plain>;

/// How many values a description with so many recipients may have: each may be an object with two.
pub fn most_values(recipients: usize) -> usize {
    recipients.saturating_mul(3).saturating_add(MOST)
}

/// Reads the body of a request, of at most `values` values ([`most_values`]).
///
/// # Errors
/// The field that is wrong; `body` where it is no object in JSON at all.
pub fn read(body: &[u8], values: usize) -> Result<Message, Wrong> {
    let Plain::Object(given) = Plain::read(body, values)? else {
        return Err(Wrong::new("body", "is no object in JSON"));
    };
    if let Some((name, _)) = given.iter().find(|(name, _)| !FIELDS.contains(&name.as_str())) {
        let shown = shown(name);
        let hint = suggest(&shown, FIELDS.iter().copied());
        let hint = if hint.is_empty() { format!("there are {}", FIELDS.join(", ")) } else { hint };
        return Err(Wrong::new(shown, format!("no such field; {hint}")));
    }
    let mut fields = once("", given)?;
    let from = fields.remove("from").filter(|value| *value != Plain::Nothing);
    let from = from.ok_or_else(|| Wrong::new("from", "is missing: whose mail it is"))?;
    Ok(Message {
        from: named("from", from)?,
        to: addresses(&mut fields, "to")?,
        cc: addresses(&mut fields, "cc")?,
        bcc: addresses(&mut fields, "bcc")?,
        reply_to: addresses(&mut fields, "reply_to")?,
        sender: text(&mut fields, "sender")?,
        subject: text(&mut fields, "subject")?,
        text: text(&mut fields, "text")?,
        html: text(&mut fields, "html")?,
        headers: headers(&mut fields)?,
        attachments: attachments(&mut fields)?,
        stream: text(&mut fields, "stream")?,
        envelope_id: text(&mut fields, "envelope_id")?,
        ret: text(&mut fields, "ret")?,
        notify: text(&mut fields, "notify")?,
    })
}

/// A name from outside, short and printable.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

/// By name; one that is there twice says two things (RFC 8259 §4).
fn once(before: &str, given: Vec<(String, Plain)>) -> Result<Fields, Wrong> {
    let mut fields = Fields::new();
    for (name, value) in given {
        if fields.contains_key(&name) {
            return Err(Wrong::new(format!("{before}{}", shown(&name)), "is given more than once"));
        }
        fields.insert(name, value);
    }
    Ok(fields)
}

/// A text that may be left out; `null` is the same.
fn text(fields: &mut Fields, field: &str) -> Result<Option<String>, Wrong> {
    match fields.remove(field) {
        None | Some(Plain::Nothing) => Ok(None),
        Some(Plain::Text(text)) => Ok(Some(text)),
        Some(_) => Err(Wrong::new(field, "is not a text")),
    }
}

/// The texts of an object that has these names and no others; `null` is none.
fn parts<const N: usize>(value: Plain, names: [&str; N]) -> Option<[Option<String>; N]> {
    let Plain::Object(given) = value else { return None };
    let mut parts = [const { None }; N];
    for (name, value) in given {
        let part = &mut parts[names.iter().position(|known| *known == name)?];
        match value {
            Plain::Text(text) if part.is_none() => *part = Some(text),
            Plain::Nothing => {}
            _ => return None,
        }
    }
    Some(parts)
}

fn named(field: &str, value: Plain) -> Result<Named, Wrong> {
    let what = "is not an address: \"ann@example.org\", \"Ann <ann@example.org>\" or { \"address\": …, \"name\": … }";
    if let Plain::Text(text) = value {
        return Ok(Named::Text(text));
    }
    match parts(value, ["address", "name"]) {
        Some([Some(address), name]) => Ok(Named::Parts(Parts { address, name })),
        _ => Err(Wrong::new(field, what)),
    }
}

/// A list; where there is only one item it need not be one.
fn addresses(fields: &mut Fields, field: &str) -> Result<Vec<Named>, Wrong> {
    match fields.remove(field) {
        None | Some(Plain::Nothing) => Ok(Vec::new()),
        Some(Plain::List(items)) => {
            items.into_iter().enumerate().map(|(n, item)| named(&format!("{field}[{n}]"), item)).collect()
        }
        Some(item) => Ok(vec![named(field, item)?]),
    }
}

fn headers(fields: &mut Fields) -> Result<BTreeMap<String, Values>, Wrong> {
    let given = match fields.remove("headers") {
        None | Some(Plain::Nothing) => return Ok(BTreeMap::new()),
        Some(Plain::Object(given)) => once("headers.", given)?,
        Some(_) => return Err(Wrong::new("headers", "is not an object of names and values")),
    };
    let each = |(name, value): (String, Plain)| {
        let values = values(value)
            .ok_or_else(|| Wrong::new(format!("headers.{}", shown(&name)), "is not a text or a list of texts"))?;
        Ok((name, values))
    };
    given.into_iter().map(each).collect()
}

fn values(value: Plain) -> Option<Values> {
    let text = |value| match value {
        Plain::Text(text) => Some(text),
        _ => None,
    };
    match value {
        Plain::List(items) => items.into_iter().map(text).collect::<Option<_>>().map(Values::Several),
        one => text(one).map(Values::One),
    }
}

fn attachments(fields: &mut Fields) -> Result<Vec<Attachment>, Wrong> {
    const WHAT: &str = "is not an object with name, type and content (and id, where the HTML shows it)";
    let items = match fields.remove("attachments") {
        None | Some(Plain::Nothing) => return Ok(Vec::new()),
        Some(Plain::List(items)) => items,
        Some(_) => return Err(Wrong::new("attachments", "is not a list")),
    };
    let each = |(n, item): (usize, Plain)| match parts(item, ["name", "type", "content", "id"]) {
        Some([Some(name), Some(media), Some(content), id]) => Ok(Attachment { name, media, content, id }),
        _ => Err(Wrong::new(format!("attachments[{n}]"), WHAT)),
    };
    items.into_iter().enumerate().map(each).collect()
}
