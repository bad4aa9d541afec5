//! Follows one ConfigMap.

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

use super::EditError;
use crate::watches;

/// What an edit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Something else is in force now.
    Changed,
    /// The same as before.
    Unchanged,
    /// There is nothing in it: the last good one, if there was any, stays in force.
    Nothing,
}

/// Keeps the last good reading.
pub trait Holder: Send + Sync {
    /// `text`: the value of the key; `None`: no such ConfigMap or key. On an error the last good reading, if there was any,
    /// stays in force.
    fn update(&self, text: Option<&str>) -> Result<Applied, EditError>;
}

/// Told of what an edit did, once per edit; the runtime writes an Event on the ConfigMap.
pub trait Report: Send + Sync {
    /// The last good reading, if there was any, stays in force. The error names line and field.
    fn rejected(&self, config_map: &ConfigMap, error: &EditError);

    fn accepted(&self, config_map: &ConfigMap, applied: Applied);
}

/// Which ConfigMap, and which key of it.
#[derive(Clone, Debug)]
pub struct Source {
    pub namespace: String,
    pub name: String,
    pub key: &'static str,
}

/// Follows the one ConfigMap for as long as it is polled. What cannot be read from the API server changes nothing; it is
/// asked again, at growing distances of at most 30 s.
pub async fn follow(client: Client, source: Source, holder: Arc<dyn Holder>, report: Arc<dyn Report>) {
    let api: Api<ConfigMap> = Api::namespaced(client, &source.namespace);
    let only = watches::config().fields(&format!("metadata.name={}", source.name));
    let events = watcher(api, only).default_backoff();
    apply(events, source.key, holder.as_ref(), report.as_ref()).await;
}

async fn apply(
    events: impl Stream<Item = Result<Event<ConfigMap>, watcher::Error>>,
    key: &str,
    holder: &dyn Holder,
    report: &dyn Report,
) {
    let mut events = std::pin::pin!(events);
    // The text that was last looked at: a list that is read again, and a change of labels, say nothing new.
    let mut last: Option<Option<String>> = None;
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(config_map) | Event::InitApply(config_map)) => {
                let text = config_map.data.as_ref().and_then(|data| data.get(key)).cloned();
                if last.as_ref() == Some(&text) {
                    continue;
                }
                look_at(&config_map, key, text.as_deref(), holder, report);
                last = Some(text);
            }
            Ok(Event::Delete(config_map)) => {
                tracing::warn!(config_map = %config_map.name_any(), "the ConfigMap was deleted; what it last said stays in force");
                last = None;
            }
            Ok(Event::Init | Event::InitDone) => {}
            Err(error) => {
                tracing::warn!(key, %error, "a ConfigMap cannot be watched; what it last said stays in force")
            }
        }
    }
}

fn look_at(config_map: &ConfigMap, key: &str, text: Option<&str>, holder: &dyn Holder, report: &dyn Report) {
    match holder.update(text) {
        Ok(applied) => {
            tracing::info!(config_map = %config_map.name_any(), key, ?applied, "read");
            report.accepted(config_map, applied);
        }
        Err(error) => {
            tracing::warn!(config_map = %config_map.name_any(), key, %error, "refused; the last good one stays in force");
            report.rejected(config_map, &error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::stream;

    use super::*;
    use crate::{
        model::services::Prices,
        pricing::{KEY, Pricing},
    };

    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);

    impl Report for Told {
        fn rejected(&self, config_map: &ConfigMap, error: &EditError) {
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
            KEY,
            pricing.as_ref(),
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
