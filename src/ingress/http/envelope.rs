//! From and to whom, and what else SMTP says with MAIL and RCPT. Pure.
//!
//! A whole message brings its envelope behind `?`: `from` (empty for the null reverse path), `to` as often as there are
//! recipients, `stream`, `envelope_id`, `ret` and `notify`. A header would be cut by the hundred fields that servers take;
//! a query that is too long for a very large envelope (64 KiB) has the form in JSON instead.

use std::collections::HashSet;

use super::wrong::Wrong;
use crate::message::wishes::{Notify, Return};
use crate::message::xtext::Xtext;
use crate::message::{ForwardPath, Mailbox, RecipientWishes, Wishes};

/// Octets of the name of a stream.
const STREAM_MAX: usize = 255;

/// The envelope of one message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Envelope {
    /// Reverse path; `None` is the null reverse path.
    pub from: Option<Mailbox>,
    /// Recipients, each once, in their order.
    pub to: Vec<ForwardPath>,
    /// What MAIL would say.
    pub wishes: Wishes,
    /// Kind of mail, where it was named.
    pub stream: Option<String>,
}

/// What a request says of the envelope beside addresses, as text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said<'a> {
    /// The stream's name.
    pub stream: Option<&'a str>,
    /// ENVID, not encoded.
    pub envelope_id: Option<&'a str>,
    /// `full` or `headers`.
    pub ret: Option<&'a str>,
    /// `never`, or some of success, failure and delay with commas between.
    pub notify: Option<&'a str>,
}

impl Envelope {
    /// Puts it together; each recipient counts once.
    ///
    /// # Errors
    /// The field that is wrong.
    pub fn of(from: Option<Mailbox>, to: Vec<Mailbox>, said: Said<'_>, most: usize) -> Result<Self, Wrong> {
        let mut known = HashSet::new();
        let to: Vec<Mailbox> = to.into_iter().filter(|address| known.insert(address.clone())).collect();
        if to.is_empty() {
            return Err(Wrong::new("to", "there is no recipient"));
        }
        if to.len() > most {
            return Err(Wrong::new("to", format!("{} recipients; a message has at most {most}", to.len())));
        }
        let notify =
            said.notify.map(|text| text.parse::<Notify>().map_err(|bad| Wrong::new("notify", bad.to_string())));
        let notify = notify.transpose()?;
        let utf8 = from.iter().chain(&to).any(|address| !address.as_str().is_ascii());
        let recipient = |address| ForwardPath { address, wishes: RecipientWishes { notify, original: None } };
        Ok(Self {
            wishes: Wishes { ret: ret(said.ret)?, envelope_id: envelope_id(said.envelope_id)?, utf8, ..Wishes::NONE },
            stream: stream(said.stream)?,
            to: to.into_iter().map(recipient).collect(),
            from,
        })
    }

    /// Reads a query, already decoded into its pairs.
    ///
    /// # Errors
    /// The field that is wrong.
    pub fn read(query: &[(String, String)], most: usize) -> Result<Self, Wrong> {
        const KNOWN: [&str; 6] = ["from", "to", "stream", "envelope_id", "ret", "notify"];
        if let Some((name, _)) = query.iter().find(|(name, _)| !KNOWN.contains(&name.as_str())) {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            return Err(Wrong::new(shown, format!("no such parameter; there are {}", KNOWN.join(", "))));
        }
        let once = |name: &str| {
            let mut all = query.iter().filter(|(given, _)| given == name).map(|(_, value)| value.as_str());
            match (all.next(), all.next()) {
                (_, Some(_)) => Err(Wrong::new(name, "is given more than once")),
                (value, None) => Ok(value),
            }
        };
        let from = match once("from")? {
            None => return Err(Wrong::new("from", "is missing: the address that bounces go to, or nothing (from=)")),
            Some("" | "<>") => None,
            Some(text) => Some(address("from", text)?),
        };
        let to = query.iter().filter(|(name, _)| name == "to").enumerate();
        let to: Result<Vec<Mailbox>, Wrong> = to.map(|(n, (_, text))| address(&format!("to[{n}]"), text)).collect();
        let said = Said {
            stream: once("stream")?,
            envelope_id: once("envelope_id")?,
            ret: once("ret")?,
            notify: once("notify")?,
        };
        Self::of(from, to?, said, most)
    }
}

/// One bare address.
pub(super) fn address(field: &str, text: &str) -> Result<Mailbox, Wrong> {
    text.parse().map_err(|bad: crate::message::address::BadAddress| Wrong::new(field, bad.to_string()))
}

fn ret(said: Option<&str>) -> Result<Option<Return>, Wrong> {
    match said {
        None => Ok(None),
        Some(word) if word.eq_ignore_ascii_case("full") => Ok(Some(Return::Full)),
        Some(word) if word.eq_ignore_ascii_case("headers") => Ok(Some(Return::Headers)),
        Some(_) => Err(Wrong::new("ret", "is full or headers: how much of the mail a report of failure returns")),
    }
}

fn envelope_id(said: Option<&str>) -> Result<Option<Xtext>, Wrong> {
    let Some(text) = said else { return Ok(None) };
    // RFC 3461 §4.4: what it stands for is printable ASCII.
    if text.is_empty() || text.len() > 100 || !text.bytes().all(|octet| (b' '..=b'~').contains(&octet)) {
        return Err(Wrong::new("envelope_id", "has 1 to 100 printable ASCII characters"));
    }
    Xtext::of(text).map(Some).map_err(|bad| Wrong::new("envelope_id", bad.to_string()))
}

fn stream(said: Option<&str>) -> Result<Option<String>, Wrong> {
    let Some(name) = said else { return Ok(None) };
    let is_name =
        !name.is_empty() && name.len() <= STREAM_MAX && !name.chars().any(|c| c.is_whitespace() || c.is_control());
    if is_name { Ok(Some(name.to_owned())) } else { Err(Wrong::new("stream", "is no name of a stream")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &[(&str, &str)]) -> Result<Envelope, Wrong> {
        let query: Vec<_> = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Envelope::read(&query, 3)
    }

    #[test]
    fn a_query_becomes_an_envelope() {
        let envelope = read(&[
            ("from", "a@x.test"),
            ("to", "b@y.test"),
            ("to", "B@y.test"),
            ("to", "b@Y.test"),
            ("stream", "news"),
            ("envelope_id", "order 7+"),
            ("ret", "headers"),
            ("notify", "failure,delay"),
        ])
        .expect("good");
        let to: Vec<&str> = envelope.to.iter().map(|path| path.address.as_str()).collect();
        assert_eq!(to, ["b@y.test", "B@y.test"], "a local part has its case, a domain none");
        assert_eq!(envelope.from.map(|from| from.to_string()).as_deref(), Some("a@x.test"));
        assert_eq!(envelope.wishes.envelope_id.map(|id| id.to_string()).as_deref(), Some("order+207+2B"));
        assert_eq!((envelope.wishes.ret, envelope.stream.as_deref()), (Some(Return::Headers), Some("news")));
        assert_eq!(envelope.to[0].wishes.notify, Some(Notify { success: false, failure: true, delay: true }));
        assert_eq!(read(&[("from", ""), ("to", "b@y.test")]).map(|envelope| envelope.from), Ok(None));
    }

    #[test]
    fn the_field_that_is_wrong_is_named() {
        let to = ("to", "b@y.test");
        let from = ("from", "a@x.test");
        for (query, field) in [
            (&[to][..], "from"),
            (&[from], "to"),
            (&[from, from, to], "from"),
            (&[("from", "nobody"), to], "from"),
            (&[from, to, ("to", "b")], "to[1]"),
            (&[from, to, ("to", "b@y.test\r\nRCPT TO:<c@y.test>")], "to[1]"),
            (&[from, to, ("to", "1@y.test"), ("to", "2@y.test"), ("to", "3@y.test")], "to"),
            (&[from, to, ("stream", "a b")], "stream"),
            (&[from, to, ("stream", "a\r\nX: y")], "stream"),
            (&[from, to, ("envelope_id", "a\u{7}")], "envelope_id"),
            (&[from, to, ("ret", "half")], "ret"),
            (&[from, to, ("notify", "never,delay")], "notify"),
            (&[from, to, ("cc", "b@y.test")], "cc"),
        ] {
            assert_eq!(read(query).expect_err("wrong").field, field, "{query:?}");
        }
    }
}
