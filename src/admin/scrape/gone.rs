//! Series of what the configuration names no more.

use std::collections::HashMap;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};

/// Removes the series of `family` whose labels, by name, are not `known`.
pub(super) fn forget<B: MetricVecBuilder>(family: &MetricVec<B>, known: impl Fn(&HashMap<&str, &str>) -> bool) {
    for collected in family.collect() {
        for series in collected.get_metric() {
            let labels: HashMap<&str, &str> =
                series.get_label().iter().map(|label| (label.name(), label.value())).collect();
            if !known(&labels) {
                // Somebody else may have done so at the same time.
                drop(family.remove(&labels));
            }
        }
    }
}
