//! `barid bench route`: routing alone, on one core.

use std::time::{Duration, Instant};

use anyhow::ensure;
use prost::Message as _;

use crate::{
    article::{Action, Article},
    cli::{
        bench::{Figure, node, print},
        demo,
    },
    config::value::{Output, Span},
    routing::{findings::Findings, route, taxonomy::Taxonomy},
    wire::convert,
};

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct RouteArgs {
    /// Rounds; figures are medians over them
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// How long each measurement of a round takes
    #[arg(long, default_value = "1s", value_name = "DURATION")]
    time: Span,
    /// Bytes of a body
    #[arg(long, default_value_t = 2048)]
    body_bytes: usize,
    /// A table for people, or one JSON array
    #[arg(
        long,
        env = "BARID_OUTPUT",
        default_value = "text",
        value_name = "FORMAT"
    )]
    output: Output,
}

/// Measures and prints.
///
/// # Errors
/// Those of stdout.
pub fn run(args: &RouteArgs) -> anyhow::Result<()> {
    let built_in = Taxonomy::built_in();
    let many = many_phrases()?;
    let [arabic, english] = ["ar", "en"].map(|language| stories(language, args.body_bytes));
    let (arabic, english) = (arabic?, english?);
    let mut rates = [const { Vec::new() }; 4];
    let mut builds = [const { Vec::new() }; 2];
    for _ in 0..args.rounds {
        let cases = [
            (&arabic, &built_in),
            (&english, &built_in),
            (&arabic, &many),
            (&english, &many),
        ];
        for (rates, (stories, taxonomy)) in rates.iter_mut().zip(cases) {
            rates.push(rate(stories, taxonomy, args.time.0));
        }
        for (builds, text) in builds.iter_mut().zip([built_in_text(), many_text()]) {
            let began = node::now();
            Taxonomy::parse(&text)?;
            builds.push(began.elapsed().as_secs_f64() * 1e3);
        }
    }
    let [arabic, english, arabic_many, english_many] = rates;
    let [built_in, many] = builds;
    let goal = Some("20000");
    let figures = [
        Figure::new("Arabic, built-in taxonomy: articles/s a core", arabic, goal),
        Figure::new(
            "English, built-in taxonomy: articles/s a core",
            english,
            goal,
        ),
        Figure::new(
            "Arabic, 10,000 phrases more: articles/s a core",
            arabic_many,
            None,
        ),
        Figure::new(
            "English, 10,000 phrases more: articles/s a core",
            english_many,
            None,
        ),
        Figure::new("reading the built-in taxonomy: ms", built_in, None),
        Figure::new("reading 10,000 phrases more: ms", many, None),
    ];
    print(args.output, &figures)
}

/// Articles a second that one thread routes.
fn rate(stories: &[Article], taxonomy: &Taxonomy, time: Duration) -> f64 {
    let began: Instant = node::now();
    let mut count = 0_u32;
    while began.elapsed() < time {
        for story in stories {
            let findings = Findings::read(story, taxonomy);
            let routed = route(story, Action::Publish, &[], &findings, taxonomy);
            // What is not used may not be computed.
            std::hint::black_box(&routed);
            count += 1;
        }
    }
    f64::from(count) / began.elapsed().as_secs_f64()
}

/// The demo's stories of a language, each made as long as was asked for with those after it.
fn stories(language: &str, body_bytes: usize) -> anyhow::Result<Vec<Article>> {
    let mut stories = Vec::new();
    for article in demo::articles()? {
        let article = convert::routing::routed(&article.encode_to_vec())?;
        let is_wanted = |known: &crate::article::Language| known.as_str() == language;
        if article.language.as_ref().is_some_and(is_wanted) && !article.body.is_empty() {
            stories.push(article);
        }
    }
    ensure!(!stories.is_empty(), "the demo has no news in {language}");
    let bodies: Vec<String> = stories.iter().map(|story| story.body.clone()).collect();
    for (number, story) in stories.iter_mut().enumerate() {
        let mut after = bodies.iter().cycle().skip(number + 1);
        while story.body.len() < body_bytes {
            story.body.push('\n');
            story.body.extend(after.next().map(String::as_str));
        }
        let end = story.body.floor_char_boundary(body_bytes);
        story.body.truncate(end);
    }
    Ok(stories)
}

fn built_in_text() -> String {
    crate::routing::taxonomy::BUILT_IN.to_owned()
}

/// The built-in taxonomy with 5,000 phrases more of two words in each language.
fn many_text() -> String {
    let list = |word: &str| -> String {
        let pair = |number: u32| format!("\"{word}{} {word}{}\"", number % 71, number / 71);
        (0..5000).map(pair).collect::<Vec<_>>().join(", ")
    };
    let (english, arabic) = (list("word"), list("كلمة"));
    format!(
        "{}\n[groups.many]\nen = [{english}]\nar = [{arabic}]\n",
        built_in_text()
    )
}

fn many_phrases() -> anyhow::Result<Taxonomy> {
    Ok(Taxonomy::parse(&many_text())?)
}
