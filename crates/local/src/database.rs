//! The one database of a mesh: each service's login role, and the schema of the same name that it
//! owns and finds first. What is inside a schema is its service's migrations'.

use std::{collections::BTreeMap, fmt, str::FromStr as _};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection,
    postgres::PgConnectOptions,
};

use crate::secret::Secrets;

/// The database's name.
pub const NAME: &str = "firstcome";
/// Makes the logins; [`Database::prepare`] gives each one's password as a setting. Deployments run
/// the same two scripts.
const ROLES: &str = include_str!("../../../deploy/postgres/roles.sql");
/// Makes the schemas in a database, and the extensions beside them.
const SCHEMAS: &str = include_str!("../../../deploy/postgres/schemas.sql");

/// A service's login, and its schema of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Accounts.
    User,
    /// Products, stock and holds.
    Inventory,
    /// Orders.
    Order,
    /// Charges.
    Payment,
    /// The sandbox provider's own ledger, which payment cannot see.
    Sandbox,
}

impl Role {
    /// Every one.
    pub const ALL: [Self; 5] =
        [Self::User, Self::Inventory, Self::Order, Self::Payment, Self::Sandbox];

    /// The name of login and schema.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "fc_user",
            Self::Inventory => "fc_inventory",
            Self::Order => "fc_order",
            Self::Payment => "fc_payment",
            Self::Sandbox => "fc_sandbox",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What each role logs in with.
#[derive(Clone)]
pub struct Passwords(BTreeMap<Role, String>);

impl Passwords {
    /// Made once and kept.
    pub fn kept(secrets: &Secrets) -> Result<Self> {
        let password = |role: Role| Ok((role, secrets.get(&format!("postgres-{role}"))?));
        Role::ALL.into_iter().map(password).collect::<Result<_>>().map(Self)
    }

    /// One that everybody may know, where nobody is asked for it.
    pub fn throwaway() -> Self {
        Self(Role::ALL.into_iter().map(|role| (role, "throwaway".to_owned())).collect())
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A database with its roles and schemas, and how to reach it.
#[derive(Clone, Debug)]
pub struct Database {
    admin: PgConnectOptions,
    passwords: Passwords,
}

impl Database {
    /// Makes what is missing: roles, database, schemas. `admin_url` logs in somebody who may.
    pub async fn prepare(admin_url: &str, passwords: Passwords) -> Result<Self> {
        let admin = PgConnectOptions::from_str(admin_url).context("read the database's address")?;
        let database = Self { admin: admin.disable_statement_logging(), passwords };
        let password = |role| (format!("firstcome.{role}_password"), &database.passwords.0[&role]);
        let settings = database.admin.clone().options(Role::ALL.map(password));
        let mut server =
            settings.database("postgres").connect().await.context("log in to database postgres")?;
        server.execute(ROLES).await.context("make the roles")?;
        let exists: bool =
            sqlx::query_scalar("select count(*) > 0 from pg_database where datname = $1")
                .bind(NAME)
                .fetch_one(&mut server)
                .await?;
        if !exists {
            database.create(&mut server, NAME, None).await?;
        }
        server.close().await?;
        database.prepare_schemas(NAME).await?;
        Ok(database)
    }

    /// Where a role logs in.
    pub fn url(&self, role: Role) -> String {
        self.url_of(role, NAME)
    }

    /// Where a role logs in to another database of this server.
    pub fn url_of(&self, role: Role, database: &str) -> String {
        let (host, port) = (self.admin.get_host(), self.admin.get_port());
        let password = &self.passwords.0[&role];
        format!("postgres://{role}:{password}@{host}:{port}/{database}")
    }

    /// Makes the schemas in a database of this server, and the extensions beside them.
    pub async fn prepare_schemas(&self, database: &str) -> Result<()> {
        let mut connection = self.connect_as_admin(database).await?;
        connection
            .execute(SCHEMAS)
            .await
            .context("make the schemas (extension pg_trgm: package postgresql-contrib)")?;
        connection.close().await?;
        Ok(())
    }

    /// Makes another database, empty or as a copy of one that nobody is connected to.
    pub async fn create(
        &self,
        server: &mut PgConnection,
        name: &str,
        template: Option<&str>,
    ) -> Result<()> {
        let template = template.map(|name| format!(" template {name}")).unwrap_or_default();
        let sql = format!("create database {name}{template}");
        server.execute(AssertSqlSafe(sql)).await.with_context(|| format!("database {name}"))?;
        Ok(())
    }

    /// Logs the administrator in.
    pub async fn connect_as_admin(&self, database: &str) -> Result<PgConnection> {
        let options = self.admin.clone().database(database);
        options.connect().await.with_context(|| format!("log in to database {database}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_make_every_role_and_its_schema() {
        for role in Role::ALL {
            assert!(ROLES.contains(&format!("'{role}'")), "{role}");
            let schema = format!("create schema if not exists {role} authorization {role};");
            assert!(SCHEMAS.contains(&schema), "{role}");
        }
    }
}
