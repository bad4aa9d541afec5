//! What goes wrong on the way is one code, one sentence and a remedy on the stream.

use anyhow::Result;
use apocryph_e2e::{
    actor::{Actor, Order},
    install::{Profile, scene},
    registry,
};
use apocryph_proto::{
    outcome::Code,
    v0::pod::{Image, image::PullSecret, volume::AccessMode},
};

use crate::SLEEPER;

/// Provisions and awaits the code; message and remedy must be there; then the pod is deleted.
async fn meets(actor: &Actor, order: &Order, code: Code) -> Result<String> {
    let status = actor.provision(order).await?.until_code(code).await?;
    assert!(!status.message.is_empty() && !status.remedy.is_empty(), "{status:?}");
    actor.end(order.pod_id).await?;
    Ok(status.message)
}

#[tokio::test]
async fn an_image_that_does_not_exist() -> Result<()> {
    let scene = scene(Profile::Base).await?;
    let registry = registry::empty(&scene.admin).await?;
    let actor = Actor::connect(&scene.provider).await?;
    let mut order = Order::of(SLEEPER)?;
    let image = format!("localhost:{}/nobody/nothing:1", registry.port);
    order.pod.containers[0].image.get_or_insert_default().url = image.clone();
    let message = meets(&actor, &order, Code::ImageNotFound).await?;
    assert!(message.contains(&image), "{message}");
    Ok(())
}

#[tokio::test]
async fn a_registry_that_wants_credentials() -> Result<()> {
    let scene = scene(Profile::Base).await?;
    let registry = registry::private(&scene.admin).await?;
    let actor = Actor::connect(&scene.provider).await?;
    let of = |password: Option<&str>| -> Result<Order> {
        let mut order = Order::of(SLEEPER)?;
        order.pod.containers[0].image = Some(Image {
            url: format!("localhost:{}/nobody/nothing:1", registry.port),
            pull_secret: password.map(|password| PullSecret {
                username: registry::USERNAME.into(),
                password: password.into(),
            }),
            ..Image::default()
        });
        Ok(order)
    };
    let without = meets(&actor, &of(None)?, Code::ImageUnauthorized).await?;
    assert!(without.contains("without credentials"), "{without}");
    let wrong = meets(&actor, &of(Some("close-sesame"))?, Code::ImageUnauthorized).await?;
    assert!(wrong.contains("for the credentials"), "{wrong}");
    // It lets us in, and has nothing.
    meets(&actor, &of(Some(registry::PASSWORD))?, Code::ImageNotFound).await?;
    Ok(())
}

#[tokio::test]
async fn a_volume_that_several_nodes_write_where_none_is_offered() -> Result<()> {
    let scene = scene(Profile::Base).await?;
    let actor = Actor::connect(&scene.provider).await?;
    let mut order = Order::of(crate::HELLO)?;
    order.pod.volumes[0].access_mode = AccessMode::VolumeRwMany.into();
    let refusal = actor.provision(&order).await?.refused().await?;
    assert_eq!(
        (refusal.code.text.as_str(), refusal.resource.as_str()),
        ("storage_not_offered", "storage")
    );
    assert!(refusal.message.contains("VOLUME_RW_MANY"), "{refusal:?}");
    Ok(())
}

#[tokio::test]
async fn a_registry_that_cannot_be_reached() -> Result<()> {
    let scene = scene(Profile::Base).await?;
    let actor = Actor::connect(&scene.provider).await?;
    let mut order = Order::of(SLEEPER)?;
    // nothing listens there
    order.pod.containers[0].image.get_or_insert_default().url = "localhost:9/nobody/nothing:1".into();
    meets(&actor, &order, Code::RegistryUnreachable).await?;
    Ok(())
}

#[tokio::test]
async fn a_program_that_ends_at_once_with_3() -> Result<()> {
    let scene = scene(Profile::Base).await?;
    let actor = Actor::connect(&scene.provider).await?;
    let mut order = Order::of(SLEEPER)?;
    order.pod.containers[0].command = ["/bin/sh", "-c", "exit 3"].map(String::from).to_vec();
    let message = meets(&actor, &order, Code::ContainerExited).await?;
    assert!(message.contains('3'), "{message}");
    Ok(())
}

#[tokio::test]
async fn a_request_larger_than_any_node() -> Result<()> {
    let scene = scene(Profile::Base).await?;
    let actor = Actor::connect(&scene.provider).await?;
    let mut order = Order::of(SLEEPER)?;
    let requests = &mut order.pod.containers[0].resource_requests;
    requests[0].quantity = Some(apocryph_proto::v0::pod::resource::Quantity::Amount(1000));
    let refusal = actor.provision(&order).await?.refused().await?;
    assert_eq!(
        (refusal.code.text.as_str(), refusal.resource.as_str()),
        ("larger_than_any_node", "cpu")
    );
    assert!(!refusal.message.is_empty() && !refusal.remedy.is_empty());
    Ok(())
}
