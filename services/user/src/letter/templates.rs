//! The letters' words. A template of plain text begins with the subject, as in a folder's files:
//! `Subject: …`, an empty line, the body. Whatever is put into HTML is escaped, and a value that a
//! template names and nobody gives is a fault, not a gap.

use std::sync::LazyLock;

use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context, syntax::SyntaxConfig};

use super::Written;
use crate::language::Language;

macro_rules! sources {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("templates/", $name)))),*]
    };
}

/// Every template by its name.
const SOURCES: [(&str, &str); 23] = sources![
    "layout.html",
    "en/layout.html",
    "en/sign_up_code.txt",
    "en/sign_up_code.html",
    "en/already_here.txt",
    "en/already_here.html",
    "en/reset_code.txt",
    "en/reset_code.html",
    "en/password_changed.txt",
    "en/password_changed.html",
    "en/order.txt",
    "en/order.html",
    "ko/layout.html",
    "ko/sign_up_code.txt",
    "ko/sign_up_code.html",
    "ko/already_here.txt",
    "ko/already_here.html",
    "ko/reset_code.txt",
    "ko/reset_code.html",
    "ko/password_changed.txt",
    "ko/password_changed.html",
    "ko/order.txt",
    "ko/order.html",
];

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // A line that holds a block alone is no line of the letter.
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true)
        .build();
    environment.set_syntax(syntax.expect("the usual marks"));
    environment.set_auto_escape_callback(|name| {
        if name.ends_with(".html") { AutoEscape::Html } else { AutoEscape::None }
    });
    for (name, source) in SOURCES {
        environment.add_template(name, source).expect("a test reads every template");
    }
    environment
});

/// Writes the letter of this name.
pub fn write(language: Language, name: &str, values: Value) -> Written {
    let plain = render(language, &format!("{name}.txt"), values.clone());
    let (subject, text) = plain
        .strip_prefix("Subject: ")
        .and_then(|plain| plain.split_once("\n\n"))
        .expect("a test writes every letter, and each has a subject");
    let html_values = context! { subject => subject, ..values };
    let html = render(language, &format!("{name}.html"), html_values);
    Written { subject: subject.to_owned(), text: text.to_owned(), html }
}

fn render(language: Language, file: &str, values: Value) -> String {
    let name = format!("{}/{file}", language.word());
    let rendered = ENVIRONMENT.get_template(&name).and_then(|template| template.render(values));
    rendered.expect("a test writes every letter, so its values are there")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use firstcome_proto::{Money, OrderId, money::Currency};
    use uuid::Uuid;

    use super::super::{Letter, Matter};
    use super::*;
    use crate::{
        account::Email,
        code::{Code, Purpose},
        news::News,
    };

    const ORDER: &str = "00000000-0000-0000-0000-000000000007";

    /// Every letter there is, with what must be in both its parts.
    fn letters() -> Vec<(Matter, Vec<&'static str>)> {
        let code = Code::from_field(Purpose::Verify, "code", "012345").unwrap();
        let reset = Code::from_field(Purpose::Reset, "code", "CDFG3467").unwrap();
        let ttl = Duration::from_secs(180);
        let currency = Currency::parse("KRW").unwrap();
        let total = Money { amount_minor: 1_129_000, currency };
        let order = OrderId(Uuid::from_u128(7));
        let mut letters = vec![
            (Matter::SignUpCode { code, ttl }, vec!["012345"]),
            (Matter::AlreadyHere, vec![]),
            (Matter::ResetCode { code: reset, ttl }, vec!["CDFG3467"]),
            (Matter::PasswordChanged, vec![]),
        ];
        for news in News::ALL {
            let matter = Matter::Order { order, total, news };
            letters.push((matter, vec![ORDER, "1,129,000 KRW"]));
        }
        letters
    }

    fn write_to_ann(language: Language, matter: Matter) -> Written {
        let to = Email::from_field("to", "ann@example.com").unwrap();
        Letter { to, language, matter }.write()
    }

    #[test]
    fn every_letter_says_the_same_in_both_parts_of_both_languages() {
        for language in Language::ALL {
            for (matter, essentials) in letters() {
                let name = format!("{} {}", language.word(), matter.name());
                let written = write_to_ann(language, matter);
                let Written { subject, text, html } = &written;
                for essential in essentials {
                    assert!(text.contains(essential), "{name}: {text}");
                    assert!(html.contains(essential), "{name}: {html}");
                }
                assert!(!subject.is_empty() && !subject.contains('\n'), "{name}: {subject}");
                assert!(html.contains(&format!("<title>{subject}</title>")), "{name}: {html}");
                assert!(html.contains(&format!("<html lang=\"{}\">", language.word())), "{name}");
                // The language's own type, in the letter and below it, and not escaped.
                assert_eq!(html.matches("sans-serif").count(), 2, "{name}: {html}");
                assert!(!html.contains("font-family:&"), "{name}: {html}");
                assert!(text.len() > 40 && text.ends_with('\n'), "{name}: {text}");
                assert!(!text.contains("\n\n\n"), "{name} has a gap: {text}");
                for (part, marks) in [(text, ["{{", "{%", "<"]), (html, ["{{", "{%", "undefined"])]
                {
                    assert!(!marks.iter().any(|mark| part.contains(mark)), "{name}: {part}");
                }
                // Nothing is fetched when the letter is opened, and nothing in it can be run.
                for foreign in ["http://", "https://", "<img", "<script", "<link", "url("] {
                    assert!(!html.contains(foreign), "{name} has {foreign}");
                }
                let is_korean = |part: &str| part.chars().any(|it| ('가'..='힣').contains(&it));
                for part in [subject, text, html] {
                    assert_eq!(is_korean(part), language == Language::Korean, "{name}: {part}");
                }
            }
        }
    }

    #[test]
    fn each_letter_is_told_from_every_other_by_its_text() {
        let mut texts: Vec<String> = Vec::new();
        for language in Language::ALL {
            texts.extend(letters().into_iter().map(|(it, _)| write_to_ann(language, it).text));
        }
        let count = texts.len();
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), count);
    }

    #[test]
    fn what_is_put_into_html_is_escaped_and_into_text_is_not() {
        for language in Language::ALL {
            let values = context! { order => "<b>&\"'", total => "<i>1</i>", news => "ordered" };
            let written = write(language, "order", values);
            assert!(written.text.contains("<b>&\"'"), "{}", written.text);
            assert!(!written.html.contains("<b>") && !written.html.contains("<i>"));
            assert!(written.html.contains("&lt;b&gt;&amp;&quot;&#x27;"), "{}", written.html);
            assert!(written.html.contains("&lt;i&gt;1"), "{}", written.html);
        }
    }

    #[test]
    fn an_order_letter_tells_order_and_total() {
        let check = |news: News, said: &str| {
            let currency = Currency::parse("KRW").unwrap();
            let total = Money { amount_minor: 1_129_000, currency };
            let matter = Matter::Order { order: OrderId(Uuid::from_u128(7)), total, news };
            let text = write_to_ann(Language::English, matter).text;
            assert!(text.starts_with(said), "{text}");
            assert!(text.contains(&format!("Order: {ORDER}\nTotal: 1,129,000 KRW\n")), "{text}");
        };
        check(News::Ordered, "Thank you for your order. 1,129,000 KRW was paid;");
        check(News::Shipped, "Your order is with the carrier.");
        check(News::Cancelled { refunded: false }, "Your order is cancelled. Nothing was charged.");
        check(News::Cancelled { refunded: true }, "Your order is cancelled. 1,129,000 KRW goes");
        check(News::Refunded, "Your return has arrived. 1,129,000 KRW goes back");
    }
}
