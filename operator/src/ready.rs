//! Is this process ready, and are new pods accepted? Two questions: a provider without prices is ready and accepts nothing.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use apocryph_proto::outcome::Code;
use tokio::sync::watch;

use crate::{
    access::AccessList,
    model::{
        key::Publisher,
        refusal::Refusal,
        services::{Door, Prices},
    },
    telemetry::admin,
    walls::Walls,
};

/// Seconds after which a publisher may ask again when the door is closed.
const DOOR_RETRY_AFTER: u32 = 30;

/// What must hold before this process is Ready, by name. A standby has `crd`, `identity`, `caches`: it could take over. The
/// leader has `listening` beside them.
#[derive(Clone, Default)]
pub struct Gates {
    open: Arc<Mutex<BTreeMap<&'static str, bool>>>,
}

impl Gates {
    /// A gate, closed until it is opened.
    pub fn add(&self, name: &'static str) -> Gate {
        self.set(name, false);
        Gate {
            name,
            gates: self.clone(),
        }
    }

    fn set(&self, name: &'static str, open: bool) {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name, open);
    }
}

impl admin::Gates for Gates {
    fn missing(&self) -> Vec<String> {
        let gates = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        gates
            .iter()
            .filter(|(_, open)| !**open)
            .map(|(name, _)| (*name).to_owned())
            .collect()
    }
}

/// One gate.
pub struct Gate {
    name: &'static str,
    gates: Gates,
}

impl Gate {
    pub fn open(&self) {
        tracing::debug!(gate = self.name, "open");
        self.gates.set(self.name, true);
    }
}

/// May new pods come in?
pub struct FrontDoor {
    /// The admin's word.
    pub access: Arc<AccessList>,
    pub walls: watch::Receiver<Walls>,
    pub prices: Arc<dyn Prices>,
}

impl Door for FrontDoor {
    fn accepting(&self) -> Result<(), Refusal> {
        self.access.accepting()?;
        // Which one and why is the admin's to know (crate::walls tells), and no stranger's.
        if *self.walls.borrow() != Walls::Up {
            return Err(
                Refusal::new(Code::WallsMissing, "This provider's own safeguards are not in place.")
                    .retry_after(DOOR_RETRY_AFTER),
            );
        }
        if self.prices.tables().is_none() {
            return Err(
                Refusal::new(Code::NoPriceTable, "this provider has no price table in force")
                    .retry_after(DOOR_RETRY_AFTER),
            );
        }
        Ok(())
    }

    fn admits(&self, publisher: &Publisher) -> Result<(), Refusal> {
        self.accepting()?;
        self.access.admits(publisher)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config_map::watch::Holder, pricing::Tables, telemetry::admin::Gates as _};

    #[test]
    fn ready_needs_every_gate_and_a_closed_one_is_named() {
        let gates = Gates::default();
        let (crd, caches) = (gates.add("crd"), gates.add("caches"));
        assert_eq!(gates.missing(), ["caches", "crd"]);
        crd.open();
        assert_eq!(gates.missing(), ["caches"]);
        caches.open();
        assert_eq!(gates.missing(), [""; 0]);
        let listening = gates.add("listening");
        assert_eq!(gates.missing(), ["listening"]);
        listening.open();
        assert_eq!(gates.missing(), [""; 0]);
    }

    struct Fixed(Option<Arc<Tables>>);

    impl Prices for Fixed {
        fn tables(&self) -> Option<Arc<Tables>> {
            self.0.clone()
        }
    }

    #[test]
    fn the_door_says_why_it_is_closed() {
        let table = "apiVersion: pricing.apocryph.network/v1alpha1\ntables:\n- {name: free, payment: {free: {everyone: true}}}\n";
        let tables = Tables::parse(table).unwrap().map(Arc::new);
        let down = Walls::Down {
            why: "missing: apocryph-tenant-pods".to_owned(),
        };
        for (cordoned, walls, prices, code) in [
            (false, Walls::Up, tables.clone(), None),
            (true, Walls::Up, tables.clone(), Some(Code::Cordoned)),
            (false, down, tables, Some(Code::WallsMissing)),
            (false, Walls::Up, None, Some(Code::NoPriceTable)),
        ] {
            let access = AccessList::new();
            let word = format!(
                "apiVersion: access.apocryph.network/v1alpha1\naccepting: {}\n",
                !cordoned
            );
            access.update(Some(&word)).unwrap();
            let door = FrontDoor {
                access,
                walls: watch::channel(walls).1,
                prices: Arc::new(Fixed(prices)),
            };
            let refusal = door.accepting().err();
            assert_eq!(refusal.as_ref().map(|refusal| refusal.code), code);
            let told = refusal.map(|refusal| refusal.message).unwrap_or_default();
            assert!(
                !told.contains("apocryph-tenant-pods"),
                "no name of a policy for strangers: {told}"
            );
            let anybody = Publisher([7; 20]);
            assert_eq!(door.admits(&anybody).err().map(|refusal| refusal.code), code);
        }
    }
}
