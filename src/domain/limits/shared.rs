//! What several nodes count together: limits and months in Redis or Valkey (`REDIS_URL`), each decision one short script, so that it is exact whoever
//! asks first. While it is away nobody waits for it: an answer that does not come within its time, or a broken connection, and a node decides by itself
//! (see [`super::Limits`]) and asks again after a moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{FromRedisValue, Script, ScriptInvocation};
use secrecy::{ExposeSecret, SecretString};

use super::month::Account;
use crate::clock::instant;

/// A server that is away is asked again after so long, by one call.
const PAUSE: Duration = Duration::from_millis(500);
/// Questions that may wait to be sent on the one connection.
const QUEUED_MAX: usize = 4_096;

/// The clocks of two nodes never differ by so much, microseconds; `dunet check` says so long before.
pub(in crate::domain) const AHEAD_MICROS: i64 = 300_000_000;

/// One number per key: the instant at which everything taken is paid for (generic cell rate algorithm). What the node knows goes along, so that a
/// server that was emptied is no amnesty. More than the window is owed where clocks differ, which is no reason to begin anew, unless it is very much. Times are microseconds: too large for Lua's own way to write a number.
const RATE: &str = r"
local now, step, window = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local due = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), tonumber(ARGV[4]))
if due > now + window + tonumber(ARGV[5]) then due = now end
local next = math.max(due, now) + step
if next - now > window then return {0, next - now - window} end
redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', math.ceil((next - now) / 1000) + 1000)
return {1, next}";

/// How often within a window; the window begins with the first.
const REPEAT: &str = r"
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return {count, redis.call('PTTL', KEYS[1])}";

/// A month: what the database counted when the count began (`b`), and for each account what it took (`t:`) and gave back (`r:`), which only grow: the same
/// news told twice, or late, changes nothing. The two of an account are written together, or neither: what was given back of a call that is not in the
/// one must not be in the other. A count has a generation (`g`): who comes with another one is told so (-2), who comes to none that something is missing
/// (-1), which is what the database counts (`ARGV[7]`).
const MONTH: &str = r"
local key, limit, me, generation = KEYS[1], tonumber(ARGV[1]), ARGV[3], ARGV[6]
local begun = redis.call('HGET', key, 'g')
if not begun then
  if ARGV[7] == '' then return {-1, 0, ''} end
  redis.call('HSET', key, 'g', generation, 'b', ARGV[7])
  begun = generation
end
local all, total = redis.call('HGETALL', key), 0
for i = 1, #all, 2 do
  local kind, value = string.sub(all[i], 1, 1), tonumber(all[i + 1])
  if kind == 'r' then total = total - value elseif kind ~= 'g' then total = total + value end
end
if begun ~= generation then return {-2, total, begun} end
local t, r = 't:' .. me, 'r:' .. me
local taken, released = tonumber(redis.call('HGET', key, t) or '0'), tonumber(redis.call('HGET', key, r) or '0')
local taken_now, released_now = math.max(tonumber(ARGV[4]), taken), math.max(tonumber(ARGV[5]), released)
total = total + taken_now - taken - released_now + released
if limit >= 0 and total > limit then return {0, total, begun} end
redis.call('HSET', key, t, taken_now, r, released_now)
redis.call('EXPIRE', key, ARGV[2])
return {1, total, begun}";

/// A month is forgotten so long after its last call, seconds.
const MONTH_KEPT_S: u32 = 40 * 86_400;

/// Nobody could be asked: decide by what you know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Away;

/// The counters that all nodes share. Cheap to clone.
#[derive(Clone)]
pub struct SharedCounters {
    inner: Arc<Inner>,
}

struct Inner {
    connection: ConnectionManager,
    patience: Duration,
    rate: Script,
    repeat: Script,
    month: Script,
    away: AtomicBool,
    /// The next try of an outage, milliseconds since `began`.
    next_try_ms: AtomicU64,
    began: tokio::time::Instant,
}

/// What a rate said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rate {
    /// One was taken; everything is paid for at that instant, microseconds since 1970.
    Taken(i64),
    /// So many microseconds until one is free.
    Wait(u64),
}

/// What a month said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum MonthSaid {
    /// The call was taken; calls of the month, by all nodes.
    Taken(u32),
    /// It was not; with it there would be so many.
    Refused(u32),
    /// The count is another generation's; and calls of the month there.
    Other(String, u32),
    /// There is no count: it begins with what the database counts.
    Nothing,
}

impl SharedCounters {
    /// At that address; connects when it is first asked. An answer may take so long.
    ///
    /// # Errors
    /// The address is none.
    pub fn new(url: &SecretString, patience: Duration) -> anyhow::Result<Self> {
        let client = client(url)?;
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_max_delay(PAUSE)
            .set_response_timeout(Some(patience))
            .set_connection_timeout(Some(patience.max(PAUSE)))
            .set_pipeline_buffer_size(QUEUED_MAX);
        let connection = ConnectionManager::new_lazy_with_config(client, config).ok().context("REDIS_URL cannot be used")?;
        let inner = Inner {
            connection,
            patience,
            rate: Script::new(RATE),
            repeat: Script::new(REPEAT),
            month: Script::new(MONTH),
            away: AtomicBool::new(false),
            next_try_ms: AtomicU64::new(0),
            began: instant(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whether the server answered when it was asked last.
    #[must_use]
    pub fn answers(&self) -> bool {
        !self.inner.away.load(Ordering::Relaxed)
    }

    /// One more of a rate: `step` and `window` in microseconds; `known` is what the node believes of it.
    pub(super) async fn rate_take(&self, key: String, now: i64, step: i64, window: i64, known: i64) -> Result<Rate, Away> {
        let mut call = self.inner.rate.prepare_invoke();
        call.key(key).arg(now).arg(step).arg(window).arg(known).arg(AHEAD_MICROS);
        let (taken, number): (u8, i64) = self.ask(&call).await?;
        Ok(if taken == 1 { Rate::Taken(number) } else { Rate::Wait(u64::try_from(number).unwrap_or_default()) })
    }

    /// One more within the window: how many there are now, and how long the window lasts, milliseconds.
    pub(super) async fn repeat_take(&self, key: String, window_ms: u64) -> Result<(u32, u64), Away> {
        let mut call = self.inner.repeat.prepare_invoke();
        call.key(key).arg(window_ms);
        let (count, rest_ms): (u32, i64) = self.ask(&call).await?;
        Ok((count, u64::try_from(rest_ms).unwrap_or(window_ms)))
    }

    /// One more call of a month, of a limit (none is unlimited), taken into that account; `counted` begins a count where there is none.
    pub(super) async fn month_take(&self, key: &str, limit: Option<u32>, account: &Account, counted: Option<u32>) -> Result<MonthSaid, Away> {
        let Account { generation, name, taken, released } = account;
        let mut call = self.inner.month.prepare_invoke();
        call.key(key).arg(limit.map_or(-1, i64::from)).arg(MONTH_KEPT_S).arg(name).arg(taken).arg(released).arg(generation);
        call.arg(counted.map(|counted| counted.to_string()).unwrap_or_default());
        let (state, total, begun): (i8, i64, String) = self.ask(&call).await?;
        let total = u32::try_from(total).unwrap_or_default();
        Ok(match state {
            1 => MonthSaid::Taken(total),
            0 => MonthSaid::Refused(total),
            -2 => MonthSaid::Other(begun, total),
            _ => MonthSaid::Nothing,
        })
    }

    async fn ask<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, Away> {
        if !self.may_ask() {
            return Err(Away);
        }
        let mut connection = self.inner.connection.clone();
        match tokio::time::timeout(self.inner.patience, call.invoke_async(&mut connection)).await {
            Ok(Ok(said)) => {
                self.came_back();
                Ok(said)
            }
            // Its words may name the address: the kind is enough.
            Ok(Err(error)) => Err(self.lost(error.category())),
            Err(_) => Err(self.lost("it does not answer in time")),
        }
    }

    fn may_ask(&self) -> bool {
        if self.answers() {
            return true;
        }
        let now = self.now_ms();
        let next = self.inner.next_try_ms.load(Ordering::Relaxed);
        now >= next && self.inner.next_try_ms.compare_exchange(next, now + pause_ms(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn lost(&self, cause: &str) -> Away {
        self.inner.next_try_ms.store(self.now_ms() + pause_ms(), Ordering::Relaxed);
        if !self.inner.away.swap(true, Ordering::Relaxed) {
            tracing::warn!(cause, "Redis is away: limits are decided by this node's share until it is back");
        }
        Away
    }

    fn came_back(&self) {
        if self.inner.away.load(Ordering::Relaxed) && self.inner.away.swap(false, Ordering::Relaxed) {
            tracing::info!("Redis is back: limits are exact over all nodes again");
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(instant().duration_since(self.inner.began).as_millis()).unwrap_or(u64::MAX)
    }
}

impl std::fmt::Debug for SharedCounters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedCounters").field("answers", &self.answers()).finish_non_exhaustive()
    }
}

/// Whether a server answers there; for `dunet check`.
///
/// # Errors
/// Why not, without the address, which may hold a password.
pub async fn redis_answers(url: &SecretString, within: Duration) -> anyhow::Result<()> {
    let client = client(url)?;
    let ask = async {
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd("PING").query_async::<String>(&mut connection).await
    };
    match tokio::time::timeout(within, ask).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => anyhow::bail!("{}", error.category()),
        Err(_) => anyhow::bail!("no answer within {} ms", within.as_millis()),
    }
}

fn client(url: &SecretString) -> anyhow::Result<redis::Client> {
    // The cause may hold the password.
    redis::Client::open(url.expose_secret()).ok().context("REDIS_URL must be an address such as redis://127.0.0.1:6379")
}

fn pause_ms() -> u64 {
    u64::try_from(PAUSE.as_millis()).unwrap_or(u64::MAX)
}
