//! The client's own `deploy`, with the connection cut at a place of the test's choosing.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::Result;
use apocryph_publisher::follow::{Decision, Point};

use crate::{install::Scene, tenant::Tenant};

/// Where the connection is cut, once.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// `accepted` has come and nothing has taken note of it: as if it had been lost on the way.
    BeforeAccepted,
    /// The state file says that it is accepted.
    AfterAccepted,
}

/// Deploys until running with one cut on the way; `check` gets the ApocryphPod's name; then the pod is deleted.
pub async fn deploy_and_delete(
    scene: &Scene,
    manifest: &str,
    cut: Cut,
    check: impl AsyncFnOnce(&str) -> Result<()>,
) -> Result<()> {
    let cuts = Arc::new(AtomicUsize::new(0));
    let counted = cuts.clone();
    let tenant = Tenant::new(Some(Arc::new(move |point| {
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
    })))?;
    let status = tenant.deploy(&scene.provider, manifest).await?;
    assert!(cuts.load(Ordering::SeqCst) >= 1, "nothing was cut");
    assert_eq!(status.life, 1);
    check(&status.name).await?;
    tenant.delete(&scene.provider).await
}
