//! Stripe's own mock, which checks every request against Stripe's published description of its API
//! and answers with an example. It remembers nothing, so only the form of what is asked and said is
//! proven here; what it means over time is [`super::stripe`]'s matter.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use firstcome_mesh::Deadline;
use firstcome_payment::{
    provider::Charge,
    stripe::{
        api::{Answer, Api},
        intent::{Found, Intent, Refund},
        request::{self, Step},
    },
};
use firstcome_proto::{Money, PaymentId, money::Currency};
use firstcome_testkit::eventually;
use uuid::Uuid;

/// The mock reads a description of a few megabytes when it starts.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// `cargo xtask test` installs stripe-mock when Go is there, and lists this test as skipped when
/// not.
fn stripe_mock() -> Option<String> {
    std::env::var("FIRSTCOME_STRIPE_MOCK").ok().filter(|path| !path.is_empty())
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn start(program: &str) -> (Process, String) {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|free| free.local_addr())
        .expect("a free port")
        .port();
    let child = Command::new(program)
        .args(["-http-addr", &format!("127.0.0.1:{port}")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("stripe-mock starts");
    let process = Process(child);
    eventually(START_TIMEOUT, || async {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
    })
    .await;
    (process, format!("http://127.0.0.1:{port}"))
}

#[track_caller]
fn done<T: std::fmt::Debug>(answer: Result<Answer<T>, impl std::fmt::Debug>) -> T {
    match answer {
        Ok(Answer::Done(done)) => done,
        other => panic!("stripe would not take it: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stripe_takes_every_request_of_ours_and_its_answers_read() {
    let Some(program) = stripe_mock() else {
        eprintln!("skipped: FIRSTCOME_STRIPE_MOCK names no stripe-mock");
        return;
    };
    let (_process, url) = start(&program).await;
    let api = Api::new(&url, "sk_test_123".to_owned().into());
    let soon = || Deadline::after(Duration::from_secs(10));
    let key = PaymentId(Uuid::new_v4());
    let currency = Currency::parse("KRW").expect("a code");
    let amount = Money { amount_minor: 129_000, currency };
    let charge = Charge { key, amount, payment_method: "pm_card_visa".into() };
    let step_key = |step| request::key(key, step);

    let form = request::create(&charge);
    let path = request::path(Step::Authorize, "");
    let made: Intent = done(api.post(&path, &step_key(Step::Authorize), &form, soon()).await);
    assert!(made.id.starts_with("pi_"), "{made:?}");
    for step in [Step::Capture, Step::Void] {
        let path = request::path(step, &made.id);
        let moved: Intent = done(api.post(&path, &step_key(step), &[], soon()).await);
        assert!(moved.id.starts_with("pi_"), "{step:?}: {moved:?}");
    }
    done::<Intent>(api.get(&request::retrieve(&made.id), soon()).await);
    done::<Found>(api.get(&request::search(key), soon()).await);
    let form = request::refund(key, &made.id);
    let refund: Refund =
        done(api.post("/v1/refunds", &step_key(Step::Refund), &form, soon()).await);
    assert!(refund.is_under_way(), "{refund:?}");

    // The mock does look: a field that Stripe does not know is refused.
    let mut wrong = request::create(&charge);
    wrong.push(("capture_mode", "manual".into()));
    let refused = api.post::<Intent>("/v1/payment_intents", "another", &wrong, soon()).await;
    assert!(matches!(refused, Ok(Answer::Refused(_))), "{refused:?}");
}
