use clap::CommandFactory as _;

use super::*;

/// clap's own checks of every command, and of each, groups included, a sentence on what it does
/// without a full stop, and examples that parse.
#[test]
fn commands() {
    let command = Cli::command();
    command.clone().debug_assert();
    let count = check(&command, "barid");
    assert!(count > 15, "{count}");
}

/// Checks a command and all beneath it; returns how many there are.
fn check(command: &clap::Command, path: &str) -> usize {
    let about = command
        .get_about()
        .unwrap_or_else(|| panic!("{path} says nothing"))
        .to_string();
    assert!(!about.ends_with('.') || path == "barid", "{path}: {about}");
    let help = command
        .get_after_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let examples = help
        .strip_prefix("Examples:\n")
        .unwrap_or_else(|| panic!("{path} has no examples"));
    for line in examples.lines() {
        // Its redirections and pipes are the shell's.
        let ours = line
            .split(['|', '>', '<', '&'])
            .find(|part| part.trim().starts_with("barid "));
        let ours = ours.unwrap_or_else(|| panic!("{path}: {line:?}"));
        if let Err(error) = Cli::try_parse_from(words(ours)) {
            panic!("{line}: {error}");
        }
    }
    let subs = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    1 + subs
        .map(|sub| check(sub, &format!("{path} {}", sub.get_name())))
        .sum::<usize>()
}

/// The words of a shell's line, with quotes around some.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for char in line.trim().chars() {
        match char {
            '\'' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(String::new()),
            char => words.last_mut().unwrap().push(char),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The guard's own flags end at `--`; the rest is the program's.
#[test]
fn guard() {
    let line = [
        "barid",
        "nats-guard",
        "--parent",
        "7",
        "--",
        "nats-server",
        "-p",
        "1",
    ];
    let Command::NatsGuard(guard) = Cli::parse_from(line).command else {
        panic!("another command")
    };
    assert_eq!(guard.parent, 7);
    assert_eq!(guard.program, ["nats-server", "-p", "1"]);
}
