//! An owner approves a write that waits: it is planned again, and carried out once, if the plan is the one that was shown.
//!
//! Not metered: the agent's first call was. The agent hears the outcome when it asks again with the same `clave`.

use std::sync::Arc;

use super::confirm::Carried;
use super::cx::{ToolCx, ToolCxParts};
use super::dispatch::{Dispatcher, permit};
use super::error::{Code, ToolError};
use super::ledger::{Approved, Ledger};
use super::tool::Prepared;
use crate::clock::instant;
use crate::domain::approvals::{ApprovalError, Approvals};
use crate::domain::audit::hex;
use crate::domain::tokens::{TokenRefusal, Tokens};
use crate::domain::users::TenantAccess;
use crate::ids::OperationId;
use crate::odoo::CallMeter;

/// What came of approving.
pub enum Approval {
    /// It was written.
    Done,
    /// There was nothing left to write: the agent gets that answer.
    Nothing,
    /// The plan is another one by now: it is shown anew, and nothing was written.
    Changed,
    /// Somebody decided meanwhile.
    Taken,
    /// Whoever asked may not any more: the token was revoked, or the tool switched off.
    NotAllowed,
    /// Nothing was written; it waits again.
    Failed(ToolError),
    /// It was sent, and nobody knows whether it was executed; how to find it in Odoo.
    Unknown(String),
}

impl Dispatcher {
    /// Approves the plan that was `seen`.
    ///
    /// # Errors
    /// See [`ApprovalError`].
    pub async fn approve(&self, approvals: &Approvals, tokens: &Tokens, access: &TenantAccess, id: OperationId, seen: &str) -> Result<Approval, ApprovalError> {
        let pending = approvals.open(access, id).await?;
        let caller = match tokens.caller_approved(access, pending.token).await {
            Ok(caller) => caller,
            Err(TokenRefusal::Unavailable(cause)) => return Ok(Approval::Failed(ToolError::internal(cause))),
            Err(_) => return Ok(Approval::NotAllowed),
        };
        let Some(tool) = super::find(&pending.tool).filter(|tool| permit(&caller, tool.facts()).is_some()) else { return Ok(Approval::NotAllowed) };
        let parts = self.parts();
        let quota = match parts.limits.month_look(caller.tenant()).await {
            Ok(quota) => quota,
            Err(error) => return Ok(Approval::Failed(ToolError::internal(error))),
        };
        let deadline = instant() + parts.deadline;
        let asker = caller.clone();
        let cx = ToolCx::new(ToolCxParts {
            caller,
            connections: parts.connections.clone(),
            padron: parts.padron.clone(),
            clock: parts.clock.clone(),
            meter: Arc::new(CallMeter::counted_in(parts.connections.traffic())),
            deadline,
            quota,
            reference: pending.reference.clone(),
            progress: None,
        });
        let prepared = tokio::time::timeout_at(deadline, tool.prepare(cx.clone(), pending.arguments.clone())).await;
        let write = match prepared.unwrap_or_else(|_| Err(ToolError::new(Code::TiempoAgotado))) {
            Ok(Prepared::Write(write)) => write,
            Ok(Prepared::Done(answer)) => {
                let mine = approvals.answer(access, id, &answer.to_value()).await?;
                return Ok(if mine { Approval::Nothing } else { Approval::Taken });
            }
            Err(mut error) => {
                self.look_anew(&asker, &mut error);
                return Ok(Approval::Failed(error));
            }
        };
        let plan = hex(&write.digest);
        if plan != pending.plan {
            approvals.show_anew(access, &pending, write.preview, &plan).await?;
            return Ok(Approval::Changed);
        }
        if plan != seen {
            return Ok(Approval::Changed);
        }
        let reference = pending.reference;
        let approved = Approved { access: access.clone(), id, plan, reference: reference.clone() };
        match parts.writes.carry_out(Ledger::Approved(approvals.clone(), approved), write, &cx, deadline).await {
            Ok(Carried::Written(_)) => Ok(Approval::Done),
            Ok(Carried::Taken) => Ok(Approval::Taken),
            Err(error) if error.outcome_unknown || error.code == Code::ResultadoDesconocido => Ok(Approval::Unknown(reference)),
            Err(mut error) => {
                self.look_anew(&asker, &mut error);
                Ok(Approval::Failed(error))
            }
        }
    }
}
