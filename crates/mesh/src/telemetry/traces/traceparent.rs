//! The one header by which a trace travels, as the W3C has it:
//! `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01`. What else may come with it
//! (`tracestate`, `baggage`) is read by nobody here and passed on to nobody.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// Its name.
pub const HEADER: HeaderName = HeaderName::from_static("traceparent");

/// The length of what version 00 has to say; later versions say more behind it.
const LENGTH: usize = 55;

/// The span that a call says it is a part of, sampled or not. What does not read is as good as no
/// header: a trace is never a reason to refuse. Stricter than the library's own, which takes ids
/// that are too short and digits with a sign.
pub fn read(headers: &HeaderMap) -> Option<SpanContext> {
    parse(headers.get(HEADER)?.as_bytes())
}

fn parse(text: &[u8]) -> Option<SpanContext> {
    let (said, more) = text.split_at_checked(LENGTH)?;
    let said = str::from_utf8(said).ok()?;
    let mut parts = said.split('-');
    let version = digits(parts.next()?, 2)?;
    let (trace, span) = (digits(parts.next()?, 32)?, digits(parts.next()?, 16)?);
    let flags = u8::from_str_radix(digits(parts.next()?, 2)?, 16).ok()?;
    match (version, more) {
        ("00", []) => {}
        ("00" | "ff", _) => return None,
        (_, [] | [b'-', ..]) => {}
        _ => return None,
    }
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(flags) & TraceFlags::SAMPLED,
        true,
        TraceState::NONE,
    );
    context.is_valid().then_some(context) // not of zeroes
}

fn digits(part: &str, count: usize) -> Option<&str> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (part.len() == count && part.bytes().all(is_digit)).then_some(part)
}

/// Says in a call's headers which span it is a part of, whatever was said there before.
pub fn write(headers: &mut HeaderMap, of: &SpanContext) {
    let text = format!("00-{}-{}-{:02x}", of.trace_id(), of.span_id(), of.trace_flags());
    headers.insert(HEADER, HeaderValue::try_from(text).expect("made of digits and dashes"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_as_the_standard_says_or_not_at_all() {
        let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        let good = format!("00-{trace}-{span}-01");
        let table = [
            (good.clone(), Some(true)),
            (format!("00-{trace}-{span}-00"), Some(false)),
            (format!("00-{trace}-{span}-03"), Some(true)), // flags that nobody knows yet
            (format!("cc-{trace}-{span}-01"), Some(true)), // so are versions
            (format!("cc-{trace}-{span}-01-more"), Some(true)),
            (format!("cc-{trace}-{span}-01more"), None),
            (format!("ff-{trace}-{span}-01"), None),
            (format!("00-{trace}-{span}-01-more"), None),
            (format!("00-{trace}-{span}-1"), None),
            (format!("00-{}-{span}-01", trace.to_uppercase()), None),
            (format!("00-{}-{span}-01", "0".repeat(32)), None),
            (format!("00-{trace}-{}-01", "0".repeat(16)), None),
            (format!("00-+{}-{span}-01", &trace[1..]), None),
            (format!("00-{}-{span}0-01", &trace[1..]), None),
            (format!("00-{trace}-{span}_01"), None),
            (format!(" {}", &good[1..]), None),
            (String::new(), None),
            ("00-1-1-01".to_owned(), None),
        ];
        for (text, sampled) in table {
            let read = parse(text.as_bytes());
            assert_eq!(read.as_ref().map(SpanContext::is_sampled), sampled, "{text:?}");
            if let Some(context) = read {
                let ids = (context.trace_id().to_string(), context.span_id().to_string());
                assert_eq!(ids, (trace.to_owned(), span.to_owned()), "{text:?}");
            }
        }
        assert!(parse("é".repeat(40).as_bytes()).is_none());

        let mut headers = HeaderMap::new();
        headers.insert(HEADER, "rubbish".parse().unwrap());
        assert!(read(&headers).is_none());
        write(&mut headers, &parse(good.as_bytes()).unwrap());
        assert_eq!(headers.get_all(HEADER).iter().collect::<Vec<_>>(), [good.as_str()]);
    }
}
