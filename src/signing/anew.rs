//! Signatures of mail that is changed on the way: what delivery asks ([`Resign`]), answered by the keys in force.

use std::sync::Arc;

use super::Keys;
use crate::delivery::convert::Resign;
use crate::message::TenantName;

/// The keys for mail of one tenant.
#[derive(Debug)]
pub(super) struct Anew {
    keys: Arc<Keys>,
    tenant: TenantName,
}

impl Anew {
    pub(super) fn new(keys: Arc<Keys>, tenant: TenantName) -> Self {
        Self { keys, tenant }
    }
}

impl Resign for Anew {
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signed = self.keys.sign(&self.tenant, message);
        if signed.is_empty() {
            tracing::info!(
                tenant = self.tenant.as_str(),
                "mail that was signed had to be converted, and by now no key signs it: it goes without a signature"
            );
        }
        let mut fields = Vec::new();
        for one in signed {
            match one.field {
                Ok(field) => fields.extend_from_slice(field.as_bytes()),
                Err(error) => {
                    tracing::error!(
                        key = one.key,
                        error,
                        "a signature could not be made again; the mail goes without it"
                    );
                }
            }
        }
        fields
    }
}
