//! Templates: embedded, compiled when the service starts, one environment per language so that `t("key", fact=…)` speaks it also inside macros.
//!
//! Every page has, besides its view: `lang`, `theme`, `path`, `csrf`, `form_key`, `user`, `flash`, `nav`, `tabs`, `maintenance`,
//! `public_mail`. Functions: `t`, `asset`. Filters:
//! `number`, `money` (cents), `moment` (date and time in Santo Domingo), `day`, and those of `figures.rs`. Undefined values are errors when shown; autoescaping is on.

use std::sync::Arc;

use chrono::{DateTime, Datelike, Timelike, Utc};
use chrono_tz::America::Santo_Domingo;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value, context};
use rust_embed::RustEmbed;
use serde::Serialize;

use super::cx::FlashKind;
use super::{Cx, assets, csrf, figures, pages};
use crate::domain::users::{Role, User};
use crate::ids::TenantId;
use crate::text::{self, Language};

#[derive(RustEmbed)]
#[folder = "templates"]
struct Templates;

/// Renders pages. Cheap to clone.
#[derive(Clone)]
pub(super) struct Renderer {
    es: Arc<Environment<'static>>,
    en: Arc<Environment<'static>>,
}

/// What the page says once.
#[derive(Debug, Serialize)]
pub(super) struct FlashView {
    pub(super) kind: FlashKind,
    pub(super) text: String,
}

/// Who is signed in, as the frame shows them.
#[derive(Serialize)]
struct UserView<'a> {
    name: &'a str,
    email: &'a str,
    initials: String,
    operator: bool,
}

/// Something an operator should see to.
#[derive(Serialize)]
struct Notice {
    kind: FlashKind,
    text: String,
    href: &'static str,
    action: String,
}

/// What operators are told on the pages that include `partials/notices.html`; asks no database.
fn notices(cx: &Cx) -> Vec<Notice> {
    let mut list = Vec::new();
    let Some(user) = cx.user().filter(|user| user.operator().is_some()) else { return list };
    if !user.second_factor() {
        let action = cx.t("portal.notices.second_factor_action");
        list.push(Notice { kind: FlashKind::Warn, text: cx.t("portal.notices.second_factor"), href: pages::second_factor::PATH, action });
    }
    if let Some(failure) = cx.state().mail.failure() {
        let facts = [("when", &*moment(cx.language(), failure.at)), ("cause", &*failure.cause)];
        list.push(Notice { kind: FlashKind::Warn, text: text::fill(cx.language(), "portal.notices.mail", &facts), href: "", action: String::new() });
    }
    list
}

/// A place in a menu.
#[derive(Serialize)]
struct MenuItem {
    href: String,
    icon: &'static str,
    text: String,
    current: bool,
    /// What waits there; none where nothing does.
    count: Option<u64>,
}

impl Renderer {
    pub(super) fn new() -> Self {
        Self { es: Arc::new(environment(Language::Es)), en: Arc::new(environment(Language::En)) }
    }

    pub(super) fn render(&self, cx: &Cx, template: &str, view: Value) -> Result<String, Error> {
        let user = cx.user().map(|user| UserView { name: user.name(), email: user.email(), initials: initials(user.name()), operator: user.role() == Role::Operator });
        let menus = Menus::of(cx);
        let settings = cx.state().settings.get();
        // The frame's names come first: a view cannot stand in for them.
        let frame = context! {
            lang => match cx.language() { Language::Es => "es-DO", Language::En => "en" },
            theme => cx.inner.theme,
            path => cx.inner.path.as_str(),
            csrf => cx.inner.csrf.as_str(),
            form_key => csrf::seed_make(),
            user => value(&user),
            flash => value(&cx.inner.flash.as_ref().map(|flash| flash.shown(cx.language()))),
            notices => value(&notices(cx)),
            maintenance => settings.maintenance.as_deref().unwrap_or_default(),
            public_mail => settings.public_mail.as_deref().unwrap_or_default(),
            nav => value(&menus.nav),
            tabs => value(&menus.tabs),
        };
        self.environment(cx.language()).get_template(template)?.render(context! { ..frame, ..view })
    }

    /// A part of a page by itself, as streams send it: nothing is there but the view.
    pub(super) fn part(&self, language: Language, template: &str, view: Value) -> Result<String, Error> {
        self.environment(language).get_template(template)?.render(view)
    }

    fn environment(&self, language: Language) -> &Environment<'static> {
        match language {
            Language::Es => &self.es,
            Language::En => &self.en,
        }
    }
}

/// Data for a template.
pub(super) fn value(data: &impl Serialize) -> Value {
    Value::from(Serde(data))
}

/// The sidebar and the tabs of a page.
#[derive(Default)]
struct Menus {
    nav: Vec<MenuItem>,
    tabs: Vec<MenuItem>,
}

impl Menus {
    fn of(cx: &Cx) -> Self {
        let Some(user) = cx.user() else { return Self::default() };
        let path = cx.inner.path.as_str();
        let tenant = path_tenant(path, user);
        let of = |who: pages::Group, tenant: Option<TenantId>| {
            let mut items: Vec<MenuItem> = pages::menu(who)
                .map(|(route, menu)| {
                    let href = tenant.map_or_else(|| route.path.to_owned(), |tenant| route.path.replace("{id}", &tenant.to_string()));
                    let count = cx.inner.waiting.get().copied().filter(|count| *count > 0 && menu.key == pages::APPROVALS);
                    MenuItem { current: false, icon: menu.icon, text: cx.t(&format!("portal.menu.{}", menu.key)), href, count }
                })
                .collect();
            // The one that the page is at or below; the first of a group, which all others are below, only stands for itself.
            let below = |path: &str, href: &str| path.strip_prefix(href).is_some_and(|rest| rest.starts_with('/'));
            let root = items.first().map(|item| item.href.clone());
            let current = items.iter_mut().find(|item| path == item.href || (root.as_ref() != Some(&item.href) && below(path, &item.href)));
            if let Some(current) = current {
                current.current = true;
            }
            items
        };
        let tabs = tenant.map(|tenant| of(pages::Group::Tenant, Some(tenant))).unwrap_or_default();
        let nav = match user.role() {
            Role::Operator => of(pages::Group::Operator, None),
            Role::Member => menu_tenant(path, user).map(|tenant| of(pages::Group::Tenant, Some(tenant))).unwrap_or_default(),
        };
        Self { nav, tabs: if user.role() == Role::Operator { tabs } else { Vec::new() } }
    }
}

fn path_tenant(path: &str, user: &User) -> Option<TenantId> {
    let id = path.strip_prefix("/admin/clients/")?.split('/').next()?.parse::<TenantId>().ok()?;
    user.access(id).map(|_| id)
}

/// Whose menu the page shows: the tenant's that is looked at, or the only one a member has.
pub(super) fn menu_tenant(path: &str, user: &User) -> Option<TenantId> {
    let only = || user.memberships().first().filter(|_| user.memberships().len() == 1).map(|membership| membership.tenant);
    path_tenant(path, user).or_else(only)
}

fn environment(language: Language) -> Environment<'static> {
    let mut environment = Environment::new();
    // Semi-strict: a missing value may be asked for (`{% if column.num %}`), but not shown, compared or walked through.
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().expect("no delimiter is changed"));
    environment.add_function("t", move |key: &str, facts: Kwargs| sentence(language, key, &facts));
    environment.add_function("asset", |name: &str| assets::url(name).ok_or_else(|| Error::new(ErrorKind::InvalidOperation, format!("there is no file {name} in assets/"))));
    environment.add_filter("number", number);
    environment.add_filter("money", money);
    environment.add_filter("moment", move |iso: &str| parsed(iso).map(|at| moment(language, at)));
    environment.add_filter("day", move |iso: &str| parsed(iso).map(|at| day(language, at)));
    figures::add(&mut environment, language);
    for name in Templates::iter() {
        let text = Templates::get(&name).and_then(|file| String::from_utf8(file.data.into_owned()).ok()).expect("templates are embedded as UTF-8");
        environment.add_template_owned(name.to_string(), text).expect("the tests compile every template");
    }
    environment
}

/// A sentence of `locales/`. A missing one is an error: a page never shows a key.
fn sentence(language: Language, key: &str, facts: &Kwargs) -> Result<String, Error> {
    let mut values = Vec::new();
    for name in facts.args() {
        values.push((name, facts.get::<Value>(name)?.to_string()));
    }
    let pairs: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let text = text::fill(language, key, &pairs);
    if text == key { Err(Error::new(ErrorKind::InvalidOperation, format!("there is no sentence {key}"))) } else { Ok(text) }
}

/// 18402 as 18,402: both languages write it so in the country.
pub(super) fn number(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if value < 0 {
        out.push('-');
    }
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// -123456 cents as -1,234.56.
pub(super) fn money(cents: i64) -> String {
    format!("{}{}.{:02}", if cents < 0 { "-" } else { "" }, number((cents / 100).abs()), cents.unsigned_abs() % 100)
}

fn parsed(iso: &str) -> Result<DateTime<Utc>, Error> {
    iso.parse().map_err(|error| Error::new(ErrorKind::InvalidOperation, format!("{iso} is no instant: {error}")))
}

fn day(language: Language, at: DateTime<Utc>) -> String {
    let at = at.with_timezone(&Santo_Domingo);
    let months = text::text(language, "portal.months");
    let month = months.split(' ').nth(at.month0() as usize).unwrap_or_default();
    format!("{} {month} {}", at.day(), at.year())
}

pub(super) fn moment(language: Language, at: DateTime<Utc>) -> String {
    let local = at.with_timezone(&Santo_Domingo);
    format!("{}, {:02}:{:02}", day(language, at), local.hour(), local.minute())
}

fn initials(name: &str) -> String {
    name.split_whitespace().filter_map(|word| word.chars().next()).take(2).flat_map(char::to_uppercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_compiles_and_its_sentences_exist() {
        let environment = environment(Language::Es);
        let asks = regex::Regex::new(r#"\bt\(\s*["\x27]([a-z0-9_.]*[a-z0-9_])["\x27]"#).unwrap();
        let mut seen = 0;
        for (name, template) in environment.templates() {
            // What ends in `_` is the beginning of a key.
            for ask in asks.captures_iter(template.source()).filter(|ask| !ask[1].ends_with('_')) {
                for language in [Language::Es, Language::En] {
                    assert_ne!(text::text(language, &ask[1]), ask[1], "{name} asks for a sentence that {language} lacks");
                }
                seen += 1;
            }
        }
        assert!(seen > 40, "only {seen}");
    }

    #[test]
    fn figures_and_times_read_well() {
        assert_eq!([0, 999, 1_000, 18_402, -1_234_567].map(number), ["0", "999", "1,000", "18,402", "-1,234,567"]);
        assert_eq!([0, 5, -5, 123_456, -123_456].map(money), ["0.00", "0.05", "-0.05", "1,234.56", "-1,234.56"]);
        let at: DateTime<Utc> = "2026-11-25T03:59:00Z".parse().unwrap();
        assert_eq!(moment(Language::Es, at), "24 nov 2026, 23:59");
        assert_eq!(day(Language::En, at), "24 Nov 2026");
        assert_eq!(initials("ana maría méndez"), "AM");
    }
}
