//! The JSON object, field by field.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::super::wrong::Wrong;
use super::{Attachment, Message, Named, Values};
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

/// Fields, values and files at most.
const MOST: usize = 10_000;

/// Reads the body of a request.
///
/// # Errors
/// The field that is wrong; `body` where it is no object in JSON at all.
pub fn read(body: &[u8]) -> Result<Message, Wrong> {
    let value: Value =
        serde_json::from_slice(body).map_err(|error| Wrong::new("body", format!("is no JSON: {error}")))?;
    let Value::Object(mut map) = value else { return Err(Wrong::new("body", "is no object in JSON")) };
    if let Some(name) = map.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
        let hint = suggest(&shown, FIELDS.iter().copied());
        let hint = if hint.is_empty() { format!("there are {}", FIELDS.join(", ")) } else { hint };
        return Err(Wrong::new(shown, format!("no such field; {hint}")));
    }
    let from = one(&mut map, "from", "an address")?;
    Ok(Message {
        from: from.ok_or_else(|| Wrong::new("from", "is missing: whose mail it is"))?,
        to: addresses(&mut map, "to")?,
        cc: addresses(&mut map, "cc")?,
        bcc: addresses(&mut map, "bcc")?,
        reply_to: addresses(&mut map, "reply_to")?,
        sender: one(&mut map, "sender", "an address in a text")?,
        subject: one(&mut map, "subject", "a text")?,
        text: one(&mut map, "text", "a text")?,
        html: one(&mut map, "html", "a text")?,
        headers: headers(&mut map)?,
        attachments: attachments(&mut map)?,
        stream: one(&mut map, "stream", "a text")?,
        envelope_id: one(&mut map, "envelope_id", "a text")?,
        ret: one(&mut map, "ret", "a text")?,
        notify: one(&mut map, "notify", "a text")?,
    })
}

/// A field that may be left out; `null` is the same.
fn one<T: DeserializeOwned>(map: &mut Map<String, Value>, field: &str, what: &str) -> Result<Option<T>, Wrong> {
    match map.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => as_one(field, value, what).map(Some),
    }
}

fn as_one<T: DeserializeOwned>(field: &str, value: Value, what: &str) -> Result<T, Wrong> {
    serde_json::from_value(value).map_err(|_| Wrong::new(field, format!("is not {what}")))
}

/// A list; where there is only one item it need not be one.
fn addresses(map: &mut Map<String, Value>, field: &str) -> Result<Vec<Named>, Wrong> {
    let what = "an address: \"ann@example.org\", \"Ann <ann@example.org>\" or { \"address\": …, \"name\": … }";
    match map.remove(field) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => {
            items.into_iter().enumerate().map(|(n, item)| as_one(&format!("{field}[{n}]"), item, what)).collect()
        }
        Some(item) => Ok(vec![as_one(field, item, what)?]),
    }
}

fn headers(map: &mut Map<String, Value>) -> Result<std::collections::BTreeMap<String, Values>, Wrong> {
    let fields: Map<String, Value> = one(map, "headers", "an object of names and values")?.unwrap_or_default();
    if fields.len() > MOST {
        return Err(Wrong::new("headers", format!("more than {MOST} names")));
    }
    let value = |(name, value): (String, Value)| {
        let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
        let values: Values = as_one(&format!("headers.{shown}"), value, "a text or a list of texts")?;
        Ok((name, values))
    };
    fields.into_iter().map(value).collect()
}

fn attachments(map: &mut Map<String, Value>) -> Result<Vec<Attachment>, Wrong> {
    const WHAT: &str = "an object with name, type and content (and id, where the HTML shows it)";
    let items: Vec<Value> = one(map, "attachments", "a list")?.unwrap_or_default();
    if items.len() > MOST {
        return Err(Wrong::new("attachments", format!("more than {MOST}")));
    }
    let item = |(n, item)| as_one(&format!("attachments[{n}]"), item, WHAT);
    items.into_iter().enumerate().map(item).collect()
}
