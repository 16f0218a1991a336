//! Which products a list shows, and from where on.

use firstcome_mesh::page::{Cursor, Page};
use firstcome_proto::{Refusal, inventory_v1 as wire};
use uuid::Uuid;

use super::{Kind, check_category, check_text, wire::kind_of};

/// Characters of a query.
const QUERY_CHARS_MAX: usize = 100;
/// Characters of a token without filters, and of what filters add to it.
const CURSOR_CHARS: usize = 48;
const MARK_CHARS: usize = 16;

/// A list that was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing {
    /// What it shows.
    pub filters: Filters,
    /// How much of it, from where on.
    pub page: Page,
}

/// What a product must be to be shown; each empty one lets everything pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filters {
    /// Words to be found.
    pub query: Option<Query>,
    /// Exactly this category.
    pub category: Option<String>,
    /// This kind only.
    pub kind: Option<Kind>,
}

/// Words to be found: each is a part of the name, or each begins a word of name or description.
/// Postgres folds their case.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    words: Vec<String>,
}

impl Listing {
    /// Reads a request.
    pub fn read(request: &wire::ListProductsRequest) -> Result<Self, Refusal> {
        check_text("query", &request.query, 0, QUERY_CHARS_MAX)?;
        check_category(&request.category)?;
        let filters = Filters {
            query: Query::read(&request.query),
            category: Some(request.category.clone()).filter(|category| !category.is_empty()),
            kind: kind_of(request.kind)?,
        };
        let token = request.page_token.as_str();
        let cursor = match token {
            "" => "",
            token => filters.unmark(token).ok_or_else(|| {
                let want = "want the next_page_token of the last answer, with the same filters";
                Refusal::invalid("page_token", want)
            })?,
        };
        let page = Page::read(request.page_size, cursor)?;
        Ok(Self { filters, page })
    }

    /// The token that continues after this row.
    pub fn token(&self, last: Cursor) -> String {
        last.token() + &self.filters.mark()
    }

    /// True for what most visitors see first.
    pub fn is_front(&self) -> bool {
        self.filters == Filters::default() && self.page.before.is_none()
    }
}

impl Filters {
    /// What tells tokens of these filters from those of others; empty without filters.
    fn mark(&self) -> String {
        if *self == Self::default() {
            return String::new();
        }
        let digest = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{self:?}").as_bytes());
        let mut mark = digest.simple().to_string();
        mark.truncate(MARK_CHARS);
        mark
    }

    /// The cursor of a token that was given with these filters.
    fn unmark<'a>(&self, token: &'a str) -> Option<&'a str> {
        let (cursor, mark) = token.split_at_checked(CURSOR_CHARS)?;
        (mark == self.mark()).then_some(cursor)
    }
}

impl Query {
    fn read(text: &str) -> Option<Self> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        (!words.is_empty()).then_some(Self { words })
    }

    /// Each word, as it was written.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// The longest word, which an index narrows down best.
    pub fn longest(&self) -> &str {
        self.words.iter().max_by_key(|word| word.chars().count()).expect("a query has a word")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(query: &str, category: &str, kind: i32) -> wire::ListProductsRequest {
        let (query, category) = (query.to_owned(), category.to_owned());
        wire::ListProductsRequest { query, category, kind, ..Default::default() }
    }

    #[test]
    fn a_token_continues_the_list_it_came_from_and_no_other() {
        let requests = [
            request("", "", 0),
            request("shoe", "", 0),
            request("shoes", "", 0),
            request("", "shoe", 0),
            request("", "", 1),
            request("", "", 2),
            request("shoe", "shoe", 2),
        ];
        let cursor = Cursor { created_us: 7, id: Uuid::from_u128(9) };
        for (one, from) in requests.iter().enumerate() {
            let page_token = Listing::read(from).unwrap().token(cursor);
            for (other, to) in requests.iter().enumerate() {
                let next = Listing::read(&wire::ListProductsRequest {
                    page_token: page_token.clone(),
                    ..to.clone()
                });
                match next {
                    Ok(next) => assert_eq!((one, next.page.before), (other, Some(cursor))),
                    Err(refusal) => {
                        assert_ne!(one, other);
                        assert_eq!(refusal.violations[0].field, "page_token");
                    }
                }
            }
        }
        // Spaces are no words.
        assert_eq!(Listing::read(&request("  ", "", 0)).unwrap().filters, Filters::default());
    }

    #[test]
    fn words_are_taken_as_they_stand() {
        let query = Query::read(r"a 50%_\ it's").unwrap();
        assert_eq!(query.words(), ["a", r"50%_\", "it's"]);
        assert_eq!(Query::read("운동화 runner 100").unwrap().longest(), "runner");
    }

    #[test]
    fn faulty_filters_are_refused_by_field() {
        let long = "x".repeat(101);
        let cases = [
            (request(&long, "", 0), "query"),
            (request("a\0", "", 0), "query"),
            (request("", "Shoe", 0), "category"),
            (request("", "two words", 0), "category"),
            (request("", "", 3), "kind"),
        ];
        for (request, field) in cases {
            let refusal = Listing::read(&request).unwrap_err();
            assert_eq!(refusal.violations[0].field, field);
        }
    }
}
