//! The life of a call inside: find, permit, check, limit, quota, run under deadline and cancellation, fill in the record.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::NaiveDate;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::TOOLS;
use super::answer::Answer;
use super::confirm::{Told, WriteArguments, WriteRules, Writes};
use super::cx::{Progress, ToolCx, ToolCxParts};
use super::error::{Code, ToolError};
use super::tool::{AnyTool, Effect, Pack, Prepared, ToolFacts};
use crate::clock::{Clock, instant};
use crate::dgii::Padron;
use crate::domain::connections::Connections;
use crate::domain::limits::{Limits, QuotaView, Refused};
use crate::domain::tenants::Permit;
use crate::domain::tokens::{Caller, OdooAs};
use crate::domain::usage::{OpenRecord, Outcome, UsageRecord};
use crate::ids::UsageId;
use crate::odoo::CallMeter;

/// Agents' names are cut here, characters.
const AGENT_CHARS_MAX: usize = 100;

/// A call as it comes from a door.
pub struct CallRequest {
    /// Who.
    pub caller: Caller,
    /// Which tool.
    pub name: String,
    /// With what.
    pub arguments: Option<Map<String, Value>>,
    /// Where its usage is recorded.
    pub record: OpenRecord,
    /// For logs and answers.
    pub request_id: String,
    /// What the agent calls itself.
    pub agent: Option<String>,
    /// Fires when the caller hangs up.
    pub cancelled: CancellationToken,
    /// Who wants to hear of its steps.
    pub progress: Option<Progress>,
    /// The person was shown what a write would do, and said no.
    pub declined: bool,
}

/// There is no such tool for this caller; whether it exists for others is not said.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownTool;

/// Runs calls. Cheap to clone.
#[derive(Clone)]
pub struct Dispatcher {
    parts: Arc<DispatcherParts>,
}

/// What a [`Dispatcher`] is put together from.
pub struct DispatcherParts {
    /// Warm Odoo clients.
    pub connections: Connections,
    /// The taxpayer listing.
    pub padron: Padron,
    /// Now.
    pub clock: Clock,
    /// Limits.
    pub limits: Limits,
    /// Writes.
    pub writes: Writes,
    /// Longest time for one call.
    pub deadline: Duration,
}

impl Dispatcher {
    /// From its parts.
    #[must_use]
    pub fn new(parts: DispatcherParts) -> Self {
        Self { parts: Arc::new(parts) }
    }

    /// Runs a call.
    ///
    /// # Errors
    /// The outer: no such tool for this caller. The inner: the tool's failure, for the model.
    pub async fn call(&self, request: CallRequest) -> Result<Result<Answer, ToolError>, UnknownTool> {
        let tool = super::find(&request.name).ok_or(UnknownTool)?;
        let permit = permit(&request.caller, tool.facts()).ok_or(UnknownTool)?;
        let record = request.record.clone();
        record.begin(self.open(tool.facts().name, &request));
        let meter = Arc::new(CallMeter::counted_in(self.parts.connections.traffic()));
        let cancelled = request.cancelled.clone();
        let caller = request.caller.clone();
        let mut result = self.run(tool, permit, request, Arc::clone(&meter)).await;
        if let Err(error) = &mut result {
            self.look_anew(&caller, error);
        }
        record.fill(|record| {
            record.odoo_us = meter.micros.load(Ordering::Relaxed);
            record.odoo_requests = meter.requests.load(Ordering::Relaxed);
            match &result {
                Ok(_) => record.outcome = Outcome::Ok,
                // The door may still be closing the record of a caller who went away.
                Err(_) if cancelled.is_cancelled() => record.outcome = Outcome::Cancelled,
                Err(error) => {
                    record.error_code = Some(error.code.as_str());
                    let refused = error.code == Code::ArgumentoInvalido || error.code.is_limit();
                    record.outcome = if refused && !record.counted { Outcome::Refused } else { Outcome::Error };
                }
            }
        });
        Ok(result)
    }

    /// The warm client may be at fault (a key renewed in Odoo, a database restored): the next call looks anew. Credentials are one client's: a
    /// member's own that are refused are their affair, and are told as such.
    pub(super) fn look_anew(&self, caller: &Caller, error: &mut ToolError) {
        let (tenant, connections) = (caller.tenant().id, &self.parts.connections);
        match (error.code, caller.odoo_as()) {
            (Code::OdooCredenciales, OdooAs::Member(own)) => {
                error.code = Code::OdooPropioRechazado;
                connections.forget_one(tenant, Some(own.user));
            }
            (Code::OdooCredenciales, _) => connections.forget_one(tenant, None),
            (Code::OdooBaseDatos | Code::NoEsOdoo, _) => connections.forget(tenant),
            _ => {}
        }
    }

    pub(super) fn parts(&self) -> &DispatcherParts {
        &self.parts
    }

    /// What an argument of a prompt or an address may be meant to become. Nothing when it cannot be said: whoever types goes on typing.
    pub async fn complete(&self, caller: Caller, argument: String, begun: String) -> Vec<String> {
        let padron = self.parts.padron.clone();
        // Tens of milliseconds of computing: not on a thread that serves others.
        tokio::task::spawn_blocking(move || super::prompts::completions(&caller, &padron, &argument, &begun)).await.unwrap_or_default()
    }

    fn open(&self, tool: &'static str, request: &CallRequest) -> UsageRecord {
        UsageRecord {
            id: UsageId::new(),
            tenant: request.caller.tenant().id,
            token: request.caller.token(),
            tool,
            agent: agent_name(request.agent.as_deref()),
            // What it is called if nobody comes back to say otherwise.
            outcome: Outcome::Cancelled,
            error_code: None,
            counted: false,
            total_us: 0,
            odoo_us: 0,
            odoo_requests: 0,
            request_id: request.request_id.clone(),
            started_at: self.parts.clock.now(),
        }
    }

    async fn run(&self, tool: &'static dyn AnyTool, permit: Permit, request: CallRequest, meter: Arc<CallMeter>) -> Result<Answer, ToolError> {
        let parts = &self.parts;
        let facts = tool.facts();
        let caller = request.caller;
        let arguments = facts.arguments.check(request.arguments, caller.language()).map_err(ToolError::argument)?;
        let (tenant, limits) = (caller.tenant().id, &parts.limits);
        let (now, timezone) = (parts.clock.now(), caller.tenant().timezone);
        let refused = |code: Code| move |refused: Refused| ToolError::limited(code, refused, now, timezone);
        limits.repeat_take(tenant, caller.token(), facts.name, &arguments).await.map_err(refused(Code::LlamadaRepetida))?;
        limits.tool_take(tenant, facts.name, permit.calls_per_hour).await.map_err(refused(Code::LimiteHerramienta))?;
        let reservation = parts.limits.month_reserve(caller.tenant()).await.map_err(ToolError::internal)?.map_err(|exhausted| {
            let (limit, until) = (exhausted.limit, day(exhausted.resets_on));
            ToolError::new(Code::CuotaAgotada).fact("limite", limit.to_string()).fact("hasta", until.clone()).data(json!({ "limite": limit, "hasta": until }))
        })?;
        request.record.fill(|record| record.counted = true);
        let deadline = instant() + parts.deadline;
        let cx = |quota: QuotaView, reference: String| {
            ToolCx::new(ToolCxParts {
                caller: caller.clone(),
                connections: parts.connections.clone(),
                padron: parts.padron.clone(),
                clock: parts.clock.clone(),
                meter: Arc::clone(&meter),
                deadline,
                quota,
                reference,
                progress: request.progress.clone(),
            })
        };
        let view = reservation.view.clone();
        let agent = agent_name(request.agent.as_deref());
        let job = async {
            match facts.effect {
                Effect::Reads => {
                    let prepared = tokio::time::timeout_at(deadline, tool.prepare(cx(view, String::new()), arguments));
                    match prepared.await {
                        Ok(Ok(Prepared::Done(answer))) => Ok(Told::from(answer)),
                        Ok(Ok(Prepared::Write(_))) => Err(ToolError::internal("a reading tool planned a write")),
                        Ok(Err(error)) => Err(error),
                        Err(_) => Err(ToolError::new(Code::TiempoAgotado)),
                    }
                }
                Effect::Writes if request.declined => Err(ToolError::new(Code::NoConfirmado)),
                Effect::Writes => {
                    let arguments = WriteArguments::split(facts.name, arguments);
                    let rules = WriteRules { policy: permit.write_policy, deadline, agent: agent.as_deref() };
                    parts.writes.call(tool, &cx(view, Writes::reference()), arguments, rules).await
                }
            }
        };
        let result = tokio::select! {
            result = job => result,
            () = request.cancelled.cancelled() => Err(ToolError::new(Code::TiempoAgotado).cause("the caller went away")),
        };
        let free = match &result {
            // What came of a write that an owner had to approve: the call that asked for it was counted.
            Ok(told) => told.free,
            // Our own fault is not the client's call, nor is a write that a limit kept from being executed.
            Err(error) => error.code == Code::ErrorInterno || error.code.is_limit() || error.code.is_decision(),
        };
        if free {
            reservation.release();
            request.record.fill(|record| record.counted = false);
        }
        result.map(|told| told.answer)
    }
}

/// The tools a caller may use, in the register's order.
pub fn permitted(caller: &Caller) -> impl Iterator<Item = &'static ToolFacts> + '_ {
    TOOLS.iter().map(|tool| tool.facts()).filter(|facts| permit(caller, facts).is_some())
}

/// What a tool does, if the caller may use it.
#[must_use]
pub fn may(caller: &Caller, tool: &str) -> Option<Effect> {
    let facts = super::find(tool)?.facts();
    permit(caller, facts).map(|_| facts.effect)
}

/// The pack that an access token would need for a tool which only its packs keep from it. None where there is no
/// such tool for this tenant or this person, whatever they would allow.
#[must_use]
pub fn pack_lacking(caller: &Caller, tool: &str) -> Option<&'static str> {
    let facts = super::find(tool)?.facts();
    let lacks = within_rights(caller, facts) && with_packs(facts, |packs| caller.lacks_pack(facts.name, packs));
    facts.packs_for_people().next().filter(|_| lacks)
}

pub(super) fn permit(caller: &Caller, facts: &ToolFacts) -> Option<Permit> {
    if within_rights(caller, facts) { with_packs(facts, |packs| caller.permit(facts.name, packs)) } else { None }
}

/// In the name of somebody who may only look, nothing is written.
fn within_rights(caller: &Caller, facts: &ToolFacts) -> bool {
    facts.effect == Effect::Reads || caller.may_write()
}

fn with_packs<T>(facts: &ToolFacts, ask: impl FnOnce(&[&str]) -> T) -> T {
    let mut packs = [""; Pack::ALL.len()];
    for (slot, pack) in packs.iter_mut().zip(facts.packs) {
        *slot = pack.as_str();
    }
    ask(&packs[..facts.packs.len().min(packs.len())])
}

/// As it calls itself, without what no name has.
fn agent_name(agent: Option<&str>) -> Option<String> {
    agent.map(|agent| agent.chars().filter(|c| !c.is_control()).take(AGENT_CHARS_MAX).collect())
}

fn day(date: NaiveDate) -> String {
    date.format("%Y-%m-%d").to_string()
}
