//! Hints from the name of a column about its values: the last known word decides.

/// Hint from a column's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameHint {
    /// A request, an impression, a session or a row: later rows have other values.
    Event,
    /// An entity or a code: `user_id`, `city`, `status`.
    Code,
    /// A part of a calendar: `hour`, `weekday`.
    Calendar,
    /// A time: `ts`, `created_at`.
    Time,
    /// A quantity: `price`, `n_views`.
    Quantity,
}

const EVENTS: &str = "impression session sess sid request req slate pvid trace row seqnum rid";

const ID_EVENTS: &str = "impression imp session sess request req search query slate event transaction trace row log record";

const CODES: &str = "id ids uid uuid guid gid pid vid aid cid iid code codes hash key sku zip zipcode postcode \
    postal asin ean isbn cookie ip user item video article product ad advertiser campaign \
    creative brand shop seller merchant author publisher category cat cate class type kind group \
    segment cluster tag topic genre city country region state province county market store site \
    domain page app os browser device model channel tab platform network carrier source medium \
    referrer language lang locale currency color colour gender sex race religion education \
    marital occupation job industry status stat flag bucket bin band range onehot categorical \
    version music tier";

const CALENDAR: &str =
    "hour hr h weekday dow wday dayofweek month minute dom day week quarter year hod";

const TIMES: &str = "ts time timestamp date datetime dt at when day";

const QUANTITIES: &str = "count counts cnt n num number numerical numeric total sum avg mean median min max std var \
    price cost amount amt revenue income salary wage gmv spend budget bid fee age years days \
    hours minutes seconds sec secs s ms millis duration dur length len size width height weight \
    distance dist score rate ratio pct percent percentage prob ctr cvr freq frequency rank pos \
    position views clicks impressions likes comments shares follows followers fans orders \
    purchases visits sales stock qty quantity temperature lat lon latitude longitude recency \
    gains losses dividends weeks months prev hist history diff delta gap elapsed discount";

/// Entities that are written together with `id`: `userid`.
const ENTITIES: &str = "user item session device product article ad campaign video news movie shop cate category \
    brand member visitor customer request impression";

fn is_in(list: &str, word: &str) -> bool {
    list.split(' ').any(|other| other == word)
}

/// Returns the hint from a name, if it has one.
pub(super) fn name_hint(column: &str) -> Option<NameHint> {
    let words = words(column);
    let has = |list: &str| words.iter().any(|word| is_in(list, word));
    let is_event = match words.as_slice() {
        [] => return None,
        [only] => is_in(EVENTS, only) || is_event_id(only),
        [.., entity, last] => is_id(last) && is_in(ID_EVENTS, entity) || is_event_id(last),
    };
    if is_event || has("unnamed seqnum pvid") {
        return Some(NameHint::Event);
    }
    if matches!(words[0].as_str(), "is" | "has") {
        return Some(NameHint::Code);
    }
    if has("per") {
        return Some(NameHint::Quantity);
    }
    words.iter().rev().find_map(|word| of_word(word))
}

/// Returns true if the name is that of a time of an item or a user, not of the row.
pub(super) fn is_of_entity(column: &str) -> bool {
    const OWN: &str = "birth born publish published created create release released upload register registered \
        signup expire updated modified last first";
    words(column).iter().any(|word| is_in(OWN, word))
}

/// Returns true if the name is that of a duration of reading or watching, not of a mean over the past.
pub(super) fn is_after_the_event(column: &str) -> bool {
    const ACTIONS: &str = "play played watch watched dwell stay stayed read";
    const DURATIONS: &str = "time seconds secs sec s ms millis duration ratio percent pct";
    const PAST: &str = "hist history prev past mean avg median last total user u item a";
    let words = words(column);
    let has = |list| words.iter().any(|word| is_in(list, word));
    has(ACTIONS) && has(DURATIONS) && !has(PAST)
}

/// Returns true if the name is that of a time.
pub(super) fn is_time(column: &str) -> bool {
    words(column).iter().any(|word| is_in(TIMES, word))
}

/// Returns true if two names contain the same entity: `hist_items` and `item_id`.
pub(super) fn share_entity(one: &str, other: &str) -> bool {
    let entities = |name: &str| -> Vec<String> {
        let words = words(name).into_iter();
        let singular = words.map(|word| word.strip_suffix('s').map_or(word.clone(), str::to_owned));
        let of_id =
            singular.map(|word| word.strip_suffix("id").map_or(word.clone(), str::to_owned));
        of_id.filter(|word| is_in(ENTITIES, word)).collect()
    };
    let others = entities(other);
    entities(one).iter().any(|entity| others.contains(entity))
}

fn of_word(word: &str) -> Option<NameHint> {
    let lists = [
        (CALENDAR, NameHint::Calendar),
        (TIMES, NameHint::Time),
        (QUANTITIES, NameHint::Quantity),
        (CODES, NameHint::Code),
    ];
    let hint = lists.iter().find(|(list, _)| is_in(list, word));
    hint.map(|(_, name_hint)| *name_hint)
        .or(is_id(word).then_some(NameHint::Code))
}

fn is_id(word: &str) -> bool {
    let entity = word.strip_suffix("id");
    matches!(word, "id" | "ids" | "uuid" | "guid" | "key")
        || entity.is_some_and(|entity| is_in(ENTITIES, entity))
}

fn is_event_id(word: &str) -> bool {
    let entity = word.strip_suffix("id");
    entity.is_some_and(|entity| is_in(ID_EVENTS, entity))
}

/// Returns the words of `userId`, `USER_ID` and `user-id2`, in lower case and without numbers.
fn words(column: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for c in column.chars() {
        let begins = c.is_uppercase() && before.is_lowercase() || !c.is_alphabetic();
        if begins && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c.is_alphabetic()) {
            word.extend(c.to_lowercase());
        }
        before = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_known_word_decides() {
        let check = |expected, names: &[&str]| {
            for name in names {
                assert_eq!(name_hint(name), expected, "{name}");
            }
        };
        let ids = [
            "user_id",
            "userId",
            "USERID",
            "item",
            "det_ind_code",
            "device_type",
            "is_paid",
            "zip2",
        ];
        check(Some(NameHint::Code), &ids);
        let events = [
            "impression_id",
            "sessionId",
            "request_id",
            "Unnamed: 0",
            "seqnum",
            "session",
        ];
        check(Some(NameHint::Event), &events);
        let quantities = [
            "price",
            "n_inview",
            "a_age_s",
            "wage_per_hour",
            "video_views",
            "follow_user_num",
        ];
        check(Some(NameHint::Quantity), &quantities);
        check(Some(NameHint::Calendar), &["hour", "H", "event_hour"]);
        check(Some(NameHint::Time), &["ts", "created_at", "event_time"]);
        check(None, &["grid", "vet_benefits", "205", ""]);
    }

    #[test]
    fn durations_after_a_click_differ_from_means_of_the_past() {
        for name in ["read_seconds", "playTimeMs", "dwell_time", "watch_ratio"] {
            assert!(is_after_the_event(name), "{name}");
        }
        for name in [
            "u_hist_read_mean",
            "avg_watch_time",
            "time",
            "read",
            "playlist",
        ] {
            assert!(!is_after_the_event(name), "{name}");
        }
    }
}
