//! From what Odoo answered to an error kind: the tables of this client.
//!
//! Rows match on exception names, fault codes, HTTP statuses and on the last line of a traceback, which
//! is technical English. Sentences for people are translated by Odoo and are never matched.

use super::clean::{last_exception, sentence};
use super::error::{OdooError, OdooErrorKind as Kind};
use regex::Regex;
use std::sync::LazyLock;

/// What was called, so that an answer about something else is not taken for one about the call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Subject<'a> {
    pub(crate) model: &'a str,
    pub(crate) method: &'a str,
    pub(crate) uid: i64,
    pub(crate) database: &'a str,
    /// Whether it may have changed something: then an answer that is not Odoo's leaves the outcome open.
    pub(crate) writes: bool,
}

/// `(Record: res.partner(59,), User: 7)` at the end of a `MissingError`, whatever the language of its words.
static MISSING_RECORD: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\([^():]+: ([a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*)\((\d+)?[\d, ]*\), [^():]+: \d+\)\s*$").expect("the pattern is constant and was tested"));
static UNKNOWN_OBJECT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^Object [\w.]+ doesn't exist$").expect("the pattern is constant and was tested"));

/// An exception by its Python name (`odoo.exceptions.AccessError`, `builtins.ValueError`, `ValueError`) and its text.
pub(crate) fn exception(name: &str, text: &str, cause: &str, subject: &Subject<'_>) -> OdooError {
    let short = name.strip_prefix("builtins.").unwrap_or(name);
    let last = short.rsplit('.').next().unwrap_or(short);
    let kind = match last {
        "AccessError" | "Forbidden" => Kind::AccessDenied,
        "AccessDenied" | "Unauthorized" | "SessionExpiredException" => Kind::BadCredentials,
        "MissingError" => missing(text, subject),
        "UserError" | "ValidationError" | "RedirectWarning" | "except_orm" | "Warning" => user_error(text, subject),
        "LockError" | "TooManyRequests" | "ServiceUnavailable" | "ConcurrencyError" | "SerializationFailure" | "LockNotAvailable" | "DeadlockDetected" | "PoolError" => {
            Kind::Busy { retry_after_s: None }
        }
        "UniqueViolation" | "ForeignKeyViolation" | "NotNullViolation" | "CheckViolation" | "ExclusionViolation" | "IntegrityError" => Kind::Validation,
        "ValueError" if text.starts_with("Invalid field ") => Kind::UnknownField,
        "ValueError"
        | "NumericValueOutOfRange"
        | "InvalidTextRepresentation"
        | "InvalidDatetimeFormat"
        | "DatetimeFieldOverflow"
        | "StringDataRightTruncation"
        | "DataError"
        | "UnprocessableEntity"
        | "BadRequest"
        | "RequestEntityTooLarge"
        | "UnsupportedMediaType" => Kind::BadArguments,
        "OperationalError" => operational(text),
        "NotFound" => not_found(text),
        "AttributeError" if names_the_method(text, subject) => Kind::UnknownMethod,
        "TypeError" if text.contains("unexpected keyword argument") || text.contains("required positional argument") || text.contains("positional arguments but") => {
            Kind::BadArguments
        }
        "KeyError" if text.trim_matches('\'') == subject.model => Kind::UnknownModel,
        // A field of `values` that does not stand in `fields_spec`.
        "KeyError" if subject.method == "onchange" => Kind::BadArguments,
        "Exception" if text.starts_with("Method not found") => Kind::UnknownMethod,
        _ => Kind::ServerFault,
    };
    let message = match kind {
        // The name comes from the other side like everything else.
        Kind::ServerFault => format!("Odoo failed inside ({})", sentence(last)),
        Kind::BadCredentials => "Odoo does not accept the login, password or API key".to_owned(),
        Kind::DatabaseNotFound => format!("There is no database \"{}\" on this server", subject.database),
        Kind::Busy { .. } => "Odoo is busy with the same records; try again in a moment".to_owned(),
        Kind::BadArguments if short.starts_with("psycopg2") => "A value is out of the range that Odoo can store".to_owned(),
        _ => sentence(text),
    };
    OdooError::new(kind, message, format!("{name}: {text}\n{cause}"))
}

/// An XML-RPC fault: 1 a traceback, 2 a refusal for people, 3 wrong credentials, 4 no right.
pub(crate) fn fault(code: i64, text: &str, subject: &Subject<'_>) -> OdooError {
    match code {
        2 => exception(if MISSING_RECORD.is_match(text) { "odoo.exceptions.MissingError" } else { "odoo.exceptions.UserError" }, text, "", subject),
        3 => exception("odoo.exceptions.AccessDenied", text, "", subject),
        4 => exception("odoo.exceptions.AccessError", text, "", subject),
        _ => match last_exception(text) {
            Some(last) => exception(&last.name, &last.text, text, subject),
            None => OdooError::new(Kind::ServerFault, "Odoo failed inside", format!("fault {code}: {text}")),
        },
    }
}

/// Whether the method ran, its transaction was committed, and only its result could not be written as XML.
pub(crate) fn is_cannot_marshal(code: i64, text: &str) -> bool {
    // Python's own writer of XML-RPC has no other errors; both come after the commit.
    let is = |name: &str, text: &str| (name == "TypeError" && text.starts_with("cannot marshal ")) || (name == "OverflowError" && text.starts_with("int exceeds XML-RPC limits"));
    code == 1 && last_exception(text).is_some_and(|last| is(&last.name, &last.text))
}

fn missing(text: &str, subject: &Subject<'_>) -> Kind {
    match MISSING_RECORD.captures(text) {
        // The user itself is gone: no record of the caller's is meant.
        Some(found) if &found[1] == "res.users" && found.get(2).is_some_and(|id| id.as_str() == subject.uid.to_string()) => Kind::BadCredentials,
        _ => Kind::RecordMissing,
    }
}

fn user_error(text: &str, subject: &Subject<'_>) -> Kind {
    if UNKNOWN_OBJECT.is_match(text.trim()) && text.contains(subject.model) {
        return Kind::UnknownModel;
    }
    Kind::Validation
}

fn not_found(text: &str) -> Kind {
    if text.starts_with("the model ") {
        Kind::UnknownModel
    } else if text.starts_with("The method ") || text.starts_with("Did you mean POST") {
        Kind::UnknownMethod
    } else {
        Kind::VersionNotSupported
    }
}

/// The database server's own words, in the language of that server: English and Spanish are known.
fn operational(text: &str) -> Kind {
    let lower = text.to_lowercase();
    if (lower.contains("database \"") && lower.contains("does not exist")) || lower.contains("no existe la base de datos") {
        Kind::DatabaseNotFound
    } else if lower.contains("too many") || lower.contains("demasiad") {
        Kind::Busy { retry_after_s: None }
    } else {
        Kind::ServerFault
    }
}

fn names_the_method(text: &str, subject: &Subject<'_>) -> bool {
    text.starts_with("The method '") || (text.contains("has no attribute") && text.contains(&format!("'{}'", subject.method)) && text.contains(&format!("'{}'", subject.model)))
}

/// Odoo Online speaks of the plan in words of its own; no capture of it exists, so this is a guess that
/// only applies to refusals of Odoo Online which name both the API and a plan.
pub(crate) fn in_plan(error: OdooError, text: &str, online: bool) -> OdooError {
    let names = |words: &[&str]| words.iter().any(|word| text.to_lowercase().contains(word));
    if online
        && matches!(error.kind, Kind::AccessDenied | Kind::BadCredentials | Kind::Validation)
        && names(&["external api", "api externa", "api access"])
        && names(&["plan", "subscription", "suscrip"])
    {
        return OdooError::new(Kind::ApiNotInPlan, "The plan of this Odoo Online does not include the external API", error.cause);
    }
    error
}
