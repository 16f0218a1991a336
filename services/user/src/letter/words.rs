//! Amounts and spans in words.

use std::time::Duration;

use firstcome_proto::Money;

use crate::language::Language;

/// Currencies without minor units.
const WHOLE_CURRENCIES: [&str; 4] = ["CLP", "JPY", "KRW", "VND"];
const MINUTE: u64 = 60;

/// As in `129,000 KRW` and `12.90 EUR`, in every language.
pub fn amount(money: &Money) -> String {
    let currency = money.currency.as_str();
    let (whole, minor) = if WHOLE_CURRENCIES.contains(&currency) {
        (money.amount_minor, String::new())
    } else {
        (money.amount_minor / 100, format!(".{:02}", money.amount_minor % 100))
    };
    let digits = whole.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{grouped}{minor} {currency}")
}

/// In whole minutes, else in seconds: `3 minutes`, `3분`.
pub fn span(span: Duration, language: Language) -> String {
    let seconds = span.as_secs().max(1);
    let is_minutes = seconds.is_multiple_of(MINUTE);
    let count = if is_minutes { seconds / MINUTE } else { seconds };
    let plural = if count == 1 { "" } else { "s" };
    match (language, is_minutes) {
        (Language::English, true) => format!("{count} minute{plural}"),
        (Language::English, false) => format!("{count} second{plural}"),
        (Language::Korean, true) => format!("{count}분"),
        (Language::Korean, false) => format!("{count}초"),
    }
}

#[cfg(test)]
mod tests {
    use firstcome_proto::money::Currency;

    use super::*;

    #[test]
    fn amounts_have_the_minor_units_of_their_currency() {
        let check = |amount_minor, code, text| {
            let currency = Currency::parse(code).unwrap();
            assert_eq!(amount(&Money { amount_minor, currency }), text);
        };
        check(0, "KRW", "0 KRW");
        check(999, "KRW", "999 KRW");
        check(1_290, "EUR", "12.90 EUR");
        check(5, "USD", "0.05 USD");
        check(123_456_789, "USD", "1,234,567.89 USD");
    }

    #[test]
    fn spans_are_told_in_the_largest_unit_that_fits() {
        let check = |seconds, english, korean| {
            assert_eq!(span(Duration::from_secs(seconds), Language::English), english);
            assert_eq!(span(Duration::from_secs(seconds), Language::Korean), korean);
        };
        check(180, "3 minutes", "3분");
        check(60, "1 minute", "1분");
        check(90, "90 seconds", "90초");
        check(1, "1 second", "1초");
        check(0, "1 second", "1초");
    }
}
