//! The search of the models: every world that can come of one, in which three hosts do whatever they may.

use std::{collections::HashSet, hash::Hash};

/// A state of a model.
pub(super) trait Model: Clone + Eq + Hash {
    /// Whether it must not be.
    fn is_broken(&self) -> bool;

    /// What can come of it.
    fn next(&self) -> Vec<Self>;

    /// Which of the hosts is which decides nothing.
    fn sort_hosts(&mut self);
}

/// Looks at every world that can come of this one: how many there are, and the first that must not be.
pub(super) fn explore<M: Model>(first: M) -> (usize, Option<M>) {
    let (mut seen, mut open) = (HashSet::from([first.clone()]), vec![first]);
    while let Some(world) = open.pop() {
        if world.is_broken() {
            return (seen.len(), Some(world));
        }
        for mut next in world.next() {
            next.sort_hosts();
            if seen.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    (seen.len(), None)
}
