//! SMTP server.
