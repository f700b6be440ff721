//! Commands about what an account has besides files: uploads, tokens, shares, the trash.

use clap::{Args, Subcommand, ValueEnum};
use cloudstore_proto::http::Scope;

use super::parse::lifetime;

/// `uploads`
#[derive(Debug, Args)]
pub(crate) struct UploadsArgs {
    /// Default: list
    #[command(subcommand)]
    pub(crate) action: Option<UploadsAction>,
}

/// What to do with unfinished uploads.
#[derive(Debug, Subcommand)]
pub(crate) enum UploadsAction {
    /// Show the account's unfinished uploads, from any device
    List,
    /// Drop unfinished uploads and what was received of them
    Cancel {
        /// As `uploads list` shows them
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

/// `sessions`
#[derive(Debug, Args)]
pub(crate) struct SessionsArgs {
    /// Default: list
    #[command(subcommand)]
    pub(crate) action: Option<SessionsAction>,
}

/// What to do with logins.
#[derive(Debug, Subcommand)]
pub(crate) enum SessionsAction {
    /// Show where the account is logged in, last used first
    Ls,
    /// End logins; they are locked out within about a second
    Revoke {
        /// As `sessions ls` shows them
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

/// `tokens`
#[derive(Debug, Args)]
pub(crate) struct TokensArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) action: TokensAction,
}

/// What to do with API tokens.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Programs show a token instead of a login: as `Authorization: Bearer TOKEN`, as the password of HTTP
Basic with your username, or to this command in the environment variable CLOUDSTORE_TOKEN. Managing
tokens needs a login.")]
pub(crate) enum TokensAction {
    /// Make a token and write it to stdout, this once
    Create(CreateTokenArgs),
    /// Show the tokens that work now, without their secrets
    Ls,
    /// End tokens; programs that use them are locked out within about a second
    Revoke {
        /// As `tokens ls` shows them
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

/// `tokens create`
#[derive(Debug, Args)]
pub(crate) struct CreateTokenArgs {
    /// What the token is good for
    #[arg(long, value_enum)]
    pub(crate) scope: TokenScope,
    /// Until when, from now: 90s, 30m, 12h, 30d, 52w [default: 90d]
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    pub(crate) expires: Option<u64>,
    /// What it is for, to recognise it by [default: its scope]
    #[arg(long)]
    pub(crate) name: Option<String>,
}

/// Values of `--scope`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum TokenScope {
    /// All files; the account itself stays out of reach
    Full,
    /// Add files and folders; nothing that exists is read, listed, replaced or deleted
    Upload,
    /// List and download
    Read,
}

impl From<TokenScope> for Scope {
    fn from(scope: TokenScope) -> Self {
        match scope {
            TokenScope::Full => Self::Full,
            TokenScope::Upload => Self::Upload,
            TokenScope::Read => Self::Read,
        }
    }
}

/// `share`
#[derive(Debug, Args)]
pub(crate) struct ShareArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) action: ShareAction,
}

/// What to do with shares.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Whoever has the address sees what is shared, and nothing else. A share follows its file or folder when
that is renamed or moved, and ends when it is deleted. With `--uploads` others put files into a folder:
in a browser, or with any tus client, which shows the part of the address after /s/ as its bearer token.")]
pub(crate) enum ShareAction {
    /// Share a file or folder and write the address to stdout, this once
    Create(CreateShareArgs),
    /// Show the shares that have not ended, without their addresses
    Ls,
    /// End shares, at once
    Revoke {
        /// As `share ls` shows them
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

/// `share create`
#[derive(Debug, Args)]
pub(crate) struct CreateShareArgs {
    /// Remote file or folder
    pub(crate) path: String,
    /// Until when, from now: 90s, 30m, 12h, 7d, 52w [default: until it is revoked]
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    pub(crate) expires: Option<u64>,
    /// Ask for a password, which is read from the first line of stdin
    #[arg(long)]
    pub(crate) password_stdin: bool,
    /// How many downloads may begin [default: any number]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) max_downloads: Option<u64>,
    /// Let others put files into this folder, and show them nothing that is in it
    #[arg(long, conflicts_with = "max_downloads")]
    pub(crate) uploads: bool,
}

/// `restore`
#[derive(Debug, Args)]
#[command(after_help = "\
A folder comes back with everything in it. A path names what was deleted there last.")]
pub(crate) struct RestoreArgs {
    /// Paths where it was, or ids as `trash` shows them
    #[arg(required = true, value_name = "PATH|ID")]
    pub(crate) what: Vec<String>,
    /// Restore one to this remote path [default: where it was]
    #[arg(long, value_name = "REMOTE")]
    pub(crate) to: Option<String>,
    /// If the name is taken by now, put a number behind it
    #[arg(long)]
    pub(crate) rename: bool,
}

/// `trash`
#[derive(Debug, Args)]
pub(crate) struct TrashArgs {
    /// Default: list
    #[command(subcommand)]
    pub(crate) action: Option<TrashAction>,
}

/// What to do with the trash.
#[derive(Debug, Subcommand)]
pub(crate) enum TrashAction {
    /// Show what can be restored, last deleted first
    Ls,
    /// Delete from the trash for good
    Rm {
        /// As `trash ls` shows them
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
    /// Delete everything in it for good
    Empty,
}
