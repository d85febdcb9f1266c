//! The doctor's steps for the page: one by one as a stream of ready-made pieces, or all together.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::admin::Cx;
use crate::admin::odoo_typed::EXAMINATION_S;
use crate::domain::connections::OdooConfig;
use crate::domain::tenants::Tenant;
use crate::tools::doctor::{Reader, Step, examine, steps_max};

const PIECE: &str = "partials/doctor_step.html";

/// A step as `partials/doctor_step.html` shows it.
#[derive(Serialize)]
pub(super) struct StepView {
    id: String,
    /// `ok`, `bad` or `wait`.
    state: &'static str,
    name: String,
    text: String,
    took: String,
    fix: String,
}

/// What an examination tells.
enum News {
    Step(Step),
    /// The end: whether all went well; none when it took too long.
    End(Option<bool>),
}

async fn examined(config: OdooConfig, tenant: &Tenant, reader: &Reader, each: &mut (dyn FnMut(News) + Send)) {
    let mut step = |step| each(News::Step(step));
    let end = tokio::time::timeout(Duration::from_secs(EXAMINATION_S), examine(config, tenant, reader, &mut step)).await.ok();
    each(News::End(end));
}

/// All steps, when the last one is done.
pub(super) async fn steps(cx: &Cx, config: OdooConfig, tenant: &Tenant, reader: &Reader) -> Vec<StepView> {
    let mut news = Vec::new();
    examined(config, tenant, reader, &mut |one| news.push(one)).await;
    news.into_iter().enumerate().map(|(at, one)| shown(cx, at, one)).collect()
}

/// Each step as it ends. It all stops when the browser hangs up.
pub(super) fn stream(cx: Cx, config: OdooConfig, tenant: Tenant, reader: Reader) -> Response {
    // Room for everything that can be told: nothing is ever turned away.
    let (sender, receiver) = mpsc::channel(steps_max() + 1);
    let work = async move {
        examined(config, &tenant, &reader, &mut |one| {
            // Nobody reads any more: then nobody misses it.
            drop(sender.try_send(one));
        })
        .await;
    };
    let told = stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|one| (Some(one), receiver)) });
    let both = stream::select(told, stream::once(work).map(|()| None)).filter_map(std::future::ready).enumerate();
    let first = piece(&cx, &waiting(&cx, 0));
    let events = both.flat_map(move |(at, one)| {
        let last = matches!(one, News::End(_));
        let mut events = vec![piece(&cx, &shown(&cx, at, one))];
        if !last {
            events.push(piece(&cx, &waiting(&cx, at + 1)));
        }
        stream::iter(events)
    });
    let all = stream::iter([first]).chain(events).map(Ok::<Event, Infallible>);
    let mut response = Sse::new(all).keep_alive(KeepAlive::default()).into_response();
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

fn id(at: usize) -> String {
    format!("d-{}", at + 1)
}

fn waiting(cx: &Cx, at: usize) -> StepView {
    StepView { id: id(at), state: "wait", name: cx.t("portal.odoo.trying"), text: String::new(), took: String::new(), fix: String::new() }
}

fn shown(cx: &Cx, at: usize, one: News) -> StepView {
    let end = |state, key: &str| StepView {
        id: id(at),
        state,
        name: cx.t(&format!("portal.odoo.end_{key}")),
        text: cx.t(&format!("portal.odoo.end_{key}_text")),
        took: String::new(),
        fix: String::new(),
    };
    match one {
        News::Step(step) => StepView {
            id: id(at),
            state: if step.ok { "ok" } else { "bad" },
            name: step.title(cx.language()),
            text: step.detail,
            took: format!("{} ms", step.took_ms),
            fix: step.remedy.unwrap_or_default(),
        },
        News::End(Some(true)) => end("ok", "well"),
        News::End(Some(false)) => end("bad", "bad"),
        News::End(None) => end("bad", "late"),
    }
}
