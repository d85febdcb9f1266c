//! Where a write is written down while it is carried out: a row of its own, or the one an owner approved.

use serde_json::Value;

use super::confirm::told;
use super::error::ToolError;
use crate::domain::approvals::{Approvals, End};
use crate::domain::operations::{Earlier, NewOperation, Operations};
use crate::domain::users::TenantAccess;
use crate::ids::{OperationId, TenantId};

/// The row of a write.
pub(super) enum Ledger {
    /// Inserted before the write.
    Own(Operations, NewOperation),
    /// Waiting there since an agent asked.
    Approved(Approvals, Approved),
}

/// What an owner approves.
pub(super) struct Approved {
    pub(super) access: TenantAccess,
    pub(super) id: OperationId,
    /// The plan that they saw, hex.
    pub(super) plan: String,
    pub(super) reference: String,
}

/// Whether the write is this caller's to do.
pub(super) enum Begun {
    /// It is.
    Mine(OperationId),
    /// It was done before, with this result.
    Before(Value),
    /// Somebody else decided.
    Taken,
}

impl Ledger {
    /// How the record in Odoo can be found.
    pub(super) fn reference(&self) -> &str {
        match self {
            Self::Own(_, new) => &new.reference,
            Self::Approved(_, approved) => &approved.reference,
        }
    }

    pub(super) fn tenant(&self) -> TenantId {
        match self {
            Self::Own(_, new) => new.tenant,
            Self::Approved(_, approved) => approved.access.tenant(),
        }
    }

    /// Exactly one of many gets `Mine`.
    pub(super) async fn begin(&self) -> Result<Begun, ToolError> {
        match self {
            Self::Own(operations, new) => match operations.begin(new).await.map_err(ToolError::internal)? {
                Ok(id) => Ok(Begun::Mine(id)),
                Err(Earlier::Done { result, by_key: true, .. }) => Ok(Begun::Before(result)),
                Err(earlier) => Err(told(earlier)),
            },
            Self::Approved(approvals, approved) => {
                let mine = approvals.approve(&approved.access, approved.id, &approved.plan).await.map_err(ToolError::internal)?;
                Ok(if mine { Begun::Mine(approved.id) } else { Begun::Taken })
            }
        }
    }

    /// The write ended: done, of unknown outcome, or nothing was written and it can be tried again.
    pub(super) async fn end(&self, id: OperationId, result: &Result<Value, ToolError>) {
        let kept = match (self, result) {
            (Self::Own(operations, _), Ok(value)) => operations.done(id, value).await,
            (Self::Own(operations, _), Err(error)) if error.outcome_unknown => operations.unknown(id).await,
            (Self::Own(operations, _), Err(_)) => operations.failed(id).await,
            (Self::Approved(approvals, approved), Ok(value)) => approvals.end(approved.access.tenant(), id, End::Done(value)).await,
            (Self::Approved(approvals, approved), Err(error)) => {
                let end = if error.outcome_unknown { End::Unknown } else { End::Failed(error.code.as_str()) };
                approvals.end(approved.access.tenant(), id, end).await
            }
        };
        if let Err(error) = kept {
            tracing::error!(operation.id = %id, %error, "the outcome of a write could not be recorded; it will count as unknown");
        }
    }
}
