//! What is secret in a manifest (an environment value, a volume's contents, a registry's password) is nowhere but in the
//! Secrets that DESIGN 4 names.

use anyhow::{Context, Result};
use apocryph_e2e::{
    cluster::{checkout, kubectl, run},
    existing::with_images,
    install::{NAMESPACE, Profile, RELEASE, alone, helm_upgrade, provider},
    leak,
};
use apocryph_proto::json as protobuf_json;
use serde_json::{Value, json};

use crate::HELLO;

fn add(list: &mut Value, one: Value) -> Result<()> {
    list.as_array_mut().context("a list")?.push(one);
    Ok(())
}

#[tokio::test]
async fn a_secret_value_is_in_two_secrets_and_nowhere_else() -> Result<()> {
    let mut scene = alone(Profile::Base).await?;
    scene.forget();
    helm_upgrade(Profile::Base, &["--set", "logs.level=trace"])?;
    let admin = scene.admin.clone();
    let provider = provider(&admin).await?;
    apocryph_e2e::install::accepting(&provider).await?;

    // through the command itself, so that its state file is looked at as well
    let [secret, contents, password] = [(); 3].map(|()| leak::secret());
    let folder = leak::folder()?;
    let manifest = folder.join("pod.yaml");
    let pod = with_images(protobuf_json::pod_from_yaml(&HELLO.replace("good day", &secret))?);
    let mut pod = protobuf_json::to_json(&pod)?;
    add(
        &mut pod["volumes"],
        json!({"name": "file", "type": "VOLUME_SECRET", "secret": {"contentsString": contents}}),
    )?;
    add(
        &mut pod["containers"][0]["volumes"],
        json!({"name": "file", "mountPath": "/run/password"}),
    )?;
    pod["containers"][0]["image"]["pullSecret"] = json!({"username": "somebody", "password": password});
    std::fs::write(&manifest, pod.to_string())?;
    let built = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| checkout().join("target"), Into::into);
    let bin = built.join("debug/apocryph");
    let command = |args: &[&str]| {
        run(std::process::Command::new(&bin)
            .args(args)
            .env("APOCRYPH_PROVIDER", provider.to_string())
            .env("APOCRYPH_KEY_FILE", folder.join("key"))
            .env("APOCRYPH_STATE_DIR", folder.join("state")))
    };
    command(&["key", "new"])?;
    let publisher = command(&["key", "show"])?;
    let printed = command(&[
        "deploy",
        &manifest.to_string_lossy(),
        "--allow-unattested",
        "--output",
        "json",
    ])?;

    let forms: Vec<String> = [&secret, &contents, &password]
        .into_iter()
        .flat_map(|one| leak::forms(one))
        .collect();
    let clean = |place: &str, text: &[u8]| -> Result<()> {
        for form in &forms {
            anyhow::ensure!(!leak::contains(text, form.as_bytes()), "{place} holds the secret");
        }
        Ok(())
    };
    clean("what the client prints", printed.as_bytes())?;
    let mut files = 0;
    for file in leak::files(&folder.join("state"))? {
        clean(&file.display().to_string(), &std::fs::read(&file)?)?;
        files += 1;
    }
    assert!(files > 0, "no state file was written");
    let log = kubectl(&[
        "-n",
        NAMESPACE,
        "logs",
        "-l",
        &format!("app.kubernetes.io/name={RELEASE}"),
        "--tail=-1",
    ])?;
    assert!(log.contains("TRACE"), "the log is not at level trace");
    clean("the operator's log", log.as_bytes())?;
    let metrics = leak::metrics(&admin).await?;
    assert!(metrics.contains("libp2p") && metrics.contains("apocryph"), "{metrics}");
    clean("/metrics", metrics.as_bytes())?;

    let found = leak::objects_with(&admin, &forms).await?;
    let pod = apocryph_e2e::pods::of(&admin, &publisher).await?;
    let name = pod.metadata.name.clone().unwrap_or_default();
    let secret_name = pod.spec.secret_name.clone().context("a Secret")?;
    let expected = [
        format!("Secret {NAMESPACE}/{secret_name}"),
        format!("Secret apod-{name}/{secret_name}"),
    ];
    let mut expected: Vec<String> = expected.into();
    expected.sort();
    assert_eq!(found, expected);

    command(&["delete"])?;
    assert_eq!(leak::objects_with(&admin, &forms).await?, Vec::<String>::new());
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
