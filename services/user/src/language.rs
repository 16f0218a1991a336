//! The languages that our letters speak. No I/O.

/// One of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English, unless somebody says otherwise.
    #[default]
    English,
    /// Korean.
    Korean,
}

impl Language {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::English, Self::Korean];

    /// As it is stored, and as HTML names it.
    pub fn word(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Korean => "ko",
        }
    }

    /// Reads what [`Self::word`] wrote.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.word() == word)
    }
}
