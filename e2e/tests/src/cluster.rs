//! The cluster that `e2e/cluster/cluster up` started, and the programs beside it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Once,
};

use anyhow::{Context, Result, bail};
use kube::{Client, Config};

/// Root of the checkout.
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap_or_else(|_| PathBuf::from("."))
}

/// Runs `e2e/cluster/cluster ARGS` and gives what it printed.
pub fn cluster(args: &[&str]) -> Result<String> {
    let script = checkout().join("e2e/cluster/cluster");
    run(Command::new(script).args(args))
}

/// Runs a program to its end; its error output is in the error.
pub fn run(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } = command.output().with_context(|| format!("{command:?}"))?;
    if !status.success() {
        bail!(
            "{command:?}: {status}\n{}{}",
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr)
        );
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

/// `kubectl ARGS` as the cluster's admin.
pub fn kubectl(args: &[&str]) -> Result<String> {
    run(Command::new("kubectl").args(args))
}

/// A client with the admin's rights, from KUBECONFIG.
pub async fn admin() -> Result<Client> {
    crypto();
    let config = Config::infer()
        .await
        .context("no cluster: `make test` starts one and sets KUBECONFIG")?;
    Ok(Client::try_from(config)?)
}

/// A client with a ServiceAccount's own token.
pub async fn with_token(token: &str) -> Result<Client> {
    crypto();
    let mut config = Config::infer().await?;
    config.auth_info = kube::config::AuthInfo {
        token: Some(token.to_owned().into()),
        ..Default::default()
    };
    Ok(Client::try_from(config)?)
}

fn crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Err: another test of this process was first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    });
}
