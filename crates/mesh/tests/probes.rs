//! The port for probes: in the clear, beside calls that want a certificate, and for as long as the
//! process serves.

use std::{net::SocketAddr, time::Duration};

use firstcome_mesh::{
    Shutdown,
    server::{
        Listeners, Server, bind,
        probes::{Healthy, Unready},
    },
};

const SERVICE: &str = "firstcome-payment";

#[tokio::test]
async fn probes_are_answered_apart_from_calls_and_until_the_end() {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let listeners = Listeners { calls: bind(any).await, probes: Some(bind(any).await) };
    let address = listeners.probes.as_ref().unwrap().local_addr().unwrap();
    // Told as a container is: who listens everywhere is asked on loopback.
    let healthy = Healthy { health_listen: SocketAddr::new([0, 0, 0, 0].into(), address.port()) };

    let shutdown = Shutdown::new();
    let server = Server::new(SERVICE, None);
    let serving = tokio::spawn(server.serve(listeners, shutdown.clone(), Duration::ZERO));
    healthy.ask(SERVICE).await.unwrap();
    healthy.ask("").await.unwrap();
    let unknown = healthy.ask("firstcome-nobody").await.unwrap_err();
    assert!(matches!(unknown, Unready::Silent(_)), "{unknown}");

    shutdown.begin();
    serving.await.unwrap().unwrap();
    let gone = healthy.ask(SERVICE).await.unwrap_err();
    assert!(matches!(gone, Unready::Silent(_)), "{gone}");
}
