//! What a taxpayer of the listing would be in Odoo: company or person, and which kind of fiscal customer.
//!
//! The kinds are those of the Dominican modules' `l10n_do_dgii_tax_payer_type`. Their own rule takes every RNC that begins with 4 for a
//! non-profit, public bodies included; here the name and the activity are looked at first. A suggestion, with its reason: a person confirms.

use schemars::JsonSchema;
use serde::Serialize;

use crate::dgii::text::fold;
use crate::dgii::{IdKind, Taxpayer, TaxpayerId};
use crate::text::{Language, text};

/// How the taxpayer should be registered in Odoo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OdooSuggestion {
    /// Nombre (`name`).
    pub nombre: String,
    /// Número para el campo `vat`: solo dígitos.
    pub vat: String,
    /// Código del país.
    pub pais: String,
    /// Si es empresa (y no persona).
    pub es_empresa: bool,
    /// Nombre comercial, para la referencia.
    pub referencia: Option<String>,
    /// Tipo de contribuyente para `l10n_do_dgii_tax_payer_type`, si el Odoo tiene ese campo.
    pub tipo_contribuyente: String,
    /// Por qué ese tipo.
    pub motivo: String,
}

/// The kind of fiscal customer, and the key of its reason under `motivos.`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaxpayerType {
    /// The value of `l10n_do_dgii_tax_payer_type`.
    pub(crate) code: &'static str,
    reason: &'static str,
}

impl TaxpayerType {
    /// Why, in words.
    pub(crate) fn reason(self, language: Language) -> String {
        text(language, &format!("motivos.{}", self.reason))
    }
}

/// Beginnings of the folded name of a public body.
const PUBLIC_NAMES: [&str; 12] = [
    "MINISTERIO DE",
    "DIRECCION GENERAL",
    "AYUNTAMIENTO",
    "JUNTA CENTRAL",
    "JUNTA MUNICIPAL",
    "BANCO CENTRAL",
    "TESORERIA NACIONAL",
    "CONTRALORIA GENERAL",
    "PROCURADURIA GENERAL",
    "SUPERINTENDENCIA DE",
    "CAMARA DE DIPUTADOS",
    "SENADO DE LA REPUBLICA",
];

/// The kind that the number, the name and the activity speak for.
pub(crate) fn taxpayer_type(id: &TaxpayerId, name: &str, activity: Option<&str>) -> TaxpayerType {
    let (name, activity) = (fold(name), activity.map(fold).unwrap_or_default());
    let (code, reason) = if id.kind() == IdKind::Cedula {
        ("non_payer", "persona")
    } else if activity.starts_with("SERV GRALES DE LA ADM P") || PUBLIC_NAMES.iter().any(|head| name.starts_with(head)) {
        ("governmental", "publico")
    } else if name.contains("ZONA FRANCA") || activity.contains("ZONAS FRANCAS") {
        ("special", "zona_franca")
    } else if name.starts_with("IGLESIA") || name.contains(" IGLESIA") {
        ("special", "iglesia")
    } else if id.digits().starts_with('4') {
        ("nonprofit", "sin_fines")
    } else {
        ("taxpayer", "empresa")
    };
    TaxpayerType { code, reason }
}

/// Whether the number is a company's: an RNC, unless it begins with 5 (natural persons).
pub(crate) fn is_company(id: &TaxpayerId) -> bool {
    id.kind() == IdKind::Rnc && !id.digits().starts_with('5')
}

/// The whole suggestion.
pub(crate) fn of(taxpayer: &Taxpayer, language: Language) -> OdooSuggestion {
    let kind = taxpayer_type(&taxpayer.id, &taxpayer.name, taxpayer.activity.as_deref());
    OdooSuggestion {
        nombre: taxpayer.name.clone(),
        vat: taxpayer.id.digits().to_owned(),
        pais: "DO".to_owned(),
        es_empresa: is_company(&taxpayer.id),
        referencia: taxpayer.trade_name.clone().filter(|name| *name != taxpayer.name && fold(name) != fold(&taxpayer.name)),
        tipo_contribuyente: kind.code.to_owned(),
        motivo: kind.reason(language),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_suggested_with_their_reason() {
        for (number, name, activity, want) in [
            ("131793916", "INDEXA SRL", Some("VENTA AL POR MAYOR DE SOFTWARE"), "taxpayer"),
            ("401506254", "DIRECCION GENERAL DE IMPUESTOS INTERNOS", None, "governmental"),
            ("401007551", "BANCO CENTRAL DE LA REPÚBLICA DOMINICANA", None, "governmental"),
            ("401000001", "LO QUE SEA", Some("SERV. GRALES. DE LA ADM. PÚBLICA"), "governmental"),
            ("430000001", "FUNDACIÓN AMIGOS", None, "nonprofit"),
            ("430000001", "IGLESIA EVANGÉLICA", None, "special"),
            ("101000001", "PARQUE ZONA FRANCA SAN ISIDRO", None, "special"),
            ("00113918205", "JUAN PEREZ", Some("ABOGADOS"), "non_payer"),
        ] {
            let id = TaxpayerId::parse(number).unwrap();
            let kind = taxpayer_type(&id, name, activity);
            assert_eq!(kind.code, want, "{name}");
            assert!(!kind.reason(Language::Es).contains("motivos."), "{name} has a reason");
        }
    }

    #[test]
    fn persons_are_not_companies() {
        for (number, want) in [("131793916", true), ("401506254", true), ("501341601", false), ("00113918205", false)] {
            assert_eq!(is_company(&TaxpayerId::parse(number).unwrap()), want, "{number}");
        }
    }
}
