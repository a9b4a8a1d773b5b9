//! Until when a certificate holds (RFC 5280 §4.1.2.5), read from its DER.
//!
//! The library that checks certificates does not tell, and this one field is worth no further dependency: it stands at
//! a fixed place behind fields that are passed over by their length.

use crate::clock::Wall;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The end of its validity; `None` where this is no certificate.
pub fn not_after(der: &[u8]) -> Option<Wall> {
    let (certificate, _) = take(der, SEQUENCE)?;
    let (mut fields, _) = take(certificate, SEQUENCE)?;
    if fields.first() == Some(&VERSION) {
        fields = take(fields, VERSION)?.1;
    }
    fields = take(fields, INTEGER)?.1;
    // The algorithm of the signature, the issuer.
    fields = take(fields, SEQUENCE)?.1;
    fields = take(fields, SEQUENCE)?.1;
    let (validity, _) = take(fields, SEQUENCE)?;
    let not_before = *validity.first()?;
    let (_, rest) = take(validity, not_before)?;
    match *rest.first()? {
        UTC_TIME => {
            let text = std::str::from_utf8(take(rest, UTC_TIME)?.0).ok()?;
            // RFC 5280 §4.1.2.5.1: two digits of a year mean 1950 to 2049.
            let century = if text.get(..2)?.parse::<u8>().ok()? < 50 { "20" } else { "19" };
            moment(&format!("{century}{text}"))
        }
        GENERALIZED_TIME => moment(std::str::from_utf8(take(rest, GENERALIZED_TIME)?.0).ok()?),
        _ => None,
    }
}

/// `20261123022642Z`
fn moment(text: &str) -> Option<Wall> {
    let at = jiff::civil::DateTime::strptime("%Y%m%d%H%M%SZ", text).ok()?;
    let at = at.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Wall::from_millis(at.timestamp().as_millisecond()))
}

/// Content and rest of a value of this kind.
fn take(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.strip_prefix(&[tag])?.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // Up to three octets of length: 16 MiB, more than any certificate has.
        0x81..=0x83 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn certificate(end: (i32, u8, u8)) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(vec!["relay.example.net".to_owned()]).expect("valid");
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(end.0, end.1, end.2);
        let key = rcgen::KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("signed").der().to_vec()
    }

    #[test]
    fn the_end_is_read_in_both_forms_of_time() {
        for (end, millis) in [
            ((2026, 11, 23), 1_795_392_000_000),
            ((2049, 12, 31), 2_524_521_600_000),
            ((2050, 1, 1), 2_524_608_000_000),
        ] {
            assert_eq!(not_after(&certificate(end)), Some(Wall::from_millis(millis)), "{end:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_no_certificate_has_no_end(at in 0..400usize, octet in any::<u8>(), cut in 0..400usize) {
            let mut der = certificate((2030, 1, 1));
            let at = at % der.len();
            der[at] = octet;
            let _ = not_after(&der);
            let cut = cut % der.len();
            prop_assert!(cut > 200 || not_after(&der[..cut]).is_none());
        }
    }
}
