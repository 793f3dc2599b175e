//! The place of a durable subscription: what was printed, and what of it the server knows.

use std::{future::Future, pin::Pin, time::Duration};

use tokio::time::timeout;

use crate::{
    cli::client::{CallError, Client},
    cursor::Cursor,
    wire::proto::v1 as proto,
};

/// How long the last acknowledgement may take when people stop.
const LAST_WORD: Duration = Duration::from_secs(1);

/// An acknowledgement under way.
type Acknowledging = Pin<Box<dyn Future<Output = Result<String, CallError>> + Send>>;

/// A durable subscription's place.
pub(super) struct Place {
    name: String,
    /// Of the stream that is open.
    token: Option<String>,
    /// Up to here everything was printed.
    printed: Option<String>,
    /// Up to here it was acknowledged.
    acknowledged: Option<String>,
    /// One at a time: the next stands for all that were printed meanwhile.
    under_way: Option<Acknowledging>,
}

impl Place {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            token: None,
            printed: None,
            acknowledged: None,
            under_way: None,
        }
    }

    pub(super) fn name(&self) -> String {
        self.name.clone()
    }

    /// A stream begins.
    pub(super) fn opens(&mut self, token: String) {
        self.token = Some(token);
        (self.acknowledged, self.under_way) = (None, None);
    }

    /// It was set to another place: what was printed may come again.
    pub(super) fn forget(&mut self) {
        (self.printed, self.under_way) = (None, None);
    }

    /// Whether a revision at a cursor was printed before, and came again for want of an
    /// acknowledgement.
    pub(super) fn has_printed(&self, cursor: &str) -> bool {
        let printed = self.printed.as_ref().and_then(|text| text.parse().ok());
        let (Some(printed), Ok(cursor)) = (printed, cursor.parse::<Cursor>()) else {
            return false;
        };
        let printed: Cursor = printed;
        printed.epoch == cursor.epoch && cursor.seq <= printed.seq
    }

    /// Everything up to a cursor is printed.
    pub(super) fn prints(&mut self, cursor: &str) {
        if !self.has_printed(cursor) {
            self.printed = Some(cursor.to_owned());
        }
    }

    /// Acknowledges what was printed, one call after the other; goes on for ever unless one fails.
    pub(super) async fn acknowledge(&mut self, client: &Client) -> CallError {
        loop {
            if self.under_way.is_none() {
                self.under_way = self.next(client);
            }
            let Some(call) = &mut self.under_way else {
                return std::future::pending().await;
            };
            let answer = call.await;
            self.under_way = None;
            match answer {
                Ok(cursor) => self.acknowledged = Some(cursor),
                Err(error) => return error,
            }
        }
    }

    /// Acknowledges all that was printed, before the end.
    pub(super) async fn finish(&mut self, client: &Client) {
        self.under_way = None;
        if let Some(call) = self.next(client) {
            // What is not acknowledged comes again.
            drop(timeout(LAST_WORD, call).await);
        }
    }

    fn next(&self, client: &Client) -> Option<Acknowledging> {
        let (token, printed) = (self.token.clone()?, self.printed.clone()?);
        let is_known = self.acknowledged.as_ref().is_some_and(|known| {
            let (known, printed) = (known.parse::<Cursor>(), printed.parse::<Cursor>());
            matches!((known, printed), (Ok(known), Ok(printed))
                if known.epoch == printed.epoch && printed.seq <= known.seq)
        });
        if is_known {
            return None;
        }
        let request = client.request(proto::AcknowledgeRequest {
            subscription: self.name.clone(),
            token,
            cursor: printed,
        });
        let mut subscriber = client.subscriber();
        Some(Box::pin(async move {
            let answer = subscriber.acknowledge(request).await;
            Ok(answer.map_err(CallError::from)?.into_inner().cursor)
        }))
    }
}
