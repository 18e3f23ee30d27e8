//! What the name of a column says of its values: the last of its words that is known decides.

/// What a column's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// A request, an impression, a session or a row: later rows have others.
    Event,
    /// A thing or a code: `user_id`, `city`, `status`.
    Code,
    /// A part of a calendar: `hour`, `weekday`.
    Calendar,
    /// A moment: `ts`, `created_at`.
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

/// Things that are named with `id` and no space: `userid`.
const THINGS: &str = "user item session device product article ad campaign video news movie shop cate category \
    brand member visitor customer request impression";

fn is_in(list: &str, word: &str) -> bool {
    list.split(' ').any(|other| other == word)
}

/// What the name says, if anything.
pub(super) fn named(column: &str) -> Option<Named> {
    let words = words(column);
    let has = |list: &str| words.iter().any(|word| is_in(list, word));
    let is_event = match words.as_slice() {
        [] => return None,
        [only] => is_in(EVENTS, only) || is_event_id(only),
        [.., thing, last] => is_id(last) && is_in(ID_EVENTS, thing) || is_event_id(last),
    };
    if is_event || has("unnamed seqnum pvid") {
        return Some(Named::Event);
    }
    if matches!(words[0].as_str(), "is" | "has") {
        return Some(Named::Code);
    }
    if has("per") {
        return Some(Named::Quantity);
    }
    words.iter().rev().find_map(|word| of_word(word))
}

/// Whether a name says that this is an item's or a user's own time, and not that of the row.
pub(super) fn is_of_a_thing(column: &str) -> bool {
    const OWN: &str = "birth born publish published created create release released upload register registered \
        signup expire updated modified last first";
    words(column).iter().any(|word| is_in(OWN, word))
}

/// Whether the name is that of how long something was read or watched, and not of a mean over the past.
pub(super) fn is_after_the_event(column: &str) -> bool {
    const DOING: &str = "play played watch watched dwell stay stayed read";
    const HOW_LONG: &str = "time seconds secs sec s ms millis duration ratio percent pct";
    const PAST: &str = "hist history prev past mean avg median last total user u item a";
    let words = words(column);
    let has = |list| words.iter().any(|word| is_in(list, word));
    has(DOING) && has(HOW_LONG) && !has(PAST)
}

/// Whether the name is one of a moment.
pub(super) fn is_time(column: &str) -> bool {
    words(column).iter().any(|word| is_in(TIMES, word))
}

/// Whether two names have the name of a thing in common: `hist_items` and `item_id`.
pub(super) fn share_a_thing(one: &str, other: &str) -> bool {
    let things = |name: &str| -> Vec<String> {
        let words = words(name).into_iter();
        let singular = words.map(|word| word.strip_suffix('s').map_or(word.clone(), str::to_owned));
        let of_id =
            singular.map(|word| word.strip_suffix("id").map_or(word.clone(), str::to_owned));
        of_id.filter(|word| is_in(THINGS, word)).collect()
    };
    let others = things(other);
    things(one).iter().any(|thing| others.contains(thing))
}

fn of_word(word: &str) -> Option<Named> {
    let lists = [
        (CALENDAR, Named::Calendar),
        (TIMES, Named::Time),
        (QUANTITIES, Named::Quantity),
        (CODES, Named::Code),
    ];
    let found = lists.iter().find(|(list, _)| is_in(list, word));
    found
        .map(|(_, named)| *named)
        .or(is_id(word).then_some(Named::Code))
}

fn is_id(word: &str) -> bool {
    let thing = word.strip_suffix("id");
    matches!(word, "id" | "ids" | "uuid" | "guid" | "key")
        || thing.is_some_and(|thing| is_in(THINGS, thing))
}

fn is_event_id(word: &str) -> bool {
    let thing = word.strip_suffix("id");
    thing.is_some_and(|thing| is_in(ID_EVENTS, thing))
}

/// The words of `userId`, `USER_ID` and `user-id2`, in small letters and without numbers.
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
                assert_eq!(named(name), expected, "{name}");
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
        check(Some(Named::Code), &ids);
        let events = [
            "impression_id",
            "sessionId",
            "request_id",
            "Unnamed: 0",
            "seqnum",
            "session",
        ];
        check(Some(Named::Event), &events);
        let quantities = [
            "price",
            "n_inview",
            "a_age_s",
            "wage_per_hour",
            "video_views",
            "follow_user_num",
        ];
        check(Some(Named::Quantity), &quantities);
        check(Some(Named::Calendar), &["hour", "H", "event_hour"]);
        check(Some(Named::Time), &["ts", "created_at", "event_time"]);
        check(None, &["grid", "vet_benefits", "205", ""]);
    }

    #[test]
    fn what_happens_after_a_click_is_told_from_means_of_the_past() {
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
