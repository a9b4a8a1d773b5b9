//! The real core in a world of its own: virtual clock, seeded chance, modelled receivers. Days pass in seconds.
//!
//! Only the world is modelled ([`remuda::simulate`]); scheduler, reputation, queue index and the life of an entry are the
//! program's own. The invariants of the design hold after every step, whatever the seed. [`stories`] tell what must come
//! out of one situation; [`worlds`] makes a small configuration and scenario of every seed; [`shown`] runs the scenarios
//! of `config/scenarios`, [`compare`] some of them beside simpler policies. A failure prints the seed that replays it:
//! `REMUDA_SIM_SEED=n cargo test --test simulation`.

#[path = "simulation/compare.rs"]
mod compare;
#[path = "simulation/shown.rs"]
mod shown;
#[path = "simulation/stories.rs"]
mod stories;
#[path = "simulation/worlds.rs"]
mod worlds;
