//! What the one leader does beside standing by: it listens, admits and reconciles; and how it goes down.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use libp2p::Multiaddr;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Failure, Parts, Process, standby::Standby, until_answered};
use crate::{
    admission::{Admission, Services, checks::TagKey},
    announce,
    attestation::{
        claims::{ClaimsMaker, SealingKey},
        evidence::{Attestations, NoSource},
    },
    billing::free::Free,
    capacity::tracker::Tracker,
    model::services::{Capacity, Door, Payments, Pods, Prices},
    net::{
        router::Router,
        swarm::{self, Net},
    },
    pods::{controller, gateway::Gateway, sweep},
    pricing::{self, Pricing},
    protocols::{
        attest::Attest,
        capacity::{Offering, ProvisioningCapacity},
        manage::ManagePod,
        provision::ProvisionPod,
        session::{self, Environment},
    },
    ready::FrontDoor,
    telemetry::{events::PricingEvents, metrics::Metrics},
    walls::Watchman,
    watches::Watches,
};

/// Container of this program in its Pod (chart).
const CONTAINER: &str = "operator";
/// Until the kubelet has told the image of a container that runs.
const IMAGE_RETRY: Duration = Duration::from_secs(2);
/// How often the gauges are set.
const GAUGES: Duration = Duration::from_secs(10);
/// After the streams have ended: how long writes under way and the reconciles may take. With the drain of the streams it stays
/// below the chart's terminationGracePeriodSeconds.
const WRITES_DEADLINE: Duration = Duration::from_secs(10);

/// Leads until told to stop (`Ok`, drained) or until something is wrong. `client` writes only while the claim is valid.
pub async fn run(process: &Process, standby: Standby, client: Client) -> Result<(), Failure> {
    // The order to go down may come before everything runs.
    let stop = process.stop.clone();
    let Some(leader) = stop.run_until_cancelled(start(process, standby, client)).await else { return Ok(()) };
    let mut leader = leader?;
    tokio::select! {
        () = stop.cancelled() => {}
        failure = leader.parts.ended() => return Err(failure),
        ended = &mut leader.net => return Err(net_ended(ended)),
        failure = &mut leader.controller => return Err(controller_ended(failure)),
    }
    leader.drain(process).await;
    Ok(())
}

struct Leader {
    parts: Parts,
    net: tokio::task::JoinHandle<Result<(), swarm::Error>>,
    controller: tokio::task::JoinHandle<()>,
    admission: Arc<Admission>,
    /// Streams come to their final message.
    drain: CancellationToken,
    /// Caches and controller.
    work: CancellationToken,
    client: Client,
}
