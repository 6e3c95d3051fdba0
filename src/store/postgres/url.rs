//! The URL of a database. It contains a password, so it is never printed; [`DatabaseUrl::shown`] has what may be.

use std::path::PathBuf;

use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

const UNENCODED: &str =
    "has an @, / or ? too many; encode special characters of the password, such as %40 for @, %2F for / and %3F for ?";

/// Parameters of a URL that are passed on (<https://www.postgresql.org/docs/current/libpq-connect.html>, 34.1.2). Others are errors,
/// so that a misspelt one is noticed.
const PARAMETERS: [&str; 9] =
    ["application_name", "channel_binding", "connect_timeout", "dbname", "host", "options", "password", "port", "user"];

/// Where a database is, and how to connect to it.
#[derive(Clone)]
pub struct DatabaseUrl {
    config: tokio_postgres::Config,
    tls: Tls,
}

/// How a connection is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tls {
    /// Not at all.
    Off,
    /// With the server's certificate and name verified.
    VerifyFull {
        /// Certificates of the authorities; those of the public authorities if there is no file.
        root: Option<PathBuf>,
    },
}

impl DatabaseUrl {
    /// Parses `postgres://user:password@host:port/database?sslmode=…&sslrootcert=…`, or with a Unix socket
    /// `postgres:///database?host=/run/postgresql&user=…`. Of several hosts, the first that accepts writes is used.
    ///
    /// # Errors
    /// What is wrong with it, without quoting it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err("must begin with postgres:// or postgresql://".into());
        }
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let (mut mode, mut root) = (None, None);
        let mut rest = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "sslmode" => mode = Some(value.into_owned()),
                "sslrootcert" => root = Some(PathBuf::from(value.into_owned())).filter(|it| it.as_os_str() != "system"),
                known if PARAMETERS.contains(&known) => drop(rest.append_pair(&name, &value)),
                // What looks like no name may be a part of the password.
                name if name.len() < 32 && name.bytes().all(|it| it.is_ascii_lowercase() || it == b'_') => {
                    return Err(format!("has the unknown parameter {name}"));
                }
                _ => return Err(UNENCODED.into()),
            }
        }
        let rest = rest.finish().replace('+', "%20");
        let url = if rest.is_empty() { base.to_owned() } else { format!("{base}?{rest}") };
        // A sign of the password would be taken for the end of it, and the rest for a host, which is shown.
        if base.matches('@').count() > 1 || base.split_once("//").is_some_and(|(_, it)| it.matches('/').count() > 1) {
            return Err(UNENCODED.into());
        }
        // The library's message may quote a part of the URL.
        let mut config: tokio_postgres::Config = url.parse().map_err(|_| {
            "is not a valid URL; encode special characters of the password, such as %40 for @".to_owned()
        })?;
        if config.get_hosts().is_empty() {
            config.host_path("/var/run/postgresql");
        }
        if config.get_user().is_none() {
            return Err("must name a user: postgres://USER@…, or …?user=USER".into());
        }
        if config.get_dbname().is_none() {
            return Err("must name a database: postgres://…/DATABASE".into());
        }
        let is_local = config.get_hosts().iter().all(is_local);
        let tls = match mode.as_deref() {
            Some("verify-full") => Tls::VerifyFull { root },
            Some("disable") => Tls::Off,
            None if is_local && root.is_none() => Tls::Off,
            None => Tls::VerifyFull { root },
            Some("allow" | "prefer" | "require" | "verify-ca") => {
                return Err("sslmode must be verify-full or disable: the others do not verify the server's name".into());
            }
            Some(_) => return Err("sslmode must be verify-full or disable".into()),
        };
        config.ssl_mode(if tls == Tls::Off { SslMode::Disable } else { SslMode::Require });
        // Of several hosts, the primary: a standby may lack what was acknowledged.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        Ok(Self { config, tls })
    }

    pub(super) fn config(&self) -> &tokio_postgres::Config {
        &self.config
    }

    pub(super) fn tls(&self) -> &Tls {
        &self.tls
    }

    /// Returns the hosts and the database, without user and password.
    #[must_use]
    pub fn shown(&self) -> String {
        let ports = self.config.get_ports();
        let host = |(at, host): (usize, &Host)| {
            let port = ports.get(at).or_else(|| ports.first()).copied().unwrap_or(5432);
            match host {
                Host::Tcp(name) => format!("{name}:{port}"),
                Host::Unix(path) => path.display().to_string(),
            }
        };
        let hosts: Vec<_> = self.config.get_hosts().iter().enumerate().map(host).collect();
        format!("database {} on {}", self.config.get_dbname().unwrap_or_default(), hosts.join(", "))
    }
}

/// Whether a host is this machine.
fn is_local(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    }
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("DatabaseUrl").field(&self.shown()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A password in a log or an error is a password that must be changed.
    #[test]
    fn nothing_shows_the_password_or_the_user() {
        let url = DatabaseUrl::parse("postgres://who:s3cret@db.example.org:6432/hooks?sslmode=verify-full").unwrap();
        assert_eq!(url.shown(), "database hooks on db.example.org:6432");
        for shown in [url.shown(), format!("{url:?}")] {
            assert!(!shown.contains("s3cret") && !shown.contains("who"), "{shown}");
        }
        let unencoded = [
            "postgres://who:x@s3cret@h/d",
            "postgres://who:x/s3cret@h/d",
            "postgres://who:x@s/s3cret@h/d",
            "postgres://who:x?s3cret@h/d",
            "postgres://who:1//s3cret@h/d?user=who",
        ];
        let others = ["postgres://who:s3cret@h:port/d", "http://who:s3cret@h/d", "postgres://who:s3cret@h"];
        for wrong in unencoded.into_iter().chain(others) {
            let error = DatabaseUrl::parse(wrong).unwrap_err();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    /// A mode that encrypts without verifying the server looks safe and is not.
    #[test]
    fn a_connection_to_another_machine_is_verified_or_refused() {
        let tls = |text: &str| DatabaseUrl::parse(text).map(|it| it.tls);
        let verified = Ok(Tls::VerifyFull { root: None });
        assert_eq!(tls("postgres://u@db.example.org/d"), verified);
        assert_eq!(tls("postgres://u@db.example.org/d?sslrootcert=system"), verified);
        let own = Ok(Tls::VerifyFull { root: Some("/etc/ca.pem".into()) });
        assert_eq!(tls("postgres://u@db.example.org/d?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem"), own);
        for local in ["postgres://u@127.0.0.1/d", "postgres://u@localhost/d", "postgres:///d?host=/run/pg&user=u"] {
            assert_eq!(tls(local), Ok(Tls::Off), "{local}");
        }
        assert_eq!(tls("postgres://u@db.example.org/d?sslmode=disable"), Ok(Tls::Off));
        // A user who names an authority expects a certificate.
        let own = Ok(Tls::VerifyFull { root: Some("/etc/ca.pem".into()) });
        assert_eq!(tls("postgres://u@localhost/d?sslrootcert=/etc/ca.pem"), own);
        assert!(tls("postgres://u@localhost/d?sslmod=verify-full").unwrap_err().contains("sslmod"));
        // It would be another machine than the host.
        assert!(tls("postgres://u@localhost/d?hostaddr=10.0.0.5").unwrap_err().contains("hostaddr"));
        for mode in ["allow", "prefer", "require", "verify-ca", "x"] {
            assert!(tls(&format!("postgres://u@localhost/d?sslmode={mode}")).is_err(), "{mode}");
        }
    }

    /// `?options=-c x` and passwords with signs are passed on as they are.
    #[test]
    fn other_parameters_are_kept() {
        let url = DatabaseUrl::parse("postgres:///d?host=/run/pg&user=u&application_name=a%20b%2Bc").unwrap();
        assert_eq!(url.config.get_application_name(), Some("a b+c"));
        let url = DatabaseUrl::parse("postgres://u:p%40+%2B@localhost/d").unwrap();
        assert_eq!(url.config.get_password(), Some(&b"p@++"[..]));
    }
}
