//! What an example contains: the types of each place, merged over the items of lists.

use std::collections::HashMap;

use chrono::DateTime;
use serde_json::Value;
use uuid::Uuid;

/// SeenMembers of an object are a table, and not fields, from this number on if all of their names look like data.
const TABLE: usize = 2;

/// The values of one place.
#[derive(Debug, Clone, Default)]
pub(super) struct SeenValues {
    pub(super) null: bool,
    pub(super) boolean: bool,
    pub(super) number: bool,
    pub(super) texts: Option<Texts>,
    /// Items of all lists in this place.
    pub(super) items: Option<Box<SeenValues>>,
    pub(super) members: Option<SeenMembers>,
    /// Whether there is more below that was not looked at.
    pub(super) is_cut: bool,
}

/// What all texts of a place have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Texts {
    date_time: bool,
    uuid: bool,
    /// Digits of a number that JSON parsers in most languages would round.
    pub(super) long_number: bool,
}

/// The members of the objects in one place.
#[derive(Debug, Clone, Default)]
pub(super) struct SeenMembers {
    list: Vec<SeenMember>,
    places: HashMap<String, usize>,
    objects: usize,
}

#[derive(Debug, Clone)]
pub(super) struct SeenMember {
    pub(super) name: String,
    pub(super) seen: SeenValues,
    /// In how many of the objects it is.
    count: usize,
}

impl SeenValues {
    pub(super) fn of(value: &Value, depth: usize) -> Self {
        let mut seen = Self::default();
        match value {
            Value::Null => seen.null = true,
            Value::Bool(_) => seen.boolean = true,
            Value::Number(_) => seen.number = true,
            Value::String(text) => seen.texts = Some(Texts::of(text)),
            Value::Array(items) => {
                let deeper = depth.checked_sub(1);
                seen.is_cut = deeper.is_none() && !items.is_empty();
                let mut all = Self::default();
                for it in deeper.iter().flat_map(|_| items) {
                    all.merge(Self::of(it, deeper.unwrap_or_default()));
                }
                seen.items = Some(Box::new(all));
            }
            Value::Object(map) => {
                let deeper = depth.checked_sub(1);
                seen.is_cut = deeper.is_none() && !map.is_empty();
                let mut members = SeenMembers { objects: 1, ..SeenMembers::default() };
                for (name, it) in deeper.iter().flat_map(|_| map) {
                    members.add(SeenMember {
                        name: name.clone(),
                        seen: Self::of(it, deeper.unwrap_or_default()),
                        count: 1,
                    });
                }
                seen.members = Some(members);
            }
        }
        seen
    }

    /// Returns whether no value was seen.
    pub(super) fn is_nothing(&self) -> bool {
        let is_scalar = self.null || self.boolean || self.number || self.texts.is_some();
        !is_scalar && self.items.is_none() && self.members.is_none()
    }

    fn merge(&mut self, other: Self) {
        self.null |= other.null;
        self.boolean |= other.boolean;
        self.number |= other.number;
        self.is_cut |= other.is_cut;
        self.texts = match (self.texts, other.texts) {
            (Some(one), Some(two)) => Some(one.and(two)),
            (one, two) => one.or(two),
        };
        match (&mut self.items, other.items) {
            (Some(items), Some(others)) => items.merge(*others),
            (items @ None, others) => *items = others,
            (Some(_), None) => {}
        }
        match (&mut self.members, other.members) {
            (Some(members), Some(others)) => {
                members.objects += others.objects;
                others.list.into_iter().for_each(|it| members.add(it));
            }
            (members @ None, others) => *members = others,
            (Some(_), None) => {}
        }
    }
}

impl SeenMembers {
    fn add(&mut self, member: SeenMember) {
        if let Some(known) = self.places.get(&member.name).and_then(|at| self.list.get_mut(*at)) {
            known.seen.merge(member.seen);
            known.count += member.count;
        } else {
            self.places.insert(member.name.clone(), self.list.len());
            self.list.push(member);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &SeenMember> {
        self.list.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Returns whether each object had a value for this member.
    pub(super) fn requires(&self, member: &SeenMember) -> bool {
        member.count == self.objects && !member.seen.null
    }

    /// Returns what all members have in common if their names are data, such as ids, and not names of fields.
    pub(super) fn of_a_table(&self) -> Option<SeenValues> {
        (self.list.len() >= TABLE && self.list.iter().all(|it| is_data(&it.name))).then(|| {
            let mut all = SeenValues::default();
            self.list.iter().for_each(|it| all.merge(it.seen.clone()));
            all
        })
    }
}

/// Returns whether a name is an e-mail address, an id, a number or a date: it may belong to a person.
fn is_data(name: &str) -> bool {
    let digits = name.bytes().filter(u8::is_ascii_digit).count();
    let is_number = digits >= 3 && name.bytes().all(|it| it.is_ascii_digit() || b" +-/:.()TZ".contains(&it));
    name.contains('@') || is_number || Uuid::try_parse(name).is_ok()
}

impl Texts {
    fn of(text: &str) -> Self {
        // RFC 3339 has a `T`; chrono accepts a space as well.
        let has_t = text.as_bytes().get(10) == Some(&b'T');
        let digits = text.strip_prefix('-').unwrap_or(text);
        Self {
            date_time: has_t && DateTime::parse_from_rfc3339(text).is_ok(),
            uuid: text.len() == 36 && Uuid::try_parse(text).is_ok(),
            long_number: digits.len() > 15 && digits.bytes().all(|it| it.is_ascii_digit()),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            date_time: self.date_time && other.date_time,
            uuid: self.uuid && other.uuid,
            long_number: self.long_number || other.long_number,
        }
    }

    /// Returns the format that all texts have.
    pub(super) fn format(self) -> Option<&'static str> {
        match self {
            Self { date_time: true, .. } => Some("date-time"),
            Self { uuid: true, .. } => Some("uuid"),
            _ => None,
        }
    }
}
