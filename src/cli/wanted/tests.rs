use super::*;

/// Words may come apart or in one argument.
#[test]
fn filter_words() {
    let wanted = WantedArgs {
        words: vec!["cyber  attack".into(), "دمشق".into()],
        topics: vec![" ict".into()],
        ..WantedArgs::default()
    };
    let filter = wanted.filter();
    assert_eq!(filter.words, ["cyber", "attack", "دمشق"]);
    assert_eq!(filter.topics, ["ict"]);
    assert_eq!(filter.urgency, 0);
}
