//! Whose mail is it, and from which pool does it go.
