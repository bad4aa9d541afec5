//! The operator's rights in a tenant's namespace: the one tenant role, for itself alone.

use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef, Subject};
use sha2::{Digest, Sha256};

use super::meta;
use crate::pods::{Settings, TENANT_ROLE, validate::ValidatedPod};

/// Hex digits of the hash in the name.
const HASH_LEN: usize = 10;

pub fn build(pod: &ValidatedPod, settings: &Settings) -> RoleBinding {
    RoleBinding {
        metadata: meta::namespaced(pod, &name(settings)),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "ClusterRole".to_owned(),
            name: TENANT_ROLE.to_owned(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: settings.service_account.clone(),
            namespace: Some(settings.operator_namespace.clone()),
            ..Subject::default()
        }]),
    }
}

/// Another ServiceAccount makes another RoleBinding: who is installed elsewhere is not locked out by an old one, which it has
/// no right to change.
pub fn name(settings: &Settings) -> String {
    let who = format!("{}/{}", settings.operator_namespace, settings.service_account);
    let mut hash = data_encoding::HEXLOWER.encode(&Sha256::digest(who));
    hash.truncate(HASH_LEN);
    format!("{TENANT_ROLE}-{hash}")
}
