//! What is looked for, on the clock that the service has. Each part is looked at by itself: where one fails the others go on.
//!
//! Odoo: a breaker that has opened (`lanes`) begins it; from then on one small read looks each time, so that it also ends where no agent calls. It is told
//! after five minutes, and its end after two minutes in which it answered. Breakers are each process's own, the row is everybody's.

use std::collections::{HashMap, HashSet};
use std::time::Duration as Wait;

use chrono::{DateTime, Duration, Utc};
use futures::StreamExt;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, DbErr, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect, UpdateMany};
use serde_json::{Value, json};
use uuid::Uuid;

use super::outbox::recipients;
use super::{Alerts, Kind, LetterFacts, Owner};
use crate::clock::{billing_month, local_day};
use crate::db::{
    self,
    entities::{alerts, clients, odoo_keys, operations},
};
use crate::domain::approvals::PENDING;
use crate::domain::mail::Letter;
use crate::domain::padron_imports::OLD_DAYS;
use crate::domain::reports::sql::Sql;
use crate::domain::tenants::TenantError;
use crate::ids::TenantId;
use crate::text::Language;

/// An Odoo has to be away for so long before it is told, and back for so long.
const DOWN_MIN: i64 = 5;
const WELL_MIN: i64 = 2;
/// Odoos looked at in one go and at the same time, and how long each may take.
const LOOKED_AT_MAX: u64 = 40;
const LOOKED_AT_ONCE: usize = 10;
const ANSWERS_WITHIN: Wait = Wait::from_secs(8);
/// Operators hear of clients' Odoos no more often, minutes; a letter names so many.
const DIGEST_MIN: i64 = 60;
const DIGEST_NAMED_MAX: usize = 20;
/// Owners hear of writes that wait no more often, minutes; so many are looked at.
const APPROVALS_MIN: i64 = 10;
const APPROVALS_MAX: u64 = 5_000;
/// Days before the end of a key on which it is told.
const KEY_DAYS: [i64; 3] = [1, 7, 14];
/// Per cent of a quota from which it is told.
const NEAR_PERCENT: i64 = 80;
/// The database has to refuse records for so long before it is told.
const JOURNAL_MIN: i64 = 5;

/// What one process remembers: whom to write to when the database cannot say, since when it takes no records, whether that was told, and since when where it
/// was told without the database.
#[derive(Debug, Default)]
pub(super) struct Memory {
    operators: Vec<(String, Language)>,
    growing_since: Option<DateTime<Utc>>,
    growing_told: bool,
    directly_told: Option<DateTime<Utc>>,
}

#[derive(FromQueryResult)]
struct Used {
    id: Uuid,
    used: i64,
    quota: i64,
}

impl Alerts {
    /// Looks once. What fails is logged and looked at again next time.
    pub async fn look(&self) {
        let failed = |what: &str, error: &dyn std::fmt::Display| tracing::warn!(%error, what, "alerts could not be looked for");
        // First, and without the database: it may be what is broken.
        if let Err(error) = self.journal().await {
            failed("the journal", &error);
        }
        if let Err(error) = self.odoo().await {
            failed("Odoo", &error);
        }
        if let Err(error) = self.digest().await {
            failed("Odoos for operators", &error);
        }
        if let Err(error) = self.approvals().await {
            failed("approvals", &error);
        }
        if let Err(error) = self.quotas().await {
            failed("quotas", &error);
        }
        if let Err(error) = self.padron().await {
            failed("the padrón", &error);
        }
        if let Err(error) = self.keys().await {
            failed("keys", &error);
        }
    }

    async fn odoo(&self) -> Result<(), DbErr> {
        let kind = Kind::OdooDown;
        let open = || alerts::Entity::find().filter(alerts::Column::Kind.eq(kind.as_str())).filter(alerts::Column::EndedAt.is_null());
        let known: HashSet<Uuid> = open().select_only().column(alerts::Column::ClientId).into_tuple::<Option<Uuid>>().all(self.db()).await?.into_iter().flatten().collect();
        for tenant in self.parts.connections.paused_tenants().into_iter().filter(|tenant| !known.contains(&tenant.uuid())) {
            let transaction = db::begin_write(self.db()).await?;
            // Gone meanwhile: nothing to watch.
            if clients::Entity::find_by_id(tenant.uuid()).one(&transaction).await?.is_some() {
                self.mark(&transaction, Owner::Tenant(tenant), kind, "", &json!({ "since_at": self.now() }), false).await?;
                transaction.commit().await?;
            }
        }
        let rows = open().order_by_asc(alerts::Column::SeenAt).limit(LOOKED_AT_MAX).all(self.db()).await?;
        let looks: Vec<_> = rows.into_iter().map(|row| self.odoo_look(row)).collect();
        let looks: Vec<_> = futures::stream::iter(looks).buffer_unordered(LOOKED_AT_ONCE).collect().await;
        looks.into_iter().collect()
    }

    /// One Odoo that was away.
    async fn odoo_look(&self, row: alerts::Model) -> Result<(), DbErr> {
        let Some(client) = row.client_id else { return Ok(()) };
        let tenant = match self.parts.tenants.tenant_find(client.into()).await {
            Ok(tenant) => tenant,
            Err(TenantError::Db(error)) => return Err(error),
            Err(_) => return Ok(()),
        };
        let now = self.now();
        if !tenant.active || tenant.odoo.is_none() {
            return self.end(&row).await.map(drop);
        }
        if self.parts.connections.answers(&tenant, ANSWERS_WITHIN).await {
            let well_since = row.well_since.unwrap_or(now);
            if row.told_at.is_none() {
                // Never told, and so it was nothing.
                alerts::Entity::delete_many().filter(alerts::Column::Id.eq(row.id)).filter(alerts::Column::ToldAt.is_null()).exec(self.db()).await?;
            } else if now - well_since >= Duration::minutes(WELL_MIN) {
                let transaction = db::begin_write(self.db()).await?;
                if self.ended(&transaction, &row).await? {
                    self.enqueue(&transaction, Owner::Tenant(tenant.id), Kind::OdooBack, &json!({ "since_at": row.since, "back_at": well_since })).await?;
                }
                transaction.commit().await?;
            } else {
                self.touch(&row, Some(well_since)).await?;
            }
            return Ok(());
        }
        self.touch(&row, None).await?;
        if row.told_at.is_none() && now - row.since >= Duration::minutes(DOWN_MIN) {
            let transaction = db::begin_write(self.db()).await?;
            let told = alerts::Entity::update_many()
                .col_expr(alerts::Column::ToldAt, Expr::value(Some(now)))
                .filter(alerts::Column::Id.eq(row.id))
                .filter(alerts::Column::ToldAt.is_null())
                .exec(&transaction)
                .await?;
            if told.rows_affected == 1 {
                self.enqueue(&transaction, Owner::Tenant(tenant.id), Kind::OdooDown, &json!({ "since_at": row.since })).await?;
            }
            transaction.commit().await?;
        }
        Ok(())
    }

    /// Whose Odoos are away, for operators: one letter for all of them, and not every few minutes another.
    async fn digest(&self) -> Result<(), DbErr> {
        let told = || alerts::Entity::find().filter(alerts::Column::Kind.eq(Kind::OdooDown.as_str()));
        let new = told().filter(alerts::Column::EndedAt.is_null()).filter(alerts::Column::ToldAt.is_not_null()).filter(alerts::Column::OperatorsToldAt.is_null());
        let new = new.all(self.db()).await?;
        if new.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let transaction = db::begin_write(self.db()).await?;
        // One after the other: of two nodes the second finds that the first has told.
        crate::domain::audit::chain_lock(&transaction, None).await?;
        let last = told().filter(alerts::Column::OperatorsToldAt.is_not_null()).order_by_desc(alerts::Column::OperatorsToldAt).one(&transaction).await?;
        if last.and_then(|row| row.operators_told_at).is_some_and(|at| now - at < Duration::minutes(DIGEST_MIN)) {
            return Ok(());
        }
        let ids: Vec<Uuid> = new.iter().map(|row| row.id).collect();
        let marked = alerts::Entity::update_many().col_expr(alerts::Column::OperatorsToldAt, Expr::value(Some(now)));
        let marked = marked.filter(alerts::Column::Id.is_in(ids)).filter(alerts::Column::OperatorsToldAt.is_null()).exec(&transaction).await?;
        if marked.rows_affected == 0 {
            return Ok(());
        }
        let clients = clients::Entity::find().filter(clients::Column::Id.is_in(new.iter().filter_map(|row| row.client_id))).order_by_asc(clients::Column::Name);
        let names: Vec<String> = clients.limit(DIGEST_NAMED_MAX as u64).all(&transaction).await?.into_iter().map(|client| client.name).collect();
        let more = if new.len() > names.len() { "…" } else { "" };
        let facts = json!({ "count": new.len(), "clients": names.into_iter().chain(Some(more.to_owned()).filter(|more| !more.is_empty())).collect::<Vec<_>>() });
        self.enqueue(&transaction, Owner::Operator, Kind::OdooDownMany, &facts).await?;
        transaction.commit().await
    }

    /// Writes that wait for an owner: one letter for all that came meanwhile. It says which tools, never what.
    async fn approvals(&self) -> Result<(), DbErr> {
        let kind = Kind::ApprovalWaiting;
        let now = self.now();
        let waiting = operations::Entity::find().filter(operations::Column::State.eq(PENDING)).filter(operations::Column::ExpiresAt.gt(now));
        let waiting = waiting.order_by_asc(operations::Column::CreatedAt).limit(APPROVALS_MAX).all(self.db()).await?;
        let told = alerts::Entity::find().filter(alerts::Column::Kind.eq(kind.as_str())).filter(alerts::Column::EndedAt.is_null()).all(self.db()).await?;
        let open: HashSet<String> = waiting.iter().map(|row| row.id.to_string()).collect();
        for row in told.iter().filter(|row| !open.contains(&row.subject)) {
            self.close(row).await?;
        }
        let known: HashSet<&str> = told.iter().map(|row| row.subject.as_str()).collect();
        let mut new = HashMap::<Uuid, Vec<operations::Model>>::new();
        for row in waiting.into_iter().filter(|row| !known.contains(row.id.to_string().as_str())) {
            new.entry(row.client_id).or_default().push(row);
        }
        for (client, rows) in new {
            let last = alerts::Entity::find().filter(alerts::Column::ClientId.eq(client)).filter(alerts::Column::Kind.eq(kind.as_str()));
            let last = last.order_by_desc(alerts::Column::ToldAt).one(self.db()).await?.and_then(|row| row.told_at);
            if last.is_some_and(|at| now - at < Duration::minutes(APPROVALS_MIN)) {
                continue;
            }
            let owner = Owner::Tenant(client.into());
            let transaction = db::begin_write(self.db()).await?;
            let mut told = Vec::new();
            for row in rows {
                if self.mark(&transaction, owner, kind, &row.id.to_string(), &json!({ "tools": [row.tool], "until_at": row.expires_at }), true).await? {
                    told.push(row);
                }
            }
            if let Some(until) = told.iter().filter_map(|row| row.expires_at).min() {
                let mut tools: Vec<&str> = told.iter().map(|row| row.tool.as_str()).collect();
                tools.sort_unstable();
                tools.dedup();
                let each: Vec<Value> = told.iter().map(|row| json!({ "id": row.id, "tool": row.tool, "expires_at": row.expires_at })).collect();
                self.enqueue(&transaction, owner, kind, &json!({ "count": told.len(), "tools": tools, "until_at": until, "approvals": each })).await?;
            }
            transaction.commit().await?;
        }
        Ok(())
    }

    /// Quotas that are used to eighty per cent, or up. A larger plan in the same month is another quota.
    async fn quotas(&self) -> Result<(), DbErr> {
        let month = billing_month(self.now());
        let mut sql = Sql::new(
            "select c.id as id, m.counted as used, cast(p.calls_per_month as bigint) as quota from usage_months m join clients c on c.id = m.client_id \
             join plans p on p.code = c.plan_code where c.status = 'active' and m.month = ",
        );
        sql.bind(month).push(" and p.calls_per_month > 0 and m.counted * 100 >= p.calls_per_month * ").bind(NEAR_PERCENT);
        let used: Vec<Used> = sql.all(self.db()).await?;
        if used.is_empty() {
            return Ok(());
        }
        let known = self.marks(&[Kind::QuotaNear, Kind::QuotaReached], &format!("{month}/")).await?;
        for client in used {
            let owner = Owner::Tenant(client.id.into());
            let subject = format!("{month}/{}", client.quota);
            let reached = client.used >= client.quota;
            let kind = if reached { Kind::QuotaReached } else { Kind::QuotaNear };
            if known.contains(&owner.mark(kind, &subject)) || (!reached && known.contains(&owner.mark(Kind::QuotaReached, &subject))) {
                continue;
            }
            let resets = crate::clock::next_billing_month(self.now());
            let facts = json!({ "used": client.used, "limit": client.quota, "percent": client.used * 100 / client.quota.max(1), "month": month, "resets_on": resets });
            self.tell_once(owner, kind, &subject, facts).await?;
        }
        Ok(())
    }

    /// A listing of taxpayers that is old: once for each listing.
    async fn padron(&self) -> Result<(), DbErr> {
        let kind = Kind::PadronOld;
        let Some(active) = self.parts.padron.status().active else { return Ok(()) };
        let today = local_day(self.now());
        let old = active.age_days(today) > OLD_DAYS.unsigned_abs();
        let subject = active.cutoff.to_string();
        let open = alerts::Entity::find().filter(alerts::Column::Kind.eq(kind.as_str())).filter(alerts::Column::EndedAt.is_null()).all(self.db()).await?;
        for row in open.iter().filter(|row| row.subject != subject || !old) {
            // Not to be told again: another node may have that listing still, and would each time.
            self.close(row).await?;
        }
        if old && !open.iter().any(|row| row.subject == subject) {
            self.tell_once(Owner::Operator, kind, &subject, json!({ "cutoff_on": active.cutoff, "days": active.age_days(today) })).await?;
        }
        Ok(())
    }

    /// Keys that end soon or have ended: once for each of the days, the nearest only.
    async fn keys(&self) -> Result<(), DbErr> {
        let now = self.now();
        let kinds = [Kind::KeyExpiring, Kind::KeyExpired];
        let rows = odoo_keys::Entity::find().filter(odoo_keys::Column::ExpiresAt.is_not_null()).filter(odoo_keys::Column::ExpiresAt.lte(now + Duration::days(KEY_DAYS[2])));
        let rows = rows.all(self.db()).await?;
        let open = alerts::Entity::find().filter(alerts::Column::Kind.is_in(kinds.map(Kind::as_str))).filter(alerts::Column::EndedAt.is_null()).all(self.db()).await?;
        let current = self.parts.odoo_keys.current(&rows).await?;
        let mut lasting = HashSet::new();
        for row in rows {
            let (Some(ends), tenant) = (row.expires_at, TenantId::from(row.client_id)) else { continue };
            if !current.contains(&row.client_id) {
                continue;
            }
            let left = ends - now;
            let days = KEY_DAYS.into_iter().find(|days| left <= Duration::days(*days)).unwrap_or(KEY_DAYS[2]);
            let (kind, subject) =
                if left <= Duration::zero() { (Kind::KeyExpired, format!("{}", ends.timestamp())) } else { (Kind::KeyExpiring, format!("{}/{days}", ends.timestamp())) };
            let mark = Owner::Tenant(tenant).mark(kind, &subject);
            if !open.iter().any(|row| row.mark == mark) {
                self.tell_once(Owner::Tenant(tenant), kind, &subject, json!({ "expires_at": ends, "days": left.num_days().max(0), "renewed_by_itself": row.renew })).await?;
            }
            lasting.insert(mark);
        }
        // Another key has another end; of one key the later warning takes the place of the earlier.
        for row in open.iter().filter(|row| !lasting.contains(&row.mark)) {
            self.close(row).await?;
        }
        Ok(())
    }

    /// Records that the database does not take. Told without it too: by letter, to the operators as they were when it last answered.
    ///
    /// The row is everybody's: whoever cannot deliver touches it, and whoever can ends it when nobody has for a while, after a restart too.
    async fn journal(&self) -> Result<(), DbErr> {
        let backlog = self.parts.usage.backlog();
        if !backlog.delivering && backlog.records > 0 {
            self.journal_grows(&json!({ "records": backlog.records, "bytes": backlog.journal_bytes, "dropped": backlog.dropped })).await
        } else {
            self.journal_is_well().await
        }
    }

    async fn journal_grows(&self, facts: &Value) -> Result<(), DbErr> {
        let (now, kind) = (self.now(), Kind::JournalGrowing);
        let (since, told, directly) = {
            let mut memory = self.memory();
            (*memory.growing_since.get_or_insert(now), memory.growing_told, memory.directly_told.is_some())
        };
        let mut facts = facts.clone();
        facts["since_at"] = json!(since);
        let lasting = now - since >= Duration::minutes(JOURNAL_MIN);
        let tell = async {
            let touched = alerts::Entity::update_many().col_expr(alerts::Column::SeenAt, Expr::value(now)).filter(alerts::Column::Kind.eq(kind.as_str()));
            let touched = touched.filter(alerts::Column::EndedAt.is_null()).exec(self.db()).await?.rows_affected;
            if touched == 0 && lasting && !directly {
                self.tell_once(Owner::Operator, kind, "", facts.clone()).await?;
            }
            Ok(())
        };
        match tell.await {
            Ok(()) => self.memory().growing_told |= lasting,
            Err(error) if !lasting || told || directly => return Err(error),
            Err(error) => {
                tracing::error!(%error, "the database takes no usage records, and no alert either: operators are written to directly");
                let operators = {
                    let mut memory = self.memory();
                    (memory.growing_told, memory.directly_told) = (true, Some(since));
                    memory.operators.clone()
                };
                for (email, language) in operators {
                    let mut said = super::outbox::flat(&facts, language, chrono_tz::America::Santo_Domingo);
                    said.push(("link".to_owned(), String::new()));
                    self.parts.mail.send(&email, language, &Letter::Alert(LetterFacts { kind, facts: said }));
                }
            }
        }
        Ok(())
    }

    async fn journal_is_well(&self) -> Result<(), DbErr> {
        let directly = {
            let mut memory = self.memory();
            (memory.growing_since, memory.growing_told) = (None, false);
            memory.directly_told
        };
        let unseen = self.now() - Duration::minutes(WELL_MIN);
        let open = alerts::Entity::find().filter(alerts::Column::Kind.eq(Kind::JournalGrowing.as_str())).filter(alerts::Column::EndedAt.is_null());
        if let Some(row) = open.filter(alerts::Column::SeenAt.lte(unseen)).one(self.db()).await? {
            let transaction = db::begin_write(self.db()).await?;
            // Unless it was touched meanwhile: somebody cannot deliver yet.
            if self.ending(&row).filter(alerts::Column::SeenAt.lte(unseen)).exec(&transaction).await?.rows_affected == 1 {
                self.enqueue(&transaction, Owner::Operator, Kind::JournalBack, &json!({ "since_at": row.since })).await?;
            }
            transaction.commit().await?;
        }
        if let Some(since) = directly {
            // The database knows nothing of it. Forgotten only when it is written.
            let transaction = db::begin_write(self.db()).await?;
            self.enqueue(&transaction, Owner::Operator, Kind::JournalBack, &json!({ "since_at": since })).await?;
            transaction.commit().await?;
            self.memory().directly_told = None;
        }
        let operators = recipients(self.db(), Owner::Operator).await?;
        let operators = operators.into_iter().map(|user| (user.email, user.language.parse().unwrap_or_default())).collect();
        self.memory().operators = operators;
        Ok(())
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The marks of those kinds whose subject begins so.
    async fn marks(&self, kinds: &[Kind], subject: &str) -> Result<HashSet<String>, DbErr> {
        let rows = alerts::Entity::find().select_only().column(alerts::Column::Mark).filter(alerts::Column::Kind.is_in(kinds.iter().map(|kind| kind.as_str())));
        Ok(rows.filter(alerts::Column::Subject.starts_with(subject)).into_tuple::<String>().all(self.db()).await?.into_iter().collect())
    }

    /// Looked at, and it lasts (or has been well since then).
    async fn touch(&self, row: &alerts::Model, well_since: Option<DateTime<Utc>>) -> Result<(), DbErr> {
        let touched = alerts::Entity::update_many().col_expr(alerts::Column::SeenAt, Expr::value(self.now())).col_expr(alerts::Column::WellSince, Expr::value(well_since));
        touched.filter(alerts::Column::Id.eq(row.id)).exec(self.db()).await?;
        Ok(())
    }

    /// It has ended and may come again. True for whoever ended it.
    async fn end(&self, row: &alerts::Model) -> Result<bool, DbErr> {
        self.ended(self.db(), row).await
    }

    async fn ended(&self, db: &impl sea_orm::ConnectionTrait, row: &alerts::Model) -> Result<bool, DbErr> {
        Ok(self.ending(row).exec(db).await?.rows_affected == 1)
    }

    fn ending(&self, row: &alerts::Model) -> UpdateMany<alerts::Entity> {
        alerts::Entity::update_many()
            .col_expr(alerts::Column::EndedAt, Expr::value(Some(self.now())))
            .col_expr(alerts::Column::Mark, Expr::value(row.id.to_string()))
            .filter(alerts::Column::Id.eq(row.id))
            .filter(alerts::Column::EndedAt.is_null())
    }

    /// It has ended and does not come again: its mark stays.
    async fn close(&self, row: &alerts::Model) -> Result<(), DbErr> {
        let closed = alerts::Entity::update_many().col_expr(alerts::Column::EndedAt, Expr::value(Some(self.now())));
        closed.filter(alerts::Column::Id.eq(row.id)).filter(alerts::Column::EndedAt.is_null()).exec(self.db()).await?;
        Ok(())
    }
}
