//! What goes on beside the calls: looking, telling, forgetting, fetching. Each is a loop that ends with the service; `boot.rs` begins them.

use std::time::Duration;

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::domain::padron_history;
use crate::domain::padron_share::Shared;
use crate::domain::usage;
use crate::state::AppState;
use crate::{commands, db};

/// How often limits are pruned and the last use of tokens is written.
const HOUSEKEEPING: Duration = Duration::from_secs(60);
/// A sign-up whose address is not confirmed is kept so long, days: where letters are sent, and where an operator has to look.
const SIGN_UP_DAYS_BY_LETTER: i64 = 3;
const SIGN_UP_DAYS_BY_HAND: i64 = 30;
/// How often alerts are looked for and sent, and after how many looks keys are cared for too.
const ALERTS: Duration = Duration::from_secs(30);
const KEYS_EVERY_LOOKS: u32 = 10;
/// How often is looked whether a new listing is to be fetched, and how often it is.
const PADRON_FETCH_LOOK: Duration = Duration::from_secs(60);
const PADRON_FETCH_EVERY: TimeDelta = TimeDelta::hours(24);
/// Nodes that could not hand on a listing try again after so long.
const PADRON_SHARE_AGAIN: Duration = Duration::from_secs(30);

/// Changes made by other processes: tenants and tokens edited, another listing activated. In the same rhythm the metrics are tidied.
pub(super) async fn watch(state: AppState, stop: CancellationToken) {
    let every = Duration::from_millis(state.config.limits.watch_ms);
    while !stopped(every, &stop).await {
        state.metrics.upkeep();
        if let Err(error) = state.changes.look().await {
            tracing::warn!(%error, "changes could not be looked for");
        }
        match state.padron.reload_if_changed() {
            Ok(true) => tracing::info!("another listing of taxpayers is active"),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "the listing of taxpayers could not be reloaded; the old one stays"),
        }
        if let Err(error) = state.nodes.beat().await {
            tracing::warn!(%error, "the other nodes could not be told that this one lives");
        }
        state.reads.look().await;
        state.limits.tell().await;
    }
}

/// What nodes tell each other at once.
pub(super) async fn news(state: AppState, stop: CancellationToken) {
    tokio::select! {
        () = state.news.run() => {}
        () = stop.cancelled() => {}
    }
}

/// Listings that other nodes imported, and those that they want of this one.
pub(super) async fn padron_share(state: AppState, stop: CancellationToken) {
    let every = Duration::from_millis(state.config.limits.watch_ms);
    let mut wait = Duration::ZERO;
    while !stopped(wait, &stop).await {
        wait = match state.padron_share.look().await {
            Ok(Shared::Same) => every,
            Ok(Shared::Given(listing)) => {
                tracing::info!(listing, "the listing of taxpayers was handed to the other nodes");
                every
            }
            Ok(Shared::Taken(listing)) => {
                tracing::info!(listing, "the listing of taxpayers that another node imported is active");
                every
            }
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "the listing of taxpayers could not be shared with the other nodes; the active one stays");
                PADRON_SHARE_AGAIN
            }
        };
    }
}

/// What each node forgets, and what one of them does for all.
pub(super) async fn housekeeping(state: AppState, stop: CancellationToken) {
    while !stopped(HOUSEKEEPING, &stop).await {
        state.limits.prune();
        if let Err(error) = state.tokens.last_used_flush().await {
            tracing::warn!(%error, "the last use of tokens could not be written");
        }
        if !state.nodes.leads() {
            continue;
        }
        if let Err(error) = state.users.prune().await {
            tracing::warn!(%error, "ended sessions could not be forgotten");
        }
        let days = if state.mail.configured() { SIGN_UP_DAYS_BY_LETTER } else { SIGN_UP_DAYS_BY_HAND };
        if let Err(error) = state.users.sign_up_prune(days).await {
            tracing::warn!(%error, "old sign-ups could not be forgotten");
        }
        if let Err(error) = state.oauth.prune().await {
            tracing::warn!(%error, "what programs left behind could not be forgotten");
        }
        if let Err(error) = state.approvals.sweep().await {
            tracing::warn!(%error, "writes that nobody approved in time could not be forgotten");
        }
        parts_ahead(&state).await;
        if let Err(error) = state.alerts.prune().await {
            tracing::warn!(%error, "old alerts could not be forgotten");
        }
        match calls_prune(&state).await {
            Ok(0) => {}
            Ok(calls) => tracing::info!(calls, "old calls were removed; their sums stay"),
            Err(error) => tracing::warn!(%error, "old calls could not be removed"),
        }
    }
}

/// The coming months' parts of the usage table. Without them a month's first call makes its own.
pub(super) async fn parts_ahead(state: &AppState) {
    match db::parts::make_ahead(&state.db, state.clock.now()).await {
        Ok(months) if months.is_empty() => {}
        Ok(months) => tracing::info!(?months, "parts were made for the calls of the coming months"),
        Err(error) => tracing::warn!(%error, "parts for the calls of the coming months could not be made yet"),
    }
}

/// Looks for what somebody should hear of, and sends it. Every node does: what is told is a row that only one of them can write.
pub(super) async fn alerts(state: AppState, public_url: Url, stop: CancellationToken) {
    let mut looks: u32 = 0;
    while !stopped(ALERTS, &stop).await {
        // A look that is cut is taken again by the next process: what it had not written down it has not told.
        if stop.run_until_cancelled(state.alerts.look()).await.is_none() {
            return;
        }
        if looks.is_multiple_of(KEYS_EVERY_LOOKS)
            && let Err(error) = state.alerts.care(&stop).await
        {
            tracing::warn!(%error, "Odoo keys could not be cared for");
        }
        looks = looks.wrapping_add(1);
        if let Err(error) = state.alerts.deliver(&public_url, &stop).await {
            tracing::warn!(%error, "alerts could not be sent");
        }
    }
}

/// Removes calls that are older than the settings keep them, or the start says where they say nothing; answers how many.
///
/// # Errors
/// The database.
pub async fn calls_prune(state: &AppState) -> anyhow::Result<u64> {
    let days = state.settings.get().usage_retention_days.unwrap_or(state.config.limits.usage_retention_days);
    Ok(usage::prune(&state.db, state.clock.now(), days).await?)
}

pub(super) async fn padron_fetch(state: AppState, stop: CancellationToken) {
    while !stopped(PADRON_FETCH_LOOK, &stop).await {
        if !state.nodes.leads() {
            continue;
        }
        // Who begins to lead does not ask again what another one asked this morning.
        match padron_history::latest(&state.db, "fetch").await {
            Ok(Some(at)) if state.clock.now() - at < PADRON_FETCH_EVERY => continue,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "when the listing of taxpayers was fetched last is not known");
                continue;
            }
        }
        if let Err(error) = commands::padron::fetch_and_import(&state.config, &state.db, &state.clock, &state.padron_imports).await {
            tracing::error!(error = format!("{error:#}"), "the listing of taxpayers could not be fetched; the active one stays");
        }
    }
}

/// Waits; true when the service stops meanwhile.
pub(super) async fn stopped(wait: Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = tokio::time::sleep(wait) => false,
        () = stop.cancelled() => true,
    }
}
