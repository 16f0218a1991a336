//! Key-set paging: the token names the last row seen, so rows that come and go shift nothing.

use firstcome_proto::Refusal;
use uuid::Uuid;

/// Rows of a page when the caller does not say.
pub const SIZE_DEFAULT: i32 = 10;
/// Rows of a page at most.
pub const SIZE_MAX: i32 = 100;

/// A page that was asked for: rows strictly older than `before`, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Rows wanted.
    pub size: i64,
    /// The last row of the page before; `None` for the first page.
    pub before: Option<Cursor>,
}

/// A row's place in a list that is ordered by creation, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Microseconds since 1970: Postgres's own resolution.
    pub created_us: i64,
    /// Breaks ties.
    pub id: Uuid,
}

impl Page {
    /// Reads `page_size` and `page_token`.
    pub fn read(size: i32, token: &str) -> Result<Self, Refusal> {
        let size = match size {
            0 => SIZE_DEFAULT,
            1..=SIZE_MAX => size,
            _ => return Err(Refusal::invalid("page_size", "want 1 to 100, or 0 for 10")),
        };
        let before = match token {
            "" => None,
            token => Some(Cursor::parse(token).ok_or_else(|| {
                Refusal::invalid("page_token", "want the next_page_token of the last answer")
            })?),
        };
        Ok(Self { size: i64::from(size), before })
    }

    /// Cuts rows, of which one more than the page's was asked for, and gives the token of the next
    /// page: empty on the last one.
    pub fn cut<T>(self, rows: &mut Vec<T>, cursor_of: impl Fn(&T) -> Cursor) -> String {
        let size = usize::try_from(self.size).expect("a page has 1 to 100 rows");
        let more = rows.len() > size;
        rows.truncate(size);
        match rows.last() {
            Some(last) if more => cursor_of(last).token(),
            _ => String::new(),
        }
    }
}

impl Cursor {
    /// Newer than every row: where the first page begins. Its time is in the year 8307, which
    /// Postgres can still hold.
    pub const END: Self = Self { created_us: 200_000_000_000_000_000, id: Uuid::max() };

    /// The opaque token that continues after this row.
    pub fn token(self) -> String {
        format!("{:016x}{}", self.created_us, self.id.simple())
    }

    fn parse(token: &str) -> Option<Self> {
        if token.len() != 48 || !token.is_ascii() {
            return None;
        }
        let created_us = i64::from_str_radix(&token[..16], 16).ok()?;
        if !(0..=Self::END.created_us).contains(&created_us) {
            return None;
        }
        let id = Uuid::try_parse(&token[16..]).ok()?;
        Some(Self { created_us, id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_rubbish_does_not() {
        let cursor = Cursor { created_us: 1_700_000_000_000_001, id: Uuid::from_u128(7) };
        let page = Page::read(0, &cursor.token()).unwrap();
        assert_eq!(page, Page { size: 10, before: Some(cursor) });
        for rubbish in ["x", &"z".repeat(48), &"é".repeat(24)] {
            assert!(Page::read(1, rubbish).is_err(), "{rubbish}");
        }
        for size in [-1, 101, i32::MAX] {
            assert!(Page::read(size, "").is_err(), "{size}");
        }
    }

    #[test]
    fn a_page_is_cut_where_one_more_row_says_that_there_is_another() {
        let cursor = |number: &i64| Cursor { created_us: *number, id: Uuid::nil() };
        let page = Page::read(2, "").unwrap();
        for (found, kept, next) in [
            (vec![], vec![], String::new()),
            (vec![9, 8], vec![9, 8], String::new()),
            (vec![9, 8, 7], vec![9, 8], cursor(&8).token()),
        ] {
            let mut rows = found;
            assert_eq!((page.cut(&mut rows, cursor), rows), (next, kept));
        }
    }
}
