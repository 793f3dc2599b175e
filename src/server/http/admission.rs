//! Admission: what must hold before a request for news is answered, whatever its path.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::HeaderMap;

use crate::{
    delivery::sse::{self, Events},
    fault::Fault,
    server::http::{Phase, Web, answer::Refusal, events, router::STREAM},
};

impl Web {
    /// Lets a request in by its header. The one place for it: the router asks here for every path
    /// but those of [`operate`](super::operate), and a stream that goes past the router asks, too.
    ///
    /// # Errors
    /// A fault: `NOT_SERVING`, to come back later or to ask another node.
    pub fn admit(&self, _headers: &HeaderMap) -> Result<(), Fault> {
        if self.phase() == Phase::Serving {
            return Ok(());
        }
        let message = "this node does not serve yet, or no more; come back, or ask another";
        let after = Duration::from_secs(1);
        Err(Fault::unavailable("NOT_SERVING", message, after))
    }
}

/// The same as a layer of the router.
pub async fn layer(State(web): State<Web>, request: Request, next: Next) -> Response {
    match web.admit(request.headers()) {
        Ok(()) => next.run(request).await,
        // An EventSource gives up for good at any status but 200.
        Err(fault) if request.uri().path() == STREAM && sse::takes_events(request.headers()) => {
            events::answer(Events::closed(&fault))
        }
        Err(fault) => Refusal::from(fault).into_response(),
    }
}
