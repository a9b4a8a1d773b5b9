//! `[window]`, and the back-off that a provider may have of its own.

use super::Context;
use super::context::section;
use crate::config::{BackOff, Window, raw};

impl Context<'_> {
    pub(super) fn window(&mut self, file: &raw::File) -> Window {
        let raw = section(&file.window);
        let default = Window::default();
        self.at_least_one(&raw.start);
        self.not_instant(&raw.grow_every);
        self.within(&raw.deferral_ratio, 0.0, 1.0);
        let adaptive = raw.adaptive.or(default.adaptive);
        if !adaptive && let Some(at) = raw.start.given() {
            let hint = "leave it out, or write adaptive = true";
            self.out.warning(&at.place, "has no effect: the window is not adaptive", hint);
        }
        Window {
            adaptive,
            start: raw.start.or(default.start),
            grow_every: raw.grow_every.or(default.grow_every),
            deferral_ratio: raw.deferral_ratio.or(default.deferral_ratio),
            back_off: self.back_off(&section(&raw.back_off)),
        }
    }

    /// A part that is not written is that of the default.
    pub(super) fn back_off(&mut self, raw: &raw::BackOff) -> BackOff {
        let default = Window::default().back_off;
        self.not_instant(&raw.pause);
        self.not_instant(&raw.add_every);
        BackOff { pause: raw.pause.or(default.pause), add_every: raw.add_every.or(default.add_every) }
    }
}
