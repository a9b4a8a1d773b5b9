//! A world to try the core in: modelled receivers, tenants and lists, a virtual clock, numbers from a seed.
//!
//! `remuda simulate` shows an operator what would happen with a configuration, day by day; `tests/simulation.rs` runs the
//! same world over hundreds of seeds and holds the core to what must never break. Only the world is modelled: scheduler,
//! reputation, queue and the life of an entry are the program's own, driven through [`crate::queue::core::Core`] as the
//! dispatcher drives it; replies are read by the shipped rules, listings confirmed by the monitor's own judgement.
//!
//! ```text
//!   scenario (TOML) ──▶ traffic ──▶ world: Core + agenda + virtual clock ──▶ report (table, JSON)
//!                                      │  ▲
//!                            Attempted ▼  │ Said          invariants look on
//!                                   receivers, DNSBLs
//! ```

pub mod agenda;
pub mod compare;
pub mod disk;
pub mod internet;
pub mod invariants;
pub mod receiver;
pub mod replies;
pub mod report;
pub mod scenario;
pub mod traffic;
pub mod watcher;
pub mod world;

pub use invariants::Violation;
pub use report::Report;
pub use scenario::Scenario;
pub use world::World;
