//! The order to read the configuration anew, and the answer to it.
//!
//! Rule: the order is carried out by whoever holds the parts; here is only the way to him. Must not know what a
//! configuration holds.

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

/// Orders that wait for the one that is carried out.
const ORDERS_MAX: usize = 4;

/// `POST /v1/reload`: what became of a changed configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reload {
    /// The keys whose new values hold from now on: `section.key`.
    pub(crate) applied: Vec<String>,
    /// The keys whose new values hold after a restart.
    pub(crate) at_a_start: Vec<String>,
}

/// What became of an order; an error is in words.
pub(crate) type Answer = Result<Reload, String>;

/// The side that orders.
#[derive(Clone, Debug)]
pub(crate) struct Reloader(mpsc::Sender<oneshot::Sender<Answer>>);

/// The side that obeys.
#[derive(Debug)]
pub(crate) struct Orders(mpsc::Receiver<oneshot::Sender<Answer>>);

/// Both sides.
pub(crate) fn channel() -> (Reloader, Orders) {
    let (reloader, orders) = mpsc::channel(ORDERS_MAX);
    (Reloader(reloader), Orders(orders))
}

impl Reloader {
    /// Orders it and waits for the answer.
    pub(crate) async fn order(&self) -> Answer {
        let (told, answer) = oneshot::channel();
        let sent = self.0.try_send(told).is_ok();
        match answer.await {
            Ok(answer) => answer,
            Err(_) if sent => Err("the relay stops".to_owned()),
            Err(_) => Err("it is being read anew just now; try again".to_owned()),
        }
    }
}

impl Orders {
    /// The next one; never, when nobody can order any more.
    pub(crate) async fn next(&mut self) -> oneshot::Sender<Answer> {
        match self.0.recv().await {
            Some(order) => order,
            None => std::future::pending().await,
        }
    }
}
