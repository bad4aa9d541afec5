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
    SecretGone {
        namespace: String,
        secret: String,
        config_map: String,
        peer_id: String,
    },
    #[error(
        "the Secret {namespace}/{secret} is of peer {found}, but the ConfigMap {config_map} says {expected}. Restore the right \
         Secret; or, if it was replaced on purpose: kubectl -n {namespace} delete configmap {config_map}"
    )]
    OtherPeer {
        namespace: String,
        secret: String,
        config_map: String,
        found: String,
        expected: String,
    },
    #[error("a new identity could not be made: {0}")]
    New(#[source] identity::Error),
    #[error("the Secret {namespace}/{secret}, key {key}: {reason}. Restore it from a backup")]
    Unusable {
        namespace: String,
        secret: String,
        key: &'static str,
        reason: String,
    },
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
        let published = self
            .config_maps
            .get_opt(&self.config_map)
            .await?
            .and_then(|map| map.data?.remove(PEER_ID));
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
        secret
            .data
            .iter_mut()
            .flatten()
            .for_each(|(_, bytes)| bytes.0.zeroize());
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
            data.remove(key)
                .map(|bytes| Zeroizing::new(bytes.0))
                .ok_or_else(|| unusable(key, "it is missing".to_owned()))
        };
        let identity =
            Identity::from_bytes(&take(LIBP2P_KEY)?, None).map_err(|error| unusable(LIBP2P_KEY, error.to_string()))?;
        let tag_key = take(TAG_KEY)?;
        let tag_key = <[u8; TAG_KEY_LEN]>::try_from(tag_key.as_slice())
            .map_err(|_| unusable(TAG_KEY, format!("it has {} bytes, not {TAG_KEY_LEN}", tag_key.len())))?;
        Ok(Keys {
            identity,
            tag_key: Zeroizing::new(tag_key),
        })
    }

    /// Writes what publishers dial (multiaddrs with the peer id, one a line) for people and scripts to read. Nothing is
    /// written when it stands there already.
    pub async fn publish_addresses(&self, addresses: &[String]) -> Result<(), Error> {
        let text = addresses
            .iter()
            .map(|address| format!("{address}\n"))
            .collect::<String>();
        let live = self.config_maps.get_opt(&self.config_map).await?;
        if live.and_then(|map| map.data?.remove(ADDRESSES)).as_ref() == Some(&text) {
            return Ok(());
        }
        self.publish(json!({ADDRESSES: text})).await
    }

    /// Sets keys of the ConfigMap, which is made if need be.
    async fn publish(&self, data: serde_json::Value) -> Result<(), Error> {
        let patch = Patch::Merge(json!({"data": data}));
        match self
            .config_maps
            .patch(&self.config_map, &PatchParams::default(), &patch)
            .await
        {
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
                self.config_maps
                    .patch(&self.config_map, &PatchParams::default(), &patch)
                    .await?;
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
        labels: Some(BTreeMap::from([(
            "app.kubernetes.io/managed-by".to_owned(),
            "apocryph-provider".to_owned(),
        )])),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::Value;

    use super::*;
    use crate::fake_api::{Answer, client, fail};

    /// Secrets and ConfigMaps by path, and the writes.
    #[derive(Clone, Default)]
    struct Server(Arc<Mutex<State>>);

    #[derive(Default)]
    struct State {
        objects: BTreeMap<String, Value>,
        writes: Vec<String>,
        /// Is there as soon as somebody tries to create it.
        first: Option<(String, Value)>,
    }

    const SECRET: &str = "secrets/identity";
    const CONFIG_MAP: &str = "configmaps/peer";

    impl Server {
        fn store(&self) -> IdentityStore {
            let server = self.clone();
            let client = client("apocryph", move |method, path, body| {
                let path = path.trim_start_matches("/api/v1/namespaces/apocryph/").to_owned();
                server.answer(method.as_str(), path, body)
            });
            IdentityStore::new(client, "apocryph", "identity", "peer")
        }

        fn answer(&self, method: &str, path: String, body: &[u8]) -> Answer {
            let mut state = self.0.lock().unwrap();
            if method != "GET" {
                state.writes.push(format!("{method} {path}"));
            }
            match method {
                "GET" => state
                    .objects
                    .get(&path)
                    .map_or_else(|| fail(404, "NotFound"), |found| (200, found.clone())),
                "POST" => {
                    let object: Value = serde_json::from_slice(body).unwrap();
                    let path = format!("{path}/{}", object["metadata"]["name"].as_str().unwrap());
                    if state.first.as_ref().is_some_and(|(first, _)| *first == path) {
                        let (path, object) = state.first.take().unwrap();
                        state.objects.insert(path, object);
                    }
                    if state.objects.contains_key(&path) {
                        return fail(409, "AlreadyExists");
                    }
                    state.objects.insert(path, object.clone());
                    (201, object)
                }
                "PATCH" => {
                    let patch: Value = serde_json::from_slice(body).unwrap();
                    let Some(object) = state.objects.get_mut(&path) else {
                        return fail(404, "NotFound");
                    };
                    for (key, value) in patch["data"].as_object().unwrap() {
                        object["data"][key] = value.clone();
                    }
                    (200, object.clone())
                }
                other => panic!("unexpected {other}"),
            }
        }

        fn remove(&self, path: &str) -> Value {
            self.0.lock().unwrap().objects.remove(path).unwrap()
        }

        fn writes(&self) -> Vec<String> {
            std::mem::take(&mut self.0.lock().unwrap().writes)
        }
    }

    async fn error(store: &IdentityStore) -> String {
        let error = store.load_or_create().await.err().unwrap();
        assert!(!error.passes());
        error.to_string()
    }

    #[tokio::test]
    async fn the_first_start_makes_it_and_every_later_one_finds_it() {
        let server = Server::default();
        let made = server.store().load_or_create().await.unwrap();
        assert_eq!(
            server.writes(),
            ["POST secrets", "PATCH configmaps/peer", "POST configmaps"]
        );
        let found = server.store().load_or_create().await.unwrap();
        assert_eq!(found.identity.peer_id(), made.identity.peer_id());
        assert_eq!(*found.tag_key, *made.tag_key);
        assert_ne!(*made.tag_key, [0; TAG_KEY_LEN]);
        assert_eq!(server.writes(), [""; 0]);
        let peer = server.0.lock().unwrap().objects[CONFIG_MAP]["data"]["peerId"].clone();
        assert_eq!(peer, made.identity.peer_id().to_string());
    }

    #[tokio::test]
    async fn of_two_first_starts_the_later_takes_what_the_earlier_made() {
        let other = Server::default();
        let theirs = other.store().load_or_create().await.unwrap();
        let server = Server::default();
        server.0.lock().unwrap().first = Some((SECRET.to_owned(), other.remove(SECRET)));
        let ours = server.store().load_or_create().await.unwrap();
        assert_eq!(ours.identity.peer_id(), theirs.identity.peer_id());
    }

    #[tokio::test]
    async fn a_lost_secret_is_never_replaced_in_silence() {
        let server = Server::default();
        let peer_id = server
            .store()
            .load_or_create()
            .await
            .unwrap()
            .identity
            .peer_id()
            .to_string();
        let secret = server.remove(SECRET);
        server.writes();
        let says = error(&server.store()).await;
        assert!(says.contains(&peer_id) && says.contains("Restore the Secret"), "{says}");
        assert!(says.contains("kubectl -n apocryph delete configmap peer"), "{says}");
        assert_eq!(server.writes(), [""; 0]);

        // Rotated on purpose.
        server.remove(CONFIG_MAP);
        let new = server.store().load_or_create().await.unwrap();
        assert_ne!(new.identity.peer_id().to_string(), peer_id);

        // The old one put back under the new ConfigMap.
        server.0.lock().unwrap().objects.insert(SECRET.to_owned(), secret);
        let says = error(&server.store()).await;
        assert!(
            says.contains(&peer_id) && says.contains(&new.identity.peer_id().to_string()),
            "{says}"
        );
    }

    #[tokio::test]
    async fn a_damaged_secret_names_its_key_and_shows_nothing_of_it() {
        for key in [LIBP2P_KEY, TAG_KEY] {
            let server = Server::default();
            server.store().load_or_create().await.unwrap();
            server.0.lock().unwrap().objects.get_mut(SECRET).unwrap()["data"][key] = json!("c2VjcmV0IHZhbHVl");
            let says = error(&server.store()).await;
            assert!(says.contains(key), "{says}");
            assert!(!says.contains("secret value") && !says.contains("c2VjcmV0"), "{says}");
        }
    }

    #[tokio::test]
    async fn addresses_are_written_at_a_change_only() {
        let server = Server::default();
        let store = server.store();
        store.load_or_create().await.unwrap();
        server.writes();
        let addresses = [
            "/ip4/203.0.113.7/tcp/31001/p2p/a".to_owned(),
            "/ip4/203.0.113.7/tcp/31002/p2p/a".to_owned(),
        ];
        store.publish_addresses(&addresses).await.unwrap();
        store.publish_addresses(&addresses).await.unwrap();
        assert_eq!(server.writes(), ["PATCH configmaps/peer"]);
        let text = server.0.lock().unwrap().objects[CONFIG_MAP]["data"]["addresses"].clone();
        assert_eq!(text, format!("{}\n{}\n", addresses[0], addresses[1]));
    }
}
