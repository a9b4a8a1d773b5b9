//! Metrics and the attempt log.
