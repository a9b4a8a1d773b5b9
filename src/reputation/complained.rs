//! What complaints move.

use super::complaints::Booked;
use super::health::Subject;
use super::late::Late;
use super::notes::Note;
use super::policy::Reputation;
use crate::clock::Wall;

impl Reputation {
    /// Complaints about mail that had been accepted. They move nothing by themselves; a share that is too large is noted.
    pub(super) fn complaint(&mut self, about: Late<'_>, incidents: u32, now: Wall) {
        if !self.bindings.contains_key(about.binding) {
            return;
        }
        let provider = about.destination.and_then(|to| self.providers.get(to));
        self.complaints.book(about.binding, provider, Booked::Complaints(incidents), about.at, now);
        let to = about.destination.cloned();
        self.signalled.insert(
            to.map_or_else(|| Subject::Binding(about.binding.clone()), |to| Subject::Route(about.binding.clone(), to)),
        );
        if let Some(share) = self.complaints.worth_a_note(about.binding, provider, now) {
            let (binding, destination) = (about.binding.clone(), provider.cloned());
            self.notes.push(Note::Complaints { binding, destination, share });
        }
    }
}
