//! Completions for shells, and manual pages: both are made of the command line itself, so they say what it takes.
//!
//! Depends on its neighbours.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;

use crate::Cli;

/// Writes to standard output what the shell needs in order to complete commands and options.
pub(crate) fn complete(shell: Shell) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "souk", &mut script);
    io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a manual page for the program and one for each of its subcommands.
pub(crate) fn write_pages(directory: &Path) -> Result<ExitCode> {
    let written = fs::create_dir_all(directory).and_then(|()| clap_mangen::generate_to(Cli::command(), directory));
    written.with_context(|| directory.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}
