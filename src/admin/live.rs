//! The live log: calls as they end, as the rows that the page itself shows. An event stream at the page's own address, for those who accept one.
//!
//! A stream belongs to a session. As often as changes made by others are looked for, it looks whether that session is still open and may still
//! see what it shows, and ends when not. It ends too when the service stops; the browser then comes back by itself. A person has so many streams,
//! the oldest makes room. Nobody waits for a slow reader, and nobody is sent more rows than can be read: that some were left out is a row itself.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::stream;
use serde::Serialize;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use url::form_urlencoded;

use super::cx::Answer;
use super::error::PageError;
use super::log_row::RowView;
use super::{Cx, PATH, SIGN_IN_PATH, render};
use crate::clock::instant;
use crate::domain::reports::LogFilter;
use crate::domain::usage::{LiveCall, LiveCalls, LiveEvent};
use crate::domain::users::{Operator, TenantAccess, User};
use crate::ids::{TenantId, UsageId, UserId};

/// Streams at the same time: of everybody, and of one person (a browser has six connections for pages without HTTP/2).
const STREAMS_MAX: usize = 500;
const STREAMS_PER_USER_MAX: usize = 4;
/// A sign of life, so that proxies do not take a quiet stream for a dead one.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// After so long the browser comes back.
const RETRY: Duration = Duration::from_secs(3);
/// More cannot be read.
const ROWS_PER_SECOND_MAX: u32 = 50;
/// Calls that ended between the page and its stream, or while the browser was away; more are left out.
const CATCH_UP_ROWS_MAX: u64 = 50;
/// A call is in the database so long after it ended: the delivery's rhythm, and this on top of it.
const CATCH_UP_AFTER: Duration = Duration::from_millis(300);
/// So long a stream goes on although it cannot be asked whether it may.
const UNASKED_MAX: Duration = Duration::from_secs(30);
/// What is streamed: a call, and that some were left out.
const ROW: &str = "partials/log_row.html";
const LEFT_OUT: &str = "partials/log_left_out.html";

/// Whose calls, which of them, and by what right.
pub(super) struct Watch {
    sight: Sight,
    filter: LogFilter,
    /// The newest call that the page shows.
    seen: Option<UsageId>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sight {
    Everybody,
    Tenant(TenantId),
}

impl Watch {
    /// Everybody's calls, or those of the client that the filter names.
    pub(super) fn everybody(_: &Operator, filter: LogFilter) -> Self {
        Self { sight: Sight::Everybody, filter, seen: None }
    }

    /// A tenant's calls, whatever the filter says.
    pub(super) fn tenant(access: &TenantAccess, filter: LogFilter) -> Self {
        Self { sight: Sight::Tenant(access.tenant()), filter: LogFilter { tenant: Some(access.tenant()), ..filter }, seen: None }
    }

    /// What came before that call is on the page.
    pub(super) fn seen(mut self, newest: Option<UsageId>) -> Self {
        self.seen = newest;
        self
    }

    fn wants(&self, call: &LiveCall) -> bool {
        let fits = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        self.filter.tenant.is_none_or(|tenant| tenant == call.tenant) && fits(&self.filter.tool, &call.tool) && fits(&self.filter.outcome, &call.outcome)
    }

    fn allowed(&self, user: &User) -> bool {
        match self.sight {
            Sight::Everybody => user.operator().is_some(),
            Sight::Tenant(tenant) => user.access(tenant).is_some(),
        }
    }
}

/// Whether a browser's script asks, not somebody who wants the page.
pub(super) fn wanted(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.starts_with("text/event-stream"))
}

/// The newest call that somebody has seen who comes back.
pub(super) fn last_seen(headers: &HeaderMap) -> Option<UsageId> {
    headers.get("last-event-id")?.to_str().ok()?.parse().ok()
}

/// Opens a stream.
pub(super) fn open(cx: &Cx, user: &User, watch: Watch) -> Answer {
    let portal = &cx.inner.portal.inner;
    let limits = &cx.state().config.limits;
    let place = portal.streams.open(user.id()).ok_or(PageError::Busy)?;
    let every = Duration::from_millis(limits.watch_ms.max(10));
    let mut look = tokio::time::interval_at(instant() + every, every);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let live = Live {
        calls: cx.state().usage.live(watch.filter.tenant),
        cx: cx.clone(),
        user: user.clone(),
        watch,
        names: HashMap::new(),
        place,
        stopping: portal.stopping.clone(),
        asked: instant(),
        look,
        catch_up_at: Some(instant() + Duration::from_millis(limits.usage_flush_ms) + CATCH_UP_AFTER),
        sent: Vec::new(),
        pace: Pace { began: instant(), rows: 0 },
        left_out: false,
        ready: VecDeque::from([Event::default().retry(RETRY)]),
        ended: false,
    };
    let events = stream::unfold(live, |mut live| async move { live.next().await.map(|event| (Ok::<_, Infallible>(event), live)) });
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    // nginx would keep rows back until it has enough of them.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

/// An open stream.
struct Live {
    cx: Cx,
    user: User,
    watch: Watch,
    calls: LiveCalls,
    /// Of the clients seen so far.
    names: HashMap<TenantId, String>,
    place: Place,
    stopping: CancellationToken,
    /// When it was last known that it may go on.
    asked: Instant,
    look: Interval,
    /// When to look for calls that ended before the stream began; none when it was done.
    catch_up_at: Option<Instant>,
    /// Rows sent until then.
    sent: Vec<UsageId>,
    pace: Pace,
    /// Something was left out and it is not said yet.
    left_out: bool,
    ready: VecDeque<Event>,
    ended: bool,
}

impl Live {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            let catch_up_at = self.catch_up_at;
            let catch_up = async {
                match catch_up_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            // In this order: who may not see any more sees nothing more, however much there is.
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => self.ended = true,
                () = self.place.taken.cancelled() => self.end(""),
                _ = self.look.tick() => self.look().await,
                () = catch_up => self.catch_up().await,
                event = self.calls.next() => self.told(event).await,
            }
        }
    }

    /// Tells the browser not to come back, and where to go.
    fn end(&mut self, to: &str) {
        self.ready.clear();
        self.ready.push_back(Event::default().event("end").data(to));
        self.ended = true;
    }

    /// Whether the session is still open and may still see this.
    async fn look(&mut self) {
        if std::mem::take(&mut self.left_out) {
            self.push(LEFT_OUT, &(), None);
        }
        match self.cx.state().users.session_look(&self.user).await {
            Ok(Some(user)) if self.watch.allowed(&user) => (self.user, self.asked) = (user, instant()),
            Ok(Some(_)) => self.end(PATH),
            Ok(None) => {
                let back: String = form_urlencoded::byte_serialize(self.cx.inner.path.as_bytes()).collect();
                self.end(&format!("{SIGN_IN_PATH}?to={back}"));
            }
            Err(error) => {
                tracing::debug!(%error, "a live log could not ask whether it may go on");
                self.ended = self.asked.elapsed() > UNASKED_MAX;
            }
        }
    }

    async fn told(&mut self, event: Option<LiveEvent>) {
        match event {
            None => self.ended = true,
            Some(LiveEvent::Missed(_)) => self.left_out = true,
            Some(LiveEvent::Call(call)) if self.watch.wants(&call) => {
                if !self.pace.row(instant()) {
                    self.left_out = true;
                    return;
                }
                if self.catch_up_at.is_some() {
                    self.sent.push(call.id);
                }
                let name = self.name(call.tenant).await;
                self.push(ROW, &RowPart { row: RowView::of_live(&call, name.as_deref()) }, Some(call.id));
            }
            Some(LiveEvent::Call(_)) => {}
        }
    }

    /// Calls that ended after the page was made and before the stream began.
    async fn catch_up(&mut self) {
        self.catch_up_at = None;
        let sent = std::mem::take(&mut self.sent);
        let page = match self.cx.state().reports.log_page(&self.watch.filter, None, CATCH_UP_ROWS_MAX).await {
            Ok(page) => page,
            Err(error) => {
                tracing::debug!(%error, "a live log could not catch up");
                self.left_out = true;
                return;
            }
        };
        let fresh: Vec<_> = page.rows.iter().take_while(|row| self.watch.seen != Some(row.id)).filter(|row| !sent.contains(&row.id)).collect();
        // Whoever had seen one and finds none of it has missed more than this.
        self.left_out |= self.watch.seen.is_some() && fresh.len() as u64 >= CATCH_UP_ROWS_MAX;
        let with_client = self.watch.sight == Sight::Everybody;
        for row in fresh.into_iter().rev() {
            self.push(ROW, &RowPart { row: RowView::of_log(row, with_client) }, Some(row.id));
        }
    }

    /// The client's name, where the page shows the calls of many.
    async fn name(&mut self, tenant: TenantId) -> Option<String> {
        if self.watch.sight != Sight::Everybody {
            return None;
        }
        if let Some(name) = self.names.get(&tenant) {
            return Some(name.clone());
        }
        let name = self.cx.state().reports.client_name(tenant).await.ok().flatten();
        // A name that is not to be had now may be next time.
        let Some(name) = name else { return Some(String::new()) };
        self.names.insert(tenant, name.clone());
        Some(name)
    }

    fn push(&mut self, part: &str, view: &impl Serialize, id: Option<UsageId>) {
        match self.cx.inner.portal.inner.renderer.part(self.cx.language(), part, render::value(view)) {
            Ok(html) => {
                let event = Event::default().event("swap").data(html.trim());
                self.ready.push_back(match id {
                    Some(id) => event.id(id.to_string()),
                    None => event,
                });
            }
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "a row of the live log failed");
                self.ended = true;
            }
        }
    }
}

#[derive(Serialize)]
struct RowPart<'a> {
    row: RowView<'a>,
}

/// So many rows a second.
struct Pace {
    began: Instant,
    rows: u32,
}

impl Pace {
    /// One more, if it may be.
    fn row(&mut self, now: Instant) -> bool {
        if now.duration_since(self.began) >= Duration::from_secs(1) {
            *self = Self { began: now, rows: 0 };
        }
        self.rows += 1;
        self.rows <= ROWS_PER_SECOND_MAX
    }
}

/// The streams that are open. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Streams {
    open: Arc<Mutex<Open>>,
}

#[derive(Default)]
struct Open {
    number: u64,
    by_user: HashMap<UserId, VecDeque<(u64, CancellationToken)>>,
}

/// A stream's place; free again when it is dropped, taken by a newer one of the same person when they have too many.
struct Place {
    streams: Streams,
    user: UserId,
    number: u64,
    taken: CancellationToken,
}

impl Streams {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for that person; none when there are too many streams.
    fn open(&self, user: UserId) -> Option<Place> {
        let mut open = self.lock();
        open.number += 1;
        let (number, all) = (open.number, open.by_user.values().map(VecDeque::len).sum::<usize>());
        let own = open.by_user.entry(user).or_default();
        if own.len() >= STREAMS_PER_USER_MAX {
            if let Some((_, oldest)) = own.pop_front() {
                oldest.cancel();
            }
        } else if all >= STREAMS_MAX {
            if own.is_empty() {
                open.by_user.remove(&user);
            }
            return None;
        }
        let taken = CancellationToken::new();
        own.push_back((number, taken.clone()));
        Some(Place { streams: self.clone(), user, number, taken })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.streams.lock();
        if let Some(own) = open.by_user.get_mut(&self.user) {
            own.retain(|(number, _)| *number != self.number);
            if own.is_empty() {
                open.by_user.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_stream_of_a_person_makes_room() {
        let streams = Streams::default();
        let (ana, beto) = (UserId::new(), UserId::new());
        let mut own: Vec<Place> = (0..STREAMS_PER_USER_MAX).map(|_| streams.open(ana).unwrap()).collect();
        let others = streams.open(beto).unwrap();
        own.push(streams.open(ana).unwrap());
        assert_eq!(own.iter().map(|place| place.taken.is_cancelled()).collect::<Vec<_>>(), [true, false, false, false, false]);
        assert!(!others.taken.is_cancelled());
        drop((own, others));
        assert!(streams.lock().by_user.is_empty());
    }

    #[test]
    fn there_are_so_many_streams_and_no_more() {
        let streams = Streams::default();
        let mut open: Vec<Place> = (0..STREAMS_MAX).map(|_| streams.open(UserId::new()).unwrap()).collect();
        let late = UserId::new();
        assert!(streams.open(late).is_none() && !streams.lock().by_user.contains_key(&late));
        open.pop();
        assert!(streams.open(late).is_some());
    }

    #[test]
    fn rows_have_a_pace() {
        let began = instant();
        let mut pace = Pace { began, rows: 0 };
        let mut burst = |now: Instant| (0..ROWS_PER_SECOND_MAX + 10).filter(|_| pace.row(now)).count();
        assert_eq!([began, began + Duration::from_millis(999), began + Duration::from_secs(1)].map(&mut burst), [ROWS_PER_SECOND_MAX as usize, 0, ROWS_PER_SECOND_MAX as usize]);
    }
}
