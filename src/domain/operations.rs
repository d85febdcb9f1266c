//! Writes into tenants' Odoos: what makes each of them happen once.
//!
//! A row is inserted before the write and finished after it. Two unique indexes (idempotency key, confirmation code) decide races. A
//! definite failure removes the row, so that the same key and code can be tried again; an unknown outcome stays and blocks them. A write that an
//! owner approves first waits in the same table (`approvals.rs`) and is found by the same key.

use chrono::{DateTime, Duration, Utc};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveModelTrait, ColumnTrait, Condition, DatabaseConnection, DbErr, EntityTrait, IntoActiveModel, QueryFilter, Set, SqlErr};
use serde_json::Value;

use super::approvals;
use crate::clock::Clock;
use crate::db::entities::operations;
use crate::ids::{OperationId, TenantId, TokenId};

/// How long an idempotency key is remembered.
pub const KEY_LIFETIME_HOURS: i64 = 24;
/// A write still "running" after this long ended with its process: its outcome is not known.
const RUNNING_S_MAX: i64 = 180;

/// A write about to be done.
#[derive(Clone, Debug)]
pub struct NewOperation {
    /// Whose.
    pub tenant: TenantId,
    /// By which token.
    pub token: TokenId,
    /// The tool.
    pub tool: &'static str,
    /// The caller's idempotency key.
    pub key: Option<String>,
    /// The random part of the confirmation code.
    pub confirmation: Option<String>,
    /// SHA-256 of tool and canonical arguments, hex.
    pub arguments_hash: String,
    /// How the record in Odoo can be found again.
    pub reference: String,
}

impl NewOperation {
    /// A row of it that is running.
    pub(super) fn row(&self, id: OperationId, now: DateTime<Utc>) -> operations::Model {
        operations::Model {
            id: id.uuid(),
            client_id: self.tenant.uuid(),
            token_id: Some(self.token.uuid()),
            tool: self.tool.to_owned(),
            key: self.key.clone(),
            confirmation: self.confirmation.clone(),
            arguments_hash: self.arguments_hash.clone(),
            state: "running".to_owned(),
            reference: self.reference.clone(),
            result: None,
            created_at: now,
            updated_at: now,
            request_sealed: None,
            plan_digest: None,
            agent: None,
            expires_at: None,
            decided_by: None,
            decided_at: None,
            reason: None,
        }
    }
}

/// What is known of an earlier write with the same key or code.
#[derive(Debug, PartialEq)]
pub enum Earlier {
    /// Done, with this result; `by_key` says that the idempotency key matched (else the confirmation code).
    Done {
        /// The result.
        result: Value,
        /// Matched by key.
        by_key: bool,
        /// An owner approved it: who asked was told to ask again.
        approved: bool,
    },
    /// Being done now.
    Running,
    /// Sent, and nobody knows whether it was executed.
    Unknown {
        /// How the record in Odoo can be found.
        reference: String,
    },
    /// It waits for an owner of the company.
    Pending {
        /// Until then.
        until: DateTime<Utc>,
    },
    /// An owner refused it.
    Refused {
        /// Why, if they said so.
        reason: Option<String>,
    },
    /// No owner decided in time.
    Expired,
    /// The key was used with other arguments.
    OtherArguments,
}

/// The operations on operations. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Operations {
    db: DatabaseConnection,
    clock: Clock,
}

impl Operations {
    /// Over that database.
    #[must_use]
    pub fn new(db: DatabaseConnection, clock: Clock) -> Self {
        Self { db, clock }
    }

    /// What an earlier call with this key came to; none when there was none.
    ///
    /// # Errors
    /// The database.
    pub async fn earlier(&self, new: &NewOperation) -> Result<Option<Earlier>, DbErr> {
        Ok(self.find(new).await?.map(|row| self.judge(&row, new)))
    }

    /// Begins a write: exactly one of several simultaneous calls with the same key or code gets `Ok`.
    ///
    /// # Errors
    /// The outer: the database. The inner: an earlier write stands in the way.
    pub async fn begin(&self, new: &NewOperation) -> Result<Result<OperationId, Earlier>, DbErr> {
        self.expire(new).await?;
        // Twice: the row in the way may have been removed between the insert and the look.
        for _ in 0..2 {
            let id = OperationId::new();
            let now = self.clock.now();
            match new.row(id, now).into_active_model().insert(&self.db).await {
                Ok(_) => return Ok(Ok(id)),
                Err(error) if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) => {
                    if let Some(row) = self.find(new).await? {
                        return Ok(Err(self.judge(&row, new)));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Err(Earlier::Running))
    }

    /// The write was done.
    ///
    /// # Errors
    /// The database: the row stays "running" and becomes "unknown" by age.
    pub async fn done(&self, id: OperationId, result: &Value) -> Result<(), DbErr> {
        self.end(id, "done", Some(result.clone())).await
    }

    /// The write was sent and no answer came.
    ///
    /// # Errors
    /// The database: the row stays "running" and becomes "unknown" by age.
    pub async fn unknown(&self, id: OperationId) -> Result<(), DbErr> {
        self.end(id, "unknown", None).await
    }

    /// Nothing was written: key and code are free again.
    ///
    /// # Errors
    /// The database.
    pub async fn failed(&self, id: OperationId) -> Result<(), DbErr> {
        operations::Entity::delete_by_id(id.uuid()).exec(&self.db).await.map(|_| ())
    }

    async fn end(&self, id: OperationId, state: &str, result: Option<Value>) -> Result<(), DbErr> {
        let row = operations::ActiveModel { id: Set(id.uuid()), state: Set(state.to_owned()), result: Set(result), updated_at: Set(self.clock.now()), ..Default::default() };
        row.update(&self.db).await.map(|_| ())
    }

    async fn find(&self, new: &NewOperation) -> Result<Option<operations::Model>, DbErr> {
        let mut same = Condition::any();
        if let Some(key) = &new.key {
            same = same.add(operations::Column::Key.eq(key.as_str()));
        }
        if let Some(confirmation) = &new.confirmation {
            same = same.add(operations::Column::Confirmation.eq(confirmation.as_str()));
        }
        if same.is_empty() {
            return Ok(None);
        }
        let rows = operations::Entity::find().filter(operations::Column::ClientId.eq(new.tenant.uuid())).filter(same).all(&self.db).await?;
        let oldest_key = self.key_horizon();
        // One that waited for an owner is told of as long after that as any other after it was done.
        let since = |row: &operations::Model| row.expires_at.unwrap_or(row.created_at);
        let mut rows: Vec<operations::Model> = rows.into_iter().filter(|row| since(row) >= oldest_key || row.key.is_none()).collect();
        // The key is the caller's own word for "the same": it decides before the code.
        rows.sort_by_key(|row| row.key != new.key || row.key.is_none());
        Ok(rows.into_iter().next())
    }

    fn judge(&self, row: &operations::Model, new: &NewOperation) -> Earlier {
        let by_key = row.key.is_some() && row.key == new.key;
        if by_key && (row.arguments_hash != new.arguments_hash || row.tool != new.tool) {
            return Earlier::OtherArguments;
        }
        match row.state.as_str() {
            "done" => Earlier::Done { result: row.result.clone().unwrap_or(Value::Null), by_key, approved: row.expires_at.is_some() },
            "running" if self.runs(row) => Earlier::Running,
            approvals::PENDING => match row.expires_at {
                Some(until) if until > self.clock.now() => Earlier::Pending { until },
                _ => Earlier::Expired,
            },
            approvals::REFUSED => Earlier::Refused { reason: row.reason.clone() },
            approvals::EXPIRED => Earlier::Expired,
            _ => Earlier::Unknown { reference: row.reference.clone() },
        }
    }

    /// The state of a row that nobody can decide any more, as pages call it.
    pub(super) fn state_of(&self, row: &operations::Model) -> &'static str {
        if row.state == "running" && !self.runs(row) { "unknown" } else { approvals::word(&row.state) }
    }

    fn runs(&self, row: &operations::Model) -> bool {
        row.updated_at > self.clock.now() - Duration::seconds(RUNNING_S_MAX)
    }

    /// A key older than its lifetime is free again; the row stays as a record.
    pub(super) async fn expire(&self, new: &NewOperation) -> Result<(), DbErr> {
        let Some(key) = &new.key else { return Ok(()) };
        operations::Entity::update_many()
            .col_expr(operations::Column::Key, sea_orm::sea_query::Expr::value(Option::<String>::None))
            .filter(operations::Column::ClientId.eq(new.tenant.uuid()))
            .filter(operations::Column::Key.eq(key.as_str()))
            .filter(Expr::col(operations::Column::ExpiresAt).if_null(Expr::col(operations::Column::CreatedAt)).lt(self.key_horizon()))
            .exec(&self.db)
            .await
            .map(|_| ())
    }

    fn key_horizon(&self) -> DateTime<Utc> {
        self.clock.now() - Duration::hours(KEY_LIFETIME_HOURS)
    }
}
