//! What the pages of subscriptions, webhooks and recalls say.

/// All phrases of one language.
#[derive(Debug)]
pub struct RecipientPhrases {
    /// Link to the durable subscriptions, and their heading.
    pub subscriptions: &'static str,
    /// What they are.
    pub subscriptions_hint: &'static str,
    /// Where there are none.
    pub no_subscriptions: &'static str,
    /// Columns: partner, name, behind, connected to, acknowledged up to, last sign.
    pub subscription_columns: [&'static str; 6],
    /// Without a stream or a worker.
    pub disconnected: &'static str,
    /// Nothing is waiting; there is more; between a number and a time; a number of articles.
    pub lag: [&'static str; 4],
    /// Where one partner's alone are shown; its name follows.
    pub only: &'static str,
    /// The link to everybody's.
    pub everybody: &'static str,
    /// The link to the next page, and to the first.
    pub pages: [&'static str; 2],
    /// Link to the webhooks, and their heading.
    pub webhooks: &'static str,
    /// Where there are none.
    pub no_webhooks: &'static str,
    /// How one is made; the command's name follows.
    pub webhooks_hint: &'static str,
    /// Columns: partner, address, state, behind, last answer, parked.
    pub webhook_columns: [&'static str; 6],
    /// States: active, paused, gone, failing.
    pub states: [&'static str; 4],
    /// It took something, the time follows; it never did.
    pub answers: [&'static str; 2],
    /// Corrections, withholdings and kills among what is parked; their number follows.
    pub recalls_parked: &'static str,
    /// Heading of one; its address follows.
    pub webhook: &'static str,
    /// The link to all of them.
    pub all_webhooks: &'static str,
    /// Names of its facts: partner, state, behind, last answer, how many were taken, position, node,
    /// topics, format, note, next try.
    pub facts: [&'static str; 11],
    /// Name of one more, of a subscription to a feed: which.
    pub feed: &'static str,
    /// What its subscriber alone can do with it.
    pub subscribed: &'static str,
    /// How often it failed; the number follows.
    pub failures: &'static str,
    /// No topics: the whole wire.
    pub everything: &'static str,
    /// Name of the buttons.
    pub acts_name: &'static str,
    /// The buttons: pause, resume, test, send all that is parked again.
    pub acts: [&'static str; 4],
    /// After each of them.
    pub did: [&'static str; 4],
    /// A test was taken; was answered with something else; was not answered.
    pub tested: [&'static str; 3],
    /// What was to be sent again is not parked any more.
    pub unparked: &'static str,
    /// Heading of what is parked.
    pub parked: &'static str,
    /// What it is; how much follows.
    pub parked_hint: &'static str,
    /// Where not all are shown.
    pub first_parked: &'static str,
    /// Where there is none.
    pub nothing_parked: &'static str,
    /// Columns: place, revision, action, answer, since, tries.
    pub parked_columns: [&'static str; 6],
    /// The button that sends one again.
    pub retry_one: &'static str,
    /// It is to be sent again.
    pub asked: &'static str,
    /// Heading of a story's recall, and the link to it.
    pub recall: &'static str,
    /// The link to it after a kill.
    pub recall_link: &'static str,
    /// What the states mean.
    pub recall_hint: &'static str,
    /// Columns: partner, name, kind, state.
    pub recall_columns: [&'static str; 4],
    /// Kinds: durable subscription, webhook.
    pub kinds: [&'static str; 2],
    /// States: outstanding, sent, acknowledged, never had.
    pub recall_states: [&'static str; 4],
    /// Without recipients.
    pub nobody: &'static str,
}

/// In English.
pub const ENGLISH: RecipientPhrases = RecipientPhrases {
    subscriptions: "Subscriptions",
    subscriptions_hint: "Those that have a name: the log keeps their place over every disconnection.",
    no_subscriptions: "There are no durable subscriptions.",
    subscription_columns: [
        "Partner",
        "Name",
        "Behind by",
        "Connected to",
        "Acknowledged up to",
        "Last sign of life",
    ],
    disconnected: "not connected",
    lag: ["nothing", "at least", "for", "articles"],
    only: "Only those of",
    everybody: "Show everybody’s",
    pages: ["Next page", "First page"],
    webhooks: "Webhooks",
    no_webhooks: "There are no webhooks.",
    webhooks_hint: "To make one:",
    webhook_columns: [
        "Partner",
        "Address",
        "State",
        "Behind by",
        "Last answer",
        "Parked",
    ],
    states: [
        "active",
        "paused",
        "gone: it answered 410",
        "failing, and tried again",
    ],
    answers: ["taken", "nothing was sent yet"],
    recalls_parked: "recalls:",
    webhook: "Webhook",
    all_webhooks: "All webhooks",
    facts: [
        "Partner",
        "State",
        "Behind by",
        "Last answer",
        "Taken",
        "Done up to",
        "Worked by",
        "Topics",
        "Format",
        "Note",
        "Tried again",
    ],
    feed: "Feed",
    subscribed: "A subscription to a feed: its subscriber manages it by WebSub.",
    failures: "failures:",
    everything: "the whole wire",
    acts_name: "What can be done with this webhook",
    acts: ["Pause", "Resume", "Send a test", "Send all parked again"],
    did: [
        "It is paused, and is sent nothing until it is resumed.",
        "It is active, and is sent what has come meanwhile.",
        "It was tested.",
        "What is parked is on its way again.",
    ],
    tested: [
        "The test was taken, with",
        "The test was refused, with",
        "The test was not answered:",
    ],
    unparked: "Nothing was done: it is not parked any more.",
    parked: "Parked",
    parked_hint: "Refused for good by the receiver, and sent again only if you ask.",
    first_parked: "The first hundred are shown.",
    nothing_parked: "Nothing is parked.",
    parked_columns: [
        "Place",
        "Revision",
        "Action",
        "What was answered",
        "Since",
        "Tries",
    ],
    retry_one: "Send again",
    asked: "on its way",
    recall: "Who has been told",
    recall_link: "See who has been told",
    recall_hint: "Outstanding: it got the story, and nothing of this yet, or refuses it. Sent: it was \
                  sent this. Acknowledged: it says that it has it. Never had: it was not sent the \
                  story.",
    recall_columns: ["Partner", "Name", "Kind", "State"],
    kinds: ["subscription", "webhook"],
    recall_states: ["outstanding", "sent", "acknowledged", "never had it"],
    nobody: "There are no named recipients: no durable subscriptions and no webhooks.",
};

/// In Arabic.
pub const ARABIC: RecipientPhrases = RecipientPhrases {
    subscriptions: "الاشتراكات",
    subscriptions_hint: "الاشتراكات ذات الأسماء: يحفظ السجل موضعها عند كل انقطاع.",
    no_subscriptions: "لا اشتراكات دائمة.",
    subscription_columns: [
        "الشريك",
        "الاسم",
        "التأخر",
        "متصل بـ",
        "أُقرّ إلى",
        "آخر إشارة",
    ],
    disconnected: "غير متصل",
    lag: ["لا شيء", "على الأقل", "منذ", "خبر"],
    only: "اشتراكات هذا الشريك وحده:",
    everybody: "عرض الجميع",
    pages: ["الصفحة التالية", "الصفحة الأولى"],
    webhooks: "الويب هوك",
    no_webhooks: "لا ويب هوك.",
    webhooks_hint: "لإنشاء واحد:",
    webhook_columns: ["الشريك", "العنوان", "الحالة", "التأخر", "آخر رد", "المعلَّق"],
    states: [
        "يعمل",
        "موقوف مؤقتاً",
        "انتهى: أجاب 410",
        "يتعثر وتُعاد المحاولة",
    ],
    answers: ["استلم", "لم يُرسل إليه شيء بعد"],
    recalls_parked: "منها سحب أو تصحيح:",
    webhook: "ويب هوك",
    all_webhooks: "كل الويب هوك",
    facts: [
        "الشريك",
        "الحالة",
        "التأخر",
        "آخر رد",
        "ما استلمه",
        "أُنجز إلى",
        "العقدة",
        "الموضوعات",
        "الشكل",
        "ملاحظة",
        "المحاولة التالية",
    ],
    feed: "الخلاصة",
    subscribed: "اشتراك في خلاصة: يديره المشترك نفسه عبر WebSub.",
    failures: "مرات التعثر:",
    everything: "كل الأخبار",
    acts_name: "ما يمكن فعله",
    acts: [
        "إيقاف مؤقت",
        "استئناف",
        "إرسال تجربة",
        "إعادة إرسال كل المعلَّق",
    ],
    did: [
        "أُوقف مؤقتاً ولا يُرسل إليه شيء حتى يُستأنف.",
        "عاد إلى العمل ويُرسل إليه ما فاته.",
        "أُجريت التجربة.",
        "المعلَّق في طريقه من جديد.",
    ],
    tested: [
        "قُبلت التجربة، والرد",
        "رُفضت التجربة، والرد",
        "لا رد على التجربة:",
    ],
    unparked: "لم يُنفَّذ شيء: لم يعد معلَّقاً.",
    parked: "المعلَّق",
    parked_hint: "رفضه المستلم نهائياً ولا يُرسل من جديد إلا بطلبكم.",
    first_parked: "تُعرض المئة الأولى.",
    nothing_parked: "لا شيء معلَّق.",
    parked_columns: ["الموضع", "المراجعة", "الفعل", "الرد", "منذ", "المحاولات"],
    retry_one: "إعادة الإرسال",
    asked: "في الطريق",
    recall: "من أُبلغ",
    recall_link: "انظروا من أُبلغ",
    recall_hint: "لم يصل: عنده الخبر ولم يصله هذا بعد أو رفضه. أُرسل: أُرسل إليه هذا. أُقرّ: قال إنه \
                  استلمه. لم يصله الخبر: لم يُرسل إليه الخبر أصلاً.",
    recall_columns: ["الشريك", "الاسم", "النوع", "الحالة"],
    kinds: ["اشتراك", "ويب هوك"],
    recall_states: ["لم يصل", "أُرسل", "أُقرّ", "لم يصله الخبر"],
    nobody: "لا مستلمين بأسماء: لا اشتراكات دائمة ولا ويب هوك.",
};
