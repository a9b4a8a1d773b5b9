//! Trace and control headers.
