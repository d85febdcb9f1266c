//! The doctor's steps for the page: one by one as a stream of ready-made pieces, or all together.

use std::time::Duration;

use axum::response::Response;

use crate::admin::Cx;
use crate::admin::odoo_typed::EXAMINATION_S;
use crate::admin::steps::{self, StepView};
use crate::domain::connections::OdooConfig;
use crate::domain::tenants::Tenant;
use crate::tools::doctor::{Reader, Step, examine, steps_max};

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
    news.into_iter().enumerate().map(|(at, one)| shown(cx, at, one).0).collect()
}

/// Each step as it ends.
pub(super) fn stream(cx: Cx, config: OdooConfig, tenant: Tenant, reader: Reader) -> Response {
    let work = |sender: tokio::sync::mpsc::Sender<News>| async move {
        examined(config, &tenant, &reader, &mut |one| {
            // Nobody reads any more: then nobody misses it.
            drop(sender.try_send(one));
        })
        .await;
    };
    steps::stream(cx, "odoo", steps_max() + 1, work, shown)
}

/// A step, and whether it is the last.
fn shown(cx: &Cx, at: usize, one: News) -> (StepView, bool) {
    let end = |state, key| (steps::end(cx, "odoo", at, state, key), true);
    match one {
        News::Step(step) => {
            let view = StepView {
                id: steps::id(at),
                state: if step.ok { "ok" } else { "bad" },
                name: step.title(cx.language()),
                text: step.detail,
                took: format!("{} ms", step.took_ms),
                fix: step.remedy.unwrap_or_default(),
            };
            (view, false)
        }
        News::End(Some(true)) => end("ok", "well"),
        News::End(Some(false)) => end("bad", "bad"),
        News::End(None) => end("bad", "late"),
    }
}
