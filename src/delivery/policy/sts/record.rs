//! The TXT record at `_mta-sts.DOMAIN` (RFC 8461 §3.1): `v=STSv1; id=20260101T000000;`.

/// Octets of an id at most.
const ID_MAX: usize = 32;
/// Octets of the name of an extension at most.
const NAME_MAX: usize = 32;
const VERSION: &str = "v=STSv1";

/// The id that the TXT records of `_mta-sts.DOMAIN` give, each with its strings joined. Others than ours do not count; of
/// ours there must be one, and it must be whole: else the domain has no policy.
pub fn id_of<S: AsRef<str>>(records: &[S]) -> Option<&str> {
    let mut ours = records.iter().filter_map(|record| after_version(record.as_ref()));
    match (ours.next(), ours.next()) {
        (Some(fields), None) => id_in(fields),
        _ => None,
    }
}

/// What follows the version and its semicolon.
fn after_version(record: &str) -> Option<&str> {
    record.strip_prefix(VERSION)?.trim_start_matches([' ', '\t']).strip_prefix(';')
}

fn id_in(fields: &str) -> Option<&str> {
    // One semicolon may end the record, not more.
    let fields = fields.trim_end_matches([' ', '\t']);
    let fields = fields.strip_suffix(';').unwrap_or(fields);
    let mut id = None;
    for field in fields.split(';') {
        let (name, value) = field.trim_matches([' ', '\t']).split_once('=')?;
        match name {
            "id" if is_id(value) => id = id.or(Some(value)),
            "id" => return None,
            _ if is_name(name) && is_value(value) => {}
            _ => return None,
        }
    }
    id
}

fn is_id(value: &str) -> bool {
    (1..=ID_MAX).contains(&value.len()) && value.bytes().all(|octet| octet.is_ascii_alphanumeric())
}

fn is_name(name: &str) -> bool {
    name.len() <= NAME_MAX
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"_-.".contains(&octet))
}

fn is_value(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|octet| octet.is_ascii_graphic() && octet != b';' && octet != b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_an_id_or_is_none() {
        let long = format!("v=STSv1; id={}", "a".repeat(33));
        for (record, id) in [
            ("v=STSv1; id=20160831085700Z;", Some("20160831085700Z")),
            ("v=STSv1;id=1", Some("1")),
            ("v=STSv1 ;\t id=1 ; ext=a:b ;", Some("1")),
            ("v=STSv1; x-1._y=v; id=2;", Some("2")),
            ("v=STSv1; id=1; id=2;", Some("1")),
            ("v=STSv1;", None),
            ("v=STSv1", None),
            ("v=STSv1; id=;", None),
            ("v=STSv1; id=a-b;", None),
            ("v=STSv1; ID=1;", None),
            ("v=STSv1; id = 1;", None),
            ("v=STSv1; id=1; junk;", None),
            ("v=STSv1; id=1;;", None),
            ("v=STSv1; id=1; e=a=b;", None),
            ("v=STSv1; id=1; e=;", None),
            ("v=STSv1; id=1; e=\u{fc};", None),
            ("v=STSv2; id=1;", None),
            ("v=stsv1; id=1;", None),
            (" v=STSv1; id=1;", None),
            ("v=STSv11; id=1;", None),
            ("", None),
            (&long, None),
        ] {
            assert_eq!(id_of(&[record]), id, "{record}");
        }
    }

    #[test]
    fn other_records_do_not_count_and_two_of_ours_are_none() {
        assert_eq!(id_of(&["hello", "v=STSv1; id=1;", "v=spf1 -all"]), Some("1"));
        assert_eq!(id_of(&["v=STSv1; id=1;", "v=STSv1; id=1;"]), None);
        assert_eq!(id_of(&["v=STSv1; id=1;", "v=STSv1;"]), None, "the second is ours as well");
        assert_eq!(id_of::<&str>(&[]), None);
    }
}
