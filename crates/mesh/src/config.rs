//! Configuration: flags and environment through clap, every fault reported at once and before a
//! port is bound. Wrong configuration exits 64 (EX_USAGE).

use std::{ffi::OsString, net::SocketAddr, str::FromStr, time::Duration};

use clap::{
    ArgMatches, Command, Parser,
    builder::{Resettable, ValueParser},
    error::{ContextKind, ContextValue, ErrorKind},
};
use http::Uri;

use crate::{server::inject::Injected, tls::Tls};

/// EX_USAGE of sysexits.h: the configuration is wrong.
pub const EXIT_USAGE: i32 = 64;

/// Callers who follow our health leave within a moment; those who come by a name need longer, and
/// where there are any, this is to be longer too.
const DRAIN_WAIT_DEFAULT: &str = "1s";
/// Calls in flight when the process stops get this long. With the wait before it, shorter than the
/// 30 s of grace that Kubernetes gives a pod.
const DRAIN_TIMEOUT_DEFAULT: &str = "20s";

/// What every `serve` takes.
#[derive(clap::Args, Clone, Debug)]
pub struct Serve {
    /// Address and port to listen on.
    #[arg(long, env = "FIRSTCOME_LISTEN")]
    pub listen: SocketAddr,

    /// Address and port to answer probes on, in the clear; without it, nobody without a certificate
    /// learns how this process is.
    #[arg(long, env = "FIRSTCOME_HEALTH_LISTEN")]
    pub health_listen: Option<SocketAddr>,

    /// How long the process goes on serving once it is told to stop and has said that it is not
    /// ready any more: the time in which its callers find somebody else.
    #[arg(long, env = "FIRSTCOME_DRAIN_WAIT", default_value = DRAIN_WAIT_DEFAULT,
          value_parser = humantime::parse_duration)]
    pub drain_wait: Duration,

    /// How long calls in flight may take to end after that.
    #[arg(long, env = "FIRSTCOME_DRAIN_TIMEOUT", default_value = DRAIN_TIMEOUT_DEFAULT,
          value_parser = humantime::parse_duration)]
    pub drain_timeout: Duration,

    /// What it proves itself by.
    #[command(flatten)]
    pub tls: Tls,

    /// What it tells of the calls that are traced.
    #[command(flatten)]
    pub traces: Traces,

    /// What it does wrong.
    #[command(flatten)]
    pub faults: Faulty,
}

/// Faults made on purpose. They take two words, so that none is made by mistake.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Faulty {
    /// Faults to make of calls, separated by commas: `errors:5%`, `errors:10s-of-60s`,
    /// `latency:500ms:10s-of-60s`.
    #[arg(long, env = "FIRSTCOME_INJECT_FAULTS", value_delimiter = ',')]
    pub inject_faults: Vec<Injected>,

    /// That they are wanted: a process that sells has none.
    #[arg(long, env = "FIRSTCOME_INJECT_FAULTS_ALLOWED", default_value_t = false,
          action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub inject_faults_allowed: bool,
}

impl Validate for Faulty {
    fn faults(&self) -> Vec<String> {
        if self.inject_faults.is_empty() || self.inject_faults_allowed {
            return Vec::new();
        }
        vec![
            "inject-faults makes calls fail; where that is wanted, \
              FIRSTCOME_INJECT_FAULTS_ALLOWED=true says so"
                .to_owned(),
        ]
    }
}

/// Those of a service inside. The public port has its own rules: who calls there has a token.
impl Validate for Serve {
    fn faults(&self) -> Vec<String> {
        let mut faults = self.tls.faults();
        faults.extend(self.faults.faults());
        if self.tls.files().is_ok_and(|files| files.is_none()) && !self.listen.ip().is_loopback() {
            faults.push(format!(
                "without --tls-certificate only loopback can be listened on, not {}",
                self.listen
            ));
        }
        faults
    }
}

/// What every command takes.
#[derive(clap::Args, Clone, Debug)]
pub struct Logs {
    /// What to log, as a tracing filter: `info`, `warn,firstcome_order=debug`.
    #[arg(long, env = "FIRSTCOME_LOG", default_value = "info", global = true)]
    pub log: String,

    /// How to log it.
    #[arg(long, env = "FIRSTCOME_LOG_FORMAT", default_value = "text", global = true)]
    pub log_format: LogFormat,
}

/// The shape of a log line.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines, one object a line.
    Json,
}

/// Where spans go; the variable is OpenTelemetry's own.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Traces {
    /// A collector that takes OTLP by gRPC, as in http://127.0.0.1:4317; without one, nothing is
    /// exported, and the edge traces nothing.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_parser = collector)]
    pub otlp_endpoint: Option<Uri>,
}

/// In the clear, because a collector stands beside whom it serves; the way onward is its own.
fn collector(text: &str) -> Result<Uri, String> {
    match text.parse::<Uri>() {
        Ok(uri) if uri.scheme_str() == Some("http") && uri.authority().is_some() => Ok(uri),
        _ => Err(format!("want a collector as in http://127.0.0.1:4317, not {text:?}")),
    }
}

/// A part of all, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(f64);

impl Share {
    /// Whether it reaches over this throw, of at least 0 and below 1.
    pub fn includes(self, throw: f64) -> bool {
        throw < self.0
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(share) if (0.0..=1.0).contains(&share) => Ok(Self(share)),
            _ => Err(format!("want a share from 0 to 1, not {text:?}")),
        }
    }
}

/// Faults that no single value shows: contradictions between values.
pub trait Validate {
    /// Each fault as one lower-case sentence without a full stop.
    fn faults(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Reads the process's flags and environment, or reports every fault and exits 64.
pub fn load<C: Parser + Validate>() -> C {
    match read::<C>(std::env::args_os()) {
        Ok(config) => config,
        Err(Faults::Display(error)) => error.exit(),
        Err(Faults::All(faults)) => {
            for fault in &faults {
                eprintln!("error: {fault}");
            }
            eprintln!("{} fault(s) in the configuration; see --help", faults.len());
            std::process::exit(EXIT_USAGE);
        }
    }
}

/// Why there is no configuration.
#[derive(Debug)]
pub enum Faults {
    /// `--help` and `--version` are answers, not faults.
    Display(clap::Error),
    /// Everything that is wrong.
    All(Vec<String>),
}

/// Reads a configuration from these arguments and the process's environment.
pub fn read<C: Parser + Validate>(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<C, Faults> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let matches = matches(C::command(), &arguments)?;
    let config =
        C::from_arg_matches(&matches).map_err(|error| Faults::All(vec![one_line(&error)]))?;
    match config.faults() {
        faults if faults.is_empty() => Ok(config),
        faults => Err(Faults::All(faults)),
    }
}

/// clap stops at the first fault. To find the others, the faulty argument is made to accept
/// anything, and the arguments are read again.
fn matches(mut command: Command, arguments: &[OsString]) -> Result<ArgMatches, Faults> {
    let mut faults = Vec::new();
    // Also the subcommands that were not asked for: their arguments have no names until then.
    command.build();
    loop {
        let error = match command.try_get_matches_from_mut(arguments) {
            Ok(matches) if faults.is_empty() => return Ok(matches),
            Ok(_) => return Err(Faults::All(faults)),
            Err(error) => error,
        };
        if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
            return Err(Faults::Display(error));
        }
        let fault = one_line(&error);
        let known = faults.contains(&fault);
        if !known {
            faults.push(fault);
        }
        let culprits = culprits(&error);
        if known || culprits.is_empty() {
            return Err(Faults::All(faults));
        }
        command = lenient(command, &culprits);
    }
}

/// The arguments that an error is about, as clap displays them.
fn culprits(error: &clap::Error) -> Vec<String> {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => vec![argument.clone()],
        Some(ContextValue::Strings(arguments)) => arguments.clone(),
        _ => Vec::new(),
    }
}

fn lenient(command: Command, culprits: &[String]) -> Command {
    let command = command.mut_args(|argument| {
        if !culprits.contains(&argument.to_string()) {
            return argument;
        }
        argument.required(false).value_parser(ValueParser::os_string()).env(Resettable::Reset)
    });
    command.mut_subcommands(|subcommand| lenient(subcommand, culprits))
}

/// The first paragraph of clap's message, without its prefix.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let paragraph = paragraph.strip_prefix("error: ").unwrap_or(paragraph);
    paragraph.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Parser, Debug)]
    struct Shop {
        #[command(flatten)]
        serve: Serve,
        #[arg(long)]
        pool: u16,
        #[arg(long, default_value_t = 1)]
        floor: u16,
    }

    impl Validate for Shop {
        fn faults(&self) -> Vec<String> {
            let mut faults = self.serve.faults();
            if self.floor > self.pool {
                faults.push("floor is above pool".into());
            }
            faults
        }
    }

    fn faults(arguments: &[&str]) -> Vec<String> {
        let arguments = std::iter::once("shop").chain(arguments.iter().copied());
        match read::<Shop>(arguments.map(OsString::from)) {
            Err(Faults::All(faults)) => faults,
            other => panic!("want faults, have {other:?}"),
        }
    }

    #[test]
    fn every_fault_is_reported_at_once() {
        let faults = faults(&["--listen", "nowhere", "--pool", "many", "--drain-timeout", "soon"]);
        assert_eq!(faults.len(), 3, "{faults:?}");
    }

    #[test]
    fn missing_values_are_reported_with_the_wrong_ones() {
        let faults = faults(&["--drain-timeout", "soon"]).join("\n");
        for part in ["--drain-timeout", "--listen", "--pool"] {
            assert!(faults.contains(part), "{part} in {faults}");
        }
    }

    #[derive(clap::Subcommand, Debug)]
    enum Work {
        Serve(Box<Serve>),
        Migrate {
            #[arg(long)]
            steps: u16,
        },
    }

    #[derive(Parser, Debug)]
    struct Binary {
        #[command(flatten)]
        logs: Logs,
        #[command(subcommand)]
        work: Work,
    }

    impl Validate for Binary {}

    #[test]
    fn every_fault_of_a_subcommand_is_reported_beside_another_subcommand() {
        let arguments = ["shop", "serve", "--listen=nowhere", "--drain-timeout=soon"];
        match read::<Binary>(arguments.map(OsString::from)) {
            Err(Faults::All(faults)) => assert_eq!(faults.len(), 2, "{faults:?}"),
            other => panic!("want faults, have {other:?}"),
        }
        let binary = read::<Binary>(["shop", "migrate", "--steps=3"].map(OsString::from));
        let Binary { logs, work } = binary.expect("a right configuration");
        assert!(matches!(work, Work::Migrate { steps: 3 }) && logs.log == "info", "{work:?}");
    }

    #[test]
    fn a_collector_that_could_not_be_called_is_a_fault() {
        for text in ["collector:4317", "https://collector:4317", "http:///traces", ""] {
            let faults = faults(&["--listen=127.0.0.1:1", "--pool=2", "--otlp-endpoint", text]);
            assert!(faults.len() == 1 && faults[0].contains("collector as in"), "{faults:?}");
        }
    }

    #[test]
    fn a_share_is_a_number_from_nothing_to_all() {
        for (text, is_one) in
            [("0", true), ("0.01", true), ("1", true), ("1.1", false), ("-0.1", false)]
        {
            assert_eq!(text.parse::<Share>().is_ok(), is_one, "{text}");
        }
        assert!("NaN".parse::<Share>().is_err() && "".parse::<Share>().is_err());
        let (none, all) = (Share(0.0), Share(1.0));
        assert!(!none.includes(0.0) && all.includes(0.999));
    }

    #[test]
    fn contradictions_are_faults() {
        let faults = faults(&["--listen", "127.0.0.1:1", "--pool", "1", "--floor", "2"]);
        assert_eq!(faults, ["floor is above pool"]);
    }

    #[test]
    fn faults_are_made_by_nobody_who_does_not_say_so_twice() {
        let wanted = ["--listen=127.0.0.1:1", "--pool=2", "--inject-faults=errors:5%"];
        let once = faults(&wanted);
        assert!(once.len() == 1 && once[0].contains("_ALLOWED=true"), "{once:?}");
        let twice = [&["shop"], &wanted[..], &["--inject-faults-allowed"]].concat();
        let shop = read::<Shop>(twice.iter().map(OsString::from)).expect("a right configuration");
        assert_eq!(shop.serve.faults.inject_faults.len(), 1);
        let wrong = faults(&["--listen=127.0.0.1:1", "--pool=2", "--inject-faults=panics:5%"]);
        assert!(wrong.len() == 1 && wrong[0].contains("errors:5%"), "{wrong:?}");
    }

    #[test]
    fn in_the_clear_a_service_listens_on_loopback_only() {
        let faults = |arguments: &[&str]| faults(&[&["--pool=2"], arguments].concat()).join("\n");
        assert!(faults(&["--listen=0.0.0.0:1"]).contains("not 0.0.0.0:1"));
        let incomplete = faults(&["--listen=127.0.0.1:1", "--tls-key=/nowhere"]);
        assert!(incomplete.contains("go together"), "{incomplete}");
        let files = ["--tls-key=/nowhere", "--tls-certificate=/none", "--tls-authority=/none"];
        let unreadable = faults(&[&["--listen=0.0.0.0:1"], &files[..]].concat());
        assert!(unreadable.contains("cannot be read") && !unreadable.contains("loopback"));
    }
}
