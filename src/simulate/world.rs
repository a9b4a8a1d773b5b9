//! The loop: what is due, what the core wants done, what the world answers.
