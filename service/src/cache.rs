//! A bounded map that forgets what was not used lately.

use std::{collections::HashMap, hash::Hash, mem};

/// Two generations: when the young one is full it becomes the old one, and the old one is dropped.
/// What is used moves to the young one. At most twice `capacity` entries, constant time, and no
/// list to keep in order as in a strict LRU.
#[derive(Debug)]
pub struct Generations<K, V> {
    capacity: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Eq + Hash + Clone, V: Clone> Generations<K, V> {
    /// An empty map of at most twice `capacity` entries.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    /// The value, which counts as a use.
    pub fn get(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let value = self.old.remove(key)?;
        self.insert(key.clone(), value.clone());
        Some(value)
    }

    /// Sets a value; the entries that were not used for longest may go.
    pub fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.capacity && !self.young.contains_key(&key) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_and_keeps_what_is_used() {
        let mut cache = Generations::new(10);
        cache.insert(0, 'a');
        for key in 1..1_000 {
            cache.insert(key, 'b');
            assert_eq!(cache.get(&0), Some('a'));
        }
        assert!(cache.young.len() + cache.old.len() <= 20);
        assert_eq!(cache.get(&1), None);
        cache.clear();
        assert_eq!(cache.get(&0), None);
    }
}
