//! Names that metrics would not tell apart.

use metadata::image::TopicsImage;

/// A topic that exists and differs from `name` only in `.` and `_`, which metric names do not tell apart.
pub(super) fn collision<'a>(topics: &'a TopicsImage, name: &str) -> Option<&'a str> {
    let prefix = &name[..name.find(['.', '_'])?];
    let unify = |name: &str| name.replace('.', "_");
    let wanted = unify(name);
    let nearby = topics.iter_from(prefix).map(|topic| topic.name.as_str());
    nearby.take_while(|other| other.starts_with(prefix)).find(|other| unify(other) == wanted)
}
