//! Writes, two-step and once: the confirmation code, the idempotency key, the unknown outcome.
//!
//! A code is `base64url(issued ‖ random ‖ plan digest ‖ MAC)`. The MAC covers tenant, token, tool, canonical arguments and the rest of
//! the code, so that a code is good for exactly the call that was previewed. The plan's digest shows when the world changed between the
//! two calls (another price, another match): then there is a new preview instead of a surprise. Used codes are rows of `operations`.

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
use super::tool::{AnyTool, Prepared, PreparedWrite};
use crate::domain::audit::{canonical, hex};
use crate::domain::limits::Limits;
use crate::domain::operations::{Earlier, NewOperation, Operations};
use crate::domain::tenants::WritePolicy;
use crate::domain::tokens::Caller;
use crate::domain::vault::Vault;

/// How long a code is good.
pub const CODE_LIFETIME_MINUTES: i64 = 10;
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
    limits: Limits,
    tasks: TaskTracker,
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

/// A code that has been checked.
struct Checked {
    random: String,
    plan: [u8; DIGEST_BYTES],
}

impl Writes {
    /// With the vault's keys; running writes are children of `tasks`, so that they outlive a caller who hangs up.
    #[must_use]
    pub fn new(vault: &Vault, operations: Operations, limits: Limits, tasks: TaskTracker) -> Self {
        Self { keys: Arc::new(vault.confirmation_keys()), operations, limits, tasks }
    }

    /// A new reference that names one write in Odoo. It is kept in the `operations` row, so that whoever asks again is told the same.
    #[must_use]
    pub fn reference() -> String {
        format!("dunet:{}", &uuid::Uuid::new_v4().simple().to_string()[..16])
    }

    /// Previews or executes.
    ///
    /// # Errors
    /// What the tool answers, a code that is not good, or an earlier write in the way.
    pub async fn call(&self, tool: &'static dyn AnyTool, cx: &ToolCx, arguments: WriteArguments, policy: WritePolicy, deadline: tokio::time::Instant) -> Result<Answer, ToolError> {
        let name = tool.facts().name;
        let caller = cx.caller();
        let checked = match &arguments.code {
            Some(code) => Some(self.check(code, caller, name, &arguments.hash, cx.now())?),
            None => None,
        };
        let new = NewOperation {
            tenant: caller.tenant().id,
            token: caller.token(),
            tool: name,
            key: arguments.key.clone(),
            confirmation: checked.as_ref().map(|code| code.random.clone()),
            arguments_hash: arguments.hash.clone(),
            reference: cx.reference().to_owned(),
        };
        if let Some(earlier) = self.operations.earlier(&new).await.map_err(ToolError::internal)? {
            return answer_earlier(earlier).map(Answer::from);
        }
        cx.step(0, STEPS, "escritura.pasos.leer");
        let write = match tool.prepare(cx.clone(), arguments.own).await? {
            Prepared::Done(answer) => return Ok(answer),
            Prepared::Write(write) => write,
        };
        let result = match (policy, checked) {
            (WritePolicy::Direct, _) => self.execute(new, write, cx, deadline).await,
            (WritePolicy::Confirm, Some(code)) if code.plan == write.digest[..DIGEST_BYTES] => self.execute(new, write, cx, deadline).await,
            (WritePolicy::Confirm, code) => self.preview(caller, name, &arguments.hash, &write, code.is_some(), cx),
        };
        result.map(Answer::from)
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
        let limits = self.limits.clone();
        let operations = self.operations.clone();
        let (inner, reference) = (cx.clone(), new.reference.clone());
        // A task of its own, from the first row to the last: the caller may hang up, the write and its record go on.
        let work = async move {
            let id = match operations.begin(&new).await.map_err(ToolError::internal)? {
                Ok(id) => id,
                Err(earlier) => return answer_earlier(earlier),
            };
            // Only now: of many at once with one code or key, one is a write.
            if let Err(refused) = limits.write_take(new.tenant).await {
                operations.failed(id).await.map_err(ToolError::internal)?;
                return Err(ToolError::limited(Code::LimiteEscrituras, refused, inner.now(), inner.timezone()));
            }
            inner.step(1, STEPS, "escritura.pasos.escribir");
            let result = (write.run)(inner).await;
            let kept = match &result {
                Ok(value) => operations.done(id, value).await,
                Err(error) if error.outcome_unknown => operations.unknown(id).await,
                Err(_) => operations.failed(id).await,
            };
            if let Err(error) = kept {
                tracing::error!(operation.id = %id, %error, "the outcome of a write could not be recorded; it will count as unknown");
            }
            result
        };
        let task = self.tasks.spawn(work.in_current_span());
        match tokio::time::timeout_at(deadline + OUTCOME_GRACE, task).await {
            Ok(Ok(Ok(value))) => Ok(value),
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

fn answer_earlier(earlier: Earlier) -> Result<Value, ToolError> {
    match earlier {
        // The same key asks "is it done?": the same answer. A code is single-use: its second use is a fault that says what came of the first.
        Earlier::Done { result, by_key: true } => Ok(result),
        Earlier::Done { result, by_key: false } => Err(ToolError::new(Code::CodigoUsado).data(json!({ "resultado": result }))),
        Earlier::Running => Err(ToolError::new(Code::OperacionEnCurso)),
        Earlier::Unknown { reference } => Err(unknown(&reference, None)),
        Earlier::OtherArguments => Err(ToolError::new(Code::ClaveReutilizada)),
    }
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
