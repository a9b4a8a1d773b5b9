//! Values of report fields: `type; value`, addresses in their encodings, enhanced codes.

/// The first `class.subject.detail` in a text, none that is part of a longer number.
pub(super) fn enhanced(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let end = at + bytes[at..].iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
        let token = text[at..end].trim_end_matches('.');
        let mut numbers = token.split('.');
        let class = numbers.next().is_some_and(|class| matches!(class, "2" | "4" | "5"));
        let sound = class && token.split('.').count() == 3 && numbers.all(|n| (1..=3).contains(&n.len()));
        let glued = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || matches!(bytes[at - 1], b'-' | b'_' | b'='));
        let glued_after = bytes.get(end).is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'_'));
        if sound && !glued && !glued_after {
            return Some(token);
        }
        at = end;
    }
    None
}

/// Splits `type; value` (RFC 3464 §2.1.2); the type in lower case, empty where there is none.
pub(super) fn untyped(text: &str) -> (String, &str) {
    match text.split_once(';') {
        Some((kind, rest))
            if kind.trim().len() <= 40
                && !kind.trim().is_empty()
                && kind.trim().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') =>
        {
            (kind.trim().to_ascii_lowercase(), rest.trim())
        }
        _ => (String::new(), text.trim()),
    }
}

/// An address as it stands in a typed field, type, brackets and comment taken off.
pub(super) fn recipient(text: &str) -> String {
    let (kind, mut address) = untyped(text);
    if kind != "x400" {
        if let Some((before, _)) = address.split_once(" (") {
            address = before.trim();
        }
        if let (Some(open), Some(close)) = (address.rfind('<'), address.rfind('>'))
            && open < close
        {
            address = &address[open + 1..close];
        }
    }
    let address = address.trim().trim_matches(['<', '>']).trim();
    if kind == "utf-8" { from_utf8_xtext(address) } else { address.to_owned() }
}

/// `Original-Recipient`: as [`recipient`], and xtext decoded.
pub(super) fn original_recipient(text: &str) -> String {
    from_xtext(&recipient(text))
}

/// xtext (RFC 3461 §4) decoded. Many senders write the address plainly, `+` included: then it stays as it is.
pub(super) fn from_xtext(text: &str) -> String {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'+' {
            octets.push(byte);
            continue;
        }
        let digits = rest.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        let upper = digits.filter(|pair| pair.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b)));
        match upper.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            // Only what may not stand there by itself is encoded.
            Some(octet @ (b'+' | b'=' | 128..)) => octets.push(octet),
            Some(b' ') if text.contains('"') => octets.push(b' '),
            _ => return text.to_owned(),
        }
        rest = &rest[2..];
    }
    String::from_utf8(octets).unwrap_or_else(|_| text.to_owned())
}

/// utf-8-addr-xtext and utf-8-addr-unitext (RFC 6533 §3) decoded: `\x{EB}`.
fn from_utf8_xtext(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("\\x{") {
        let digits = rest[at + 3..].split_once('}');
        let letter = digits.filter(|(hex, _)| hex.len() <= 6).and_then(|(hex, _)| u32::from_str_radix(hex, 16).ok());
        let (Some((_, after)), Some(letter)) = (digits, letter.and_then(char::from_u32)) else { break };
        out.push_str(&rest[..at]);
        out.push(letter);
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_addresses_are_no_xtext() {
        for plain in ["news+2024@x", "a+b@x", "a+@x", "bounces+88@x", "+"] {
            assert_eq!(from_xtext(plain), plain);
        }
        assert_eq!(recipient("utf-8; zo\\x{EB}@x"), "zoë@x");
        assert_eq!(recipient("utf-8; \\x{110000}@x"), "\\x{110000}@x");
    }

    #[test]
    fn enhanced_codes_are_whole_numbers() {
        for (text, found) in [
            ("(#5.1.1)", Some("5.1.1")),
            ("550 5.7.509 x", Some("5.7.509")),
            ("5.1.2600.1", None),
            ("v5.1.1", None),
            ("192.0.2.4 5.2.2.", Some("5.2.2")),
            ("3.1.1", None),
            ("5.1", None),
        ] {
            assert_eq!(enhanced(text), found, "{text}");
        }
    }
}
