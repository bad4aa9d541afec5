//! Follows the pricing ConfigMap.

use std::sync::Arc;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};

use super::{Applied, Pricing, PricingError};

/// Key of the ConfigMap.
pub const KEY: &str = "pricing.yaml";

/// Told of what an edit did, once per edit; the runtime writes an Event on the ConfigMap.
pub trait Report: Send + Sync {
    /// The last good tables, if there were any, stay in force. The error names line and field.
    fn rejected(&self, config_map: &ConfigMap, error: &PricingError);

    /// `applied` is `Nothing` when the ConfigMap has no table in it.
    fn accepted(&self, config_map: &ConfigMap, applied: Applied);
}

/// Follows the one ConfigMap for as long as it is polled. What cannot be read from the API server changes nothing; it is
/// asked again, at growing distances of at most 30 s.
pub async fn follow(client: Client, namespace: &str, name: &str, pricing: Arc<Pricing>, report: Arc<dyn Report>) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
    apply(watcher(api, only).default_backoff(), &pricing, report.as_ref()).await;
}

async fn apply(
    events: impl Stream<Item = Result<Event<ConfigMap>, watcher::Error>>,
    pricing: &Pricing,
    report: &dyn Report,
) {
    let mut events = std::pin::pin!(events);
    // The text that was last looked at: a list that is read again, and a change of labels, say nothing new.
    let mut last: Option<Option<String>> = None;
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(config_map) | Event::InitApply(config_map)) => {
                let text = config_map.data.as_ref().and_then(|data| data.get(KEY)).cloned();
                if last.as_ref() == Some(&text) {
                    continue;
                }
                look_at(&config_map, text.as_deref(), pricing, report);
                last = Some(text);
            }
            Ok(Event::Delete(config_map)) => {
                tracing::warn!(config_map = %config_map.name_any(), "the pricing ConfigMap was deleted; the last good tables stay in force");
                last = None;
            }
            Ok(Event::Init | Event::InitDone) => {}
            Err(error) => {
                tracing::warn!(%error, "the pricing ConfigMap cannot be watched; the last good tables stay in force")
            }
        }
    }
}

fn look_at(config_map: &ConfigMap, text: Option<&str>, pricing: &Pricing, report: &dyn Report) {
    match pricing.update(text) {
        Ok(applied) => {
            tracing::info!(config_map = %config_map.name_any(), ?applied, "pricing ConfigMap read");
            report.accepted(config_map, applied);
        }
        Err(error) => {
            tracing::warn!(config_map = %config_map.name_any(), %error, "pricing ConfigMap refused; the last good tables stay in force");
            report.rejected(config_map, &error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::stream;

    use super::*;
    use crate::model::services::Prices;

    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);

    impl Report for Told {
        fn rejected(&self, config_map: &ConfigMap, error: &PricingError) {
            self.0
                .lock()
                .unwrap()
                .push(format!("{}: {error}", config_map.name_any()));
        }
        fn accepted(&self, config_map: &ConfigMap, applied: Applied) {
            self.0
                .lock()
                .unwrap()
                .push(format!("{}: {applied:?}", config_map.name_any()));
        }
    }

    fn config_map(text: Option<&str>) -> ConfigMap {
        let data = text.map(|text| [(KEY.to_owned(), text.to_owned())].into());
        let mut config_map = ConfigMap {
            data,
            ..ConfigMap::default()
        };
        config_map.metadata.name = Some("pricing".into());
        config_map
    }

    fn table(everyone: &str) -> String {
        format!(
            "apiVersion: pricing.apocryph.network/v1alpha1\n\
             tables:\n- name: a\n  payment:\n    free:\n      everyone: {everyone}\n"
        )
    }

    #[tokio::test]
    async fn each_edit_is_told_once_and_nothing_takes_the_last_good_tables_away() {
        let (good, bad) = (table("true"), table("yes please"));
        let events = [
            Event::Init,
            Event::InitApply(config_map(None)),
            Event::InitDone,
            Event::Apply(config_map(Some(&good))),
            Event::Apply(config_map(Some(&bad))),
            // Another label; then the watch begins anew.
            Event::Apply(config_map(Some(&bad))),
            Event::Init,
            Event::InitApply(config_map(Some(&bad))),
            Event::InitDone,
            Event::Delete(config_map(Some(&bad))),
            Event::Apply(config_map(Some(&good))),
        ];
        let (pricing, told) = (Pricing::new(), Told::default());
        let failed = Err(watcher::Error::NoResourceVersion);
        apply(
            stream::iter(events.map(Ok)).chain(stream::iter([failed])),
            &pricing,
            &told,
        )
        .await;
        assert_eq!(
            told.0.into_inner().unwrap(),
            [
                "pricing: Nothing",
                "pricing: Changed",
                "pricing: line 6, tables[0].payment.free.everyone: is \"yes please\"; write true or false",
                "pricing: Unchanged",
            ]
        );
        assert!(pricing.tables().is_some());
    }
}
