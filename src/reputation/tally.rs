//! Windowed counts.
