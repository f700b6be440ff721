//! The database and its tables, before the store is used.

use cloudstore_service::{Problem, Result};
use sqlx::{
    AssertSqlSafe, Connection as _, MySqlConnection, Row as _, migrate::Migrator,
    mysql::MySqlConnectOptions, raw_sql,
};

use super::{
    error::{database, unavailable},
    gtid::Position,
    pools,
    primaries::{Primaries, Primary},
};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/mysql");
/// How long a process waits while another one changes the schema.
const MAX_TURN_SECONDS: i64 = 60;
/// Longest name of a database.
const MAX_NAME: usize = 64;

/// A name goes into statements as it is.
pub(super) fn check_name(name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(Problem::internal(
        "the name of the database must be 1 to 64 letters, digits and underscores",
    ))
}

/// Brings the schema up to date; answers with the position from which replicas have it. Without a
/// primary one of the replicas has to have it already.
pub(super) async fn prepare(
    primaries: &Primaries,
    replicas: &[MySqlConnectOptions],
    name: &str,
) -> Result<Option<Position>> {
    let Some(primary) = primaries.current() else {
        for replica in replicas {
            let options = replica.clone().database(name);
            if let Ok(mut connection) = pools::connect(&options).await
                && is_current(&mut connection).await
            {
                tracing::warn!("there is no primary: only reads work");
                return Ok(None);
            }
        }
        return Err(unavailable());
    };
    migrate(&primary, name).await
}

async fn migrate(primary: &Primary, name: &str) -> Result<Option<Position>> {
    let mut connection = match pools::connect(&primary.options).await {
        Ok(connection) => connection,
        Err(_) => {
            // Maybe the database is missing; if that is not why, the next attempt will tell.
            create(primary, name).await?;
            pools::connect(&primary.options).await.map_err(database)?
        }
    };
    lock(&mut connection, name).await?;
    MIGRATIONS
        .run(&mut connection)
        .await
        .map_err(Problem::internal)?;
    let row = raw_sql(primary.flavour().position())
        .fetch_one(&mut connection)
        .await
        .map_err(database)?;
    let text: String = row.try_get_unchecked(0).map_err(database)?;
    // The server is told by the end of the connection, too.
    let _ = connection.close().await;
    Ok(Position::parse(&text))
}

/// Holds a lock until the end of the connection: processes that start together take turns. The
/// lock that the migrations take by themselves is none on MariaDB, which takes their endless time
/// limit for no time at all.
async fn lock(connection: &mut MySqlConnection, name: &str) -> Result<()> {
    let held: Option<i64> =
        sqlx::query_scalar("SELECT GET_LOCK(CONCAT('cloudstore_schema_', MD5(?)), ?)")
            .bind(name)
            .bind(MAX_TURN_SECONDS)
            .fetch_one(connection)
            .await
            .map_err(database)?;
    if held == Some(1) {
        Ok(())
    } else {
        Err(unavailable())
    }
}

async fn create(primary: &Primary, name: &str) -> Result<()> {
    let mut connection = pools::connect(&primary.on_server).await.map_err(database)?;
    let sql =
        format!("CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
    raw_sql(AssertSqlSafe(sql))
        .execute(&mut connection)
        .await
        .map_err(database)?;
    let _ = connection.close().await;
    Ok(())
}

/// Has every migration been applied here?
async fn is_current(connection: &mut MySqlConnection) -> bool {
    let applied: sqlx::Result<Vec<i64>> =
        sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success")
            .fetch_all(connection)
            .await;
    applied.is_ok_and(|applied| {
        MIGRATIONS
            .iter()
            .all(|known| applied.contains(&known.version))
    })
}
