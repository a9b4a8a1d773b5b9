//! Scripted receivers and DNS on loopback.
