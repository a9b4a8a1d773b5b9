//! The parameters of MAIL and RCPT (RFC 5321 §4.1.2): one text behind the path → what is asked for.
//!
//! SIZE (RFC 1870), BODY (RFC 6152), AUTH (RFC 4954), SMTPUTF8 (RFC 6531), RET, ENVID, NOTIFY and ORCPT (RFC 3461), REQUIRETLS
//! (RFC 8689). Read strictly, since they are passed on: a value that is not what its RFC has is `501` and says so, and so is
//! a parameter that stands twice, for nobody knows which is meant; a parameter that no extension here has is `555`. Whether
//! the session offers the extension at this moment, it knows itself.

use super::command::{MailFrom, syntax, unknown_parameter};
use crate::ingress::Refusal;
use crate::message::wishes::{Notify, OriginalRecipient, RecipientWishes, Return, TlsWish};
use crate::message::xtext::Xtext;

/// Characters of an envelope id, encoded (RFC 3461 §4.4).
const ENVELOPE_ID_MAX: usize = 100;
/// Characters of an original recipient, its type included (RFC 3461 §4.2).
const ORIGINAL_MAX: usize = 500;
/// Characters of the type of an address: the longest that is registered has seven.
const KIND_MAX: usize = 32;

/// Reads those of MAIL into `mail`.
pub(super) fn of_mail(text: &str, mail: &mut MailFrom) -> Result<(), Refusal> {
    let mut seen = Seen::default();
    for parameter in Parameter::all(text) {
        let known = ["SIZE", "BODY", "AUTH", "SMTPUTF8", "RET", "ENVID", "REQUIRETLS"];
        let value = parameter.value;
        match seen.once(&parameter, &known)? {
            "SIZE" => mail.size = Some(size(value)?),
            "BODY" => mail.eight_bit = body(value)?,
            "AUTH" => {
                value.unwrap_or("").parse::<Xtext>().map_err(|_| syntax("AUTH= needs xtext or <>"))?;
                mail.auth = true;
            }
            "SMTPUTF8" => mail.wishes.utf8 = flag("SMTPUTF8", value)?,
            "RET" => mail.wishes.ret = Some(returned(value)?),
            "ENVID" => mail.wishes.envelope_id = Some(envelope_id(value)?),
            _ => {
                flag("REQUIRETLS", value)?;
                mail.wishes.tls = TlsWish::Required;
            }
        }
    }
    Ok(())
}

/// Reads those of RCPT.
pub(super) fn of_rcpt(text: &str) -> Result<RecipientWishes, Refusal> {
    let mut wishes = RecipientWishes::default();
    let mut seen = Seen::default();
    for parameter in Parameter::all(text) {
        match seen.once(&parameter, &["NOTIFY", "ORCPT"])? {
            "NOTIFY" => {
                let notify = parameter.value.unwrap_or("").parse::<Notify>();
                wishes.notify = Some(notify.map_err(|why| syntax(why.to_string()))?);
            }
            _ => wishes.original = Some(original(parameter.value)?),
        }
    }
    Ok(wishes)
}

/// `NAME` or `NAME=value`.
struct Parameter<'a> {
    name: &'a str,
    value: Option<&'a str>,
}

impl<'a> Parameter<'a> {
    fn all(text: &'a str) -> impl Iterator<Item = Self> {
        text.split_ascii_whitespace().map(|word| match word.split_once('=') {
            Some((name, value)) => Self { name, value: Some(value) },
            None => Self { name: word, value: None },
        })
    }
}

/// Which parameters were there.
#[derive(Default)]
struct Seen(Vec<&'static str>);

impl Seen {
    /// Its name as it is written here, where it is known and comes for the first time.
    fn once(&mut self, parameter: &Parameter<'_>, known: &[&'static str]) -> Result<&'static str, Refusal> {
        let name = known.iter().copied().find(|name| name.eq_ignore_ascii_case(parameter.name));
        let name = name.ok_or_else(unknown_parameter)?;
        if self.0.contains(&name) {
            return Err(syntax(format!("{name} is given twice")));
        }
        self.0.push(name);
        Ok(name)
    }
}

/// A parameter that is there or not.
fn flag(name: &str, value: Option<&str>) -> Result<bool, Refusal> {
    if value.is_some() { Err(syntax(format!("{name} takes no value"))) } else { Ok(true) }
}

fn size(value: Option<&str>) -> Result<u64, Refusal> {
    number(value.unwrap_or("")).ok_or_else(|| syntax("SIZE= needs a number of octets"))
}

/// 1 to 20 digits. 20 may exceed 64 bits: then it is too big for any limit.
pub(super) fn number(digits: &str) -> Option<u64> {
    let is_one = (1..=20).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_one.then(|| digits.parse().unwrap_or(u64::MAX))
}

fn body(value: Option<&str>) -> Result<bool, Refusal> {
    match value {
        Some(kind) if kind.eq_ignore_ascii_case("7BIT") => Ok(false),
        Some(kind) if kind.eq_ignore_ascii_case("8BITMIME") => Ok(true),
        _ => Err(syntax("BODY= must be 7BIT or 8BITMIME")),
    }
}

fn returned(value: Option<&str>) -> Result<Return, Refusal> {
    match value {
        Some(what) if what.eq_ignore_ascii_case("FULL") => Ok(Return::Full),
        Some(what) if what.eq_ignore_ascii_case("HDRS") => Ok(Return::Headers),
        _ => Err(syntax("RET= must be FULL or HDRS")),
    }
}

/// RFC 3461 §4.4: printable characters, in xtext. What is not printable would break the field of a report that repeats it.
fn envelope_id(value: Option<&str>) -> Result<Xtext, Refusal> {
    let text = value.unwrap_or("");
    let id = text.parse::<Xtext>().ok().filter(|id| text.len() <= ENVELOPE_ID_MAX && is_printable(id));
    id.ok_or_else(|| syntax("ENVID= needs 1 to 100 characters of xtext that stand for printable ones (RFC 3461)"))
}

/// RFC 3461 §4.2: `type;address`. An address that came in UTF-8 (RFC 6533 §3) is kept in the form of the same type that is
/// ASCII, since the next host may know nothing of SMTPUTF8.
fn original(value: Option<&str>) -> Result<OriginalRecipient, Refusal> {
    let wrong = || syntax("ORCPT= needs type;address, the address in xtext (RFC 3461), 500 characters at most");
    let value = value.filter(|text| text.len() <= ORIGINAL_MAX).ok_or_else(wrong)?;
    let (kind, address) = value.split_once(';').ok_or_else(wrong)?;
    let is_kind = (1..=KIND_MAX).contains(&kind.len()) && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let address: Xtext = if kind.eq_ignore_ascii_case("utf-8") {
        let escape = |c: char| if c.is_ascii() { c.to_string() } else { format!("\\x{{{:X}}}", u32::from(c)) };
        address.chars().map(escape).collect::<String>().parse().map_err(|_| wrong())?
    } else {
        address.parse().map_err(|_| wrong())?
    };
    if !is_kind || !is_printable(&address) {
        return Err(wrong());
    }
    Ok(OriginalRecipient { kind: kind.to_owned(), address })
}

fn is_printable(text: &Xtext) -> bool {
    !text.decoded().iter().any(u8::is_ascii_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Wishes;

    fn mail(text: &str) -> Result<MailFrom, Refusal> {
        let nothing = Wishes::default();
        let mut mail = MailFrom { reverse_path: None, size: None, eight_bit: false, auth: false, wishes: nothing };
        of_mail(text, &mut mail).map(|()| mail)
    }

    fn code<T>(result: Result<T, Refusal>) -> String {
        result.map_or_else(|refusal| format!("{} {}", refusal.code, refusal.enhanced), |_| "ok".into())
    }

    #[test]
    fn parameters_of_mail_become_wishes() {
        let text = "RET=hdrs ENVID=QQ+20314159 smtputf8 size=9 BODY=8bitmime AUTH=<> REQUIRETLS";
        let read = mail(text).expect("good");
        let wishes = Wishes {
            ret: Some(Return::Headers),
            envelope_id: Xtext::of("QQ 314159").ok(),
            utf8: true,
            tls: TlsWish::Required,
        };
        assert_eq!(read.wishes, wishes);
        assert_eq!((read.size, read.eight_bit, read.auth), (Some(9), true, true));
        assert!(mail("").expect("nothing").wishes.is_none());
    }

    #[test]
    fn parameters_of_mail_are_read_strictly() {
        let (id, long_id) = (format!("ENVID={}", "x".repeat(100)), format!("ENVID={}", "x".repeat(101)));
        for (text, reply) in [
            (&*id, "ok"),
            (&long_id, "501 5.5.4"),
            ("ENVID=", "501 5.5.4"),
            ("ENVID", "501 5.5.4"),
            ("ENVID=a b", "555 5.5.4"),
            ("ENVID=a=b", "501 5.5.4"),
            ("ENVID=a+0D+0AX:", "501 5.5.4"),
            ("ENVID=a+2b", "501 5.5.4"),
            ("RET=ALL", "501 5.5.4"),
            ("RET", "501 5.5.4"),
            ("RET=FULL RET=FULL", "501 5.5.4"),
            ("SIZE=1 size=1", "501 5.5.4"),
            ("SMTPUTF8=yes", "501 5.5.4"),
            ("SMTPUTF8 SMTPUTF8", "501 5.5.4"),
            ("REQUIRETLS=", "501 5.5.4"),
            ("AUTH=", "501 5.5.4"),
            ("BODY=BINARYMIME", "501 5.5.4"),
            ("NOTIFY=NEVER", "555 5.5.4"),
            ("HOLDFOR=1", "555 5.5.4"),
            ("=x", "555 5.5.4"),
        ] {
            assert_eq!(code(mail(text)), reply, "{text}");
        }
    }

    #[test]
    fn parameters_of_rcpt_become_wishes() {
        let read = of_rcpt("ORCPT=rfc822;Bob+2Bx@Example.org notify=success,FAILURE").expect("good");
        assert_eq!(read.notify.expect("said").to_string(), "SUCCESS,FAILURE");
        let original = read.original.expect("said");
        assert_eq!(
            (original.to_string().as_str(), original.address.decoded()),
            ("rfc822;Bob+2Bx@Example.org", b"Bob+x@Example.org".to_vec())
        );
        assert!(of_rcpt("").expect("nothing").is_none());
        let read = of_rcpt("ORCPT=utf-8;grüße@bücher.example").expect("good");
        assert_eq!(read.original.expect("said").to_string(), r"utf-8;gr\x{FC}\x{DF}e@b\x{FC}cher.example");
    }

    #[test]
    fn parameters_of_rcpt_are_read_strictly() {
        let of_length = |length: usize| format!("ORCPT=rfc822;{}", "x".repeat(length - "rfc822;".len()));
        let (longest, too_long) = (of_length(500), of_length(501));
        for (text, reply) in [
            (&*longest, "ok"),
            (&too_long, "501 5.5.4"),
            ("NOTIFY=", "501 5.5.4"),
            ("NOTIFY", "501 5.5.4"),
            ("NOTIFY=NEVER,FAILURE", "501 5.5.4"),
            ("NOTIFY=SOMETIMES", "501 5.5.4"),
            ("NOTIFY=DELAY NOTIFY=DELAY", "501 5.5.4"),
            ("ORCPT=rfc822;a@b ORCPT=rfc822;a@b", "501 5.5.4"),
            ("ORCPT=a@b", "501 5.5.4"),
            ("ORCPT=;a@b", "501 5.5.4"),
            ("ORCPT=rfc822;", "501 5.5.4"),
            ("ORCPT=rfc 822;a", "501 5.5.4"),
            ("ORCPT=rfc(822);a", "501 5.5.4"),
            ("ORCPT=rfc822;a+0Ab", "501 5.5.4"),
            ("ORCPT=rfc822;ü@b", "501 5.5.4"),
            ("SIZE=1", "555 5.5.4"),
            ("BY=1;R", "555 5.5.4"),
        ] {
            assert_eq!(code(of_rcpt(text)), reply, "{text}");
        }
    }
}
