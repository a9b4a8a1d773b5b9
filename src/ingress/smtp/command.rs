//! One line of a client → [`Command`] (RFC 5321 §4.1).
//!
//! Strict where leniency would change what a line means — octets that end lines elsewhere, text after a path, unknown
//! parameters — and lenient where clients are sloppy without harm: any case, spaces at the end or after the colon of
//! `FROM:` and `TO:`. Each refusal carries the reply to give, so the session has no opinion on syntax. What stands behind
//! the paths, [`super::parameters`] reads.
//!
//! Lines may be [`MAX_LINE`] octets long: RFC 5321 §4.5.3.1.4 gives 512 and lets extensions add to it; one limit for
//! all verbs is easier to reason about and costs nothing.

use super::auth::{AuthRequest, Mechanism};
use super::parameters::{self, number};
use super::xclient::{self, Said};
use crate::ingress::{Refusal, Secret};
use crate::message::address::BadAddress;
use crate::message::wishes::{RecipientWishes, Wishes};
use crate::message::{Domain, Mailbox};

/// Octets of a command line, CRLF included.
pub const MAX_LINE: usize = 2048;
/// What is said of a longer one.
pub(super) const LINE_TOO_LONG: &str = "line too long";

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `EHLO name`
    Ehlo(String),
    /// `HELO name`
    Helo(String),
    /// `MAIL FROM:<…>`
    Mail(MailFrom),
    /// `RCPT TO:<…>`
    Rcpt(RcptTo),
    /// `DATA`
    Data,
    /// `BDAT size [LAST]` (RFC 3030 §2)
    Bdat(Chunk),
    /// `RSET`
    Rset,
    /// `NOOP`, its text ignored
    Noop,
    /// `VRFY text`, perhaps with SMTPUTF8 (RFC 6531 §3.7.4.2)
    Vrfy,
    /// `HELP`, its text ignored
    Help,
    /// `QUIT`
    Quit,
    /// `AUTH mechanism [initial-response]` (RFC 4954)
    Auth(AuthRequest),
    /// `STARTTLS` (RFC 3207)
    StartTls,
    /// `XCLIENT attributes`: another client, says a mail server in front
    Xclient(Said),
    /// `XFORWARD attributes`: where it comes from, for the log
    Xforward(Said),
    /// `PROXY …`: a header of the PROXY protocol, where none is expected
    Proxy,
    /// A verb of RFC 5321 or of an extension that is not offered: EXPN, ETRN, …
    NotImplemented(&'static str),
}

/// The parameters of MAIL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailFrom {
    /// `None` is the null reverse path `<>`.
    pub reverse_path: Option<Mailbox>,
    /// `SIZE=`, octets (RFC 1870 §6.1); numbers above 2⁶⁴ count as 2⁶⁴ − 1.
    pub size: Option<u64>,
    /// Whether `BODY=8BITMIME` was given (RFC 6152).
    pub eight_bit: bool,
    /// Whether `AUTH=` was given (RFC 4954 §5). Whom it names is no matter: a client's word for others is not taken.
    pub auth: bool,
    /// RET, ENVID, SMTPUTF8 and REQUIRETLS.
    pub wishes: Wishes,
}

/// What RCPT says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RcptTo {
    /// The forward path.
    pub path: RcptPath,
    /// NOTIFY and ORCPT.
    pub wishes: RecipientWishes,
}

/// The forward path of RCPT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RcptPath {
    /// An address; a source route is already taken off (RFC 5321 §4.1.1.3). Without SMTPUTF8 it must be ASCII.
    Mailbox(Mailbox),
    /// `<Postmaster>` without a domain: the postmaster of this server (RFC 5321 §4.1.1.3).
    Postmaster,
}

/// What BDAT announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Octets that follow the line; numbers above 2⁶⁴ count as 2⁶⁴ − 1.
    pub size: u64,
    /// Whether the message ends with them.
    pub last: bool,
}

/// Reads one line, given without its CRLF. `Err` is the reply to give.
pub fn parse(line: &[u8]) -> Result<Command, Refusal> {
    if let Some(at) = memchr::memchr3(b'\r', b'\n', 0, line) {
        let what = match line[at] {
            b'\r' => "bare CR",
            b'\n' => "bare LF",
            _ => "NUL",
        };
        return Err(Refusal::new(500, 5, 2, format!("{what} in a command line")));
    }
    let (verb, rest) = match line.iter().position(|&byte| byte == b' ') {
        Some(at) => (&line[..at], line[at + 1..].trim_ascii()),
        None => (line, &[][..]),
    };
    match verb.to_ascii_uppercase().as_slice() {
        b"EHLO" => client_name(rest).map(Command::Ehlo),
        b"HELO" => client_name(rest).map(Command::Helo),
        b"MAIL" => mail(rest).map(Command::Mail),
        b"RCPT" => rcpt(rest).map(Command::Rcpt),
        b"DATA" => no_argument(rest, Command::Data),
        b"BDAT" => chunk(rest).map(Command::Bdat),
        b"RSET" => no_argument(rest, Command::Rset),
        b"QUIT" => no_argument(rest, Command::Quit),
        b"NOOP" => Ok(Command::Noop),
        b"HELP" => Ok(Command::Help),
        b"VRFY" if rest.is_empty() => Err(syntax("VRFY needs an argument")),
        b"VRFY" => vrfy(rest),
        b"AUTH" => auth(rest).map(Command::Auth),
        b"STARTTLS" => no_argument(rest, Command::StartTls),
        b"XCLIENT" => xclient::read(rest, false).map(Command::Xclient),
        b"XFORWARD" => xclient::read(rest, true).map(Command::Xforward),
        b"PROXY" => Ok(Command::Proxy),
        b"EXPN" => Ok(Command::NotImplemented("EXPN")),
        b"ETRN" => Ok(Command::NotImplemented("ETRN")),
        b"TURN" => Ok(Command::NotImplemented("TURN")),
        _ => Err(Refusal::new(500, 5, 2, "command not recognised")),
    }
}

pub(super) fn syntax(text: impl Into<String>) -> Refusal {
    Refusal::new(501, 5, 4, text)
}

fn no_argument(rest: &[u8], command: Command) -> Result<Command, Refusal> {
    if rest.is_empty() { Ok(command) } else { Err(syntax("no argument allowed")) }
}

/// The name of EHLO and HELO. It ends in a `Received:` line, so only what can stand there is let in; whether it is a
/// real name is not judged (RFC 5321 §4.1.4 forbids refusing for that).
pub(super) fn client_name(rest: &[u8]) -> Result<String, Refusal> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(byte);
    match std::str::from_utf8(rest) {
        Ok("") => Err(syntax("a host name or address literal must follow")),
        Ok(name) if name.len() <= 255 && rest.iter().all(plain) => Ok(name.to_owned()),
        _ => Err(syntax("not a host name or address literal")),
    }
}

/// RFC 4954 §4: a mechanism (RFC 4422 §3.1), and perhaps its first answer.
fn auth(rest: &[u8]) -> Result<AuthRequest, Refusal> {
    let mut words = rest.split(|octet| *octet == b' ').filter(|word| !word.is_empty());
    let (mechanism, initial) = (words.next(), words.next());
    let Some(mechanism) = mechanism else { return Err(syntax("a mechanism must follow: PLAIN or LOGIN")) };
    if words.next().is_some() {
        return Err(syntax("AUTH takes a mechanism and at most one initial response"));
    }
    let mechanism = match mechanism.to_ascii_uppercase().as_slice() {
        b"PLAIN" => Some(Mechanism::Plain),
        b"LOGIN" => Some(Mechanism::Login),
        b"SCRAM-SHA-256" => Some(Mechanism::Scram),
        b"SCRAM-SHA-256-PLUS" => Some(Mechanism::ScramPlus),
        _ => None,
    };
    Ok(AuthRequest { mechanism, initial: initial.map(|text| Secret::new(text.to_vec())) })
}

fn mail(rest: &[u8]) -> Result<MailFrom, Refusal> {
    let (path, text) = path(rest, "FROM:")?;
    let reverse_path = if path.is_empty() { None } else { Some(mailbox(path, 7)?) };
    let mut mail = MailFrom { reverse_path, size: None, eight_bit: false, auth: false, wishes: Wishes::default() };
    parameters::of_mail(text, &mut mail)?;
    if !mail.wishes.utf8 && mail.reverse_path.as_ref().is_some_and(|path| !path.is_ascii()) {
        return Err(not_ascii());
    }
    Ok(mail)
}

/// RFC 3030 §2: what follows the line is text, whatever is wrong with the line. So this is the one command whose refusal must
/// end the session, see [`is_chunk`].
fn chunk(rest: &[u8]) -> Result<Chunk, Refusal> {
    let wrong = || syntax("BDAT takes a number of octets, and LAST behind the last of them");
    let mut words = std::str::from_utf8(rest).map_err(|_| wrong())?.split_ascii_whitespace();
    let size = words.next().and_then(number).ok_or_else(wrong)?;
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return Err(wrong()),
    };
    if words.next().is_some() { Err(wrong()) } else { Ok(Chunk { size, last }) }
}

/// Whether a line that is no command was to be BDAT: then nobody knows where the next command begins.
pub(super) fn is_chunk(line: &[u8]) -> bool {
    line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"BDAT"))
}

/// RFC 6531 §3.7.4.2: a name that is not ASCII comes with SMTPUTF8. Nobody is verified either way.
fn vrfy(rest: &[u8]) -> Result<Command, Refusal> {
    let has_utf8 =
        rest.rsplit(|octet| *octet == b' ').next().is_some_and(|word| word.eq_ignore_ascii_case(b"SMTPUTF8"));
    if rest.is_ascii() || has_utf8 && std::str::from_utf8(rest).is_ok() { Ok(Command::Vrfy) } else { Err(not_ascii()) }
}

/// Also the answer to a parameter of an extension that this session does not have.
pub(super) fn unknown_parameter() -> Refusal {
    Refusal::new(555, 5, 4, "parameter not recognised or not offered")
}

fn rcpt(rest: &[u8]) -> Result<RcptTo, Refusal> {
    let (path, text) = path(rest, "TO:")?;
    let path = match path {
        "" => return Err(Refusal::new(501, 1, 3, "the null path is no recipient")),
        postmaster if postmaster.eq_ignore_ascii_case("postmaster") => RcptPath::Postmaster,
        address => RcptPath::Mailbox(mailbox(address, 3)?),
    };
    Ok(RcptTo { path, wishes: parameters::of_rcpt(text)? })
}

/// Takes `KEYWORD<path> parameters` apart: what stands between the brackets, and the parameters.
fn path<'a>(rest: &'a [u8], keyword: &str) -> Result<(&'a str, &'a str), Refusal> {
    let text = std::str::from_utf8(rest).map_err(|_| Refusal::new(553, 6, 7, "address is not UTF-8"))?;
    let after = match text.get(..keyword.len()) {
        Some(start) if start.eq_ignore_ascii_case(keyword) => text[keyword.len()..].trim_start_matches(' '),
        _ => return Err(syntax(format!("{keyword}<address> must follow"))),
    };
    let inner = after.strip_prefix('<').ok_or_else(|| syntax("the address must stand in angle brackets"))?;
    let close = closing_bracket(inner).ok_or_else(|| syntax("the closing angle bracket is missing"))?;
    let (path, parameters) = (&inner[..close], &inner[close + 1..]);
    if !parameters.is_empty() && !parameters.starts_with(' ') {
        return Err(syntax("a space must stand between address and parameters"));
    }
    Ok((path, parameters.trim_ascii()))
}

/// Where the path ends: the first `>` outside a quoted local part.
fn closing_bracket(inner: &str) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    inner.bytes().position(|byte| {
        if escaped {
            escaped = false;
            return false;
        }
        match byte {
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' => return !quoted,
            _ => {}
        }
        false
    })
}

/// An address without its source route; `detail` is the enhanced code's: 7 for a sender, 3 for a recipient.
fn mailbox(path: &str, detail: u16) -> Result<Mailbox, Refusal> {
    let address = match path.strip_prefix('@').map(|route| route.split_once(':')) {
        None => path,
        Some(Some((route, address))) if is_route(route) => address,
        Some(_) => return Err(Refusal::new(501, 1, detail, "source route is not valid")),
    };
    Mailbox::international(address).map_err(|why| Refusal::new(501, 1, detail, why.to_string()))
}

/// `a,@b,@c`: the route behind its first `@`.
fn is_route(route: &str) -> bool {
    route.split(',').enumerate().all(|(n, hop)| {
        if n == 0 { Some(hop) } else { hop.strip_prefix('@') }.is_some_and(|hop| hop.parse::<Domain>().is_ok())
    })
}

/// RFC 6531 §3.5: an address that needs SMTPUTF8.
pub(super) fn not_ascii() -> Refusal {
    Refusal::new(553, 6, 7, BadAddress::NotAscii.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mail(reverse_path: Option<&str>, size: Option<u64>, eight_bit: bool) -> Command {
        let reverse_path = reverse_path.map(|text| text.parse().expect("valid"));
        Command::Mail(MailFrom { reverse_path, size, eight_bit, auth: false, wishes: Wishes::default() })
    }

    fn auth(mechanism: Option<Mechanism>, initial: Option<&str>) -> Command {
        let initial = initial.map(|text| Secret::new(text.as_bytes().to_vec()));
        Command::Auth(AuthRequest { mechanism, initial })
    }

    fn rcpt(address: &str) -> Command {
        let path = RcptPath::Mailbox(Mailbox::international(address).expect("valid"));
        Command::Rcpt(RcptTo { path, wishes: RecipientWishes::default() })
    }

    fn bdat(size: u64, last: bool) -> Command {
        Command::Bdat(Chunk { size, last })
    }

    #[test]
    fn lines_become_commands() {
        for (line, command) in [
            ("EHLO client.example", Command::Ehlo("client.example".into())),
            ("ehlo [192.0.2.1]", Command::Ehlo("[192.0.2.1]".into())),
            ("HELO [IPv6:2001:db8::1] ", Command::Helo("[IPv6:2001:db8::1]".into())),
            ("EHLO win_host", Command::Ehlo("win_host".into())),
            ("MAIL FROM:<a@b.org>", mail(Some("a@b.org"), None, false)),
            ("mail from:<A@B.org> size=10 body=8bitmime", mail(Some("A@b.org"), Some(10), true)),
            ("MAIL FROM: <a@b.org>  BODY=7BIT", mail(Some("a@b.org"), None, false)),
            ("MAIL FROM:<> SIZE=99999999999999999999", mail(None, Some(u64::MAX), false)),
            ("MAIL FROM:<@x.org,@y.org:a@b.org>", mail(Some("a@b.org"), None, false)),
            ("MAIL FROM:<\"a> b\\\"\"@b.org>", mail(Some("\"a> b\\\"\"@b.org"), None, false)),
            ("RCPT TO:<a@[192.0.2.1]>", rcpt("a@[192.0.2.1]")),
            ("RCPT TO:<@x.org:a@b.org> ", rcpt("a@b.org")),
            (
                "RCPT TO:<PostMaster>",
                Command::Rcpt(RcptTo { path: RcptPath::Postmaster, wishes: RecipientWishes::default() }),
            ),
            ("RCPT TO:<ü@bücher.example>", rcpt("ü@bücher.example")),
            ("VRFY ü SMTPUTF8", Command::Vrfy),
            ("DATA", Command::Data),
            ("data ", Command::Data),
            ("RSET", Command::Rset),
            ("NOOP", Command::Noop),
            ("NOOP any text", Command::Noop),
            ("VRFY someone", Command::Vrfy),
            ("HELP MAIL", Command::Help),
            ("QUIT", Command::Quit),
            ("EXPN list", Command::NotImplemented("EXPN")),
            ("starttls", Command::StartTls),
            ("PROXY TCP4 192.0.2.7 192.0.2.1 1 25", Command::Proxy),
            ("AUTH PLAIN", auth(Some(Mechanism::Plain), None)),
            ("auth plain  AHg= ", auth(Some(Mechanism::Plain), Some("AHg="))),
            ("AUTH LOGIN =", auth(Some(Mechanism::Login), Some("="))),
            ("AUTH CRAM-MD5", auth(None, None)),
            ("BDAT 10", bdat(10, false)),
            ("bdat 10 last ", bdat(10, true)),
            ("BDAT 0 LAST", bdat(0, true)),
            ("BDAT 99999999999999999999", bdat(u64::MAX, false)),
        ] {
            assert_eq!(parse(line.as_bytes()), Ok(command), "{line}");
        }
    }

    #[test]
    fn a_parameter_auth_is_read_and_believed_of_nobody() {
        for value in ["<>", "a@b.org", "a+2B+3Db@b.org"] {
            let line = format!("MAIL FROM:<a@b.org> auth={value} SIZE=1");
            let Ok(Command::Mail(mail)) = parse(line.as_bytes()) else { panic!("{line}") };
            assert!(mail.auth && mail.size == Some(1), "{line}");
        }
    }

    #[test]
    fn refusals_have_the_exact_codes() {
        for (line, reply) in [
            (&b""[..], "500 5.5.2"),
            (b" EHLO x", "500 5.5.2"),
            (b"FOO", "500 5.5.2"),
            (b"GET / HTTP/1.1", "500 5.5.2"),
            (b"MAILFROM:<a@b.org>", "500 5.5.2"),
            (b"NOOP\x00", "500 5.5.2"),
            (b"NOOP\r", "500 5.5.2"),
            (b"NOOP\nNOOP", "500 5.5.2"),
            (b"\xff\xfe", "500 5.5.2"),
            (b"EHLO", "501 5.5.4"),
            (b"EHLO a b", "501 5.5.4"),
            (b"EHLO a(b)", "501 5.5.4"),
            (b"HELO \xc3\xa4.de", "501 5.5.4"),
            (b"MAIL", "501 5.5.4"),
            (b"MAIL FROM", "501 5.5.4"),
            (b"MAIL TO:<a@b.org>", "501 5.5.4"),
            (b"MAIL FROM:a@b.org", "501 5.5.4"),
            (b"MAIL FROM:<a@b.org", "501 5.5.4"),
            (b"MAIL FROM:<a@b.org>SIZE=1", "501 5.5.4"),
            (b"MAIL FROM:<a@b.org> SIZE=", "501 5.5.4"),
            (b"MAIL FROM:<a@b.org> SIZE=-1", "501 5.5.4"),
            (b"MAIL FROM:<a@b.org> SIZE=111111111111111111111", "501 5.5.4"),
            (b"MAIL FROM:<a@b.org> BODY=BINARYMIME", "501 5.5.4"),
            (b"MAIL FROM:<a@b.org> BODY", "501 5.5.4"),
            (b"MAIL FROM:<a@b.org> SIZE=1 SIZE=2", "501 5.5.4"),
            (b"MAIL FROM:<a@b.org> SMTPUTF9", "555 5.5.4"),
            (b"MAIL FROM:<\xff@b.org> SMTPUTF8", "553 5.6.7"),
            (b"MAIL FROM:<\xc3\xa4@b..org> SMTPUTF8", "501 5.1.7"),
            (b"MAIL FROM:<a@b.org> AUTH=<> AUTH=<>", "501 5.5.4"),
            (b"MAIL FROM:<a@b.org> AUTH=", "501 5.5.4"),
            (b"MAIL FROM:<a@b.org> AUTH", "501 5.5.4"),
            (b"MAIL FROM:<a@b.org> AUTH=a=b", "501 5.5.4"),
            (b"MAIL FROM:<a@b.org> AUTH=a+2", "501 5.5.4"),
            (b"AUTH", "501 5.5.4"),
            (b"AUTH PLAIN AHg= AHg=", "501 5.5.4"),
            (b"MAIL FROM:<a>", "501 5.1.7"),
            (b"MAIL FROM:<a b@c.org>", "501 5.1.7"),
            (b"MAIL FROM:<@x.org>", "501 5.1.7"),
            (b"MAIL FROM:<@x,y:a@b.org>", "501 5.1.7"),
            (b"MAIL FROM:<\xc3\xa4@b.org>", "553 5.6.7"),
            (b"RCPT TO:<\xff@b.org>", "553 5.6.7"),
            (b"RCPT TO:<>", "501 5.1.3"),
            (b"RCPT TO:<a@b..org>", "501 5.1.3"),
            (b"RCPT TO:<a@b.org> SIZE=1", "555 5.5.4"),
            (b"RCPT TO:<a@b.org> NOTIFY=", "501 5.5.4"),
            (b"BDAT", "501 5.5.4"),
            (b"BDAT -1", "501 5.5.4"),
            (b"BDAT 1x", "501 5.5.4"),
            (b"BDAT 1 LATE", "501 5.5.4"),
            (b"BDAT 1 LAST x", "501 5.5.4"),
            (b"BDAT 111111111111111111111", "501 5.5.4"),
            (b"BDAT \xff", "501 5.5.4"),
            (b"VRFY \xc3\xa4", "553 5.6.7"),
            (b"VRFY \xff SMTPUTF8", "553 5.6.7"),
            (b"RCPT FROM:<a@b.org>", "501 5.5.4"),
            (b"DATA x", "501 5.5.4"),
            (b"RSET x", "501 5.5.4"),
            (b"QUIT x", "501 5.5.4"),
            (b"VRFY", "501 5.5.4"),
        ] {
            let refusal = parse(line).expect_err("refused");
            assert_eq!(format!("{} {}", refusal.code, refusal.enhanced), reply, "{}", line.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn any_line_is_answered(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&line);
        }

        #[test]
        fn any_path_is_answered(path in "[-a@.:,<>\"\\\\ \\[\\]é]{0,30}") {
            for line in [format!("MAIL FROM:<{path}> SIZE=1"), format!("RCPT TO:{path}")] {
                if let Err(refusal) = parse(line.as_bytes()) {
                    prop_assert!((500..=555).contains(&refusal.code));
                }
            }
        }
    }
}
