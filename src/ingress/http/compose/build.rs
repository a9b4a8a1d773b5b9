//! From words to MIME.

use std::borrow::Cow;

use base64ct::{Base64, Encoding};
use mail_builder::MessageBuilder;
use mail_builder::headers::HeaderType;
use mail_builder::headers::address::Address;
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::date::Date;
use mail_builder::headers::message_id::MessageId;
use mail_builder::headers::raw::Raw;
use mail_builder::headers::text::Text;
use mail_builder::mime::{BodyPart, MimePart};

use super::super::wrong::Wrong;
use super::{Attachment, Message, Named, printable};
use crate::clock::Wall;

/// Octets of one value of a header field.
const VALUE_MAX: usize = 16 * 1024;

/// Octets of the name of a field; with its colon it stands on one line (RFC 5322 §2.1.1).
const NAME_MAX: usize = 76;

/// Fields that follow from the rest of the description, that hosts on the way write, or that say how the body is written.
const OWN: [&str; 13] = [
    "From",
    "To",
    "Cc",
    "Bcc",
    "Reply-To",
    "Subject",
    "MIME-Version",
    "Received",
    "Return-Path",
    "DKIM-Signature",
    "ARC-Seal",
    "ARC-Message-Signature",
    "ARC-Authentication-Results",
];

/// What a description does not say.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// For `Date:`.
    pub now: Wall,
    /// A text that stands nowhere else, of letters and digits: for `Message-ID:` and boundaries.
    pub nonce: &'a str,
    /// Names of our own control headers.
    pub control_headers: &'a [String],
}

/// The message, its lines ending in CRLF.
///
/// # Errors
/// The field that is wrong.
pub fn build(message: &Message, given: Given<'_>) -> Result<Vec<u8>, Wrong> {
    let (name, from) = message.from.parsed("from")?;
    let mut builder = MessageBuilder::new().from(Address::new_address(name, from.as_str().to_owned()));
    for (field, header, list) in
        [("reply_to", "Reply-To", &message.reply_to), ("to", "To", &message.to), ("cc", "Cc", &message.cc)]
    {
        if !list.is_empty() {
            builder = builder.header(header, HeaderType::Address(addresses(field, list)?));
        }
    }
    if let Some(subject) = &message.subject {
        value("subject", subject)?;
        builder = builder.subject(subject.as_str());
    }
    let has = |name: &str| message.headers.keys().any(|given| given.eq_ignore_ascii_case(name));
    if !has("Date") {
        builder = builder.date(Date::new(given.now.as_millis().div_euclid(1000)));
    }
    if !has("Message-ID") {
        builder = builder.message_id(MessageId::new(format!("{}@{}", given.nonce, from.domain())));
    }
    for (name, values) in &message.headers {
        builder = further(builder, name, values.all(), given)?;
    }
    let mut octets = Vec::new();
    builder.body(body(message, given)?).serialize(&mut octets);
    if !octets.ends_with(b"\r\n") {
        octets.extend_from_slice(b"\r\n");
    }
    Ok(octets)
}

fn addresses<'a>(field: &str, list: &[Named]) -> Result<Address<'a>, Wrong> {
    let one = |(n, named): (usize, &Named)| {
        let (name, address) = named.parsed(&format!("{field}[{n}]"))?;
        Ok(Address::new_address(name, address.as_str().to_owned()))
    };
    list.iter().enumerate().map(one).collect::<Result<Vec<_>, _>>().map(Address::new_list)
}

fn value(field: &str, text: &str) -> Result<(), Wrong> {
    if text.len() > VALUE_MAX {
        return Err(Wrong::new(field, format!("is longer than {VALUE_MAX} octets")));
    }
    printable(field, text)
}

fn further<'a>(
    mut builder: MessageBuilder<'a>,
    name: &'a str,
    values: &'a [String],
    given: Given<'_>,
) -> Result<MessageBuilder<'a>, Wrong> {
    let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    let field = format!("headers.{shown}");
    let is_name = !name.is_empty()
        && name.len() <= NAME_MAX
        && name.bytes().all(|octet| (33..=126).contains(&octet) && octet != b':');
    if !is_name {
        return Err(Wrong::new(field, "is no name of a header field"));
    }
    let is_content = name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("content-"));
    let is_control = given.control_headers.iter().any(|control| control.eq_ignore_ascii_case(name));
    if is_content || is_control || OWN.iter().any(|own| own.eq_ignore_ascii_case(name)) {
        return Err(Wrong::new(field, "is written by the relay: say it in the field of the request that is for it"));
    }
    let canonical = ["Date", "Message-ID"].into_iter().find(|known| known.eq_ignore_ascii_case(name));
    if canonical.is_some() && values.len() != 1 {
        return Err(Wrong::new(field, "has one value"));
    }
    for text in values {
        value(&field, text)?;
        let header = if text.is_ascii() {
            HeaderType::Raw(Raw::new(text.as_str()))
        } else {
            HeaderType::Text(Text::new(text.as_str()))
        };
        // The builder looks for these in this spelling before it adds its own.
        builder = builder.header(canonical.unwrap_or(name), header);
    }
    Ok(builder)
}

/// Text and HTML, what the HTML shows, and files around them.
fn body<'a>(message: &'a Message, given: Given<'_>) -> Result<MimePart<'a>, Wrong> {
    let multipart = |kind: &str, number: u8, parts: Vec<MimePart<'a>>| {
        let boundary = format!("{}-{number}", given.nonce);
        MimePart::new(ContentType::new(format!("multipart/{kind}")).attribute("boundary", boundary), parts)
    };
    let (mut shown, mut files) = (Vec::new(), Vec::new());
    for (n, attachment) in message.attachments.iter().enumerate() {
        let part = file(&format!("attachments[{n}]"), attachment)?;
        if attachment.id.is_some() { shown.push(part) } else { files.push(part) }
    }
    let text = message.text.as_deref().map(|text| leaf("text", "text/plain", text)).transpose()?;
    let mut html = message.html.as_deref().map(|html| leaf("html", "text/html", html)).transpose()?;
    if !shown.is_empty() {
        let root = html
            .take()
            .ok_or_else(|| Wrong::new("attachments", "an id is for what html shows, and there is no html"))?;
        shown.insert(0, root);
        html = Some(multipart("related", 1, shown));
    }
    let words = match (text, html) {
        (Some(text), Some(html)) => Some(multipart("alternative", 2, vec![text, html])),
        (text, html) => text.or(html),
    };
    match (words, files.is_empty()) {
        (Some(words), true) => Ok(words),
        (None, true) => Err(Wrong::new("text", "there is nothing to send: neither text nor html nor attachments")),
        (words, false) => Ok(multipart("mixed", 3, words.into_iter().chain(files).collect())),
    }
}

fn leaf<'a>(field: &str, media: &'static str, text: &str) -> Result<MimePart<'a>, Wrong> {
    if text.contains('\0') {
        return Err(Wrong::new(field, "NUL has no place in a text"));
    }
    Ok(MimePart::new(media, BodyPart::Text(with_crlf(text).into())))
}

/// With CRLF for whatever ends a line where it was written.
fn with_crlf(text: &str) -> String {
    let (mut lines, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(['\r', '\n']) {
        lines.push_str(&rest[..at]);
        lines.push_str("\r\n");
        let end = &rest[at..];
        rest = end.strip_prefix("\r\n").unwrap_or(&end[1..]);
    }
    lines.push_str(rest);
    lines
}

fn file<'a>(field: &str, attachment: &Attachment) -> Result<MimePart<'a>, Wrong> {
    let of = |part: &str| format!("{field}.{part}");
    value(&of("name"), &attachment.name)?;
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&octet))
    };
    let media = attachment.media.to_ascii_lowercase();
    let kind = media.split_once('/').filter(|(kind, below)| is_token(kind) && is_token(below) && media.len() <= 127);
    let Some((kind, _)) = kind else {
        return Err(Wrong::new(of("type"), "is no media type, such as application/pdf"));
    };
    if ["message", "multipart"].contains(&kind) {
        // RFC 2046 §5.2.1, RFC 2045 §6.4: these must not be base64.
        return Err(Wrong::new(
            of("type"),
            "mail within mail is not written in base64: send it as application/octet-stream",
        ));
    }
    let has_space = attachment.content.bytes().any(|octet| octet.is_ascii_whitespace());
    let packed: Cow<'_, str> = if has_space {
        attachment.content.split_ascii_whitespace().collect()
    } else {
        attachment.content.as_str().into()
    };
    let content = Base64::decode_vec(&packed)
        .map_err(|_| Wrong::new(of("content"), "is no base64 (RFC 4648 §4, with padding)"))?;
    // Octets as they are, whatever they are said to be: a text with odd line ends comes out as it went in.
    let part = MimePart::new(ContentType::new(media), BodyPart::Binary(content.into()));
    match &attachment.id {
        None => Ok(part.attachment(attachment.name.clone())),
        Some(id) => {
            if !is_token(&id.replace('@', "")) || id.len() > 200 {
                return Err(Wrong::new(of("id"), "is no Content-ID: letters, digits and .-_@"));
            }
            let inline = ContentType::new("inline").attribute("filename", attachment.name.clone());
            Ok(part.header("Content-Disposition", inline).cid(id.clone()))
        }
    }
}
