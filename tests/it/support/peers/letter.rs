//! A message with its envelope, as it is sent and as it is found again.

use std::io::BufRead;
use std::sync::Arc;

/// What is sent.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    /// Reverse path.
    pub(crate) from: String,
    /// Parameters of MAIL.
    pub(crate) parameters: Vec<&'static str>,
    /// Recipients, each with its parameters of RCPT.
    pub(crate) to: Vec<(String, Vec<&'static str>)>,
    /// The message, with CRLF.
    pub(crate) octets: Vec<u8>,
}

impl Letter {
    /// A short one of seven bits to one recipient, known by `id` again.
    pub(crate) fn plain(id: &str) -> Self {
        Self {
            from: "sender@example.test".into(),
            parameters: Vec::new(),
            to: vec![("user@peer.test".into(), Vec::new())],
            octets: text(id, "Subject: plain\r\n", b"one line\r\n.\r\n..two dots\r\n"),
        }
    }

    /// With octets above 127, in UTF-8 and in no code at all.
    pub(crate) fn eight_bit(id: &str) -> Self {
        let header =
            "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n";
        let octets = text(id, header, b"gr\xc3\xbc\xc3\x9fe\r\nand \xff\xfe\r\n");
        Self { parameters: vec!["BODY=8BITMIME"], octets, ..Self::plain(id) }
    }

    /// With addresses and a subject in UTF-8.
    pub(crate) fn utf8(id: &str) -> Self {
        Self {
            from: "jürgen@example.test".into(),
            parameters: vec!["BODY=8BITMIME", "SMTPUTF8"],
            to: vec![("grüße@peer.test".into(), Vec::new())],
            octets: text(id, "From: Jürgen <jürgen@example.test>\r\nSubject: Grüße\r\n", "schöne Grüße\r\n".as_bytes()),
        }
    }

    /// Of 20 MB.
    pub(crate) fn large(id: &str) -> Self {
        let line = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789\r\n";
        let body = line.repeat(20_000_000 / line.len());
        Self { octets: text(id, "Subject: large\r\n", &body), ..Self::plain(id) }
    }

    /// To 500 recipients.
    pub(crate) fn many(id: &str) -> Self {
        let to = (0..500).map(|n| (format!("user{n}@peer.test"), Vec::new())).collect();
        Self { to, ..Self::plain(id) }
    }

    /// With every parameter of RFC 3461; one recipient wants all reports and was somebody else once, one wants none.
    pub(crate) fn dsn(id: &str) -> Self {
        Self {
            parameters: vec!["RET=HDRS", "ENVID=QQ+2B314159"],
            to: vec![
                ("all@peer.test".into(), vec!["NOTIFY=SUCCESS,FAILURE,DELAY", "ORCPT=rfc822;first+2Btag@peer.test"]),
                ("none@peer.test".into(), vec!["NOTIFY=NEVER"]),
            ],
            ..Self::plain(id)
        }
    }

    /// With the values of RFC 3461 that [`Self::dsn`] has not: the whole message back, each kind of report alone and in
    /// twos, and no wish at all.
    pub(crate) fn wishes(id: &str) -> Self {
        let to: [(&str, &[&'static str]); 7] = [
            ("success", &["NOTIFY=SUCCESS"]),
            ("failure", &["NOTIFY=FAILURE", "ORCPT=rfc822;failure@elsewhere.test"]),
            ("delay", &["NOTIFY=DELAY"]),
            ("ends", &["NOTIFY=SUCCESS,FAILURE"]),
            ("trouble", &["NOTIFY=FAILURE,DELAY"]),
            ("moved", &["NOTIFY=NEVER", "ORCPT=rfc822;before@elsewhere.test"]),
            ("plain", &[]),
        ];
        Self {
            parameters: vec!["RET=FULL", "ENVID=full"],
            to: to.map(|(name, wishes)| (format!("{name}@peer.test"), wishes.to_vec())).to_vec(),
            ..Self::plain(id)
        }
    }
}

/// The header field that letters are known by.
const ID: &str = "X-Test-Id: ";

fn text(id: &str, header: &str, body: &[u8]) -> Vec<u8> {
    // Without these some servers add them.
    let from = if header.contains("From: ") { "" } else { "From: sender@example.test\r\n" };
    let usual = format!("{from}Date: Thu, 1 Jan 2026 00:00:00 +0000\r\nMessage-ID: <{id}@example.test>\r\n");
    let mut octets = format!("{ID}{id}\r\n{usual}{header}\r\n").into_bytes();
    octets.extend_from_slice(body);
    octets
}

/// What came of it at a receiver.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    /// Reverse path.
    pub(crate) from: String,
    /// Parameters of MAIL; empty where the receiver does not tell.
    pub(crate) parameters: String,
    /// Recipients and their parameters; empty where the receiver does not tell.
    pub(crate) to: Vec<(String, String)>,
    /// Its name for the TLS of the connection.
    pub(crate) tls: Option<String>,
    /// By BDAT; where the receiver does not tell, false.
    pub(crate) bdat: bool,
    /// The message, trace fields in front; line ends as the receiver stores them.
    pub(crate) octets: Arc<[u8]>,
}

impl Taken {
    /// From a mailbox: the envelope and the TLS as the receiver wrote them in front of the message.
    pub(super) fn stored(octets: Vec<u8>) -> Self {
        let head = String::from_utf8_lossy(&octets[..octets.len().min(65_536)]).into_owned();
        let ours = head.find("by relay.test with ").unwrap_or(head.len());
        let theirs = &head[..head[..ours].rfind("Received:").unwrap_or(ours)];
        let tls = ["TLSv1.", "TLS1."].iter().find_map(|mark| theirs.find(mark)).map(|at| {
            theirs[at..].split(|c: char| !c.is_alphanumeric() && c != '.').next().unwrap_or_default().to_owned()
        });
        let unfolded = theirs.replace("\n\t", " ").replace("\n ", " ");
        let field = |name: &str| unfolded.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let from = field("Return-Path:").or_else(|| field("Return-path:")).unwrap_or_default();
        let from = from.trim_matches(['<', '>']).to_owned();
        let to = field("Envelope-to:").or_else(|| field("X-Original-To:")).or_else(|| field("Delivered-To:"));
        let to = to.unwrap_or_default().split(',').map(|address| (address.trim().to_owned(), String::new())).collect();
        Self { from, parameters: String::new(), to, tls, bdat: false, octets: octets.into() }
    }

    /// The id of its letter.
    pub(crate) fn id(&self) -> String {
        let head = &self.octets[..self.octets.len().min(16_384)];
        let head = String::from_utf8_lossy(head).into_owned();
        head.lines().find_map(|line| line.strip_prefix(ID)).unwrap_or_default().to_owned()
    }

    /// Cut at our own trace field. `None` where there is none, as in a report.
    pub(crate) fn parts(&self) -> Option<Parts> {
        let octets = bare(&self.octets);
        let ours = find(&octets, b"\tby relay.test with ")?;
        let start = octets[..ours].windows(9).rposition(|window| window == b"Received:")?;
        // The field goes on while lines begin with white space.
        let mut end = ours;
        loop {
            end += octets[end..].iter().position(|b| *b == b'\n')? + 1;
            if !matches!(octets.get(end), Some(b' ' | b'\t')) {
                break;
            }
        }
        let trace = String::from_utf8_lossy(&octets[start..end]).into_owned();
        Some(Parts { before: octets[..start].to_vec(), trace, after: octets[end..].to_vec() })
    }
}

/// A message as a receiver has it.
pub(crate) struct Parts {
    /// What the receiver and what we put in front of our trace field: more trace fields, a signature.
    pub(crate) before: Vec<u8>,
    /// Our trace field.
    pub(crate) trace: String,
    /// The message as the relay was given it.
    pub(crate) after: Vec<u8>,
}

fn find(octets: &[u8], what: &[u8]) -> Option<usize> {
    octets.windows(what.len()).position(|window| window == what)
}

/// With LF for CRLF, as mailboxes have it.
pub(crate) fn bare(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len());
    let mut rest = octets;
    while rest.read_until(b'\n', &mut out).unwrap() > 0 {
        if out.ends_with(b"\r\n") {
            out.truncate(out.len() - 2);
            out.push(b'\n');
        }
    }
    out
}
