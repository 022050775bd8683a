//! The report over the API: `GET /v1/report` makes it, `POST /v1/report` sends it as well.
//!
//! Rule: as in `server.rs`; the words are of version 1 of the API. What is asked for changes nothing for the next weekly one.

use axum::{Router, extract::State, routing::get};
use serde::{Deserialize, Serialize};

use super::{
    figures::Figures,
    making::{ReportError, figures, new_id, people, period, queue},
    words,
};
use crate::{
    admin::{
        api::Kind,
        context::{Json, Refusal, Sources},
    },
    queue::id::QueueId,
};

/// The report of now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    #[serde(flatten)]
    pub(crate) figures: Figures,
    /// One line that says how it stands, as the mail has it.
    pub(crate) subject: String,
    /// The text of the mail.
    pub(crate) text: String,
    /// The mail that it went by, when that was ordered.
    pub(crate) sent: Option<Sent>,
}

/// The mail of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sent {
    pub(crate) id: QueueId,
    pub(crate) to: String,
}

pub(in crate::admin) fn router() -> Router<Sources> {
    Router::new().route("/v1/report", get(show).post(send))
}

async fn show(State(sources): State<Sources>) -> Result<Json<Answer>, Refusal> {
    Ok(Json(answer(&sources).await?))
}

async fn send(State(sources): State<Sources>) -> Result<Json<Answer>, Refusal> {
    let mut answer = answer(&sources).await?;
    let options = sources.reports.options.get();
    let (_, to) = people(&options)?;
    let id = new_id(answer.figures.now).map_err(ReportError::from)?;
    queue(&sources, &options, id, &answer.figures).await?;
    answer.sent = Some(Sent { id, to: to.to_string() });
    Ok(Json(answer))
}

async fn answer(sources: &Sources) -> Result<Answer, Refusal> {
    let now = sources.clock.wall();
    let last = sources.reports.hold().await.known().await.map_err(ReportError::from)?.queued;
    let figures = figures(sources, period(last, now)).await?;
    let (subject, text) = (words::subject(&figures), words::text(&figures));
    Ok(Answer { figures, subject, text, sent: None })
}

impl From<ReportError> for Refusal {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::Queue(error) => error.into(),
            ReportError::Nobody => Self::new(Kind::Configuration, error.to_string()),
            ReportError::Notice(_) | ReportError::Kept(_) | ReportError::Random(_) => {
                Self::new(Kind::Unavailable, error.to_string())
            }
        }
    }
}
