//! Between a staged Secret and the ApocryphPod that names it: the gateway and the sweeper never work on one name at a time.
//! Otherwise the sweeper could see no pod, the gateway find the Secret there and make the pod, and the sweeper delete it.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Notify;

use crate::model::key::PodName;

/// Names that somebody works on. The leader alone has any, and two leaders never overlap.
#[derive(Clone, Debug, Default)]
pub struct Staging(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    names: Mutex<HashSet<PodName>>,
    freed: Notify,
}

impl Staging {
    /// Waits until nobody else works on the name.
    pub async fn enter(&self, name: &PodName) -> Entered {
        loop {
            let freed = self.0.freed.notified();
            let mut freed = std::pin::pin!(freed);
            // Before looking, so that no wake-up is missed.
            freed.as_mut().enable();
            if let Some(entered) = self.try_enter(name) {
                return entered;
            }
            freed.await;
        }
    }

    /// `None`: somebody works on the name.
    pub fn try_enter(&self, name: &PodName) -> Option<Entered> {
        let mut names = self.0.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(name.clone()).then(|| Entered {
            name: name.clone(),
            staging: self.clone(),
        })
    }
}

/// Dropping it leaves.
#[derive(Debug)]
pub struct Entered {
    name: PodName,
    staging: Staging,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.staging
            .0
            .names
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.name);
        self.staging.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn one_at_a_time_by_name() {
        let staging = Staging::default();
        let name = PodName::parse("abcdefghijklmnopqrstuvwxyz").unwrap();
        let other = PodName::parse("bbcdefghijklmnopqrstuvwxyz").unwrap();
        let first = staging.try_enter(&name).unwrap();
        assert!(staging.try_enter(&name).is_none());
        assert!(staging.try_enter(&other).is_some());
        let mut waits = std::pin::pin!(staging.enter(&name));
        assert!(waits.as_mut().now_or_never().is_none());
        drop(first);
        assert!(waits.now_or_never().is_some());
    }
}
