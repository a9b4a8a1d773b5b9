//! `binding.NAME.via`: the proxy of a binding whose address is another host's.

use super::Context;
use crate::config::mistake::Place;
use crate::config::read::{At, Field};
use crate::config::{HostPort, SocksLogin, Via, raw};

/// Octets of a user name (RFC 1929 §2).
const USER_MAX: usize = 255;

impl Context<'_> {
    /// Where the binding sends through a proxy; `None` also after a mistake, then nothing comes of the configuration.
    pub(super) fn via(&mut self, raw: &raw::Binding) -> Option<Via> {
        let At { value: raw, place } = raw.via.given()?;
        let hint = "write via = { socks5 = \"198.51.100.7:1080\" } or via = { proxy_v2 = \"198.51.100.7:2525\" }";
        let from = raw.source.value().copied();
        match (raw.socks5.given(), raw.proxy_v2.given()) {
            (Some(at), None) => {
                let login = self.socks_login(raw, place);
                Some(Via::Socks5 { proxy: self.proxy(at)?, from, login })
            }
            (None, Some(at)) => {
                for field in [&raw.user, &raw.password_file] {
                    if let Some(at) = field.given() {
                        self.out.mistake(&at.place, "the PROXY protocol knows no login", "leave it out");
                    }
                }
                Some(Via::ProxyV2 { proxy: self.proxy(at)?, from })
            }
            (Some(_), Some(second)) => {
                self.out.mistake(&second.place, "one of socks5 and proxy_v2, not both", hint);
                None
            }
            (None, None) => {
                if !raw.socks5.is_bad() && !raw.proxy_v2.is_bad() {
                    self.out.mistake(place, "neither socks5 nor proxy_v2 is given", hint);
                }
                None
            }
        }
    }

    fn proxy(&mut self, at: &At<raw::Host>) -> Option<HostPort> {
        let Some(port) = at.value.port else {
            self.out.mistake(
                &at.place,
                "the port is missing",
                "write it behind the host, such as \"198.51.100.7:1080\"",
            );
            return None;
        };
        Some(HostPort { host: at.value.host.clone(), port })
    }

    fn socks_login(&mut self, raw: &raw::Via, place: &Place) -> Option<SocksLogin> {
        let hint = "a login needs both user and password_file";
        match (raw.user.given(), self.beside(&raw.password_file)) {
            (Some(at), Some(password_file)) => {
                if at.value.is_empty() || at.value.len() > USER_MAX {
                    self.out.mistake(&at.place, format!("a user name has 1 to {USER_MAX} octets"), "");
                }
                Some(SocksLogin { user: at.value.clone(), password_file })
            }
            (Some(_), None) if matches!(raw.password_file, Field::Missing) => {
                self.out.mistake(&place.key("password_file"), "missing", hint);
                None
            }
            (None, Some(_)) if matches!(raw.user, Field::Missing) => {
                self.out.mistake(&place.key("user"), "missing", hint);
                None
            }
            _ => None,
        }
    }
}
