//! The real server: started as a child process, on a free port, with a data directory of its own.

mod basics;
mod browser;
pub mod contract;
mod database;
mod keeper;
mod postgres;
mod reply;
mod server;
mod setup;
mod wait;

pub use basics::{DEADLINE, KEY, binary, shipped_plugins, task};
pub use browser::Browser;
pub use database::Database;
pub(crate) use postgres::postgres_or_skip;
pub use postgres::{Cluster, NO_POSTGRES, as_postgres, free_port};
pub use reply::Reply;
pub use server::Server;
pub use setup::Setup;
pub use wait::{in_time, time_for_a_mistake, until};
