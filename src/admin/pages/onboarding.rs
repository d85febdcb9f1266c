//! The first steps of a client. They tick themselves: derived from facts, looked at every two seconds while somebody watches.
//! Without script the page says the same when it is loaded again.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use serde::Serialize;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::admin::cx::{Answer, tenant_path};
use crate::admin::error::PageError;
use crate::admin::watchers::Place;
use crate::admin::{Cx, SIGN_IN_PATH};
use crate::domain::reports::{LogRow, Onboarding};
use crate::domain::tenants::rnc_formatted;
use crate::domain::users::TenantAccess;
use crate::tools::TOOLS;

/// How often facts are looked at for one watcher. What one has learnt, others of the same tenant are told for `watchers::FACTS_FOR`.
const LOOK_EVERY: Duration = Duration::from_millis(2_100);
/// A comment is sent so often, so that nothing between takes the stream for dead.
const ALIVE_EVERY: Duration = Duration::from_secs(15);
/// A browser whose stream broke comes back after this.
const COME_BACK_AFTER: Duration = Duration::from_secs(5);
/// How long one stream goes on at most; then the browser asks again, and is let in again.
const STREAM_MAX: Duration = Duration::from_secs(1_800);

/// The steps, in order: `portal.onboarding.<key>`, and where each is done below the client's path.
const STEPS: [(&str, &str); 5] = [("account", ""), ("odoo", "/odoo"), ("tools", "/tools"), ("token", "/connect"), ("call", "/connect")];

#[derive(Serialize)]
struct View<'a> {
    client: &'a str,
    client_path: String,
    path: String,
    may_change: bool,
    #[serde(flatten)]
    list: List,
}

/// What is rendered, whole or in pieces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct List {
    steps: Vec<Step>,
    done: usize,
    of: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Step {
    key: &'static str,
    /// `done`, `now`, `later`.
    state: &'static str,
    text: String,
    href: String,
}

pub(super) async fn show(cx: Cx, access: TenantAccess, headers: HeaderMap) -> Answer {
    if headers.get(header::ACCEPT).is_some_and(|accept| accept.to_str().is_ok_and(|accept| accept.contains("text/event-stream"))) {
        return watch(cx, access);
    }
    let facts = facts(&cx, &access).await?;
    let home = tenant_path(access.tenant());
    let view = View { client: &facts.name, path: format!("{home}/onboarding"), client_path: home, may_change: access.may_change(), list: list(&cx, &access, &facts) };
    cx.page("pages/onboarding.html", view)
}

/// What the steps tell.
#[derive(Clone, Debug)]
pub(in crate::admin) struct Facts {
    name: String,
    rnc: Option<String>,
    odoo_host: Option<String>,
    come: Onboarding,
    /// The last call; none also when it is too old to be told.
    last: Option<LogRow>,
}

async fn facts(cx: &Cx, access: &TenantAccess) -> Result<Facts, PageError> {
    let state = cx.state();
    let tenant = state.tenants.tenant_find(access.tenant()).await?;
    let names: Vec<&str> = TOOLS.iter().map(|tool| tool.facts().name).collect();
    let come = state.reports.onboarding(&tenant, &names).await.map_err(PageError::internal)?;
    let last = if come.called { state.reports.log_last(tenant.id, 1).await.map_err(PageError::internal)?.pop() } else { None };
    let odoo_host = tenant.odoo.as_ref().and_then(|odoo| odoo.url.host_str().map(str::to_owned));
    Ok(Facts { rnc: tenant.rnc.as_deref().map(rnc_formatted), name: tenant.name, odoo_host, come, last })
}

fn list(cx: &Cx, access: &TenantAccess, facts: &Facts) -> List {
    let done = facts.come.done();
    let now = done.iter().position(|done| !done);
    let home = tenant_path(access.tenant());
    let say = |key: &str, pairs: &[(&str, &str)]| crate::text::fill(cx.language(), &format!("portal.onboarding.{key}"), pairs);
    let text = |at: usize| match (STEPS[at].0, done[at]) {
        ("account", _) => facts.rnc.as_ref().map_or_else(|| facts.name.clone(), |rnc| format!("{} · RNC {rnc}", facts.name)),
        ("odoo", true) => facts.odoo_host.clone().unwrap_or_default(),
        ("tools", true) => say("tools_done", &[("count", &facts.come.tools.to_string())]),
        ("token", true) if facts.come.tokens > 0 => say("token_done", &[("count", &facts.come.tokens.to_string())]),
        ("token", true) => String::new(),
        ("call", true) => match &facts.last {
            Some(call) => match &call.agent {
                Some(agent) => say("call_done_by", &[("tool", &call.tool), ("agent", agent)]),
                None => say("call_done", &[("tool", &call.tool)]),
            },
            None => String::new(),
        },
        (key, _) => say(&format!("{key}_text"), &[]),
    };
    let step = |(at, (key, below)): (usize, &(&'static str, &'static str))| Step {
        key,
        state: if done[at] {
            "done"
        } else if now == Some(at) {
            "now"
        } else {
            "later"
        },
        text: text(at),
        // Who may only look is shown no way to change things.
        href: if access.may_change() { format!("{home}{below}") } else { String::new() },
    };
    List { steps: STEPS.iter().enumerate().map(step).collect(), done: done.iter().filter(|done| **done).count(), of: STEPS.len() }
}

/// Somebody who watches.
struct Watcher {
    cx: Cx,
    access: TenantAccess,
    stopping: CancellationToken,
    looks: Interval,
    until: tokio::time::Instant,
    shown: Option<List>,
    ready: VecDeque<Event>,
    ended: bool,
    _place: Place,
}

fn watch(cx: Cx, access: TenantAccess) -> Answer {
    let portal = &cx.inner.portal.inner;
    let Some(place) = portal.watchers.begin(access.tenant()) else { return Err(PageError::TooMany(COME_BACK_AFTER.as_secs())) };
    let stopping = portal.stopping.clone();
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ready = VecDeque::from([Event::default().retry(COME_BACK_AFTER).comment("")]);
    let watcher = Watcher { cx, access, stopping, looks, until: crate::clock::instant() + STREAM_MAX, shown: None, ready, ended: false, _place: place };
    let events = futures::stream::unfold(watcher, |mut watcher| async move { watcher.next().await.map(|event| (Ok::<_, Infallible>(event), watcher)) });
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE_EVERY)).into_response();
    // nginx would keep the events until it has a buffer full of them.
    response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

impl Watcher {
    /// The next event; none at the end: the session's, the service's, the list's, or this stream's time.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            tokio::select! {
                () = self.stopping.cancelled() => return None,
                () = tokio::time::sleep_until(self.until) => return None,
                _ = self.looks.tick() => {}
            }
            self.look().await;
        }
    }

    async fn look(&mut self) {
        match self.cx.state().users.session_look(self.access.user()).await {
            Ok(Some(user)) if user.access(self.access.tenant()).is_some_and(|access| access.level() == self.access.level()) => {}
            Ok(_) => return self.end(SIGN_IN_PATH),
            // The database is away: the next look may find it.
            Err(error) => return tracing::warn!(%error, "whether somebody is still signed in could not be looked at"),
        }
        let watchers = &self.cx.inner.portal.inner.watchers;
        let facts = watchers.facts(self.access.tenant(), facts(&self.cx, &self.access)).await;
        let list = match facts {
            Some(facts) => list(&self.cx, &self.access, &facts),
            None => return,
        };
        if self.shown.as_ref() == Some(&list) {
            return;
        }
        if let Err(error) = self.tell(&list) {
            tracing::error!(?error, "a step could not be shown");
            self.ended = true;
            return;
        }
        let complete = list.done == list.of;
        self.shown = Some(list);
        if complete {
            self.end("");
        }
    }

    fn tell(&mut self, list: &List) -> Result<(), PageError> {
        let before = self.shown.take();
        for (at, step) in list.steps.iter().enumerate() {
            let old = before.as_ref().map(|before| &before.steps[at]);
            if old == Some(step) {
                continue;
            }
            self.ready.push_back(Event::default().event("swap").data(self.cx.piece("partials/onboarding_step.html", step)?));
            if step.state == "done" && old.is_some_and(|old| old.state != "done") {
                let title = self.cx.t(&format!("portal.onboarding.{}", step.key));
                self.ready.push_back(Event::default().event("flash").data(format!("{title}: {}", self.cx.t("portal.onboarding.done"))));
            }
        }
        self.ready.push_back(Event::default().event("swap").data(self.cx.piece("partials/onboarding_note.html", list)?));
        if list.done == list.of {
            self.ready.push_back(Event::default().event("swap").data(self.cx.piece("partials/onboarding_state.html", list)?));
        }
        Ok(())
    }

    /// The last thing that is said: where to go, or nothing.
    fn end(&mut self, to: &str) {
        self.ready.push_back(Event::default().event("end").data(to));
        self.ended = true;
    }
}
