//! Fiscal receipt numbers: NCF of series B, electronic e-NCF of series E, and the old 19-character NCF.
//!
//! Structure only: there is no check digit anywhere, and whether a number was authorised is known to the DGII
//! alone. Source of the table: `reference/dgii.md` §1.4 (DGII technical report §7, Odoo's Dominican module).

use std::fmt;

use chrono::{Datelike, NaiveDate};
use serde::Serialize;

/// How a receipt number is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum NcfSeries {
    /// `B` + type (2) + sequence (8): paper or printer, since May 2018.
    B,
    /// `E` + type (2) + sequence (10): electronic receipt (e-CF).
    E,
    /// `A` or `P` + business unit (2) + point of issue (3) + printing area (3) + type (2) + sequence (8): until April 2018.
    Old,
}

/// When the buyer's RNC or cédula must be on the receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum BuyerId {
    /// Always (credit-fiscal receipts).
    Required,
    /// When the total is RD$250,000 or more (consumption receipts).
    RequiredFrom250000,
    /// The type does not ask for it by itself.
    NotRequired,
}

/// What a receipt is, whatever its series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NcfDocument {
    /// B01 / E31.
    CreditoFiscal,
    /// B02 / E32.
    Consumo,
    /// B03 / E33.
    NotaDebito,
    /// B04 / E34.
    NotaCredito,
    /// B11 / E41.
    Compras,
    /// B12, no electronic form.
    RegistroUnicoIngresos,
    /// B13 / E43.
    GastosMenores,
    /// B14 / E44.
    RegimenesEspeciales,
    /// B15 / E45.
    Gubernamental,
    /// B16 / E46.
    Exportaciones,
    /// B17 / E47.
    PagosExterior,
}

/// (document, code in B and the old series, code in E, Spanish name, Odoo's `l10n_do_ncf_type` without `e-`)
const DOCUMENTS: [(NcfDocument, u8, Option<u8>, &str, &str); 11] = [
    (NcfDocument::CreditoFiscal, 1, Some(31), "Factura de Crédito Fiscal", "fiscal"),
    (NcfDocument::Consumo, 2, Some(32), "Factura de Consumo", "consumer"),
    (NcfDocument::NotaDebito, 3, Some(33), "Nota de Débito", "debit_note"),
    (NcfDocument::NotaCredito, 4, Some(34), "Nota de Crédito", "credit_note"),
    (NcfDocument::Compras, 11, Some(41), "Comprobante de Compras", "informal"),
    (NcfDocument::RegistroUnicoIngresos, 12, None, "Registro Único de Ingresos", "unique"),
    (NcfDocument::GastosMenores, 13, Some(43), "Gastos Menores", "minor"),
    (NcfDocument::RegimenesEspeciales, 14, Some(44), "Regímenes Especiales", "special"),
    (NcfDocument::Gubernamental, 15, Some(45), "Gubernamental", "governmental"),
    (NcfDocument::Exportaciones, 16, Some(46), "Exportaciones", "export"),
    (NcfDocument::PagosExterior, 17, Some(47), "Pagos al Exterior", "exterior"),
];

/// A well-formed receipt number of a known type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ncf {
    text: String,
    series: NcfSeries,
    document: NcfDocument,
    sequence: u64,
}

/// Why a text is not a receipt number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NcfError {
    /// Nothing but blanks.
    #[error("the NCF is empty")]
    Empty,
    /// The first letter is none of B, E, A, P.
    #[error("an NCF begins with B, E, A or P, and this one with {0:?}")]
    UnknownSeries(char),
    /// Not the length that its first letter asks for.
    #[error("an NCF of series {series} has {wanted} characters, and this one {found}")]
    WrongLength {
        /// The first letter.
        series: char,
        /// 11 for B, 13 for E, 19 for A and P.
        wanted: usize,
        /// Characters found, separators not counted.
        found: usize,
    },
    /// Something other than ASCII digits after the first letter.
    #[error("after its first letter an NCF has only digits, and this one holds {0:?}")]
    ForeignCharacter(char),
    /// A type that the series does not have.
    #[error("series {series} has no receipt type {code:02}")]
    UnknownType {
        /// The first letter.
        series: char,
        /// The two digits.
        code: u8,
    },
}

impl Ncf {
    /// Reads a receipt number; blanks and dashes are dropped, letters may be small.
    ///
    /// # Errors
    /// [`NcfError`] says which part is wrong.
    pub fn parse(text: &str) -> Result<Self, NcfError> {
        let text: String = text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '-' | '\u{2010}'..='\u{2015}')).map(|c| c.to_ascii_uppercase()).collect();
        let letter = text.chars().next().ok_or(NcfError::Empty)?;
        let (series, wanted, type_at) = match letter {
            'B' => (NcfSeries::B, 11, 1),
            'E' => (NcfSeries::E, 13, 1),
            'A' | 'P' => (NcfSeries::Old, 19, 9),
            other => return Err(NcfError::UnknownSeries(other)),
        };
        if let Some(foreign) = text.chars().skip(1).find(|c| !c.is_ascii_digit()) {
            return Err(NcfError::ForeignCharacter(foreign));
        }
        if text.len() != wanted {
            return Err(NcfError::WrongLength { series: letter, wanted, found: text.len() });
        }
        let digits = |from: usize, to: usize| text[from..to].bytes().map(|d| d - b'0');
        let code = digits(type_at, type_at + 2).fold(0_u8, |n, d| n * 10 + d);
        let sequence = digits(type_at + 2, wanted).fold(0_u64, |n, d| n * 10 + u64::from(d));
        let found = DOCUMENTS.iter().find(|(_, b, e, ..)| match series {
            NcfSeries::E => *e == Some(code),
            NcfSeries::B => *b == code,
            // Types 16 and 17 came with series B.
            NcfSeries::Old => *b == code && code <= 15,
        });
        let document = found.ok_or(NcfError::UnknownType { series: letter, code })?.0;
        Ok(Self { text, series, document, sequence })
    }

    /// The normalised text: upper case, no separators.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How the number is built.
    #[must_use]
    pub fn series(&self) -> NcfSeries {
        self.series
    }

    /// What the receipt is.
    #[must_use]
    pub fn document(&self) -> NcfDocument {
        self.document
    }

    /// The two digits of the type as written (`01`, `31`).
    #[must_use]
    pub fn type_code(&self) -> &str {
        let at = if self.series == NcfSeries::Old { 9 } else { 1 };
        &self.text[at..at + 2]
    }

    /// The running number.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether this is an electronic receipt (e-CF).
    #[must_use]
    pub fn is_electronic(&self) -> bool {
        self.series == NcfSeries::E
    }

    /// The document's name in Spanish; an electronic one is the same document ([`Self::is_electronic`] tells).
    #[must_use]
    pub fn name_es(&self) -> &'static str {
        self.document.name_es()
    }

    /// The value of Odoo's `l10n_do_ncf_type`: `fiscal`, `e-fiscal`, …
    #[must_use]
    pub fn odoo_type(&self) -> String {
        format!("{}{}", if self.is_electronic() { "e-" } else { "" }, self.document.odoo_type())
    }

    /// Last day of an electronic number authorised on `authorised_on`: 31 December of the following year; types 32
    /// and 34 never expire. For other series the rule is not established here.
    #[must_use]
    pub fn expiry(&self, authorised_on: NaiveDate) -> NcfExpiry {
        match (self.series, self.document) {
            (NcfSeries::E, NcfDocument::Consumo | NcfDocument::NotaCredito) => NcfExpiry::Never,
            (NcfSeries::E, _) => NaiveDate::from_ymd_opt(authorised_on.year() + 1, 12, 31).map_or(NcfExpiry::Unknown, NcfExpiry::On),
            _ => NcfExpiry::Unknown,
        }
    }
}

/// Until when a receipt number may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NcfExpiry {
    /// It has no expiry.
    Never,
    /// The last day.
    On(NaiveDate),
    /// Not derivable from the number.
    Unknown,
}

impl NcfDocument {
    /// The document's name in Spanish.
    #[must_use]
    pub fn name_es(self) -> &'static str {
        self.row().3
    }

    /// Odoo's `l10n_do_ncf_type` of the series-B form.
    #[must_use]
    pub fn odoo_type(self) -> &'static str {
        self.row().4
    }

    /// When the buyer must be identified.
    #[must_use]
    pub fn buyer_id(self) -> BuyerId {
        match self {
            Self::CreditoFiscal => BuyerId::Required,
            Self::Consumo => BuyerId::RequiredFrom250000,
            _ => BuyerId::NotRequired,
        }
    }

    fn row(self) -> &'static (Self, u8, Option<u8>, &'static str, &'static str) {
        DOCUMENTS.iter().find(|row| row.0 == self).expect("every variant has its row, a test counts them")
    }
}

impl fmt::Display for Ncf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_shapes() {
        let b = Ncf::parse(" b01 0000 0123 ").unwrap();
        assert_eq!((b.as_str(), b.series(), b.type_code(), b.sequence()), ("B0100000123", NcfSeries::B, "01", 123));
        assert_eq!((b.name_es(), b.odoo_type().as_str()), ("Factura de Crédito Fiscal", "fiscal"));
        assert_eq!(b.document().buyer_id(), BuyerId::Required);
        let e = Ncf::parse("E320000000005").unwrap();
        assert_eq!((e.series(), e.document(), e.sequence(), e.odoo_type().as_str()), (NcfSeries::E, NcfDocument::Consumo, 5, "e-consumer"));
        assert!(e.is_electronic() && !b.is_electronic());
        let old = Ncf::parse("A010010010100000005").unwrap();
        assert_eq!((old.series(), old.type_code(), old.sequence()), (NcfSeries::Old, "01", 5));
        assert!(Ncf::parse("P010010011500000005").is_ok());
    }

    #[test]
    fn every_type_of_the_table_and_no_other() {
        let known = |series: char, width: usize| (0..100_u8).filter(|code| Ncf::parse(&format!("{series}{code:02}{:0width$}", 1)).is_ok()).collect::<Vec<_>>();
        assert_eq!(known('B', 8), [1, 2, 3, 4, 11, 12, 13, 14, 15, 16, 17]);
        assert_eq!(known('E', 10), [31, 32, 33, 34, 41, 43, 44, 45, 46, 47]);
        for (document, ..) in DOCUMENTS {
            assert!(!document.name_es().is_empty());
        }
        assert_eq!(Ncf::parse("E420000000001"), Err(NcfError::UnknownType { series: 'E', code: 42 }));
        assert!(Ncf::parse("A010010011600000005").is_err());
    }

    #[test]
    fn what_is_no_receipt_number() {
        for (text, error) in [
            ("", NcfError::Empty),
            ("C0100000001", NcfError::UnknownSeries('C')),
            ("B010000001", NcfError::WrongLength { series: 'B', wanted: 11, found: 10 }),
            ("E3100000001", NcfError::WrongLength { series: 'E', wanted: 13, found: 11 }),
            ("B01O0000001", NcfError::ForeignCharacter('O')),
            ("B01１0000001", NcfError::ForeignCharacter('１')),
            ("B0000000001", NcfError::UnknownType { series: 'B', code: 0 }),
        ] {
            assert_eq!(Ncf::parse(text), Err(error), "{text:?}");
        }
        assert_eq!(Ncf::parse(&format!("B0100000123{}9", " ".repeat(60))), Err(NcfError::WrongLength { series: 'B', wanted: 11, found: 12 }));
    }

    #[test]
    fn expiry_of_electronic_numbers() {
        let day = NaiveDate::from_ymd_opt(2026, 3, 1).unwrap();
        let expiry = |text: &str| Ncf::parse(text).unwrap().expiry(day);
        assert_eq!(expiry("E310000000001"), NcfExpiry::On(NaiveDate::from_ymd_opt(2027, 12, 31).unwrap()));
        assert_eq!(expiry("E320000000001"), NcfExpiry::Never);
        assert_eq!(expiry("E340000000001"), NcfExpiry::Never);
        assert_eq!(expiry("B0100000001"), NcfExpiry::Unknown);
    }
}
