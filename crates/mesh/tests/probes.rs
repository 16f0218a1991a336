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

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const SERVICE: &str = "firstcome-payment";

#[tokio::test]
async fn probes_are_answered_apart_from_calls_and_until_the_end() {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let listeners = Listeners { calls: bind(any).await, probes: Some(bind(any).await) };
    let calls = listeners.calls.local_addr().unwrap();
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

    let answer = get(address, "/metrics").await;
    for part in [
        "HTTP/1.1 200 OK\r\n",
        "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n",
        "firstcome_build_info{service=\"firstcome-payment\",",
        "# EOF\n",
    ] {
        assert!(answer.contains(part), "{part} in {answer}");
    }
    // Nothing else is said there; what is no path is no method either.
    let nothing = get(address, "/").await;
    assert!(nothing.contains("grpc-status: 12\r\n") && nothing.ends_with("\r\n\r\n"), "{nothing}");
    assert!(!get(calls, "/metrics").await.contains("firstcome_"));

    shutdown.begin();
    serving.await.unwrap().unwrap();
    let gone = healthy.ask(SERVICE).await.unwrap_err();
    assert!(matches!(gone, Unready::Silent(_)), "{gone}");
}

/// Asks as Prometheus does: HTTP/1.1, in the clear. Whoever does not speak it hangs up.
async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("a connection");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}
