//! The command line: every command, argument and default. `--help` is the manual.

mod manage;
mod parse;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use cloudstore_proto::http::OnConflict;

pub(crate) use self::manage::*;
use self::parse::{range, rate};

const EXIT_CODES: &str = "\
Exit codes: 0 ok, 1 something failed, 2 usage, 3 not found, 4 authentication required,
5 checksum mismatch, 6 network or server unavailable (try again), 130 interrupted.

Files: credentials in $XDG_CONFIG_HOME/cloudstore (mode 0600), the state of unfinished transfers
in $XDG_STATE_HOME/cloudstore. CLOUDSTORE_TOKEN, an API token (`cloudstore tokens create`) or an
access token, wins over stored credentials.";

/// Keep files on a cloudstore server: resumable, verified, and instant for content it already has.
#[derive(Debug, Parser)]
#[command(name = "cloudstore", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// URL of the server [default: the profile's, else http://127.0.0.1:8080]
    #[arg(long, global = true, value_name = "URL", env = "CLOUDSTORE_SERVER")]
    pub(crate) server: Option<String>,
    /// Which stored login to use
    #[arg(long, global = true, value_name = "NAME", env = "CLOUDSTORE_PROFILE")]
    #[arg(default_value = "default")]
    pub(crate) profile: String,
    /// Write data as JSON lines
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say only what went wrong
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Say more: each file, each retry
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Draw no progress bars (they appear only on a terminal anyway)
    #[arg(long, global = true)]
    pub(crate) no_progress: bool,
    /// How often to repeat a request that met a broken connection or a busy server
    #[arg(
        long,
        global = true,
        value_name = "N",
        env = "CLOUDSTORE_RETRIES",
        default_value_t = 6
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(crate) retries: u32,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a server on this machine
    Serve(Box<crate::commands::serve::ServeArgs>),
    /// Create an account
    Register(RegisterArgs),
    /// Log in and store the credentials
    Login(LoginArgs),
    /// End this login, or all logins of the account
    Logout(LogoutArgs),
    /// Show the account: name, quota, room used
    Whoami,
    /// Send files and folders; running it again resumes
    Upload(UploadArgs),
    /// Fetch a file or a folder, verified; running it again resumes
    Download(DownloadArgs),
    /// List a folder
    Ls(LsArgs),
    /// Find files and folders by a part of their names
    Find(FindArgs),
    /// Create a folder
    Mkdir(MkdirArgs),
    /// Rename or move a file or folder
    Mv(MvArgs),
    /// Copy a file or folder on the server, without moving content
    Cp(CpArgs),
    /// Delete a file or folder; it can be restored from the trash for a while
    Rm(RmArgs),
    /// Put back what was deleted
    Restore(RestoreArgs),
    /// List or empty the trash
    Trash(TrashArgs),
    /// Write a file's content to stdout
    Cat(CatArgs),
    /// Show what the server knows of a file or folder
    Stat(PathArg),
    /// List or cancel unfinished uploads
    Uploads(UploadsArgs),
    /// List and end logins of the account, on all devices
    Sessions(SessionsArgs),
    /// Make, list and revoke tokens for programs
    Tokens(TokensArgs),
    /// Show files and folders to people without an account
    Share(ShareArgs),
    /// Compare local files with the server by content
    Verify(VerifyArgs),
    /// For operators: see and steer what happens behind the scenes
    Admin(crate::commands::admin::AdminArgs),
    /// Write a completion script for a shell to stdout
    Completions(CompletionsArgs),
}

/// Blocking threads besides those that feed a transfer each: for hashing, writing and walking.
const SPARE_THREADS: usize = 8;

impl Command {
    /// How many threads may block on files. The runtime starts a new one whenever none is idle at
    /// that instant, which for tens of thousands of short reads adds up to its limit, and each
    /// thread keeps memory. `None` for the runtime's own limit.
    pub(crate) fn blocking_threads(&self) -> Option<usize> {
        let transfers = match self {
            Self::Serve(_) => return None,
            Self::Upload(UploadArgs { pace, .. }) | Self::Download(DownloadArgs { pace, .. }) => {
                usize::from(pace.transfers)
            }
            _ => 0,
        };
        Some(transfers + SPARE_THREADS)
    }
}

/// `register`
#[derive(Debug, Args)]
pub(crate) struct RegisterArgs {
    /// 2 to 64 characters of a-z A-Z 0-9 . _ -; asked for on a terminal
    pub(crate) username: Option<String>,
    /// Read the password from the first line of stdin
    #[arg(long)]
    pub(crate) password_stdin: bool,
    /// Mail address
    #[arg(long)]
    pub(crate) email: Option<String>,
    /// Name to show
    #[arg(long)]
    pub(crate) display_name: Option<String>,
}

/// `login`
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// As registered; asked for on a terminal
    pub(crate) username: Option<String>,
    /// Read the password from the first line of stdin
    #[arg(long)]
    pub(crate) password_stdin: bool,
}

/// `logout`
#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {
    /// End every session of the account, on all devices
    #[arg(long)]
    pub(crate) all: bool,
}

/// `upload`
#[derive(Debug, Args)]
#[command(after_help = "\
Where things go: `upload a.txt --to /docs` makes /docs/a.txt. `upload DIR --to /docs` makes
/docs/DIR and below; `upload DIR/ --to /docs` (with the slash) puts the contents of DIR into
/docs. Empty folders are created too. `upload - --to /docs/log.txt` sends stdin.

Patterns: `*.o` matches a name at any depth, `/build` or `a/*.o` match from the top of each
uploaded folder, `**` crosses folders. An excluded folder is not entered.

Content that the server already has is not sent again (\"already on server, 0 B sent\"). After an
interruption run the same command again: what arrived is kept.

With `--protocol tus` any tus 1.0 server will do. --server (or CLOUDSTORE_SERVER) is then the URL at
which it creates uploads, such as https://host/files/; without it, /files/ of the server you are
logged in to. It gets CLOUDSTORE_TOKEN, or the stored login if that is of this very server, else no
credentials. Paths below --to go along as names; whether the server heeds them is up to it.")]
pub(crate) struct UploadArgs {
    /// Files and folders; `-` is stdin
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Remote folder to put them in (for stdin: the remote file); created if missing
    #[arg(long, value_name = "REMOTE")]
    pub(crate) to: Option<String>,
    /// What to do when a name is taken by other content
    /// [default: fail; not with --protocol tus, where the server decides]
    #[arg(long, value_enum)]
    pub(crate) on_conflict: Option<Conflict>,
    /// What the server speaks
    #[arg(long, value_enum, default_value_t = Protocol::Native)]
    pub(crate) protocol: Protocol,
    /// Send only files that match
    #[arg(long, value_name = "GLOB")]
    pub(crate) include: Vec<String>,
    /// Leave out files and folders that match
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,
    /// Send what symbolic links point to instead of skipping them
    #[arg(long)]
    pub(crate) follow_symlinks: bool,
    /// Only say what would be sent
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How much at a time
    #[command(flatten)]
    pub(crate) pace: Pace,
}

/// How much at a time; `upload` and `download`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Pace {
    /// Requests with content at a time
    #[arg(long, value_name = "N", default_value_t = 16)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=128))]
    pub(crate) transfers: u16,
    /// Bytes a second over all transfers: 500K, 10M, 1.5G (binary units)
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub(crate) bwlimit: Option<u64>,
}

/// Values of `--protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// That of a cloudstore server: parallel, instant for content it has
    Native,
    /// tus 1.0, of any server
    Tus,
}

/// Values of `--on-conflict`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Conflict {
    /// The file counts as failed
    Fail,
    /// The new file takes the place of the old one
    Replace,
    /// The new file is called `name (1).ext`
    Rename,
}

impl From<Conflict> for OnConflict {
    fn from(conflict: Conflict) -> Self {
        match conflict {
            Conflict::Fail => Self::Fail,
            Conflict::Replace => Self::Replace,
            Conflict::Rename => Self::Rename,
        }
    }
}

/// `download`
#[derive(Debug, Args)]
#[command(after_help = "\
Where things go: `download /docs/a.txt` makes ./a.txt; `download /docs/a.txt b.txt` makes b.txt,
or b.txt/a.txt if b.txt is a folder. `download /docs out` makes out/docs and below;
`download /docs/ out` (with the slash) puts the contents of /docs into out.

Files that are already there with the same content are not fetched again. A file with other
content counts as failed, unless --on-conflict says otherwise; it is replaced once the new content
has been verified. Devices and pipes are never replaced: `cat` writes to them. After an
interruption run the same command again: what arrived is kept.")]
pub(crate) struct DownloadArgs {
    /// Remote file or folder
    pub(crate) remote: String,
    /// Where to put it [default: the current folder]
    pub(crate) local: Option<PathBuf>,
    /// What to do when a local file with other content has the name
    #[arg(long, value_enum, default_value_t = Conflict::Fail)]
    pub(crate) on_conflict: Conflict,
    /// How much at a time
    #[command(flatten)]
    pub(crate) pace: Pace,
}

/// `ls`
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// Remote folder or file
    #[arg(default_value = "/")]
    pub(crate) path: String,
    /// With size and modification time
    #[arg(short, long)]
    pub(crate) long: bool,
    /// With everything below
    #[arg(short, long)]
    pub(crate) recursive: bool,
}

/// `find`
#[derive(Debug, Args)]
pub(crate) struct FindArgs {
    /// A part of the name; upper and lower case are the same
    #[arg(value_name = "TEXT")]
    pub(crate) text: String,
    /// Remote folder to look in, with everything below it
    #[arg(value_name = "REMOTE", default_value = "/")]
    pub(crate) path: String,
    /// How many to show
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) limit: u32,
}

/// `mkdir`
#[derive(Debug, Args)]
pub(crate) struct MkdirArgs {
    /// Remote folder
    pub(crate) path: String,
    /// Create missing parents too, and accept an existing folder
    #[arg(short, long)]
    pub(crate) parents: bool,
}

/// `mv`
#[derive(Debug, Args)]
#[command(after_help = "TO is the new path, or, with a trailing slash, the folder to move into.")]
pub(crate) struct MvArgs {
    /// Remote file or folder
    pub(crate) from: String,
    /// Its new path
    pub(crate) to: String,
}

/// `cp`
#[derive(Debug, Args)]
#[command(after_help = "\
TO is the path of the copy, or, with a trailing slash, the folder to copy into. A folder is copied with
everything in it, up to 10,000 entries. No content is moved, but copies take room in the quota. With
--on-conflict replace whatever is at TO is deleted, a folder with everything in it.")]
pub(crate) struct CpArgs {
    /// Remote file or folder
    pub(crate) from: String,
    /// Path of its copy
    pub(crate) to: String,
    /// What to do when the name is taken
    #[arg(long, value_enum, default_value_t = Conflict::Fail)]
    pub(crate) on_conflict: Conflict,
}

/// `rm`
#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    /// Remote files and folders
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<String>,
    /// Folders too, with everything in them
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// For good, not into the trash
    #[arg(long)]
    pub(crate) permanent: bool,
}

/// `cat`
#[derive(Debug, Args)]
pub(crate) struct CatArgs {
    /// Remote file
    pub(crate) path: String,
    /// Only these bytes: FIRST-LAST (inclusive), FIRST- or -COUNT from the end
    #[arg(long, value_name = "RANGE", value_parser = range, allow_hyphen_values = true)]
    pub(crate) range: Option<String>,
}

/// A command about one remote path.
#[derive(Debug, Args)]
pub(crate) struct PathArg {
    /// Remote file or folder
    pub(crate) path: String,
}

/// `verify`
#[derive(Debug, Args)]
#[command(after_help = "\
LOCAL and REMOTE are the two files, or the two folders, to compare. Every local file is read.
Exit code 5 if any content differs, 1 if files exist on one side only or cannot be read.")]
pub(crate) struct VerifyArgs {
    /// Local file or folder
    pub(crate) local: PathBuf,
    /// Remote file or folder
    pub(crate) remote: String,
}

/// `completions`
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Shell
    pub(crate) shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
