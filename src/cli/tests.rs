use clap::CommandFactory as _;

use super::*;

/// clap's own checks of every command, and an example in the help of each.
#[test]
fn commands() {
    let command = Cli::command();
    command.clone().debug_assert();
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let leaves: Vec<_> = match sub.get_subcommands().next() {
            Some(_) => sub.get_subcommands().collect(),
            None => vec![sub],
        };
        for leaf in leaves {
            let help = leaf.get_after_help().map(ToString::to_string);
            let name = leaf.get_name();
            assert!(help.unwrap_or_default().contains("Example"), "{name}");
        }
    }
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
