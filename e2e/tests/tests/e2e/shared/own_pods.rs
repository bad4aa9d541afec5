//! An admin's own pods: made with kubectl, no tag.

use anyhow::Result;
use apocryph_crd::ApocryphPod;
use apocryph_e2e::{
    install::{Profile, scene},
    pods,
};
use kube::{Api, api::PostParams};

#[tokio::test]
async fn an_admins_pod_under_a_wrong_name_runs_nothing_and_says_why() -> Result<()> {
    let scene = scene(Profile::Base).await?;
    let api: Api<ApocryphPod> = Api::all(scene.admin.clone());
    let name = "a".repeat(26);
    let pod = pods::own(&name, crate::SLEEPER)?;
    api.create(&PostParams::default(), &pod).await?;
    let reason = apocryph_e2e::wait::until("condition Admitted", api.clone(), Default::default(), |all| {
        let pod = all.iter().find(|pod| pod.metadata.name.as_deref() == Some(&name))?;
        pods::condition(pod, "Admitted")
            .filter(|c| c.status == "False")
            .map(|c| c.reason.clone())
    })
    .await?;
    assert_eq!(reason, "WrongName");
    assert!(pods::namespace(&scene.admin, &name).await?.is_none());
    pods::delete_and_wait(&scene.admin, &name).await
}
