//! What a test does to whole databases behind the service's back.

use sqlx::{Connection as _, Executor as _, PgConnection};

/// Removes a database that nobody is connected to.
pub(crate) async fn remove(address: &str) {
    let (server, name) = address.rsplit_once('/').unwrap();
    let mut connection = PgConnection::connect(&format!("{server}/postgres")).await.unwrap();
    connection.execute(format!("DROP DATABASE {name} WITH (FORCE)").as_str()).await.unwrap();
}

/// Puts another database into the place of one that nobody is connected to.
pub(crate) async fn replace(address: &str, by: &str) {
    remove(address).await;
    let (server, name) = address.rsplit_once('/').unwrap();
    let template = by.rsplit('/').next().unwrap();
    let mut connection = PgConnection::connect(&format!("{server}/postgres")).await.unwrap();
    connection.execute(format!("CREATE DATABASE {name} TEMPLATE {template}").as_str()).await.unwrap();
}
