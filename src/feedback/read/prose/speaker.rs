//! Who said a reply that a text quotes: `host mx.example.org[192.0.2.1] said: 550 …`.
//!
//! Without it a refusal that the reporting system met further on looks like one that it gave to us. The words differ
//! and so do the languages; common to all is that the name or address of a host stands shortly before the reply, with
//! a word for hosts or for speaking.

use std::net::IpAddr;

use super::reply::Quoted;

/// Lines before the reply that are looked at.
const NEAR: usize = 3;
/// In a transcript.
const SESSION: usize = 12;
/// Lines below.
const BELOW: usize = 6;
/// Octets of a name that are kept.
const NAME_MAX: usize = 300;

/// What stands for a speaker that is not named.
pub(crate) const UNNAMED: &str = "remote host";

/// What goes before or after the name of one who spoke.
const SPEAKS: &[&str] = &[
    "host ",
    "server",
    " said",
    "says",
    "talking to ",
    "returned",
    "responded",
    "replied",
    "response",
    "connected to ",
    "does not like",
    "refused",
    "rejected",
    " mta",
    "relay ",
    "serveur",
    "servidor",
    "хост",
    "сервер",
    "サーバ",
    "服务器",
];
/// A speaker without a name.
const ELSEWHERE: &[&str] = &[
    "remote host",
    "remote server",
    "remote mail server",
    "remote mta",
    "remote system",
    "other server",
    " said:",
    "receiving server",
    "destination server",
    "recipient server",
    "recipient's server",
    "next hop",
    "<<<",
];

/// The host that said `quoted`, as the text calls it; [`UNNAMED`] where it is only said to be another one; `None` where
/// nothing is said. `lines` are those that `quoted` is of, `whole` all of the text.
pub(super) fn of(lines: &[&str], quoted: &Quoted, whole: &[&str]) -> Option<String> {
    let line = lines.get(quoted.line)?;
    let own = line.get(..quoted.start).unwrap_or_default();
    if own.trim_end().ends_with("<<<") {
        return Some(talking_to(&lines[..quoted.line], SESSION).unwrap_or_else(|| UNNAMED.to_owned()));
    }
    let before = lines[..quoted.line].iter().rev().take(NEAR).take_while(|line| !line.trim().is_empty());
    let mut near: Vec<&str> = before.copied().collect();
    near.reverse();
    near.push(own);
    let near = near.join(" ");
    let lower = near.to_lowercase();
    let speaks = SPEAKS.iter().any(|word| lower.contains(word));
    if let Some(host) = last_host(&near).filter(|_| speaks || own.trim_end().ends_with(':')) {
        return Some(host);
    }
    // qmail names the host at the end.
    let below = lines[quoted.line + 1..].iter().take(BELOW).take_while(|line| !line.trim().is_empty());
    let given_up = below.filter_map(|line| line.trim().strip_prefix("Giving up on ")).next().and_then(last_host);
    if given_up.is_some() || ELSEWHERE.iter().any(|word| lower.contains(word)) {
        return Some(given_up.unwrap_or_else(|| UNNAMED.to_owned()));
    }
    // Sendmail gives the reply as a reason, and tells in the transcript below whose it was.
    if own.trim_end().ends_with("(reason:") { talking_to(whole, whole.len()) } else { None }
}

/// The host of the session: the last of `most` lines that names one.
fn talking_to(lines: &[&str], most: usize) -> Option<String> {
    let talks = |line: &&str| line.find("talking to ").and_then(|at| last_host(&line[at..]));
    lines.iter().rev().take(most).find_map(talks)
}

/// The last name or address of a host in a text, the address in brackets behind a name with it.
fn last_host(text: &str) -> Option<String> {
    let spaced = text.replace('[', " [");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let at = words.iter().rposition(|word| is_host(word))?;
    let (word, before) = (words[at], at.checked_sub(1).map(|before| words[before]));
    let mut host = trimmed(word).to_owned();
    if let Some(name) = before.filter(|name| word.starts_with(['[', '(']) && is_name(trimmed(name))) {
        host = format!("{} [{host}]", trimmed(name));
    }
    (host.len() <= NAME_MAX).then_some(host)
}

fn trimmed(word: &str) -> &str {
    // A port may follow: `mx.example.org[192.0.2.1]:25`.
    let word = word.trim_matches(|c: char| !c.is_alphanumeric());
    word.split_once("]:").map_or(word, |(host, _)| host)
}

fn is_host(word: &str) -> bool {
    let word = trimmed(word);
    !word.contains('@') && (word.parse::<IpAddr>().is_ok() || is_name(word))
}

/// Whether a word is a name of two labels or more that ends in letters.
fn is_name(word: &str) -> bool {
    let mut labels = 0;
    let sound = word.split('.').all(|label| {
        labels += 1;
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    });
    let last = word.rsplit('.').next().unwrap_or_default();
    sound && labels >= 2 && last.len() >= 2 && last.bytes().all(|b| b.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::super::reply;
    use super::*;

    #[test]
    fn the_host_before_a_reply_has_said_it() {
        for (text, said) in [
            ("host mx.example.com[198.51.100.2] said: 550 no", Some("mx.example.com [198.51.100.2]")),
            (
                "host mx.example.com [198.51.100.4]\nerror after RCPT TO:<a@x.org>:\n550 no",
                Some("mx.example.com [198.51.100.4]"),
            ),
            (
                "198.51.100.7 does not like recipient.\nRemote host said: 550 no\nGiving up on 198.51.100.7.",
                Some("198.51.100.7"),
            ),
            ("Remote host said: 550 no\nGiving up on 198.51.100.7.", Some("198.51.100.7")),
            ("Remote host said: 550 no", Some(UNNAMED)),
            ("... while talking to mx.example.com.:\n>>> DATA\n<<< 550 no", Some("mx.example.com")),
            ("(reason: 550 no)\n\n... while talking to mx.example.com.:", Some("mx.example.com")),
            (
                "rejected by mx.example.com. [2001:db8::1].\nThe error that the other server returned was:\n550 no",
                Some("mx.example.com [2001:db8::1]"),
            ),
            ("the other server returned was: 550 no", Some(UNNAMED)),
            ("This is the system at host mail.example.net.\n\n550 no", None),
            ("550 no", None),
            ("<a@mx.example.com>: 550 no", None),
            ("Error: 550 no", None),
        ] {
            let lines: Vec<&str> = text.lines().collect();
            let quoted = reply::all(&lines);
            assert_eq!(of(&lines, &quoted[0], &lines).as_deref(), said, "{text}");
        }
    }
}
