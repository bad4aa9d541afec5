//! The keys that outlive every process: the libp2p key, and the key of the requests' fingerprints (TAG). Both are in one
//! Secret, made at the first start. The peer id is also in a ConfigMap: once it stands there, a new identity would look like
//! another provider to every publisher, so it is never made in silence.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use rand::{RngCore, rngs::OsRng};
use serde_json::json;
use zeroize::{Zeroize, Zeroizing};

use crate::net::identity::{self, Identity};

/// Keys of the Secret.
const LIBP2P_KEY: &str = "libp2p.key";
const TAG_KEY: &str = "tag.key";
/// Keys of the ConfigMap.
const PEER_ID: &str = "peerId";
const ADDRESSES: &str = "addresses";
/// Bytes of the TAG key.
pub const TAG_KEY_LEN: usize = 32;

/// What the process needs of it.
pub struct Keys {
    pub identity: Identity,
    pub tag_key: Zeroizing<[u8; TAG_KEY_LEN]>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the Kubernetes API did not answer about the identity: {0}")]
    Api(#[from] kube::Error),
    #[error(
        "the Secret {namespace}/{secret} with this provider's identity is gone, but the ConfigMap {config_map} says that it was \
         {peer_id}. Restore the Secret from a backup to go on as that provider. To become a new one on purpose (publishers will \
         have to be told; their pods run on): kubectl -n {namespace} delete configmap {config_map}"
    )]
    SecretGone { namespace: String, secret: String, config_map: String, peer_id: String },
    #[error(
        "the Secret {namespace}/{secret} is of peer {found}, but the ConfigMap {config_map} says {expected}. Restore the right \
         Secret; or, if it was replaced on purpose: kubectl -n {namespace} delete configmap {config_map}"
    )]
    OtherPeer { namespace: String, secret: String, config_map: String, found: String, expected: String },
    #[error("a new identity could not be made: {0}")]
    New(#[source] identity::Error),
    #[error("the Secret {namespace}/{secret}, key {key}: {reason}. Restore it from a backup")]
    Unusable { namespace: String, secret: String, key: &'static str, reason: String },
}

impl Error {
    /// May another try help without anybody doing anything?
    pub fn passes(&self) -> bool {
        matches!(self, Error::Api(_))
    }
}

/// Where they are kept.
#[derive(Clone)]
pub struct IdentityStore {
    secrets: Api<Secret>,
    config_maps: Api<ConfigMap>,
    namespace: String,
    secret: String,
    config_map: String,
}

impl IdentityStore {
    pub fn new(client: Client, namespace: &str, secret: &str, config_map: &str) -> IdentityStore {
        IdentityStore {
            secrets: Api::namespaced(client.clone(), namespace),
            config_maps: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            secret: secret.to_owned(),
            config_map: config_map.to_owned(),
        }
    }

    /// The identity as it is, or a new one at the very first start. Of two processes that start at once one makes it, both
    /// use it.
    pub async fn load_or_create(&self) -> Result<Keys, Error> {
        let published = self.config_maps.get_opt(&self.config_map).await?.and_then(|map| map.data?.remove(PEER_ID));
        let secret = match (self.secrets.get_opt(&self.secret).await?, &published) {
            (Some(secret), _) => secret,
            (None, Some(peer_id)) => {
                return Err(Error::SecretGone {
                    namespace: self.namespace.clone(),
                    secret: self.secret.clone(),
                    config_map: self.config_map.clone(),
                    peer_id: peer_id.clone(),
                });
            }
            (None, None) => self.create().await?,
        };
        let keys = self.read(secret)?;
        let found = keys.identity.peer_id().to_string();
        match published {
            Some(expected) if expected != found => Err(Error::OtherPeer {
                namespace: self.namespace.clone(),
                secret: self.secret.clone(),
                config_map: self.config_map.clone(),
                found,
                expected,
            }),
            Some(_) => Ok(keys),
            None => {
                self.publish(json!({PEER_ID: found})).await?;
                Ok(keys)
            }
        }
    }

    async fn create(&self) -> Result<Secret, Error> {
        let mut tag_key = Zeroizing::new([0; TAG_KEY_LEN]);
        OsRng.fill_bytes(&mut *tag_key);
        let identity = Identity::generate();
        let key = identity.to_bytes().map_err(Error::New)?;
        let mut secret = Secret {
            metadata: metadata(&self.secret),
            data: Some(BTreeMap::from([
                (LIBP2P_KEY.to_owned(), ByteString(key.to_vec())),
                (TAG_KEY.to_owned(), ByteString(tag_key.to_vec())),
            ])),
            // The keys are never changed in place; a rotation makes a new Secret.
            immutable: Some(true),
            ..Secret::default()
        };
        let answer = self.secrets.create(&PostParams::default(), &secret).await;
        secret.data.iter_mut().flatten().for_each(|(_, bytes)| bytes.0.zeroize());
        match answer {
            Ok(made) => {
                tracing::info!(peer_id = %identity.peer_id(), secret = self.secret, "new identity");
                Ok(made)
            }
            // Another process was first.
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(self.secrets.get(&self.secret).await?),
            Err(error) => Err(error.into()),
        }
    }

    fn read(&self, secret: Secret) -> Result<Keys, Error> {
        let unusable = |key: &'static str, reason: String| Error::Unusable {
            namespace: self.namespace.clone(),
            secret: self.secret.clone(),
            key,
            reason,
        };
        let mut data = secret.data.unwrap_or_default();
        let mut take = |key: &'static str| {
            data.remove(key).map(|bytes| Zeroizing::new(bytes.0)).ok_or_else(|| unusable(key, "it is missing".to_owned()))
        };
        let identity = Identity::from_bytes(&take(LIBP2P_KEY)?, None).map_err(|error| unusable(LIBP2P_KEY, error.to_string()))?;
        let tag_key = take(TAG_KEY)?;
        let tag_key = <[u8; TAG_KEY_LEN]>::try_from(tag_key.as_slice())
            .map_err(|_| unusable(TAG_KEY, format!("it has {} bytes, not {TAG_KEY_LEN}", tag_key.len())))?;
        Ok(Keys { identity, tag_key: Zeroizing::new(tag_key) })
    }

    /// Writes what publishers dial (multiaddrs with the peer id, one a line) for people and scripts to read. Nothing is
    /// written when it stands there already.
    pub async fn publish_addresses(&self, addresses: &[String]) -> Result<(), Error> {
        let text = addresses.iter().map(|address| format!("{address}\n")).collect::<String>();
        let live = self.config_maps.get_opt(&self.config_map).await?;
        if live.and_then(|map| map.data?.remove(ADDRESSES)).as_ref() == Some(&text) {
            return Ok(());
        }
        self.publish(json!({ADDRESSES: text})).await
    }

    /// Sets keys of the ConfigMap, which is made if need be.
    async fn publish(&self, data: serde_json::Value) -> Result<(), Error> {
        let patch = Patch::Merge(json!({"data": data}));
        match self.config_maps.patch(&self.config_map, &PatchParams::default(), &patch).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
        let map = ConfigMap {
            metadata: metadata(&self.config_map),
            data: serde_json::from_value(data).ok(),
            ..ConfigMap::default()
        };
        match self.config_maps.create(&PostParams::default(), &map).await {
            Ok(_) => Ok(()),
            // Another process was first.
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                self.config_maps.patch(&self.config_map, &PatchParams::default(), &patch).await?;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn metadata(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        // As the tenants' Secrets: one selector finds all that a provider is (README, another namespace).
        labels: Some(BTreeMap::from([("app.kubernetes.io/managed-by".to_owned(), "apocryph-provider".to_owned())])),
        ..ObjectMeta::default()
    }
}
