//! What is kept per subject: a state, and the counts from which it moves.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::fuse::{Groups, Places};
use super::health::Subject;
use super::late::LateClusters;
use super::moves::Voices;
use super::state::State;
use super::tally::{Clusters, Steps, Tally};
use crate::clock::Wall;
use crate::message::{BindingName, DestinationName, Domain, TenantName};

/// A subject's state and the counts behind it.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) state: State,
    pub(super) tally: Tally,
    /// Where in it mail bounced: destinations of a binding, recipients' domains of a route.
    pub(super) places: Places,
    /// Recipients' domains that were noted as the cause, and when (routes only).
    pub(super) domains_noted: HashMap<String, Wall>,
    /// Recent refusals that blamed the IP (routes only): at most `ip_block_count`, and as many by mail.
    pub(super) blames: VecDeque<Blame>,
    pub(super) last_blame: Option<Blame>,
    /// Who passed here last, and who was refused (routes only).
    pub(super) voices: Voices,
    /// When it was last told what a receiver said of its network (routes only).
    pub(super) told_of_range: Option<Wall>,
    /// When a tenant was last noted as the cause.
    pub(super) noted: HashMap<TenantName, Wall>,
    pub(super) timer: Option<Wall>,
}

/// One message that was refused for the IP's sake: several recipients of it are told by these three.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blame {
    pub(super) tenant: TenantName,
    pub(super) domain: Option<Domain>,
    pub(super) at: Wall,
    /// Told by mail, by whoever read the mark: never enough by itself.
    pub(super) by_mail: bool,
}

impl Cell {
    pub(super) fn new(window: Duration) -> Self {
        Self {
            state: State::default(),
            tally: Tally::new(window),
            places: Places::default(),
            domains_noted: HashMap::new(),
            blames: VecDeque::new(),
            last_blame: None,
            voices: Voices::default(),
            told_of_range: None,
            noted: HashMap::new(),
            timer: None,
        }
    }

    /// Whether what was blamed takes the route out: enough of it, and not all of it told by mail.
    pub(super) fn blames_suffice(&self, count: usize) -> bool {
        self.blames.len() >= count && self.blames.iter().any(|blame| !blame.by_mail)
    }

    pub(super) fn is_idle(&mut self, steps: Steps, now: Wall, blame_window: Duration) -> bool {
        self.state.is_blank()
            && self.tally.is_empty(steps, now)
            && self.blames.iter().all(|blame| now.since(blame.at) > blame_window)
    }
}

/// A binding with its routes.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) own: Cell,
    pub(super) clusters: Clusters,
    /// Whose mail is counted, here and on its routes.
    pub(super) groups: Groups,
    pub(super) late: LateClusters,
    pub(super) routes: HashMap<DestinationName, Cell>,
    /// When the operator was last told what to mend.
    pub(super) fix_noted: Option<Wall>,
}

impl Watched {
    pub(super) fn new(window: Duration) -> Self {
        Self {
            own: Cell::new(window),
            clusters: Clusters::default(),
            groups: Groups::default(),
            late: LateClusters::default(),
            routes: HashMap::new(),
            fix_noted: None,
        }
    }

    /// Forgets routes of which nothing was heard, and whose mail is not counted any more.
    pub(super) fn sweep(&mut self, steps: Steps, now: Wall, blame_window: Duration) {
        self.routes.retain(|_, cell| !cell.is_idle(steps, now, blame_window));
        // What has left the window goes; the binding's own cell stays.
        self.own.tally.sum(steps, now);
        let tallies = std::iter::once(&self.own).chain(self.routes.values()).map(|cell| &cell.tally);
        self.groups.retain(&tallies.flat_map(Tally::groups).collect());
    }
}

/// The cell of a subject; routes of known bindings are made as they appear.
pub(super) fn find<'a>(
    bindings: &'a mut HashMap<BindingName, Watched>,
    subject: &Subject,
    window: Duration,
) -> Option<&'a mut Cell> {
    let watched = bindings.get_mut(subject.binding())?;
    Some(match subject {
        Subject::Binding(_) => &mut watched.own,
        Subject::Route(_, destination) => {
            watched.routes.entry(destination.clone()).or_insert_with(|| Cell::new(window))
        }
    })
}
