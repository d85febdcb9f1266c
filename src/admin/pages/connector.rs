//! The connector doctor: whether Claude, ChatGPT and VS Code would come through to this service, by its public address. For operators: what there is to
//! mend is the proxy's, the name's or the certificate's. With script the steps come one by one, without it when all is done.

use std::time::Duration;

use axum::http::{HeaderMap, header};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use crate::admin::Cx;
use crate::admin::cx::Answer;
use crate::admin::forms::Form;
use crate::admin::odoo_typed::EXAMINATION_S;
use crate::admin::steps::{self, StepView};
use crate::domain::users::Operator;
use crate::tools::connector::{Step, Target, examine, steps_max};

const PATH: &str = "/admin/connector";
const TEMPLATE: &str = "pages/connector.html";

/// There is nothing to fill in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Go {}

#[derive(Serialize)]
struct View {
    action: String,
    public_url: String,
    resource: String,
    steps: Vec<StepView>,
}

/// What an examination tells.
enum News {
    Step(Step),
    /// The end: whether all come through; none when it took too long.
    End(Option<bool>),
}

pub(super) async fn show(cx: Cx, _: Operator) -> Answer {
    page(&cx, Vec::new())
}

/// Goes the way. It changes nothing but what strangers may, too: three registrations that are never used.
pub(super) async fn test(cx: Cx, _: Operator, headers: HeaderMap, Form(Go {}): Form<Go>) -> Answer {
    let target = Target::new(cx.inner.portal.inner.public_url.clone(), cx.state().config.allow_private_odoo);
    if headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"text/event-stream")) {
        return Ok(stream(cx, target));
    }
    let mut news = Vec::new();
    examined(&cx, &target, &mut |one| news.push(one)).await;
    let steps = news.into_iter().enumerate().map(|(at, one)| shown(&cx, at, one).0).collect();
    page(&cx, steps)
}

fn page(cx: &Cx, steps: Vec<StepView>) -> Answer {
    let places = &cx.inner.portal.inner.places;
    cx.page(TEMPLATE, View { action: format!("{PATH}/test"), public_url: places.issuer().to_owned(), resource: places.resource().to_owned(), steps })
}

async fn examined(cx: &Cx, target: &Target, each: &mut (dyn FnMut(News) + Send)) {
    let mut step = |step| each(News::Step(step));
    let end = tokio::time::timeout(Duration::from_secs(EXAMINATION_S), examine(target, cx.language(), &mut step)).await.ok();
    each(News::End(end));
}

fn stream(cx: Cx, target: Target) -> Response {
    let own = cx.clone();
    let work = |sender: tokio::sync::mpsc::Sender<News>| async move {
        examined(&own, &target, &mut |one| {
            // Nobody reads any more: then nobody misses it.
            drop(sender.try_send(one));
        })
        .await;
    };
    steps::stream(cx, "connector", steps_max() + 1, work, shown)
}

/// A step, and whether it is the last.
fn shown(cx: &Cx, at: usize, one: News) -> (StepView, bool) {
    let end = |state, key| (steps::end(cx, "connector", at, state, key), true);
    match one {
        News::Step(step) => {
            let name = step.title(cx.language());
            let took = if step.took_ms == 0 { String::new() } else { format!("{} ms", step.took_ms) };
            (StepView { id: steps::id(at), state: step.state.as_str(), name, text: step.detail, took, fix: step.remedy.unwrap_or_default() }, false)
        }
        News::End(Some(true)) => end("ok", "well"),
        News::End(Some(false)) => end("bad", "bad"),
        News::End(None) => end("bad", "late"),
    }
}
