//! What a mail server in front says of its client: XCLIENT and XFORWARD, as Postfix has them.
//!
//! XCLIENT makes us take that client for ours, with all that follows from it; XFORWARD only tells, for the log. Both are
//! `NAME=value` words, the values in xtext (RFC 3461 §4), `[UNAVAILABLE]` and `[TEMPUNAVAIL]` where something is not known. Who
//! may say it is not decided here.

use std::net::IpAddr;

use super::command::client_name;
use crate::ingress::Refusal;
use crate::message::xtext::Xtext;

/// Attributes of XCLIENT that we know, as EHLO lists them; LOGIN besides, where somebody can log in.
pub(super) const XCLIENT: &str = "XCLIENT NAME ADDR PORT PROTO HELO DESTADDR DESTPORT";
/// Those of XFORWARD.
pub(super) const XFORWARD: &str = "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE";

/// What was said; each `None` where it was not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// `ADDR`; inside it `None` is one that is not known.
    pub address: Option<Option<IpAddr>>,
    /// `PORT`; 0 is one that is not known.
    pub port: Option<u16>,
    /// `HELO`, fit for a trace field.
    pub helo: Option<String>,
    /// `PROTO`: whether it was ESMTP.
    pub esmtp: Option<bool>,
    /// `LOGIN`; inside it `None` is nobody.
    pub login: Option<Option<String>>,
    /// `IDENT`, for the log: printable.
    pub ident: Option<String>,
}

/// Reads the words behind XCLIENT (`forward` false) or XFORWARD.
pub(super) fn read(rest: &[u8], forward: bool) -> Result<Said, Refusal> {
    let bad = |what: &str| Refusal::new(501, 5, 4, format!("bad {what} attribute"));
    let text = std::str::from_utf8(rest).ok().filter(|text| text.is_ascii()).ok_or_else(|| bad("an"))?;
    let mut said = Said::default();
    let mut words = text.split_ascii_whitespace().peekable();
    if words.peek().is_none() {
        return Err(Refusal::new(501, 5, 4, "attributes must follow, such as ADDR=192.0.2.7"));
    }
    for word in words {
        let (name, value) = word.split_once('=').ok_or_else(|| bad("an"))?;
        let known = !value.eq_ignore_ascii_case("[UNAVAILABLE]") && !value.eq_ignore_ascii_case("[TEMPUNAVAIL]");
        let value = decoded(value).ok_or_else(|| bad("an"))?;
        match (name.to_ascii_uppercase().as_str(), forward) {
            ("ADDR", _) => {
                let address = known.then(|| address(&value).ok_or_else(|| bad("ADDR"))).transpose()?;
                said.address = Some(address);
            }
            ("PORT", _) => said.port = Some(if known { value.parse().map_err(|_| bad("PORT"))? } else { 0 }),
            ("HELO", false) if known => said.helo = Some(client_name(value.as_bytes()).map_err(|_| bad("HELO"))?),
            ("HELO", true) if known => said.helo = Some(value),
            ("PROTO", false) if known => match value.to_ascii_uppercase().as_str() {
                "SMTP" => said.esmtp = Some(false),
                "ESMTP" => said.esmtp = Some(true),
                _ => return Err(bad("PROTO")),
            },
            ("LOGIN", false) => said.login = Some(Some(value).filter(|_| known)),
            ("IDENT", true) => said.ident = Some(value).filter(|_| known),
            ("NAME" | "HELO" | "PROTO", _) | ("DESTADDR" | "DESTPORT", false) | ("SOURCE", true) => {}
            _ => return Err(bad("an")),
        }
    }
    Ok(said)
}

/// Xtext as Postfix writes it, which leaves `=` as it is; printable afterwards.
fn decoded(value: &str) -> Option<String> {
    if value.is_empty() {
        return Some(String::new());
    }
    let octets = value.replace('=', "+3D").parse::<Xtext>().ok()?.decoded();
    String::from_utf8(octets).ok().filter(|text| !text.chars().any(char::is_control))
}

/// `192.0.2.7`, `IPV6:2001:db8::7`, and the latter without its prefix.
fn address(text: &str) -> Option<IpAddr> {
    let bare = match text.get(..5) {
        Some(prefix) if prefix.eq_ignore_ascii_case("IPV6:") => &text[5..],
        _ => text,
    };
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn attributes_are_read_and_what_is_none_is_refused() {
        let said =
            read(b"NAME=spike.example addr=168.100.189.2 PORT=4711 PROTO=SMTP HELO=[1.2.3.4] LOGIN=a+40b", false);
        let said = said.expect("good");
        assert_eq!(said.address, Some(Some("168.100.189.2".parse().expect("an address"))));
        assert_eq!((said.port, said.esmtp, said.helo.as_deref()), (Some(4711), Some(false), Some("[1.2.3.4]")));
        assert_eq!(said.login, Some(Some("a@b".into())));
        let said =
            read(b"NAME=[UNAVAILABLE] ADDR=[TEMPUNAVAIL] PORT=[unavailable] LOGIN=[UNAVAILABLE]", false).expect("good");
        assert_eq!((said.address, said.port, said.login), (Some(None), Some(0), Some(None)));
        let six = read(b"ADDR=IPV6:2001:db8::7 DESTADDR=192.0.2.1 DESTPORT=25", false).expect("good");
        assert_eq!(six.address, Some(Some("2001:db8::7".parse().expect("an address"))));
        let forwarded = read(b"NAME=x ADDR=192.0.2.7 HELO=y+20z IDENT=4bc SOURCE=REMOTE", true).expect("good");
        assert_eq!((forwarded.ident.as_deref(), forwarded.helo.as_deref()), (Some("4bc"), Some("y z")));
        for (text, forward) in [
            ("", false),
            ("ADDR", false),
            ("ADDR=", false),
            ("ADDR=1.2.3", false),
            ("PORT=99999", false),
            ("PROTO=LMTP", false),
            ("HELO=a+20b", false),
            ("NAME=a+0Db", false),
            ("NAME=a+0", false),
            ("WHAT=x", false),
            ("IDENT=x", false),
            ("LOGIN=x", true),
            ("NAME=\u{e4}", true),
        ] {
            assert_eq!(read(text.as_bytes(), forward).map_err(|refusal| refusal.code), Err(501), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_words_are_read_or_refused(text in "[A-Z=+0-9a-f: \\[\\].]{0,80}", forward in any::<bool>()) {
            let _ = read(text.as_bytes(), forward);
            let _ = read(format!("ADDR={text}").as_bytes(), forward);
        }
    }
}
