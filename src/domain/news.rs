//! What nodes tell each other at once, by PostgreSQL's LISTEN and NOTIFY: that something was changed, that somebody watches calls live, and the calls that
//! they would miss. All of it only makes things sooner: changes are looked for every few seconds anyway, and who watches sees the other nodes' calls when
//! the page is loaded anew.

use std::time::Duration;

use futures::FutureExt;
use sea_orm::sqlx::postgres::{PgListener, PgNotification, PgPoolOptions};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement, sqlx};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::changes::ChangeWatch;
use super::nodes::Nodes;
use super::usage::{LiveCall, LiveCalls, LiveEvent, UsageSink};
use crate::clock::instant;

/// Something was written into the audit; told by the database itself (`migration/src/m20261128_000041_nodes.rs`).
const CHANGES: &str = "dunet_changes";
/// Somebody watches calls on the node that says so.
const WATCH: &str = "dunet_watch";
/// Calls of the node that says so.
const CALLS: &str = "dunet_calls";

/// Who watches says so this often, and is believed so long.
const WATCH_EVERY: Duration = Duration::from_secs(2);
const WATCH_BELIEVED: Duration = Duration::from_secs(7);
/// Calls are gathered for so long.
const GATHERED: Duration = Duration::from_millis(50);
/// PostgreSQL takes no longer word than 8,000 bytes.
const WORD_BYTES_MAX: usize = 7_800;
/// A connection that was lost is made anew after so long.
const AGAIN: Duration = Duration::from_secs(1);

/// Tells and hears. Cheap to clone.
#[derive(Clone)]
pub struct News {
    db: DatabaseConnection,
    nodes: Nodes,
    changes: ChangeWatch,
    usage: UsageSink,
}

/// Calls as one node tells them to the others.
#[derive(Serialize, Deserialize)]
struct Told {
    node: String,
    calls: Vec<LiveCall>,
    /// Not told: they were too many.
    missed: u64,
}

impl News {
    /// Between this node and the others.
    #[must_use]
    pub fn new(db: DatabaseConnection, nodes: Nodes, changes: ChangeWatch, usage: UsageSink) -> Self {
        Self { db, nodes, changes, usage }
    }

    /// Goes on for ever; dropping it ends it. On SQLite there is nobody to talk to.
    pub async fn run(&self) {
        if self.db.get_database_backend() != DbBackend::Postgres {
            return std::future::pending().await;
        }
        // Only the latest matters.
        let (watched, is_watched) = mpsc::channel(1);
        tokio::join!(self.hear(watched), self.tell(is_watched));
    }

    async fn hear(&self, watched: mpsc::Sender<()>) {
        loop {
            if let Err(error) = self.listen(&watched).await {
                tracing::warn!(%error, "the other nodes cannot be heard; what they change is looked for");
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Until the connection ends.
    async fn listen(&self, watched: &mpsc::Sender<()>) -> Result<(), sqlx::Error> {
        // A connection of its own: the pool's are for questions.
        let options = self.db.get_postgres_connection_pool().connect_options();
        let own = PgPoolOptions::new().max_connections(1).connect_with((*options).clone()).await?;
        let mut listener = PgListener::connect_with(&own).await?;
        listener.eager_reconnect(false);
        listener.listen_all([CHANGES, WATCH, CALLS]).await?;
        // What was said while nobody listened.
        self.look().await;
        while let Some(first) = listener.try_recv().await? {
            let mut changed = false;
            for word in std::iter::once(first).chain(std::iter::from_fn(|| listener.next_buffered())) {
                changed |= self.heard(&word, watched);
            }
            if changed {
                self.look().await;
            }
        }
        Ok(())
    }

    /// Whether something was changed.
    fn heard(&self, word: &PgNotification, watched: &mpsc::Sender<()>) -> bool {
        match word.channel() {
            CHANGES => return true,
            WATCH if word.payload() != self.nodes.short() => drop(watched.try_send(())),
            CALLS => match serde_json::from_str::<Told>(word.payload()) {
                Ok(told) if told.node != self.nodes.short() => {
                    told.calls.into_iter().for_each(|call| self.usage.live_heard(call));
                    if told.missed > 0 {
                        tracing::debug!(missed = told.missed, node = told.node, "calls of another node were too many to be told");
                    }
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "what another node said of its calls is not understood: is it of another version?"),
            },
            _ => {}
        }
        false
    }

    async fn look(&self) {
        if let Err(error) = self.changes.look().await {
            tracing::warn!(%error, "changes could not be looked for");
        }
    }

    /// Says that somebody watches here, and tells this node's calls while somebody watches elsewhere.
    async fn tell(&self, mut is_watched: mpsc::Receiver<()>) {
        let mut own: Option<LiveCalls> = None;
        let mut until = instant();
        let mut again = tokio::time::interval(WATCH_EVERY);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.usage.live_begun() => self.say_watching().await,
                _ = again.tick() => {
                    if self.usage.live_people() > 0 {
                        self.say_watching().await;
                    }
                }
                word = is_watched.recv() => {
                    if word.is_none() {
                        return;
                    }
                    until = instant() + WATCH_BELIEVED;
                    own.get_or_insert_with(|| self.usage.live_for_others());
                }
                event = next(&mut own) => {
                    if let (Some(event), Some(own)) = (event, own.as_mut()) {
                        self.tell_calls(event, own).await;
                    }
                }
            }
            if own.is_some() && instant() >= until {
                own = None;
            }
        }
    }

    async fn say_watching(&self) {
        self.notify(WATCH, self.nodes.short().to_owned()).await;
    }

    /// One call and what comes within a moment, in as few words as they fit into.
    async fn tell_calls(&self, first: LiveEvent, own: &mut LiveCalls) {
        tokio::time::sleep(GATHERED).await;
        let mut told = Told { node: self.nodes.short().to_owned(), calls: Vec::new(), missed: 0 };
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(event) = next {
            match event {
                LiveEvent::Missed(calls) => told.missed += calls,
                LiveEvent::Call(call) => {
                    let length = serde_json::to_vec(&*call).map_or(0, |text| text.len() + 1);
                    if bytes + length > WORD_BYTES_MAX - 200 {
                        self.say_calls(&mut told).await;
                        bytes = 0;
                    }
                    bytes += length;
                    told.calls.push((*call).clone());
                }
            }
            next = own.next().now_or_never().flatten();
        }
        self.say_calls(&mut told).await;
    }

    async fn say_calls(&self, told: &mut Told) {
        match serde_json::to_string(told) {
            Ok(text) if text.len() <= WORD_BYTES_MAX => self.notify(CALLS, text).await,
            _ => tracing::warn!("a call is too long to be told to other nodes"),
        }
        told.calls.clear();
        told.missed = 0;
    }

    async fn notify(&self, channel: &str, word: String) {
        let said: Result<_, DbErr> = self.db.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, "select pg_notify($1, $2)", [channel.into(), word.into()])).await;
        if let Err(error) = said {
            tracing::debug!(%error, "the other nodes could not be told");
        }
    }
}

/// The next of them; never when nobody asked for any.
async fn next(own: &mut Option<LiveCalls>) -> Option<LiveEvent> {
    match own {
        Some(own) => own.next().await,
        None => std::future::pending().await,
    }
}
