//! The last good tables.

use std::sync::Arc;

use tokio::sync::watch;

use super::table::Tables;
use crate::{
    config_map::{
        EditError,
        watch::{Applied, Holder},
    },
    model::services::Prices,
};

/// Key of the pricing ConfigMap.
pub const KEY: &str = "pricing.yaml";

/// Keeps the last good tables; whoever reads them gets all of one ConfigMap or none.
#[derive(Debug)]
pub struct Pricing {
    tables: watch::Sender<Option<Arc<Tables>>>,
}

impl Pricing {
    pub fn new() -> Arc<Pricing> {
        Arc::new(Pricing {
            tables: watch::Sender::new(None),
        })
    }

    /// Told of every change.
    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<Tables>>> {
        self.tables.subscribe()
    }
}

impl Holder for Pricing {
    fn update(&self, text: Option<&str>) -> Result<Applied, EditError> {
        let Some(tables) = text.map(Tables::parse).transpose()?.flatten() else {
            return Ok(Applied::Nothing);
        };
        let changed = self.tables.send_if_modified(|current| {
            let same = current.as_deref() == Some(&tables);
            if !same {
                *current = Some(Arc::new(tables));
            }
            !same
        });
        Ok(if changed { Applied::Changed } else { Applied::Unchanged })
    }
}

impl Prices for Pricing {
    fn tables(&self) -> Option<Arc<Tables>> {
        self.tables.borrow().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "apiVersion: pricing.apocryph.network/v1alpha1\n\
                        tables:\n- name: friends\n  payment: {free: {everyone: true}}\n";

    #[test]
    fn a_bad_an_empty_and_a_missing_text_keep_the_last_good_tables() {
        let pricing = Pricing::new();
        assert!(pricing.tables().is_none());
        assert_eq!(pricing.update(None), Ok(Applied::Nothing));
        assert!(pricing.tables().is_none());

        assert_eq!(pricing.update(Some(GOOD)), Ok(Applied::Changed));
        let good = pricing.tables().unwrap();
        assert_eq!(pricing.update(Some(GOOD)), Ok(Applied::Unchanged));

        assert!(pricing.update(Some(&GOOD.replace("everyone", "everybody"))).is_err());
        assert_eq!(pricing.tables().unwrap(), good);
        let empty = "apiVersion: pricing.apocryph.network/v1alpha1\ntables: []\n";
        assert_eq!(pricing.update(Some(empty)), Ok(Applied::Nothing));
        assert_eq!(pricing.update(None), Ok(Applied::Nothing));
        assert_eq!(pricing.tables().unwrap(), good);

        let renamed = GOOD.replace("friends", "all");
        let mut told = pricing.subscribe();
        assert_eq!(pricing.update(Some(&renamed)), Ok(Applied::Changed));
        assert!(told.has_changed().unwrap());
        assert_eq!(
            told.borrow_and_update().as_ref().unwrap().iter().next().unwrap().name,
            "all"
        );
    }
}
