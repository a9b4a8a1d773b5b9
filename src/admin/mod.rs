//! HTTP: status and metrics.
