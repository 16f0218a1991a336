//! The reasons that the comment of a method names: the part after `Reasons:`, checked against the
//! enum.

use anyhow::{Result, bail};
use firstcome_proto::Reason;

/// The enum of all reasons.
pub const ENUM: &str = "firstcome.error.v1.Reason";
/// What the names of its values begin with.
pub const PREFIX: &str = "REASON_";
/// How comments begin to name them. The longest first: it contains the last.
const BEGINNINGS: [&str; 3] = ["Reasons of every method:", "Item reasons:", "Reasons:"];

/// A comment in its two parts.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What it says but for the reasons.
    pub text: String,
    /// As in "NOT_FOUND (also another's), INVALID_ARGUMENT"; empty when it names none.
    pub reasons: String,
}

/// Takes a comment apart; fails when it names what is no reason.
pub fn told(comment: &str) -> Result<Told> {
    let found = BEGINNINGS.iter().find_map(|beginning| comment.split_once(beginning));
    let Some((before, after)) = found else {
        return Ok(Told { text: comment.to_owned(), reasons: String::new() });
    };
    let (reasons, rest) = sentence(after);
    let bare = outside_parentheses(reasons);
    let strange = names(&bare).find(|name| Reason::from_name(name).is_none());
    if let Some(name) = strange {
        bail!("{name} is no reason, and stands among them in: {comment}");
    }
    let text = format!("{} {}", before.trim(), rest.trim()).trim().to_owned();
    Ok(Told { text, reasons: reasons.trim().to_owned() })
}

/// Up to the first full stop that stands in no parentheses, and what follows it.
fn sentence(text: &str) -> (&str, &str) {
    let mut depth = 0;
    for (place, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            '.' if depth == 0 => return (&text[..place], &text[place + 1..]),
            _ => {}
        }
    }
    (text, "")
}

/// What is said in parentheses is said about a reason.
fn outside_parentheses(text: &str) -> String {
    let mut depth = 0;
    let is_outside = |letter: &char| {
        depth += i32::from(*letter == '(') - i32::from(*letter == ')');
        depth == 0
    };
    text.chars().filter(is_outside).collect()
}

/// The words in capitals: what looks like a reason.
pub fn names(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|letter: char| !letter.is_ascii_uppercase() && letter != '_');
    words.filter(|word| word.len() > 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_taken_apart() {
        let table = [
            ("GetThing reads.", "GetThing reads.", ""),
            ("Reads. Reasons: NOT_FOUND (no. 1), FENCED.", "Reads.", "NOT_FOUND (no. 1), FENCED"),
            ("Holds. Item reasons: FENCED. Send again.", "Holds. Send again.", "FENCED"),
            ("All own. Reasons of every method: the token's.", "All own.", "the token's"),
        ];
        for (comment, text, reasons) in table {
            let wanted = Told { text: text.to_owned(), reasons: reasons.to_owned() };
            assert_eq!(told(comment).unwrap(), wanted, "{comment}");
        }
        assert!(told("Reads. Reasons: NOT_THERE.").is_err());
    }
}
