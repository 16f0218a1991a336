//! The signature of a webhook, in the form of Stripe's, which the sandbox uses too: an HMAC-SHA256
//! over the instant, a full stop and the very bytes of the body. No I/O, no clock.
//!
//! `t=1492774577,v1=5257a869…,v1=6ffbb59b…`: while a secret is being replaced the sender signs with
//! both, and one that fits is enough.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

/// A signature that is further than this from our clock, before or after, is not believed: who
/// once overheard a webhook cannot send it again for ever. Stripe's own default.
pub const TOLERANCE: Duration = Duration::from_secs(5 * 60);
/// Signatures that are looked at; a sender has two while it replaces its secret.
const SIGNATURES_MAX: usize = 8;

/// Why a webhook is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No `t`, no `v1`, or not in this form.
    #[error("want a signature header as in `t=1492774577,v1=5257a869...`")]
    Malformed,
    /// Somebody else signed, or something else was signed.
    #[error("no signature fits the body")]
    Mismatch,
    /// Signed too long ago, or in the future.
    #[error("the signature is too far from now")]
    NotOfNow,
}

/// The header that goes with a body.
pub fn sign(secret: &SecretString, signed_at_s: i64, body: &[u8]) -> String {
    let signature = mac(secret, signed_at_s, body).finalize().into_bytes();
    format!("t={signed_at_s},v1={}", to_hex(&signature))
}

/// Whether this body was signed with this secret, about now. Takes equally long whatever differs.
///
/// # Errors
/// [`Fault`] says why not.
pub fn verify(secret: &SecretString, header: &str, body: &[u8], now_s: i64) -> Result<(), Fault> {
    let (signed_at_s, signatures) = read(header).ok_or(Fault::Malformed)?;
    let mac = mac(secret, signed_at_s, body);
    let fits = |signature: &Vec<u8>| mac.clone().verify_slice(signature).is_ok();
    // The instant is only worth something once it is known who wrote it.
    if !signatures.iter().any(fits) {
        return Err(Fault::Mismatch);
    }
    if now_s.abs_diff(signed_at_s) > TOLERANCE.as_secs() {
        return Err(Fault::NotOfNow);
    }
    Ok(())
}

/// The instant and every `v1`. Schemes that we do not know are not ours to judge.
fn read(header: &str) -> Option<(i64, Vec<Vec<u8>>)> {
    let (mut signed_at_s, mut signatures) = (None, Vec::new());
    for part in header.split(',') {
        match part.trim().split_once('=')? {
            ("t", text) => signed_at_s = Some(text.parse().ok()?),
            ("v1", hex) if signatures.len() < SIGNATURES_MAX => signatures.push(from_hex(hex)?),
            _ => {}
        }
    }
    (!signatures.is_empty()).then_some(())?;
    Some((signed_at_s?, signatures))
}

fn mac(secret: &SecretString, signed_at_s: i64, body: &[u8]) -> Hmac<Sha256> {
    let key = secret.expose_secret().as_bytes();
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(signed_at_s.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    mac
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    let byte = |at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: i64 = 1_700_000_000;
    const BODY: &[u8] = b"{\"id\":\"evt_1\"}";

    fn secret(text: &str) -> SecretString {
        text.to_owned().into()
    }

    /// The header that Stripe's documentation shows.
    const PUBLISHED: &str = "t=1492774577,\
        v1=5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd,\
        v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39";

    #[test]
    fn the_published_header_reads() {
        let (signed_at_s, signatures) = read(PUBLISHED).expect("well formed");
        assert_eq!(signed_at_s, 1_492_774_577);
        assert_eq!(signatures.len(), 1, "v0 is a test scheme that proves nothing");
        assert_eq!(signatures[0].len(), 32);
    }

    #[test]
    fn a_signature_is_the_hmac_that_others_compute() {
        // printf '1700000000.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_test
        let want = "t=1700000000,\
            v1=c89214b5b5da833daed6f0b8c5bb6bd58cea9022bd80ccc78230f3942d632925";
        assert_eq!(sign(&secret("whsec_test"), NOW_S, BODY), want);
    }

    #[test]
    fn only_the_right_secret_over_the_very_bytes_about_now_is_believed() {
        let ours = secret("ours");
        let signed = sign(&ours, NOW_S, BODY);
        let theirs = sign(&secret("theirs"), NOW_S, BODY);
        let their_v1 = theirs.split_once(',').expect("two parts").1;
        let both = format!("t={NOW_S},{their_v1},{}", signed.split_once(',').expect("two").1);
        let at = |instant_s: i64| sign(&ours, instant_s, BODY);
        let table = [
            ("as it was signed", signed.clone(), BODY, Ok(())),
            ("with a space", signed.replace(",v1", ", v1"), BODY, Ok(())),
            ("with two secrets", both, BODY, Ok(())),
            ("by somebody else", theirs, BODY, Err(Fault::Mismatch)),
            ("another body", signed.clone(), b"{\"id\":\"evt_2\"}", Err(Fault::Mismatch)),
            ("one byte more", signed.clone(), b"{\"id\":\"evt_1\"} ", Err(Fault::Mismatch)),
            ("another instant", signed.replace("t=17", "t=18"), BODY, Err(Fault::Mismatch)),
            ("cut short", signed[..signed.len() - 2].into(), BODY, Err(Fault::Mismatch)),
            ("at the edge of age", at(NOW_S - 300), BODY, Ok(())),
            ("too old", at(NOW_S - 301), BODY, Err(Fault::NotOfNow)),
            ("at the edge of the future", at(NOW_S + 300), BODY, Ok(())),
            ("of the future", at(NOW_S + 301), BODY, Err(Fault::NotOfNow)),
            ("only the test scheme", signed.replace("v1=", "v0="), BODY, Err(Fault::Malformed)),
            ("no instant", signed.replace("t=", "s="), BODY, Err(Fault::Malformed)),
            ("not hexadecimal", format!("t={NOW_S},v1=zz"), BODY, Err(Fault::Malformed)),
            ("half a byte", format!("t={NOW_S},v1=abc"), BODY, Err(Fault::Malformed)),
            ("not ASCII", format!("t={NOW_S},v1=äö"), BODY, Err(Fault::Malformed)),
            ("nothing", String::new(), BODY, Err(Fault::Malformed)),
        ];
        for (what, header, body, want) in table {
            assert_eq!(verify(&ours, &header, body, NOW_S), want, "{what}");
        }
    }
}
