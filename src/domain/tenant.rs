//! A tenant as the rules see it: a snapshot of its rows, without opened secrets. The operations are in `tenants`.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use ring::digest::{SHA256, digest};
use url::Url;

use super::plans::Plan;
use super::vault::Sealed;
use crate::db::entities::{client_tools, clients, plans};
use crate::ids::TenantId;
use crate::odoo::ProtocolChoice;
use crate::text::Language;

/// Calls an hour of one tool where neither the tenant nor the settings say another number.
pub const TOOL_CALLS_PER_HOUR_DEFAULT: u32 = 1_000;

/// Whether writes are previewed first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WritePolicy {
    /// Preview, then confirm.
    #[default]
    Confirm,
    /// At once.
    Direct,
    /// Preview, then an owner of the company approves it in the portal.
    OwnerApproves,
}

impl WritePolicy {
    /// Every policy, the most careful last.
    pub const ALL: [Self; 3] = [Self::Direct, Self::Confirm, Self::OwnerApproves];

    /// As stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confirm => "confirm",
            Self::Direct => "direct",
            Self::OwnerApproves => "owner_approves",
        }
    }

    /// From storage; anything unknown is the careful one.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self::ALL.into_iter().find(|policy| policy.as_str() == text).unwrap_or_default()
    }
}

/// Whether the people of a tenant use an Odoo user of their own, where they let an agent in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PersonalPolicy {
    /// Everybody uses the company's.
    #[default]
    Off,
    /// Who stored their own uses it, the others the company's.
    Allowed,
    /// Who stored none cannot use Odoo through an agent that they let in.
    Required,
}

impl PersonalPolicy {
    /// Every policy.
    pub const ALL: [Self; 3] = [Self::Off, Self::Allowed, Self::Required];

    /// As stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Allowed => "allowed",
            Self::Required => "required",
        }
    }

    /// The policy of that word.
    #[must_use]
    pub fn known(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == text)
    }
}

/// How a tenant may use one tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit {
    /// Preview first, or at once.
    pub write_policy: WritePolicy,
    /// Calls an hour.
    pub calls_per_hour: u32,
}

/// Where and how a tenant's Odoo is reached. The secret is sealed.
#[derive(Clone, Debug)]
pub struct OdooSettings {
    /// Base address.
    pub url: Url,
    /// Database.
    pub database: String,
    /// User.
    pub login: String,
    /// Wire.
    pub protocol: ProtocolChoice,
    pub(super) secret: Sealed,
}

/// A tenant as the rules see it: a snapshot, without opened secrets.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// The company's name.
    pub name: String,
    /// Its RNC.
    pub rnc: Option<String>,
    /// May be served.
    pub active: bool,
    /// Its plan.
    pub plan: Plan,
    /// Its language.
    pub language: Language,
    /// Its zone.
    pub timezone: Tz,
    /// The default for its writing tools.
    pub write_policy: WritePolicy,
    /// Its Odoo, once connected.
    pub odoo: Option<OdooSettings>,
    /// Requests per second its Odoo likes; none goes by its address, 0 is no limit.
    pub odoo_requests_per_second: Option<u32>,
    /// Whether its people use an Odoo user of their own.
    pub odoo_personal: PersonalPolicy,
    /// When it was last edited, UTC.
    pub edited_at: DateTime<Utc>,
    /// Counts edits.
    pub version: i32,
    /// Calls an hour of a tool without a limit of its own.
    pub tool_calls_per_hour: u32,
    pub(super) data_key: Sealed,
    rows: HashMap<String, (bool, Permit)>,
}

impl Tenant {
    /// How it may use that tool; none when it may not. A plan with a number of tools allows only what was enabled by name.
    #[must_use]
    pub fn permit(&self, tool: &str) -> Option<Permit> {
        match self.rows.get(tool) {
            Some((true, permit)) => self.within_plan(tool).then_some(*permit),
            Some((false, _)) => None,
            None => self.plan.tools_max.is_none().then_some(self.permit_default()),
        }
    }

    /// Whether the saved Odoo secret was given for the server of that address. To another one it must not be sent: whoever may change the
    /// address could else have the secret sent to themselves.
    #[must_use]
    pub fn odoo_secret_fits(&self, url: &Url) -> bool {
        self.odoo.as_ref().is_some_and(|odoo| odoo.url.origin() == url.origin())
    }

    /// After a downgrade more tools may be enabled than the plan allows: the first by name stay.
    fn within_plan(&self, tool: &str) -> bool {
        let Some(max) = self.plan.tools_max else { return true };
        self.rows.iter().filter(|(name, (enabled, _))| *enabled && name.as_str() < tool).count() < max
    }

    /// Whether that tool is switched on, and how it may be used then. What counts is [`Tenant::permit`]: the plan may allow fewer tools.
    #[must_use]
    pub fn tool_setting(&self, tool: &str) -> (bool, Permit) {
        self.rows.get(tool).copied().unwrap_or((self.plan.tools_max.is_none(), self.permit_default()))
    }

    /// Of a tool nothing was said about.
    fn permit_default(&self) -> Permit {
        Permit { write_policy: self.write_policy, calls_per_hour: self.tool_calls_per_hour }
    }

    /// A word that is another one after any change of its tools, its plan or its policy: a page that shows them notices that it is stale.
    #[must_use]
    pub fn tools_mark(&self) -> String {
        let mut lines: Vec<String> = self.rows.iter().map(|(tool, (on, permit))| format!("{tool} {on} {} {}", permit.calls_per_hour, permit.write_policy.as_str())).collect();
        lines.sort();
        lines.push(format!("{} {:?} {}", self.plan.code, self.plan.tools_max, self.write_policy.as_str()));
        super::audit::hex(&digest(&SHA256, lines.join("\n").as_bytes()).as_ref()[..8])
    }

    pub(super) fn from_rows(client: clients::Model, plan: plans::Model, tools: Vec<client_tools::Model>) -> Self {
        let write_policy = WritePolicy::parse(&client.write_policy);
        let rows = tools
            .into_iter()
            .map(|row| {
                let permit = Permit {
                    write_policy: row.write_policy.as_deref().map_or(write_policy, WritePolicy::parse),
                    calls_per_hour: u32::try_from(row.rate_limit_per_hour).unwrap_or_default(),
                };
                (row.tool, (row.enabled, permit))
            })
            .collect();
        let odoo = match (client.odoo_url, client.odoo_database, client.odoo_login, client.odoo_secret_sealed) {
            (Some(url), Some(database), Some(login), Some(secret)) => Url::parse(&url).ok().map(|url| OdooSettings {
                url,
                database,
                login,
                protocol: client.odoo_protocol.parse().unwrap_or(ProtocolChoice::Auto),
                secret: Sealed(secret),
            }),
            _ => None,
        };
        Self {
            id: client.id.into(),
            name: client.name,
            rnc: client.rnc,
            active: client.status == "active",
            plan: plan.into(),
            language: client.language.parse().unwrap_or_default(),
            timezone: client.timezone.parse().unwrap_or(chrono_tz::America::Santo_Domingo),
            write_policy,
            odoo,
            odoo_requests_per_second: client.odoo_requests_per_second.and_then(|pace| u32::try_from(pace).ok()),
            // A word that is not known is nobody's permission to use the company's user.
            odoo_personal: PersonalPolicy::known(&client.odoo_personal).unwrap_or(PersonalPolicy::Required),
            edited_at: client.updated_at,
            version: client.version,
            tool_calls_per_hour: u32::try_from(client.tool_calls_per_hour).unwrap_or_default(),
            data_key: Sealed(client.data_key_sealed),
            rows,
        }
    }
}
