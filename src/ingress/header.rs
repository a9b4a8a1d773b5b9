//! What is looked at in the header of any message, whichever way it comes in. Pure.

use super::Refusal;
use crate::message::header::Headers;
use crate::message::wishes::TlsWish;

/// `Received:` lines above which a message is taken for one that goes in circles (RFC 5321 §6.3: at least 100).
pub const MAX_HOPS: usize = 100;

/// What a header that is taken says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The field `TLS-Required: No` (RFC 8689 §5).
    pub tls: TlsWish,
    /// Whether it is internationalised (RFC 6532 §3): UTF-8 beyond ASCII.
    pub utf8: bool,
}

/// Looks at the header of `message`.
///
/// # Errors
/// `552 5.3.4` above `max_bytes` octets, `554 5.4.6` where the message goes in circles.
pub fn look(message: &[u8], max_bytes: u64) -> Result<Told, Refusal> {
    let headers = Headers::of(message);
    if headers.size() as u64 > max_bytes {
        return Err(Refusal::new(552, 3, 4, format!("header is larger than the limit of {max_bytes} octets")));
    }
    if headers.count("Received") > MAX_HOPS {
        return Err(Refusal::new(554, 4, 6, format!("more than {MAX_HOPS} Received lines: mail loop")));
    }
    let may_do_without = headers.first("TLS-Required").is_some_and(|value| value.eq_ignore_ascii_case("no"));
    let octets = &message[..headers.size()];
    Ok(Told {
        tls: if may_do_without { TlsWish::Dispensable } else { TlsWish::None },
        utf8: !octets.is_ascii() && std::str::from_utf8(octets).is_ok(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_what_of_tls_and_of_utf_8() {
        for (header, tls, utf8) in [
            (&b"Subject: x\r\n"[..], TlsWish::None, false),
            (b"tls-required:  no\r\n", TlsWish::Dispensable, false),
            (b"TLS-Required: yes\r\n", TlsWish::None, false),
            ("Subject: ä\r\n".as_bytes(), TlsWish::None, true),
            (b"Subject: \xe4\r\n", TlsWish::None, false),
        ] {
            let message = [header, "\r\nTLS-Required: No\r\nä\r\n".as_bytes()].concat();
            assert_eq!(look(&message, 100), Ok(Told { tls, utf8 }), "{}", String::from_utf8_lossy(header));
        }
    }

    #[test]
    fn one_that_is_too_large_or_goes_in_circles_is_refused() {
        let refused = |message: &str, most| look(message.as_bytes(), most).map_err(|refusal| refusal.code);
        assert_eq!(refused("A: b\r\n\r\n", 6).map(|told| told.utf8), Ok(false));
        assert_eq!(refused("A: b\r\n\r\n", 5), Err(552));
        assert!(refused(&"Received: x\r\n".repeat(MAX_HOPS), 9_999).is_ok());
        assert_eq!(refused(&"Received: x\r\n".repeat(MAX_HOPS + 1), 9_999), Err(554));
    }
}
