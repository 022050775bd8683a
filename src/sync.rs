//! Locks that outlive a panic of their holder.
//!
//! Rule: what is behind a lock is sound after each statement, so that a task which panicked takes no other with it. Must
//! not know what is locked.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Waits for the lock, whatever became of its last holder.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same to read, beside other readers.
pub(crate) fn read<T: ?Sized>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// The same to write.
pub(crate) fn write<T: ?Sized>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_that_panics_keeps_nobody_out() {
        let mutex = Mutex::new(1);
        let shared = RwLock::new(1);
        let holder = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _held = (lock(&mutex), write(&shared));
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(holder.is_err() && mutex.is_poisoned() && shared.is_poisoned());
        assert_eq!((*lock(&mutex), *read(&shared)), (1, 1));
    }
}
