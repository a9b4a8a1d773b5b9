//! A world to try the core in: modelled receivers, tenants and lists, a virtual clock, numbers from a seed.
//!
//! `remuda simulate` shows an operator what would happen with a configuration, day by day; `tests/simulation.rs` runs the
//! same world over hundreds of seeds and holds the core to what must never break. Only the world is modelled: scheduler,
//! reputation, queue and the life of an entry are the program's own, driven through [`crate::queue::core::Core`] as the
//! dispatcher drives it.
//!
//! ```text
//!   scenario (TOML) ──▶ traffic ──▶ world: Core + events + virtual clock ──▶ report (table, JSON)
//!                                      │  ▲
//!                            Attempted ▼  │ Said
//!                                   receivers, DNSBLs
//! ```

pub mod receiver;
pub mod scenario;
pub mod world;
