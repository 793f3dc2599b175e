//! Wish: what the address of the dashboard asks for. It is the dashboard's only state.

use http::HeaderMap;
use url::form_urlencoded;

use crate::{
    article::Urgency,
    fault::{
        Fault,
        wrong::{Quoted, Wrong},
    },
    server::http::dashboard::phrases::Tongue,
    wire::proto::v1::Filter,
};

/// How an address asks for lanes.
pub const LANES: &str = "lanes";

/// How the news is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// In one column.
    Column,
    /// In a lane for each topic.
    Lanes,
}

/// A query of the dashboard. What it does not know it passes over: an address of another release
/// must still show news.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The language of the interface.
    pub tongue: Tongue,
    /// Whether the address itself names it.
    pub is_tongue_named: bool,
    /// Topics.
    pub topics: Vec<String>,
    /// Languages, as written.
    pub languages: String,
    /// Least urgent wanted, as written.
    pub urgency: String,
    /// Words, as written.
    pub words: String,
    /// The token of a page of earlier news, or empty.
    pub page: String,
    /// The revision that was just published by a form, which its article's page tells.
    pub done: Option<u32>,
    /// What was just done by a form, which its page tells.
    pub did: String,
    /// Whose subscriptions or webhooks alone are shown.
    pub partner: String,
    /// How the news is laid out; a page of earlier news has one column.
    pub layout: Layout,
}

impl Wish {
    /// Reads a query; the headers decide what it leaves open.
    pub fn parse(query: &str, headers: &HeaderMap) -> Self {
        let mut ui = String::new();
        let mut wish = Self {
            tongue: Tongue::English,
            is_tongue_named: false,
            topics: Vec::new(),
            languages: String::new(),
            urgency: String::new(),
            words: String::new(),
            page: String::new(),
            done: None,
            did: String::new(),
            partner: String::new(),
            layout: Layout::Column,
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "topics" => wish.topics.extend(parts(&value, ',')),
                "languages" => wish.languages = value.into_owned(),
                "urgency" => wish.urgency = value.into_owned(),
                "q" => wish.words = value.into_owned(),
                "page" => wish.page = value.into_owned(),
                "view" if value == LANES => wish.layout = Layout::Lanes,
                "done" => wish.done = value.parse().ok(),
                "did" => wish.did = value.into_owned(),
                "partner" => wish.partner = value.into_owned(),
                "ui" => ui = value.into_owned(),
                _ => {}
            }
        }
        if !wish.page.is_empty() {
            wish.layout = Layout::Column;
        }
        wish.tongue = Tongue::of(&ui, headers);
        wish.is_tongue_named = ui == wish.tongue.tag();
        wish
    }

    /// The filter that it means; the wire checks what it holds.
    ///
    /// # Errors
    /// The urgency is none.
    pub fn filter(&self) -> Result<Filter, Fault> {
        let urgency = match self.urgency.as_str() {
            "" => 0,
            text => urgency(text)?,
        };
        Ok(Filter {
            topics: self.topics.clone(),
            languages: parts(&self.languages, ','),
            urgency,
            words: self.words.split_whitespace().map(str::to_owned).collect(),
        })
    }

    /// Whether anything is filtered.
    pub fn is_filtered(&self) -> bool {
        let texts = [&self.languages, &self.urgency, &self.words];
        !self.topics.is_empty() || texts.into_iter().any(|text| !text.trim().is_empty())
    }

    /// The stream of what it filters, from a cursor on.
    pub fn stream(&self, cursor: &str) -> String {
        let mut query = self.filter_query();
        query.append_pair("from", cursor);
        format!("/v1/stream?{}", query.finish())
    }

    /// The same news in a language of the interface.
    pub fn in_tongue(&self, tongue: Tongue) -> String {
        let mut query = self.view_query();
        query.append_pair("ui", tongue.tag());
        format!("/?{}", query.finish())
    }

    /// The same news, laid out so.
    pub fn in_layout(&self, layout: Layout) -> String {
        let wish = Self {
            layout,
            page: String::new(),
            ..self.clone()
        };
        wish.address()
    }

    /// One of its lanes, in a column by itself.
    #[must_use]
    pub fn lane(&self, topic: &str) -> Self {
        Self {
            topics: vec![topic.to_owned()],
            layout: Layout::Column,
            page: String::new(),
            ..self.clone()
        }
    }

    /// Where its newest news is.
    pub fn address(&self) -> String {
        self.with_tongue(self.view_query())
    }

    /// A page of earlier news.
    pub fn page(&self, token: &str) -> String {
        let mut query = self.filter_query();
        if !token.is_empty() {
            query.append_pair("page", token);
        }
        self.with_tongue(query)
    }

    /// All news, laid out as it is.
    pub fn all(&self) -> String {
        let wish = Self {
            topics: Vec::new(),
            languages: String::new(),
            urgency: String::new(),
            words: String::new(),
            ..self.clone()
        };
        wish.address()
    }

    /// A page of recipients, after what that token names; the same partner's alone, if one is named.
    pub fn recipients(&self, path: &str, partner: &str, token: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("partner", partner), ("page", token)] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        if self.is_tongue_named {
            query.append_pair("ui", self.tongue.tag());
        }
        match query.finish() {
            query if query.is_empty() => path.to_owned(),
            query => format!("{path}?{query}"),
        }
    }

    /// What follows an article's address.
    pub fn suffix(&self) -> String {
        if self.is_tongue_named {
            format!("?ui={}", self.tongue.tag())
        } else {
            String::new()
        }
    }

    fn with_tongue(&self, mut query: form_urlencoded::Serializer<'_, String>) -> String {
        if self.is_tongue_named {
            query.append_pair("ui", self.tongue.tag());
        }
        format!("/?{}", query.finish())
    }

    /// What the pages take: the filters, and the layout.
    fn view_query(&self) -> form_urlencoded::Serializer<'_, String> {
        let mut query = self.filter_query();
        if self.layout == Layout::Lanes {
            query.append_pair("view", LANES);
        }
        query
    }

    fn filter_query(&self) -> form_urlencoded::Serializer<'_, String> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for topic in &self.topics {
            query.append_pair("topics", topic);
        }
        let texts = [
            ("languages", &self.languages),
            ("urgency", &self.urgency),
            ("q", &self.words),
        ];
        for (name, text) in texts {
            if !text.trim().is_empty() {
                query.append_pair(name, text);
            }
        }
        query
    }
}

fn urgency(text: &str) -> Result<u32, Fault> {
    let number = text.parse().ok();
    let number = number.filter(|number| *number == 0 || Urgency::new(*number).is_some());
    number.ok_or_else(|| {
        let value = Quoted::of(text);
        Fault::field(
            "FIELD_INVALID",
            "filter.urgency",
            Wrong::NoUrgency { value },
        )
    })
}

fn parts(text: &str, separator: char) -> Vec<String> {
    let parts = text.split(separator).map(str::trim);
    let parts = parts.filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
}
