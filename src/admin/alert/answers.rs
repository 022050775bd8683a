//! The words of the API, version 1, about the targets of alerts.
//!
//! Rule: as in `api.rs`. Must not know how they come about.

use serde::{Deserialize, Serialize};

use super::{outbox::Failure, watch::Kind as AlertKind};
use crate::clock::Timestamp;

/// `GET /v1/alerts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Targets {
    /// The time of this answer.
    pub(crate) now: Timestamp,
    /// In the order of the configuration.
    pub(crate) targets: Vec<TargetState>,
}

/// A target, and how it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TargetState {
    /// What people call it.
    pub(crate) name: String,
    /// The host, the file or the program.
    pub(crate) goes_to: String,
    /// The form of a webhook.
    pub(crate) format: Option<String>,
    /// The kinds of alert that it is told of; empty means all.
    pub(crate) only: Vec<AlertKind>,
    /// Alerts that wait.
    pub(crate) waiting: u64,
    /// When the oldest of them was made.
    pub(crate) oldest: Option<Timestamp>,
    /// When the last one was handed over, since the start.
    pub(crate) last_sent: Option<Timestamp>,
    /// Why none gets there just now.
    pub(crate) failure: Option<Failure>,
    /// When it is tried again.
    pub(crate) next_try: Option<Timestamp>,
}

/// What a trial of one target has shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trial {
    /// The target's name.
    pub(crate) target: String,
    /// See [`TargetState::goes_to`].
    pub(crate) goes_to: String,
    /// Whether the alert was taken.
    pub(crate) taken: bool,
    /// What the receiver answered, or why there is no answer.
    pub(crate) answer: String,
}

/// `POST /v1/alerts/test`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trials {
    /// In the order of the configuration.
    pub(crate) trials: Vec<Trial>,
}
