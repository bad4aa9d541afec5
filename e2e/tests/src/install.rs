//! The chart as the tests install it. One install at a time; a test names the values it needs and the install is changed only
//! when they differ from those in force.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result};
use apocryph_proto::v0::provisioning_capacity::NotAccepting;
use apocryph_publisher::Provider;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::{
    actor::Actor,
    cluster::{admin, checkout, kubectl, run},
    existing::existing,
    wait::within,
};

pub const RELEASE: &str = "apocryph-provider";
pub const NAMESPACE: &str = "apocryph-system";
/// Made by the operator: peer id and addresses.
pub const PEER_CONFIG: &str = "apocryph-provider-peer";

/// The admin's prices; helm keeps it.
pub const PRICING: &str = "apocryph-provider-pricing";

/// Values beside `values/base.yaml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Short timings, free for everyone, node ports, volumes.
    Base,
    /// Room for five pods by `capacity.max`.
    FivePods,
    /// Pod Security level `restricted` for everyone, volumes of a class that nobody provisions.
    Strict,
    /// As `Base`, with time for many pods that start at once.
    Bench,
    /// No values at all, as `helm install` without any.
    None,
}

impl Profile {
    const fn file(self) -> Option<&'static str> {
        match self {
            Profile::Base | Profile::None => None,
            Profile::FivePods => Some("five-pods.yaml"),
            Profile::Bench => Some("bench.yaml"),
            Profile::Strict => Some("strict.yaml"),
        }
    }
}

/// The profile in force. Tests that change nothing of the install share it; the others have it alone.
static STAGE: RwLock<Option<Profile>> = RwLock::const_new(None);

enum Hold {
    Shared {
        _guard: RwLockReadGuard<'static, Option<Profile>>,
    },
    Alone {
        guard: RwLockWriteGuard<'static, Option<Profile>>,
    },
}

/// The admin's client and a provider that accepts; what other tests may do meanwhile is decided by how it was asked for.
pub struct Scene {
    pub admin: Client,
    pub provider: Provider,
    hold: Hold,
}

impl Scene {
    /// What follows has other values in force than the profile's: the next scene installs anew.
    pub fn forget(&mut self) {
        if let Hold::Alone { guard } = &mut self.hold {
            **guard = None;
        }
    }
}

/// The chart installed with a profile's values, beside other tests of the same profile.
pub async fn scene(profile: Profile) -> Result<Scene> {
    let guard = STAGE.read().await;
    if *guard == Some(profile) {
        return ready(profile, Hold::Shared { _guard: guard }).await;
    }
    drop(guard);
    let mut guard = STAGE.write().await;
    put_in_force(&mut guard, profile)?;
    ready(
        profile,
        Hold::Shared {
            _guard: guard.downgrade(),
        },
    )
    .await
}

/// The same, with no other test beside it.
pub async fn alone(profile: Profile) -> Result<Scene> {
    let mut guard = STAGE.write().await;
    put_in_force(&mut guard, profile)?;
    let scene = ready(profile, Hold::Alone { guard }).await?;
    // What a failed test left would fail this one as well.
    if !crate::pods::alive(&scene.admin).await?.is_empty() {
        kubectl(&["delete", "apocryphpods", "--all", "--timeout=90s"])?;
    }
    Ok(scene)
}

fn put_in_force(in_force: &mut Option<Profile>, profile: Profile) -> Result<()> {
    if *in_force == Some(profile) {
        return Ok(());
    }
    // An upgrade leaves the admin's prices as they are: those of no values at all would stay.
    let without_prices = in_force.take().is_none_or(|before| before == Profile::None);
    if profile == Profile::None {
        first_install()?;
    } else {
        if without_prices {
            kubectl(&[
                "delete",
                "configmap",
                PRICING,
                "--namespace",
                NAMESPACE,
                "--ignore-not-found",
            ])?;
        }
        helm_upgrade(profile, &[]).context("helm")?;
    }
    *in_force = Some(profile);
    Ok(())
}

async fn ready(profile: Profile, hold: Hold) -> Result<Scene> {
    let admin = admin().await?;
    let provider = provider(&admin).await?;
    if profile != Profile::None {
        accepting(&provider).await?;
    }
    Ok(Scene { admin, provider, hold })
}

/// `helm upgrade --install`, as the chart's README says, waiting until it is Ready.
pub fn helm_upgrade(profile: Profile, more: &[&str]) -> Result<String> {
    let values = checkout().join("e2e/tests/values");
    let mut helm = Command::new("helm");
    helm.args(["upgrade", "--install", RELEASE])
        .arg(checkout().join("charts/apocryph-provider"));
    helm.args([
        "--namespace",
        NAMESPACE,
        "--create-namespace",
        "--wait",
        "--timeout",
        "2m",
    ]);
    if profile != Profile::None {
        helm.arg("--values").arg(values.join("base.yaml"));
    }
    if let Some(file) = profile.file() {
        helm.arg("--values").arg(values.join(file));
    }
    if let Some(existing) = existing() {
        existing.add_image(&mut helm);
        if !matches!(profile, Profile::None | Profile::Strict) {
            existing.add_storage(&mut helm);
        }
    }
    run(helm.args(more))
}

/// As on a cluster that never had it: without values, and without the price table that an earlier install left.
fn first_install() -> Result<()> {
    helm_uninstall().context("helm")?;
    kubectl(&[
        "delete",
        "configmap",
        PRICING,
        "--namespace",
        NAMESPACE,
        "--ignore-not-found",
    ])?;
    // It waits for Ready.
    helm_upgrade(Profile::None, &[]).context("helm")?;
    // It announces no internal address by itself, and the tests' node has no other.
    helm_upgrade(Profile::None, &["--set", "libp2p.announce.internal=true"]).context("helm")?;
    Ok(())
}

pub fn helm_uninstall() -> Result<String> {
    run(Command::new("helm").args([
        "uninstall",
        RELEASE,
        "--ignore-not-found",
        "--namespace",
        NAMESPACE,
        "--wait",
        "--timeout",
        "2m",
    ]))
}

/// The provider by the addresses that the operator announces, once it answers there. What stands there right after an install
/// may be of the one before.
pub async fn provider(admin: &Client) -> Result<Provider> {
    let maps: Api<ConfigMap> = Api::namespaced(admin.clone(), NAMESPACE);
    within("the provider answers where it says", async {
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        loop {
            tick.tick().await;
            let map = maps.get_opt(PEER_CONFIG).await?;
            let addresses = map.and_then(|map| map.data?.remove("addresses")).unwrap_or_default();
            let tcp = addresses.lines().filter(|line| line.contains("/tcp/"));
            if let Ok(provider) = Provider::parse(tcp)
                && Actor::connect(&provider).await.is_ok()
            {
                return Ok(provider);
            }
        }
    })
    .await
}

/// Awaits that new pods are taken.
pub async fn accepting(provider: &Provider) -> Result<()> {
    door(provider, "the provider accepts pods", |why| why.is_none()).await
}

/// Awaits that new pods are refused by this code.
pub async fn not_accepting(provider: &Provider, code: &str) -> Result<()> {
    door(provider, code, |why| why.is_some_and(|why| why.code == code)).await
}

async fn door(provider: &Provider, what: &str, wanted: impl Fn(Option<&NotAccepting>) -> bool) -> Result<()> {
    let last = std::cell::RefCell::new(String::new());
    let asked = async {
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        loop {
            tick.tick().await;
            match ask(provider).await {
                Ok(why) if wanted(why.as_ref()) => return Ok(()),
                Ok(why) => *last.borrow_mut() = format!("{why:?}"),
                Err(error) => *last.borrow_mut() = format!("{error:#}"),
            }
        }
    };
    within(what, asked)
        .await
        .with_context(|| format!("last heard: {}", last.borrow()))
}

async fn ask(provider: &Provider) -> Result<Option<NotAccepting>> {
    Ok(Actor::connect(provider).await?.capacity().await?.not_accepting)
}
