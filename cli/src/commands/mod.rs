//! One file for each command; this one dispatches and turns the outcome into an exit code.

mod account;
pub(crate) mod admin;
mod cat;
mod completions;
mod ls;
mod mkdir;
mod mv;
mod rm;
pub(crate) mod serve;
mod stat;
mod tokens;
mod uploads;
mod verify;

use cloudstore_service::telemetry::{self, LogFormat};
use tokio::signal::unix::{SignalKind, signal};
use url::Url;

use crate::{
    args::{Cli, Command, Global},
    client::{Auth, Client, logged_out, wire::Wire},
    credentials::Store,
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
                let connect = || self.connect_for(usize::from(args.pace.transfers));
                Box::pin(upload::run(&args, &self.out, connect)).await
            }
            Command::Download(args) => {
                let client = self.connect_for(usize::from(args.pace.transfers))?;
                Box::pin(download::run(&args, &self.out, client)).await
            }
            Command::Ls(args) => ls::run(self, &args).await,
            Command::Mkdir(args) => mkdir::run(self, &args).await,
            Command::Mv(args) => mv::run(self, &args).await,
            Command::Rm(args) => rm::run(self, &args).await,
            Command::Cat(args) => cat::run(self, &args).await,
            Command::Stat(args) => stat::run(self, &args.path).await,
            Command::Uploads(args) => uploads::run(self, args.action).await,
            Command::Tokens(args) => tokens::run(self, args.action).await,
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
        if let Some(token) = std::env::var(TOKEN_VARIABLE)
            .ok()
            .filter(|token| !token.is_empty())
        {
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
        let store = Store::open()?;
        let profile = self.global.profile.clone();
        let Some(login) = store.get(&profile)? else {
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
        let login = tokio::sync::Mutex::new(login);
        Ok(Client::new(
            wire,
            Auth::Stored {
                store,
                profile,
                login,
            },
        ))
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

fn parse_server(text: &str) -> Result<Url> {
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
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

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
