//! From what a person said to what Odoo can search: words, patterns for `ilike` that overlook accents, and how well a text fits.
//!
//! Odoo's `ilike` minds accents unless the database has the `unaccent` extension, and offers no regular expressions. So letters that may
//! carry an accent become `_`, and what comes back too much is dropped here.

use crate::dgii::text::fold;

/// Most words of a query that are looked at.
pub(super) const WORDS_MAX: usize = 8;
/// Words up to this many letters are searched by exact variants: with wildcards they would fit nearly everything.
const SHORT_WORD_CHARS: usize = 4;
/// Two words of at least this similarity (Jaro–Winkler, 0 to 1) are taken for the same word misheard.
const SIMILAR_MIN: f64 = 0.86;
/// Words that say nothing when there are others.
const FILLERS: [&str; 13] = ["DE", "DEL", "LA", "EL", "LOS", "LAS", "UN", "UNA", "Y", "PARA", "CON", "SRL", "SA"];

/// The words of a query, without fillers unless there is nothing else.
pub(super) fn words(query: &str) -> Vec<String> {
    let all: Vec<String> = query.split_whitespace().filter(|word| !fold(word).is_empty()).take(WORDS_MAX * 2).map(str::to_owned).collect();
    let telling: Vec<String> = all.iter().filter(|word| !FILLERS.contains(&fold(&word.replace('.', "")).as_str())).cloned().collect();
    let mut kept = if telling.is_empty() { all } else { telling };
    kept.truncate(WORDS_MAX);
    kept
}

/// The singular of a word in the roughest sense, so that "sillas" finds "silla" and "cajones" finds "cajón".
pub(super) fn singular(word: &str) -> String {
    let letters: Vec<char> = word.chars().collect();
    let all_letters = letters.iter().all(|c| c.is_alphabetic());
    match letters.as_slice() {
        [stem @ .., 'e' | 'E', 's' | 'S'] if all_letters && stem.len() >= 4 && stem.last().is_some_and(|c| "nrldzjNRLDZJ".contains(*c)) => stem.iter().collect(),
        [stem @ .., 's' | 'S'] if all_letters && stem.len() >= 4 => stem.iter().collect(),
        _ => word.to_owned(),
    }
}

/// Patterns for `ilike` of which at least one fits wherever the word stands, with or without its accents. `%` and `\` are never passed on.
pub(super) fn patterns(word: &str) -> Vec<String> {
    let letters: Vec<char> = word.to_lowercase().chars().collect();
    if letters.len() > SHORT_WORD_CHARS {
        return vec![with_wildcards(&letters)];
    }
    let plain: Vec<char> = letters.iter().map(|c| plain_letter(*c)).collect();
    let text = |letters: &[char]| letters.iter().map(|c| if is_special(*c) { '_' } else { *c }).collect::<String>();
    let mut out = vec![text(&plain)];
    if plain != letters {
        out.push(text(&letters));
    }
    // A Spanish word carries one accent at most.
    for (index, letter) in plain.iter().enumerate() {
        let accented = match letter {
            'a' => 'á',
            'e' => 'é',
            'i' => 'í',
            'o' => 'ó',
            'u' => 'ú',
            'n' if plain.get(index + 1).is_some_and(|next| is_vowel(*next)) => 'ñ',
            _ => continue,
        };
        let mut variant = plain.clone();
        variant[index] = accented;
        out.push(text(&variant));
    }
    out
}

/// A pattern that also fits what a listener may have confused: b and v, s, c and z, ll and y, a silent h, double letters.
pub(super) fn loose_pattern(word: &str) -> String {
    let letters: Vec<char> = word.to_lowercase().chars().collect();
    let mut out = String::from("%");
    for (index, letter) in letters.iter().enumerate() {
        let doubled = index > 0 && letters[index - 1] == *letter;
        match letter {
            'h' | 'y' | 'l' | 'g' | 'j' | 'q' | 'u' if !out.ends_with('%') => out.push('%'),
            _ if doubled && !out.ends_with('%') => out.push('%'),
            'h' | 'y' | 'l' | 'g' | 'j' | 'q' | 'u' => {}
            _ if doubled => {}
            'b' | 'v' | 'w' | 's' | 'c' | 'z' | 'x' | 'k' | 'm' | 'n' => out.push('_'),
            other if is_vowel(plain_letter(*other)) || !other.is_ascii() || is_special(*other) => out.push('_'),
            other => out.push(*other),
        }
    }
    out
}

/// Whether every word stands in the text, accents and case apart.
pub(super) fn contains_all(text: &str, words: &[String]) -> bool {
    let text = fold(text);
    words.iter().all(|word| text.contains(&fold(word)))
}

/// How well a text fits the words, for ordering: whole equality first, then the beginning, then whole words, then short texts.
pub(super) fn rank(text: &str, query: &str, words: &[String]) -> u32 {
    let (text, query) = (fold(text), fold(query));
    if text == query {
        return 0;
    }
    let begins = text.starts_with(&query);
    let whole_words = words.iter().all(|word| text.split(' ').any(|part| part == fold(word)));
    let length = u32::try_from(text.len().min(999)).unwrap_or(999);
    let group = match (begins, whole_words) {
        (true, _) => 1,
        (false, true) => 2,
        (false, false) => 3,
    };
    group * 1_000 + length
}

/// How similar a text is to misheard words: the mean over the words of their best likeness in the text; none below the threshold.
pub(super) fn similarity(text: &str, words: &[String]) -> Option<f64> {
    let text = fold(text);
    let parts: Vec<&str> = text.split(' ').collect();
    let mut sum = 0.0;
    let mut hits = 0_u32;
    for word in words {
        let word = fold(word);
        let best = parts.iter().map(|part| strsim::jaro_winkler(&sound(&word), &sound(part))).fold(0.0, f64::max);
        if best >= SIMILAR_MIN {
            hits += 1;
            sum += best;
        }
    }
    let wanted = u32::try_from(words.len()).unwrap_or(u32::MAX);
    // All words but one must be there, and more than half of them.
    (hits > 0 && hits + 1 >= wanted && hits * 2 > wanted).then(|| sum / f64::from(wanted.max(1)))
}

/// Writes a folded word by its sound in Dominican Spanish, roughly.
fn sound(folded: &str) -> String {
    let mut out = String::with_capacity(folded.len());
    for c in folded.replace("LL", "Y").replace("QU", "K").replace("CE", "SE").replace("CI", "SI").replace('H', "").chars() {
        let c = match c {
            'V' => 'B',
            'Z' | 'X' => 'S',
            'C' => 'K',
            other => other,
        };
        if !out.ends_with(c) {
            out.push(c);
        }
    }
    out
}

fn with_wildcards(letters: &[char]) -> String {
    let mut out = String::with_capacity(letters.len());
    for (index, letter) in letters.iter().enumerate() {
        let plain = plain_letter(*letter);
        let before_vowel = letters.get(index + 1).is_some_and(|next| is_vowel(plain_letter(*next)));
        let wild = is_vowel(plain) || !letter.is_ascii() || (plain == 'n' && before_vowel) || is_special(*letter);
        out.push(if wild { '_' } else { *letter });
    }
    out
}

/// Wildcards and the escape of `ilike`.
fn is_special(c: char) -> bool {
    matches!(c, '%' | '_' | '\\')
}

fn is_vowel(c: char) -> bool {
    matches!(c, 'a' | 'e' | 'i' | 'o' | 'u')
}

fn plain_letter(c: char) -> char {
    match c {
        'á' | 'à' | 'ä' | 'â' => 'a',
        'é' | 'è' | 'ë' | 'ê' => 'e',
        'í' | 'ì' | 'ï' | 'î' => 'i',
        'ó' | 'ò' | 'ö' | 'ô' => 'o',
        'ú' | 'ù' | 'ü' | 'û' => 'u',
        'ñ' => 'n',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What PostgreSQL's ILIKE '%pattern%' does.
    fn ilike(text: &str, pattern: &str) -> bool {
        fn fits(text: &[char], pattern: &[char]) -> bool {
            match (pattern.first(), text.first()) {
                (None, _) => text.is_empty(),
                (Some('%'), _) => fits(text, &pattern[1..]) || (!text.is_empty() && fits(&text[1..], pattern)),
                (Some('_'), Some(_)) => fits(&text[1..], &pattern[1..]),
                (Some(p), Some(t)) => p == t && fits(&text[1..], &pattern[1..]),
                (Some(_), None) => false,
            }
        }
        let text: Vec<char> = text.to_lowercase().chars().collect();
        let pattern: Vec<char> = format!("%{pattern}%").chars().collect();
        fits(&text, &pattern)
    }

    fn found(text: &str, word: &str) -> bool {
        patterns(word).iter().any(|pattern| ilike(text, pattern)) && contains_all(text, &[word.to_owned()])
    }

    #[test]
    fn accents_do_not_matter() {
        for (text, word) in [
            ("Integración API", "integracion"),
            ("INTEGRACION", "integración"),
            ("Peña & Hijos", "pena"),
            ("PENA", "peña"),
            ("Sofá de dos plazas", "sofa"),
            ("Cajón negro", "cajon"),
            ("Lámpara", "lampara"),
            ("[E-COM12] Silla", "e-com12"),
            ("FURN_0001", "furn_0001"),
        ] {
            assert!(found(text, word), "{word} in {text}");
        }
        assert!(!found("Silla", "sella"), "a wildcard alone is not a hit");
        assert!(!patterns("sal").iter().any(|p| ilike("sol", p)), "short words are exact");
    }

    #[test]
    fn wildcards_of_the_caller_are_not_passed_on() {
        for word in ["%", "100%", "\\\\\\\\\\\\", "%%%%%%%%", "a%b_c\\d"] {
            for pattern in patterns(word) {
                assert!(!pattern.contains(['%', '\\']), "{word}: {pattern}");
            }
            assert!(!loose_pattern(word).contains('\\'), "{word}");
        }
        assert!(words("% _ \\").is_empty());
    }

    #[test]
    fn fillers_and_plurals_fall_away() {
        assert_eq!(words("la mesa de los niños"), ["mesa", "niños"]);
        assert_eq!(words("de la"), ["de", "la"]);
        assert_eq!(words("Nova S.R.L."), ["Nova"]);
        for (word, want) in [("sillas", "silla"), ("cajones", "cajon"), ("mes", "mes"), ("gas", "gas"), ("luces", "luce"), ("E-COM07s", "E-COM07s")] {
            assert_eq!(singular(word), want);
        }
    }

    #[test]
    fn better_fits_come_first() {
        let query = "silla de oficina";
        let words = words(query);
        let mut names = vec!["Protector de piso para silla de oficina", "Silla de oficina negra", "Silla de oficina", "Sillas para oficinas"];
        names.sort_by_key(|name| rank(name, query, &words));
        assert_eq!(names, ["Silla de oficina", "Silla de oficina negra", "Protector de piso para silla de oficina", "Sillas para oficinas"]);
    }

    #[test]
    fn misheard_words_are_recognised() {
        for (text, query) in [
            ("Ferretería Nova", "ferreteria noba"),
            ("Ferretería Nova SRL", "ferreteria nova santiago"),
            ("Silla de oficina", "siya de ofisina"),
            ("Hermanos Yunén", "ermanos llunen"),
        ] {
            assert!(similarity(text, &words(query)).is_some(), "{query} ~ {text}");
        }
        for (text, query) in [("Ferretería Nova", "colmado perez"), ("Mesa grande", "silla"), ("Ferretería Nova", "ferreteria hermanos almonte")] {
            assert!(similarity(text, &words(query)).is_none(), "{query} !~ {text}");
        }
        for (text, word) in [("Ferretería Nova", "noba"), ("Silla de oficina", "siya"), ("Silla de oficina", "ofisina"), ("Hermanos", "ermanos")] {
            assert!(ilike(text, &loose_pattern(word)), "{word} {}", loose_pattern(word));
        }
    }

    proptest! {
        #[test]
        fn a_word_is_found_where_it_stands(word in "[a-zA-ZáéíóúñÑÁÉ0-9]{1,12}", before in "[a-z ]{0,5}", after in "[ a-z]{0,5}") {
            let text = format!("{before}{word}{after}");
            prop_assert!(patterns(&word).iter().any(|pattern| ilike(&text, pattern)) || fold(&word).len() < word.chars().count(), "{word} {:?} {text}", patterns(&word));
        }
    }
}
