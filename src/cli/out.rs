//! Printing to stdout: line by line, flushed at once, and without a fuss when the reader has gone.

use std::io::{self, IsTerminal as _, Write as _};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

/// The reader of our stdout has gone away: a reason to end, but no failure.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output any more")]
pub struct OutputClosed;

/// Prints one line. Colours go where the terminal and `NO_COLOR` allow.
///
/// # Errors
/// [`OutputClosed`], or what the system says.
pub fn line(text: &str) -> anyhow::Result<()> {
    let mut stdout = anstream::stdout().lock();
    let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => OutputClosed.into(),
        _ => anyhow::Error::new(error).context("can't write to stdout"),
    })
}

/// Prints one JSON object on a line.
///
/// # Errors
/// As [`line()`].
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string(value)?)
}

/// Says something to people, on stderr. Nobody may be there to hear it, which is no failure.
pub fn say(text: &str) {
    let _unheard = writeln!(anstream::stderr().lock(), "{text}");
}

/// Whether the reader of our stdout has gone away, told without writing to it.
pub fn is_closed() -> bool {
    let stdout = io::stdout();
    let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
    // An error of the call itself is no sign of anything; the next line will tell.
    let is_told = poll(&mut fds, Some(&Timespec::default())).is_ok();
    is_told && fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}

/// Whether colours that are printed on stdout are seen there.
pub fn has_colours() -> bool {
    anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
}

/// Columns of the terminal that stdout is; none for a pipe or a file.
pub fn columns() -> Option<usize> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&stdout).ok()?;
    // A terminal that does not know its size says 0.
    (size.ws_col > 0).then(|| size.ws_col.into())
}
