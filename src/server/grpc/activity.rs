//! Whether anything is asked for on a connection: calls are counted from their head to the end of
//! their answer's body.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Status, body::Body};

/// The calls of one connection; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Activity(Arc<Calls>);

#[derive(Debug, Default)]
struct Calls {
    open: AtomicU32,
    /// All that ever began, wrapping.
    begun: AtomicU32,
}

/// A call that is open until this is dropped.
#[derive(Debug)]
pub struct Call(Activity);

/// The body of a call's answer, during which the call is open.
#[derive(Debug)]
pub struct Answer {
    body: Body,
    _call: Call,
}

impl Activity {
    /// Counts a call.
    pub fn begin(&self) -> Call {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        self.0.open.fetch_add(1, Ordering::Relaxed);
        Call(self.clone())
    }

    /// How many have begun, if none is open.
    pub fn at_rest(&self) -> Option<u32> {
        let is_open = self.0.open.load(Ordering::Relaxed) > 0;
        (!is_open).then(|| self.0.begun.load(Ordering::Relaxed))
    }
}

impl Call {
    /// The answer to the call.
    pub fn answer(self, answer: http::Response<Body>) -> http::Response<Answer> {
        answer.map(|body| Answer { body, _call: self })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What a service answers that never fails.
pub fn answered<T>(result: Result<T, Infallible>) -> T {
    match result {
        Ok(answer) => answer,
        Err(never) => match never {},
    }
}
