//! A publisher who uses the client's library as the command `apocryph` does: state file, backoff, resume.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use apocryph_proto::json;
use apocryph_publisher::{
    Client, Deployment, PodId, Provider, PublisherKey, Settings, Store, Until,
    delete::delete,
    deploy::{Options, Reached, deploy},
    follow::{Interceptor, Link},
    reply::Status,
};

use crate::{existing::with_images, leak, wait::within};

pub struct Tenant {
    pub key: PublisherKey,
    pub pod_id: PodId,
    client: Client,
    store: Store,
    folder: PathBuf,
    settings: Settings,
}

impl Tenant {
    /// With a fresh key, pod id and state folder.
    pub fn new(interceptor: Option<Interceptor>) -> Result<Tenant> {
        let folder = leak::folder()?;
        Ok(Tenant {
            key: PublisherKey::random(),
            pod_id: PodId::random(),
            client: Client::start()?,
            store: Store::open(&folder)?,
            folder,
            settings: Settings {
                allow_unattested: true,
                interceptor,
                ..Settings::default()
            },
        })
    }

    fn link<'a>(&'a self, provider: &'a Provider) -> Link<'a> {
        Link {
            client: &self.client,
            key: &self.key,
            provider,
            settings: &self.settings,
        }
    }

    /// Until running, through whatever happens to the connection.
    pub async fn deploy(&self, provider: &Provider, manifest: &str) -> Result<Status> {
        let mut deployment = Deployment::free(
            with_images(json::pod_from_yaml(manifest)?),
            self.pod_id,
            &self.key,
            provider,
            0,
            false,
        );
        let options = Options {
            until: Until::Running,
            fail_fast: false,
        };
        let reached = within("running", async {
            let store = Some(&self.store);
            deploy(self.link(provider), &mut deployment, store, options, &mut |_| {})
                .await
                .context("deploy")
        })
        .await?;
        let Reached::Running(status) = reached else {
            bail!("{reached:?}")
        };
        Ok(status)
    }

    pub async fn delete(self, provider: &Provider) -> Result<()> {
        delete(self.link(provider), self.pod_id, 0, 0, &mut |_| {}).await?;
        std::fs::remove_dir_all(&self.folder)?;
        Ok(())
    }
}
