//! `remuda classify`: what the program would make of replies, one a line.
//!
//! For operators who wonder why a message bounced, and for whoever writes rules: feed it the replies of a log and look
//! at what the rules say. One line out for each line in, whatever the line holds. The functions take any reader and
//! writer, so that tests need no process.

use std::io::{self, BufRead, Write};

use bytes::BytesMut;
use serde_json::{Value, json};

use super::explain::shown;
use super::reply::EnhancedCode;
use super::{Cause, Classifier, Context, Reply, ReplyParser};

/// Reads one reply a line (`550 5.1.1 no such user`) and writes one JSON object a line: category, scope (as in the
/// documentation of replies: recipient, content, sender, source_ip, remote, unknown), counts_against_ip, hard,
/// disposition, rule, code, enhanced.
///
/// A line without a reply code is category `unknown` with rule null.
///
/// # Errors
///
/// Only those of `input` and `output`.
pub fn classify(
    classifier: &Classifier,
    context: Context<'_>,
    input: impl BufRead,
    output: impl Write,
) -> io::Result<()> {
    each_line(input, output, |line, out| {
        let object = match parse_line(line) {
            Some(reply) => verdict(classifier, context, &reply),
            None => json!({
                "category": Cause::Unknown.as_str(), "scope": "unknown", "counts_against_ip": false, "hard": false,
                "disposition": null, "rule": null, "code": null, "enhanced": null,
            }),
        };
        put(out, &object)
    })
}

/// Reads one reply a line and says in words what each means and why: how it was read, which rule decided and what it
/// matched, what followed from it, and which rules would have come next. An empty line stands between two replies.
///
/// # Errors
///
/// Only those of `input` and `output`.
pub fn explain(
    classifier: &Classifier,
    context: Context<'_>,
    input: impl BufRead,
    output: impl Write,
) -> io::Result<()> {
    let mut first = true;
    each_line(input, output, |line, out| {
        if !std::mem::take(&mut first) {
            out.write_all(b"\n")?;
        }
        match parse_line(line) {
            Some(reply) => write!(out, "{}", classifier.explain(&reply, context)),
            None => writeln!(out, "{}\n  no reply  a line begins with a code of 200 to 599", shown(line)),
        }
    })
}

/// Reads one raw reply a line, its line ends written as `\r\n`, and writes what the parser makes of it: code, enhanced,
/// text, complete; and `error` where it is no SMTP reply.
///
/// # Errors
///
/// Only those of `input` and `output`.
pub fn parse_raw(input: impl BufRead, output: impl Write) -> io::Result<()> {
    each_line(input, output, |line, out| {
        let (mut parser, mut bytes) = (ReplyParser::default(), BytesMut::from(&*unescape(line)));
        let (reply, complete, error) = match parser.feed(&mut bytes) {
            Ok(Some(reply)) => (Some(reply), true, None),
            Ok(None) => (parser.cut(&mut bytes), false, None),
            Err(why) => (None, false, Some(why.to_string())),
        };
        let mut object = json!({
            "code": reply.as_ref().map(|r| r.code),
            "enhanced": reply.as_ref().and_then(|r| r.enhanced).map(|e| e.to_string()),
            "text": reply.as_ref().map_or("", |r| &r.text),
            "complete": complete,
        });
        if let Some(error) = error {
            object["error"] = error.into();
        }
        put(out, &object)
    })
}

fn verdict(classifier: &Classifier, context: Context<'_>, reply: &Reply) -> Value {
    let outcome = classifier.reply(reply, context);
    json!({
        "category": outcome.cause.map(Cause::as_str),
        "scope": outcome.scope.label(),
        "counts_against_ip": outcome.counts_against_ip,
        "hard": outcome.hard,
        "disposition": outcome.disposition.as_str(),
        "rule": &*outcome.rule,
        "code": reply.code,
        "enhanced": reply.enhanced.map(|e| e.to_string()),
    })
}

/// Lines are octets, not text: logs hold anything.
fn each_line<W: Write>(
    mut input: impl BufRead,
    mut output: W,
    mut answer: impl FnMut(&[u8], &mut W) -> io::Result<()>,
) -> io::Result<()> {
    let mut line = Vec::new();
    while {
        line.clear();
        input.read_until(b'\n', &mut line)? > 0
    } {
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        answer(line, &mut output)?;
    }
    output.flush()
}

fn put(out: &mut impl Write, object: &Value) -> io::Result<()> {
    serde_json::to_writer(&mut *out, object)?;
    out.write_all(b"\n")
}

/// A reply on one line, as logs write it: the code, perhaps an enhanced code, the text.
///
/// `553 host mx.example [192.0.2.1] said: 553 …` is how Postfix and Exim log what they were told by that host: the reply
/// is what follows. Out of a connection the same words are another hop's, and stay ([`quoted`](super::quoted)).
pub(crate) fn parse_line(line: &[u8]) -> Option<Reply> {
    let reply = parse_bare(line)?;
    match logged(&reply.text).and_then(|inner| parse_bare(inner.as_bytes())) {
        Some(inner) if reply.enhanced.is_none() && inner.code == reply.code => Some(inner),
        _ => Some(reply),
    }
}

/// What the host said, in a text that begins as a line of a log.
fn logged(text: &str) -> Option<&str> {
    let (host, said) = text.strip_prefix("host ")?.split_once(']')?;
    if host.split('[').next()?.trim_end().contains(' ') {
        return None;
    }
    match said.trim_start().strip_prefix("said: ") {
        Some(inner) => Some(inner),
        // Until the colon before the code; `MAIL FROM:<…>` has one too.
        None => {
            said.trim_start().strip_prefix("SMTP error from remote mail server after ")?.split_once(": ").map(|s| s.1)
        }
    }
}

fn parse_bare(line: &[u8]) -> Option<Reply> {
    let line = line.trim_ascii();
    let (code, rest) = line.split_at_checked(3)?;
    let code: u16 = std::str::from_utf8(code).ok().filter(|c| c.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?;
    if !(200..=599).contains(&code) || rest.first().is_some_and(|b| !matches!(b, b' ' | b'-' | b'\t')) {
        return None;
    }
    let rest = rest.get(1..).unwrap_or_default().trim_ascii();
    let (enhanced, text) = match EnhancedCode::lead(rest) {
        Some((enhanced, text)) => (Some(enhanced), text.trim_ascii()),
        None => (None, rest),
    };
    let text = String::from_utf8_lossy(&text[..text.len().min(Reply::TEXT_MAX)]).into_owned();
    Some(Reply { code, enhanced, text })
}

/// `\r` and `\n` written out become what they mean.
fn unescape(line: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some((&byte, tail)) = rest.split_first() {
        let (byte, tail) = match (byte, tail.first()) {
            (b'\\', Some(b'r')) => (b'\r', &tail[1..]),
            (b'\\', Some(b'n')) => (b'\n', &tail[1..]),
            _ => (byte, tail),
        };
        out.push(byte);
        rest = tail;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Stage;

    fn lines(of: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> Vec<Value> {
        let mut out = Vec::new();
        of(&mut out).expect("memory does not fail");
        out.split(|&b| b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).expect("JSON")).collect()
    }

    #[test]
    fn every_line_in_gives_one_line_out() {
        let input = b"550 5.1.1 User unknown\n\nnonsense\n\xff\xfe\n999 x\n55\n250 ok\r\n554";
        let context = Context { stage: Stage::Rcpt, provider: None, own: &[] };
        let seen = lines(|out| classify(&Classifier::shipped(), context, &input[..], out));
        let categories: Vec<_> = seen.iter().map(|line| line["category"].as_str().unwrap_or("-")).collect();
        assert_eq!(
            categories,
            ["invalid_recipient", "unknown", "unknown", "unknown", "unknown", "unknown", "-", "unknown"]
        );
        assert_eq!(seen[0]["hard"], true);
        assert_eq!(seen[0]["enhanced"], "5.1.1");
        assert_eq!(seen[6]["disposition"], "delivered");
    }

    #[test]
    fn recorded_raw_replies_are_parsed_as_labelled() {
        let rows: Vec<Vec<&str>> = include_str!("../../tests/data/replies/smtp-parse.tsv")
            .lines()
            .skip(1)
            .map(|row| row.split('\t').collect())
            .collect();
        let input: String = rows.iter().map(|row| format!("{}\n", row[0])).collect();
        let seen = lines(|out| parse_raw(input.as_bytes(), out));
        assert_eq!(seen.len(), rows.len());
        for (row, seen) in rows.iter().zip(&seen) {
            assert_eq!(seen["complete"], row[1] == "yes", "{}", row[0]);
            assert_eq!(seen["code"].to_string(), row[2], "{}", row[0]);
            assert_eq!(seen["enhanced"].as_str().unwrap_or_default(), row[3], "{}", row[0]);
            assert_eq!(seen["text"], row[4], "{}", row[0]);
        }
    }

    #[test]
    fn what_a_log_says_the_host_said_is_the_reply() {
        for (line, code, text) in [
            (
                "553 host mx.test [192.0.2.1] SMTP error from remote mail server after MAIL FROM:<a@b.test> SIZE=1: 553 no",
                553,
                "no",
            ),
            ("550 host mx.test[192.0.2.1] said: 550 5.7.1 no", 550, "no"),
            ("554 host mx.test[192.0.2.1] said: 550 no", 554, "host mx.test[192.0.2.1] said: 550 no"),
            ("550 host said: 550 no", 550, "host said: 550 no"),
            ("550 5.1.0 host mx.test[192.0.2.1] said: 550 no", 550, "host mx.test[192.0.2.1] said: 550 no"),
        ] {
            let reply = parse_line(line.as_bytes()).expect("a reply");
            assert_eq!((reply.code, &*reply.text), (code, text));
        }
    }

    #[test]
    fn raw_replies_that_are_none_say_why() {
        let seen = lines(|out| parse_raw(&b"250-a\\r\\n600 b\\r\\n\n"[..], out));
        assert_eq!(seen[0]["error"], "reply code 600 is outside 200-599");
        assert_eq!(seen[0]["code"], Value::Null);
    }
}
