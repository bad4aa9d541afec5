//! Everything that a manifest can say, seen from outside.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use apocryph_e2e::{
    actor::{Actor, Order},
    http,
    install::{Profile, scene},
    pods, udp,
    wait::within,
};
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use kube::{Api, api::ListParams};

/// One container writes, the other serves what it wrote: they meet by name and in an emptied volume.
const TWO: &str = r#"
containers:
- name: web
  image: {url: registry.example/sleeper:1}
  command: [/bin/sh, -c, "trap 'exit 0' TERM; httpd -f -p 8080 -h /shared & wait"]
  ports: [{name: http, port: 80, targetPort: 8080}]
  volumes: [{name: shared, mountPath: /shared, readOnly: true}]
  resourceRequests: &small
  - {resource: cpu, amountMillis: 10}
  - {resource: memory, amountMebi: 16}
  - {resource: ephemeral-storage, amountMebi: 16}
- name: writer
  image: {url: registry.example/sleeper:1}
  command: [/bin/sh, -c]
  args:
  - |
    trap 'exit 0' TERM
    echo hello > /shared/by-name
    until wget -q -O /tmp/got http://web:8080/by-name; do sleep 0.2; done
    echo x 2>/dev/null > /run/greeting && written=written || written=read-only
    echo "$(cat /tmp/got), $(cat /run/greeting), $written, $(id -u):$(id -g) $(id -G)" > /shared/index.html
    sleep 1000000 & wait
  user: {uid: 1000, gid: 1001}
  volumes:
  - {name: shared, mountPath: /shared}
  - {name: greeting, mountPath: /run/greeting}
  resourceRequests: *small
volumes:
- {name: shared, type: VOLUME_EMPTY, filesystem: {resourceRequests: [{resource: ephemeral-storage, amountMebi: 8}]}}
- {name: greeting, type: VOLUME_SECRET, secret: {contentsString: a word in a file}}
fsGroup: 1002
"#;

#[tokio::test]
async fn two_containers_meet_by_name_and_share_a_volume_and_a_secret_is_a_file() -> Result<()> {
    let scene = scene(Profile::Base).await?;
    let actor = Actor::connect(&scene.provider).await?;
    let order = Order::of(TWO)?;
    let running = actor.run(&order).await?;
    let page = http::get(&running.addresses.first().context("an address")?.multiaddr).await?;
    assert_eq!(page.trim(), "hello, a word in a file, read-only, 1000:1001 1001 1002");

    // Both containers and the volume are reserved, and no more.
    let space = format!("apod-{}", running.name);
    let quotas: Api<ResourceQuota> = Api::namespaced(scene.admin.clone(), &space);
    let hard = quotas
        .get("admitted")
        .await?
        .spec
        .and_then(|spec| spec.hard)
        .unwrap_or_default();
    let bytes = hard["requests.ephemeral-storage"].0.parse::<u64>()?;
    assert_eq!(bytes, (2 * (16 + 16 + 8)) << 20, "with room for a replacement");
    let object = pods::get(&scene.admin, &running.name).await?.context("the pod")?;
    assert!(!serde_json::to_string(&object)?.contains("a word in a file"));
    actor.end(order.pod_id).await?;
    Ok(())
}

#[tokio::test]
async fn a_datagram_comes_back() -> Result<()> {
    let scene = scene(Profile::Base).await?;
    let actor = Actor::connect(&scene.provider).await?;
    let mut order = Order::of(crate::SLEEPER)?;
    let container = &mut order.pod.containers[0];
    container.image.get_or_insert_default().url = "registry.example/udp-echo:1".into();
    container.ports = vec![apocryph_proto::v0::pod::container::Port {
        name: "echo".into(),
        port: 7777,
        protocol: apocryph_proto::v0::pod::container::Protocol::Udp.into(),
        ..Default::default()
    }];
    let running = actor.run(&order).await?;
    let address = &running.addresses.first().context("an address")?.multiaddr;
    assert!(address.contains("/udp/"), "{address}");
    assert_eq!(udp::ask(address, b"are you there").await?, b"are you there");
    actor.end(order.pod_id).await?;
    Ok(())
}

/// Each replica says who it is.
const REPLICAS: &str = r#"
containers:
- name: web
  image: {url: registry.example/sleeper:1}
  command: [/bin/sh, -c, "trap 'exit 0' TERM; hostname > /www/index.html; httpd -f -p 8080 -h /www & wait"]
  ports: [{name: http, port: 8080}]
  volumes: [{name: www, mountPath: /www}]
  resourceRequests:
  - {resource: cpu, amountMillis: 10}
  - {resource: memory, amountMebi: 16}
  - {resource: ephemeral-storage, amountMebi: 16}
volumes: [{name: www}]
replicas: {min: 2}
"#;

#[tokio::test]
async fn two_replicas_run_and_both_answer() -> Result<()> {
    let scene = scene(Profile::Base).await?;
    let actor = Actor::connect(&scene.provider).await?;
    let order = Order::of(REPLICAS)?;
    let running = actor.run(&order).await?;
    assert_eq!((running.replicas, running.replicas_ready), (2, 2));
    let space = format!("apod-{}", running.name);
    let pods = Api::<Pod>::namespaced(scene.admin.clone(), &space)
        .list(&ListParams::default())
        .await?;
    let names: BTreeSet<String> = pods.items.iter().filter_map(|pod| pod.metadata.name.clone()).collect();
    assert_eq!(names.len(), 2);
    let address = &running.addresses.first().context("an address")?.multiaddr;
    // Which one answers is the network's choice, each time anew.
    let answered = within("an answer of both", async {
        let mut answered = BTreeSet::new();
        while answered.len() < 2 {
            answered.insert(http::get(address).await?.trim().to_owned());
        }
        Ok(answered)
    })
    .await?;
    assert_eq!(answered, names);
    actor.end(order.pod_id).await?;
    Ok(())
}
