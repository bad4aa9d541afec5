//! The admin forces `restricted`, and his storage class has no provisioner.

use anyhow::Result;
use apocryph_e2e::{
    actor::{Actor, Order},
    install::{Profile, scene},
};
use apocryph_proto::{outcome::Code, v0::pod::User};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;

use crate::{HELLO, SLEEPER};

/// The class that values/strict.yaml names.
const CLASS: &str = "nobody-provisions";

/// It exists, and nobody makes its volumes.
async fn class_without_provisioner(admin: &Client) -> Result<()> {
    let class: StorageClass = serde_json::from_value(json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": CLASS},
        "provisioner": "example.org/nobody",
    }))?;
    Api::<StorageClass>::all(admin.clone())
        .patch(CLASS, &PatchParams::apply("e2e"), &Patch::Apply(&class))
        .await?;
    Ok(())
}

#[tokio::test]
async fn an_image_that_starts_as_root_is_told_and_capacity_says_so_beforehand() -> Result<()> {
    let scene = scene(Profile::Strict).await?;
    let actor = Actor::connect(&scene.provider).await?;
    assert!(!actor.capacity().await?.images_may_run_as_root);
    let order = Order::of(SLEEPER)?;
    let status = actor.provision(&order).await?.until_code(Code::ImageRunsAsRoot).await?;
    assert!(!status.message.is_empty() && !status.remedy.is_empty(), "{status:?}");
    actor.end(order.pod_id).await?;
    Ok(())
}

#[tokio::test]
async fn a_user_is_a_number_other_than_0_by_the_image_or_by_the_manifest() -> Result<()> {
    let scene = scene(Profile::Strict).await?;
    let actor = Actor::connect(&scene.provider).await?;
    let of = |uid: Option<u32>| -> Result<Order> {
        let mut order = Order::of(SLEEPER)?;
        let container = &mut order.pod.containers[0];
        container.image.get_or_insert_default().url = "registry.example/named:1".into();
        container.user = uid.map(|uid| User {
            uid: Some(uid),
            gid: None,
        });
        Ok(order)
    };
    for (uid, code) in [(None, Code::ImageUserNamed), (Some(0), Code::ImageRunsAsRoot)] {
        let order = of(uid)?;
        let status = actor.provision(&order).await?.until_code(code).await?;
        assert!(
            status.message.contains("`app`") && !status.remedy.is_empty(),
            "{status:?}"
        );
        actor.end(order.pod_id).await?;
    }
    let order = of(Some(1000))?;
    actor.run(&order).await?;
    actor.end(order.pod_id).await?;
    Ok(())
}

#[tokio::test]
async fn a_volume_that_cannot_be_bound() -> Result<()> {
    let scene = scene(Profile::Strict).await?;
    let actor = Actor::connect(&scene.provider).await?;
    class_without_provisioner(&scene.admin).await?;
    let order = Order::of(HELLO)?;
    let status = actor.provision(&order).await?.until_code(Code::VolumeUnbound).await?;
    assert!(!status.message.is_empty() && !status.remedy.is_empty(), "{status:?}");
    actor.end(order.pod_id).await?;
    Api::<StorageClass>::all(scene.admin.clone())
        .delete(CLASS, &DeleteParams::default())
        .await?;
    Ok(())
}
