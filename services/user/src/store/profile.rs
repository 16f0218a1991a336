//! What a user tells of itself.

use firstcome_proto::UserId;

use super::{Store, language, sealing, state};
use crate::{
    account::{Greeting, ImageUrl, Name, Phone},
    error::Error,
    language::Language,
    profile::{Profile, Update},
};

/// The row, before it is opened.
struct Row {
    email_sealed: Option<Vec<u8>>,
    name_sealed: Option<Vec<u8>>,
    phone_sealed: Option<Vec<u8>>,
    greeting_sealed: Option<Vec<u8>>,
    image_url_sealed: Option<Vec<u8>>,
    language: String,
    state: String,
    created_at: time::OffsetDateTime,
}

impl Store {
    /// Reads a profile; `None` when the account is gone.
    pub async fn profile(&self, user: UserId) -> Result<Option<Profile>, Error> {
        let row = sqlx::query_as!(
            Row,
            "select email_sealed, name_sealed, phone_sealed, greeting_sealed, image_url_sealed,
                    language, state, created_at
             from users where user_id = $1 and state <> 'DELETED'",
            user.0
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| self.open_profile(user, row)).transpose()
    }

    /// Sets what the update names, and leaves the rest; `None` when the account is gone.
    pub async fn update_profile(
        &self,
        user: UserId,
        update: &Update,
    ) -> Result<Option<Profile>, Error> {
        let Update { name, phone, greeting, image_url, language } = update;
        let seal = |column, text: Option<&str>| text.map(|text| self.seal(column, user.0, text));
        let row = sqlx::query_as!(
            Row,
            "update users
             set name_sealed = coalesce($2, name_sealed), phone_sealed = coalesce($3, phone_sealed),
                 greeting_sealed = coalesce($4, greeting_sealed),
                 image_url_sealed = coalesce($5, image_url_sealed),
                 language = coalesce($6, language), updated_at = clock_timestamp()
             where user_id = $1 and state <> 'DELETED'
             returning email_sealed, name_sealed, phone_sealed, greeting_sealed, image_url_sealed,
                       language, state, created_at",
            user.0,
            seal(sealing::NAME, name.as_ref().map(Name::as_str)),
            seal(sealing::PHONE, phone.as_ref().map(Phone::as_str)),
            seal(sealing::GREETING, greeting.as_ref().map(Greeting::as_str)),
            seal(sealing::IMAGE_URL, image_url.as_ref().map(ImageUrl::as_str)),
            language.map(Language::word)
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| self.open_profile(user, row)).transpose()
    }

    fn open_profile(&self, user: UserId, row: Row) -> Result<Profile, Error> {
        let open = |column, sealed: Option<Vec<u8>>| {
            let text = sealed.map(|sealed| self.open(column, user.0, &sealed));
            Ok::<_, Error>(text.transpose()?.unwrap_or_default())
        };
        Ok(Profile {
            user,
            email: open(sealing::EMAIL, row.email_sealed)?,
            name: open(sealing::NAME, row.name_sealed)?,
            phone: open(sealing::PHONE, row.phone_sealed)?,
            greeting: open(sealing::GREETING, row.greeting_sealed)?,
            image_url: open(sealing::IMAGE_URL, row.image_url_sealed)?,
            language: language(&row.language)?,
            state: state(&row.state)?,
            created_at: row.created_at,
        })
    }
}
