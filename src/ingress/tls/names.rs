//! Which certificate is shown to a client that asks for a name (SNI, RFC 6066 §3).
//!
//! The name itself before a wildcard; among equals the certificate that is named first. A wildcard stands for one label
//! (RFC 9525 §6.3), and only for a whole one. Who asks for nothing that is known gets the first.

/// The number of the certificate to show: `asked` for, of these names of each.
pub fn pick<'a>(asked: Option<&str>, certificates: impl Iterator<Item = &'a [String]>) -> usize {
    let Some(asked) = asked else { return 0 };
    let asked = asked.trim_end_matches('.');
    let mut by_wildcard = None;
    for (n, names) in certificates.enumerate() {
        if names.iter().any(|name| name.eq_ignore_ascii_case(asked)) {
            return n;
        }
        if by_wildcard.is_none() && names.iter().any(|name| covers(name, asked)) {
            by_wildcard = Some(n);
        }
    }
    by_wildcard.unwrap_or(0)
}

fn covers(pattern: &str, name: &str) -> bool {
    let (Some(parent), Some((label, rest))) = (pattern.strip_prefix("*."), name.split_once('.')) else { return false };
    !label.is_empty() && rest.eq_ignore_ascii_case(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_itself_goes_before_a_wildcard_and_the_first_certificate_is_for_everybody_else() {
        let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let all = [
            of(&["relay.example.net"]),
            of(&["*.example.org", "example.org"]),
            of(&["mail.example.org", "*.example.com"]),
        ];
        for (asked, shown) in [
            (None, 0),
            (Some("relay.example.net"), 0),
            (Some("RELAY.example.NET."), 0),
            (Some("mail.example.org"), 2),
            (Some("smtp.example.org"), 1),
            (Some("example.org"), 1),
            (Some("a.b.example.org"), 0),
            (Some("x.example.com"), 2),
            (Some("example.com"), 0),
            (Some(".example.com"), 0),
            (Some("nowhere.test"), 0),
        ] {
            assert_eq!(pick(asked, all.iter().map(Vec::as_slice)), shown, "{asked:?}");
        }
    }
}
