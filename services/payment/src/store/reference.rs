//! The provider's own names of charges.

use firstcome_proto::PaymentId;
use uuid::Uuid;

use super::{Store, read};
use crate::{error::Error, payment::Payment, provider::Event};

impl Store {
    /// Reads a payment and the provider's name of its charge, where that is known.
    pub async fn find_named(
        &self,
        id: PaymentId,
    ) -> Result<Option<(Payment, Option<String>)>, Error> {
        let mut payments = read(&self.pool, &[id.0]).await?;
        let Some(payment) = payments.remove(&id) else { return Ok(None) };
        let reference = sqlx::query_scalar!(
            "select provider_reference from payments where payment_id = $1",
            id.0
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(Some((payment, reference)))
    }

    /// Saves the provider's name of a charge; the first one stays.
    pub async fn name_charge(&self, id: PaymentId, reference: &str) -> Result<(), Error> {
        self.save_names(&[id.0], &[reference.to_owned()]).await
    }

    /// Saves the names that events tell, before anybody follows the events up.
    pub(super) async fn name_charges(&self, events: &[Event]) -> Result<(), Error> {
        let named = events.iter().filter_map(|event| {
            let (payment, _) = event.about?;
            Some((payment.0, event.reference.clone()?))
        });
        let (ids, references): (Vec<Uuid>, Vec<String>) = named.unzip();
        if ids.is_empty() {
            return Ok(()); // the sandbox has no names of its own
        }
        self.save_names(&ids, &references).await
    }

    async fn save_names(&self, ids: &[Uuid], references: &[String]) -> Result<(), Error> {
        sqlx::query!(
            "update payments set provider_reference = told.reference
             from unnest($1::uuid[], $2::text[]) as told (payment_id, reference)
             where payments.payment_id = told.payment_id and provider_reference is null",
            ids,
            references
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
