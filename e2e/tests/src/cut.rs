//! The client's own `deploy`, with the connection cut at a place of the test's choosing.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context, Result, bail};
use apocryph_proto::json;
use apocryph_publisher::{
    Client, Deployment, PodId, PublisherKey, Settings, Store, Until,
    delete::delete,
    deploy::{Options, Reached, deploy},
    follow::{Decision, Link, Point},
};

use crate::{install::Scene, leak, wait::within};

/// Where the connection is cut, once.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// `accepted` has come and nothing has taken note of it: as if it had been lost on the way.
    BeforeAccepted,
    /// The state file says that it is accepted.
    AfterAccepted,
}

/// Deploys until running; the stream is cut once on the way. Gives the ApocryphPod's name after deleting it again.
pub async fn deploy_and_delete(
    scene: &Scene,
    manifest: &str,
    cut: Cut,
    check: impl AsyncFnOnce(&str) -> Result<()>,
) -> Result<()> {
    let key = PublisherKey::random();
    let client = Client::start()?;
    let folder = leak::folder()?;
    let store = Store::open(&folder)?;
    let cuts = Arc::new(AtomicUsize::new(0));
    let counted = cuts.clone();
    let settings = Settings {
        allow_unattested: true,
        interceptor: Some(Arc::new(move |point| {
            let here = match point {
                Point::Received {
                    operation: "provision",
                    index: 0,
                    ..
                } => matches!(cut, Cut::BeforeAccepted),
                Point::Handled {
                    operation: "provision",
                    index: 0,
                    ..
                } => matches!(cut, Cut::AfterAccepted),
                _ => false,
            };
            if here && counted.fetch_add(1, Ordering::SeqCst) == 0 {
                Decision::Cut
            } else {
                Decision::Go
            }
        })),
        ..Settings::default()
    };
    let link = Link {
        client: &client,
        key: &key,
        provider: &scene.provider,
        settings: &settings,
    };
    let pod_id = PodId::random();
    let mut deployment = Deployment::free(json::pod_from_yaml(manifest)?, pod_id, &key, &scene.provider, 0, false);
    let options = Options {
        until: Until::Running,
        fail_fast: false,
    };
    let reached = within("running after the cut", async {
        deploy(link, &mut deployment, Some(&store), options, &mut |_| {})
            .await
            .context("deploy")
    })
    .await?;
    let Reached::Running(status) = reached else {
        bail!("{reached:?}")
    };
    assert!(cuts.load(Ordering::SeqCst) >= 1, "nothing was cut");
    assert_eq!(status.life, 1);
    check(&status.name).await?;
    delete(link, pod_id, 0, 0, &mut |_| {}).await?;
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
