//! How a voice says things: numbers, money, dates and identifiers in words, and sentences of at most [`PHRASE_CHARS_MAX`] characters.
//!
//! Not here: whole sentences, which live in `locales/` under `frases.`; here is only what goes into their `%{facts}`.
//! The number words are ours because no maintained crate has Spanish (num2words 1.2 knows English, French and Ukrainian).

use std::borrow::Cow;

use chrono::{Datelike, NaiveDate};
use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};

use crate::dgii::{IdKind, TaxpayerId};
use crate::text::{Language, fill, text};

/// The longest `frase`, characters: about fifteen seconds of speech.
pub const PHRASE_CHARS_MAX: usize = 220;
/// What is left of a name in any case, characters.
const NAME_CHARS_MIN: usize = 20;

/// A sentence of `locales/` with its facts, cut to [`PHRASE_CHARS_MAX`].
#[must_use]
pub fn phrase(language: Language, key: &str, facts: &[(&str, &str)]) -> String {
    cut(&spoken(&fill(language, key, facts)), PHRASE_CHARS_MAX)
}

/// One line without control characters, nor what is invisible or turns the reading direction: names come from Odoo as somebody wrote them.
fn spoken(text: &str) -> Cow<'_, str> {
    // Most texts are well-behaved: letters, signs, single blanks between them.
    let mut before = ' ';
    let plain = text.chars().all(|c| {
        let good = matches!(c, '!'..='~' | '\u{a1}'..='\u{ac}' | '\u{ae}'..='\u{17f}') || (c == ' ' && before != ' ');
        before = c;
        good
    });
    if plain && before != ' ' {
        return Cow::Borrowed(text);
    }
    let unseen = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    let seen: String = text.chars().filter(|c| !unseen(*c)).map(|c| if c.is_control() { ' ' } else { c }).collect();
    seen.split_whitespace().collect::<Vec<_>>().join(" ").into()
}

/// As [`phrase`], but what is too long is cut from one fact, a name, so that what stands behind it is heard.
#[must_use]
pub fn phrase_around(language: Language, key: &str, name: (&str, &str), facts: &[(&str, &str)]) -> String {
    let filled = |value: &str| {
        let mut all = vec![(name.0, value)];
        all.extend_from_slice(facts);
        fill(language, key, &all)
    };
    let spoken_name = spoken(name.1);
    let said = filled(&spoken_name);
    if said.chars().count() <= PHRASE_CHARS_MAX {
        return spoken(&said).into_owned();
    }
    let rest = filled("").chars().count();
    let said = filled(&cut(&spoken_name, PHRASE_CHARS_MAX.saturating_sub(rest).max(NAME_CHARS_MIN)));
    cut(&spoken(&said), PHRASE_CHARS_MAX)
}

/// The text in at most `chars_max` characters, cut between words where that loses little.
#[must_use]
pub fn cut(text: &str, chars_max: usize) -> String {
    let Some((end, _)) = text.char_indices().nth(chars_max) else { return text.to_owned() };
    // Room for the ellipsis, then back to the last blank unless that would lose more than a fifth.
    let end = text[..end].char_indices().next_back().map_or(0, |(index, _)| index);
    let head = &text[..end];
    let at = head.rfind(' ').filter(|blank| *blank * 5 >= end * 4).unwrap_or(end);
    format!("{}…", head[..at].trim_end_matches([' ', ',', ';', ':', '.']))
}

/// A money amount in words, without the sign of the currency: "dos mil cuarenta pesos con setenta y dos centavos".
///
/// Rounded half up to two places. Amounts of a trillion and more, which nobody says, stay in figures.
#[must_use]
pub fn money(language: Language, amount: Decimal, currency: &str) -> String {
    let rounded = amount.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero);
    let size = rounded.abs();
    let (Some(whole), Some(cents)) = (size.trunc().to_u64(), (size.fract() * Decimal::ONE_HUNDRED).to_u64()) else {
        return format!("{rounded} {currency}");
    };
    if whole > NUMBER_MAX {
        return format!("{rounded} {currency}");
    }
    let names = Unit::of(language, currency);
    // "un millón de pesos", but "un millón cien pesos".
    let of = if language == Language::Es && whole >= 1_000_000 && whole % 1_000_000 == 0 && names.known { "de " } else { "" };
    let mut out = String::new();
    if rounded.is_sign_negative() && !rounded.is_zero() {
        out.push_str(if language == Language::Es { "menos " } else { "minus " });
    }
    out.push_str(&number_before_noun(language, whole));
    out.push(' ');
    out.push_str(of);
    out.push_str(if whole == 1 { &names.one } else { &names.many });
    if cents > 0 {
        out.push_str(if language == Language::Es { " con " } else { " and " });
        out.push_str(&number_before_noun(language, cents));
        out.push(' ');
        out.push_str(if cents == 1 { names.cent } else { names.cents });
    }
    out
}

/// A currency's name in the plural; its code where we have none.
#[must_use]
pub fn currency(language: Language, code: &str) -> String {
    Unit::of(language, code).many.into_owned()
}

/// A quantity in words: whole numbers as words, others with their decimals ("dos punto cinco").
#[must_use]
pub fn quantity(language: Language, amount: f64) -> String {
    match Decimal::from_f64_retain(amount).map(|exact| exact.round_dp(3).normalize()) {
        Some(exact) if exact.is_integer() && !exact.is_sign_negative() => exact.to_u64().map_or_else(|| exact.to_string(), |whole| number(language, whole)),
        Some(exact) => exact.to_string(),
        None => amount.to_string(),
    }
}

/// A date in words, with its year only when it is not that of `today`: "veintiuno de noviembre".
#[must_use]
pub fn date(language: Language, day: NaiveDate, today: NaiveDate) -> String {
    let month = text(language, &format!("meses.{}", day.month()));
    let mut out = match language {
        Language::Es if day.day() == 1 => format!("primero de {month}"),
        Language::Es => format!("{} de {month}", number(language, u64::from(day.day()))),
        Language::En => format!("{month} {}", ordinal_en(day.day())),
    };
    if day.year() != today.year() {
        let year = u64::from(day.year().unsigned_abs());
        out.push_str(if language == Language::Es { " de " } else { " " });
        out.push_str(&number(language, year));
    }
    out
}

/// A taxpayer's number for a voice: an RNC digit by digit in groups of 3-5-1; of a cédula only the last three digits.
#[must_use]
pub fn taxpayer_id(language: Language, id: &TaxpayerId) -> String {
    let digits = id.digits();
    match id.kind() {
        IdKind::Rnc => {
            let groups = [&digits[..3], &digits[3..8], &digits[8..]];
            fill(language, "voz.rnc", &[("numero", &groups.map(|group| spelled(language, group)).join(", "))])
        }
        IdKind::Cedula => fill(language, "voz.cedula", &[("final", &spelled(language, &digits[8..]))]),
    }
}

/// A document number without its leading zeros: `S00012` is "S doce".
#[must_use]
pub fn document_number(language: Language, name: &str) -> String {
    let split = name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let (prefix, digits) = name.split_at(split);
    let prefix = prefix.trim_end_matches(['-', '/', ' ']);
    match digits.parse::<u64>() {
        Ok(value) if digits.len() <= 9 && prefix.chars().all(char::is_alphabetic) => format!("{prefix} {}", number(language, value)).trim().to_owned(),
        _ => name.to_owned(),
    }
}

/// Digits one by one: "uno tres uno". Anything else is left out.
#[must_use]
pub fn spelled(language: Language, digits: &str) -> String {
    digits.chars().filter_map(|c| c.to_digit(10)).map(|digit| number(language, u64::from(digit))).collect::<Vec<_>>().join(" ")
}

/// "a, b y c" ("e" before the sound of i).
#[must_use]
pub fn list<S: AsRef<str>>(language: Language, items: &[S]) -> String {
    match items {
        [] => String::new(),
        [only] => only.as_ref().to_owned(),
        [head @ .., last] => {
            let head: Vec<&str> = head.iter().map(AsRef::as_ref).collect();
            let last = last.as_ref();
            let and = match language {
                Language::En => "and",
                Language::Es if starts_with_i(last) => "e",
                Language::Es => "y",
            };
            format!("{} {and} {last}", head.join(", "))
        }
    }
}

fn starts_with_i(word: &str) -> bool {
    let lower = word.to_lowercase();
    (lower.starts_with(['i', 'í']) || lower.starts_with("hi") || lower.starts_with("hí")) && !lower.starts_with("hie") && !lower.starts_with("ia")
}

/// The greatest number in words.
const NUMBER_MAX: u64 = 999_999_999_999;

/// A number in words as it is counted: "veintiuno", "twenty-one". Above 999,999,999,999 it stays in figures.
#[must_use]
pub fn number(language: Language, value: u64) -> String {
    if value > NUMBER_MAX {
        return value.to_string();
    }
    match language {
        Language::Es => number_es(value, false),
        Language::En => number_en(value),
    }
}

/// As [`number`], in the form that stands before a masculine noun: "veintiún pesos".
fn number_before_noun(language: Language, value: u64) -> String {
    match language {
        Language::Es => number_es(value, true),
        Language::En => number_en(value),
    }
}

const SMALL_ES: [&str; 30] = [
    "cero",
    "uno",
    "dos",
    "tres",
    "cuatro",
    "cinco",
    "seis",
    "siete",
    "ocho",
    "nueve",
    "diez",
    "once",
    "doce",
    "trece",
    "catorce",
    "quince",
    "dieciséis",
    "diecisiete",
    "dieciocho",
    "diecinueve",
    "veinte",
    "veintiuno",
    "veintidós",
    "veintitrés",
    "veinticuatro",
    "veinticinco",
    "veintiséis",
    "veintisiete",
    "veintiocho",
    "veintinueve",
];
const TENS_ES: [&str; 10] = ["", "", "", "treinta", "cuarenta", "cincuenta", "sesenta", "setenta", "ochenta", "noventa"];
const HUNDREDS_ES: [&str; 10] = ["", "ciento", "doscientos", "trescientos", "cuatrocientos", "quinientos", "seiscientos", "setecientos", "ochocientos", "novecientos"];

/// `short`: "un" instead of a final "uno", as before a noun.
fn number_es(value: u64, short: bool) -> String {
    match value {
        1 if short => "un".to_owned(),
        21 if short => "veintiún".to_owned(),
        0..30 => SMALL_ES[index(value)].to_owned(),
        30..100 => joined(TENS_ES[index(value / 10)], value % 10, " y ", |rest| number_es(rest, short)),
        100 => "cien".to_owned(),
        101..1_000 => joined(HUNDREDS_ES[index(value / 100)], value % 100, " ", |rest| number_es(rest, short)),
        1_000..1_000_000 => {
            let head = if value / 1_000 == 1 { Cow::Borrowed("mil") } else { format!("{} mil", number_es(value / 1_000, true)).into() };
            joined(&head, value % 1_000, " ", |rest| number_es(rest, short))
        }
        _ => {
            let head = if value / 1_000_000 == 1 { Cow::Borrowed("un millón") } else { format!("{} millones", number_es(value / 1_000_000, true)).into() };
            joined(&head, value % 1_000_000, " ", |rest| number_es(rest, short))
        }
    }
}

const SMALL_EN: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS_EN: [&str; 10] = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];

fn number_en(value: u64) -> String {
    match value {
        0..20 => SMALL_EN[index(value)].to_owned(),
        20..100 => joined(TENS_EN[index(value / 10)], value % 10, "-", number_en),
        100..1_000 => joined(&format!("{} hundred", SMALL_EN[index(value / 100)]), value % 100, " ", number_en),
        1_000..1_000_000 => joined(&format!("{} thousand", number_en(value / 1_000)), value % 1_000, " ", number_en),
        1_000_000..1_000_000_000 => joined(&format!("{} million", number_en(value / 1_000_000)), value % 1_000_000, " ", number_en),
        _ => joined(&format!("{} billion", number_en(value / 1_000_000_000)), value % 1_000_000_000, " ", number_en),
    }
}

fn joined(head: &str, rest: u64, link: &str, words: impl Fn(u64) -> String) -> String {
    if rest == 0 { head.to_owned() } else { format!("{head}{link}{}", words(rest)) }
}

/// An index into one of the tables above; each caller has bounded it to the table's length.
fn index(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

fn ordinal_en(day: u32) -> String {
    let ending = match day {
        1 | 21 | 31 => "st",
        2 | 22 => "nd",
        3 | 23 => "rd",
        _ => "th",
    };
    format!("{day}{ending}")
}

/// The spoken names of a currency.
struct Unit {
    one: Cow<'static, str>,
    many: Cow<'static, str>,
    cent: &'static str,
    cents: &'static str,
    known: bool,
}

impl Unit {
    fn of(language: Language, currency: &str) -> Self {
        let (one, many, cent, cents) = match (language, currency) {
            (Language::Es, "DOP") => ("peso", "pesos", "centavo", "centavos"),
            (Language::Es, "USD") => ("dólar", "dólares", "centavo", "centavos"),
            (Language::Es, "EUR") => ("euro", "euros", "céntimo", "céntimos"),
            (Language::En, "DOP") => ("peso", "pesos", "centavo", "centavos"),
            (Language::En, "USD") => ("dollar", "dollars", "cent", "cents"),
            (Language::En, "EUR") => ("euro", "euros", "cent", "cents"),
            (Language::Es, _) => return Self::unknown(currency, "centésima", "centésimas"),
            (Language::En, _) => return Self::unknown(currency, "hundredth", "hundredths"),
        };
        Self { one: one.into(), many: many.into(), cent, cents, known: true }
    }

    fn unknown(currency: &str, cent: &'static str, cents: &'static str) -> Self {
        Self { one: currency.to_owned().into(), many: currency.to_owned().into(), cent, cents, known: false }
    }
}

#[cfg(test)]
#[path = "say_tests.rs"]
mod tests;
