//! What each wish does to the world.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use super::wish::{Answer, FASTEST, Wish};
use super::{LISTS, World, binding};
use crate::admin::Sources;

/// What a list answers for whom it lists.
const CODE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

impl World {
    /// Does it, and says so; or why not. The names are those of the configuration in force in `relay`.
    pub(super) fn grant(&self, wish: Wish, relay: &Sources) -> Answer {
        match wish {
            Wish::List { binding: name, zone } => {
                let (list, (_, public)) = (list(&zone)?, binding(relay, &name)?);
                self.names.listed(list, public, CODE);
                self.listed.lock().insert((zone, name.clone()));
                Ok(format!("{list} lists {public} ({name})"))
            }
            Wish::Unlist { binding: name, zone } => {
                let (list, (_, public)) = (list(&zone)?, binding(relay, &name)?);
                self.names.delisted(list, public);
                let was = self.listed.lock().remove(&(zone, name.clone()));
                Ok(format!("{list} {} {public} ({name})", if was { "no longer lists" } else { "did not list" }))
            }
            Wish::Block { binding: name, at } => {
                let (receiver, (source, public)) = (self.receiver(&at)?, binding(relay, &name)?);
                receiver.block(source, public);
                Ok(format!("{at} refuses {name}"))
            }
            Wish::Unblock { binding: name, at } => self.unblock(&name, at.as_deref(), relay),
            Wish::Rate { per_second } => {
                self.traffic.set_rate(per_second.min(FASTEST));
                Ok(format!("traffic: {}", self.traffic.text()))
            }
            Wish::PauseTraffic => {
                self.traffic.pause(true);
                Ok(format!("traffic: {}", self.traffic.text()))
            }
            Wish::ResumeTraffic => {
                self.traffic.pause(false);
                Ok(format!("traffic: {}", self.traffic.text()))
            }
            Wish::Show => Ok(self.show(relay)),
        }
    }

    fn unblock(&self, name: &str, at: Option<&str>, relay: &Sources) -> Answer {
        let (source, _) = binding(relay, name)?;
        let receivers: Vec<_> = match at {
            Some(at) => vec![self.receiver(at)?],
            None => self.receivers.iter().collect(),
        };
        let lifted: Vec<_> = receivers.iter().filter(|r| r.unblock(source)).map(|r| r.name).collect();
        Ok(match (lifted.as_slice(), at) {
            ([], Some(at)) => format!("{at} did not refuse {name}"),
            ([], None) => format!("nobody refused {name}"),
            (lifted, _) => format!("{} takes mail from {name} again", lifted.join(", ")),
        })
    }

    fn show(&self, relay: &Sources) -> String {
        self.book(relay);
        let mut text = format!("traffic: {}\n\n{}", self.traffic.text(), self.matrix());
        // Writing to a String cannot fail.
        for (zone, name) in self.listed.lock().iter() {
            let _ = write!(text, "\n{zone} lists {name}");
        }
        let bindings = self.books.lock().ours.clone();
        for receiver in &self.receivers {
            for source in receiver.blocked() {
                let name = bindings.get(&source).cloned().unwrap_or_else(|| source.to_string());
                let _ = write!(text, "\n{} refuses {name}", receiver.name);
            }
        }
        text
    }

    /// Messages by binding and receiver, as the receivers counted them; those of bindings that are gone too.
    pub(super) fn matrix(&self) -> String {
        let mut text = String::from("binding  ");
        let receivers = self.receivers.iter().map(|r| (r.name, &r.sink)).chain([("elsewhere", &self.elsewhere)]);
        let receivers: Vec<_> = receivers.collect();
        // Writing to a String cannot fail.
        for (name, _) in &receivers {
            let _ = write!(text, " {name:>9}");
        }
        for (source, name) in &self.books.lock().ours {
            let _ = write!(text, "\n{name:<9}");
            for (_, sink) in &receivers {
                let _ = write!(text, " {:>9}", sink.source(*source).messages);
            }
        }
        text.push('\n');
        text
    }
}

fn list(name: &str) -> Result<&'static str, String> {
    let found = LISTS.iter().find(|(known, _)| *known == name).map(|(_, zone)| *zone);
    found.ok_or_else(|| {
        let known = LISTS.map(|(known, _)| known).join(", ");
        format!("no list {name:?} does as it is told; there are {known}")
    })
}
