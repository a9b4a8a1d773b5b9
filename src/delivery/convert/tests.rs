//! Messages of all kinds, before and after.

use mail_parser::{MessageParser, PartType};
use proptest::prelude::*;

use super::*;

fn convert(message: &str) -> Result<String, CannotConvert> {
    seven_bit(message.replace('\n', "\r\n").as_bytes(), Convert::Unsigned, None)
        .map(|octets| String::from_utf8(octets).expect("ASCII").replace("\r\n", "\n"))
}

#[test]
fn text_becomes_quoted_printable_and_says_so() {
    let header = "From: a@example.org\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n";
    let cte = "Content-Transfer-Encoding:";
    let said = convert(&format!("{header}{cte} 8bit\n\ngrüße = x\n"));
    assert_eq!(said, Ok(format!("{header}{cte} quoted-printable\n\ngr=C3=BC=C3=9Fe =3D x\n")));
    let unsaid = convert(&format!("{header}\ngrüße\n"));
    assert_eq!(unsaid, Ok(format!("{header}{cte} quoted-printable\n\ngr=C3=BC=C3=9Fe\n")));
    let needless = convert(&format!("{header}{cte} 8BIT\n\nplain\n"));
    assert_eq!(needless, Ok(format!("{header}{cte} 7bit\n\nplain\n")));
}

#[test]
fn text_without_mime_gets_a_charset_nobody_knows() {
    assert_eq!(
        convert("Subject: x\n\ngrüße\n"),
        Ok("Subject: x\nContent-Transfer-Encoding: quoted-printable\nMIME-Version: 1.0\n\
            Content-Type: text/plain; charset=unknown-8bit\n\ngr=C3=BC=C3=9Fe\n"
            .to_owned())
    );
}

#[test]
fn a_multipart_is_walked_and_what_is_ascii_stays_as_it_is() {
    let message = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"out er\"\nContent-Transfer-Encoding: 8bit\n\n\
                   pröamble\n--out er\nContent-Type: multipart/alternative;\n boundary=outer\n\n--outer\n\n= untouched\n--outer\n\
                   Content-Type: text/html\nContent-Transfer-Encoding: 8bit\n\n<p>ü\n--outer--\n\n--out er  \n\
                   Content-Type: application/x-y\n\n\u{fc}\n--out er\nContent-Type: message/rfc822\n\nSubject: in\n\
                   Content-Type: text/plain\n\nä\n--out er--\nepilögue\n";
    let expected = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"out er\"\nContent-Transfer-Encoding: 7bit\n\n\
                    pr??amble\n--out er\nContent-Type: multipart/alternative;\n boundary=outer\n\n--outer\n\n= untouched\n--outer\n\
                    Content-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n<p>=C3=BC\n--outer--\n\n--out er  \n\
                    Content-Type: application/x-y\nContent-Transfer-Encoding: base64\n\nw7w=\n--out er\n\
                    Content-Type: message/rfc822\n\nSubject: in\nContent-Type: text/plain\n\
                    Content-Transfer-Encoding: quoted-printable\n\n=C3=A4\n--out er--\nepil??gue\n";
    assert_eq!(convert(message).as_deref(), Ok(expected));
}

#[test]
fn what_must_not_be_touched_is_refused() {
    let sealed = |kind: &str| format!("MIME-Version: 1.0\nContent-Type: {kind}; boundary=b\n\n--b\n\nä\n--b--\n");
    let deep = "Content-Type: multipart/mixed; boundary=b\n\n--b\n".repeat(30) + "\nä\n--b--\n";
    for (message, why) in [
        (sealed("multipart/signed"), CannotConvert::Sealed),
        (sealed("Multipart/Encrypted"), CannotConvert::Sealed),
        ("MIME-Version: 1.0\nContent-Type: message/partial\n\nä\n".to_owned(), CannotConvert::Part),
        ("From: grüße <a@example.org>\n\nx\n".to_owned(), CannotConvert::Header),
        ("DKIM-Signature: v=1; d=example.org\n\nä\n".to_owned(), CannotConvert::Signed),
        ("Content-Type: message/rfc822\n\n".repeat(30) + "\nä\n", CannotConvert::Part),
    ] {
        assert_eq!(convert(&message), Err(why), "{message}");
    }
    // The boundary of all is found by the outermost: that is not deep.
    assert!(convert(&deep).is_ok_and(|out| out.is_ascii()));
    // Signed in a part: the rest of the message could be converted, but not that.
    let inner = sealed("multipart/signed").replace("MIME-Version: 1.0\n", "").replace("=b", "=s").replace("--b", "--s");
    let within = format!("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n{inner}\n--b--\n");
    assert_eq!(convert(&within), Err(CannotConvert::Sealed));
    let signed_ascii =
        format!("Content-Type: multipart/mixed; boundary=b\n\n--b\n{}\n--b\n\nä\n--b--\n", inner.replace('ä', "a"));
    assert!(convert(&signed_ascii).is_ok_and(|out| out.contains(&inner.replace('ä', "a"))), "octet by octet");
}

#[test]
fn labels_inside_what_is_signed_stay_for_they_are_signed_too() {
    let signed = |label: &str| {
        format!(
            "MIME-Version: 1.0\nContent-Type: multipart/signed; boundary=s\nContent-Transfer-Encoding: {label}\n\n--s\n\
             Content-Type: text/plain\nContent-Transfer-Encoding: 8bit\n\nplain\n--s\n\
             Content-Type: application/pgp-signature\n\nabc\n--s--\n"
        )
    };
    assert_eq!(convert(&signed("8bit")), Ok(signed("7bit")), "only the header above what is signed");
    let within = |label: &str| {
        let part = signed(label).replace("MIME-Version: 1.0\n", "");
        let kind = "Content-Type: multipart/mixed; boundary=b";
        format!("{kind}\nContent-Transfer-Encoding: {label}\n\n--b\n{part}\n--b--\n")
    };
    assert_eq!(convert(&within("binary")), Ok(within("7bit")));
}

#[test]
fn a_subject_beyond_ascii_becomes_encoded_words() {
    assert_eq!(convert("Subject: grüße\n\nx\n"), Ok("Subject: =?utf-8?B?Z3LDvMOfZQ==?=\n\nx\n".to_owned()));
}

#[derive(Debug)]
struct Ours;

impl Resign for Ours {
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        assert!(message.is_ascii());
        b"DKIM-Signature: new; d=ours.example\r\n".to_vec()
    }
}

#[test]
fn our_own_signature_is_made_again_and_a_foreign_one_stops_it_or_stays() {
    let stored = "Received: by us\r\nSubject: x\r\n\r\nä\r\n";
    let ours = format!("DKIM-Signature: old;\r\n d=ours.example\r\nDKIM-signature: old too\r\n{stored}");
    let theirs = "DKIM-Signature: theirs; d=ours.example\r\n";
    let both = ours.replace("Subject", &format!("{theirs}Subject"));
    let text = |message: &str, policy| {
        seven_bit(message.as_bytes(), policy, Some(&Ours)).map(|octets| String::from_utf8(octets).expect("ASCII"))
    };
    let signed = text(&ours, Convert::Unsigned).expect("converts");
    let start = "DKIM-Signature: new; d=ours.example\r\nReceived: by us\r\nSubject: x\r\n";
    assert!(signed.starts_with(start) && !signed.contains("old"), "{signed}");
    assert_eq!(text(&both, Convert::Unsigned), Err(CannotConvert::Signed), "below our trace field it is not ours");
    let always = text(&both, Convert::Always).expect("converts");
    let start = format!("DKIM-Signature: new; d=ours.example\r\nReceived: by us\r\n{theirs}Subject: x\r\n");
    assert!(always.starts_with(&start) && !always.contains("old"), "{always}");
    assert_eq!(text(stored, Convert::Never), Err(CannotConvert::Forbidden));
    assert!(text(stored, Convert::Unsigned).expect("converts").starts_with("Received"), "nothing was signed");
    for unlike in [format!("{theirs}Subject: x\r\n\r\nä\r\n"), ours.replacen("DKIM", "X: y\r\nDKIM", 1)] {
        assert_eq!(text(&unlike, Convert::Unsigned), Err(CannotConvert::Signed), "not as we store mail: {unlike}");
    }
}

#[test]
fn without_a_key_our_signature_goes_and_the_mail_is_converted_all_the_same() {
    let message = "DKIM-Signature: old\r\nReceived: by us\r\nSubject: x\r\n\r\nä\r\n".as_bytes();
    let converted = seven_bit(message, Convert::Unsigned, None).expect("converts");
    assert!(converted.is_ascii() && converted.starts_with(b"Received: by us\r\nSubject: x\r\n"));
}

/// What a reader finds in the parts.
fn contents(message: &[u8]) -> Vec<Vec<u8>> {
    let mail = MessageParser::default().parse(message).expect("a message");
    let of = |part: &mail_parser::MessagePart<'_>| match &part.body {
        PartType::Text(text) | PartType::Html(text) => Some(text.as_bytes().to_vec()),
        PartType::Binary(octets) | PartType::InlineBinary(octets) => Some(octets.to_vec()),
        _ => None,
    };
    mail.parts.iter().filter_map(of).collect()
}

#[test]
fn a_reader_finds_the_same_in_all_parts() {
    let message = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
                   Content-Type: text/plain; charset=utf-8\r\n\r\ngrüße, Jürgen \r\n.\r\nFrom ä\r\n--b\r\n\
                   Content-Type: image/png\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\u{89}PNG\u{fe}\r\n--b--\r\n";
    let converted = seven_bit(message.as_bytes(), Convert::Unsigned, None).expect("converts");
    assert!(converted.is_ascii());
    assert_eq!(contents(&converted), contents(message.as_bytes()));
}

proptest! {
    #[test]
    fn whatever_comes_out_is_ascii_and_nothing_panics(
        message in "(Content-Type: (text/plain|multipart/mixed; boundary=b|message/rfc822|x)\r\n|Content-Transfer-Encoding: (8bit|base64|quoted-printable)\r\n|MIME-Version: 1.0\r\n|--b(--)?\r\n|\r\n|ä|a b=|Subject: ü){0,30}",
    ) {
        if let Ok(converted) = seven_bit(message.as_bytes(), Convert::Unsigned, None) {
            prop_assert!(converted.is_ascii());
        }
    }

    #[test]
    fn octets_of_any_kind_do_not_panic(message in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(converted) = seven_bit(&message, Convert::Always, None) {
            prop_assert!(converted.is_ascii());
        }
    }
}
