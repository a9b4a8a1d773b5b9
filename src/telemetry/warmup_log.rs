//! One line, one count and one event per move of a warm-up's stage.

use super::Metrics;
use crate::scheduler::warmup::StageChange;

/// Writes the line.
pub fn write(change: &StageChange) {
    tracing::info!(
        target: "warmup",
        binding = %change.binding,
        destination = destination(change),
        why = change.why.as_str(),
        from = change.from,
        to = change.to,
        accepted = change.accepted,
        tried = change.tried,
        blamed = change.blamed,
        allowance_before = in_words(change.allowance_before).as_str(),
        allowance = in_words(change.allowance).as_str(),
    );
}

/// Counts it.
pub fn count(metrics: &Metrics, change: &StageChange) {
    metrics.warmup_changes.with_label_values(&[change.binding.as_str(), change.why.as_str()]).inc();
}

/// The same as an event.
pub fn fields(change: &StageChange) -> Vec<(&'static str, String)> {
    vec![
        ("binding", change.binding.to_string()),
        ("destination", destination(change).to_owned()),
        ("why", change.why.as_str().to_owned()),
        ("from", change.from.to_string()),
        ("to", change.to.to_string()),
        ("accepted", change.accepted.to_string()),
        ("tried", change.tried.to_string()),
        ("blamed", change.blamed.to_string()),
        ("allowance_before", in_words(change.allowance_before)),
        ("allowance", in_words(change.allowance)),
    ]
}

/// The provider, or `*` for the binding as a whole, as in the log of healths.
fn destination(change: &StageChange) -> &str {
    change.provider.as_ref().map_or("*", |provider| provider.as_str())
}

fn in_words(allowance: Option<u64>) -> String {
    allowance.map_or_else(|| "unlimited".to_owned(), |recipients| recipients.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::warmup::Why;

    #[test]
    fn an_event_says_who_moved_from_where_to_where_and_why() {
        let change = StageChange {
            binding: "mta3".into(),
            provider: None,
            from: 2,
            to: 3,
            why: Why::Finished,
            accepted: 990,
            tried: 1_000,
            blamed: 1,
            allowance_before: Some(1_000),
            allowance: None,
        };
        let fields: Vec<String> = fields(&change).into_iter().map(|(name, text)| format!("{name}={text}")).collect();
        assert_eq!(
            fields.join(" "),
            "binding=mta3 destination=* why=finished from=2 to=3 accepted=990 tried=1000 blamed=1 \
             allowance_before=1000 allowance=unlimited"
        );
        let metrics = Metrics::new().expect("registers");
        count(&metrics, &change);
        let text = metrics.encode().expect("encodes");
        assert!(text.contains("remuda_warmup_changes_total{binding=\"mta3\",why=\"finished\"} 1"), "{text}");
    }
}
