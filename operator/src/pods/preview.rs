//! What would be made of a pod, without making it: the builders, asked in advance.

use std::sync::Arc;

use apocryph_proto::outcome::Code;
use k8s_openapi::jiff::Timestamp;

use super::{
    Settings, commit,
    objects::{self, Decided, secret},
    validate::{Invalid, validate},
};
use crate::{
    admission::admitted::AdmittedRequest,
    model::{
        refusal::Refusal,
        services::{Capacity, Planned, Preview},
    },
    watches::Watches,
};

/// Implements [`Preview`].
pub struct Builders {
    pub settings: Settings,
    pub watches: Watches,
    pub capacity: Arc<dyn Capacity>,
}

impl Preview for Builders {
    fn digest(&self, planned: Planned) -> Result<[u8; 32], Refusal> {
        let Planned {
            key,
            life,
            tag,
            terms,
            pod,
        } = planned;
        let request = AdmittedRequest {
            key,
            life,
            tag,
            terms,
            pod,
            replaces: None,
            request_id: String::new(),
        };
        let secret_name = secret::staged(
            &request.key,
            &request.tag,
            &request.pod.manifest,
            &self.settings.operator_namespace,
        )
        .map(|_| secret::name(&request.key, &request.tag));
        // No object that is built has the time in it.
        let object = commit::object(&request, secret_name, Timestamp::UNIX_EPOCH);
        let pod = validate(&object, &self.settings)
            .map_err(|Invalid { code, message, remedy }| Refusal::new(code, message).remedy(remedy))?;
        let nodes = self.watches.nodes.state();
        let decided = Decided::by_nodes(
            self.capacity.report().images_may_run_as_root,
            nodes.iter().map(Arc::as_ref),
        );
        objects::build(&pod, &self.settings, decided).digest().map_err(|error| {
            tracing::error!(%error, "objects have no JSON form");
            Refusal::new(Code::InvalidManifest, "the pod's objects have no JSON form")
        })
    }
}
