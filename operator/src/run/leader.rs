//! What the one leader does beside standing by: it listens, admits and reconciles; and how it goes down.

use std::{future::Future, sync::Arc, time::Duration};

use apocryph_crd::{ApocryphPod, condition};
use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference, Pod};
use kube::{Api, Client, runtime::reflector::Store};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Drained, Failure, Parts, Process, standby::Standby, until_answered};
use crate::{
    access::{self, AccessList},
    admission::{Admission, Services, checks::TagKey},
    announce,
    attestation::{
        claims::{ClaimsMaker, SealingKey},
        evidence::{Attestations, NoSource},
    },
    billing::free::Free,
    capacity::Tracker,
    config_map::{
        self, EditError,
        watch::{Applied, Report, Source},
    },
    identity_store::Keys,
    model::services::{Capacity, Door, Pods},
    net::{
        router::Router,
        swarm::{self, Net},
    },
    pods::{controller, gateway::Gateway, preview::Builders, sweep},
    pricing::{self, Pricing},
    protocols::{
        attest::Attest,
        capacity::{Offering, ProvisioningCapacity},
        manage::ManagePod,
        provision::ProvisionPod,
        session::{self, Environment},
    },
    ready::FrontDoor,
    telemetry::{events::Events, metrics::Metrics},
    walls::{self, Watchman},
    watches::Watches,
};

/// Container of this program in its Pod (chart).
const CONTAINER: &str = "operator";
/// Until the kubelet has told the image of a container that runs.
const IMAGE_RETRY: Duration = Duration::from_secs(2);
/// How often the gauges are set.
const GAUGES: Duration = Duration::from_secs(10);
/// After the streams have ended: how long writes under way, and then the looks of the controller, may take. With the drain of
/// the streams (net::limits) it stays below the chart's terminationGracePeriodSeconds.
const WRITES_DEADLINE: Duration = Duration::from_secs(6);

struct Leader {
    /// What may be dropped at any moment.
    parts: Parts,
    net: JoinHandle<Result<(), swarm::Error>>,
    controller: JoinHandle<anyhow::Result<()>>,
    sweeper: JoinHandle<()>,
    admission: Arc<Admission>,
    /// Streams come to their final message.
    drain: CancellationToken,
    /// Controller, sweeper and caches.
    work: CancellationToken,
}

/// Leads until told to stop (`Ok`, drained) or until something is wrong. `client` writes only while the claim is valid.
pub async fn run(
    process: &Process,
    standby: Standby,
    client: Client,
    libp2p_metrics: libp2p::metrics::Metrics,
) -> Result<Drained, Failure> {
    let stop = process.stop.clone();
    let Some(mut leader) = start(process, standby, client, libp2p_metrics).await? else {
        return Ok(Drained::Clean);
    };
    tokio::select! {
        () = stop.cancelled() => Ok(leader.go_down().await),
        failure = leader.parts.ended() => Err(failure),
        ended = &mut leader.net => Err(ended_by_itself("the network", ended)),
        ended = &mut leader.controller => Err(ended_by_itself("the controller", ended)),
        ended = &mut leader.sweeper => Err(ended_by_itself("the sweeper", ended.map(Ok::<_, String>))),
    }
}

fn ended_by_itself<E: ToString>(part: &'static str, ended: Result<Result<(), E>, tokio::task::JoinError>) -> Failure {
    let reason = match ended {
        Ok(Ok(())) => "it had nothing more to do".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    Failure::Part { part, reason }
}

/// Returns when publishers can come in, or earlier when told to stop: an API server that does not answer must not hold up
/// SIGTERM until the kubelet kills. `None`: nothing was begun that could write.
async fn start(
    process: &Process,
    standby: Standby,
    client: Client,
    libp2p_metrics: libp2p::metrics::Metrics,
) -> Result<Option<Leader>, Failure> {
    let Process {
        config,
        stop,
        gates,
        metrics,
        pods_metrics,
        ..
    } = process;
    let listening = gates.add("listening");
    let (drain, work) = (CancellationToken::new(), CancellationToken::new());
    let mut parts = Parts::new();

    // Whatever the last leader wrote is read before anything is admitted or decided: its caches may be older than that.
    let (watches, watching) = Watches::start(&client, &work);
    parts.result("the caches", watching.ended());
    let Some(synced) = stop.run_until_cancelled(watches.synced()).await else {
        work.cancel();
        return Ok(None);
    };
    synced.map_err(|error| Failure::start("the caches", error))?;
    let (Keys { identity, tag_key }, store) = standby.step_forward();
    let peer_id = identity.peer_id();

    let capacity = Tracker::new(config.capacity.clone(), watches.clone());
    let prices = Pricing::new();
    let events = Events::new(client.clone(), Some(config.pod.name.clone()));
    let (watchman, watched_walls) = Watchman::new(client.clone(), config.walls.clone());
    let access = AccessList::new();
    let door: Arc<dyn Door> = Arc::new(FrontDoor {
        access: access.clone(),
        walls: watched_walls.walls.clone(),
        prices: prices.clone(),
    });
    let gateway = Gateway::new(client.clone(), watches.clone(), &config.pods);
    let pods: Arc<dyn Pods> = gateway.clone();
    let admission = Arc::new(Admission::new(
        Services {
            pods: pods.clone(),
            capacity: capacity.clone(),
            payments: Arc::new(Free::new(prices.clone())),
            door: door.clone(),
            prices: prices.clone(),
            preview: Arc::new(Builders {
                settings: config.pods.clone(),
                watches: watches.clone(),
                capacity: capacity.clone(),
            }),
        },
        TagKey::new(*tag_key),
        config.defaults,
    ));
    let (image, image_id) = watch::channel(String::new());
    let claims = ClaimsMaker {
        sealing_key: SealingKey::generate(),
        payment_address: config.payment_address,
        image_id,
        policies_hash: watched_walls.hash,
    };
    let offering = Offering {
        capacity: capacity.clone(),
        prices: prices.clone(),
        door: door.clone(),
        payment_address: config.payment_address,
        defaults: config.defaults,
    };

    let controller = tokio::spawn(controller::run(
        client.clone(),
        watches.clone(),
        config.pods.clone(),
        capacity.clone(),
        events.clone(),
        pods_metrics.clone(),
        work.clone(),
    ));
    let seen = watches.apocryph_pods.clone();
    let sweeper = tokio::spawn(sweep::run(
        client.clone(),
        watches,
        config.pods.clone(),
        gateway.staging(),
        pods_metrics.clone(),
        work.clone(),
    ));
    parts.forever("the walls", watchman.run());
    parts.forever("what is told of the walls", {
        let own = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(config.pod.name.clone()),
            namespace: Some(config.pod.namespace.clone()),
            uid: Some(config.pod.uid.clone()),
            ..ObjectReference::default()
        };
        walls::tell(watched_walls.walls, events.clone(), own)
    });
    parts.forever("the holds", {
        let (capacity, client) = (capacity.clone(), client.clone());
        async move { capacity.look_after_holds(client).await }
    });
    let edited = |name: &str, key| Source {
        namespace: config.pod.namespace.clone(),
        name: name.to_owned(),
        key,
    };
    parts.forever(
        "the prices",
        config_map::watch::follow(
            client.clone(),
            edited(&config.names.pricing, pricing::KEY),
            prices.clone(),
            Arc::new(Edits {
                events: events.clone(),
                subject: &PRICES,
            }),
        ),
    );
    parts.forever(
        "the list of who may come in",
        config_map::watch::follow(
            client.clone(),
            edited(&config.names.access, access::KEY),
            access,
            Arc::new(Edits {
                events,
                subject: &ACCESS,
            }),
        ),
    );
    parts.forever(
        "the image id",
        own_image(
            client.clone(),
            config.pod.namespace.clone(),
            config.pod.name.clone(),
            image,
        ),
    );
    parts.forever("the gauges", gauges(metrics.clone(), door, capacity, seen));
    let (announced, external) = watch::channel(Vec::new());
    parts.forever(
        "the announced addresses",
        announce::follow(client.clone(), config.announce.clone(), announced),
    );
    parts.forever(
        "the published addresses",
        announce::publish(store, peer_id, external.clone()),
    );

    let provider = peer_id.to_base58();
    let environment = Environment::new(session::Settings::default(), metrics.clone(), drain.clone());
    let router = Router::new(environment)
        .with(Arc::new(Attest {
            attester: Arc::new(Attestations::new(peer_id.to_bytes(), claims, vec![Box::new(NoSource)])),
            offering: offering.clone(),
        }))
        .with(Arc::new(ProvisioningCapacity(offering)))
        .with(Arc::new(ProvisionPod {
            admission: admission.clone(),
            pods: pods.clone(),
            provider: provider.clone(),
        }))
        .with(Arc::new(ManagePod { pods, provider }));
    let mut net = swarm::start(Net {
        identity,
        settings: config.net.clone(),
        router,
        external,
        libp2p_metrics,
    })
    .map_err(|error| Failure::start("the network", error))?;
    let label = stop.run_until_cancelled(async {
        // Err: it has ended, and `run` says why.
        let _ends = net.listening.wait_for(|addresses| !addresses.is_empty()).await;
        until_answered(
            "putting the leader's label on",
            |_| true,
            || announce::step_forward(&client, &config.pod.namespace, &config.pod.name),
        )
        .await
    });
    match label.await {
        Some(Ok(())) => {
            listening.open();
            tracing::info!(%peer_id, "publishers may come");
        }
        Some(Err(error)) => return Err(Failure::start("the leader", error)),
        None => tracing::info!("told to stop while taking over"),
    }
    Ok(Some(Leader {
        parts,
        net: net.task,
        controller,
        sweeper,
        admission,
        drain,
        work,
    }))
}

impl Leader {
    /// Streams first, to their final message; then what they had begun to write; then the controller. Nothing is written
    /// after that.
    async fn go_down(self) -> Drained {
        let Leader {
            parts,
            net,
            controller,
            sweeper,
            admission,
            drain,
            work,
        } = self;
        drain.cancel();
        match net.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the network, going down"),
            Err(error) => tracing::warn!(%error, "the network, going down"),
        }
        let written = in_time("writes under way", admission.finish()).await;
        work.cancel();
        let reconciled = in_time("the controller", async {
            // Err: it panicked, so it writes nothing either.
            let _ended = tokio::join!(controller, sweeper);
        })
        .await;
        // What is left only reads, or writes Events and the addresses.
        drop(parts);
        if written && reconciled {
            Drained::Clean
        } else {
            Drained::Unfinished
        }
    }
}

async fn in_time(what: &str, ends: impl Future<Output = ()>) -> bool {
    let ended = timeout(WRITES_DEADLINE, ends).await.is_ok();
    if !ended {
        tracing::warn!(within = ?WRITES_DEADLINE, "{what} did not end in time");
    }
    ended
}

/// The imageID of this program's own container, once the kubelet has told it.
async fn own_image(client: Client, namespace: String, pod: String, image: watch::Sender<String>) {
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    loop {
        match pods.get(&pod).await {
            Ok(pod) => {
                let statuses = pod
                    .status
                    .and_then(|status| status.container_statuses)
                    .unwrap_or_default();
                let own = statuses
                    .into_iter()
                    .find(|status| status.name == CONTAINER)
                    .map(|status| status.image_id);
                if let Some(id) = own.filter(|id| !id.is_empty()) {
                    image.send_replace(id);
                    return std::future::pending().await;
                }
            }
            Err(error) => tracing::warn!(%error, "could not read this process' own Pod"),
        }
        sleep(IMAGE_RETRY).await;
    }
}

async fn gauges(metrics: Metrics, door: Arc<dyn Door>, capacity: Arc<dyn Capacity>, seen: Store<ApocryphPod>) {
    loop {
        let mut phases = PHASES.map(|phase| (phase, 0));
        for pod in seen.state() {
            let of = phase(&pod);
            phases
                .iter_mut()
                .filter(|(phase, _)| *phase == of)
                .for_each(|(_, count)| *count += 1);
        }
        for (phase, count) in phases {
            metrics.pods(phase, count);
        }
        metrics.accepting(door.accepting().is_ok());
        let report = capacity.report();
        metrics.capacity_free_cpu(report.free.cpu_millis);
        metrics.capacity_free("memory", report.free.memory);
        metrics.capacity_free("ephemeral-storage", report.free.ephemeral_storage);
        metrics.capacity_free("storage", report.storage.unwrap_or(0));
        metrics.capacity_sold_cpu(report.sold.cpu_millis);
        metrics.capacity_sold("memory", report.sold.memory);
        metrics.capacity_sold("ephemeral-storage", report.sold.ephemeral_storage);
        metrics.capacity_sold("storage", report.sold_storage);
        sleep(GAUGES).await;
    }
}

const PHASES: [&str; 4] = ["starting", "running", "ending", "ended"];

fn phase(pod: &ApocryphPod) -> &'static str {
    let conditions = pod
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    let holds = |kind: &str| {
        conditions
            .iter()
            .any(|condition| condition.type_ == kind && condition.status == "True")
    };
    match &pod.spec.end {
        Some(_) if holds(condition::ENDED) => "ended",
        Some(_) => "ending",
        None if holds(condition::READY) => "running",
        None => "starting",
    }
}

/// How an edit of one of the admin's ConfigMaps is told.
struct Subject {
    /// Of the Event.
    action: &'static str,
    refused: &'static str,
    /// What stays in force after a bad edit.
    last: &'static str,
    changed: (&'static str, &'static str),
    nothing: (&'static str, &'static str),
}

const PRICES: Subject = Subject {
    action: "ReadPrices",
    refused: "PricesRefused",
    last: "The last good prices stay in force.",
    changed: ("PricesInForce", "The prices are in force."),
    nothing: (
        "NoPriceTable",
        "There is no price table in it; without one nothing is accepted.",
    ),
};

const ACCESS: Subject = Subject {
    action: "ReadAccess",
    refused: "AccessRefused",
    last: "The last good list stays in force; nothing is accepted if there was none since the operator started.",
    changed: ("AccessInForce", "Who may start pods now is as it says."),
    nothing: (
        "NoAccess",
        "The key access.yaml is missing; without it nothing is accepted after the operator's next start.",
    ),
};

/// What became of an edit, as an Event on the ConfigMap.
struct Edits {
    events: Events,
    subject: &'static Subject,
}

impl Edits {
    fn tell(&self, config_map: &ConfigMap, reason: &'static str, message: String, warning: bool) {
        let (events, config_map, action) = (self.events.clone(), config_map.clone(), self.subject.action);
        // One per edit, each bounded in time.
        tokio::spawn(async move { events.of_edit(&config_map, reason, &message, action, warning).await });
    }
}

impl Report for Edits {
    fn rejected(&self, config_map: &ConfigMap, error: &EditError) {
        let Subject { refused, last, .. } = self.subject;
        self.tell(config_map, refused, format!("{error}. {last}"), true);
    }

    fn accepted(&self, config_map: &ConfigMap, applied: Applied) {
        let (reason, message) = match applied {
            Applied::Changed => self.subject.changed,
            Applied::Nothing => self.subject.nothing,
            Applied::Unchanged => return,
        };
        self.tell(config_map, reason, message.to_owned(), false);
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use prometheus_client::registry::Registry;
    use serde_json::json;
    use zeroize::Zeroizing;

    use super::*;
    use crate::{
        args::tests::default_config, fake_api, identity_store::IdentityStore, net::identity::Identity,
        pods::Metrics as PodsMetrics, ready::Gates,
    };

    /// Ends a test that hangs.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Leads with an API server that falls silent at the first request of which `silent` holds, and is then told to stop.
    async fn stopped_when(silent: fn(&Method, &str) -> bool) -> Result<Drained, Failure> {
        let stop = CancellationToken::new();
        let order = stop.clone();
        let client = fake_api::client("apocryph", move |method, path, _| {
            if silent(method, path) {
                order.cancel();
            }
            // From then on nothing is answered.
            (!order.is_cancelled()).then(|| {
                (
                    200,
                    json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []}),
                )
            })
        });
        let mut registry = Registry::default();
        let mut config = default_config();
        config.net.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        let process = Process {
            config,
            gates: Gates::default(),
            metrics: Metrics::register(&mut registry),
            pods_metrics: PodsMetrics::register(&mut registry),
            stop,
        };
        let keys = Keys {
            identity: Identity::generate(),
            tag_key: Zeroizing::new([7; 32]),
        };
        let standby = Standby::ready(keys, IdentityStore::new(client.clone(), "apocryph", "identity", "peer"));
        let libp2p_metrics = libp2p::metrics::Metrics::new(&mut registry);
        timeout(PATIENCE, run(&process, standby, client, libp2p_metrics))
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_stop_is_carried_out_while_the_caches_wait_for_the_api_server() {
        let listing = |_: &Method, path: &str| path.ends_with("/nodes");
        assert_eq!(stopped_when(listing).await.unwrap(), Drained::Clean);
    }

    #[tokio::test]
    async fn a_stop_is_carried_out_while_the_label_waits_for_the_api_server() {
        let labelling = |method: &Method, path: &str| method == Method::PATCH && path.contains("/pods/");
        assert_eq!(stopped_when(labelling).await.unwrap(), Drained::Clean);
    }
}
