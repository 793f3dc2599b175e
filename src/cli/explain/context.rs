//! A phrase among the words around it.

use unicode_segmentation::UnicodeSegmentation as _;

use crate::{
    article::Article,
    cli::printable::{cut, inline, width_of},
    routing::findings,
    wire::proto::v1 as proto,
};

/// The texts of an article that routing reads, as it reads them. Empty where they are not known.
#[derive(Clone, Debug, Default)]
pub struct Fields(Vec<(&'static str, String)>);

/// A phrase with what stands around it, printable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The words before it, with the space between them; begins with an ellipsis where cut.
    pub before: String,
    /// The phrase as it stands there.
    pub phrase: String,
    /// The words after it; ends with an ellipsis where cut.
    pub after: String,
}

impl Fields {
    /// Those of an article.
    pub fn of(article: &Article) -> Self {
        let fields = findings::fields(article);
        Self(
            fields
                .map(|field| (field.path, field.text.into_owned()))
                .to_vec(),
        )
    }

    /// A phrase with as many words around it as fit so many columns, itself included. Where another
    /// text stands than the place says, that text alone.
    pub fn around(&self, place: &proto::PhrasePlace, room: usize) -> Context {
        let phrase = cut(&inline(&place.text), room);
        let (before, after) = self.split(place).unwrap_or_default();
        let (before, after) = (inline(before), inline(after));
        let room = room.saturating_sub(width_of(&phrase));
        // What one side leaves free is the other's.
        let half = room / 2;
        let room_after = room - half.min(width_of(before.trim_start()));
        let after = head(after.trim_end(), room_after);
        let before = tail(before.trim_start(), room.saturating_sub(width_of(&after)));
        Context {
            before,
            phrase,
            after,
        }
    }

    /// What stands before and after a place.
    fn split(&self, place: &proto::PhrasePlace) -> Option<(&str, &str)> {
        let (_, text) = self.0.iter().find(|(path, _)| *path == place.field)?;
        let offset = usize::try_from(place.offset).ok()?;
        let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
        let (before, rest) = text.split_at_checked(ends.into_iter().nth(offset)?)?;
        let after = rest.strip_prefix(place.text.as_str())?;
        Some((before, after))
    }
}

/// The end of a text in so many columns.
fn tail(text: &str, room: usize) -> String {
    let words: Vec<&str> = text.split_word_bounds().rev().collect();
    let mut kept = kept(&words, room);
    kept.words.reverse();
    let text = kept.words.concat();
    match kept.is_cut {
        true => format!("…{}", text.trim_start()),
        false => text,
    }
}

/// The beginning of a text in so many columns.
fn head(text: &str, room: usize) -> String {
    let words: Vec<&str> = text.split_word_bounds().collect();
    let kept = kept(&words, room);
    let text = kept.words.concat();
    match kept.is_cut {
        true => format!("{}…", text.trim_end()),
        false => text,
    }
}

struct Kept<'a> {
    words: Vec<&'a str>,
    is_cut: bool,
}

/// The first words that fit, with a column for an ellipsis where some do not.
fn kept<'a>(words: &[&'a str], room: usize) -> Kept<'a> {
    let all: usize = words.iter().map(|word| width_of(word)).sum();
    if all <= room {
        return Kept {
            words: words.to_vec(),
            is_cut: false,
        };
    }
    let mut taken = 1;
    let fitting = words.iter().take_while(|word| {
        taken += width_of(word);
        taken <= room
    });
    Kept {
        words: fitting.copied().collect(),
        is_cut: room > 0,
    }
}
