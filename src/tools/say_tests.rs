use std::str::FromStr;

use proptest::prelude::*;

use super::*;

fn es(amount: &str, currency: &str) -> String {
    money(Language::Es, Decimal::from_str(amount).unwrap(), currency)
}

#[test]
fn money_in_dominican_spanish() {
    for (amount, want) in [
        ("2040.72", "dos mil cuarenta pesos con setenta y dos centavos"),
        ("1", "un peso"),
        ("0", "cero pesos"),
        ("0.01", "cero pesos con un centavo"),
        ("21.21", "veintiún pesos con veintiún centavos"),
        ("31", "treinta y un pesos"),
        ("100", "cien pesos"),
        ("101", "ciento un pesos"),
        ("1000", "mil pesos"),
        ("21000", "veintiún mil pesos"),
        ("500001", "quinientos mil un pesos"),
        ("1000000", "un millón de pesos"),
        ("1000100", "un millón cien pesos"),
        ("21000000.5", "veintiún millones de pesos con cincuenta centavos"),
        ("1000000000", "mil millones de pesos"),
        ("2.005", "dos pesos con un centavo"),
        ("2.995", "tres pesos"),
        ("-45.5", "menos cuarenta y cinco pesos con cincuenta centavos"),
        ("-0.001", "cero pesos"),
        ("1000000000000", "1000000000000 DOP"),
    ] {
        assert_eq!(es(amount, "DOP"), want, "{amount}");
    }
    assert_eq!(es("1.5", "USD"), "un dólar con cincuenta centavos");
    assert_eq!(es("1000000", "MXN"), "un millón MXN");
    assert_eq!(money(Language::En, Decimal::from_str("2040.72").unwrap(), "DOP"), "two thousand forty pesos and seventy-two centavos");
    assert_eq!(money(Language::En, Decimal::from_str("1.01").unwrap(), "USD"), "one dollar and one cent");
}

#[test]
fn dates_and_numbers_are_said() {
    let day = |y, m, d| NaiveDate::from_ymd_opt(y, m, d).unwrap();
    let today = day(2026, 11, 22);
    assert_eq!(date(Language::Es, day(2026, 11, 21), today), "veintiuno de noviembre");
    assert_eq!(date(Language::Es, day(2026, 1, 1), today), "primero de enero");
    assert_eq!(date(Language::Es, day(2025, 12, 31), today), "treinta y uno de diciembre de dos mil veinticinco");
    assert_eq!(date(Language::En, day(2026, 11, 21), today), "November 21st");
    assert_eq!(date(Language::En, day(2026, 11, 12), today), "November 12th");
    assert_eq!(document_number(Language::Es, "S00012"), "S doce");
    assert_eq!(document_number(Language::Es, "COT-2026/0007"), "COT-2026/0007");
    assert_eq!(document_number(Language::Es, "0031"), "treinta y uno");
    assert_eq!(document_number(Language::Es, "borrador"), "borrador");
    assert_eq!(quantity(Language::Es, 3.0), "tres");
    assert_eq!(quantity(Language::Es, 2.5), "2.5");
    assert_eq!(quantity(Language::Es, -1.0), "-1");
}

#[test]
fn an_rnc_is_read_in_groups_and_a_cedula_never_whole() {
    let say = |text| taxpayer_id(Language::Es, &TaxpayerId::parse(text).unwrap());
    assert!(say("131793916").contains("uno tres uno, siete nueve tres nueve uno, seis"));
    let cedula = say("00113918205");
    assert!(cedula.contains("dos cero cinco"), "{cedula}");
    assert!(!cedula.contains("uno tres nueve") && !cedula.contains("1139"), "{cedula}");
}

#[test]
fn lists_are_joined() {
    assert_eq!(list(Language::Es, &["a", "b", "c"]), "a, b y c");
    assert_eq!(list(Language::Es, &["café", "Inés"]), "café e Inés");
    assert_eq!(list(Language::Es, &["agua", "hielo"]), "agua y hielo");
    assert_eq!(list(Language::En, &["a", "b"]), "a and b");
    assert_eq!(list::<&str>(Language::Es, &[]), "");
}

#[test]
fn a_cut_keeps_whole_characters() {
    let long = "ñandú ".repeat(60);
    let short = cut(&long, PHRASE_CHARS_MAX);
    assert!(short.chars().count() <= PHRASE_CHARS_MAX && short.ends_with("ñandú…"), "{short}");
    assert_eq!(cut("corto", 220), "corto");
    assert_eq!(cut("ññññ", 4), "ññññ");
    assert_eq!(cut("ñññññ", 4), "ñññ…");
    assert_eq!(cut("ñ", 0), "…");
}

/// Reads Spanish number words back, by another road than the writer's: a running sum of word values.
fn read_es(words: &str) -> u64 {
    let (mut millions, mut thousands, mut units) = (0_u64, 0_u64, 0_u64);
    for word in words.split(' ') {
        match word {
            "y" => {}
            "mil" => thousands += units.max(1) * 1_000,
            "millón" | "millones" => {
                millions = (thousands + units) * 1_000_000;
                thousands = 0;
            }
            "un" => units += 1,
            "veintiún" => units += 21,
            "cien" => units += 100,
            other => {
                let at = |table: &[&str], unit: u64| table.iter().position(|w| *w == other).map(|i| i as u64 * unit);
                units += at(&SMALL_ES, 1).or_else(|| at(&TENS_ES, 10)).or_else(|| at(&HUNDREDS_ES, 100)).unwrap_or_else(|| panic!("{other} in {words}"));
            }
        }
        if matches!(word, "mil" | "millón" | "millones") {
            units = 0;
        }
    }
    millions + thousands + units
}

fn read_en(words: &str) -> u64 {
    let (mut total, mut part) = (0_u64, 0_u64);
    for word in words.split([' ', '-']) {
        let scale = match word {
            "hundred" => {
                part *= 100;
                continue;
            }
            "thousand" => 1_000,
            "million" => 1_000_000,
            "billion" => 1_000_000_000,
            other => {
                part += SMALL_EN
                    .iter()
                    .position(|w| *w == other)
                    .map(|i| i as u64)
                    .or_else(|| TENS_EN.iter().position(|w| *w == other).map(|i| i as u64 * 10))
                    .unwrap_or_else(|| panic!("{other} in {words}"));
                continue;
            }
        };
        total += part * scale;
        part = 0;
    }
    total + part
}

#[test]
fn every_number_up_to_ten_thousand_reads_back() {
    for value in 0..10_000 {
        assert_eq!(read_es(&number(Language::Es, value)), value);
        assert_eq!(read_es(&number_before_noun(Language::Es, value)), value);
        assert_eq!(read_en(&number(Language::En, value)), value);
    }
}

proptest! {
    #[test]
    fn numbers_read_back(value in 0..=NUMBER_MAX) {
        prop_assert_eq!(read_es(&number(Language::Es, value)), value);
        prop_assert_eq!(read_en(&number(Language::En, value)), value);
    }

    #[test]
    fn cuts_are_never_too_long(text in ".{0,300}", limit in 1_usize..250) {
        prop_assert!(cut(&text, limit).chars().count() <= limit);
    }
}

/// Every sentence of a locale file: its dotted key and its text. Our files use two-space steps, one line a key and `>-` blocks.
fn sentences(yaml: &str) -> Vec<(String, String)> {
    let mut path: Vec<String> = Vec::new();
    let mut out: Vec<(String, String)> = Vec::new();
    for line in yaml.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')) {
        let depth = (line.len() - line.trim_start().len()) / 2;
        let Some((key, value)) = line.trim().split_once(':').filter(|(key, _)| !key.contains(' ')) else {
            let (_, text) = out.last_mut().expect("a block belongs to the key before it");
            text.push_str(line.trim());
            continue;
        };
        path.truncate(depth);
        path.push(key.trim_matches('"').to_owned());
        if !value.trim().is_empty() {
            out.push((path.join("."), value.trim().to_owned()));
        }
    }
    out
}

fn facts_of(text: &str) -> Vec<&str> {
    let mut facts: Vec<&str> = text.split("%{").skip(1).filter_map(|rest| rest.split('}').next()).collect();
    facts.sort_unstable();
    facts
}

#[test]
fn both_languages_say_the_same() {
    let (es, en) = (sentences(include_str!("../../locales/es.yml")), sentences(include_str!("../../locales/en.yml")));
    assert!(es.len() > 150, "{} sentences", es.len());
    assert_eq!(es.iter().map(|(key, _)| key).collect::<Vec<_>>(), en.iter().map(|(key, _)| key).collect::<Vec<_>>());
    for ((key, spanish), (_, english)) in es.iter().zip(&en) {
        assert_eq!(facts_of(spanish), facts_of(english), "{key}");
        assert!(key == "_version" || text(Language::Es, key) != *key, "{key} is not found by its name");
    }
}

#[test]
fn every_error_has_its_sentences() {
    use crate::tools::error::Code;
    for code in Code::ALL {
        for language in [Language::Es, Language::En] {
            for part in ["mensaje", "que_hacer"] {
                let key = format!("errores.{}.{part}", code.as_str());
                assert_ne!(text(language, &key), key);
            }
        }
    }
}

#[test]
fn the_instructions_are_short() {
    for language in [Language::Es, Language::En] {
        let said = fill(language, "mcp.instrucciones", &[("empresa", &"Ñ".repeat(40))]);
        assert!(said.len() <= 1_024, "{} bytes", said.len());
    }
}
