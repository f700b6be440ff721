//! `cloudstore completions`

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Context;
use crate::{args::Cli, error::Result};

pub(super) fn run(context: &Context, shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "cloudstore", &mut script);
    context.out.write(&script)
}
