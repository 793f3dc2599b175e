//! What the dashboard says, in the languages of its readers.

use http::HeaderMap;

pub mod desk;
pub mod kept;
pub mod queue;
pub mod recipients;
pub mod refusal;
pub mod wrong;

/// A language of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tongue {
    /// English.
    English,
    /// Arabic.
    Arabic,
}

/// All phrases of one language.
#[derive(Debug)]
pub struct Phrases {
    /// Title of every page.
    pub title: &'static str,
    /// What the link past the navigation says.
    pub skip: &'static str,
    /// Heading of the filters.
    pub filters: &'static str,
    /// Label of the topics.
    pub topics: &'static str,
    /// Label of the languages.
    pub languages: &'static str,
    /// What may be written there.
    pub languages_hint: &'static str,
    /// Label of the urgency.
    pub urgency: &'static str,
    /// Least urgent wanted, and how that is called.
    pub urgencies: [(&'static str, &'static str); 4],
    /// Label of the words.
    pub words: &'static str,
    /// The button that applies filters.
    pub apply: &'static str,
    /// The link that takes them away.
    pub clear: &'static str,
    /// Heading of the stories.
    pub news: &'static str,
    /// Name of the links to the other pages.
    pub pages: &'static str,
    /// The layouts: a column, lanes.
    pub layouts: [&'static str; 2],
    /// Where there are more topics than lanes.
    pub lanes_cut: &'static str,
    /// What is said where there is none.
    pub nothing: &'static str,
    /// The link to earlier stories.
    pub earlier: &'static str,
    /// The link back to the newest.
    pub newest: &'static str,
    /// Mark of urgency 1.
    pub flash: &'static str,
    /// Marks of the actions, in the order of [`Action`](crate::article::Action).
    pub actions: [&'static str; 5],
    /// In place of a killed story's headline.
    pub killed: &'static str,
    /// In place of a withheld story's headline.
    pub withheld: &'static str,
    /// Before the reason of a correction or withdrawal.
    pub note: &'static str,
    /// Heading of what a revision changed.
    pub changed: &'static str,
    /// Where a revision changed no text.
    pub unchanged: &'static str,
    /// Name of the part with the opened article.
    pub opened: &'static str,
    /// The button that closes an article.
    pub close: &'static str,
    /// Heading of an article's topics.
    pub routing: &'static str,
    /// Why it has a topic: named, subject, text, inherited, rest.
    pub reasons: [&'static str; 5],
    /// Heading of an article's revisions.
    pub revisions: &'static str,
    /// One revision; its number follows.
    pub revision: &'static str,
    /// Heading of related articles.
    pub related: &'static str,
    /// Where there are none.
    pub unrelated: &'static str,
    /// Before shared words.
    pub shared: &'static str,
    /// Where one article names the other.
    pub linked: &'static str,
    /// Where an article has more revisions than are shown.
    pub earlier_revisions: &'static str,
    /// Removed and added, for those who don't see colours.
    pub marks: [&'static str; 2],
    /// The other language of the interface, in itself.
    pub other_tongue: &'static str,
    /// Heading and button of the page that asks for a key.
    pub enter: &'static str,
    /// What it takes.
    pub enter_hint: &'static str,
    /// Label of the key.
    pub key: &'static str,
    /// Why it asks again.
    pub refused: &'static str,
    /// The button that ends a session.
    pub leave: &'static str,
    /// What went wrong with the request.
    pub problem: &'static str,
    /// States of the connection, for the script.
    pub states: [(&'static str, &'static str); 6],
    /// Where script is off.
    pub no_script: &'static str,
}

impl Tongue {
    /// What a request asks for: by the parameter `ui`, or else by its header.
    pub fn of(ui: &str, headers: &HeaderMap) -> Self {
        match ui {
            "ar" => return Self::Arabic,
            "en" => return Self::English,
            _ => {}
        }
        let accepted = headers.get("accept-language");
        let accepted = accepted.and_then(|value| value.to_str().ok());
        // Browsers name the best first.
        let tags = accepted.unwrap_or_default().split(',');
        let mut languages = tags.filter_map(|tag| tag.split(['-', ';']).next());
        let known = languages.find_map(|language| {
            let language = language.trim();
            let known = [Self::English, Self::Arabic];
            let is_it = |tongue: &Self| language.eq_ignore_ascii_case(tongue.tag());
            known.into_iter().find(is_it)
        });
        known.unwrap_or(Self::English)
    }

    /// Its tag.
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Arabic => "ar",
        }
    }

    /// Its direction.
    pub fn direction(self) -> &'static str {
        match self {
            Self::English => "ltr",
            Self::Arabic => "rtl",
        }
    }

    /// The one beside it.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::English => Self::Arabic,
            Self::Arabic => Self::English,
        }
    }

    /// What it says.
    pub fn phrases(self) -> &'static Phrases {
        match self {
            Self::English => &ENGLISH,
            Self::Arabic => &ARABIC,
        }
    }
}

const ENGLISH: Phrases = Phrases {
    title: "Barid: the wire",
    skip: "Skip to the news",
    filters: "Filters",
    topics: "Topics",
    languages: "Languages",
    languages_hint: "such as ar, en",
    urgency: "Urgency",
    urgencies: [
        ("", "any"),
        ("1", "flash only"),
        ("3", "1 to 3"),
        ("5", "1 to 5"),
    ],
    words: "Words",
    apply: "Apply",
    clear: "Clear",
    news: "News",
    pages: "Pages",
    layouts: ["One column", "Lanes by topic"],
    lanes_cut: "Only the first eight topics have a lane.",
    nothing: "Nothing on the wire matches these filters yet.",
    earlier: "Earlier news",
    newest: "Back to the newest",
    flash: "FLASH",
    actions: ["New", "Update", "Correction", "Withheld", "KILLED"],
    killed: "This story is killed: do not use it",
    withheld: "This story is withheld for now: do not use it",
    note: "Editors’ note:",
    changed: "What changed",
    unchanged: "No change of the text",
    opened: "Opened article",
    close: "Close",
    routing: "Topics, and why",
    reasons: [
        "named by the publisher:",
        "IPTC media topic",
        "by the text:",
        "of an earlier revision",
        "nothing else fits",
    ],
    revisions: "Revisions",
    revision: "Revision",
    related: "You might also like",
    unrelated: "Nothing related among the newest articles.",
    shared: "shares",
    linked: "linked",
    earlier_revisions: "Earlier revisions are not shown.",
    marks: ["removed:", "added:"],
    other_tongue: "العربية",
    enter: "Log in",
    enter_hint: "With the desk’s key, or your own: the wire opens to those who may read all of it, \
                 subscriptions and webhooks to their owners. This browser stays in for 12 hours.",
    key: "Key",
    refused: "This key was not taken.",
    leave: "Log out",
    problem: "That can’t be shown",
    states: [
        ("connecting", "Connecting…"),
        ("behind", "Catching up…"),
        ("live", "Live"),
        (
            "offline",
            "Disconnected: what you see may be old. Trying again…",
        ),
        (
            "gap",
            "Some revisions can’t be delivered any more. Reload to see the newest.",
        ),
        ("unready", "The server is behind: what you see may be old."),
    ],
    no_script: "Without JavaScript this page does not update by itself: reload it.",
};

const ARABIC: Phrases = Phrases {
    title: "بريد: نشرة الأخبار",
    skip: "إلى الأخبار",
    filters: "التصفية",
    topics: "الموضوعات",
    languages: "اللغات",
    languages_hint: "مثل ar, en",
    urgency: "الأهمية",
    urgencies: [
        ("", "الكل"),
        ("1", "العاجل فقط"),
        ("3", "من 1 إلى 3"),
        ("5", "من 1 إلى 5"),
    ],
    words: "كلمات",
    apply: "تطبيق",
    clear: "مسح",
    news: "الأخبار",
    pages: "الصفحات",
    layouts: ["عمود واحد", "عمود لكل موضوع"],
    lanes_cut: "للموضوعات الثمانية الأولى فقط أعمدة.",
    nothing: "لا أخبار توافق هذه التصفية بعد.",
    earlier: "أخبار أقدم",
    newest: "العودة إلى الأحدث",
    flash: "عاجل",
    actions: ["جديد", "تحديث", "تصحيح", "محجوب", "ملغى"],
    killed: "أُلغي هذا الخبر: لا تستخدموه",
    withheld: "حُجب هذا الخبر مؤقتاً: لا تستخدموه",
    note: "ملاحظة إلى المحررين:",
    changed: "ما الذي تغيّر",
    unchanged: "لم يتغيّر النص",
    opened: "الخبر المفتوح",
    close: "إغلاق",
    routing: "الموضوعات وأسبابها",
    reasons: [
        "سمّاه الناشر:",
        "موضوع IPTC",
        "من النص:",
        "من مراجعة سابقة",
        "لا يناسبه غيره",
    ],
    revisions: "المراجعات",
    revision: "المراجعة",
    related: "قد يهمك أيضاً",
    unrelated: "لا أخبار ذات صلة بين الأحدث.",
    shared: "يشترك في",
    linked: "مرتبط",
    earlier_revisions: "لا تُعرض المراجعات الأقدم.",
    marks: ["حُذف:", "أُضيف:"],
    other_tongue: "English",
    enter: "تسجيل الدخول",
    enter_hint: "بمفتاح التحرير أو بمفتاحكم: تُفتح النشرة لمن يقرؤها كلها، والاشتراكات والويب هوك \
                 لأصحابها. يبقى هذا المتصفح مسجّلاً 12 ساعة.",
    key: "المفتاح",
    refused: "لم يُقبل هذا المفتاح.",
    leave: "تسجيل الخروج",
    problem: "تعذّر العرض",
    states: [
        ("connecting", "جارٍ الاتصال…"),
        ("behind", "جارٍ اللحاق بالجديد…"),
        ("live", "مباشر"),
        (
            "offline",
            "انقطع الاتصال: قد يكون المعروض قديماً. تجري المحاولة من جديد…",
        ),
        (
            "gap",
            "لم يعد ممكناً تسليم بعض المراجعات. أعيدوا تحميل الصفحة لرؤية الأحدث.",
        ),
        ("unready", "الخادم متأخر: قد يكون المعروض قديماً."),
    ],
    no_script: "بلا جافاسكربت لا تتجدد الصفحة وحدها: أعيدوا تحميلها.",
};

#[cfg(test)]
mod tests;
