//! One line and one event for each move of a domain's SPF cover.

use crate::message::BindingName;
use crate::monitor::spf::table::Note;

/// Writes the line.
pub fn write(note: &Note) {
    let words = |name: &str| fields(note).into_iter().find(|(known, _)| *known == name).map(|(_, text)| text);
    let text = |name: &str| words(name).unwrap_or_default();
    tracing::warn!(
        target: "spf",
        what = text("what").as_str(),
        sender_domain = text("sender_domain").as_str(),
        tenant = text("tenant").as_str(),
        pool = text("pool").as_str(),
        bindings = text("bindings").as_str(),
        evidence = text("evidence").as_str(),
    );
}

/// The same as an event.
pub fn fields(note: &Note) -> Vec<(&'static str, String)> {
    let names = |names: &[BindingName]| names.iter().map(BindingName::as_str).collect::<Vec<_>>().join(" ");
    match note {
        Note::Lost { domain, tenants, bindings, why } => vec![
            ("what", "spf_not_covered".to_owned()),
            ("sender_domain", domain.to_string()),
            ("tenant", tenants.iter().map(|tenant| tenant.as_str()).collect::<Vec<_>>().join(" ")),
            ("bindings", names(bindings)),
            ("evidence", why.clone()),
        ],
        Note::Back { domain, bindings } => vec![
            ("what", "spf_not_barred_any_more".to_owned()),
            ("sender_domain", domain.to_string()),
            ("bindings", names(bindings)),
        ],
        Note::Uncovered { domain, tenant, pool } => vec![
            ("what", "spf_covers_no_binding".to_owned()),
            ("sender_domain", domain.to_string()),
            ("tenant", tenant.to_string()),
            ("pool", pool.to_string()),
            ("evidence", "no binding of the pool is covered: mail goes as if there were no record".to_owned()),
        ],
    }
}
