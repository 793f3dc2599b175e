//! Draft: a revision as an editor writes it in a form, on its way to an article and back.

use jiff::Timestamp;
use prost_types::Timestamp as Stamp;

use crate::{
    fault::{
        Fault, Violation,
        wrong::{Quoted, Wrong},
    },
    server::http::form::Form,
    wire::{
        ninjs::{time_from_proto, time_to_proto},
        proto::v1::{Article, BodyType, Link, LinkRelation, Place},
    },
};

/// The fields of a form that are texts, by name. `topics` is beside them.
pub const TEXTS: [&str; 18] = [
    "uri",
    "language",
    "headline",
    "subheadline",
    "slugline",
    "body",
    "body_type",
    "byline",
    "located",
    "source",
    "usage_terms",
    "urgency",
    "edition_note",
    "subjects",
    "places",
    "page",
    "embargoed_until",
    "expires",
];
/// The field that is ticked before what can't be taken back.
pub const CONFIRM: &str = "confirm";
/// How a form says that its body is HTML.
pub const HTML: &str = "html";

/// What stands in a form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// The id of the request that it becomes, however often it is sent.
    pub request_id: String,
    /// The tag of the revision that it was begun on; empty for a new story.
    pub seen: String,
    /// What can't be taken back is confirmed.
    pub is_confirmed: bool,
    /// The version of the waiting draft that was shown, and is to be replaced; 0 = none.
    pub replaces: u64,
    /// Topics that are ticked.
    pub topics: Vec<String>,
    texts: [String; TEXTS.len()],
}

impl Draft {
    /// An empty one.
    pub fn new(request_id: String, language: &str) -> Self {
        let mut draft = Self {
            request_id,
            ..Self::default()
        };
        draft.set("language", language.to_owned());
        draft.set("urgency", "5".to_owned());
        draft
    }

    /// What an article says. The note is for another revision: whoever revises writes a new one.
    pub fn of(article: &Article, request_id: String, seen: String) -> Self {
        let mut draft = Self {
            request_id,
            seen,
            topics: article.topics.clone(),
            ..Self::default()
        };
        let page = article.links.iter().find(|link| is_page(link));
        let urgency = if article.urgency == 0 {
            5
        } else {
            article.urgency
        };
        let is_html = article.body_type() == BodyType::Html;
        let places: Vec<&str> = article
            .places
            .iter()
            .map(|place| place.name.as_str())
            .collect();
        for (name, text) in [
            ("uri", article.uri.clone()),
            ("language", article.language.clone()),
            ("headline", article.headline.clone()),
            ("subheadline", article.subheadline.clone()),
            ("slugline", article.slugline.clone()),
            ("body", article.body.clone()),
            ("body_type", if is_html { HTML } else { "text" }.to_owned()),
            ("byline", article.byline.clone()),
            ("located", article.located.clone()),
            ("source", article.source.clone()),
            ("usage_terms", article.usage_terms.clone()),
            ("urgency", urgency.to_string()),
            ("subjects", article.subjects.join(", ")),
            ("places", places.join("\n")),
            (
                "page",
                page.map(|link| link.href.clone()).unwrap_or_default(),
            ),
            (
                "embargoed_until",
                shown_time(article.embargoed_until.as_ref()),
            ),
            ("expires", shown_time(article.expires.as_ref())),
        ] {
            draft.set(name, text);
        }
        draft
    }

    /// What a form has sent.
    pub fn sent(form: &Form) -> Self {
        let text = |name: &str| form.get(name).unwrap_or_default();
        let mut draft = Self {
            request_id: text("request_id").to_owned(),
            seen: text("seen").to_owned(),
            is_confirmed: form.get(CONFIRM).is_some(),
            replaces: text("replaces").parse().unwrap_or(0),
            topics: form.all("topics").map(str::to_owned).collect(),
            ..Self::default()
        };
        for name in TEXTS {
            // A form's lines end as mail's do.
            let value = text(name).replace("\r\n", "\n");
            let is_line = !matches!(name, "body" | "places");
            draft.set(
                name,
                if is_line {
                    value.trim().to_owned()
                } else {
                    value
                },
            );
        }
        draft
    }

    /// One of its texts.
    pub fn text(&self, name: &str) -> &str {
        let place = TEXTS.iter().position(|known| *known == name);
        place.map_or("", |place| &self.texts[place])
    }

    fn set(&mut self, name: &str, text: String) {
        if let Some(place) = TEXTS.iter().position(|known| *known == name) {
            self.texts[place] = text;
        }
    }

    /// The article that it makes of the revision that it was begun on: what the form does not show
    /// stays as it was.
    ///
    /// # Errors
    /// A field that is no number.
    pub fn article(&self, base: Article) -> Result<Article, Fault> {
        let text = |name: &str| self.text(name).to_owned();
        let is_new = base.id.is_empty();
        let urgency = self.text("urgency");
        let urgency = urgency.parse().map_err(|_| {
            let value = Quoted::of(urgency);
            Fault::field(
                "FIELD_INVALID",
                "article.urgency",
                Wrong::NoUrgency { value },
            )
        })?;
        let body_type = match self.text("body_type") {
            HTML => BodyType::Html,
            _ => BodyType::Text,
        };
        let subjects = self.text("subjects").split([',', ' ', '\n', '،']);
        Ok(Article {
            uri: if is_new { text("uri") } else { base.uri },
            language: if is_new {
                text("language")
            } else {
                base.language
            },
            headline: text("headline"),
            subheadline: text("subheadline"),
            slugline: text("slugline"),
            body: text("body"),
            body_type: body_type.into(),
            byline: text("byline"),
            located: text("located"),
            source: text("source"),
            usage_terms: text("usage_terms"),
            urgency,
            edition_note: text("edition_note"),
            topics: self.topics.clone(),
            subjects: subjects
                .map(str::trim)
                .filter(|code| !code.is_empty())
                .map(str::to_owned)
                .collect(),
            places: places(self.text("places"), &base.places),
            links: links(self.text("page"), base.links),
            // That of the revision before.
            version_created: None,
            id: base.id,
            first_created: base.first_created,
            embargoed_until: self.time("embargoed_until", base.embargoed_until)?,
            expires: self.time("expires", base.expires)?,
        })
    }

    fn time(&self, name: &str, base: Option<Stamp>) -> Result<Option<Stamp>, Fault> {
        time_of(self.text(name), base, &format!("article.{name}"))
    }

    /// The notice that it makes of an article: which one, and the reason.
    pub fn notice(&self, base: &Article) -> Article {
        Article {
            id: base.id.clone(),
            urgency: base.urgency,
            edition_note: self.text("edition_note").to_owned(),
            ..Article::default()
        }
    }
}

/// A time of a form, in UTC to the minute; one that is as it was stays exact.
///
/// # Errors
/// The field holds none.
pub fn time_of(text: &str, base: Option<Stamp>, field: &str) -> Result<Option<Stamp>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    if text == shown_time(base.as_ref()) {
        return Ok(base);
    }
    let time: Result<Timestamp, _> = format!("{text}Z").parse();
    time.map(|time| Some(time_to_proto(time))).map_err(|_| {
        let value = Quoted::of(text);
        Fault::field("FIELD_INVALID", field, Wrong::NoTime { value })
    })
}

/// A time as a form has it: in UTC, without its seconds.
pub fn shown_time(time: Option<&Stamp>) -> String {
    let time = time_from_proto(time);
    time.map_or_else(String::new, |time| {
        time.strftime("%Y-%m-%dT%H:%M").to_string()
    })
}

/// The field of a form at which a violation belongs; none if no field is to blame.
pub fn field_of(violation: &Violation) -> Option<&'static str> {
    if violation.field == CONFIRM {
        return Some(CONFIRM);
    }
    let field = violation.field.strip_prefix("article.")?;
    let end = field.find(['[', '.']).unwrap_or(field.len());
    let (name, _) = field.split_at(end);
    match name {
        "topics" => Some("topics"),
        "links" => Some("page"),
        name => TEXTS.iter().copied().find(|known| *known == name),
    }
}

/// Places by their names; one that was there keeps its identifier.
fn places(text: &str, known: &[Place]) -> Vec<Place> {
    let names = text.lines().map(str::trim).filter(|name| !name.is_empty());
    let place = |name: &str| {
        let known = known.iter().find(|place| place.name == name);
        known.cloned().unwrap_or_else(|| Place {
            name: name.to_owned(),
            uri: String::new(),
        })
    };
    names.map(place).collect()
}

/// The links with this one as the story's own page.
fn links(page: &str, links: Vec<Link>) -> Vec<Link> {
    let (pages, others): (Vec<Link>, Vec<Link>) = links.into_iter().partition(is_page);
    let mut kept = Vec::new();
    if !page.is_empty() {
        let same = pages.into_iter().find(|link| link.href == page);
        kept.push(same.unwrap_or_else(|| Link {
            relation: LinkRelation::Canonical.into(),
            href: page.to_owned(),
            ..Link::default()
        }));
    }
    kept.extend(others);
    kept
}

fn is_page(link: &Link) -> bool {
    link.relation() == LinkRelation::Canonical && !link.href.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An article that nobody touches in the form comes back as it was, but for its note and the
    /// time of its revision.
    #[test]
    fn what_is_not_touched_stays() {
        let link = |relation: LinkRelation, href: &str| Link {
            relation: relation.into(),
            href: href.to_owned(),
            title: "t".to_owned(),
            ..Link::default()
        };
        let place = |name: &str, uri: &str| Place {
            name: name.to_owned(),
            uri: uri.to_owned(),
        };
        let time = Some(prost_types::Timestamp::default());
        let article = Article {
            id: "5f6c7c1e-9d2c-4f0a-8a53-3f6f3c0e1b12".to_owned(),
            uri: "test:1".to_owned(),
            headline: "Headline".to_owned(),
            body: "<p>\u{1F4F0}</p>".to_owned(),
            body_type: BodyType::Html.into(),
            language: "ar".to_owned(),
            topics: vec!["ict".to_owned()],
            subjects: vec!["04000000".to_owned(), "11000000".to_owned()],
            places: vec![
                place("Amman", "https://place.example/1"),
                place("Aqaba", ""),
            ],
            urgency: 3,
            first_created: time,
            expires: time,
            links: vec![
                link(LinkRelation::Canonical, "https://news.example/1"),
                link(LinkRelation::Rendition, "https://news.example/1.jpg"),
            ],
            ..Article::default()
        };
        let read = Article {
            edition_note: "an old note".to_owned(),
            version_created: time,
            ..article.clone()
        };
        let draft = Draft::of(&read, String::new(), String::new());
        assert_eq!(draft.article(read).unwrap(), article);
    }

    /// A violation is shown where its field is.
    #[test]
    fn violations_find_their_fields() {
        for (field, expected) in [
            ("article.headline", Some("headline")),
            ("article.places[3].name", Some("places")),
            ("article.links[0].href", Some("page")),
            ("article.topics[1]", Some("topics")),
            ("confirm", Some("confirm")),
            ("article.version_created", None),
            ("request_id", None),
        ] {
            let violation = Violation {
                field: field.to_owned(),
                wrong: Wrong::Over,
            };
            assert_eq!(field_of(&violation), expected, "{field}");
        }
    }
}
