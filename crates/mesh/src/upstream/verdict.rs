//! What an answer, or none, says of the endpoint that was asked. A refusal is an answer: a buyer
//! who is told that it is sold out was served well.

use std::{error::Error as _, time::Duration};

use firstcome_proto::{Reason, Refusal};
use http::Response;
use tonic::{Code, Status, TimeoutExpired, body::Body, transport::Error};

use super::breaker::Verdict;

/// A call that was given less time than this says nothing of the endpoint when the time is over:
/// else anybody who sends short deadlines could close it for all.
const PATIENCE: Duration = Duration::from_secs(1);

/// Of an answer's head. None when it shows nothing.
pub fn of_answer(answer: &Result<Response<Body>, Error>, took: Duration) -> Option<Verdict> {
    match answer {
        Ok(response) if !response.status().is_success() => Some(Verdict::Broken),
        // Only a call that failed says so at once; how a stream will end shows nothing of who
        // began it.
        Ok(response) if !response.headers().contains_key(Status::GRPC_STATUS) => {
            Some(Verdict::Well)
        }
        Ok(response) => match Status::from_header_map(response.headers()) {
            Some(status) => of_status(&status, took),
            None => Some(Verdict::Broken),
        },
        Err(fault) if has_timed_out(fault) => of_silence(took),
        Err(_) => Some(Verdict::Broken),
    }
}

/// Of no answer for so long that the caller's time is over.
pub fn of_silence(took: Duration) -> Option<Verdict> {
    (took >= PATIENCE).then_some(Verdict::Broken)
}

fn of_status(status: &Status, took: Duration) -> Option<Verdict> {
    // Without details it was no service of ours that spoke, but whatever carries calls for it: and
    // that says UNAVAILABLE. Any other fault may lie with who called, and a stranger's call must not
    // close the endpoint for all.
    let is_our_own = !status.details().is_empty();
    match status.code() {
        Code::Unavailable if is_our_own => match Refusal::from_status(status).reason() {
            // Something that it needs is away. Its likes may have what it lacks.
            Reason::UpstreamUnavailable => Some(Verdict::Ailing),
            // It has too much to do, or the product is being rebuilt, or the reader is slow: it
            // knows what it says. Whoever calls less because of it obeys RetryInfo.
            _ => Some(Verdict::Well),
        },
        Code::Unavailable => Some(Verdict::Broken),
        // It says so itself: something behind it takes too long.
        Code::DeadlineExceeded if is_our_own => of_silence(took).map(|_| Verdict::Ailing),
        Code::DeadlineExceeded => of_silence(took),
        Code::Unknown | Code::Internal | Code::DataLoss if !is_our_own => None,
        Code::Cancelled => None,
        _ => Some(Verdict::Well),
    }
}

/// Whether it was the caller's time that ended a call, and nothing that broke.
pub fn has_timed_out(fault: &Error) -> bool {
    let mut cause = fault.source();
    while let Some(fault) = cause {
        if fault.is::<TimeoutExpired>() {
            return true;
        }
        cause = fault.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(5);
    const SHORT: Duration = Duration::from_millis(20);

    #[test]
    fn a_refusal_is_no_fault_of_who_makes_it_unless_something_is_away() {
        let of = |reason| {
            let status = Status::from(Refusal::because(reason, "x"));
            of_answer(&Ok(status.into_http()), LONG)
        };
        for number in 1..=37 {
            let reason = Reason::try_from(number).unwrap();
            let want = match reason {
                Reason::UpstreamUnavailable | Reason::DeadlineExceeded => Some(Verdict::Ailing),
                _ => Some(Verdict::Well),
            };
            assert_eq!(of(reason), want, "{reason:?}");
        }
    }

    #[test]
    fn what_no_service_of_ours_said_is_the_connections_word() {
        let table = [
            (Code::Unavailable, SHORT, Some(Verdict::Broken)),
            (Code::Unknown, SHORT, None),
            (Code::Internal, SHORT, None),
            (Code::Unimplemented, SHORT, Some(Verdict::Well)),
            (Code::InvalidArgument, SHORT, Some(Verdict::Well)),
            (Code::Cancelled, LONG, None),
            (Code::DeadlineExceeded, SHORT, None),
            (Code::DeadlineExceeded, LONG, Some(Verdict::Broken)),
        ];
        for (code, took, want) in table {
            let answer = Ok(Status::new(code, "x").into_http());
            assert_eq!(of_answer(&answer, took), want, "{code:?} {took:?}");
        }
        assert_eq!(of_answer(&Ok(Response::new(Body::empty())), LONG), Some(Verdict::Well));
    }
}
