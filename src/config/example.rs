//! An example of `barid.toml`, out of what the flags say of themselves, so that it can't drift.

use clap::{Args as _, Command};

use crate::config::{
    self,
    layer::{EXAMPLES, Layer, flag_name, variable_name},
    problem::ConfigError,
};

/// Columns of a comment.
const COLUMNS: usize = 96;

/// A settings file with every setting, what it means, and its default; or, where nothing is the
/// default, an example. Everything is a comment: unchanged, the file changes nothing.
///
/// # Errors
/// Never: the defaults are good, which the tests prove.
pub fn text() -> Result<String, ConfigError> {
    let defaults = config::load_layers(Layer::default(), None, &[])?;
    let flags = Layer::augment_args(Command::new("barid"));
    let mut lines = vec![
        "# Settings of `barid serve`. A flag beats a variable, a variable beats this file."
            .to_owned(),
        "# `barid config check FILE` checks it; `barid config show` says what holds, and why."
            .to_owned(),
        "# Relative paths are relative to this file's folder.".to_owned(),
    ];
    for shown in &defaults.shown {
        let key = shown.key;
        let help = flags
            .get_arguments()
            .find(|arg| arg.get_long().map(|long| format!("--{long}")) == Some(flag_name(key)))
            .and_then(|arg| arg.get_long_help().or(arg.get_help()))
            .map(ToString::to_string)
            .unwrap_or_default();
        lines.push(String::new());
        lines.extend(comment(&help));
        let names = format!("Flag {}, variable {}.", flag_name(key), variable_name(key));
        lines.extend(comment(&names));
        let example = EXAMPLES.iter().find(|(known, _)| *known == key);
        let value = match example {
            Some((_, example)) => (*example).to_owned(),
            // Numbers and yes or no stand bare; all else is a text.
            None if shown.value.parse::<i64>().is_ok() || shown.value.parse::<bool>().is_ok() => {
                shown.value.clone()
            }
            None => toml::Value::String(shown.value.clone()).to_string(),
        };
        lines.push(format!("#{key} = {value}"));
    }
    lines.push(String::new());
    Ok(lines.join("\n"))
}

/// A text as comment lines that end between words.
fn comment(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = "#".to_owned();
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > COLUMNS {
            lines.push(std::mem::replace(&mut line, "#".to_owned()));
        }
        line.push(' ');
        line.push_str(word);
    }
    lines.push(line);
    lines
}
