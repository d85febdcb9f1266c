//! Writes, two-step and once: the confirmation code, the idempotency key, the owner's approval, the unknown outcome.
//!
//! A code is `base64url(issued ‖ random ‖ plan digest ‖ MAC)`. The MAC covers tenant, token, tool, canonical arguments and the rest of
//! the code, so that a code is good for exactly the call that was previewed. The plan's digest shows when the world changed between the
//! two calls (another price, another match): then there is a new preview instead of a surprise. Used codes are rows of `operations`.
//!
//! Under the policy *owner approves* there is no code: the write waits (`domain/approvals.rs`) until an owner decides (`approve.rs`), and whoever
//! asks again with the same `clave` hears what came of it, for nothing: the first call was counted.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Duration, SecondsFormat, Utc};
use ring::digest::{SHA256, digest};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Map, Value, json};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::answer::Answer;
use super::cx::ToolCx;
use super::error::{Code, ToolError};
use super::ledger::{Begun, Ledger};
use super::tool::{AnyTool, Prepared, PreparedWrite};
use crate::domain::approvals::{Approvals, Asked, PENDING_MAX, Request};
use crate::domain::audit::{canonical, hex};
use crate::domain::limits::Limits;
use crate::domain::operations::{Earlier, NewOperation, Operations};
use crate::domain::tenants::WritePolicy;
use crate::domain::tokens::Caller;
use crate::domain::vault::Vault;

/// How long a code is good.
pub const CODE_LIFETIME_MINUTES: i64 = 10;
/// The state of a write that waits for an owner, as agents read it.
const PENDING_WORD: &str = "pendiente_de_aprobacion";
/// How much later than the last request's deadline the outcome of a write is waited for.
const OUTCOME_GRACE: std::time::Duration = std::time::Duration::from_secs(3);

/// Steps of a write: read what is needed, write.
const STEPS: u32 = 2;

const ISSUED_BYTES: usize = 4;
const RANDOM_BYTES: usize = 9;
const DIGEST_BYTES: usize = 8;
const MAC_BYTES: usize = 16;
const CODE_BYTES: usize = ISSUED_BYTES + RANDOM_BYTES + DIGEST_BYTES + MAC_BYTES;

/// Makes and checks codes, and runs writes once. Cheap to clone.
#[derive(Clone)]
pub struct Writes {
    keys: Arc<Vec<hmac::Key>>,
    operations: Operations,
    approvals: Approvals,
    limits: Limits,
    tasks: TaskTracker,
}

/// Under which rules a write is called.
pub struct WriteRules<'a> {
    /// Preview, at once, or an owner's approval.
    pub policy: WritePolicy,
    /// When the call must have ended.
    pub deadline: tokio::time::Instant,
    /// What the agent calls itself.
    pub agent: Option<&'a str>,
}

/// The arguments of a write, taken apart.
pub struct WriteArguments {
    /// The tool's own arguments.
    pub own: Value,
    code: Option<String>,
    key: Option<String>,
    hash: String,
}

impl WriteArguments {
    /// Takes `codigo_confirmacion` and `clave` out of checked arguments.
    #[must_use]
    pub fn split(tool: &str, mut arguments: Value) -> Self {
        let mut take = |name: &str| {
            let value = arguments.as_object_mut().and_then(|map| map.remove(name))?;
            value.as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let (code, key) = (take("codigo_confirmacion"), take("clave"));
        let hash = hex(digest(&SHA256, format!("{tool}\n{}", canonical(&arguments)).as_bytes()).as_ref());
        Self { own: arguments, code, key, hash }
    }
}

/// What a call of a writing tool came to.
pub struct Told {
    /// The answer.
    pub answer: Answer,
    /// It tells what came of an earlier call, which was counted.
    pub free: bool,
}

impl From<Answer> for Told {
    fn from(answer: Answer) -> Self {
        Self { answer, free: false }
    }
}

/// What carrying a write out came to.
pub(super) enum Carried {
    /// It is written, now or before.
    Written(Value),
    /// Somebody else decided.
    Taken,
}

/// A code that has been checked.
struct Checked {
    random: String,
    plan: [u8; DIGEST_BYTES],
}

impl Writes {
    /// With the vault's keys; running writes are children of `tasks`, so that they outlive a caller who hangs up.
    #[must_use]
    pub fn new(vault: &Vault, operations: Operations, approvals: Approvals, limits: Limits, tasks: TaskTracker) -> Self {
        Self { keys: Arc::new(vault.confirmation_keys()), operations, approvals, limits, tasks }
    }

    /// A new reference that names one write in Odoo. It is kept in the `operations` row, so that whoever asks again is told the same.
    #[must_use]
    pub fn reference() -> String {
        format!("dunet:{}", &uuid::Uuid::new_v4().simple().to_string()[..16])
    }

    /// Previews, executes, or asks an owner.
    ///
    /// # Errors
    /// What the tool answers, a code that is not good, or an earlier write in the way.
    pub async fn call(&self, tool: &'static dyn AnyTool, cx: &ToolCx, arguments: WriteArguments, rules: WriteRules<'_>) -> Result<Told, ToolError> {
        let name = tool.facts().name;
        let caller = cx.caller();
        let WriteRules { policy, deadline, agent } = rules;
        // A code of before the policy was this one is not looked at: an owner is asked.
        let checked = match arguments.code.as_deref().filter(|_| policy != WritePolicy::OwnerApproves) {
            Some(code) => Some(self.check(code, caller, name, &arguments.hash, cx.now())?),
            None => None,
        };
        let key = match arguments.key {
            None if policy == WritePolicy::OwnerApproves => Some(self.key_given(caller, name, &arguments.hash).await?),
            key => key,
        };
        let new = NewOperation {
            tenant: caller.tenant().id,
            token: caller.token(),
            tool: name,
            key,
            confirmation: checked.as_ref().map(|code| code.random.clone()),
            arguments_hash: arguments.hash.clone(),
            reference: cx.reference().to_owned(),
        };
        if let Some(earlier) = self.operations.earlier(&new).await.map_err(ToolError::internal)? {
            return answer_earlier(earlier, &new, cx);
        }
        let asked = (policy == WritePolicy::OwnerApproves).then(|| arguments.own.clone());
        cx.step(0, STEPS, "escritura.pasos.leer");
        let write = match tool.prepare(cx.clone(), arguments.own).await? {
            Prepared::Done(answer) => return Ok(answer.into()),
            Prepared::Write(write) => write,
        };
        let value = match (policy, checked) {
            (WritePolicy::OwnerApproves, _) => return self.ask(&new, write, asked.unwrap_or_default(), agent, cx).await,
            (WritePolicy::Direct, _) => self.execute(new, write, cx, deadline).await?,
            (WritePolicy::Confirm, Some(code)) if code.plan == write.digest[..DIGEST_BYTES] => self.execute(new, write, cx, deadline).await?,
            (WritePolicy::Confirm, code) => self.preview(caller, name, &arguments.hash, &write, code.is_some(), cx)?,
        };
        Ok(Answer::from(value).into())
    }

    /// The key of a call that has none: that of the same call which waits already, or a new one, to be told.
    async fn key_given(&self, caller: &Caller, tool: &str, hash: &str) -> Result<String, ToolError> {
        let known = self.approvals.key_of_same(caller.tenant().id, tool, hash).await.map_err(ToolError::internal)?;
        Ok(known.unwrap_or_else(|| format!("dunet-{}", &uuid::Uuid::new_v4().simple().to_string()[..16])))
    }

    /// Lets it wait for an owner of the company.
    async fn ask(&self, new: &NewOperation, write: PreparedWrite, arguments: Value, agent: Option<&str>, cx: &ToolCx) -> Result<Told, ToolError> {
        let request = Request { arguments, preview: write.preview.clone(), plan: hex(&write.digest), agent: agent.map(str::to_owned) };
        match self.approvals.ask(cx.caller().tenant(), new, request).await.map_err(ToolError::internal)? {
            Asked::Waits(until) => {
                let mut preview = write.preview;
                if let Value::Object(map) = &mut preview {
                    waits(map, new, until, cx);
                }
                Ok(Answer::from(preview).into())
            }
            Asked::Earlier(earlier) => answer_earlier(earlier, new, cx),
            Asked::Full => Err(ToolError::new(Code::AprobacionesLlenas).fact("limite", PENDING_MAX.to_string())),
            Asked::TooLarge => Err(ToolError::new(Code::RespuestaGrande).cause("the request is too large to wait for an owner")),
        }
    }

    fn preview(&self, caller: &Caller, tool: &str, hash: &str, write: &PreparedWrite, changed: bool, cx: &ToolCx) -> Result<Value, ToolError> {
        let now = cx.now();
        let code = self.make(caller, tool, hash, &write.digest, now)?;
        let mut preview = write.preview.clone();
        if let Value::Object(map) = &mut preview {
            if changed {
                push_notice(map, &cx.say("escritura.cambio", &[]));
            }
            let until = (now + Duration::minutes(CODE_LIFETIME_MINUTES)).with_timezone(&cx.timezone());
            map.insert("codigo_confirmacion".to_owned(), json!(code));
            map.insert("vence".to_owned(), json!(until.to_rfc3339_opts(SecondsFormat::Secs, false)));
        }
        Ok(preview)
    }

    async fn execute(&self, new: NewOperation, write: PreparedWrite, cx: &ToolCx, deadline: tokio::time::Instant) -> Result<Value, ToolError> {
        match self.carry_out(Ledger::Own(self.operations.clone(), new), write, cx, deadline).await? {
            Carried::Written(value) => Ok(value),
            Carried::Taken => Err(ToolError::internal("a row of its own cannot be somebody else's")),
        }
    }

    /// Writes, if the ledger says that it is ours to do.
    pub(super) async fn carry_out(&self, ledger: Ledger, write: PreparedWrite, cx: &ToolCx, deadline: tokio::time::Instant) -> Result<Carried, ToolError> {
        let limits = self.limits.clone();
        let (inner, reference) = (cx.clone(), ledger.reference().to_owned());
        // A task of its own, from the first row to the last: the caller may hang up, the write and its record go on.
        let work = async move {
            let id = match ledger.begin().await? {
                Begun::Mine(id) => id,
                Begun::Before(value) => return Ok(Carried::Written(value)),
                Begun::Taken => return Ok(Carried::Taken),
            };
            // Only now: of many at once with one code or key, one is a write.
            let result = match limits.write_take(ledger.tenant()).await {
                Ok(()) => {
                    inner.step(1, STEPS, "escritura.pasos.escribir");
                    (write.run)(inner).await
                }
                Err(refused) => Err(ToolError::limited(Code::LimiteEscrituras, refused, inner.now(), inner.timezone())),
            };
            ledger.end(id, &result).await;
            result.map(Carried::Written)
        };
        let task = self.tasks.spawn(work.in_current_span());
        match tokio::time::timeout_at(deadline + OUTCOME_GRACE, task).await {
            Ok(Ok(Ok(carried))) => Ok(carried),
            Ok(Ok(Err(error))) if error.outcome_unknown => Err(unknown(&reference, error.cause)),
            Ok(Ok(Err(error))) => Err(error),
            Ok(Err(panic)) => Err(unknown(&reference, Some(panic.to_string()))),
            Err(_) => Err(unknown(&reference, Some("the write did not end by its deadline".to_owned()))),
        }
    }

    fn make(&self, caller: &Caller, tool: &str, hash: &str, plan: &[u8; 32], now: DateTime<Utc>) -> Result<String, ToolError> {
        let mut body = Vec::with_capacity(CODE_BYTES);
        body.extend_from_slice(&u32::try_from(now.timestamp()).unwrap_or(u32::MAX).to_be_bytes());
        let mut random = [0; RANDOM_BYTES];
        SystemRandom::new().fill(&mut random).map_err(|_| ToolError::internal("no randomness"))?;
        body.extend_from_slice(&random);
        body.extend_from_slice(&plan[..DIGEST_BYTES]);
        let key = self.keys.first().ok_or_else(|| ToolError::internal("no confirmation key"))?;
        let tag = hmac::sign(key, &bound(caller, tool, hash, &body));
        body.extend_from_slice(&tag.as_ref()[..MAC_BYTES]);
        Ok(URL_SAFE_NO_PAD.encode(body))
    }

    fn check(&self, code: &str, caller: &Caller, tool: &str, hash: &str, now: DateTime<Utc>) -> Result<Checked, ToolError> {
        let invalid = || ToolError::new(Code::CodigoInvalido);
        let bytes = URL_SAFE_NO_PAD.decode(code).map_err(|_| invalid())?;
        if bytes.len() != CODE_BYTES {
            return Err(invalid());
        }
        let (body, mac) = bytes.split_at(CODE_BYTES - MAC_BYTES);
        let text = bound(caller, tool, hash, body);
        let genuine = self.keys.iter().any(|key| {
            let tag = hmac::sign(key, &text);
            // Compared in constant time by XOR over the truncated tag.
            tag.as_ref()[..MAC_BYTES].iter().zip(mac).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
        });
        if !genuine {
            return Err(invalid());
        }
        let mut issued = [0; ISSUED_BYTES];
        issued.copy_from_slice(&body[..ISSUED_BYTES]);
        let age = now.timestamp() - i64::from(u32::from_be_bytes(issued));
        if age > CODE_LIFETIME_MINUTES * 60 {
            return Err(ToolError::new(Code::CodigoVencido));
        }
        let mut plan = [0; DIGEST_BYTES];
        plan.copy_from_slice(&body[ISSUED_BYTES + RANDOM_BYTES..]);
        Ok(Checked { random: hex(&body[ISSUED_BYTES..ISSUED_BYTES + RANDOM_BYTES]), plan })
    }
}

/// What the MAC covers. Fixed-length and separator-free fields first, so that no two calls give the same text.
fn bound(caller: &Caller, tool: &str, hash: &str, body: &[u8]) -> Vec<u8> {
    let mut text = format!("{}|{}|{tool}|{hash}|", caller.tenant().id, caller.token()).into_bytes();
    text.extend_from_slice(body);
    text
}

/// What came of an earlier call with the same key or code.
fn answer_earlier(earlier: Earlier, new: &NewOperation, cx: &ToolCx) -> Result<Told, ToolError> {
    match earlier {
        // The same key asks "is it done?": the same answer.
        Earlier::Done { result, by_key: true, approved } => Ok(Told { answer: result.into(), free: approved }),
        Earlier::Pending { until } => {
            let mut body = Map::new();
            waits(&mut body, new, until, cx);
            Ok(Told { answer: Value::Object(body).into(), free: true })
        }
        other => Err(told(other)),
    }
}

/// The fault that an earlier call is for this one.
pub(super) fn told(earlier: Earlier) -> ToolError {
    match earlier {
        // A code is single-use: its second use is a fault that says what came of the first.
        Earlier::Done { result, .. } => ToolError::new(Code::CodigoUsado).data(json!({ "resultado": result })),
        Earlier::Running | Earlier::Pending { .. } => ToolError::new(Code::OperacionEnCurso),
        Earlier::Unknown { reference } => unknown(&reference, None),
        Earlier::OtherArguments => ToolError::new(Code::ClaveReutilizada),
        Earlier::Refused { reason } => {
            let error = ToolError::new(Code::AprobacionRechazada).fact("motivo", reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default());
            if let Some(reason) = reason { error.data(json!({ "motivo": reason })) } else { error }
        }
        Earlier::Expired => ToolError::new(Code::AprobacionVencida),
    }
}

/// Says that it waits for an owner, until when, and how to ask again.
fn waits(map: &mut Map<String, Value>, new: &NewOperation, until: DateTime<Utc>, cx: &ToolCx) {
    let key = new.key.as_deref().unwrap_or_default();
    let until = until.with_timezone(&cx.timezone());
    let day = until.format("%d/%m/%Y %H:%M").to_string();
    push_notice(map, &cx.say("escritura.pendiente", &[("clave", key), ("hasta", &day)]));
    map.insert("estado".to_owned(), json!(PENDING_WORD));
    map.insert("clave".to_owned(), json!(key));
    map.insert("vence".to_owned(), json!(until.to_rfc3339_opts(SecondsFormat::Secs, false)));
    // What can be said aloud asked for a yes; nobody on the line can give it.
    map.insert("frase".to_owned(), json!(cx.say("escritura.pendiente_frase", &[])));
}

fn unknown(reference: &str, cause: Option<String>) -> ToolError {
    let mut error = ToolError::new(Code::ResultadoDesconocido).fact("referencia", reference).data(json!({ "referencia": reference }));
    error.cause = cause;
    error
}

fn push_notice(map: &mut Map<String, Value>, notice: &str) {
    match map.get_mut("avisos") {
        Some(Value::Array(notices)) => notices.insert(0, json!(notice)),
        _ => {
            map.insert("avisos".to_owned(), json!([notice]));
        }
    }
}
