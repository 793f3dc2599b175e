//! What is wanted, and from where: the flags of `tail` and `list`.

use crate::wire::proto::v1 as proto;

/// A filter; all given parts must match.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Filter")]
pub struct WantedArgs {
    /// Topics, with commas between; each covers all beneath it [default: the whole wire]
    #[arg(long, value_name = "TOPICS", value_delimiter = ',')]
    pub topics: Vec<String>,
    /// Languages, with commas between; ar covers ar-EG [default: any]
    #[arg(long, value_name = "LANGUAGES", value_delimiter = ',')]
    pub languages: Vec<String>,
    /// Least urgent wanted, 1 (flash) to 9 [default: any]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=9))]
    pub urgency: Option<u32>,
    /// Words that must all occur; corrections and kills come without them too
    #[arg(long, value_name = "WORDS", num_args = 1..)]
    pub words: Vec<String>,
}

impl WantedArgs {
    /// As the server reads it; its limits are the server's to check.
    pub fn filter(&self) -> proto::Filter {
        let trimmed = |texts: &[String]| texts.iter().map(|text| text.trim().to_owned()).collect();
        proto::Filter {
            topics: trimmed(&self.topics),
            languages: trimmed(&self.languages),
            urgency: self.urgency.unwrap_or(0),
            words: (self.words.iter())
                .flat_map(|words| words.split(|char: char| char.is_whitespace() || char == ','))
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests;
