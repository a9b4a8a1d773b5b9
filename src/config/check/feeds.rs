//! `[feed.NAME]`.

use super::Context;
use crate::config::{Feed, raw};

impl Context<'_> {
    pub(super) fn feeds(&mut self, file: &raw::File) -> Vec<Feed> {
        let mut feeds = Vec::new();
        for (entry, raw) in self.named(&file.feed) {
            let hint = "write the address at which the feed is fetched";
            let Some(url) = raw.url.required(&entry.place, "url", hint, &mut self.out) else { continue };
            feeds.push(Feed { name: entry.name.clone(), url: url.value.clone() });
        }
        feeds
    }
}
