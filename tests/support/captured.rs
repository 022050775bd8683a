//! The log of one thread, at every level.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

/// Collects the events of one thread.
#[derive(Clone, Default)]
pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    /// Captures what this thread logs until the guards are dropped.
    pub(crate) fn start(&self) -> (tracing::Dispatch, tracing::subscriber::DefaultGuard) {
        let writer = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        // With one subscriber alone, tracing would decide for all threads from one that has none.
        let other =
            tracing::Dispatch::new(tracing_subscriber::fmt().with_writer(std::io::sink).finish());
        (other, tracing::subscriber::set_default(subscriber))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("nobody panics here")).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panics here").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
