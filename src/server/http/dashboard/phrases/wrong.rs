//! What is wrong with a field, in the words of its form.

use maud::{Markup, html};

use crate::{
    article::Action,
    fault::wrong::{Unit, Wrong},
    routing::taxonomy::Taxonomy,
    server::http::dashboard::phrases::Tongue,
    topic::Topic,
};

/// In which words faults are told: a language, and the names that topics have in it.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a> {
    /// The language.
    pub tongue: Tongue,
    /// The names; without them topics are called by their paths.
    pub taxonomy: Option<&'a Taxonomy>,
}

/// An Arabic noun as a number asks for it, in the cases that follow a verb or a preposition.
struct Noun {
    /// One of it.
    one: &'static str,
    /// Two of it.
    two: &'static str,
    /// After 3 to 10.
    few: &'static str,
    /// After 11 to 99.
    many: &'static str,
    /// After whole hundreds, and 1 and 2 beyond them.
    hundred: &'static str,
}

const DAYS: Noun = Noun {
    one: "يوم واحد",
    two: "يومين",
    few: "أيام",
    many: "يوماً",
    hundred: "يوم",
};

impl<'a> Words<'a> {
    /// Words without names of topics.
    pub fn of(tongue: Tongue) -> Self {
        Self {
            tongue,
            taxonomy: None,
        }
    }

    /// Which rule a field breaks, and what to do.
    pub fn wrong(self, wrong: &Wrong) -> Markup {
        match self.tongue {
            Tongue::English => self.english(wrong),
            Tongue::Arabic => self.arabic(wrong),
        }
    }

    /// The name of a topic, or its path.
    pub fn topic_name<'b>(self, path: &'b str) -> &'b str
    where
        'a: 'b,
    {
        let name = self.taxonomy.and_then(|taxonomy| {
            let number = taxonomy.number(&path.parse().ok()?)?;
            taxonomy.entries().get(number)?.names.get(self.tongue.tag())
        });
        name.map_or(path, String::as_str)
    }

    #[expect(
        clippy::too_many_lines,
        reason = "one sentence for each rule: the compiler misses none"
    )]
    fn english(self, wrong: &Wrong) -> Markup {
        let release = self.tongue.desk().queue.acts[1];
        match wrong {
            Wrong::Told(message) => html! { "This is not taken: " (api(message)) },
            Wrong::TooMany { count, max, unit } => {
                let (what, remedy) = match unit {
                    Unit::Characters => ("characters", "Shorten it."),
                    Unit::Bytes => ("bytes", "Shorten it."),
                    Unit::Entries => ("entries", "Leave some out."),
                    Unit::Elements => ("HTML elements", "Use less markup."),
                    Unit::References => ("HTML references such as &amp;", "Use less markup."),
                };
                html! { "It has " (count) " " (what) ", and at most " (max) " are allowed. " (remedy) }
            }
            Wrong::TooLarge { count, max } => html! {
                "The whole story takes " (count) " bytes, and at most " (max) " are allowed. Shorten \
                 the text."
            },
            Wrong::Control { value, char } => html! {
                (self.quoted(value.text())) " holds the invisible character " (code_point(*char))
                ", which can disguise text. Remove it, or type the text anew."
            },
            Wrong::NoUri { value } => html! {
                (self.quoted(value.text())) " is no whole address. Begin it with a scheme such as "
                (code("https:")) " or " (code("urn:")) ", and leave no spaces in it."
            },
            Wrong::NoUrl { value } => html! {
                (self.quoted(value.text())) " is no whole address of a page. Give all of it, from "
                (code("https://")) " on."
            },
            Wrong::NoHeadline => html! { "The story needs a headline. Write one." },
            Wrong::NoReason { action } => html! {
                (match action {
                    Action::Publish | Action::Update | Action::Correct => "Say what was wrong.",
                    Action::Withhold => "Say why the story is withheld.",
                    Action::Kill => "Say why the story is killed.",
                })
                " Everybody who got it reads that."
            },
            Wrong::NoUrgency { value } => html! {
                (self.quoted(value.text())) " is no urgency: choose one from 1 (flash) to 9 (can wait)."
            },
            Wrong::LanguageMissing => html! {
                "Give the language of the story, such as " (code("ar")) " or " (code("en")) "."
            },
            Wrong::NoLanguage { value } => html! {
                (self.quoted(value.text())) " is no tag of a language. Give one such as " (code("ar"))
                ", " (code("en")) " or " (code("ar-EG")) "."
            },
            Wrong::LanguageFixed { stored } => html! {
                "The story is in " (code(stored)) ", and stays so. Publish a translation as a story of \
                 its own."
            },
            Wrong::NoRange { value } => html! {
                (self.quoted(value.text())) " is no language. Give tags such as " (code("ar")) " or "
                (code("en")) ", with commas between them."
            },
            Wrong::NoWord { value } => html! {
                (self.quoted(value.text())) " is no word to look for: give words of at most 64 letters."
            },
            Wrong::NoTopic { value } => html! {
                (self.quoted(value.text())) " can’t be a topic. Choose topics from the list."
            },
            Wrong::TopicUnknown { unknown, nearest } => html! {
                "There is no topic " (self.quoted(unknown.as_str())) ". The nearest is "
                (self.topic(nearest)) ": choose that, and take the other out."
            },
            Wrong::NoSubject { value } => html! {
                (self.quoted(value.text())) " is no IPTC media topic: a code has eight digits, such as "
                (code("04000000")) "."
            },
            Wrong::NoPlace => html! { "A place has no name. Write it, or take the place out." },
            Wrong::NoTime { value } => html! {
                (self.quoted(value.text())) " is no time. Give day and hour in UTC, such as "
                (code("2026-12-24T18:00")) "."
            },
            Wrong::Over => html! {
                "This time is over already. Give one in the future, in UTC, or none."
            },
            Wrong::ExpiresUnseen => html! {
                "The story would be over before its embargo is, and nobody would ever see it. Give a \
                 time after the embargo’s, or none."
            },
            Wrong::TooFar { days } => html! {
                "An embargo lasts " (days) " days at most. Give an earlier time."
            },
            Wrong::NoUntil => html! { "Give a day and an hour in the future, in UTC." },
            Wrong::NotAhead { days } => html! {
                "Give a time in the future, at most " (days) " days ahead. To let the draft out at \
                 once, choose “" (release) "”."
            },
            Wrong::AfterExpiry { end } => html! {
                "The story is over at " (code(end)) ". Give an earlier time, or hand the draft in again \
                 with a later end."
            },
            Wrong::NameTaken => html! {
                "Another story has this identifier. Revise that one, or give another."
            },
            Wrong::NameHasDraft => html! {
                "A draft under embargo has this identifier. Tick below that yours is to take its \
                 place, or give another."
            },
            Wrong::StoryHasDraft => html! {
                "A draft of this story waits already. Look at it among those under embargo, and tick \
                 below that yours is to take its place."
            },
            Wrong::Unticked => html! { "Tick the box to confirm that." },
            Wrong::NoId { value } => html! {
                (self.quoted(value.text())) " names no story. Open the story from the wire."
            },
            Wrong::NoWebhook { value } => html! {
                (self.quoted(value.text())) " names no webhook. Open it from the list of webhooks."
            },
            Wrong::NoPartner { value } => html! {
                (self.quoted(value.text())) " can’t be a partner’s name. Choose one from the list."
            },
        }
    }

    #[expect(
        clippy::too_many_lines,
        reason = "one sentence for each rule: the compiler misses none"
    )]
    fn arabic(self, wrong: &Wrong) -> Markup {
        let release = self.tongue.desk().queue.acts[1];
        match wrong {
            Wrong::Told(message) => html! { "هذا غير مقبول: " (api(message)) },
            Wrong::TooMany { count, max, unit } => {
                let remedy = match unit {
                    Unit::Characters | Unit::Bytes => "اختصروه.",
                    Unit::Entries => "احذفوا بعضها.",
                    Unit::Elements | Unit::References => "بسّطوا تنسيقه.",
                };
                let noun = noun(*unit);
                html! {
                    "أدخلتم " (noun.counted(wide(*count))) "، ولا يُسمح بأكثر من "
                    (noun.counted(wide(*max))) ". " (remedy)
                }
            }
            Wrong::TooLarge { count, max } => {
                let noun = noun(Unit::Bytes);
                html! {
                    "حجم الخبر كله يبلغ " (noun.counted(wide(*count))) "، ولا يُسمح بأكثر من "
                    (noun.counted(wide(*max))) ". اختصروا النص."
                }
            }
            Wrong::Control { value, char } => html! {
                "في " (self.quoted(value.text())) " محرف خفي " (code_point(*char))
                " قد يموّه النص. احذفوه أو اكتبوا النص من جديد."
            },
            Wrong::NoUri { value } => html! {
                (self.quoted(value.text())) " ليس عنواناً كاملاً. ابدأوه بمثل " (code("https:"))
                " أو " (code("urn:")) " بلا فراغات."
            },
            Wrong::NoUrl { value } => html! {
                (self.quoted(value.text())) " ليس عنوان صفحة كاملاً. اكتبوه كله بدءاً من "
                (code("https://")) "."
            },
            Wrong::NoHeadline => html! { "لا بد للخبر من عنوان. اكتبوا عنواناً." },
            Wrong::NoReason { action } => html! {
                (match action {
                    Action::Publish | Action::Update | Action::Correct => "اذكروا ما كان خطأً.",
                    Action::Withhold => "اذكروا سبب حجب الخبر.",
                    Action::Kill => "اذكروا سبب إلغاء الخبر.",
                })
                " يقرؤه كل من وصله الخبر."
            },
            Wrong::NoUrgency { value } => html! {
                (self.quoted(value.text())) " ليست درجة أهمية: اختاروا درجة من 1 (عاجل) إلى 9 (يحتمل \
                 الانتظار)."
            },
            Wrong::LanguageMissing => html! {
                "اكتبوا لغة الخبر، مثل " (code("ar")) " أو " (code("en")) "."
            },
            Wrong::NoLanguage { value } => html! {
                (self.quoted(value.text())) " ليس رمز لغة. اكتبوا رمزاً مثل " (code("ar")) " أو "
                (code("en")) " أو " (code("ar-EG")) "."
            },
            Wrong::LanguageFixed { stored } => html! {
                "لغة الخبر " (code(stored)) " ولا تتغيّر. انشروا الترجمة خبراً قائماً بذاته."
            },
            Wrong::NoRange { value } => html! {
                (self.quoted(value.text())) " ليست لغة. اكتبوا رموزاً مثل " (code("ar")) " أو "
                (code("en")) " بينها فواصل."
            },
            Wrong::NoWord { value } => html! {
                (self.quoted(value.text())) " ليست كلمة يُبحث عنها: اكتبوا كلمات لا تزيد الواحدة منها \
                 على 64 حرفاً."
            },
            Wrong::NoTopic { value } => html! {
                "لا يصلح " (self.quoted(value.text())) " موضوعاً. اختاروا الموضوعات من القائمة."
            },
            Wrong::TopicUnknown { unknown, nearest } => html! {
                "لا موضوع باسم " (self.quoted(unknown.as_str())) ". أقرب الموضوعات إليه "
                (self.topic(nearest)) ": اختاروه بدلاً من الآخر."
            },
            Wrong::NoSubject { value } => html! {
                (self.quoted(value.text())) " ليس رمز موضوع من IPTC: الرمز ثمانية أرقام، مثل "
                (code("04000000")) "."
            },
            Wrong::NoPlace => html! { "أحد الأماكن بلا اسم. اكتبوا اسمه أو احذفوه." },
            Wrong::NoTime { value } => html! {
                (self.quoted(value.text())) " ليس وقتاً. اكتبوا اليوم والساعة بتوقيت UTC، مثل "
                (code("2026-12-24T18:00")) "."
            },
            Wrong::Over => html! {
                "مضى هذا الوقت. اكتبوا وقتاً في المستقبل بتوقيت UTC، أو اتركوا الحقل فارغاً."
            },
            Wrong::ExpiresUnseen => html! {
                "ينتهي الخبر قبل أن يحين موعد نشره فلا يراه أحد. اكتبوا وقتاً بعد موعد النشر، أو اتركوا \
                 الحقل فارغاً."
            },
            Wrong::TooFar { days } => html! {
                "لا يؤجَّل خبر أكثر من " (DAYS.counted(*days)) ". اكتبوا وقتاً أقرب."
            },
            Wrong::NoUntil => html! { "اكتبوا يوماً وساعة في المستقبل بتوقيت UTC." },
            Wrong::NotAhead { days } => html! {
                "اكتبوا وقتاً في المستقبل لا يبعد أكثر من " (DAYS.counted(*days)) ". ولنشر المسودة \
                 فوراً اختاروا «" (release) "»."
            },
            Wrong::AfterExpiry { end } => html! {
                "ينتهي الخبر في " (code(end)) ". اكتبوا وقتاً قبله، أو سلّموا المسودة من جديد بوقت \
                 انتهاء أبعد."
            },
            Wrong::NameTaken => html! {
                "هذا المعرّف لخبر آخر. حدّثوا ذلك الخبر أو اكتبوا معرّفاً آخر."
            },
            Wrong::NameHasDraft => html! {
                "هذا المعرّف لمسودة مؤجَّلة. أشّروا أدناه ليحلّ خبركم محلّها، أو اكتبوا معرّفاً آخر."
            },
            Wrong::StoryHasDraft => html! {
                "لهذا الخبر مسودة تنتظر. انظروا إليها بين المؤجَّلة، وأشّروا أدناه ليحلّ ما كتبتموه \
                 محلّها."
            },
            Wrong::Unticked => html! { "أشّروا في المربع للتأكيد." },
            Wrong::NoId { value } => html! {
                (self.quoted(value.text())) " لا يدل على خبر. افتحوا الخبر من النشرة."
            },
            Wrong::NoWebhook { value } => html! {
                (self.quoted(value.text())) " لا يدل على ويب هوك. افتحوه من قائمة الويب هوك."
            },
            Wrong::NoPartner { value } => html! {
                "لا يصلح " (self.quoted(value.text())) " اسماً لشريك. اختاروا شريكاً من القائمة."
            },
        }
    }

    /// What somebody wrote: the direction of it is its own.
    fn quoted(self, text: &str) -> Markup {
        let [open, close] = match self.tongue {
            Tongue::English => ["“", "”"],
            Tongue::Arabic => ["«", "»"],
        };
        html! { (open) bdi { (text) } (close) }
    }

    /// A topic by its name, with its path.
    fn topic(self, topic: &Topic) -> Markup {
        let path = topic.as_str();
        let name = self.topic_name(path);
        html! {
            @if name == path { (code(path)) } @else { (self.quoted(name)) " (" (code(path)) ")" }
        }
    }
}

impl Noun {
    /// So many of it.
    fn counted(&self, count: u64) -> String {
        let word = match (count, count % 100) {
            (1, _) => return self.one.to_owned(),
            (2, _) => return self.two.to_owned(),
            (_, 3..=10) => self.few,
            (_, 11..=99) => self.many,
            (_, _) => self.hundred,
        };
        format!("{count} {word}")
    }
}

fn noun(unit: Unit) -> Noun {
    let [one, two, few, many, hundred] = match unit {
        Unit::Characters => ["حرف واحد", "حرفين", "أحرف", "حرفاً", "حرف"],
        Unit::Bytes => ["بايت واحد", "بايتين", "بايتات", "بايتاً", "بايت"],
        Unit::Entries => ["مدخل واحد", "مدخلين", "مدخلات", "مدخلاً", "مدخل"],
        Unit::Elements => [
            "عنصر واحد من HTML",
            "عنصرين من HTML",
            "عناصر من HTML",
            "عنصراً من HTML",
            "عنصر من HTML",
        ],
        Unit::References => [
            "رمز واحد من HTML",
            "رمزين من HTML",
            "رموز من HTML",
            "رمزاً من HTML",
            "رمز من HTML",
        ],
    };
    Noun {
        one,
        two,
        few,
        many,
        hundred,
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// What is written from left to right in any language.
fn code(text: &str) -> Markup {
    html! { bdi dir="ltr" { (text) } }
}

fn code_point(char: char) -> Markup {
    code(&format!("U+{:04X}", u32::from(char)))
}

/// The API's own words.
pub fn api(message: &str) -> Markup {
    html! { span lang="en" dir="ltr" { (message) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Arabic counts one, two, a few, many and hundreds each in its own way.
    #[test]
    fn arabic_counts() {
        let letters = noun(Unit::Characters);
        for (count, expected) in [
            (1, "حرف واحد"),
            (2, "حرفين"),
            (3, "3 أحرف"),
            (10, "10 أحرف"),
            (11, "11 حرفاً"),
            (99, "99 حرفاً"),
            (100, "100 حرف"),
            (102, "102 حرف"),
            (103, "103 أحرف"),
            (512, "512 حرفاً"),
            (1000, "1000 حرف"),
        ] {
            assert_eq!(letters.counted(count), expected);
        }
    }

    /// What was written stands by itself, and can't be markup.
    #[test]
    fn values_are_isolated() {
        let value = crate::fault::wrong::Quoted::of("<b>\u{202E}x");
        for (tongue, open) in [(Tongue::English, "“"), (Tongue::Arabic, "«")] {
            let value = value.clone();
            let told = Words::of(tongue).wrong(&Wrong::NoLanguage { value }).0;
            let shown = format!("{open}<bdi>&lt;b&gt;\\u{{202e}}x</bdi>");
            assert!(told.starts_with(&shown), "{told}");
        }
    }
}
