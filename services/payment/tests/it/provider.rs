//! Providers behind a bad line: the sandbox, whose answers get lost after it has done what it was
//! asked, and one that keeps everybody waiting.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use firstcome_mesh::Deadline;
use firstcome_payment::{
    provider::{Charge, Provider, Standing, Unknown},
    sandbox::{Habits, Ledger, Sandbox},
};
use firstcome_proto::PaymentId;
use tokio::sync::Semaphore;

use super::harness::{Databases, SLOW};

/// The sandbox on these databases.
pub async fn sandbox(databases: &Databases) -> Sandbox {
    let habits = Habits { slow: SLOW, tells: false };
    let url = databases.sandbox.url.clone().into();
    Sandbox::new(Ledger::connect(&url, 4, habits).await.expect("the ledger opens"))
}

/// Loses the answers whose turn comes.
#[derive(Clone)]
pub struct Lossy {
    sandbox: Sandbox,
    /// Answers left to lose.
    to_lose: Arc<AtomicU32>,
}

impl Lossy {
    pub fn new(sandbox: Sandbox) -> Self {
        Self { sandbox, to_lose: Arc::default() }
    }

    /// The next so many answers get lost.
    pub fn lose(&self, answers: u32) {
        self.to_lose.store(answers, Ordering::SeqCst);
    }

    /// Whether as many were lost as should be.
    pub fn has_lost(&self) -> bool {
        self.to_lose.load(Ordering::SeqCst) == 0
    }

    fn pass(&self, answer: Result<Standing, Unknown>) -> Result<Standing, Unknown> {
        let one_less = |left: u32| left.checked_sub(1);
        match self.to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less) {
            Ok(_) => Err(Unknown),
            Err(_) => answer,
        }
    }
}

#[async_trait::async_trait]
impl Provider for Lossy {
    async fn authorize(&self, charge: Charge, deadline: Deadline) -> Result<Standing, Unknown> {
        self.pass(self.sandbox.authorize(charge, deadline).await)
    }

    async fn capture(&self, key: PaymentId, deadline: Deadline) -> Result<Standing, Unknown> {
        self.pass(self.sandbox.capture(key, deadline).await)
    }

    async fn void(&self, key: PaymentId, deadline: Deadline) -> Result<Standing, Unknown> {
        self.pass(self.sandbox.void(key, deadline).await)
    }

    async fn look(&self, key: PaymentId, deadline: Deadline) -> Result<Standing, Unknown> {
        self.pass(self.sandbox.look(key, deadline).await)
    }

    async fn refund(&self, key: PaymentId, deadline: Deadline) -> Result<Standing, Unknown> {
        self.pass(self.sandbox.refund(key, deadline).await)
    }
}

/// Keeps everybody waiting until it hangs up on them all.
#[derive(Clone)]
pub struct Silent(Arc<Semaphore>);

impl Silent {
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    pub fn hang_up(&self) {
        self.0.close();
    }

    async fn wait(&self) -> Result<Standing, Unknown> {
        let _never = self.0.acquire().await.map_err(|_| Unknown)?;
        unreachable!("nobody gives permits")
    }
}

#[async_trait::async_trait]
impl Provider for Silent {
    async fn authorize(&self, _: Charge, _: Deadline) -> Result<Standing, Unknown> {
        self.wait().await
    }

    async fn capture(&self, _: PaymentId, _: Deadline) -> Result<Standing, Unknown> {
        self.wait().await
    }

    async fn void(&self, _: PaymentId, _: Deadline) -> Result<Standing, Unknown> {
        self.wait().await
    }

    async fn look(&self, _: PaymentId, _: Deadline) -> Result<Standing, Unknown> {
        self.wait().await
    }

    async fn refund(&self, _: PaymentId, _: Deadline) -> Result<Standing, Unknown> {
        self.wait().await
    }
}
