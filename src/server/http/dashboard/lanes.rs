//! Lanes: the newest stories of several topics, beside each other.

use maud::{Markup, html};

use crate::{
    fault::Fault,
    routing::taxonomy::Taxonomy,
    server::http::{
        Web,
        dashboard::{
            page::Front,
            stories,
            story::View,
            wish::{Layout, Wish},
        },
    },
    topic::Topic,
};

/// Lanes of a page; a topic beyond them is in none.
const LANES_MAX: usize = 8;
/// Stories that a lane begins with.
const STORIES: u32 = 12;

/// What a page of lanes shows.
#[derive(Debug)]
pub struct Lanes {
    lanes: Vec<(String, Front)>,
    /// Whether more topics are asked for than there are lanes.
    is_cut: bool,
    /// What keeps all of them live.
    stream: String,
}

/// The newest stories of each lane that is wished for.
///
/// # Errors
/// What is wrong with the wish, or a node that can't read.
pub async fn read(web: &Web, wish: &Wish) -> Result<Lanes, Fault> {
    let mut topics = topics(wish, &web.hub.taxonomy());
    let is_cut = topics.len() > LANES_MAX;
    topics.truncate(LANES_MAX);
    let mut lanes = Vec::with_capacity(topics.len());
    for topic in &topics {
        let front = stories(web, &wish.lane(topic), STORIES).await?;
        lanes.push((topic.clone(), front));
    }
    // The first was read before the others: from there on none of them misses anything, and the page
    // passes over what it has.
    let snapshot = lanes.first().map(|(_, front)| front.snapshot.as_str());
    let all = Wish {
        topics,
        ..wish.clone()
    };
    Ok(Lanes {
        stream: all.stream(snapshot.unwrap_or_default()),
        lanes,
        is_cut,
    })
}

/// The topics of the lanes: those of the filter, or else all at the top of the taxonomy. Under the
/// names by which stories have them: an alias stands for another.
fn topics(wish: &Wish, taxonomy: &Taxonomy) -> Vec<String> {
    let tops = taxonomy.entries().iter().map(|entry| entry.topic.as_str());
    let tops = tops.filter(|topic| !topic.contains('.'));
    if wish.topics.is_empty() {
        return tops.map(str::to_owned).collect();
    }
    let named = |text: &String| {
        let topic: Option<Topic> = text.parse().ok();
        let meant = topic.as_ref().and_then(|topic| taxonomy.resolve(topic));
        meant.map_or_else(|| text.clone(), ToString::to_string)
    };
    let mut topics: Vec<String> = Vec::new();
    for topic in wish.topics.iter().map(named) {
        if !topics.contains(&topic) {
            topics.push(topic);
        }
    }
    topics
}

/// The lanes, with links to each at their head.
pub fn show(view: &View<'_>, wish: &Wish, lanes: &Lanes) -> Markup {
    let phrases = view.phrases();
    let id = |number: usize| format!("lane-{number}");
    html! {
        h2 id="news" class="unseen" tabindex="-1" { (phrases.news) }
        noscript { p class="hint" { (phrases.no_script) } }
        @if lanes.is_cut { p class="hint" { (phrases.lanes_cut) } }
        nav class="lane-names" aria-label=(phrases.topics) {
            @for (number, (topic, _)) in lanes.lanes.iter().enumerate() {
                a href={ "#" (id(number)) } { (view.topic_name(topic)) }
            }
        }
        div id="lanes" class="lanes" role="region" aria-label=(phrases.layouts[1]) tabindex="0"
            data-stream=(lanes.stream) {
            @for (number, (topic, front)) in lanes.lanes.iter().enumerate() {
                section class="lane" id=(id(number)) aria-labelledby={ (id(number)) "-name" } {
                    h2 id={ (id(number)) "-name" } {
                        a href=(wish.lane(topic).address()) { (view.topic_name(topic)) }
                    }
                    ol data-topic=(topic) {
                        @for (story, change) in &front.stories { (view.row(story, change)) }
                    }
                    p class="hint nothing" hidden[!front.stories.is_empty()] { (phrases.nothing) }
                    @if !front.next_page.is_empty() {
                        p { a href=(wish.lane(topic).page(&front.next_page)) {
                            (phrases.earlier)
                            span class="unseen" { ": " (view.topic_name(topic)) }
                        } }
                    }
                }
            }
        }
    }
}

/// The choice between one column and lanes.
pub fn choice(view: &View<'_>, wish: &Wish) -> Markup {
    let layouts = [Layout::Column, Layout::Lanes];
    html! {
        @for (layout, name) in layouts.into_iter().zip(view.phrases().layouts) {
            a href=(wish.in_layout(layout)) aria-current=[(layout == wish.layout).then_some("page")] {
                (name)
            }
        }
    }
}
