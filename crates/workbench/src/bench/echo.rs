//! The floor: a bare tonic server that takes a message and gives one, of the sizes that a purchase
//! has, in a process of its own.

use std::{
    convert::Infallible,
    task::{Context, Poll},
    time::Duration,
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use firstcome_local::address;
use futures::future::BoxFuture;
use http::uri::PathAndQuery;
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    body::Body,
    server::{Grpc, NamedService, UnaryService},
    transport::{Channel, Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;
use tower::Service;

use super::companion::Companion;

/// A process that is to listen does so by then.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// A message of any size.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Payload {
    /// The contents.
    #[prost(bytes = "bytes", tag = "1")]
    pub bytes: Bytes,
}

/// The server's command line.
#[derive(Clone, Debug, clap::Args)]
pub struct EchoArgs {
    /// Bytes of every answer
    #[arg(long)]
    pub answer_bytes: usize,
}

/// Serves until it is killed; says its port on the first line.
pub async fn serve(args: &EchoArgs) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    let answer = Payload { bytes: vec![b'x'; args.answer_bytes].into() };
    let server = Server::builder().add_service(Echo { answer });
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Ok(server.serve_with_incoming(incoming).await?)
}

/// A running floor.
pub struct Floor {
    process: Companion,
    /// Where it listens, as in `http://127.0.0.1:1234`.
    pub endpoint: String,
}

impl Floor {
    /// Starts it as a process of its own.
    pub async fn start(answer_bytes: usize) -> Result<Self> {
        let program = std::env::current_exe().context("find this program")?;
        // As many as each of our processes has.
        let threads = [("TOKIO_WORKER_THREADS", address::worker_threads().to_string())];
        let args = ["echo", "--answer-bytes", &answer_bytes.to_string()];
        let mut process = Companion::start("floor", &program, &args, threads)?;
        let port: u16 = process.hear(START_TIMEOUT).await?.parse()?;
        Ok(Self { process, endpoint: format!("http://127.0.0.1:{port}") })
    }

    /// Its process number.
    pub fn pid(&self) -> Result<u32> {
        self.process.pid()
    }
}

/// One call of it.
pub async fn call(channel: Channel, request: Request<Payload>) -> Result<Payload> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await?;
    let path = PathAndQuery::from_static("/firstcome.bench.v1.EchoService/Echo");
    let codec = ProstCodec::<Payload, Payload>::default();
    Ok(client.unary(request, path, codec).await?.into_inner())
}

/// What tonic's code generator would write for one unary method.
#[derive(Clone)]
struct Echo {
    answer: Payload,
}

impl NamedService for Echo {
    const NAME: &'static str = "firstcome.bench.v1.EchoService";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answer = Answer(self.answer.clone());
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<Payload, Payload>::default());
            Ok(grpc.unary(answer, request).await)
        })
    }
}

struct Answer(Payload);

impl UnaryService<Payload> for Answer {
    type Response = Payload;
    type Future = std::future::Ready<Result<Response<Payload>, Status>>;

    fn call(&mut self, _request: Request<Payload>) -> Self::Future {
        std::future::ready(Ok(Response::new(self.0.clone())))
    }
}
