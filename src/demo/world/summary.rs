//! The sum at the end: accepted = delivered + bounced + expired + queued, nothing lost, nothing twice.

use std::sync::atomic::Ordering;

use super::World;
use crate::admin::Sources;
use crate::admin::status::Status;

/// Prints it. True when it adds up. The relay must have stopped, and what arrived must be booked.
pub(super) fn print(world: &World, sources: &Sources) -> bool {
    let status = Status::of(sources);
    println!("\nMessages taken by the receivers:\n\n{}", world.matrix());

    let (c, books) = (&status.counts, world.books.lock());
    let arrived = books.arrived + books.others + books.reports;
    let taken_in = c.accepted_recipients + c.dsn;
    let aside = c.stranded_recipients + c.set_aside_recipients;
    let accounted = arrived + c.bounced + c.expired + status.queue.recipients + aside;
    println!(
        "accepted {} + reports of failed delivery {} = delivered {arrived} + bounced {} + expired {} + queued {}{}",
        c.accepted_recipients,
        c.dsn,
        c.bounced,
        c.expired,
        status.queue.recipients,
        if aside == 0 { String::new() } else { format!(" + set aside {aside}") },
    );
    let (sent, unknown) = (world.traffic.accepted.load(Ordering::SeqCst), world.traffic.unknown.load(Ordering::SeqCst));
    println!(
        "of these {sent} from the demo's own senders (answered 250), {unknown} without an answer, {} of yours",
        books.others
    );
    println!("lost {}, delivered twice {}", taken_in.saturating_sub(accounted), books.twice);
    let adds_up = taken_in == accounted && books.twice == 0 && c.accepted_recipients >= sent;
    println!("{}", if adds_up { "Everything adds up." } else { "THIS DOES NOT ADD UP." });
    adds_up
}
