//! A line and an event for what moved in the SPF cover of senders' domains, however many of them moved at once.

use crate::monitor::spf::tally::{Move, Note};

/// Writes the line.
pub fn write(note: &Note) {
    let fields = fields(note);
    let text = |name: &str| fields.iter().find(|(known, _)| *known == name).map_or("", |(_, text)| text.as_str());
    if note.what == Move::Back {
        return tracing::info!(
            target: "spf",
            what = text("what"),
            sender_domain = text("sender_domain"),
            count = note.count,
            bindings = text("bindings"),
        );
    }
    tracing::warn!(
        target: "spf",
        what = text("what"),
        sender_domain = text("sender_domain"),
        count = note.count,
        tenant = text("tenant"),
        pool = text("pool"),
        bindings = text("bindings"),
        evidence = text("evidence"),
    );
}

/// The same as an event. Where there are more domains than are named, `count` says how many.
pub fn fields(note: &Note) -> Vec<(&'static str, String)> {
    let what = match note.what {
        Move::Lost => "spf_not_covered",
        Move::Back => "spf_not_barred_any_more",
        Move::Uncovered => "spf_covers_no_binding",
        Move::PassedOver => "spf_not_evaluated",
    };
    let evidence = match note.what {
        Move::Lost => note.why.clone(),
        Move::Back => String::new(),
        Move::Uncovered => "no binding of the pool is covered: mail goes as if there were no record".to_owned(),
        Move::PassedOver => {
            "more sender domains than are kept: those without room go as if they had no record".to_owned()
        }
    };
    let count = if note.count > 1 { note.count.to_string() } else { String::new() };
    vec![
        ("what", what.to_owned()),
        ("sender_domain", joined(note.domains.iter().map(|domain| domain.as_str()))),
        ("count", count),
        ("tenant", joined(note.tenants.iter().map(|tenant| tenant.as_str()))),
        ("pool", joined(note.pools.iter().map(|pool| pool.as_str()))),
        ("bindings", joined(note.bindings.iter().map(|binding| binding.as_str()))),
        ("evidence", evidence),
    ]
}

fn joined<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(" ")
}
