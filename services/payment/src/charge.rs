//! The four commands, and what an event of the provider starts. Each command is: look at the row,
//! decide by the table, ask the provider by key, let the row follow the provider's ledger, and
//! decide once more on what is there now.
//!
//! The intent of an authorisation is its row, saved before the provider is asked. The other three
//! need none of their own: whoever gave the command has no answer yet and gives it again.
//!
//! A handler may be dropped at any await. Then the row lags behind the provider, never the other
//! way round, and the next command on this payment lets it catch up.

use std::{future::Future, sync::Arc, time::Duration};

use firstcome_mesh::{Deadline, failpoint};
use firstcome_proto::{PaymentId, UserId};
use tokio::time::Instant;

use crate::{
    error::Error,
    metrics::METRICS,
    payment::{Command, Decision, Intent, Payment, Remedy, decide, remedy},
    provider::{Charge, Provider, Standing, Unknown},
    store::Store,
};

/// Kept back from the caller's deadline, so that it hears "unknown" instead of nothing.
const ANSWER_MARGIN: Duration = Duration::from_millis(50);

/// A charge may move once more while we void it; then it is refunded. Whatever needs more is looked
/// at again later.
const REMEDIES_MAX: usize = 3;

/// Moves money, each step exactly once by the payment's id.
#[derive(Clone)]
pub struct Charges {
    store: Store,
    provider: Arc<dyn Provider>,
}

impl Charges {
    /// Between these two.
    pub fn new(store: Store, provider: Arc<dyn Provider>) -> Self {
        Self { store, provider }
    }

    /// Reserves the amount on the card.
    pub async fn authorize(&self, intent: Intent, deadline: Deadline) -> Result<Payment, Error> {
        let payment = self.store.begin(intent.clone(), deadline).await?;
        failpoint::hit("payment.after_intent");
        if !payment.is_of(&intent) {
            return Err(Error::KeyReused);
        }
        let Intent { payment: key, amount, payment_method, .. } = intent;
        let charge = Charge { key, amount, payment_method };
        let asked = self.provider.authorize(charge, deadline);
        self.carry_out(Command::Authorize, payment, asked, deadline).await
    }

    /// Takes what was authorised.
    pub async fn capture(&self, id: PaymentId, deadline: Deadline) -> Result<Payment, Error> {
        let payment = self.store.find(id, deadline).await?.ok_or(Error::NotFound)?;
        let asked = self.provider.capture(id, deadline);
        self.carry_out(Command::Capture, payment, asked, deadline).await
    }

    /// Gives a captured payment back.
    pub async fn refund(&self, id: PaymentId, deadline: Deadline) -> Result<Payment, Error> {
        let payment = self.store.find(id, deadline).await?.ok_or(Error::NotFound)?;
        let asked = self.provider.refund(id, deadline);
        self.carry_out(Command::Refund, payment, asked, deadline).await
    }

    /// Gives an authorisation up, also one that is on its way or yet to come.
    pub async fn void(
        &self,
        id: PaymentId,
        user: UserId,
        deadline: Deadline,
    ) -> Result<Payment, Error> {
        let payment = match self.store.find(id, deadline).await? {
            Some(payment) => payment,
            // Never seen. Our row is tombstone enough: the provider is never asked to take money
            // under a key whose payment is not on record, and this record says no. An
            // authorisation that saves its intent just before is what the row then says.
            None => self.store.bury(id, user).await?,
        };
        let asked = self.provider.void(id, deadline);
        self.carry_out(Command::Void, payment, asked, deadline).await
    }

    /// Looks a charge up at the provider, because an event says that something happened there,
    /// lets the row follow, and gives back what was paid although we had given it up: whoever gave
    /// it up has told the buyer so.
    pub async fn catch_up(&self, id: PaymentId, deadline: Deadline) -> Result<(), Error> {
        let Some(payment) = self.store.find(id, deadline).await? else { return Ok(()) };
        let mut standing = ask(self.provider.look(id, deadline), deadline).await?;
        for _ in 0..REMEDIES_MAX {
            let Some(state) = standing.state() else { return Ok(()) };
            standing = match remedy(payment.state, state) {
                Remedy::Nothing => return Ok(()),
                Remedy::Follow => {
                    self.store.follow(id, standing, deadline).await?;
                    failpoint::hit("payment.after_commit");
                    return Ok(());
                }
                Remedy::Void => ask(self.provider.void(id, deadline), deadline).await?,
                Remedy::Refund => ask(self.provider.refund(id, deadline), deadline).await?,
            };
            failpoint::hit("payment.after_provider");
            METRICS.remedies.inc();
            tracing::warn!(payment = %id, given_up = payment.state.name(), ?standing,
                "money moved for a payment that was given up");
        }
        Err(Error::ProviderUnknown)
    }

    /// Does what the table says of a payment in its present state.
    async fn carry_out(
        &self,
        command: Command,
        payment: Payment,
        asked: impl Future<Output = Result<Standing, Unknown>>,
        deadline: Deadline,
    ) -> Result<Payment, Error> {
        let ended = match decide(payment.state, command) {
            Decision::Answer => Ok(payment),
            Decision::Refuse => Err(Error::WrongState(payment.state)),
            Decision::Ask => self.ask_and_follow(command, payment, asked, deadline).await,
        };
        METRICS.ended(command, &ended);
        ended
    }

    async fn ask_and_follow(
        &self,
        command: Command,
        payment: Payment,
        asked: impl Future<Output = Result<Standing, Unknown>>,
        deadline: Deadline,
    ) -> Result<Payment, Error> {
        let began = Instant::now();
        let standing = ask(asked, deadline).await;
        METRICS.asked(command, began.elapsed());
        let standing = standing?;
        failpoint::hit("payment.after_provider");
        self.follow(command, payment, standing, deadline).await
    }

    /// Lets the row follow the provider's ledger, and answers by the table.
    async fn follow(
        &self,
        command: Command,
        payment: Payment,
        standing: Standing,
        deadline: Deadline,
    ) -> Result<Payment, Error> {
        let payment = match standing.state() {
            Some(state) if payment.state.may_become(state) => {
                let payment = self.store.follow(payment.id, standing, deadline).await?;
                failpoint::hit("payment.after_commit");
                payment
            }
            _ => payment,
        };
        match (decide(payment.state, command), command) {
            (Decision::Answer, _) => Ok(payment),
            // An authorisation that the provider has not heard of: its answer is worth nothing.
            (Decision::Ask, Command::Authorize) => Err(Error::ProviderUnknown),
            // Asked, and nothing moved: the provider refused for good.
            (Decision::Ask | Decision::Refuse, _) => Err(Error::WrongState(payment.state)),
        }
    }
}

/// Waits for the provider as long as the caller waits for us, less what the answer takes.
async fn ask(
    asked: impl Future<Output = Result<Standing, Unknown>>,
    deadline: Deadline,
) -> Result<Standing, Error> {
    let patience = deadline.left().saturating_sub(ANSWER_MARGIN);
    match tokio::time::timeout(patience, asked).await {
        Ok(Ok(standing)) => Ok(standing),
        Ok(Err(Unknown)) | Err(_) => Err(Error::ProviderUnknown),
    }
}
