//! What only the chain of checks can make.

use super::super::model::{
    key::PodKey,
    manifest::Complete,
    pod::{Tag, Terms},
    services::Hold,
};

/// A request that passed every check and holds its capacity. Only admission constructs it.
#[derive(Debug)]
pub struct Admitted {
    pub(super) request: AdmittedRequest,
    pub(super) hold: Hold,
}

#[derive(Clone)]
pub struct AdmittedRequest {
    pub key: PodKey,
    /// afterLife + 1.
    pub life: u64,
    pub tag: Tag,
    pub terms: Terms,
    /// Defaults filled in.
    pub pod: Complete,
    /// resourceVersion of the ended object that this replaces; `None`: there is no object.
    pub replaces: Option<String>,
    /// Of the session, for log and object.
    pub request_id: String,
}

impl std::fmt::Debug for AdmittedRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdmittedRequest")
            .field("name", &self.key.name())
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}

impl Admitted {
    /// For the gateway: the request, and the hold that is to be committed when the object exists.
    pub fn into_parts(self) -> (AdmittedRequest, Hold) {
        (self.request, self.hold)
    }

    /// For tests of the gateway.
    #[cfg(test)]
    pub(crate) fn for_tests(request: AdmittedRequest, hold: Hold) -> Admitted {
        Admitted { request, hold }
    }
}
