//! Text of the listing: repairing what the file garbled (rule R8), and folding names for search.
//!
//! The files are ISO-8859-1 with leftovers of older DOS code pages; a strict decoder fails on them, Latin-1 never
//! does. Nothing here knows about records.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Decodes Latin-1 and applies rule R8: the DOS leftovers between two letters are repaired (`¤`/`¥` → Ñ or ñ,
/// 0x90 → É), controls, tabs and NBSP become blanks, runs of blanks collapse, the ends are trimmed.
#[must_use]
pub fn clean(raw: &[u8]) -> String {
    let mut out = String::with_capacity(raw.len() + 2);
    let mut blank_due = false;
    for (i, &byte) in raw.iter().enumerate() {
        let neighbours = || Some((*raw.get(i.checked_sub(1)?)?, *raw.get(i + 1)?)).filter(|(a, b)| is_letter(*a) && is_letter(*b));
        let c = match byte {
            0xA4 | 0xA5 | 0x90 => match neighbours() {
                Some(_) if byte == 0x90 => 'É',
                Some((before, after)) if reads_upper(before, after) => 'Ñ',
                Some(_) => 'ñ',
                None => char::from(byte),
            },
            other => char::from(other),
        };
        if matches!(c, '\0'..=' ' | '\u{7f}'..='\u{a0}') {
            blank_due = !out.is_empty();
        } else {
            if blank_due {
                out.push(' ');
                blank_due = false;
            }
            out.push(c);
        }
    }
    out
}

/// Whether [`clean`] would leave nothing.
#[must_use]
pub fn is_blank(raw: &[u8]) -> bool {
    raw.iter().all(|b| matches!(b, 0..=b' ' | 0x7f..=0xa0))
}

/// The bytes without blanks at both ends, in the sense of the reference reader (Unicode white space of Latin-1).
#[must_use]
pub(super) fn strip(raw: &[u8]) -> &[u8] {
    let blank = |b: &u8| matches!(b, 0x09..=0x0d | 0x1c..=0x20 | 0x85 | 0xa0);
    let start = raw.iter().position(|b| !blank(b)).unwrap_or(raw.len());
    let end = raw.iter().rposition(|b| !blank(b)).map_or(start, |i| i + 1);
    &raw[start..end]
}

/// A letter for rule R8: ASCII letters and 0xC0–0xFF.
fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte >= 0xC0
}

/// Both cased neighbours upper case, and at least one cased (× and ÷ are not).
fn reads_upper(before: u8, after: u8) -> bool {
    let pair = [char::from(before), char::from(after)];
    pair.iter().any(|c| c.is_uppercase()) && !pair.iter().any(|c| c.is_lowercase())
}

/// Folds a text for search: marks dropped (Ñ → N, É → E), upper case, everything but `A–Z 0–9` a single blank.
#[must_use]
pub fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut push = |c: char| {
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_uppercase());
        } else if !out.is_empty() && !out.ends_with(' ') {
            out.push(' ');
        }
    };
    // The letters of Spanish are known without the tables of all the others.
    let spanish = |c: char| match c {
        '\0'..='\x7f' => Some(c),
        'Á' | 'á' => Some('A'),
        'É' | 'é' => Some('E'),
        'Í' | 'í' => Some('I'),
        'Ó' | 'ó' => Some('O'),
        'Ú' | 'ú' | 'Ü' | 'ü' => Some('U'),
        'Ñ' | 'ñ' => Some('N'),
        _ => None,
    };
    if text.chars().all(|c| spanish(c).is_some()) {
        text.chars().filter_map(spanish).for_each(push);
    } else {
        for c in text.nfkd().filter(|c| !is_combining_mark(*c)) {
            match c {
                'Æ' | 'æ' => "AE".chars().for_each(&mut push),
                'Ø' | 'ø' => push('O'),
                'ß' => "SS".chars().for_each(&mut push),
                'Ð' | 'ð' | 'Đ' | 'đ' => push('D'),
                'Þ' | 'þ' => "TH".chars().for_each(&mut push),
                'Ł' | 'ł' => push('L'),
                c => push(c),
            }
        }
    }
    if out.ends_with(' ') {
        out.pop();
    }
    out
}

/// Legal forms as folded word sequences, longest first; spoken letters ("ese erre ele") included.
const LEGAL_FORMS: &[&[&str]] = &[
    &["S", "EN", "C", "POR", "A"],
    &["E", "I", "R", "L"],
    &["ESE", "ERRE", "ELE"],
    &["C", "POR", "A"],
    &["S", "EN", "C"],
    &["S", "R", "L"],
    &["S", "A", "S"],
    &["C", "X", "A"],
    &["S", "A"],
    &["EIRL"],
    &["SRL"],
    &["SAS"],
    &["SA"],
    &["CXA"],
    &["CORP"],
    &["INC"],
    &["LTD"],
    &["LTDA"],
    &["LLC"],
];

/// Words that people add or leave out when they say a name.
const PARTICLES: &[&str] = &["DE", "DEL", "LA", "LAS", "LOS", "EL", "Y", "E", "EN"];

/// The words of a folded text without the legal forms at its end; a text that is nothing else stays as it is.
#[must_use]
pub fn without_legal_form(folded: &str) -> Vec<&str> {
    let mut words: Vec<&str> = folded.split(' ').filter(|w| !w.is_empty()).collect();
    while let Some(form) = LEGAL_FORMS.iter().find(|form| words.len() > form.len() && words.ends_with(form)) {
        words.truncate(words.len() - form.len());
    }
    words
}

/// Whether a folded word is a particle (`DE`, `LA`, `Y`, …).
#[must_use]
pub(super) fn is_particle(word: &str) -> bool {
    PARTICLES.contains(&word)
}

/// A stable 64-bit hash (FNV-1a) of a name without its legal form: the key of exact matches. Collisions do no
/// harm, the reader compares the names themselves.
#[must_use]
pub(super) fn name_hash(words: &[&str]) -> i64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in words.iter().flat_map(|w| w.bytes().chain(std::iter::once(b' '))) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash.cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_r8_repairs_and_collapses() {
        assert_eq!(clean(b"PE\xA4A  N\xA5"), "PEÑA N¥");
        assert_eq!(clean(b"pe\xA5a"), "peña");
        assert_eq!(clean(b"Pe\xA4A"), "PeñA");
        assert_eq!(clean(b"CAF\x90S"), "CAFÉS");
        assert_eq!(clean(b"CAF\x90 "), "CAF");
        assert_eq!(clean(b"A\xA0B\tC\0D\x85"), "A B C D");
        assert_eq!(clean(b" \xD1U\xD1EZ "), "ÑUÑEZ");
        assert_eq!(clean(b"\xD7\xA4\xF7"), "×ñ÷");
        assert_eq!(clean(b"\x1a\r \xa0"), "");
        assert!(is_blank(b"\x1a\r \xa0") && !is_blank(b" .") && is_blank(b""));
        assert_eq!(strip(b"\xa0 12 \x1f"), b"12");
        assert_eq!(strip(b"  "), b"");
    }

    #[test]
    fn folding_leaves_plain_words() {
        assert_eq!(fold("  Peña & Núñez, S.R.L. "), "PENA NUNEZ S R L");
        assert_eq!(fold("O'Reilly"), "O REILLY");
        assert_eq!(fold("Straße Nº 5"), "STRASSE NO 5");
        assert_eq!(fold("ÇA-VÀ 24"), "CA VA 24");
        assert_eq!(fold("¿?"), "");
        assert_eq!(fold(&fold("Compañía 'X'")), fold("Compañía 'X'"));
    }

    #[test]
    fn legal_forms_go_from_the_end_only() {
        for text in ["INDEXA SRL", "INDEXA S R L", "INDEXA", "INDEXA SRL SRL", "INDEXA C POR A", "INDEXA ESE ERRE ELE"] {
            assert_eq!(without_legal_form(text), ["INDEXA"], "{text}");
        }
        assert_eq!(without_legal_form("SA PEREZ S A"), ["SA", "PEREZ"]);
        assert_eq!(without_legal_form("SRL"), ["SRL"]);
        assert!(without_legal_form("").is_empty());
    }
}
