//! The steps of an examination, one by one as a stream of ready-made pieces: what pages with `data-stream-to` show.

use std::convert::Infallible;

use axum::http::{HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, stream};
use serde::Serialize;
use tokio::sync::mpsc;

use super::Cx;

const PIECE: &str = "partials/doctor_step.html";

/// A step as `partials/doctor_step.html` shows it.
#[derive(Serialize)]
pub(super) struct StepView {
    pub(super) id: String,
    /// `ok`, `warn`, `bad`, `off` or `wait`.
    pub(super) state: &'static str,
    pub(super) name: String,
    pub(super) text: String,
    pub(super) took: String,
    pub(super) fix: String,
}

/// The id of a step, by its place.
pub(super) fn id(at: usize) -> String {
    format!("d-{}", at + 1)
}

/// A step of words only, under `portal.<page>.`: how an examination ended.
pub(super) fn end(cx: &Cx, page: &str, at: usize, state: &'static str, key: &str) -> StepView {
    StepView { id: id(at), state, name: cx.t(&format!("portal.{page}.end_{key}")), text: cx.t(&format!("portal.{page}.end_{key}_text")), took: String::new(), fix: String::new() }
}

/// Each step as it comes, and behind it one that waits, until the last. `work` tells the steps to the sender; it all stops when the browser hangs up.
pub(super) fn stream<N, W>(
    cx: Cx,
    page: &'static str,
    room: usize,
    work: impl FnOnce(mpsc::Sender<N>) -> W,
    shown: impl Fn(&Cx, usize, N) -> (StepView, bool) + Send + 'static,
) -> Response
where
    N: Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    // Room for everything that can be told: nothing is ever turned away.
    let (sender, receiver) = mpsc::channel(room);
    let work = work(sender);
    let told = stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|one| (Some(one), receiver)) });
    let both = stream::select(told, stream::once(work).map(|()| None)).filter_map(std::future::ready).enumerate();
    let first = piece(&cx, &waiting(&cx, page, 0));
    let events = both.flat_map(move |(at, one)| {
        let (view, last) = shown(&cx, at, one);
        let mut events = vec![piece(&cx, &view)];
        if !last {
            events.push(piece(&cx, &waiting(&cx, page, at + 1)));
        }
        stream::iter(events)
    });
    answer(stream::iter([first]).chain(events))
}

fn answer(events: impl Stream<Item = Event> + Send + 'static) -> Response {
    let mut response = Sse::new(events.map(Ok::<Event, Infallible>)).keep_alive(KeepAlive::default()).into_response();
    // nginx passes a stream on at once only when it is told so.
    response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

fn piece(cx: &Cx, view: &StepView) -> Event {
    match cx.piece(PIECE, view) {
        Ok(html) => Event::default().event("swap").data(html.trim()),
        Err(error) => {
            tracing::error!(?error, "a step cannot be shown");
            Event::default().comment("")
        }
    }
}

fn waiting(cx: &Cx, page: &str, at: usize) -> StepView {
    StepView { id: id(at), state: "wait", name: cx.t(&format!("portal.{page}.trying")), text: String::new(), took: String::new(), fix: String::new() }
}
