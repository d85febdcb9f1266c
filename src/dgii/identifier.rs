//! Dominican taxpayer numbers: RNC (9 digits) and cédula (11 digits), with their check digits.
//!
//! Not a registry: that a number is well formed says nothing about whether it was ever issued, and a wrong check
//! digit does not prove the contrary (python-stdnum lists 601 issued numbers that fail). Rules and test vectors:
//! `reference/dgii.md` §1.1–1.3.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

const RNC_LEN: usize = 9;
const CEDULA_LEN: usize = 11;

/// Which of the two numbering schemes a number belongs to; its length decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IdKind {
    /// *Registro Nacional del Contribuyente*, 9 digits: companies (1…), non-profit and public bodies (4…).
    Rnc,
    /// *Cédula de identidad y electoral*, 11 digits: natural persons. Leading zeros count.
    Cedula,
}

/// A well-formed taxpayer number. Holding one says nothing about its check digit: see [`Self::check_digit_ok`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaxpayerId {
    // Digits left-aligned, zero bytes behind them; never anything but ASCII digits before `len`.
    digits: [u8; CEDULA_LEN],
    len: u8,
}

/// Why a text is not a taxpayer number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentifierError {
    /// Nothing but blanks and separators.
    #[error("the number is empty: give the 9 digits of an RNC or the 11 of a cédula")]
    Empty,
    /// Something that is neither an ASCII digit nor a separator.
    #[error("an RNC or cédula has only digits, and this text holds {0:?}")]
    ForeignCharacter(char),
    /// Digits, but neither 9 nor 11 of them.
    #[error("an RNC has 9 digits and a cédula 11; this text has {0}")]
    WrongLength(usize),
}

impl TaxpayerId {
    /// Reads a number as people write, paste or dictate it: blanks, dashes, dots, commas and slashes between the
    /// digits are dropped (`131-79391-6`, `1-31-79391-6`, `131 793 916`), and so is a label in front (`RNC:`).
    ///
    /// # Errors
    /// [`IdentifierError`] when what remains is not 9 or 11 ASCII digits.
    pub fn parse(text: &str) -> Result<Self, IdentifierError> {
        let mut digits = [0_u8; CEDULA_LEN];
        let mut len = 0_usize;
        // To the end, however far behind the number something else stands: a part of a text is not its number.
        for c in without_label(text).chars() {
            match c {
                '0'..='9' => {
                    if let Some(slot) = digits.get_mut(len) {
                        *slot = c as u8;
                    }
                    len += 1;
                }
                '-' | '.' | ',' | '/' | '\u{2010}'..='\u{2015}' => {}
                c if c.is_whitespace() => {}
                c => return Err(IdentifierError::ForeignCharacter(c)),
            }
        }
        match len {
            0 => Err(IdentifierError::Empty),
            RNC_LEN | CEDULA_LEN => Ok(Self { digits, len: if len == RNC_LEN { 9 } else { 11 } }),
            other => Err(IdentifierError::WrongLength(other)),
        }
    }

    /// The number from exactly 9 or 11 ASCII digits, as the listing writes it; `None` for anything else.
    #[must_use]
    pub fn from_digits(text: &[u8]) -> Option<Self> {
        if !text.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let len = match text.len() {
            RNC_LEN => 9,
            CEDULA_LEN => 11,
            _ => return None,
        };
        let mut digits = [0_u8; CEDULA_LEN];
        digits[..text.len()].copy_from_slice(text);
        Some(Self { digits, len })
    }

    /// The bare digits: the form that is stored, compared and written to Odoo's `vat`.
    ///
    /// # Panics
    /// Never: nothing but ASCII digits is ever stored.
    #[must_use]
    pub fn digits(&self) -> &str {
        std::str::from_utf8(self.bytes()).expect("only ASCII digits are ever stored")
    }

    /// As the DGII prints it: 3-5-1 for an RNC (`131-79391-6`), 3-7-1 for a cédula (`001-1391820-5`).
    #[must_use]
    pub fn formatted(&self) -> String {
        let d = self.digits();
        format!("{}-{}-{}", &d[..3], &d[3..d.len() - 1], &d[d.len() - 1..])
    }

    /// RNC or cédula.
    #[must_use]
    pub fn kind(&self) -> IdKind {
        if usize::from(self.len) == RNC_LEN { IdKind::Rnc } else { IdKind::Cedula }
    }

    /// Whether the last digit is the one the algorithm gives. About one dictation error in thirty passes for an
    /// RNC, and issued numbers exist that fail: use it as a hint, never as a gate.
    #[must_use]
    pub fn check_digit_ok(&self) -> bool {
        let d = self.bytes();
        let (base, last) = d.split_at(d.len() - 1);
        let wanted = match self.kind() {
            IdKind::Rnc => rnc_check_digit(base),
            IdKind::Cedula => luhn_check_digit(base),
        };
        last[0] == b'0' + wanted
    }

    /// The integer key of the index: value × 2 + (cédula?), so that `012345678` and an 11-digit number of the
    /// same value never meet. Fits in 38 bits.
    pub(super) fn key(&self) -> i64 {
        let value = self.bytes().iter().fold(0_i64, |n, d| n * 10 + i64::from(d - b'0'));
        value * 2 + i64::from(self.kind() == IdKind::Cedula)
    }

    /// The inverse of [`Self::key`]; `None` for a key that no number has.
    pub(super) fn from_key(key: i64) -> Option<Self> {
        let width = if key & 1 == 1 { CEDULA_LEN } else { RNC_LEN };
        Self::from_digits(format!("{:0width$}", key >> 1).as_bytes())
    }

    fn bytes(&self) -> &[u8] {
        &self.digits[..usize::from(self.len)]
    }
}

/// RNC: weights 7 9 8 6 5 4 3 2 over eight digits, remainder mod 11; 0 → 2, 1 → 1, else 11 − r (never 0).
pub(super) fn rnc_check_digit(base: &[u8]) -> u8 {
    const WEIGHTS: [u32; 8] = [7, 9, 8, 6, 5, 4, 3, 2];
    let sum: u32 = WEIGHTS.iter().zip(base).map(|(w, d)| w * u32::from(d - b'0')).sum();
    match sum % 11 {
        0 => 2,
        1 => 1,
        r => u8::try_from(11 - r).expect("11 - r lies between 1 and 9"),
    }
}

/// Cédula: Luhn, positions 2, 4, …, 10 of the ten-digit base doubled.
pub(super) fn luhn_check_digit(base: &[u8]) -> u8 {
    let sum: u8 = base
        .iter()
        .enumerate()
        .map(|(i, d)| {
            let value = (d - b'0') * if i % 2 == 1 { 2 } else { 1 };
            if value > 9 { value - 9 } else { value }
        })
        .sum();
    (10 - sum % 10) % 10
}

/// Drops `RNC`, `cédula` and the like in front of the digits: speech recognition and people put them there.
fn without_label(text: &str) -> &str {
    let text = text.trim_start();
    for label in ["rnc", "r.n.c.", "cedula", "cédula"] {
        if let Some(head) = text.get(..label.len())
            && head.to_lowercase() == label
        {
            return text[label.len()..].trim_start_matches([':', ' ', '.']);
        }
    }
    text
}

impl fmt::Display for TaxpayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.digits())
    }
}

/// A cédula is a person's: what lands in logs through `{:?}` shows its last three digits only.
impl fmt::Debug for TaxpayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            IdKind::Rnc => write!(f, "Rnc({})", self.digits()),
            IdKind::Cedula => write!(f, "Cedula(********{})", &self.digits()[CEDULA_LEN - 3..]),
        }
    }
}

impl FromStr for TaxpayerId {
    type Err = IdentifierError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl Serialize for TaxpayerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.digits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> TaxpayerId {
        TaxpayerId::parse(text).unwrap()
    }

    #[test]
    fn every_way_of_writing_gives_the_same_number() {
        for text in ["131793916", "131-79391-6", "1-31-79391-6", " 131 793 916 ", "RNC: 131.793.916", "rnc 131, 79391, 6", "131–79391–6"] {
            assert_eq!(id(text).digits(), "131793916", "{text}");
            assert_eq!(id(text).formatted(), "131-79391-6");
            assert_eq!(id(text).kind(), IdKind::Rnc);
            assert!(id(text).check_digit_ok());
        }
        assert_eq!(id("cédula 001-1391820-5").digits(), "00113918205");
        assert_eq!(id("00113918205").formatted(), "001-1391820-5");
        assert_eq!(id("00113918205").kind(), IdKind::Cedula);
    }

    #[test]
    fn check_digits_of_the_reference() {
        let good = [
            "131098193",
            "131566332",
            "132116852",
            "101010632",
            "401007551",
            "401506254",
            "101850043",
            "131246796",
            "122011226",
            "101637587",
            "814387152",
            "999999001",
            "00113918205",
            "00113918213",
            "99999990007",
        ];
        let bad = ["101850042", "112031226", "131880600", "101000001", "00114272360", "05500023407", "00113918204", "40211111111", "00112345678"];
        for text in good {
            assert!(id(text).check_digit_ok(), "{text}");
        }
        for text in bad {
            assert!(!id(text).check_digit_ok(), "{text}");
        }
    }

    #[test]
    fn the_white_list_of_stdnum_fails_the_algorithm_but_parses() {
        for text in ["101581601", "131188691", "401007374", "501341601", "505038691"] {
            assert!(!id(text).check_digit_ok(), "{text}");
        }
        assert_eq!(TaxpayerId::parse("10233317"), Err(IdentifierError::WrongLength(8)));
    }

    #[test]
    fn what_is_no_number() {
        for (text, error) in [
            ("", IdentifierError::Empty),
            (" - . ", IdentifierError::Empty),
            ("12345678", IdentifierError::WrongLength(8)),
            ("1234567890", IdentifierError::WrongLength(10)),
            ("123456789012", IdentifierError::WrongLength(12)),
            ("1018A0043", IdentifierError::ForeignCharacter('A')),
            ("１３１７９３９１６", IdentifierError::ForeignCharacter('１')),
            ("13179391²", IdentifierError::ForeignCharacter('²')),
        ] {
            assert_eq!(TaxpayerId::parse(text), Err(error), "{text:?}");
        }
        assert!(TaxpayerId::parse(&"1".repeat(1_000_000)).is_err());
        assert_eq!(TaxpayerId::parse(&format!("131793916{}7", " ".repeat(60))), Err(IdentifierError::WrongLength(10)));
    }

    #[test]
    fn keys_are_unique_and_reversible() {
        let (short, long) = (id("012345678"), id("00012345678"));
        assert_ne!(short.key(), long.key());
        for number in [short, long, id("000000000"), id("99999999999"), id("131793916")] {
            assert_eq!(TaxpayerId::from_key(number.key()), Some(number));
        }
        assert_eq!(TaxpayerId::from_key(1_000_000_000 * 2), None);
    }

    #[test]
    fn a_cedula_is_masked_in_logs() {
        assert_eq!(format!("{:?}", id("00113918205")), "Cedula(********205)");
        assert_eq!(format!("{:?}", id("131793916")), "Rnc(131793916)");
    }
}
