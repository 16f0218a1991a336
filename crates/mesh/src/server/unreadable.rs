//! A message that cannot be read is its sender's fault, and is answered like any other bad input.

use firstcome_proto::Refusal;
use http::Response;
use tonic::{Code, Status, body::Body};

/// tonic calls a message that is no Protobuf of its type, or is not there, INTERNAL and gives no
/// reason. Our services give one whenever they fail.
pub fn documented(response: Response<Body>) -> Response<Body> {
    if !response.headers().contains_key(Status::GRPC_STATUS) {
        return response;
    }
    match Status::from_header_map(response.headers()) {
        Some(status) if status.code() == Code::Internal && status.details().is_empty() => {
            Status::from(Refusal::invalid("message", status.message())).into_http()
        }
        _ => response,
    }
}

#[cfg(test)]
mod tests {
    use firstcome_proto::Reason;

    use super::*;

    #[test]
    fn what_tonic_cannot_read_is_bad_input_and_what_we_say_stays() {
        let heard = |status: Status| {
            let answer = documented(status.into_http());
            let status = Status::from_header_map(answer.headers()).unwrap();
            (status.code(), Refusal::from_status(&status).reason())
        };
        let undecodable = Status::internal("failed to decode Protobuf message: invalid wire type");
        assert_eq!(heard(undecodable), (Code::InvalidArgument, Reason::InvalidArgument));
        let ours = Status::from(Refusal::because(Reason::Internal, "a fault of ours"));
        assert_eq!(heard(ours), (Code::Internal, Reason::Internal));
        let sold_out = Status::from(Refusal::because(Reason::SoldOut, "none is left"));
        assert_eq!(heard(sold_out), (Code::ResourceExhausted, Reason::SoldOut));
    }
}
