//! The end of a request: its access log line and its metrics, once the last byte left or the client did.
//! Answers to `_finished_processing` in `synapse/http/site.py`.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tracing::Span;

use crate::access_log::{self, Finished};
use crate::call::Notes;
use crate::service::{Seen, Site};

/// Dropped when the request is over, in whatever way; that writes the log line.
pub struct Tracker {
    pub site: Site,
    pub seen: Seen,
    pub servlet: &'static str,
    pub notes: Arc<Notes>,
    start: Instant,
    /// The request's: the last byte may leave outside of it.
    span: Span,
    /// None: the client went away before there was an answer.
    answered: Option<Answered>,
}

struct Answered {
    status: u16,
    at: Instant,
    bytes: u64,
    complete: bool,
    fallback: bool,
}

impl Tracker {
    pub fn start(site: Site, seen: Seen, servlet: &'static str, notes: Arc<Notes>) -> Self {
        site.app().metrics.http.started(&seen.method, servlet);
        Self { site, seen, servlet, notes, start: Instant::now(), span: Span::current(), answered: None }
    }

    /// From here on the response's body decides when the request is over.
    pub fn follow(mut self, response: Response, fallback: bool) -> Response {
        let complete = response.body().is_end_stream() || self.seen.method == "HEAD";
        let status = response.status().as_u16();
        self.answered = Some(Answered { status, at: Instant::now(), bytes: 0, complete, fallback });
        response.map(|inner| Body::new(Tracked { inner, tracker: self }))
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        let now = Instant::now();
        let gone = Answered { status: 499, at: now, bytes: 0, complete: false, fallback: false };
        let answered = self.answered.as_ref().unwrap_or(&gone);
        let finished = Finished {
            client: &self.seen.client,
            site: self.site.tag(),
            requester: self.notes.requester(),
            method: &self.seen.method,
            uri: &self.seen.uri,
            status: answered.status,
            complete: answered.complete,
            user_agent: &self.seen.user_agent,
            processing: answered.at.duration_since(self.start),
            sending: now.duration_since(answered.at),
            bytes: answered.bytes,
            used: self.notes.usage.used(),
        };
        self.span.in_scope(|| access_log::log(&finished));
        let http = &self.site.app().metrics.http;
        http.finished(&finished, self.servlet, self.notes.tag(), answered.fallback);
    }
}

struct Tracked {
    inner: Body,
    tracker: Tracker,
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.inner).poll_frame(cx);
        if let (Poll::Ready(ready), Some(answered)) = (&frame, &mut this.tracker.answered) {
            match ready {
                Some(Ok(frame)) => {
                    answered.bytes += frame.data_ref().map_or(0, |data| u64::try_from(data.len()).unwrap_or(0));
                    answered.complete = this.inner.is_end_stream();
                }
                Some(Err(_)) => answered.complete = false,
                None => answered.complete = true,
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
