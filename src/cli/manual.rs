//! `barid completions` and `barid man`: what a packager installs beside the program, out of the
//! same definitions as the help.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Command, ValueHint};
use clap_complete::Shell;
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};

use crate::cli::out;

/// Print a shell's completions of this command line
///
/// They complete commands, flags, values such as topics' formats, and files and folders where those
/// are expected.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  barid completions bash > ~/.local/share/bash-completion/completions/barid\n  \
                        barid completions zsh > ~/.zfunc/_barid\n  \
                        barid completions fish > ~/.config/fish/completions/barid.fish"
)]
pub struct CompletionsArgs {
    /// Whose
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Write the manual pages, one for each command: barid.1, barid-serve.1, barid-tail.1 and so on
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  barid man --dir ~/.local/share/man/man1\n  \
                        barid man --dir /tmp/man && man /tmp/man/barid-tail.1"
)]
pub struct ManArgs {
    /// Where to; made if it is not there
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    dir: PathBuf,
}

/// Prints completions.
///
/// # Errors
/// Those of stdout.
pub fn completions(args: &CompletionsArgs, command: &Command) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut visible(command), "barid", &mut script);
    out::line(String::from_utf8(script)?.trim_end())
}

/// Writes the manual pages.
///
/// # Errors
/// A folder or a file that can't be written.
pub fn man(args: &ManArgs, command: Command) -> anyhow::Result<()> {
    let dir = &args.dir;
    fs::create_dir_all(dir).with_context(|| format!("can't make {}", dir.display()))?;
    let mut command = command.disable_help_subcommand(true);
    // Gives every subcommand its full name, `barid config show`.
    command.build();
    let count = pages(&command, dir)?;
    out::line(&format!("wrote {count} manual pages to {}", dir.display()))
}

/// The command without what is not for people.
fn visible(command: &Command) -> Command {
    let shown: Vec<Command> = command
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set())
        .cloned()
        .collect();
    let mut bare = Command::new("barid").subcommands(shown);
    if let Some(version) = command.get_version() {
        bare = bare.version(version.to_owned()).propagate_version(true);
    }
    bare
}

fn pages(command: &Command, dir: &Path) -> anyhow::Result<usize> {
    let mut count = 1;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        count += pages(sub, dir)?;
    }
    let page = Man::new(command.clone()).manual("Barid");
    let path = dir.join(page.get_filename());
    fs::write(&path, text(command, &page)?)
        .with_context(|| format!("can't write {}", path.display()))?;
    Ok(count)
}

/// A page: clap's sections, and the examples line by line, which clap would fill into a paragraph.
fn text(command: &Command, page: &Man) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    if command.get_arguments().any(|arg| !arg.is_hide_set()) {
        page.render_options_section(&mut text)?;
    }
    if command.get_subcommands().any(|sub| !sub.is_hide_set()) {
        page.render_subcommands_section(&mut text)?;
    }
    let examples = command.get_after_help().map(ToString::to_string);
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES"]).control("nf", []);
    for line in examples.unwrap_or_default().lines().skip(1) {
        roff.text([roman(line.trim())]);
    }
    roff.control("fi", []);
    roff.to_writer(&mut text)?;
    page.render_version_section(&mut text)?;
    Ok(text)
}
