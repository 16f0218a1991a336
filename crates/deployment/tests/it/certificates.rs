//! The script that certifies a mesh of containers.

use std::{
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

use firstcome_local::Checkout;
use firstcome_mesh::tls::Files;

#[test]
fn the_script_certifies_every_peer_and_leaves_what_is_good() {
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("skipped: no openssl on this machine to run deploy/certificates.sh with");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let certified = certify(folder.path());
    assert_eq!(certified.lines().count(), firstcome_proto::access::Peer::ALL.len());
    for peer in firstcome_proto::access::Peer::ALL {
        let short = peer.name().split('.').next().unwrap();
        assert!(certified.contains(peer.name()), "{short}: {certified}");
        let at = folder.path().join(short);
        let files = Files {
            certificate: at.join("tls.crt"),
            key: at.join("tls.key"),
            authority: at.join("ca.crt"),
        };
        files.check(SystemTime::now()).unwrap();
        let late = SystemTime::now() + Duration::from_secs(91 * 24 * 60 * 60);
        assert!(files.check(late).is_err(), "{short} lasts for 90 days");
    }
    assert_eq!(certify(folder.path()), "", "what is good for another month stays");
}

fn certify(folder: &Path) -> String {
    let script = Checkout::here().root().join("deploy/certificates.sh");
    let output = Command::new(script).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
