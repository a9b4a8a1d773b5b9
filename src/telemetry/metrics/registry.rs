//! The registry, which also knows the metrics that have no series yet.
//!
//! Prometheus' own tells only of what has a value: a counter by binding says nothing before the first attempt. Dashboards
//! and alert rules name metrics long before, and a slip of the pen there shows up as an empty panel or, worse, as an
//! alert that never fires. So every registration is noted here, and a test holds what `dashboards/` names against it.

use parking_lot::Mutex;
use prometheus::core::Collector;
use prometheus::proto::{MetricFamily, MetricType};

/// One metric as it is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its full name; a histogram's without `_bucket`, `_sum`, `_count`.
    pub name: String,
    /// Its labels, in the order of the declaration; a histogram's without `le`.
    pub labels: Vec<String>,
    /// Whether it is a histogram.
    pub is_histogram: bool,
    /// Whether it only grows.
    pub is_counter: bool,
}

/// What metrics are registered with.
#[derive(Debug, Default)]
pub struct Registry {
    inner: prometheus::Registry,
    families: Mutex<Vec<Family>>,
}

impl Registry {
    /// Takes a metric in.
    ///
    /// # Errors
    /// When there is one of that name already.
    pub(super) fn register(&self, metric: impl Collector + 'static) -> Result<(), prometheus::Error> {
        let kind = metric.collect().first().map(MetricFamily::get_field_type);
        let described = metric.desc().into_iter().map(|desc| Family {
            name: desc.fq_name.clone(),
            labels: desc.variable_labels.clone(),
            is_histogram: kind == Some(MetricType::HISTOGRAM),
            is_counter: kind == Some(MetricType::COUNTER),
        });
        self.families.lock().extend(described);
        self.inner.register(Box::new(metric))
    }

    /// Everything that has a value.
    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        self.inner.gather()
    }

    /// Everything that was declared, by name.
    pub(super) fn families(&self) -> Vec<Family> {
        let mut families = self.families.lock().clone();
        families.sort_by(|a, b| a.name.cmp(&b.name));
        families
    }
}
