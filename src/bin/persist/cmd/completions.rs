//! `persist completions`

use std::io::{Write, stdout};

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::{args::Args, output::written};

pub(crate) fn run(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    generate(shell, &mut Args::command(), "persist", &mut script);
    written(stdout().write_all(&script))
}
