//! `prepare`: renews what the query macros know of the database (`.sqlx` in each service's folder)
//! from the migrations alone, on a Postgres that exists for this only.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use anyhow::{Context as _, Result, bail};
use firstcome_local::{Checkout, Postgres, Role, checkout, port, postgres, tools::Programs};
use sqlx::{Connection as _, PgConnection, migrate::Migrator};

/// What to do with what is found.
#[derive(Clone, Debug, clap::Args)]
pub struct PrepareArgs {
    /// Change nothing; fail when something would change
    #[arg(long)]
    pub check: bool,
}

/// A crate whose queries are checked while it is compiled.
struct Service {
    folder: PathBuf,
    package: String,
    /// The variable that its sqlx.toml names.
    url_variable: String,
    /// Its migrations, and whose schema each makes.
    migrations: Vec<(Role, PathBuf)>,
}

/// Renews every service's, or checks that there is nothing to renew.
pub async fn prepare(checkout: &Checkout, args: &PrepareArgs) -> Result<()> {
    let services = services(checkout)?;
    let folder = checkout::create_throwaway_folder()?;
    let postgres = Postgres::start(postgres::Options {
        programs: Programs::find_or_install(checkout)?.postgres,
        folder: folder.join("postgres"),
        port: port::free_row(1)?[0],
        log: folder.join("postgres.log"),
        kind: postgres::Kind::Throwaway,
    })
    .await?;

    let mut databases = Vec::new();
    for service in &services {
        databases.push((service.url_variable.as_str(), migrate(&postgres, service).await?));
    }
    let stale = match args.check {
        true => stale(checkout, &services, &databases, &folder.join("queries"))?,
        false => renew(checkout, &services, &databases, &folder)?,
    };
    postgres.stop().await;
    match (stale.is_empty(), args.check) {
        (true, _) => println!("every .sqlx folder is up to date"),
        (false, false) => println!("renewed: {}", stale.join(", ")),
        (false, true) => bail!("out of date: {}; run cargo xtask prepare", stale.join(", ")),
    }
    Ok(())
}

/// Whatever has a sqlx.toml.
fn services(checkout: &Checkout) -> Result<Vec<Service>> {
    let mut services = Vec::new();
    for entry in fs::read_dir(checkout.root().join("services"))? {
        let folder = entry?.path();
        let Ok(config) = fs::read_to_string(folder.join("sqlx.toml")) else { continue };
        let variable = config.lines().find_map(|line| {
            let value = line.strip_prefix("database-url-var")?.trim_start().strip_prefix('=')?;
            Some(value.trim().trim_matches('"').to_owned())
        });
        let name = folder.file_name().and_then(OsStr::to_str).context("a folder with a name")?;
        services.push(Service {
            package: format!("firstcome-{name}"),
            url_variable: variable.with_context(|| format!("{name}: want database-url-var"))?,
            migrations: migrations(&folder, name)?,
            folder: folder.clone(),
        });
    }
    services.sort_by(|one, other| one.package.cmp(&other.package));
    Ok(services)
}

/// `migrations` make the schema of the service, `sandbox-migrations` that of the sandbox.
fn migrations(folder: &Path, service: &str) -> Result<Vec<(Role, PathBuf)>> {
    let mut migrations = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let Some(owner) = name.strip_suffix("migrations") else { continue };
        let owner = owner.strip_suffix('-').unwrap_or(service);
        let role = Role::named(&format!("fc_{owner}"));
        migrations.push((role.with_context(|| format!("{name} of {service}: whose?"))?, path));
    }
    Ok(migrations)
}

/// Runs a service's migrations, each as its role; the address sees all their schemas.
async fn migrate(postgres: &Postgres, service: &Service) -> Result<String> {
    for (role, path) in &service.migrations {
        let migrator = Migrator::new(path.as_path()).await?;
        let mut connection = PgConnection::connect(&postgres.database().url(*role)).await?;
        migrator
            .run_direct(None, &mut connection, false)
            .await
            .with_context(|| format!("run {}", path.display()))?;
        connection.close().await?;
    }
    let schemas: Vec<&str> = service.migrations.iter().map(|(role, _)| role.name()).collect();
    let path = schemas.join(",");
    Ok(format!("{}/firstcome?options=-csearch_path%3D{path}", postgres.admin_url()))
}

/// Where each service's queries are checked, by the variable that says so.
type Databases<'a> = [(&'a str, String)];

/// Whether something would change. All services are compiled at once, as the lints compile them, so
/// that what these have compiled is not compiled again; hence all queries in one folder, which is
/// as good: a build without a database wants each in its service's.
fn stale<'a>(
    checkout: &Checkout,
    services: &'a [Service],
    databases: &Databases<'_>,
    fresh: &Path,
) -> Result<Vec<&'a str>> {
    let all = ["clippy", "--quiet", "--workspace", "--all-targets"];
    compile(checkout, services, &all, databases, fresh)?;
    let mut fresh = read(fresh)?;
    let known = fresh.clone();
    let mut stale = Vec::new();
    for service in services {
        let committed = read(&service.folder.join(".sqlx"))?;
        if committed.iter().any(|(name, contents)| known.get(name) != Some(contents)) {
            stale.push(service.package.as_str());
        }
        fresh.retain(|name, _| !committed.contains_key(name));
    }
    if stale.is_empty() && !fresh.is_empty() {
        bail!("{} queries were never prepared; run cargo xtask prepare", fresh.len());
    }
    Ok(stale)
}

/// Writes anew what changed, and says whose.
fn renew<'a>(
    checkout: &Checkout,
    services: &'a [Service],
    databases: &Databases<'_>,
    folder: &Path,
) -> Result<Vec<&'a str>> {
    let mut renewed = Vec::new();
    for service in services {
        eprintln!("checking the queries of {} ...", service.package);
        let fresh = folder.join(&service.package);
        let alone = ["check", "--quiet", "--package", &service.package];
        compile(checkout, std::slice::from_ref(service), &alone, databases, &fresh)?;
        let committed = service.folder.join(".sqlx");
        if read(&fresh)? != read(&committed)? {
            replace(&fresh, &committed)?;
            renewed.push(service.package.as_str());
        }
    }
    Ok(renewed)
}

/// Compiles services against the database; their macros write what they asked.
fn compile(
    checkout: &Checkout,
    services: &[Service],
    arguments: &[&str],
    databases: &Databases<'_>,
    fresh: &Path,
) -> Result<()> {
    fs::create_dir_all(fresh)?;
    // Macros run only when their crate is compiled.
    for service in services {
        File::options()
            .append(true)
            .open(service.folder.join("src/lib.rs"))
            .and_then(|file| file.set_modified(SystemTime::now()))
            .with_context(|| format!("touch {}", service.package))?;
    }
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(arguments)
        .current_dir(checkout.root())
        .env("SQLX_OFFLINE", "false")
        .env("SQLX_OFFLINE_DIR", fresh)
        .envs(databases.iter().map(|(variable, url)| (variable, url)))
        .status()
        .context("run cargo")?;
    if !status.success() {
        bail!("queries do not fit the migrations");
    }
    Ok(())
}

fn read(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry?.path();
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default().to_owned();
        files.insert(name, fs::read(&path)?);
    }
    Ok(files)
}

fn replace(fresh: &Path, committed: &Path) -> Result<()> {
    if committed.exists() {
        fs::remove_dir_all(committed)?;
    }
    fs::create_dir_all(committed)?;
    for (name, contents) in read(fresh)? {
        fs::write(committed.join(name), contents)?;
    }
    Ok(())
}
