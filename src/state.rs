//! `AppState`: cheap handles to everything, put together in one function.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use sea_orm::DatabaseConnection;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config::Config;
use crate::db;
use crate::db::reads::ReadSide;
use crate::dgii::{Padron, PadronLimits};
use crate::domain::alerts::{AlertParts, Alerts};
use crate::domain::approvals::Approvals;
use crate::domain::changes::ChangeWatch;
use crate::domain::connections::Connections;
use crate::domain::lanes::{LaneSettings, Lanes};
use crate::domain::limits::{LimitSettings, Limits, SharedCounters};
use crate::domain::mail::Mail;
use crate::domain::news::News;
use crate::domain::nodes::{Nodes, process_name};
use crate::domain::oauth::OAuth;
use crate::domain::odoo_keys::{KeyParts, OdooKeys};
use crate::domain::operations::Operations;
use crate::domain::operator_keys::OperatorKeys;
use crate::domain::padron_imports::PadronImports;
use crate::domain::padron_share::PadronShare;
use crate::domain::reports::Reports;
use crate::domain::settings::SettingsStore;
use crate::domain::statements::Statements;
use crate::domain::tenants::Tenants;
use crate::domain::tokens::{TokenMemory, Tokens};
use crate::domain::usage::{UsageSink, UsageWorker};
use crate::domain::users::{UserSettings, Users};
use crate::domain::vault::Vault;
use crate::metrics::Metrics;
use crate::odoo::{AddressPolicy, OdooLimits};
use crate::tools::TOOLS;
use crate::tools::confirm::Writes;
use crate::tools::dispatch::{Dispatcher, DispatcherParts};
use crate::tools::error::Code;
use crate::tools::invoice::{InvoiceParts, Invoices};
use crate::tools::tool::PACKS;

/// Handles to everything a door needs. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    /// The settings.
    pub config: Arc<Config>,
    /// The one pool.
    pub db: DatabaseConnection,
    /// Now.
    pub clock: Clock,
    /// Tenants.
    pub tenants: Tenants,
    /// Tokens.
    pub tokens: Tokens,
    /// People who sign in to the portal.
    pub users: Users,
    /// The authorization server.
    pub oauth: OAuth,
    /// Letters.
    pub mail: Mail,
    /// Operators' API keys.
    pub operator_keys: OperatorKeys,
    /// Warm Odoo clients.
    pub connections: Connections,
    /// Limits.
    pub limits: Limits,
    /// Usage.
    pub usage: UsageSink,
    /// The taxpayer listing.
    pub padron: Padron,
    /// Its imports.
    pub padron_imports: PadronImports,
    /// Its way between nodes.
    pub padron_share: PadronShare,
    /// This node among the others.
    pub nodes: Nodes,
    /// What nodes tell each other.
    pub news: News,
    /// Where reports are read.
    pub reads: ReadSide,
    /// Runs calls.
    pub dispatcher: Dispatcher,
    /// Writes that wait for an owner.
    pub approvals: Approvals,
    /// What pages show.
    pub reports: Reports,
    /// Monthly statements.
    pub statements: Statements,
    /// Statements as draft invoices.
    pub invoices: Invoices,
    /// What the operator sets while the service runs.
    pub settings: SettingsStore,
    /// Follows changes made by other processes.
    pub changes: ChangeWatch,
    /// Writes under way; waited for at the end.
    pub tasks: TaskTracker,
    /// What the service counts of itself.
    pub metrics: Metrics,
    /// What is known of tenants' Odoo keys.
    pub odoo_keys: OdooKeys,
    /// Watches, and tells what somebody should hear of.
    pub alerts: Alerts,
}

impl AppState {
    /// Opens the database and the padrón and puts everything together. The worker must be run by whoever serves; commands that make no
    /// calls drop it.
    ///
    /// # Errors
    /// The database does not open, or the padrón's folder cannot be used.
    pub async fn open(config: Config, vault: Vault, clock: Clock) -> anyhow::Result<(Self, UsageWorker)> {
        let db = db::connect(&config.database_url(), config.limits.database_connections_max).await?;
        Self::assemble(config, &vault, &clock, &db).await
    }

    /// The same over a database that is open already; tests listen to it.
    ///
    /// # Errors
    /// The padrón's folder cannot be used.
    pub async fn assemble(config: Config, vault: &Vault, clock: &Clock, db: &DatabaseConnection) -> anyhow::Result<(Self, UsageWorker)> {
        let limits = &config.limits;
        let tenants = Tenants::new(db.clone(), vault.clone(), clock.clone());
        let memory = TokenMemory { fresh_s: limits.caller_cache_s, stale_s: limits.caller_stale_s, tokens_max: limits.caller_cache_tokens_max };
        let tokens = Tokens::new(db.clone(), tenants.clone(), clock.clone(), memory);
        let users = Users::new(db.clone(), vault.clone(), clock.clone(), user_settings(&config))?;
        let connections =
            Connections::new(tenants.clone(), addresses(&config), odoo_limits(&config), Lanes::new(lane_settings(limits)), limits.connections_max, limits.connection_idle_s);
        let nodes = Nodes::new(db.clone(), process_name());
        let shared = config.redis_url().map(|url| SharedCounters::new(url, Duration::from_millis(limits.redis_timeout_ms))).transpose()?;
        let reads = match config.database_read_url() {
            Some(replica) => ReadSide::with_replica(db, replica, limits.database_connections_max, limits.replica_behind_s_max).await?,
            None => ReadSide::of(db),
        };
        let call_limits = Limits::new(
            db.clone(),
            clock.clone(),
            LimitSettings {
                calls_per_minute: limits.tenant_calls_per_minute,
                burst_calls: limits.tenant_burst_calls,
                writes_per_hour: limits.tenant_writes_per_hour,
                repeats_per_minute: limits.repeated_calls_per_minute,
            },
            nodes.clone(),
            shared,
        );
        let flush = Duration::from_millis(limits.usage_flush_ms);
        let (usage, worker) = UsageSink::new(db.clone(), config.journal_dir(), limits.usage_memory_records_max, limits.usage_batch_records_max, flush);
        let padron = open_padron(&config)?;
        let tasks = TaskTracker::new();
        let padron_imports = PadronImports::new(db.clone(), clock.clone(), padron.clone(), tasks.clone(), config.padron.padron_rows_min, config.uploads_dir());
        let mail = Mail::new(config.smtp_url.as_ref(), config.mail_from.as_deref(), clock.clone(), tasks.clone())?;
        let operations = Operations::new(db.clone(), clock.clone());
        let approvals = Approvals::new(db.clone(), clock.clone(), vault.clone(), tenants.clone(), operations.clone());
        let dispatcher = Dispatcher::new(DispatcherParts {
            connections: connections.clone(),
            padron: padron.clone(),
            clock: clock.clone(),
            limits: call_limits.clone(),
            writes: Writes::new(vault, operations, approvals.clone(), call_limits.clone(), tasks.clone()),
            deadline: Duration::from_millis(limits.call_deadline_ms),
        });
        let settings = SettingsStore::new(db.clone(), clock.clone());
        let changes = ChangeWatch::new(db.clone(), clock.clone(), tokens.clone(), connections.clone(), settings.clone());
        let statements = Statements::new(db.clone(), clock.clone(), settings.clone());
        let invoices = Invoices::new(InvoiceParts {
            statements: statements.clone(),
            tenants: tenants.clone(),
            connections: connections.clone(),
            settings: settings.clone(),
            padron: padron.clone(),
            tasks: tasks.clone(),
        });
        let metrics = Metrics::new(TOOLS.iter().map(|tool| tool.facts().name).collect(), Code::ALL.iter().map(|code| code.as_str()).collect(), clock.now().timestamp());
        let odoo_keys = OdooKeys::new(KeyParts {
            db: db.clone(),
            clock: clock.clone(),
            vault: vault.clone(),
            tenants: tenants.clone(),
            connections: connections.clone(),
            settled_within: Duration::from_millis(limits.watch_ms.saturating_mul(2)),
        });
        let alerts = Alerts::new(AlertParts {
            db: db.clone(),
            clock: clock.clone(),
            vault: vault.clone(),
            tenants: tenants.clone(),
            connections: connections.clone(),
            odoo_keys: odoo_keys.clone(),
            usage: usage.clone(),
            padron: padron.clone(),
            mail: mail.clone(),
            addresses: addresses(&config),
        });
        let state = Self {
            odoo_keys,
            alerts,
            db: db.clone(),
            clock: clock.clone(),
            oauth: OAuth::new(db.clone(), clock.clone(), tenants.clone(), tokens.clone(), &PACKS, addresses(&config)),
            tenants,
            tokens,
            users,
            mail,
            operator_keys: OperatorKeys::new(db.clone(), clock.clone()),
            connections,
            limits: call_limits,
            padron_share: PadronShare::new(db.clone(), clock.clone(), padron.clone()),
            padron,
            padron_imports,
            news: News::new(db.clone(), nodes.clone(), changes.clone(), usage.clone()),
            nodes,
            usage,
            dispatcher,
            approvals,
            reports: Reports::new(db.clone(), reads.clone(), clock.clone()),
            reads,
            statements,
            invoices,
            settings,
            changes,
            tasks,
            metrics,
            config: Arc::new(config),
        };
        Ok((state, worker))
    }

    /// Whether the database answers a question within that time.
    pub async fn database_answers(&self, within: Duration) -> bool {
        matches!(tokio::time::timeout(within, db::answers(&self.db)).await, Ok(true))
    }
}

/// Opens the padrón's folder, making it if missing.
///
/// # Errors
/// The folder cannot be made or read.
pub fn open_padron(config: &Config) -> anyhow::Result<Padron> {
    let dir = config.padron_dir();
    db::private_folder(&config.data_dir)?;
    Padron::open(&dir, PadronLimits::default()).with_context(|| format!("opening the padrón in {}", dir.display()))
}

fn addresses(config: &Config) -> AddressPolicy {
    if config.allow_private_odoo { AddressPolicy::AllowPrivate } else { AddressPolicy::PublicOnly }
}

fn user_settings(config: &Config) -> UserSettings {
    let limits = &config.limits;
    UserSettings {
        session_idle_s: limits.session_idle_s,
        session_max_s: limits.session_max_s,
        sign_in_failures_max: limits.sign_in_failures_max,
        password_memory_kib: limits.password_memory_kib,
        password_passes: limits.password_passes,
        passwords_at_once: limits.passwords_at_once,
        operators_need_second_factor: config.require_second_factor,
    }
}

fn lane_settings(limits: &crate::config::Limits) -> LaneSettings {
    LaneSettings {
        places: limits.odoo_places_per_tenant,
        waiting_max: limits.odoo_waiting_per_tenant_max,
        failures_max: limits.odoo_failures_max,
        pause_s: limits.odoo_pause_s,
        pause_s_max: limits.odoo_pause_s_max,
        lanes_max: limits.connections_max,
    }
}

fn odoo_limits(config: &Config) -> OdooLimits {
    OdooLimits {
        connect_timeout_ms: config.limits.odoo_connect_timeout_ms,
        request_timeout_ms: config.limits.odoo_request_timeout_ms,
        answer_bytes_max: config.limits.odoo_answer_bytes_max,
        ..OdooLimits::default()
    }
}
