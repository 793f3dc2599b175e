//! What the drafts under embargo say.

/// All phrases of one language.
#[derive(Debug)]
pub struct QueuePhrases {
    /// After a draft was handed in.
    pub done: &'static str,
    /// After one was erased.
    pub cancelled: &'static str,
    /// After one was moved; its time follows.
    pub moved: &'static str,
    /// Where there is none.
    pub nothing: &'static str,
    /// What a click on one does.
    pub hint: &'static str,
    /// Columns: time, headline, state, urgency, topics, partner.
    pub columns: [&'static str; 6],
    /// States of a draft: scheduled, blocked.
    pub states: [&'static str; 2],
    /// When a draft was handed in.
    pub submitted: &'static str,
    /// Which revision it follows.
    pub base: &'static str,
    /// Heading of its text.
    pub text: &'static str,
    /// The link to all of them.
    pub all: &'static str,
    /// What can be done: another time, now, never.
    pub acts: [&'static str; 3],
    /// Label of the other time.
    pub until: &'static str,
    /// What may be written there.
    pub until_hint: &'static str,
    /// What a release does.
    pub release_hint: &'static str,
    /// What a cancellation does.
    pub cancel_hint: &'static str,
    /// What must be ticked before a release, a cancellation.
    pub confirm: [&'static str; 2],
    /// What was asked for breaks a rule.
    pub undone: &'static str,
    /// Somebody else was faster; when it goes out now follows.
    pub overtaken: &'static str,
    /// What to do then.
    pub again: &'static str,
    /// It can't be released.
    pub blocked: &'static str,
    /// It is no draft any more.
    pub gone: &'static str,
    /// The log did not answer: it may have been done.
    pub unsure: &'static str,
    /// The link to the draft then.
    pub look_again: &'static str,
    /// What was written in vain; it follows.
    pub written: &'static str,
    /// The link to the story that it may have become.
    pub look: &'static str,
}

/// In English.
pub const ENGLISH: QueuePhrases = QueuePhrases {
    done: "The draft is kept, and goes out at its time.",
    cancelled: "The draft is erased. Nothing was sent.",
    moved: "Moved. It goes out:",
    nothing: "No story is under embargo.",
    hint: "Open one to move it, to let it out now, or to cancel it.",
    columns: [
        "Goes out", "Headline", "State", "Urgency", "Topics", "Partner",
    ],
    states: ["scheduled", "blocked by a newer revision"],
    submitted: "Handed in",
    base: "Follows revision",
    text: "What will go out",
    all: "All drafts",
    acts: ["Move", "Release now", "Cancel"],
    until: "Goes out at (UTC)",
    until_hint: "Earlier or later, in the future.",
    release_hint: "It goes to all subscribers at once, and can’t be called back, only withheld or \
                   killed.",
    cancel_hint: "The draft is erased, and nothing is sent. What is on the wire already stays.",
    confirm: ["I want it to go out now", "I want this draft to be erased"],
    undone: "Nothing was done.",
    overtaken: "Nothing was done: somebody changed this draft meanwhile. It now goes out:",
    again: "The time that you wrote is kept. Send it again to replace the other.",
    blocked: "It does not go out: the story has got a newer revision since this was written. Hand \
              the draft in again, or cancel it.",
    gone: "Nothing was done: this is no draft any more. It was let out or erased meanwhile.",
    unsure: "It is not known whether that was done: the log did not answer in time. Look at the draft \
             before you send it again.",
    look_again: "Look at the draft",
    written: "You wrote:",
    look: "Look at the story",
};

/// In Arabic.
pub const ARABIC: QueuePhrases = QueuePhrases {
    done: "حُفظت المسودة وستُنشر في وقتها.",
    cancelled: "مُحيت المسودة ولم يُرسل شيء.",
    moved: "تغيّر الموعد. تُنشر في:",
    nothing: "لا خبر مؤجَّل.",
    hint: "افتحوا مسودة لتغيير موعدها أو نشرها الآن أو إلغائها.",
    columns: [
        "يُنشر في",
        "العنوان",
        "الحالة",
        "الأهمية",
        "الموضوعات",
        "الشريك",
    ],
    states: ["في موعده", "أوقفته مراجعة أحدث"],
    submitted: "سُلّمت",
    base: "تتبع المراجعة",
    text: "ما سيُنشر",
    all: "كل المسودات",
    acts: ["تغيير الموعد", "النشر الآن", "إلغاء المسودة"],
    until: "تُنشر في (UTC)",
    until_hint: "قبل موعدها أو بعده، في المستقبل.",
    release_hint: "تصل فوراً إلى كل المشتركين، ولا تُستعاد بعد ذلك بل تُحجب أو تُلغى.",
    cancel_hint: "تُمحى المسودة ولا يُرسل شيء. وما نُشر من قبل يبقى.",
    confirm: ["أريد نشرها الآن", "أريد محو هذه المسودة"],
    undone: "لم يُنفَّذ شيء.",
    overtaken: "لم يُنفَّذ شيء: غيّر غيركم هذه المسودة في الأثناء. تُنشر الآن في:",
    again: "الوقت الذي كتبتموه محفوظ. أرسلوه من جديد ليحلّ محل الآخر.",
    blocked: "لا تُنشر: صدرت للخبر مراجعة أحدث منذ كتابة المسودة. سلّموها من جديد أو ألغوها.",
    gone: "لم يُنفَّذ شيء: لم تعد هذه مسودة، فقد نُشرت أو مُحيت في الأثناء.",
    unsure: "لا يُعرف هل نُفّذ ذلك: لم يجب السجل في الوقت المحدد. انظروا إلى المسودة قبل الإرسال من جديد.",
    look_again: "فتح المسودة",
    written: "كتبتم:",
    look: "فتح الخبر",
};
