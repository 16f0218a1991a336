//! Sessions: opened by a log-in, moved on by a refresh, ended in many ways and in one place.

use std::{net::IpAddr, time::Duration};

use firstcome_mesh::page::Page;
use firstcome_proto::{Refusal, SessionId, UserId};
use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Store, interval, role, sealing, state};
use crate::{
    account::{Account, Device, Role},
    error::Error,
    session::{Listed, RefreshToken, Session},
};

/// Which of a user's sessions end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// This one.
    One(SessionId),
    /// Every other one.
    AllBut(SessionId),
    /// Every one.
    All,
}

/// Ends sessions, in the transaction of whatever ends them. No other statement ends one, or may:
/// here what they tell of their devices is erased too. The edges hear of each end by a trigger, see
/// `0007_revocations.sql`.
pub(super) async fn end_sessions(
    transaction: &mut PgConnection,
    user: UserId,
    ending: Ending,
) -> Result<(), sqlx::Error> {
    let (only, but) = match ending {
        Ending::One(session) => (Some(session.0), None),
        Ending::AllBut(session) => (None, Some(session.0)),
        Ending::All => (None, None),
    };
    // Locked in one order, so that two endings of one user wait for each other and go on.
    sqlx::query!(
        "with ending as materialized (
             select session_id from sessions
             where user_id = $1 and ended_at is null
               and ($2::uuid is null or session_id = $2)
               and ($3::uuid is null or session_id <> $3)
             order by session_id for update
         )
         update sessions
         set ended_at = clock_timestamp(), device_sealed = null, address_sealed = null
         from ending where sessions.session_id = ending.session_id",
        user.0,
        only,
        but
    )
    .execute(&mut *transaction)
    .await?;
    Ok(())
}

impl Store {
    /// Opens a session with its first refresh token, and wakes its account; a session that is there
    /// is left as it is. False when the password that was looked at is no longer the account's, or
    /// the account may not be let in any more: what ends all sessions leaves none behind.
    pub async fn open_session(
        &self,
        account: &Account,
        first: &RefreshToken,
        ttl: Duration,
        device: &Device,
        from: Option<IpAddr>,
    ) -> Result<bool, Error> {
        let (session, hash) = (first.session.0, first.hash());
        let device = Some(device.as_str()).filter(|device| !device.is_empty());
        let may_enter = sqlx::query_scalar!(
            r#"with woken as (
                 update users set state = 'ACTIVE', last_login_at = clock_timestamp()
                 where user_id = $2 and password_hash = $6 and state in ('ACTIVE', 'DORMANT')
                 returning user_id
             ), opened as (
                 insert into sessions (session_id, user_id, generation, refresh_hash, expires_at,
                                       device_sealed, address_sealed)
                 select $1, user_id, $3, $4, clock_timestamp() + $5::interval, $7, $8 from woken
                 on conflict (session_id) do nothing
             )
             select exists (select from woken) as "may_enter!""#,
            session,
            account.id.0,
            first.generation,
            hash.as_slice(),
            interval(ttl),
            account.password_hash,
            device.map(|device| self.seal(sealing::DEVICE, session, device)),
            self.seal_address(session, from)
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(may_enter)
    }

    /// Reads a session; a rotation within `replay` counts as fresh.
    pub async fn session(&self, id: SessionId, replay: Duration) -> Result<Option<Session>, Error> {
        let row = sqlx::query!(
            r#"select sessions.user_id, users.role, users.state, generation, refresh_hash,
                      previous_hash, ended_at is not null as "ended!",
                      expires_at <= clock_timestamp() as "expired!",
                      coalesce(rotated_at > clock_timestamp() - $2::interval, false)
                          as "replayable!"
               from sessions join users on users.user_id = sessions.user_id
               where session_id = $1"#,
            id.0,
            interval(replay)
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Session {
            user: UserId(row.user_id),
            role: role(&row.role)?,
            user_state: state(&row.state)?,
            generation: row.generation,
            refresh_hash: row.refresh_hash,
            previous_hash: row.previous_hash,
            ended: row.ended,
            expired: row.expired,
            replayable: row.replayable,
        }))
    }

    /// Spends a refresh token for the next one; `None` when it is not, or no longer, the newest of
    /// a living session.
    pub async fn rotate(
        &self,
        spent: &RefreshToken,
        next: &RefreshToken,
        ttl: Duration,
        from: Option<IpAddr>,
    ) -> Result<Option<(UserId, Role)>, Error> {
        assert_eq!((spent.session, spent.generation + 1), (next.session, next.generation));
        let (spent_hash, next_hash) = (spent.hash(), next.hash());
        let row = sqlx::query!(
            "update sessions
             set generation = generation + 1, previous_hash = refresh_hash, refresh_hash = $4,
                 rotated_at = clock_timestamp(), last_used_at = clock_timestamp(),
                 expires_at = clock_timestamp() + $5, address_sealed = $6
             from users
             where session_id = $1 and generation = $2 and refresh_hash = $3
               and ended_at is null and expires_at > clock_timestamp()
               and users.user_id = sessions.user_id and users.state in ('ACTIVE', 'DORMANT')
             returning sessions.user_id, users.role",
            spent.session.0,
            spent.generation,
            spent_hash.as_slice(),
            next_hash.as_slice(),
            interval(ttl),
            self.seal_address(spent.session.0, from)
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| Ok((UserId(row.user_id), role(&row.role)?))).transpose()
    }

    /// Ends a session whose spent refresh token came back; false when it did not, or came back
    /// before.
    pub async fn end_reused(&self, token: &RefreshToken, replay: Duration) -> Result<bool, Error> {
        let mut lent = self.pool.acquire().await?;
        let mut transaction = lent.begin().await?;
        let owner = sqlx::query_scalar!(
            "select user_id from sessions
             where session_id = $1 and ended_at is null
               and (generation > $2::bigint + 1
                    or generation = $2 + 1 and rotated_at <= clock_timestamp() - $3::interval)
             for update",
            token.session.0,
            token.generation,
            interval(replay)
        )
        .fetch_optional(&mut *transaction)
        .await?;
        if let Some(owner) = owner {
            let one = Ending::One(token.session);
            end_sessions(&mut transaction, UserId(owner), one).await?;
        }
        transaction.commit().await?;
        lent.give_back();
        Ok(owner.is_some())
    }

    /// Ends sessions of a user because the user says so; those that have ended stay so.
    pub async fn end(&self, user: UserId, ending: Ending) -> Result<(), Error> {
        let mut lent = self.pool.acquire().await?;
        let mut transaction = lent.begin().await?;
        end_sessions(&mut transaction, user, ending).await?;
        transaction.commit().await?;
        lent.give_back();
        Ok(())
    }

    /// Deletes sessions that ended, one way or the other, so long ago, at most this many, and notes
    /// on their accounts when they were used last, which dormancy asks for; gives how many. What
    /// somebody writes at the moment is skipped.
    pub async fn delete_old_sessions(
        &self,
        ended_for: Duration,
        count_max: i64,
    ) -> Result<u64, Error> {
        let deleted = sqlx::query_scalar!(
            r#"with old as materialized (
                 select session_id, sessions.user_id, last_used_at
                 from sessions join users on users.user_id = sessions.user_id
                 where least(ended_at, expires_at) < clock_timestamp() - $1::interval
                 order by least(ended_at, expires_at) limit $2
                 for update of sessions skip locked
                 for no key update of users skip locked
             ), deleted as (
                 delete from sessions using old where sessions.session_id = old.session_id
             ), used as (
                 update users set last_login_at = used.last_used_at
                 from (select user_id, max(last_used_at) as last_used_at from old group by user_id)
                     as used
                 where users.user_id = used.user_id and users.state <> 'DELETED'
                   and coalesce(last_login_at, created_at) < used.last_used_at
             )
             select count(*) as "count!" from old"#,
            interval(ended_for),
            count_max
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(u64::try_from(deleted).unwrap_or_default())
    }

    /// Whether this user has, or had, this session.
    pub async fn owns_session(&self, user: UserId, id: SessionId) -> Result<bool, Error> {
        let owns = sqlx::query_scalar!(
            r#"select exists (
                   select from sessions where session_id = $1 and user_id = $2) as "owns!""#,
            id.0,
            user.0
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(owns)
    }

    /// Reads a page of this user's living sessions, latest used first, and one more when there is
    /// one.
    pub async fn list_sessions(&self, user: UserId, page: Page) -> Result<Vec<Listed>, Error> {
        let before = page.before.map(|before| instant(before.created_us)).transpose()?;
        let rows = sqlx::query!(
            "select session_id, device_sealed, address_sealed, created_at, last_used_at, expires_at
             from sessions
             where user_id = $1 and ended_at is null and expires_at > clock_timestamp()
               and (last_used_at, session_id) < (coalesce($2, 'infinity'::timestamptz), $3)
             order by last_used_at desc, session_id desc
             limit $4",
            user.0,
            before,
            page.before.map_or(Uuid::max(), |before| before.id),
            page.size + 1
        )
        .fetch_all(&self.pool)
        .await?;
        let listed = rows.into_iter().map(|row| {
            let open = |column, sealed: Option<Vec<u8>>| {
                let text = sealed.map(|sealed| self.open(column, row.session_id, &sealed));
                Ok::<_, Error>(text.transpose()?.unwrap_or_default())
            };
            Ok(Listed {
                id: SessionId(row.session_id),
                device: open(sealing::DEVICE, row.device_sealed)?,
                address: open(sealing::ADDRESS, row.address_sealed)?,
                created_at: row.created_at,
                last_used_at: row.last_used_at,
                expires_at: row.expires_at,
            })
        });
        listed.collect()
    }

    fn seal_address(&self, session: Uuid, from: Option<IpAddr>) -> Option<Vec<u8>> {
        from.map(|from| self.seal(sealing::ADDRESS, session, &from.to_canonical().to_string()))
    }
}

fn instant(us: i64) -> Result<OffsetDateTime, Error> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(us) * 1_000).map_err(|_| {
        let want = "want the next_page_token of the last answer";
        Error::Invalid(Refusal::invalid("page_token", want))
    })
}
