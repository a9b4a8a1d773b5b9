//! Whether the relay itself is well: configuration, disk, pools, wait reasons, the process.
//!
//! What can be counted is counted where it happens; the rest is filled in by `admin::scrape` when somebody asks. Counters
//! whose labels are known beforehand begin at zero, so that the first error is a rise that a rule can see: a series that
//! appears with the value 1 never rose.

use prometheus::{Counter, Gauge, IntCounterVec, IntGauge, IntGaugeVec};

use super::{Registry, counters, gauge, gauges, opts, register};
use crate::clock::Wall;

/// What was not read from or written to the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpoolWork {
    /// New mail.
    Mail,
    /// What became of mail: its removal, its next try, its report.
    Outcome,
    /// Grants of daily caps.
    Grant,
    /// Healths, holds, stages of warm-ups, reports.
    Fact,
    /// Reading an entry or a body.
    Read,
}

impl SpoolWork {
    const ALL: [Self; 5] = [Self::Mail, Self::Outcome, Self::Grant, Self::Fact, Self::Read];

    fn as_str(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Outcome => "outcome",
            Self::Grant => "grant",
            Self::Fact => "fact",
            Self::Read => "read",
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct OperationMetrics {
    /// Bindings with a weight, by pool.
    pub pool_bindings: IntGaugeVec,
    /// Of them, those that health, operator and caps let carry mail; a connection or a moment may still be waited for.
    pub pool_eligible: IntGaugeVec,
    /// Those that are out, by pool and verdict (`drained` ones have no weight).
    pub pool_out: IntGaugeVec,
    /// 1 where a backup tier is open because there are too few bindings to count on before it.
    pub pool_on_backup: IntGaugeVec,
    /// Age of the oldest entry that was never tried, by pool and reason of waiting, in seconds.
    pub untried_oldest: IntGaugeVec,
    /// Answers of the scheduler, by pool and verdict; `eligible` is a lease.
    pub verdicts: IntCounterVec,
    /// State of a route to a provider as a number, the worse of the binding's and the route's own: 0 active, 1 throttled,
    /// 2 probation, 3 suspended.
    pub route_health: IntGaugeVec,
    /// What is not active and why, by binding, destination (`*` for the binding everywhere), state and reason: how many
    /// (more than 1 only at `other`).
    pub not_active: IntGaugeVec,
    /// Whether the configuration that was read last is in force.
    pub reload_success: IntGauge,
    /// When a configuration came into force, in seconds since the epoch.
    pub reload_timestamp: Gauge,
    /// When the program started, in seconds since the epoch.
    pub start_time: Gauge,
    /// Octets free for us where the spool is.
    pub spool_free: IntGauge,
    /// Octets there in all.
    pub spool_size: IntGauge,
    /// `server.low_space_floor`, in octets.
    pub spool_floor: IntGauge,
    /// Work on the spool that failed, by operation.
    spool_errors: IntCounterVec,
    /// Resident memory in octets.
    pub resident_memory: IntGauge,
    /// Open file descriptors.
    pub open_fds: IntGauge,
    /// The limit of those; no series value (0) where there is none.
    pub max_fds: IntGauge,
    /// Processor time used, in seconds.
    pub cpu_seconds: Counter,
}

impl OperationMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            pool_bindings: gauges(r, "pool_bindings", "Bindings with a weight.", &["pool"])?,
            pool_eligible: gauges(
                r,
                "pool_eligible_bindings",
                "Bindings that health, operator and caps let carry mail.",
                &["pool"],
            )?,
            pool_out: gauges(r, "pool_bindings_out", "Bindings that are out, by verdict.", &["pool", "verdict"])?,
            pool_on_backup: gauges(r, "pool_on_backup", "1 while a backup tier is open.", &["pool"])?,
            untried_oldest: gauges(
                r,
                "queue_untried_oldest_seconds",
                "Age of the oldest entry that was never tried, by reason.",
                &["pool", "reason"],
            )?,
            verdicts: counters(
                r,
                "selection_verdicts_total",
                "Answers of the scheduler; eligible is a lease.",
                &["pool", "verdict"],
            )?,
            route_health: gauges(
                r,
                "route_health",
                "0 active, 1 throttled, 2 probation, 3 suspended: the worse of binding and route.",
                &["binding", "destination"],
            )?,
            not_active: gauges(
                r,
                "not_active",
                "What is not active and why; destination * is the binding everywhere.",
                &["binding", "destination", "state", "reason"],
            )?,
            reload_success: gauge(
                r,
                "config_reload_success",
                "1 when the configuration read last is in force, 0 when it was refused.",
            )?,
            reload_timestamp: moment(
                r,
                "config_reload_timestamp_seconds",
                "When a configuration came into force, since the epoch.",
            )?,
            start_time: moment(r, "start_time_seconds", "When the program started, since the epoch.")?,
            spool_free: gauge(r, "spool_free_bytes", "Octets free on the spool's file system.")?,
            spool_size: gauge(r, "spool_size_bytes", "Octets of the spool's file system.")?,
            spool_floor: gauge(r, "spool_floor_bytes", "Free octets below which new mail is refused.")?,
            spool_errors: counters(
                r,
                "spool_errors_total",
                "Reads and writes of the spool that failed.",
                &["operation"],
            )?,
            resident_memory: gauge(r, "process_resident_memory_bytes", "Resident memory.")?,
            open_fds: gauge(r, "process_open_fds", "Open file descriptors.")?,
            max_fds: gauge(r, "process_max_fds", "Limit of open file descriptors.")?,
            cpu_seconds: register(
                r,
                Counter::with_opts(opts("process_cpu_seconds_total", "Processor time used, user and system."))?,
            )?,
        };
        for work in SpoolWork::ALL {
            metrics.spool_errors.with_label_values(&[work.as_str()]).inc_by(0);
        }
        Ok(metrics)
    }

    /// The program starts at `now` with a configuration that is good, or it would not.
    pub fn started(&self, now: Wall) {
        let seconds = now.as_millis() as f64 / 1e3;
        self.start_time.set(seconds);
        self.reload_timestamp.set(seconds);
        self.reload_success.set(1);
    }

    /// A piece of work on the spool failed.
    pub fn spool_error(&self, work: SpoolWork) {
        self.spool_errors.with_label_values(&[work.as_str()]).inc();
    }
}

fn moment(r: &Registry, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
    register(r, Gauge::with_opts(opts(name, help))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_spool_are_zero_before_the_first() {
        let metrics = crate::telemetry::Metrics::new().expect("registers");
        metrics.operation.spool_error(SpoolWork::Grant);
        metrics.operation.started(Wall::from_millis(1_500));
        let text = metrics.encode().expect("encodes");
        for (operation, count) in [("mail", 0), ("outcome", 0), ("grant", 1), ("fact", 0), ("read", 0)] {
            let line = format!("remuda_spool_errors_total{{operation=\"{operation}\"}} {count}\n");
            assert!(text.contains(&line), "{line}{text}");
        }
        assert!(text.contains("remuda_config_reload_success 1\n") && text.contains("remuda_start_time_seconds 1.5\n"));
    }
}
