//! A value that may be replaced while others use it, such as the options of a part that runs.
//!
//! Rule: whoever uses it takes what is there once for each piece of work, so that no half of one value is used with the
//! other half of the next. Clones are the same value.

use std::sync::Arc;

use tokio::sync::watch;

/// The present value.
#[derive(Debug)]
pub(crate) struct Live<T>(watch::Sender<Arc<T>>);

impl<T> Live<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(watch::Sender::new(Arc::new(value)))
    }

    /// The value of this moment.
    pub(crate) fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.borrow())
    }

    /// From now on this one; who has taken the last one keeps it.
    pub(crate) fn set(&self, value: T) {
        self.0.send_replace(Arc::new(value));
    }

    /// Returns once there is another value than `taken`.
    pub(crate) async fn replaced(&self, taken: &Arc<T>) {
        let mut present = self.0.subscribe();
        // An error would mean that it is gone, which it is not while this runs.
        drop(present.wait_for(|present| !Arc::ptr_eq(present, taken)).await);
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_has_taken_a_value_keeps_it_and_the_next_one_gets_the_new() {
        let live = Live::new("old");
        let (taken, same) = (live.get(), live.clone());
        same.set("new");
        assert_eq!((*taken, *live.get()), ("old", "new"));
        live.replaced(&taken).await;
        let present = live.get();
        tokio::select! {
            biased;
            () = live.replaced(&present) => panic!("it has the present one"),
            () = std::future::ready(()) => {}
        }
    }
}
