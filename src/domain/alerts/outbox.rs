//! Letters and webhooks on their way: a row each, from the transaction that tells the alert until it was delivered or given up. So a restart loses none, and of
//! several nodes one sends it: whoever moves its next attempt forward.
//!
//! A letter is written when it is sent, in the language of whom it goes to, who must still be an owner (or operator) then.

use chrono::{DateTime, Duration, NaiveDate, Utc};
use chrono_tz::Tz;
use futures::StreamExt;
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveModelTrait, ColumnTrait, DatabaseTransaction, DbErr, EntityTrait, FromQueryResult, IntoActiveModel, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;

use super::channels::is_muted;
use super::webhook;
use super::{Alerts, Kind, Owner, channels_of};
use crate::db::entities::{alert_deliveries, clients, memberships, users};
use crate::domain::mail::Letter;
use crate::domain::reports::sql::Sql;
use crate::odoo::asking::Unanswered;
use crate::text::{self, Language};

/// Waits before further attempts, minutes; after the last it is given up.
const WAITS_MIN: [i64; 6] = [1, 5, 30, 120, 360, 720];
/// Who takes a row for an attempt has so long for it, minutes: if they are killed, somebody else takes it then.
const LEASE_MIN: i64 = 5;
/// Sent in one go, of one owner and channel in one go, and at the same time.
const SENT_MAX: i64 = 200;
const OF_ONE_OWNER_MAX: i64 = 4;
const AT_ONCE: usize = 16;
/// Webhooks of one owner that may wait: those of an address that is away for long go first to last, and no further ones come.
const WAITING_MAX: u64 = 200;
/// People that one letter goes to.
const RECIPIENTS_MAX: u64 = 50;
/// The longest cause kept, characters.
const CAUSE_CHARS_MAX: usize = 200;
/// What was delivered or given up is kept so long, days.
const KEPT_DAYS: i64 = 30;
/// Deliveries shown.
const SHOWN_MAX: u64 = 10;

const WAITING: &str = "waiting";
const DONE: &str = "done";
const GIVEN_UP: &str = "given_up";
const MAIL: &str = "mail";
const WEBHOOK: &str = "webhook";

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It is tried again.
    Waiting,
    /// It arrived.
    Done,
    /// It is not tried again.
    GivenUp,
}

/// A webhook's delivery as a page shows it.
#[derive(Clone, Debug)]
pub struct DeliveryView {
    /// What.
    pub kind: Kind,
    /// What became of it.
    pub state: DeliveryState,
    /// Attempts so far.
    pub attempts: i32,
    /// The HTTP status of the last attempt.
    pub status: Option<i32>,
    /// Why the last attempt failed.
    pub cause: Option<String>,
    /// When it was written, UTC.
    pub created_at: DateTime<Utc>,
    /// When it is tried next, UTC; only of one that waits.
    pub due_at: Option<DateTime<Utc>>,
}

/// A letter's facts, ready to be filled in.
pub struct LetterFacts {
    /// What.
    pub kind: Kind,
    /// Names and values.
    pub facts: Vec<(String, String)>,
}

#[derive(FromQueryResult)]
struct Due {
    id: Uuid,
}

/// How an attempt ended.
enum End {
    Done { status: Option<i32> },
    Failed { status: Option<i32>, cause: String },
    GivenUp { status: Option<i32>, cause: String },
}

impl Alerts {
    /// Writes down whom an alert goes to.
    pub(super) async fn enqueue(&self, transaction: &DatabaseTransaction, owner: Owner, kind: Kind, facts: &Value) -> Result<(), DbErr> {
        let channels = channels_of(transaction, owner).await?;
        if kind.topic().is_some_and(|topic| channels.as_ref().is_some_and(|row| is_muted(&row.muted, topic))) {
            return Ok(());
        }
        if self.parts.mail.configured() && channels.as_ref().is_none_or(|row| row.mail) {
            for user in recipients(transaction, owner).await? {
                self.row(owner, MAIL, Some(user.id), kind, facts).into_active_model().insert(transaction).await?;
            }
        }
        if channels.is_some_and(|row| row.webhook_url.is_some()) {
            let waiting = alert_deliveries::Entity::find().filter(alert_deliveries::Column::Owner.eq(owner.id())).filter(alert_deliveries::Column::State.eq(WAITING));
            if waiting.filter(alert_deliveries::Column::Channel.eq(WEBHOOK)).count(transaction).await? < WAITING_MAX {
                self.row(owner, WEBHOOK, None, kind, facts).into_active_model().insert(transaction).await?;
            } else {
                tracing::warn!(owner = %owner.id(), kind = kind.as_str(), "too many webhooks wait: this one is not sent");
            }
        }
        Ok(())
    }

    /// Sends one webhook now, to see whether it arrives; what came of it. None where there is no webhook.
    ///
    /// # Errors
    /// The database.
    pub async fn webhook_test(&self, owner: Owner, base: &Url) -> Result<Option<DeliveryView>, DbErr> {
        if channels_of(self.db(), owner).await?.and_then(|row| row.webhook_url).is_none() {
            return Ok(None);
        }
        let row = self.row(owner, WEBHOOK, None, Kind::Test, &json!({}));
        let id = row.id;
        let row = row.into_active_model().insert(self.db()).await?;
        self.attempt(&row, base).await?;
        // A test is not repeated.
        let given_up = alert_deliveries::Entity::update_many().col_expr(alert_deliveries::Column::State, Expr::value(GIVEN_UP));
        let given_up = given_up.col_expr(alert_deliveries::Column::EndedAt, Expr::value(Some(self.now())));
        given_up.filter(alert_deliveries::Column::Id.eq(id)).filter(alert_deliveries::Column::State.eq(WAITING)).exec(self.db()).await?;
        Ok(alert_deliveries::Entity::find_by_id(id).one(self.db()).await?.and_then(view))
    }

    /// The latest webhooks, newest first.
    ///
    /// # Errors
    /// The database.
    pub async fn deliveries(&self, owner: Owner) -> Result<Vec<DeliveryView>, DbErr> {
        let rows = alert_deliveries::Entity::find().filter(alert_deliveries::Column::Owner.eq(owner.id())).filter(alert_deliveries::Column::Channel.eq(WEBHOOK));
        let rows = rows.order_by_desc(alert_deliveries::Column::CreatedAt).order_by_desc(alert_deliveries::Column::Id).limit(SHOWN_MAX).all(self.db()).await?;
        Ok(rows.into_iter().filter_map(view).collect())
    }

    /// Sends what is due; answers how many were tried. `base` is the public address, for the links in letters. After `stop` none is begun; those on their way are
    /// waited for, or they would arrive twice.
    ///
    /// # Errors
    /// The database; nothing is lost.
    pub async fn deliver(&self, base: &Url, stop: &CancellationToken) -> Result<usize, DbErr> {
        // Some of each owner's: whose address is slow, or whose letters are many, keeps nobody waiting. Letters first, which are quick.
        let mut sql = Sql::new(
            "select id from (select id, channel, row_number() over (partition by owner, channel order by due_at, id) as place from alert_deliveries \
             where state = 'waiting' and due_at <= ",
        );
        sql.bind(self.now()).push(") as due where place <= ").bind(OF_ONE_OWNER_MAX).push(" order by channel, place, id limit ").bind(SENT_MAX);
        let order: Vec<Uuid> = sql.all::<Due>(self.db()).await?.into_iter().map(|due| due.id).collect();
        let mut due = alert_deliveries::Entity::find().filter(alert_deliveries::Column::Id.is_in(order.iter().copied())).all(self.db()).await?;
        due.sort_by_key(|row| order.iter().position(|id| *id == row.id));
        let attempts: Vec<_> = due.iter().map(|row| self.attempt(row, base)).collect();
        let attempts: Vec<_> = futures::stream::iter(attempts).take_until(stop.cancelled()).buffer_unordered(AT_ONCE).collect().await;
        attempts.into_iter().collect::<Result<Vec<bool>, DbErr>>().map(|tried| tried.into_iter().filter(|tried| *tried).count())
    }

    pub(super) async fn outbox_prune(&self) -> Result<(), DbErr> {
        let before = self.now() - Duration::days(KEPT_DAYS);
        alert_deliveries::Entity::delete_many().filter(alert_deliveries::Column::EndedAt.lt(before)).exec(self.db()).await?;
        Ok(())
    }

    fn row(&self, owner: Owner, channel: &str, user: Option<Uuid>, kind: Kind, facts: &Value) -> alert_deliveries::Model {
        let now = self.now();
        alert_deliveries::Model {
            id: Uuid::now_v7(),
            client_id: owner.client(),
            owner: owner.id(),
            channel: channel.to_owned(),
            user_id: user,
            kind: kind.as_str().to_owned(),
            facts: Some(facts.clone()),
            state: WAITING.to_owned(),
            attempts: 0,
            due_at: now,
            status: None,
            cause: None,
            created_at: now,
            ended_at: None,
        }
    }

    /// Tries one, if nobody else does. False when somebody else has it.
    async fn attempt(&self, row: &alert_deliveries::Model, base: &Url) -> Result<bool, DbErr> {
        let attempts = row.attempts + 1;
        let claimed = alert_deliveries::Entity::update_many()
            .col_expr(alert_deliveries::Column::Attempts, Expr::value(attempts))
            .col_expr(alert_deliveries::Column::DueAt, Expr::value(self.now() + Duration::minutes(LEASE_MIN)))
            .filter(alert_deliveries::Column::Id.eq(row.id))
            .filter(alert_deliveries::Column::State.eq(WAITING))
            .filter(alert_deliveries::Column::Attempts.eq(row.attempts))
            .filter(alert_deliveries::Column::DueAt.lte(self.now()))
            .exec(self.db())
            .await?;
        if claimed.rows_affected != 1 {
            return Ok(false);
        }
        let end = match Kind::known(&row.kind) {
            None => End::GivenUp { status: None, cause: "nobody knows this kind".to_owned() },
            Some(kind) if row.channel == MAIL => self.letter(row, kind, base).await?,
            Some(kind) => self.webhook(row, kind).await?,
        };
        let wait = usize::try_from(attempts - 1).ok().and_then(|at| WAITS_MIN.get(at));
        let (state, status, cause) = match (end, wait) {
            (End::Done { status }, _) => (DONE, status, None),
            (End::Failed { status, cause }, Some(_)) => (WAITING, status, Some(cause)),
            (End::Failed { status, cause } | End::GivenUp { status, cause }, _) => (GIVEN_UP, status, Some(cause)),
        };
        let now = self.now();
        if state == GIVEN_UP {
            tracing::warn!(channel = row.channel, kind = row.kind, cause, "an alert could not be delivered");
            if row.channel == MAIL {
                self.parts.mail.gave_up(&row.kind, cause.as_deref().unwrap_or_default());
            }
        }
        alert_deliveries::Entity::update_many()
            .col_expr(alert_deliveries::Column::State, Expr::value(state))
            .col_expr(alert_deliveries::Column::Status, Expr::value(status))
            .col_expr(alert_deliveries::Column::Cause, Expr::value(cause.map(|cause| cause.chars().take(CAUSE_CHARS_MAX).collect::<String>())))
            .col_expr(alert_deliveries::Column::DueAt, Expr::value(now + Duration::minutes(wait.copied().unwrap_or_default())))
            .col_expr(alert_deliveries::Column::EndedAt, Expr::value((state != WAITING).then_some(now)))
            .filter(alert_deliveries::Column::Id.eq(row.id))
            .filter(alert_deliveries::Column::Attempts.eq(attempts))
            .exec(self.db())
            .await?;
        Ok(true)
    }

    async fn letter(&self, row: &alert_deliveries::Model, kind: Kind, base: &Url) -> Result<End, DbErr> {
        let owner = Owner::of(row.client_id);
        let recipients = recipients(self.db(), owner).await?;
        let Some(user) = recipients.into_iter().find(|user| Some(user.id) == row.user_id) else {
            return Ok(End::GivenUp { status: None, cause: "this is nobody's to read any more".to_owned() });
        };
        let language: Language = user.language.parse().unwrap_or_default();
        let client = self.client(owner).await?;
        let zone = client.as_ref().and_then(|client| client.timezone.parse().ok()).unwrap_or(chrono_tz::America::Santo_Domingo);
        let mut facts = flat(row.facts.as_ref().unwrap_or(&Value::Null), language, zone);
        facts.push(("company".to_owned(), client.map(|client| client.name).unwrap_or_default()));
        facts.push(("link".to_owned(), link(base, owner, kind)));
        match self.parts.mail.try_once(&user.email, language, &Letter::Alert(LetterFacts { kind, facts })).await {
            Ok(()) => Ok(End::Done { status: None }),
            Err(cause) => Ok(End::Failed { status: None, cause }),
        }
    }

    async fn webhook(&self, row: &alert_deliveries::Model, kind: Kind) -> Result<End, DbErr> {
        let owner = Owner::of(row.client_id);
        let gone = |cause: &str| Ok(End::GivenUp { status: None, cause: cause.to_owned() });
        let Some(channels) = channels_of(self.db(), owner).await? else { return gone("there is no webhook any more") };
        let Some(url) = channels.webhook_url.as_deref().and_then(|url| Url::parse(url).ok()) else { return gone("there is no webhook any more") };
        let secrets = match self.secrets(owner, &channels).await {
            Ok(secrets) => secrets,
            Err(super::ChannelsError::Db(error)) => return Err(error),
            Err(error) => return gone(&error.to_string()),
        };
        let mut data = row.facts.clone().filter(Value::is_object).unwrap_or_else(|| json!({}));
        if let Some(client) = self.client(owner).await? {
            data["client"] = json!({ "id": client.id, "name": client.name });
        }
        let id = format!("msg_{}", row.id.simple());
        let body = json!({ "id": id, "type": kind.as_str(), "created_at": row.created_at, "data": data }).to_string();
        let signed = webhook::sign(&id, self.now().timestamp(), &body, &secrets);
        Ok(match webhook::post(self.parts.addresses, &url, &signed, body).await {
            Ok(status @ 200..=299) => End::Done { status: Some(status.into()) },
            // The specification's way to say that nobody will ever listen there again.
            Ok(410) => End::GivenUp { status: Some(410), cause: "HTTP 410".to_owned() },
            Ok(status) => End::Failed { status: Some(status.into()), cause: format!("HTTP {status}") },
            Err(Unanswered::Refused(cause)) => End::GivenUp { status: None, cause },
            Err(error) => End::Failed { status: None, cause: error.to_string() },
        })
    }

    async fn client(&self, owner: Owner) -> Result<Option<clients::Model>, DbErr> {
        match owner.client() {
            Some(client) => clients::Entity::find_by_id(client).one(self.db()).await,
            None => Ok(None),
        }
    }
}

/// To whom letters go: the owners of a tenant, or the operators; who can sign in.
pub(super) async fn recipients(db: &impl sea_orm::ConnectionTrait, owner: Owner) -> Result<Vec<users::Model>, DbErr> {
    let active = users::Entity::find().filter(users::Column::Status.eq("active")).order_by_asc(users::Column::Id).limit(RECIPIENTS_MAX);
    let Some(client) = owner.client() else { return active.filter(users::Column::Role.eq("operator")).all(db).await };
    let owners: Vec<Uuid> = memberships::Entity::find()
        .select_only()
        .column(memberships::Column::UserId)
        .filter(memberships::Column::ClientId.eq(client))
        .filter(memberships::Column::Role.eq("owner"))
        .into_tuple()
        .all(db)
        .await?;
    if owners.is_empty() { Ok(Vec::new()) } else { active.filter(users::Column::Id.is_in(owners)).all(db).await }
}

fn view(row: alert_deliveries::Model) -> Option<DeliveryView> {
    let state = match row.state.as_str() {
        WAITING => DeliveryState::Waiting,
        DONE => DeliveryState::Done,
        _ => DeliveryState::GivenUp,
    };
    Some(DeliveryView {
        kind: Kind::known(&row.kind)?,
        state,
        attempts: row.attempts,
        status: row.status,
        cause: row.cause,
        created_at: row.created_at,
        due_at: (state == DeliveryState::Waiting).then_some(row.due_at),
    })
}

/// Facts as a sentence takes them: times and days as the reader writes them, lists with commas; what is deeper is for programs.
pub(in crate::domain) fn flat(facts: &Value, language: Language, zone: Tz) -> Vec<(String, String)> {
    let said = |name: &str, value: &Value| match value {
        Value::String(text) if name.ends_with("_at") => Some(text.parse::<DateTime<Utc>>().map_or_else(|_| text.clone(), |at| moment(at, language, zone))),
        Value::String(text) if name.ends_with("_on") => Some(text.parse::<NaiveDate>().map_or_else(|_| text.clone(), |day| day_of(day, language))),
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(items) => Some(items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")).filter(|list| !list.is_empty()),
        _ => None,
    };
    facts.as_object().into_iter().flatten().filter_map(|(name, value)| Some((name.clone(), said(name, value)?))).collect()
}

fn moment(at: DateTime<Utc>, language: Language, zone: Tz) -> String {
    let at = at.with_timezone(&zone);
    format!("{} {}", day_of(at.date_naive(), language), at.format("%H:%M"))
}

fn day_of(day: NaiveDate, language: Language) -> String {
    match language {
        Language::Es => day.format("%d/%m/%Y").to_string(),
        Language::En => day.format("%Y-%m-%d").to_string(),
    }
}

/// The page where one does something about it.
fn link(base: &Url, owner: Owner, kind: Kind) -> String {
    let page = match (owner, kind) {
        (Owner::Tenant(tenant), kind) => {
            let page = match kind {
                Kind::QuotaNear | Kind::QuotaReached => "plan",
                Kind::ApprovalWaiting => "approvals",
                Kind::Test => "alerts",
                _ => "odoo",
            };
            format!("/admin/clients/{tenant}/{page}")
        }
        (Owner::Operator, Kind::PadronOld) => "/admin/padron".to_owned(),
        (Owner::Operator, Kind::OdooDownMany) => "/admin/clients".to_owned(),
        (Owner::Operator, _) => "/admin/alerts".to_owned(),
    };
    format!("{}{page}", base.as_str().trim_end_matches('/'))
}

/// What an alert is called on a page: the subject of its letter.
#[must_use]
pub fn title(kind: Kind, facts: &Value, language: Language, zone: Tz) -> String {
    let facts = flat(facts, language, zone);
    let facts: Vec<(&str, &str)> = facts.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    text::fill(language, &format!("portal.mail.{}.subject", kind.letter()), &facts)
}
