//! What orders may change, compared as it is in force.
//!
//! Bindings, pools and tenants are compared by what `Debug` shows of them, field by field: whatever an order comes to set,
//! also in a field that is added later, shows up under its name.

use std::fmt::Debug;

use super::Changed;
use crate::config::{Config, Member, Pool, key_path};

/// The differences of bindings, pools and tenants as they are in force.
pub(super) fn between(before: &Config, after: &Config) -> Vec<Changed> {
    let mut out = Vec::new();
    let [was, is] = [before, after].map(|config| named(&config.bindings, |binding| binding.name.as_str()));
    compare("binding", &was, &is, &mut out);
    let [was, is] = [before, after].map(|config| {
        let pools = config.pools.iter().map(|pool| (pool.name.to_string(), tiers(pool)));
        pools.collect::<Vec<_>>()
    });
    compare("pool", &was, &is, &mut out);
    let [was, is] = [before, after].map(|config| named(&config.tenants, |tenant| tenant.name.as_str()));
    compare("tenant", &was, &is, &mut out);
    out
}

type Fields = Vec<(String, String)>;

fn named<T: Debug>(all: &[T], name: impl Fn(&T) -> &str) -> Vec<(String, Fields)> {
    all.iter().map(|item| (name(item).to_owned(), fields(&format!("{item:?}")))).collect()
}

/// A pool's tiers as the file has them.
fn tiers(pool: &Pool) -> Fields {
    let member = |member: &Member| match member.weight {
        1 => format!("{:?}", member.binding.as_str()),
        weight => format!("{{ binding = {:?}, weight = {weight} }}", member.binding.as_str()),
    };
    let tier = |tier: &Vec<Member>| format!("[{}]", tier.iter().map(member).collect::<Vec<_>>().join(", "));
    let backup: Vec<String> = pool.tiers.iter().skip(1).map(tier).collect();
    let active = pool.tiers.first().map(tier).unwrap_or_default();
    vec![("active".into(), active), ("backup".into(), format!("[{}]", backup.join(", ")))]
}

fn compare(section: &str, was: &[(String, Fields)], is: &[(String, Fields)], out: &mut Vec<Changed>) {
    let get =
        |all: &[(String, Fields)], name: &str| all.iter().find(|(known, _)| known == name).map(|(_, f)| f.clone());
    for (name, _) in was {
        if get(is, name).is_none() {
            out.push(Changed { key: key_path([section, name]), from: Some("in force".into()), to: None });
        }
    }
    for (name, fields) in is {
        let Some(before) = get(was, name) else {
            out.push(Changed { key: key_path([section, name]), from: None, to: Some("in force".into()) });
            continue;
        };
        for (field, value) in fields {
            let old = before.iter().find(|(known, _)| known == field).map(|(_, value)| value);
            if old.is_some_and(|old| old != value) {
                let shown = |text: &String| (text != "None").then(|| text.clone());
                let key = format!("{}.{field}", key_path([section, name]));
                out.push(Changed { key, from: old.and_then(shown), to: shown(value) });
            }
        }
    }
}

/// The fields of what `Debug` has written of a struct, with their values; those of limits as if they stood in it directly, as
/// they do in the file.
fn fields(text: &str) -> Fields {
    let Some(inner) = text.split_once(" { ").and_then(|(_, rest)| rest.strip_suffix(" }")) else { return Vec::new() };
    let mut out = Vec::new();
    for part in parts(inner) {
        let Some((name, value)) = part.split_once(": ") else { continue };
        match name {
            "name" => {}
            "limits" => out.extend(fields(value)),
            _ => out.push((file_key(name).to_owned(), plain(value))),
        }
    }
    out
}

/// What the file calls a field, where that is something else.
fn file_key(field: &str) -> &str {
    match field {
        "matches" => "match",
        "is_held" | "held" => "hold",
        other => other,
    }
}

/// Cut at commas that are inside of nothing.
fn parts(text: &str) -> Vec<&str> {
    let (mut out, mut depth, mut from, mut is_quoted, mut is_escaped) = (Vec::new(), 0usize, 0, false, false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                out.push(text[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    out.push(text[from..].trim());
    out
}

/// Without the names of the types around it: `Some(StreamName("x"))` is `"x"`.
fn plain(value: &str) -> String {
    let mut value = value;
    while let Some((kind, rest)) = value.split_once('(')
        && kind.bytes().all(|b| b.is_ascii_alphanumeric())
        && let Some(inner) = rest.strip_suffix(')')
        && parts(inner).len() == 1
    {
        value = inner;
    }
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    // Those of the items of lists and maps.
    while let Some(at) = rest.find("Name(\"") {
        let head = rest[..at].trim_end_matches(|c: char| c.is_ascii_alphanumeric());
        out.push_str(head);
        let body = &rest[at + "Name(".len()..];
        let end = body[1..].find("\")").map_or(body.len(), |end| end + 2);
        out.push_str(&body[..end]);
        rest = body.get(end + 1..).unwrap_or("");
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_of_the_file() {
        let text = "Binding { name: BindingName(\"m1\"), limits: Limits { daily_cap: Some(16000), rate_limit: None }, \
                    pools: {StreamName(\"a, b\"): PoolName(\"main\")}, suspend_delivery: false }";
        let found: Vec<String> = fields(text).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            found,
            ["daily_cap=16000", "rate_limit=None", "pools={\"a, b\": \"main\"}", "suspend_delivery=false"]
        );
    }
}
