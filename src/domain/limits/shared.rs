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

use super::month::Known;
use crate::clock::instant;

/// A server that is away is asked again after so long, by one call.
const PAUSE: Duration = Duration::from_millis(500);
/// Questions that may wait to be sent on the one connection.
const QUEUED_MAX: usize = 4_096;

/// One number per key: the instant at which everything taken is paid for (generic cell rate algorithm). What the node knows goes along, so that a
/// server that was emptied is no amnesty. Times are microseconds: too large for Lua's own way to write a number.
const RATE: &str = r"
local now, step, window = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local due = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), tonumber(ARGV[4]))
if due > now + window then due = now end
local next = math.max(due, now) + step
if next - now > window then return {0, next - now - window} end
redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', math.ceil((next - now) / 1000) + 1000)
return {1, next}";

/// How often within a window; the window begins with the first.
const REPEAT: &str = r"
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return {count, redis.call('PTTL', KEYS[1])}";

/// A month: what there was before (`b`), and for each process's ledger what it took (`t:`) and gave back (`r:`). All three only grow, so that the same news told
/// twice, or late, or from another's memory, changes nothing. The two of a process are written together, or neither: what was given back of a call that
/// is not in the one must not be in the other. Answers -1 where the key is gone and nothing was told to make it anew.
const MONTH: &str = r"
local key, limit, me = KEYS[1], tonumber(ARGV[1]), ARGV[3]
local taken, floor = tonumber(ARGV[4]), tonumber(ARGV[7])
if floor < 0 and redis.call('EXISTS', key) == 0 then return {-1, 0} end
local function raise(field, value)
  if value > tonumber(redis.call('HGET', key, field) or '-1') then redis.call('HSET', key, field, value) end
end
for i = 8, #ARGV, 2 do raise(ARGV[i], tonumber(ARGV[i + 1])) end
local all, total = redis.call('HGETALL', key), 0
for i = 1, #all, 2 do
  local value = tonumber(all[i + 1])
  if string.sub(all[i], 1, 2) == 'r:' then total = total - value else total = total + value end
end
if floor > total then
  redis.call('HINCRBY', key, 'b', floor - total)
  total = floor
end
local t, r = 't:' .. me, 'r:' .. me
local before = {tonumber(redis.call('HGET', key, t) or '0'), tonumber(redis.call('HGET', key, r) or '0')}
local now = {math.max(taken, before[1]), math.max(tonumber(ARGV[5]), before[2])}
total = total + now[1] - before[1] - now[2] + before[2]
if limit >= 0 and total > limit then return {0, total} end
redis.call('HSET', key, t, now[1], r, now[2])
redis.call('EXPIRE', key, ARGV[2])
if ARGV[6] == '0' then return {1, total} end
local answer = {1, total}
for _, word in ipairs(redis.call('HGETALL', key)) do table.insert(answer, word) end
return answer";

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

/// A call of a month, as the node counts it.
pub(super) struct MonthCall<'a> {
    /// Of whom, and when.
    pub(super) key: String,
    /// The plan's; none is unlimited.
    pub(super) limit: Option<u32>,
    /// The ledger that it is taken into.
    pub(super) me: &'a str,
    /// Taken into that ledger, this one included, and given back.
    pub(super) taken: u32,
    pub(super) released: u32,
    /// Whether to tell what all processes took.
    pub(super) all: bool,
    /// What is known here, to make the key anew or to raise it.
    pub(super) known: Option<Known>,
}

/// What a month said.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MonthSaid {
    /// Whether the call was taken; none when the server knows nothing of the month.
    pub(super) taken: Option<bool>,
    /// Calls of the month, by all nodes; of a refused call with itself.
    pub(super) total: u32,
    /// What all processes took and gave back, when asked for.
    pub(super) all: Vec<(String, u32)>,
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
        call.key(key).arg(now).arg(step).arg(window).arg(known);
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

    /// One more call of a month.
    pub(super) async fn month_take(&self, month: MonthCall<'_>) -> Result<MonthSaid, Away> {
        let mut call = self.inner.month.prepare_invoke();
        call.key(month.key).arg(month.limit.map_or(-1, i64::from)).arg(MONTH_KEPT_S).arg(month.me).arg(month.taken).arg(month.released).arg(u8::from(month.all));
        match month.known {
            None => {
                call.arg(-1);
            }
            Some((floor, fields)) => {
                call.arg(floor);
                for (field, value) in fields {
                    call.arg(field).arg(value);
                }
            }
        }
        let said: Vec<redis::Value> = self.ask(&call).await?;
        month_said(&said).ok_or(Away)
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

fn month_said(said: &[redis::Value]) -> Option<MonthSaid> {
    let number = |value: &redis::Value| i64::from_redis_value_ref(value).ok();
    let [state, total, rest @ ..] = said else { return None };
    let taken = match number(state)? {
        1 => Some(true),
        0 => Some(false),
        _ => None,
    };
    let all = rest.chunks_exact(2).filter_map(|pair| Some((String::from_redis_value_ref(&pair[0]).ok()?, u32::try_from(number(&pair[1])?).ok()?))).collect();
    Some(MonthSaid { taken, total: u32::try_from(number(total)?).unwrap_or_default(), all })
}
