//! One file for each command; this one dispatches and turns the outcome into an exit code.

mod account;
pub(crate) mod admin;
mod cat;
mod completions;
mod cp;
mod each;
mod find;
mod ls;
mod mkdir;
mod mv;
mod rm;
pub(crate) mod serve;
mod sessions;
mod share;
mod stat;
mod tokens;
mod trash;
mod uploads;
mod verify;

use cloudstore_service::telemetry::{self, LogFormat};
use tokio::signal::unix::{SignalKind, signal};
use url::Url;

use crate::{
    args::{Cli, Command, Global, Protocol},
    client::{Auth, Client, logged_out, wire::Wire},
    credentials::{Login, Store},
    download,
    error::{Error, Exit, Result},
    output::Out,
    upload,
};

const DEFAULT_SERVER: &str = "http://127.0.0.1:8080";
/// An API token, or an access token, for programs that have no stored login.
const TOKEN_VARIABLE: &str = "CLOUDSTORE_TOKEN";
/// Enough connections for commands without content.
const FEW_CONNECTIONS: usize = 4;

/// What every command gets.
struct Context {
    global: Global,
    out: Out,
}

/// Runs the command; returns the exit code.
pub(crate) async fn run(cli: Cli) -> u8 {
    let Cli { global, command } = cli;
    let verbose = global.verbose > 0;
    let out = Out::new(global.json, global.quiet, verbose, !global.no_progress);
    let context = Context { global, out };
    let ran = match command {
        // The server ends by itself, in its own way, when it is told to.
        Command::Serve(args) => serve::run(*args).await,
        command => {
            if context.global.verbose > 1 {
                telemetry::init(LogFormat::Pretty, "debug");
            }
            tokio::select! {
                ran = Box::pin(context.dispatch(command)) => ran,
                interrupted = interrupted() => Err(interrupted),
            }
        }
    };
    match ran {
        Ok(()) => 0,
        Err(error) => {
            context.out.complain(&error);
            error.exit() as u8
        }
    }
}

/// Waits for Ctrl-C or SIGTERM.
async fn interrupted() -> Error {
    let wait = async |kind| match signal(kind) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        // Then the signal ends the process at once.
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
    }
    Error::new(Exit::Interrupted, "interrupted").advise("run the same command again to go on")
}

impl Context {
    async fn dispatch(&self, command: Command) -> Result<()> {
        match command {
            Command::Serve(args) => serve::run(*args).await,
            Command::Register(args) => account::register(self, args).await,
            Command::Login(args) => account::login(self, &args).await,
            Command::Logout(args) => account::logout(self, &args).await,
            Command::Whoami => account::whoami(self).await,
            Command::Upload(args) => {
                let transfers = usize::from(args.pace.transfers);
                match args.protocol {
                    Protocol::Native => {
                        let connect = || self.connect_for(transfers);
                        Box::pin(upload::run(&args, &self.out, connect)).await
                    }
                    Protocol::Tus => {
                        let connect = || self.connect_to_endpoint(transfers);
                        Box::pin(upload::run_tus(&args, &self.out, connect)).await
                    }
                }
            }
            Command::Download(args) => {
                let client = self.connect_for(usize::from(args.pace.transfers))?;
                Box::pin(download::run(&args, &self.out, client)).await
            }
            Command::Ls(args) => ls::run(self, &args).await,
            Command::Find(args) => find::run(self, &args).await,
            Command::Mkdir(args) => mkdir::run(self, &args).await,
            Command::Mv(args) => mv::run(self, &args).await,
            Command::Cp(args) => cp::run(self, &args).await,
            Command::Rm(args) => rm::run(self, &args).await,
            Command::Restore(args) => trash::restore(self, &args).await,
            Command::Trash(args) => trash::run(self, args.action).await,
            Command::Cat(args) => cat::run(self, &args).await,
            Command::Stat(args) => stat::run(self, &args.path).await,
            Command::Uploads(args) => uploads::run(self, args.action).await,
            Command::Sessions(args) => sessions::run(self, args.action).await,
            Command::Tokens(args) => tokens::run(self, args.action).await,
            Command::Share(args) => share::run(self, args.action).await,
            Command::Verify(args) => Box::pin(verify::run(self, &args)).await,
            Command::Admin(args) => admin::run(self, args).await,
            Command::Completions(args) => completions::run(self, args.shell),
        }
    }

    /// A client that is logged in.
    fn connect(&self) -> Result<Client> {
        self.connect_for(FEW_CONNECTIONS)
    }

    fn connect_for(&self, transfers: usize) -> Result<Client> {
        if let Some(token) = token() {
            let server = match &self.global.server {
                Some(server) => server.clone(),
                None => self
                    .stored_server()?
                    .unwrap_or_else(|| DEFAULT_SERVER.to_owned()),
            };
            return Ok(Client::new(
                self.wire(&server, transfers)?,
                Auth::Token(token),
            ));
        }
        let profile = &self.global.profile;
        let Some(login) = Store::open()?.get(profile)? else {
            return Err(logged_out());
        };
        let wire = self.wire(
            self.global.server.as_deref().unwrap_or(&login.server),
            transfers,
        )?;
        if wire.base().as_str() != login.server {
            // Tokens go to no other server than the one that issued them.
            let why = format!("profile '{profile}' is logged in to {}", login.server);
            return Err(Error::new(Exit::AuthRequired, why)
                .during(format!("cannot use {}", wire.base()))
                .advise("run `cloudstore login` with this --server, or use another --profile"));
        }
        Ok(Client::new(wire, self.stored(login)?))
    }

    /// The login of this profile.
    fn stored(&self, login: Login) -> Result<Auth> {
        Ok(Auth::Stored {
            store: Store::open()?,
            profile: self.global.profile.clone(),
            login: tokio::sync::Mutex::new(login),
        })
    }

    /// A client for a server that need not be cloudstore, and the URL at which it creates uploads.
    /// Logged in only with a token of the environment, or if the login is of this very server.
    fn connect_to_endpoint(&self, transfers: usize) -> Result<(Client, Url)> {
        let login = Store::open()?.get(&self.global.profile)?;
        let endpoint = match (&self.global.server, &login) {
            (Some(named), _) => parse_url(named)?,
            (None, Some(login)) => files_of(parse_server(&login.server)?),
            (None, None) => files_of(parse_server(DEFAULT_SERVER)?),
        };
        if let Some(token) = token() {
            let wire = self.wire(endpoint.as_str(), transfers)?;
            return Ok((Client::new(wire, Auth::Token(token)), endpoint));
        }
        if let Some(login) = login
            && is_below(&endpoint, &parse_server(&login.server)?)
        {
            let wire = self.wire(&login.server, transfers)?;
            return Ok((Client::new(wire, self.stored(login)?), endpoint));
        }
        let wire = self.wire(endpoint.as_str(), transfers)?;
        Ok((Client::new(wire, Auth::Anonymous), endpoint))
    }

    /// A client without a login, for getting one.
    fn connect_anonymously(&self) -> Result<Client> {
        let server = match &self.global.server {
            Some(server) => server.clone(),
            None => self
                .stored_server()?
                .unwrap_or_else(|| DEFAULT_SERVER.to_owned()),
        };
        Ok(Client::new(
            self.wire(&server, FEW_CONNECTIONS)?,
            Auth::Anonymous,
        ))
    }

    /// The server of the command line, whatever logins are stored.
    fn named_server(&self) -> &str {
        self.global.server.as_deref().unwrap_or(DEFAULT_SERVER)
    }

    fn stored_server(&self) -> Result<Option<String>> {
        Ok(Store::open()?
            .get(&self.global.profile)?
            .map(|login| login.server))
    }

    fn wire(&self, server: &str, transfers: usize) -> Result<Wire> {
        Wire::new(
            parse_server(server)?,
            transfers,
            self.global.retries,
            self.out.clone(),
        )
    }
}

/// A remote path of the command line.
fn remote(path: &str) -> Result<String> {
    cloudstore_proto::path::normalize(path)
        .map_err(|error| Error::usage(error.to_string()).during(format!("cannot use {path}")))
}

/// Where an entry goes: to that path, or, if it ends with a slash, into that folder.
fn target(from: &str, to: &str) -> Result<String> {
    let path = remote(to)?;
    Ok(if to.ends_with('/') {
        cloudstore_proto::path::join(&path, cloudstore_proto::path::name(from))
    } else {
        path
    })
}

/// `CLOUDSTORE_TOKEN`
fn token() -> Option<String> {
    let token = std::env::var(TOKEN_VARIABLE).ok();
    token.filter(|token| !token.is_empty())
}

/// Where a cloudstore server creates uploads of tus.
fn files_of(mut server: Url) -> Url {
    server.set_path(&format!("{}/files/", server.path().trim_end_matches('/')));
    server
}

/// Whether an address belongs to a server, whose URL may have a path of its own.
fn is_below(url: &Url, server: &Url) -> bool {
    let rest = url.path().strip_prefix(server.path().trim_end_matches('/'));
    url.origin() == server.origin() && rest.is_some_and(|rest| rest.starts_with('/'))
}

/// The URL of a cloudstore server.
fn parse_server(text: &str) -> Result<Url> {
    let mut url = parse_url(text)?;
    url.set_query(None);
    Ok(url)
}

/// The URL of any server. A query may be part of it.
fn parse_url(text: &str) -> Result<Url> {
    let wrong = |why: &str| Error::usage(why).during(format!("cannot use the server URL {text}"));
    let mut url = Url::parse(text).map_err(|error| {
        wrong(&error.to_string()).advise("it looks like http://host:port or https://host")
    })?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong("it must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("credentials do not belong into a URL").advise("use `cloudstore login`"));
    }
    url.set_fragment(None);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_for_addresses_of_its_server_only() {
        let url = |text| Url::parse(text).unwrap();
        for (address, server, expected) in [
            ("https://h/files/", "https://h/", true),
            ("https://h/base/files/", "https://h/base", true),
            ("https://h/based/files/", "https://h/base", false),
            ("https://h/files/", "https://h/base", false),
            ("http://h/files/", "https://h/", false),
            ("https://h:8443/files/", "https://h/", false),
            ("https://h.evil/files/", "https://h/", false),
        ] {
            let below = is_below(&url(address), &url(server));
            assert_eq!(below, expected, "{address} {server}");
        }
        let files = |server| files_of(parse_server(server).unwrap()).to_string();
        assert_eq!(files("http://h"), "http://h/files/");
        assert_eq!(files("http://h/base/"), "http://h/base/files/");
    }

    #[test]
    fn server_urls() {
        assert_eq!(
            parse_server("http://localhost:1").unwrap().as_str(),
            "http://localhost:1/"
        );
        assert_eq!(
            parse_server("https://h/base?x#y").unwrap().as_str(),
            "https://h/base"
        );
        for wrong in ["localhost:8080", "ftp://h", "http://", "http://u:p@h", ""] {
            assert_eq!(
                parse_server(wrong).unwrap_err().exit(),
                Exit::Usage,
                "{wrong}"
            );
        }
    }
}
