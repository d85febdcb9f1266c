//! What can go wrong in a tool, as the model and the person behind it see it.
//!
//! A [`ToolError`] carries a code from the closed list [`Code`]; its sentences (`mensaje`, `que_hacer`) live in `locales/`, in Spanish and
//! English. The private cause goes to the log only. The one mapping to an MCP result is in `mcp/error.rs`.

use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};

use crate::domain::limits::Refused;
use crate::odoo::{OdooError, OdooErrorKind};
use crate::text::{Language, fill, text};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $retry:literal;)+) => {
        /// Every error code a tool can answer. The text is stable: agents branch on it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name,)+ }

        impl Code {
            /// All codes, for the tests that check the sentences.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The stable text.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// Whether the same call may succeed later without a change.
            #[must_use]
            pub fn retryable(self) -> bool {
                match self { $(Self::$name => $retry,)+ }
            }
        }
    };
}

codes! {
    /// The arguments do not fit the schema. `%{detalle}`
    ArgumentoInvalido = "argumento_invalido", false;
    /// The number is not an RNC or a cédula. `%{valor}`
    IdentificadorInvalido = "identificador_invalido", false;
    /// Several records fit; `datos.candidatos` lists them. `%{que}` `%{valor}`
    VariosPosibles = "varios_posibles", false;
    /// Nothing fits. `%{que}` `%{valor}`
    NoEncontrado = "no_encontrado", false;
    /// No padrón is loaded.
    PadronSinDatos = "padron_sin_datos", true;
    /// The tenant's Odoo refused the credentials.
    OdooCredenciales = "odoo_credenciales", false;
    /// Odoo refused the credentials that the member stored.
    OdooPropioRechazado = "odoo_propio_rechazado", false;
    /// The company wants each person's own Odoo user, and the member stored none.
    OdooPropioFalta = "odoo_propio_falta", false;
    /// The Odoo user lacks a right. `%{detalle}`
    OdooSinPermiso = "odoo_sin_permiso", false;
    /// Odoo refused the data. `%{detalle}`
    OdooRechazo = "odoo_rechazo", false;
    /// The record no longer exists in Odoo.
    OdooNoExiste = "odoo_no_existe", false;
    /// Model, field or method unknown to that Odoo: an app is missing or the version differs. `%{detalle}`
    OdooIncompatible = "odoo_incompatible", false;
    /// The database does not exist or is not selected.
    OdooBaseDatos = "odoo_base_datos", false;
    /// The Odoo plan has no external API.
    OdooPlanSinApi = "odoo_plan_sin_api", false;
    /// Odoo asks to slow down.
    OdooOcupado = "odoo_ocupado", true;
    /// The company already has as many requests at its Odoo as it may. `%{limite}`
    OdooSaturado = "odoo_saturado", true;
    /// The company's Odoo failed several times in a row and is left alone for a moment. `%{segundos}`
    OdooEnPausa = "odoo_en_pausa", true;
    /// Odoo did not answer in time; nothing was written.
    OdooLento = "odoo_lento", true;
    /// Odoo cannot be reached.
    OdooCaido = "odoo_caido", true;
    /// The configured address is one that may not be connected to (private network, no https, odd port).
    OdooDireccion = "odoo_direccion", false;
    /// TLS with Odoo cannot be agreed: its certificate, mostly.
    OdooTls = "odoo_tls", false;
    /// What answers at the address is not an Odoo.
    NoEsOdoo = "no_es_odoo", false;
    /// Odoo's answer is too large.
    RespuestaGrande = "respuesta_grande", false;
    /// Odoo failed inside.
    OdooFallo = "odoo_fallo", true;
    /// The tenant has no Odoo connection yet.
    OdooSinConfigurar = "odoo_sin_configurar", false;
    /// A write was sent and its outcome is not known.
    ResultadoDesconocido = "resultado_desconocido", false;
    /// The confirmation code is not one of ours for this call.
    CodigoInvalido = "codigo_invalido", false;
    /// The confirmation code is older than ten minutes.
    CodigoVencido = "codigo_vencido", false;
    /// The confirmation code was used; `datos.resultado` has what came of it.
    CodigoUsado = "codigo_usado", false;
    /// The person was asked whether to write, and said no.
    NoConfirmado = "no_confirmado", false;
    /// The same `clave` with other arguments.
    ClaveReutilizada = "clave_reutilizada", false;
    /// The same write is being done at this moment.
    OperacionEnCurso = "operacion_en_curso", true;
    /// An owner of the company did not approve the write. `%{motivo}`
    AprobacionRechazada = "aprobacion_rechazada", false;
    /// No owner decided about the write in time.
    AprobacionVencida = "aprobacion_vencida", false;
    /// As many writes of the company wait for an owner as may. `%{limite}`
    AprobacionesLlenas = "aprobaciones_llenas", false;
    /// The plan's calls of this month are used up. `%{limite}` `%{hasta}`
    CuotaAgotada = "cuota_agotada", false;
    /// Too many calls of this tool in an hour. `%{limite}` `%{segundos}` `%{hasta}`
    LimiteHerramienta = "limite_herramienta", true;
    /// Too many executed writes of the company in an hour. `%{limite}` `%{segundos}` `%{hasta}`
    LimiteEscrituras = "limite_escrituras", true;
    /// The same call many times within a minute. `%{limite}` `%{segundos}` `%{hasta}`
    LlamadaRepetida = "llamada_repetida", true;
    /// The call took longer than its deadline.
    TiempoAgotado = "tiempo_agotado", true;
    /// Our own fault.
    ErrorInterno = "error_interno", true;
}

impl Code {
    /// Whether a limit of ours said no.
    #[must_use]
    pub fn is_limit(self) -> bool {
        matches!(self, Self::CuotaAgotada | Self::LimiteHerramienta | Self::LimiteEscrituras | Self::LlamadaRepetida | Self::AprobacionesLlenas)
    }

    /// Those that are an ordinary answer to what was asked: nothing broke, there is nothing to mend in Dunet or in Odoo.
    pub const ANSWERS: [Self; 10] = [
        Self::ArgumentoInvalido,
        Self::IdentificadorInvalido,
        Self::VariosPosibles,
        Self::NoEncontrado,
        Self::CodigoInvalido,
        Self::CodigoVencido,
        Self::CodigoUsado,
        Self::ClaveReutilizada,
        Self::AprobacionRechazada,
        Self::AprobacionVencida,
    ];

    /// Whether it tells what a person decided about an earlier call.
    #[must_use]
    pub fn is_decision(self) -> bool {
        matches!(self, Self::AprobacionRechazada | Self::AprobacionVencida | Self::NoConfirmado)
    }
}

/// A tool's failure: public code and facts, private cause.
#[derive(Debug)]
pub struct ToolError {
    /// Which.
    pub code: Code,
    /// Named facts that the sentences show (`%{name}` in `locales/`).
    pub facts: Vec<(&'static str, String)>,
    /// Structured facts for the model (candidates, an earlier result); already public.
    pub data: Option<Box<Value>>,
    /// For the log only.
    pub cause: Option<String>,
    /// The write may have been executed although no answer came.
    pub outcome_unknown: bool,
}

impl ToolError {
    /// An error of this code without facts.
    #[must_use]
    pub fn new(code: Code) -> Self {
        Self { code, facts: Vec::new(), data: None, cause: None, outcome_unknown: false }
    }

    /// Adds a fact that the sentence shows.
    #[must_use]
    pub fn fact(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.facts.push((name, value.into()));
        self
    }

    /// Adds structured facts.
    #[must_use]
    pub fn data(mut self, data: Value) -> Self {
        self.data = Some(Box::new(data));
        self
    }

    /// Adds the private cause.
    #[must_use]
    pub fn cause(mut self, cause: impl std::fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// Arguments that do not fit; `detail` is a sentence.
    #[must_use]
    pub fn argument(detail: impl Into<String>) -> Self {
        Self::new(Code::ArgumentoInvalido).fact("detalle", detail)
    }

    /// Our own fault; the cause is logged, never shown.
    #[must_use]
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        Self::new(Code::ErrorInterno).cause(cause)
    }

    /// A limit is reached: which, and until when, in the reader's zone.
    #[must_use]
    pub fn limited(code: Code, refused: Refused, now: DateTime<Utc>, timezone: Tz) -> Self {
        let until = now + chrono::Duration::seconds(i64::try_from(refused.wait_s).unwrap_or_default());
        let until = until.with_timezone(&timezone);
        Self::new(code)
            .fact("limite", refused.limit.to_string())
            .fact("segundos", refused.wait_s.to_string())
            .fact("hasta", until.format("%H:%M:%S").to_string())
            .data(json!({ "limite": refused.limit, "reintentar_en_s": refused.wait_s, "hasta": until.to_rfc3339_opts(SecondsFormat::Secs, false) }))
    }

    /// The public sentences: what is the matter, and what to do.
    #[must_use]
    pub fn said(&self, language: Language) -> (String, String) {
        let facts: Vec<(&str, String)> = self
            .facts
            .iter()
            .map(|(name, value)| {
                // `que` is a word of ours ("cliente"), shown in the reader's language.
                let value = if *name == "que" { text(language, &format!("que.{value}")) } else { value.clone() };
                (*name, value)
            })
            .collect();
        let facts: Vec<(&str, &str)> = facts.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let say = |what: &str| fill(language, &format!("errores.{}.{what}", self.code.as_str()), &facts);
        (say("mensaje"), say("que_hacer"))
    }

    /// Nothing fits. `what` is a locale key under `que.` (`que.cliente`, `que.producto`, …).
    #[must_use]
    pub fn not_found(what: &'static str, value: impl Into<String>) -> Self {
        Self::new(Code::NoEncontrado).fact("que", what).fact("valor", value)
    }

    /// Several fit; `candidates` is the list to choose from, already public.
    #[must_use]
    pub fn ambiguous(what: &'static str, value: impl Into<String>, mut candidates: Value) -> Self {
        super::bound::cut(&mut candidates, 200, 50);
        Self::new(Code::VariosPosibles).fact("que", what).fact("valor", value).data(Value::Object([("candidatos".to_owned(), candidates)].into_iter().collect()))
    }
}

impl From<OdooError> for ToolError {
    fn from(error: OdooError) -> Self {
        let unknown = error.outcome_unknown();
        let code = match &error.kind {
            OdooErrorKind::BadCredentials => Code::OdooCredenciales,
            OdooErrorKind::AccessDenied => Code::OdooSinPermiso,
            OdooErrorKind::RecordMissing => Code::OdooNoExiste,
            OdooErrorKind::Validation => Code::OdooRechazo,
            OdooErrorKind::UnknownModel | OdooErrorKind::UnknownField | OdooErrorKind::UnknownMethod | OdooErrorKind::BadArguments | OdooErrorKind::VersionNotSupported => {
                Code::OdooIncompatible
            }
            OdooErrorKind::DatabaseNotFound => Code::OdooBaseDatos,
            OdooErrorKind::ApiNotInPlan => Code::OdooPlanSinApi,
            OdooErrorKind::Busy { .. } => Code::OdooOcupado,
            OdooErrorKind::Crowded { .. } => Code::OdooSaturado,
            OdooErrorKind::Paused { .. } => Code::OdooEnPausa,
            OdooErrorKind::TimedOut { .. } => Code::OdooLento,
            OdooErrorKind::Unreachable | OdooErrorKind::ConnectionLost => Code::OdooCaido,
            OdooErrorKind::AddressRefused => Code::OdooDireccion,
            OdooErrorKind::TlsFailed => Code::OdooTls,
            OdooErrorKind::NotOdoo => Code::NoEsOdoo,
            OdooErrorKind::AnswerTooLarge => Code::RespuestaGrande,
            OdooErrorKind::ServerFault => Code::OdooFallo,
        };
        let mut out = Self::new(code).fact("detalle", error.message.clone()).cause(format!("{:?}: {}", error.kind, error.cause));
        out.outcome_unknown = unknown;
        match error.kind {
            OdooErrorKind::Crowded { places } => out.fact("limite", places.to_string()),
            OdooErrorKind::Paused { retry_after_s } => out.fact("segundos", retry_after_s.to_string()).data(json!({ "reintentar_en_s": retry_after_s })),
            OdooErrorKind::Busy { retry_after_s: Some(seconds) } => out.data(json!({ "reintentar_en_s": seconds })),
            _ => out,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_person_can_mend_is_not_worth_repeating() {
        for (kind, code, retryable) in [
            (OdooErrorKind::AddressRefused, "odoo_direccion", false),
            (OdooErrorKind::TlsFailed, "odoo_tls", false),
            (OdooErrorKind::Unreachable, "odoo_caido", true),
            (OdooErrorKind::ConnectionLost, "odoo_caido", true),
        ] {
            let error = ToolError::from(OdooError::new(kind, "x", ""));
            assert_eq!((error.code.as_str(), error.code.retryable()), (code, retryable));
        }
    }
}
