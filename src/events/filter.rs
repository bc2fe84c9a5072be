//! Filters of a membership: which publications to a channel a member gets, and what is changed in them for
//! it. Their names and meanings are those of GRIP.

use std::borrow::Cow;

/// Names and values that a backend gives a publication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta(Vec<(Box<str>, Box<str>)>);

impl Meta {
    /// Those.
    #[must_use]
    pub fn new(pairs: Vec<(Box<str>, Box<str>)>) -> Self {
        Self(pairs)
    }

    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| **own == *name).map(|(_, value)| &**value)
    }

    /// Bytes on the heap.
    pub(super) fn held_bytes(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}

/// A filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Not what the member has sent: its `user` is the publication's `sender`.
    SkipSelf,
    /// Not what is for others: its `user` is among the publication's `skip_users`.
    SkipUsers,
    /// Only if it is a member of the channel that the publication calls `require_sub` too.
    RequireSub,
    /// `%I` in the text stands for the ID of the publication, by the member's `id_format`.
    BuildId,
    /// `%(name)s` in the text stands for what the member has under this name.
    VarSubst,
}

/// What filters know of a member.
#[derive(Clone, Copy, Debug)]
pub struct Member<'m> {
    /// What its backend keeps about it.
    pub meta: &'m [(Box<str>, Box<str>)],
    /// The channels that it is in.
    pub channels: &'m [std::sync::Arc<str>],
}

/// What filters know of a publication.
#[derive(Clone, Copy, Debug)]
pub struct Published<'p> {
    /// Its channel.
    pub channel: &'p str,
    /// Its ID.
    pub id: Option<&'p str>,
    /// What its backend says about it.
    pub meta: &'p Meta,
}

impl Filter {
    /// The filter with a name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        ALL.into_iter().find(|own| own.name() == name)
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SkipSelf => "skip-self",
            Self::SkipUsers => "skip-users",
            Self::RequireSub => "require-sub",
            Self::BuildId => "build-id",
            Self::VarSubst => "var-subst",
        }
    }
}

impl Member<'_> {
    fn value(&self, name: &str) -> Option<&str> {
        self.meta.iter().find(|(own, _)| **own == *name).map(|(_, value)| &**value)
    }
}

/// What a member gets of a publication; `None` if it gets nothing of it, also where a text asks for what
/// there is not.
#[must_use]
pub fn filtered<'c>(
    filters: &[Filter],
    member: Member<'_>,
    published: Published<'_>,
    content: &'c [u8],
) -> Option<Cow<'c, [u8]>> {
    let mut content = Cow::Borrowed(content);
    for filter in filters {
        let changed = match filter {
            Filter::SkipSelf | Filter::SkipUsers | Filter::RequireSub => {
                if is_dropped(*filter, member, published.meta) {
                    return None;
                }
                continue;
            }
            Filter::BuildId => build_id(member, published, &content)?,
            Filter::VarSubst => render(&content, |directive, name| match (directive, name) {
                (b's', Some(name)) => member.value(name).map(|own| own.as_bytes().to_vec()),
                (_, _) => None,
            })?,
        };
        content = Cow::Owned(changed);
    }
    Some(content)
}

fn is_dropped(filter: Filter, member: Member<'_>, meta: &Meta) -> bool {
    let user = member.value("user").filter(|own| !own.is_empty());
    match filter {
        Filter::SkipSelf => user.is_some() && user == meta.get("sender"),
        Filter::SkipUsers => user.is_some_and(|user| {
            let skipped = meta.get("skip_users").unwrap_or_default();
            skipped.split(',').any(|own| own.trim() == user)
        }),
        Filter::RequireSub => meta
            .get("require_sub")
            .filter(|own| !own.is_empty())
            .is_some_and(|needed| !member.channels.iter().any(|own| **own == *needed)),
        Filter::BuildId | Filter::VarSubst => false,
    }
}

fn build_id(member: Member<'_>, published: Published<'_>, content: &[u8]) -> Option<Vec<u8>> {
    let is_hex = match member.value("id_encoding") {
        None => false,
        Some("hex") => true,
        Some(_) => return None,
    };
    let format = member.value("id_format")?;
    let own = render(format.as_bytes(), |directive, name| match (directive, name) {
        // Of the other channels no position is known.
        (b's', Some(name)) if name == published.channel => {
            Some(published.id.unwrap_or_default().as_bytes().to_vec())
        }
        (b's', Some(name)) => member.channels.iter().any(|own| **own == *name).then(Vec::new),
        (_, _) => None,
    })?;
    render(content, |directive, name| {
        let id = name.map_or(own.as_slice(), str::as_bytes);
        let hex = || id.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect();
        (directive == b'I').then(|| if is_hex { hex() } else { id.to_vec() })
    })
}

/// A text in which each directive, as `%s` or `%(argument)s`, is replaced by what `value` gives for its
/// letter and its argument; `%%` stands for one. `None` for a directive that has no end or no value.
fn render(format: &[u8], value: impl Fn(u8, Option<&str>) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(format.len());
    let mut rest = format;
    while let Some(percent) = memchr::memchr(b'%', rest) {
        out.extend_from_slice(&rest[..percent]);
        rest = &rest[percent + 1..];
        let mut argument = None;
        if let Some(inside) = rest.strip_prefix(b"(") {
            let (name, behind) = unescaped(inside)?;
            (argument, rest) = (Some(name), behind);
        }
        let (directive, behind) = rest.split_first()?;
        match (directive, &argument) {
            (b'%', None) => out.push(b'%'),
            (directive, argument) => {
                out.extend_from_slice(&value(*directive, argument.as_deref())?);
            }
        }
        if out.len() > RENDERED_BYTES_MAX {
            return None;
        }
        rest = behind;
    }
    out.extend_from_slice(rest);
    Some(out)
}

/// An argument up to its `)`, in which `\` stands before characters that are meant as they are, and what
/// is behind it.
fn unescaped(bytes: &[u8]) -> Option<(String, &[u8])> {
    let mut name = Vec::new();
    let mut at = 0;
    loop {
        match bytes.get(at)? {
            b')' => break,
            b'\\' => {
                name.push(*bytes.get(at + 1)?);
                at += 2;
            }
            byte => {
                name.push(*byte);
                at += 1;
            }
        }
    }
    Some((String::from_utf8(name).ok()?, &bytes[at + 1..]))
}

const ALL: [Filter; 5] =
    [Filter::SkipSelf, Filter::SkipUsers, Filter::RequireSub, Filter::BuildId, Filter::VarSubst];
/// Filters of one membership.
pub const FILTERS_MAX: usize = 5;
/// A text must not grow without end by what it names again and again.
const RENDERED_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    fn get(
        filters: &[&str],
        meta: &[(&str, &str)],
        item: &[(&str, &str)],
        content: &str,
    ) -> Option<String> {
        let filters: Vec<Filter> =
            filters.iter().map(|own| Filter::of_name(own).unwrap()).collect();
        let pairs = |own: &[(&str, &str)]| -> Vec<(Box<str>, Box<str>)> {
            own.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
        };
        let (meta, item) = (pairs(meta), Meta::new(pairs(item)));
        let channels: [Arc<str>; 2] = ["room".into(), "other".into()];
        let member = Member { meta: &meta, channels: &channels };
        let published = Published { channel: "room", id: Some("7"), meta: &item };
        let got = filtered(&filters, member, published, content.as_bytes())?;
        Some(String::from_utf8(got.into_owned()).unwrap())
    }

    #[test]
    fn a_member_does_not_get_what_is_not_for_it() {
        let ann = [("user", "ann")];
        for (filter, item, is_got) in [
            ("skip-self", ("sender", "ann"), false),
            ("skip-self", ("sender", "bob"), true),
            ("skip-self", ("x", "ann"), true),
            ("skip-users", ("skip_users", "bob, ann"), false),
            ("skip-users", ("skip_users", "bob,anna"), true),
            ("require-sub", ("require_sub", "other"), true),
            ("require-sub", ("require_sub", "third"), false),
        ] {
            assert_eq!(get(&[filter], &ann, &[item], "x").is_some(), is_got, "{filter} {item:?}");
        }
        // Without a name a member is the sender of nothing.
        assert!(get(&["skip-self", "skip-users"], &[], &[("sender", "")], "x").is_some());
    }

    #[test]
    fn a_text_is_made_for_each_member() {
        let meta = [("name", "ann"), ("id_format", "%(room)s-%(other)s")];
        let get = |filter, content| get(&[filter], &meta, &[], content);
        assert_eq!(get("var-subst", "hi %(name)s: 5%%").as_deref(), Some("hi ann: 5%"));
        assert_eq!(get("build-id", "id=%I %(x)I").as_deref(), Some("id=7- x"));
        for content in ["%(who)s", "%(name)d", "%", "%(name", "%(name)", "%s"] {
            assert_eq!(get("var-subst", content), None, "{content}");
        }
    }

    #[test]
    fn an_id_may_be_hexadecimal() {
        let meta = [("id_format", "%(room)s"), ("id_encoding", "hex")];
        assert_eq!(get(&["build-id"], &meta, &[], "%I").as_deref(), Some("37"));
        let meta = [("id_format", "%(room)s"), ("id_encoding", "base7")];
        assert_eq!(get(&["build-id"], &meta, &[], "%I"), None);
        assert_eq!(get(&["build-id"], &[], &[], "plain"), None);
    }

    proptest! {
        #[test]
        fn any_text_may_be_published(content in "[%()a-zI\\\\]{0,20}") {
            let meta = [("a", "%(a)s"), ("id_format", "%(room)s")];
            for filter in ALL {
                let _ = get(&[filter.name()], &meta, &[], &content);
            }
        }
    }
}
