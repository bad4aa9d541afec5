//! A map of what is alive: an entry goes with the last holder of its value.

use std::{
    collections::HashMap,
    hash::Hash,
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

type Map<K, V> = Mutex<HashMap<K, Weak<Slot<K, V>>>>;

/// Values by key, as long as somebody holds them.
pub struct Slots<K: Hash + Eq + Copy, V>(Arc<Map<K, V>>);

/// A value that takes its entry away when it is dropped.
pub struct Slot<K: Hash + Eq + Copy, V> {
    key: K,
    value: V,
    home: Weak<Map<K, V>>,
}

impl<K: Hash + Eq + Copy, V> Default for Slots<K, V> {
    fn default() -> Self {
        Slots(Arc::default())
    }
}

impl<K: Hash + Eq + Copy, V> Clone for Slots<K, V> {
    fn clone(&self) -> Self {
        Slots(self.0.clone())
    }
}

impl<K: Hash + Eq + Copy, V> Slots<K, V> {
    /// The living value of that key, or a new one.
    pub fn get(&self, key: K, make: impl FnOnce() -> V) -> Arc<Slot<K, V>> {
        let mut map = lock(&self.0);
        if let Some(slot) = map.get(&key).and_then(Weak::upgrade) {
            return slot;
        }
        let slot = Arc::new(Slot {
            key,
            value: make(),
            home: Arc::downgrade(&self.0),
        });
        map.insert(key, Arc::downgrade(&slot));
        slot
    }

    pub fn len(&self) -> usize {
        lock(&self.0).len()
    }
}

impl<K: Hash + Eq + Copy, V> Deref for Slot<K, V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.value
    }
}

impl<K: Hash + Eq + Copy, V> Drop for Slot<K, V> {
    fn drop(&mut self) {
        if let Some(home) = self.home.upgrade() {
            let mut map = lock(&home);
            // Somebody may have made a new one since the last holder let go.
            if map.get(&self.key).is_some_and(|slot| slot.strong_count() == 0) {
                map.remove(&self.key);
            }
        }
    }
}

/// No code runs under the lock that could leave the map half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
