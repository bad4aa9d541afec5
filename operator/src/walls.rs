//! Are the admission policies that hold this operator what the chart made them? They carry the whole weight of its rights, so
//! nothing is accepted while one is missing, changed or not bound.
//!
//! The hash is SHA-256 over the RFC 8785 JSON of `{name: spec}` of all policies and bindings. The chart computes it from what
//! it renders and spells out every field that the API server would default, so the live specs hash alike.

use std::{collections::BTreeMap, time::Duration};

use apocryph_proto::outcome::Code;
use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    core::v1::ObjectReference,
};
use kube::{
    Api, Client,
    core::{ApiResource, DynamicObject},
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::{sync::watch, time::sleep};

use crate::telemetry::events::Events;

/// While something is wrong, or could not be read.
const CHECK_WHILE_DOWN: Duration = Duration::from_secs(5);
/// While all is well.
const CHECK_WHILE_UP: Duration = Duration::from_secs(600);

/// What is to be there, as the chart says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub policies: Vec<String>,
    pub bindings: Vec<String>,
    pub hash: [u8; 32],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Walls {
    Up,
    /// Missing, changed, or not known yet.
    Down {
        why: String,
    },
}

/// What was found, for those who ask.
pub struct Watching {
    pub walls: watch::Receiver<Walls>,
    /// Hash of what is live, for the claims of an attestation; empty until everything could be read.
    pub hash: watch::Receiver<Vec<u8>>,
}

pub struct Watchman {
    client: Client,
    settings: Settings,
    walls: watch::Sender<Walls>,
    hash: watch::Sender<Vec<u8>>,
}

impl Watchman {
    pub fn new(client: Client, settings: Settings) -> (Watchman, Watching) {
        let (walls, walls_seen) = watch::channel(Walls::Down {
            why: "not read yet".to_owned(),
        });
        let (hash, hash_seen) = watch::channel(Vec::new());
        (
            Watchman {
                client,
                settings,
                walls,
                hash,
            },
            Watching {
                walls: walls_seen,
                hash: hash_seen,
            },
        )
    }

    /// Looks for ever.
    pub async fn run(self) {
        loop {
            let wait = self.look().await;
            sleep(wait).await;
        }
    }

    /// One look; how long until the next.
    async fn look(&self) -> Duration {
        let live = match self.read().await {
            Ok(live) => live,
            Err(error) => {
                // Could not find out: what was found before stands.
                tracing::warn!(%error, "could not read the admission policies");
                return CHECK_WHILE_DOWN;
            }
        };
        let missing: Vec<&str> = live
            .iter()
            .filter(|(_, spec)| spec.is_none())
            .map(|(name, _)| name.as_str())
            .collect();
        let walls = if !missing.is_empty() {
            self.hash.send_replace(Vec::new());
            Walls::Down {
                why: format!("missing: {}", missing.join(", ")),
            }
        } else {
            match hash(&live) {
                Ok(found) => {
                    self.hash.send_if_modified(|before| {
                        let changed = *before != found;
                        *before = found.to_vec();
                        changed
                    });
                    if found == self.settings.hash {
                        Walls::Up
                    } else {
                        Walls::Down {
                            why: "an admission policy or binding is not what the chart made it".to_owned(),
                        }
                    }
                }
                Err(error) => Walls::Down {
                    why: format!("a policy cannot be hashed: {error}"),
                },
            }
        };
        let wait = if walls == Walls::Up {
            CHECK_WHILE_UP
        } else {
            CHECK_WHILE_DOWN
        };
        self.walls.send_if_modified(|before| {
            let changed = *before != walls;
            if changed {
                match &walls {
                    Walls::Up => tracing::info!("admission policies are in place"),
                    Walls::Down { why } => tracing::error!(
                        why,
                        policies = self.settings.policies.join(", "),
                        "no pods are accepted; `helm upgrade` puts the admission policies back"
                    ),
                }
                *before = walls;
            }
            changed
        });
        wait
    }

    /// Each name and its live spec; `None`: there is no such object.
    async fn read(&self) -> Result<BTreeMap<String, Option<Value>>, kube::Error> {
        let kinds = [
            (
                ApiResource::erase::<ValidatingAdmissionPolicy>(&()),
                &self.settings.policies,
            ),
            (
                ApiResource::erase::<ValidatingAdmissionPolicyBinding>(&()),
                &self.settings.bindings,
            ),
        ];
        let mut live = BTreeMap::new();
        for (resource, names) in kinds {
            // Untyped: a field that our types do not know would otherwise be left out of the hash.
            let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
            for name in names {
                let object = api.get_opt(name).await?;
                live.insert(name.clone(), object.map(|mut object| object.data["spec"].take()));
            }
        }
        Ok(live)
    }
}

/// Tells the admin of walls that came down, by a Warning Event on this process' own Pod; strangers hear no names.
pub async fn tell(mut walls: watch::Receiver<Walls>, events: Events, own: ObjectReference) {
    loop {
        // Not of what it is at first: nothing was read yet.
        if walls.changed().await.is_err() {
            return std::future::pending().await;
        }
        let down = match &*walls.borrow_and_update() {
            Walls::Up => None,
            Walls::Down { why } => Some(format!(
                "No pods are accepted: {why}. `helm upgrade` puts the admission policies back."
            )),
        };
        if let Some(message) = down {
            events.of_own_pod(&own, Code::WallsMissing, &message).await;
        }
    }
}

fn hash(specs: &BTreeMap<String, Option<Value>>) -> Result<[u8; 32], serde_json::Error> {
    Ok(Sha256::digest(serde_json_canonicalizer::to_vec(specs)?).into())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::json;

    use super::*;
    use crate::fake_api;

    /// The chart's defaults as helm renders them (charts/apocryph-provider/tests/check.sh keeps the file current).
    const RENDERED: &str = include_str!("../../charts/apocryph-provider/tests/defaults.rendered.yaml");

    struct Rendered {
        settings: Settings,
        /// By path in the API.
        objects: BTreeMap<String, Value>,
    }

    fn rendered() -> Rendered {
        let mut objects = BTreeMap::new();
        let mut settings = None;
        for document in RENDERED.split("\n---\n") {
            let Ok(object) = serde_saphyr::from_str::<Value>(document) else {
                continue;
            };
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            match object["kind"].as_str().unwrap_or_default() {
                "ValidatingAdmissionPolicy" => {
                    objects.insert(format!("validatingadmissionpolicies/{name}"), object);
                }
                "ValidatingAdmissionPolicyBinding" => {
                    objects.insert(format!("validatingadmissionpolicybindings/{name}"), object);
                }
                "ConfigMap" if object["data"]["config.yaml"].is_string() => {
                    let config: Value =
                        serde_saphyr::from_str(object["data"]["config.yaml"].as_str().unwrap()).unwrap();
                    let names = |list: &Value| serde_json::from_value::<Vec<String>>(list.clone()).unwrap();
                    let hash = data_encoding::HEXLOWER
                        .decode(config["walls"]["hash"].as_str().unwrap().as_bytes())
                        .unwrap();
                    settings = Some(Settings {
                        policies: names(&config["walls"]["policies"]),
                        bindings: names(&config["walls"]["bindings"]),
                        hash: hash.try_into().unwrap(),
                    });
                }
                _ => {}
            }
        }
        Rendered {
            settings: settings.unwrap(),
            objects,
        }
    }

    type Objects = Arc<Mutex<Option<BTreeMap<String, Value>>>>;

    /// Serves the objects; `None`: the API server is away.
    fn client(objects: &Objects) -> Client {
        let objects = objects.clone();
        fake_api::client("default", move |_, path, _| {
            let path = path.rsplitn(3, '/').take(2).collect::<Vec<_>>();
            let path = format!("{}/{}", path[1], path[0]);
            match &*objects.lock().unwrap() {
                None => fake_api::fail(503, "away"),
                Some(objects) => objects
                    .get(&path)
                    .map_or_else(|| fake_api::fail(404, "NotFound"), |object| (200, object.clone())),
            }
        })
    }

    #[tokio::test]
    async fn the_admin_hears_which_wall_is_missing() {
        let (noted, mut notes) = tokio::sync::mpsc::unbounded_channel();
        let client = fake_api::client("apocryph", move |_, path, body| {
            let event: Value = serde_json::from_slice(body).unwrap();
            let about = event["regarding"]["name"].as_str().unwrap().to_owned();
            noted
                .send((path.to_owned(), about, event["note"].as_str().unwrap().to_owned()))
                .unwrap();
            (201, event)
        });
        let own = ObjectReference {
            kind: Some("Pod".to_owned()),
            name: Some("operator-0".to_owned()),
            namespace: Some("apocryph".to_owned()),
            ..ObjectReference::default()
        };
        let (walls, seen) = watch::channel(Walls::Down {
            why: "not read yet".to_owned(),
        });
        let telling = tokio::spawn(tell(seen, Events::new(client, None), own));
        walls.send_replace(Walls::Down {
            why: "missing: apocryph-tenant-pods".to_owned(),
        });
        let (path, about, note) = notes.recv().await.unwrap();
        assert_eq!(path, "/apis/events.k8s.io/v1/namespaces/apocryph/events");
        assert_eq!(about, "operator-0");
        assert!(note.contains("missing: apocryph-tenant-pods"), "{note}");
        telling.abort();
    }

    #[tokio::test]
    async fn what_helm_hashed_is_what_we_hash() {
        let Rendered { settings, objects } = rendered();
        assert_eq!(objects.len(), settings.policies.len() + settings.bindings.len());
        let expected = settings.hash;
        let (watchman, watching) = Watchman::new(client(&Arc::new(Mutex::new(Some(objects)))), settings);
        assert_eq!(watchman.look().await, CHECK_WHILE_UP);
        assert_eq!(*watching.walls.borrow(), Walls::Up);
        assert_eq!(*watching.hash.borrow(), expected);
    }

    #[tokio::test]
    async fn a_missing_binding_and_a_changed_policy_close_the_door_and_an_api_that_is_away_changes_nothing() {
        let Rendered { settings, objects } = rendered();
        let live: Objects = Arc::new(Mutex::new(Some(objects.clone())));
        let (watchman, watching) = Watchman::new(client(&live), settings);
        watchman.look().await;

        *live.lock().unwrap() = None;
        assert_eq!(watchman.look().await, CHECK_WHILE_DOWN);
        assert_eq!(*watching.walls.borrow(), Walls::Up);

        let mut without = objects.clone();
        without
            .remove("validatingadmissionpolicybindings/apocryph-tenant-pods-binding")
            .unwrap();
        *live.lock().unwrap() = Some(without);
        assert_eq!(watchman.look().await, CHECK_WHILE_DOWN);
        assert_eq!(
            *watching.walls.borrow(),
            Walls::Down {
                why: "missing: apocryph-tenant-pods-binding".to_owned()
            }
        );

        let mut changed = objects.clone();
        changed
            .get_mut("validatingadmissionpolicies/apocryph-tenant-pods")
            .unwrap()["spec"]["validations"][0]["expression"] = json!("true");
        *live.lock().unwrap() = Some(changed);
        watchman.look().await;
        assert!(matches!(&*watching.walls.borrow(), Walls::Down { why } if why.contains("not what the chart made it")));

        *live.lock().unwrap() = Some(objects);
        watchman.look().await;
        assert_eq!(*watching.walls.borrow(), Walls::Up);
    }
}
