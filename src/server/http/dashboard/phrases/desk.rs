//! What the desk's own pages say: its forms, and how the node is.

use crate::server::http::dashboard::phrases::{
    Tongue,
    kept::{self, KeptPhrases},
    queue::{self, QueuePhrases},
    recipients::{self, RecipientPhrases},
};

/// All phrases of one language.
#[derive(Debug)]
pub struct DeskPhrases {
    /// Link to the wire.
    pub wire: &'static str,
    /// Link to the form of a new story, and its heading.
    pub new: &'static str,
    /// Link to the drafts under embargo, and their heading.
    pub embargoes: &'static str,
    /// Link to the state of the node, and its heading.
    pub board: &'static str,
    /// What can be done with a story: heading, link and button of update, correct, withhold, kill,
    /// reinstate.
    pub tasks: [&'static str; 5],
    /// The button of a new story.
    pub publish: &'static str,
    /// Name of the links to what can be done with an article.
    pub acts: &'static str,
    /// Leads back.
    pub cancel: &'static str,
    /// Where a form was refused.
    pub refused: &'static str,
    /// Where the log did not answer: it may have been published.
    pub unsure: &'static str,
    /// What to do then.
    pub unsure_hint: &'static str,
    /// Where somebody else was faster; the revision's number is between.
    pub overtaken: [&'static str; 2],
    /// What the desk is to do then.
    pub overtaken_hint: &'static str,
    /// The link to the newest revision.
    pub newest: &'static str,
    /// After a success; the revision's number is between.
    pub done: [&'static str; 2],
    /// What a withholding does.
    pub withhold_hint: &'static str,
    /// What a kill does.
    pub kill_hint: &'static str,
    /// What must be ticked before it.
    pub confirm: &'static str,
    /// What must be ticked before another draft is replaced.
    pub replace: &'static str,
    /// Labels of the fields, by their names.
    pub fields: [(&'static str, &'static str); 22],
    /// Hints below some of them.
    pub hints: [(&'static str, &'static str); 8],
    /// Of each urgency that has a name.
    pub urgencies: [&'static str; 9],
    /// Forms of a body: text, HTML.
    pub body_types: [&'static str; 2],
    /// Mark of what must be filled in.
    pub required: &'static str,
    /// Groups of fields: the story, where it belongs, about it.
    pub groups: [&'static str; 3],
    /// Label of the field that narrows the topics down.
    pub pick: &'static str,
    /// While a form is on its way.
    pub sending: &'static str,
    /// The drafts under embargo.
    pub queue: QueuePhrases,
    /// Subscriptions, webhooks and recalls.
    pub recipients: RecipientPhrases,
    /// Forms that were not taken.
    pub kept: KeptPhrases,
    /// How the node is.
    pub board_texts: BoardPhrases,
}

/// What the state of the node says.
#[derive(Debug)]
pub struct BoardPhrases {
    /// Headings: traffic, NATS and the log, subscribers.
    pub headings: [&'static str; 3],
    /// Charts: articles a minute, deliveries a second, duration of a commit.
    pub charts: [&'static str; 3],
    /// Over how long they go.
    pub span: &'static str,
    /// The highest of a chart.
    pub highest: &'static str,
    /// Before enough was counted.
    pub counting: &'static str,
    /// All is well.
    pub good: &'static str,
    /// The node does not serve.
    pub not_ready: &'static str,
    /// NATS is away.
    pub disconnected: &'static str,
    /// The node has not read to the log's end.
    pub behind_log: &'static str,
    /// The leader does not answer.
    pub no_answer: &'static str,
    /// A server does not sync each write; its name is before.
    pub unsynced: &'static str,
    /// A server does not say.
    pub sync_unknown: &'static str,
    /// A server syncs each write.
    pub synced: &'static str,
    /// Names of the facts: connection, reconnects, position, last proof, size, messages, copies,
    /// erasures, release.
    pub facts: [&'static str; 9],
    /// Connected, not connected.
    pub connection: [&'static str; 2],
    /// Between a size and its bound.
    pub of: &'static str,
    /// How long ago.
    pub ago: [&'static str; 2],
    /// Heading of the servers' table, and its columns.
    pub servers: [&'static str; 4],
    /// Columns of the subscribers' table: partner, key, protocol, state, behind, cursor.
    pub streams: [&'static str; 6],
    /// States of a subscriber: live, behind.
    pub states: [&'static str; 2],
    /// Without a key.
    pub anyone: &'static str,
    /// Without subscribers.
    pub nobody: &'static str,
    /// How many streams, how many of them behind.
    pub counts: [&'static str; 2],
    /// Where not all are shown.
    pub first: &'static str,
    /// Units: seconds, milliseconds.
    pub units: [&'static str; 2],
    /// When the page can't be brought up to date.
    pub stale: &'static str,
}

impl Tongue {
    /// What the desk's pages say.
    pub fn desk(self) -> &'static DeskPhrases {
        match self {
            Self::English => &ENGLISH,
            Self::Arabic => &ARABIC,
        }
    }
}

impl DeskPhrases {
    /// The label of a field.
    pub fn label(&self, name: &str) -> &'static str {
        found(&self.fields, name).unwrap_or_default()
    }

    /// The hint of a field, if it has one.
    pub fn hint(&self, name: &str) -> Option<&'static str> {
        found(&self.hints, name)
    }
}

fn found(table: &[(&'static str, &'static str)], name: &str) -> Option<&'static str> {
    let entry = table.iter().find(|(known, _)| *known == name);
    entry.map(|(_, text)| *text)
}

const ENGLISH: DeskPhrases = DeskPhrases {
    wire: "The wire",
    new: "New story",
    embargoes: "Embargoes",
    board: "State of the node",
    tasks: ["Update", "Correct", "Withhold", "Kill", "Publish again"],
    publish: "Publish",
    acts: "What the desk can do with this story",
    cancel: "Back without a change",
    refused: "That was not published",
    unsure: "It is not known whether that was published",
    unsure_hint: "Send it again from this page: it is published once, however often it is sent.",
    overtaken: ["Revision ", " came in between"],
    overtaken_hint: "Your text is kept below, and nothing was published. This is what the other \
                     revision changed: take over what is right, and send again to replace it.",
    newest: "Open the newest revision",
    done: ["Revision ", " is on the wire."],
    withhold_hint: "Everybody who got the story is told not to use it for now, and its text is no \
                    longer shown. It can be published again.",
    kill_hint: "Everybody who got the story is told never to use it, and its texts are erased. \
                This is final: a killed story can’t come back.",
    confirm: "I want to kill this story for good",
    replace: "This is to take the place of the draft under embargo",
    fields: [
        ("headline", "Headline"),
        ("subheadline", "Line below"),
        ("body", "Text"),
        ("body_type", "Form of the text"),
        ("language", "Language"),
        ("urgency", "Urgency"),
        ("topics", "Topics"),
        ("subjects", "IPTC media topics"),
        ("places", "Places"),
        ("edition_note", "Note to editors"),
        ("reason", "Reason, shown to everybody"),
        ("byline", "Byline"),
        ("located", "Dateline"),
        ("slugline", "Slug"),
        ("source", "Source"),
        ("usage_terms", "Terms of use"),
        ("page", "Address of the story’s own page"),
        ("uri", "Stable identifier"),
        ("embargoed_until", "Embargoed until (UTC)"),
        ("expires", "Stops being news (UTC)"),
        ("until", "Goes out at (UTC)"),
        ("act", "What was to be done"),
    ],
    hints: [
        (
            "language",
            "A tag such as ar or en-GB; it can’t be changed later.",
        ),
        ("topics", "None: the text decides. Named ones come first."),
        (
            "subjects",
            "Codes of eight digits, with commas between them.",
        ),
        ("places", "One on each line."),
        ("body", "An empty line begins a new paragraph."),
        ("uri", "Empty: Barid makes one."),
        (
            "embargoed_until",
            "In the future: a draft that the desk alone sees until then.",
        ),
        ("expires", "From then on lists and feeds leave it out."),
    ],
    urgencies: [
        "1 · flash",
        "2",
        "3",
        "4",
        "5 · normal",
        "6",
        "7",
        "8",
        "9 · can wait",
    ],
    body_types: ["Plain text", "HTML"],
    required: "required",
    groups: ["The story", "Where it belongs", "About it"],
    pick: "Find a topic",
    sending: "Sending…",
    queue: queue::ENGLISH,
    recipients: recipients::ENGLISH,
    kept: kept::ENGLISH,
    board_texts: BoardPhrases {
        headings: ["Traffic", "NATS and the log", "Subscribers of this node"],
        charts: [
            "Articles a minute",
            "Deliveries a second",
            "Commit to the log",
        ],
        span: "over the last quarter of an hour",
        highest: "highest",
        counting: "counting",
        good: "All is well: this node serves, and has read to the log’s end.",
        not_ready: "This node does not serve.",
        disconnected: "The connection to NATS is lost: nothing can be published or read.",
        behind_log: "This node is behind the log’s end, and shows nothing until it has caught up.",
        no_answer: "The leader of the log does not answer.",
        unsynced: "does not sync each write: a power loss can take the last minutes. Set \
                   sync_interval: always.",
        sync_unknown: "does not say whether it syncs each write",
        synced: "each write is on disk",
        facts: [
            "Connection",
            "Lost and found again",
            "Read up to",
            "Last proof of it",
            "Size of the log",
            "Messages",
            "Copies",
            "Kills still being erased",
            "Release of Barid",
        ],
        connection: ["connected", "lost"],
        of: "of",
        ago: ["", " ago"],
        servers: ["Servers", "Name", "Release", "Disk"],
        streams: ["Partner", "Key", "Protocol", "State", "Behind by", "Cursor"],
        states: ["live", "behind"],
        anyone: "without a key",
        nobody: "Nobody subscribes to this node.",
        counts: ["Open streams:", "behind:"],
        first: "The hundred furthest behind are shown.",
        units: ["s", "ms"],
        stale: "The server does not answer: these numbers are old. Trying again…",
    },
};

const ARABIC: DeskPhrases = DeskPhrases {
    wire: "نشرة الأخبار",
    new: "خبر جديد",
    embargoes: "المؤجَّلة",
    board: "حالة العقدة",
    tasks: ["تحديث", "تصحيح", "حجب", "إلغاء", "إعادة النشر"],
    publish: "نشر",
    acts: "ما يمكن للتحرير فعله بهذا الخبر",
    cancel: "عودة بلا تغيير",
    refused: "لم يُنشر",
    unsure: "لا يُعرف هل نُشر",
    unsure_hint: "أرسلوه من جديد من هذه الصفحة: يُنشر مرة واحدة مهما تكرر إرساله.",
    overtaken: ["سبقت المراجعة ", " ما كتبتموه"],
    overtaken_hint: "نصّكم محفوظ أدناه ولم يُنشر شيء. هذا ما غيّرته المراجعة الأخرى: خذوا منها ما \
                     يصح ثم أرسلوا من جديد لتحلّ محلها.",
    newest: "فتح أحدث مراجعة",
    done: ["المراجعة ", " نُشرت."],
    withhold_hint: "يُبلَّغ كل من وصله الخبر ألا يستخدمه في الوقت الحاضر، ولا يُعرض نصه بعد ذلك. ويمكن \
                    نشره من جديد.",
    kill_hint: "يُبلَّغ كل من وصله الخبر ألا يستخدمه أبداً، وتُمحى نصوصه. هذا نهائي: لا عودة لخبر أُلغي.",
    confirm: "أريد إلغاء هذا الخبر نهائياً",
    replace: "ليحلّ هذا الخبر محلّ المسودة المؤجَّلة",
    fields: [
        ("headline", "العنوان"),
        ("subheadline", "العنوان الفرعي"),
        ("body", "النص"),
        ("body_type", "شكل النص"),
        ("language", "اللغة"),
        ("urgency", "الأهمية"),
        ("topics", "الموضوعات"),
        ("subjects", "موضوعات IPTC"),
        ("places", "الأماكن"),
        ("edition_note", "ملاحظة إلى المحررين"),
        ("reason", "السبب، ويراه الجميع"),
        ("byline", "الكاتب"),
        ("located", "مكان الخبر"),
        ("slugline", "الاسم المختصر"),
        ("source", "المصدر"),
        ("usage_terms", "شروط الاستخدام"),
        ("page", "عنوان صفحة الخبر"),
        ("uri", "المعرّف الثابت"),
        ("embargoed_until", "مؤجَّل حتى (UTC)"),
        ("expires", "ينتهي كخبر (UTC)"),
        ("until", "تُنشر في (UTC)"),
        ("act", "ما كان سيُنفَّذ"),
    ],
    hints: [
        ("language", "رمز مثل ar أو en-GB، ولا يتغيّر بعد ذلك."),
        ("topics", "بلا اختيار يقرر النص. وما تختارونه يأتي أولاً."),
        ("subjects", "رموز من ثمانية أرقام بينها فواصل."),
        ("places", "مكان في كل سطر."),
        ("body", "السطر الفارغ يبدأ فقرة جديدة."),
        ("uri", "إن تُرك فارغاً أنشأه بريد."),
        (
            "embargoed_until",
            "إن كان في المستقبل بقي مسودة لا يراها حتى ذلك الحين إلا التحرير.",
        ),
        ("expires", "بعده لا تعرضه القوائم ولا الخلاصات."),
    ],
    urgencies: [
        "1 · عاجل",
        "2",
        "3",
        "4",
        "5 · عادي",
        "6",
        "7",
        "8",
        "9 · يحتمل الانتظار",
    ],
    body_types: ["نص عادي", "HTML"],
    required: "لازم",
    groups: ["الخبر", "أين يُصنَّف", "عن الخبر"],
    pick: "ابحثوا عن موضوع",
    sending: "جارٍ الإرسال…",
    queue: queue::ARABIC,
    recipients: recipients::ARABIC,
    kept: kept::ARABIC,
    board_texts: BoardPhrases {
        headings: ["الحركة", "NATS والسجل", "مشتركو هذه العقدة"],
        charts: ["أخبار في الدقيقة", "تسليمات في الثانية", "الحفظ في السجل"],
        span: "خلال ربع الساعة الأخير",
        highest: "الأعلى",
        counting: "جارٍ العدّ",
        good: "كل شيء على ما يرام: العقدة تعمل وقرأت السجل إلى آخره.",
        not_ready: "هذه العقدة لا تعمل.",
        disconnected: "انقطع الاتصال بـ NATS: لا نشر ولا قراءة.",
        behind_log: "هذه العقدة متأخرة عن آخر السجل ولا تعرض شيئاً حتى تلحق به.",
        no_answer: "قائد السجل لا يجيب.",
        unsynced: "لا يثبّت كل كتابة على القرص: قد يضيع ما كُتب في الدقائق الأخيرة عند انقطاع \
                   الكهرباء. اضبطوا sync_interval: always.",
        sync_unknown: "لا يقول إن كان يثبّت كل كتابة على القرص",
        synced: "كل كتابة مثبّتة على القرص",
        facts: [
            "الاتصال",
            "مرات الانقطاع والعودة",
            "قُرئ إلى",
            "آخر إثبات لذلك",
            "حجم السجل",
            "الرسائل",
            "النسخ",
            "إلغاءات لم يكتمل محوها",
            "إصدار بريد",
        ],
        connection: ["متصل", "منقطع"],
        of: "من",
        ago: ["قبل ", ""],
        servers: ["الخوادم", "الاسم", "الإصدار", "القرص"],
        streams: [
            "الشريك",
            "المفتاح",
            "البروتوكول",
            "الحالة",
            "التأخر",
            "الموضع",
        ],
        states: ["مباشر", "متأخر"],
        anyone: "بلا مفتاح",
        nobody: "لا مشتركين في هذه العقدة.",
        counts: ["الاتصالات المفتوحة:", "المتأخرة منها:"],
        first: "تُعرض المئة الأكثر تأخراً.",
        units: ["ث", "م‌ث"],
        stale: "الخادم لا يجيب: هذه الأرقام قديمة. تجري المحاولة من جديد…",
    },
};
