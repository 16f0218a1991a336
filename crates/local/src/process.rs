//! Child processes that end with this one, even when it is killed with SIGKILL.
//!
//! The kernel sends a child its parent-death signal when the *thread* that started it ends, so one
//! thread, which lives as long as the process, starts them all. `setpriv` of util-linux asks for
//! the signal, and changes the user where that is wanted, so no unsafe code is needed here.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, OnceLock, mpsc},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

/// How often a process that should end is looked at.
const EXIT_POLL: Duration = Duration::from_millis(10);
/// How much of a log a failure quotes.
const LOG_TAIL_LINES: usize = 12;

/// An account of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// As in `postgres`.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// The number of its first group.
    pub gid: u32,
}

impl User {
    /// Looks an account up by name.
    pub fn named(name: &str) -> Option<Self> {
        let accounts = fs::read_to_string("/etc/passwd").ok()?;
        accounts.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let &[account, _, uid, gid, ..] = fields.as_slice() else { return None };
            let user =
                || Some(Self { name: name.into(), uid: uid.parse().ok()?, gid: gid.parse().ok()? });
            if account == name { user() } else { None }
        })
    }

    /// Whether this process is root's.
    pub fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }
}

/// A program about to be started.
#[derive(Clone, Debug)]
pub struct Launch {
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    folder: PathBuf,
    log: PathBuf,
    user: Option<User>,
    death_signal: &'static str,
}

impl Launch {
    /// A program that writes both its outputs to `log`, and by whose `name` it is spoken of.
    pub fn new(name: &str, program: impl Into<PathBuf>, log: impl Into<PathBuf>) -> Self {
        Self {
            name: name.to_owned(),
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            folder: PathBuf::from("/"),
            log: log.into(),
            user: None,
            death_signal: "KILL",
        }
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Adds an option whose value is a path.
    pub fn arg_path(mut self, option: &str, path: &Path) -> Self {
        self.args.extend([OsString::from(option), path.into()]);
        self
    }

    /// Sets variables of its environment; the rest is ours.
    pub fn env<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        mut self,
        env: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let owned = |(key, value): (K, V)| (key.as_ref().to_owned(), value.as_ref().to_owned());
        self.env.extend(env.into_iter().map(owned));
        self
    }

    /// Sets or takes back one variable.
    pub fn set_env(&mut self, name: &str, value: Option<&str>) {
        self.env.retain(|(known, _)| known != name);
        self.env.extend(value.map(|value| (name.into(), value.into())));
    }

    /// Writes both outputs elsewhere.
    pub fn log(mut self, log: impl Into<PathBuf>) -> Self {
        self.log = log.into();
        self
    }

    /// The folder it starts in; `/` unless set.
    pub fn folder(mut self, folder: &Path) -> Self {
        self.folder = folder.to_owned();
        self
    }

    /// Runs it as another user; only root may.
    pub fn user(mut self, user: Option<User>) -> Self {
        self.user = user;
        self
    }

    /// The signal it gets when this process dies, as in `INT`; `KILL` unless set.
    pub fn death_signal(mut self, name: &'static str) -> Self {
        self.death_signal = name;
        self
    }

    /// Starts it.
    pub fn start(&self) -> Result<Process> {
        if let Some(folder) = self.log.parent() {
            fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        }
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("open {}", self.log.display()))?;

        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", self.death_signal]);
        if let Some(user) = &self.user {
            command.args(["--reuid", &user.uid.to_string(), "--regid", &user.gid.to_string()]);
            command.arg("--clear-groups");
        }
        command
            .arg("--")
            .arg(&self.program)
            .args(&self.args)
            .envs(self.env.iter().map(|(key, value)| (key, value)))
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stderr(log.try_clone()?)
            .stdout(log)
            // Ctrl-C in a terminal goes to a whole group: we stop our children in our own order.
            .process_group(0);
        let child = spawn(command)
            .with_context(|| format!("start {} through setpriv (util-linux)", self.name))?;
        Ok(Process {
            name: self.name.clone(),
            pid: child.id(),
            log: self.log.clone(),
            child: Mutex::new(child),
        })
    }

    /// The end of its log, for an error message.
    pub fn log_tail(&self) -> String {
        log_tail(&self.log)
    }

    /// Starts it and waits for its end; anything but success is an error that quotes its log.
    pub async fn run(&self, deadline: Duration) -> Result<()> {
        let process = self.start()?;
        match process.ended_within(deadline).await {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("{} failed ({status}){}", self.name, self.log_tail()),
            None => bail!("{} takes longer than {deadline:?}{}", self.name, self.log_tail()),
        }
    }
}

/// A running child; dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: u32,
    log: PathBuf,
    child: Mutex<Child>,
}

impl Process {
    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// How it ended, if it has.
    pub fn ended(&self) -> Option<ExitStatus> {
        let mut child = self.child.lock().expect("nobody panics while holding a child");
        child.try_wait().expect("our own child can be waited for")
    }

    /// Sends a signal; an ended process takes none.
    pub fn signal(&self, signal: Signal) {
        // Checked first: the number of an ended and reaped child may be another process by now.
        if self.ended().is_none() {
            crate::process::signal(self.pid, signal);
        }
    }

    /// Kills it at once, as `kill -9` does, and waits until it is gone.
    pub fn kill9(&self) {
        self.signal(Signal::KILL);
        let mut child = self.child.lock().expect("nobody panics while holding a child");
        let _ = child.wait();
    }

    /// Asks it to stop, and kills it when it has not by the deadline; true when it obeyed.
    pub async fn stop(&self, signal: Signal, deadline: Duration) -> bool {
        self.signal(signal);
        let obeyed = self.ended_within(deadline).await.is_some();
        self.kill9();
        obeyed
    }

    /// Waits for its end.
    pub async fn ended_within(&self, deadline: Duration) -> Option<ExitStatus> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            if started.elapsed() >= deadline {
                return None;
            }
            tokio::time::sleep(EXIT_POLL).await;
        }
    }

    /// An error that says so, and quotes the log, if it has ended.
    pub fn ensure_running(&self) -> Result<()> {
        match self.ended() {
            None => Ok(()),
            Some(status) => Err(anyhow!("{} ended ({status}){}", self.name, log_tail(&self.log))),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// Sends a signal to a process; one that has ended, or that is not ours to signal, takes none.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Removes a folder when this process ends, however it ends.
///
/// A shell waits for the end of a pipe whose other end we hold until we die.
pub fn remove_after_us(folder: &Path) -> Result<()> {
    const WAIT_AND_REMOVE: &str = "cat >/dev/null; \
        for _ in 1 2 3 4 5 6 7 8 9; do sleep 0.3; rm -rf -- \"$1\" 2>/dev/null && exit; done";
    let mut command = Command::new("sh");
    command
        .args(["-c", WAIT_AND_REMOVE, "remove-after"])
        .arg(folder)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    let child = spawn(command).context("start sh")?;
    // Forgotten on purpose: the pipe closes with the process, not before.
    std::mem::forget(child);
    Ok(())
}

fn log_tail(path: &Path) -> String {
    let log = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n  ");
    format!("; the end of {}:\n  {tail}", path.display())
}

/// Starts a command from the one thread whose end is the end of this process.
fn spawn(command: Command) -> std::io::Result<Child> {
    type Request = (Command, mpsc::Sender<std::io::Result<Child>>);
    static STARTER: OnceLock<mpsc::Sender<Request>> = OnceLock::new();

    let starter = STARTER.get_or_init(|| {
        let (sender, requests) = mpsc::channel::<Request>();
        let serve = move || {
            for (mut command, reply) in requests {
                // The asker may have left; then the child is dropped, and ends with us.
                let _ = reply.send(command.spawn());
            }
        };
        let thread = std::thread::Builder::new().name("starter".to_owned());
        thread.spawn(serve).expect("a process can start a thread");
        sender
    });
    let (reply, answer) = mpsc::channel();
    starter.send((command, reply)).expect("the starter lives as long as the process");
    answer.recv().expect("the starter answers every request")
}
