//! Who may start pods now: the admin's ConfigMap (key `access.yaml`), the last good reading of it. It speaks of new pods alone;
//! what runs is attached to, watched and deleted whatever it says.

use std::{collections::BTreeSet, sync::Arc};

use apocryph_proto::outcome::Code;
use tokio::sync::watch;

use crate::{
    config_map::{
        EditError, Field, open, quote,
        watch::{Applied, Holder},
    },
    model::{key::Publisher, refusal::Refusal},
};

/// Key of the ConfigMap.
pub const KEY: &str = "access.yaml";
/// The one form that is known.
pub const API_VERSION: &str = "access.apocryph.network/v1alpha1";
/// Bytes of the text.
pub const TEXT_MAX: usize = 512 << 10;
/// Publishers of one list.
pub const PUBLISHERS_MAX: usize = 8192;
/// Characters of the message.
pub const MESSAGE_MAX: usize = 512;
/// Seconds after which a closed door may be open again.
pub const RETRY_AFTER: u32 = 30;

/// One good reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// False: no new pods from anybody.
    pub accepting: bool,
    /// Told to publishers while nothing is accepted; may be empty.
    pub message: String,
    /// Never let in, whatever `allow` says.
    pub deny: BTreeSet<Publisher>,
    /// Only these; `None`: everybody.
    pub allow: Option<BTreeSet<Publisher>>,
}

impl Access {
    /// # Errors
    /// The first fault, with its line and field.
    pub fn parse(text: &str) -> Result<Access, EditError> {
        let mut root = open(text, TEXT_MAX, API_VERSION)?;
        let accepting = root
            .need("accepting", "write true, or false to take no new pods")?
            .bool()?;
        let message = root.take("message").map(message).transpose()?.unwrap_or_default();
        let deny = root.take("deny").map(publishers).transpose()?.unwrap_or_default();
        let allow = root.take("allow").map(allowed).transpose()?;
        root.end()?;
        Ok(Access {
            accepting,
            message,
            deny,
            allow,
        })
    }

    fn accepting(&self) -> Result<(), Refusal> {
        if self.accepting {
            return Ok(());
        }
        let message = match self.message.as_str() {
            "" => "this provider takes no new pods: its admin has closed the door".to_owned(),
            said => format!("this provider takes no new pods; its admin says: {said}"),
        };
        Err(Refusal::new(Code::Cordoned, message).retry_after(RETRY_AFTER))
    }

    fn admits(&self, publisher: &Publisher) -> Result<(), Refusal> {
        let why = if self.deny.contains(publisher) {
            "takes no new pods of this publisher"
        } else if self.allow.as_ref().is_some_and(|allow| !allow.contains(publisher)) {
            "takes new pods of listed publishers only, and this one is not listed"
        } else {
            return Ok(());
        };
        Err(
            Refusal::new(Code::PublisherDenied, format!("this provider {why}: {publisher}"))
                .field("payment.publisherAddress")
                .remedy("ask the provider's admin, or choose another provider"),
        )
    }
}

fn message(field: Field) -> Result<String, EditError> {
    let text = field.text("a sentence for publishers, in quotes")?;
    if text.chars().count() > MESSAGE_MAX {
        return Err(field.error(format!("is longer than {MESSAGE_MAX} characters")));
    }
    if text.chars().any(char::is_control) {
        return Err(field.error("has a line break or another control character"));
    }
    Ok(text.trim().to_owned())
}

fn publishers(field: Field) -> Result<BTreeSet<Publisher>, EditError> {
    let mut listed = BTreeSet::new();
    for one in field.list(PUBLISHERS_MAX)? {
        let publisher = Publisher(one.address()?);
        if !listed.insert(publisher) {
            return Err(one.error(format!(
                "is {}, which the list has already",
                quote(&publisher.to_string())
            )));
        }
    }
    Ok(listed)
}

/// An empty list would let nobody in, which is rarely what was meant.
fn allowed(field: Field) -> Result<BTreeSet<Publisher>, EditError> {
    let empty = field.error("is empty; leave it out to let everybody in, or write accepting: false");
    Some(publishers(field)?)
        .filter(|listed| !listed.is_empty())
        .ok_or(empty)
}

/// `text`, which says `now`, with the door closed and all else as it is. `None`: it is not written line by line, so that only
/// its author can change it.
pub fn closed(text: &str, now: &Access, message: &str) -> Option<String> {
    let says = serde_json::to_string(message).ok()?;
    let mut lines = Vec::new();
    for line in text.lines() {
        if !line.starts_with("accepting:") && !line.starts_with("message:") {
            lines.push(line.to_owned());
        }
        if line.starts_with("apiVersion:") {
            lines.extend(["accepting: false".to_owned(), format!("message: {says}")]);
        }
    }
    let text = lines.join("\n") + "\n";
    let meant = Access {
        accepting: false,
        message: message.to_owned(),
        ..now.clone()
    };
    (Access::parse(&text).ok()? == meant).then_some(text)
}

/// What is known of the admin's word.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    Unread,
    /// Never a good one: whom it denies is not known.
    Unreadable,
    Last(Arc<Access>),
}

/// Keeps the last good reading. Until there is one nothing is accepted: it may be that somebody is denied.
#[derive(Debug)]
pub struct AccessList {
    word: watch::Sender<Word>,
}

impl AccessList {
    pub fn new() -> Arc<AccessList> {
        Arc::new(AccessList {
            word: watch::Sender::new(Word::Unread),
        })
    }

    /// Are pods taken at all?
    pub fn accepting(&self) -> Result<(), Refusal> {
        self.last()?.accepting()
    }

    /// Are pods of this publisher taken?
    pub fn admits(&self, publisher: &Publisher) -> Result<(), Refusal> {
        let last = self.last()?;
        last.accepting()?;
        last.admits(publisher)
    }

    fn last(&self) -> Result<Arc<Access>, Refusal> {
        let (code, why) = match &*self.word.borrow() {
            Word::Last(access) => return Ok(access.clone()),
            Word::Unread => (Code::NotSynced, "has not been read yet"),
            Word::Unreadable => (Code::Cordoned, "cannot be understood"),
        };
        let message = format!("this provider takes no new pods: its admin's list of who may come in {why}");
        Err(Refusal::new(code, message).retry_after(RETRY_AFTER))
    }
}

impl Holder for AccessList {
    fn update(&self, text: Option<&str>) -> Result<Applied, EditError> {
        let Some(text) = text else { return Ok(Applied::Nothing) };
        let read = Access::parse(text);
        let changed = self.word.send_if_modified(|word| match &read {
            Err(_) => {
                let first = *word == Word::Unread;
                if first {
                    *word = Word::Unreadable;
                }
                first
            }
            Ok(access) => {
                let same = matches!(word, Word::Last(last) if **last == *access);
                if !same {
                    *word = Word::Last(Arc::new(access.clone()));
                }
                !same
            }
        });
        read.map(|_| if changed { Applied::Changed } else { Applied::Unchanged })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Publisher = Publisher([1; 20]);
    const TWO: Publisher = Publisher([2; 20]);

    fn text(rest: &str) -> String {
        format!("apiVersion: {API_VERSION}\n{rest}\n")
    }

    fn asked(list: &AccessList, publisher: &Publisher) -> Option<Code> {
        list.admits(publisher).err().map(|refusal| refusal.code)
    }

    #[test]
    fn each_publisher_is_let_in_or_not_as_the_last_good_edit_says() {
        let list = AccessList::new();
        assert_eq!(asked(&list, &ONE), Some(Code::NotSynced), "nobody is let in unread");
        list.update(Some("nonsense")).unwrap_err();
        assert_eq!(asked(&list, &ONE), Some(Code::Cordoned));
        assert_eq!(list.update(None), Ok(Applied::Nothing));
        assert_eq!(asked(&list, &ONE), Some(Code::Cordoned));

        let edit = |rest: &str| list.update(Some(&text(rest)));
        assert_eq!(edit("accepting: true"), Ok(Applied::Changed));
        assert_eq!(asked(&list, &ONE), None);
        assert_eq!(edit("accepting: true # still"), Ok(Applied::Unchanged));

        assert_eq!(edit(&format!("accepting: true\ndeny: ['{ONE}']")), Ok(Applied::Changed));
        assert_eq!(asked(&list, &ONE), Some(Code::PublisherDenied));
        assert_eq!(asked(&list, &TWO), None);
        assert_eq!(list.accepting(), Ok(()), "others may come");
        edit("accepting: maybe").unwrap_err();
        assert_eq!(
            asked(&list, &ONE),
            Some(Code::PublisherDenied),
            "a bad edit changes nothing"
        );

        edit(&format!("accepting: true\nallow: ['{ONE}', '{TWO}']\ndeny: ['{ONE}']")).unwrap();
        assert_eq!(asked(&list, &ONE), Some(Code::PublisherDenied), "deny wins");
        assert_eq!(asked(&list, &TWO), None);
        assert_eq!(asked(&list, &Publisher([3; 20])), Some(Code::PublisherDenied));

        edit("accepting: false\nmessage: back on Monday").unwrap();
        let refusal = list.accepting().unwrap_err();
        assert_eq!(refusal.code, Code::Cordoned);
        assert!(
            refusal.message.ends_with("says: back on Monday."),
            "{}",
            refusal.message
        );
        assert_eq!(asked(&list, &TWO), Some(Code::Cordoned));
    }

    #[test]
    fn the_door_is_closed_and_nothing_else_is_changed() {
        let open =
            format!("# ours\napiVersion: {API_VERSION}\nmessage: old\naccepting: true # yes\ndeny: ['{ONE}'] # spam\n");
        let now = Access::parse(&open).unwrap();
        let text = closed(&open, &now, "moving: \"soon\"").unwrap();
        assert_eq!(
            text,
            format!(
                "# ours\napiVersion: {API_VERSION}\naccepting: false\nmessage: \"moving: \\\"soon\\\"\"\ndeny: ['{ONE}'] # spam\n"
            )
        );
        let flow = format!("{{apiVersion: {API_VERSION}, accepting: true}}");
        assert_eq!(closed(&flow, &Access::parse(&flow).unwrap(), "x"), None);
    }

    #[test]
    fn a_bad_edit_is_told_by_line_and_field() {
        for (rest, says) in [
            ("", "line 1, accepting: is missing"),
            (
                "accepting: maybe",
                "line 2, accepting: is \"maybe\"; write true or false",
            ),
            ("Accepting: true", "line 2, accepting: is written \"Accepting\""),
            ("accepting: true\ndenied: []", "line 3: has no field \"denied\""),
            (
                "accepting: true\ndeny: ['0x12']",
                "line 3, deny[0]: is \"0x12\"; write an address",
            ),
            ("accepting: true\nallow: []", "line 3, allow: is empty"),
            (
                "accepting: false\nmessage: \"a\\nb\"",
                "line 3, message: has a line break",
            ),
        ] {
            let error = Access::parse(&text(rest)).unwrap_err().to_string();
            assert!(error.starts_with(says), "{rest}: {error}");
        }
        let twice = format!("accepting: true\ndeny: ['{ONE}', '{ONE}']");
        assert!(
            Access::parse(&text(&twice))
                .unwrap_err()
                .to_string()
                .contains("deny[1]")
        );
        let long = format!("accepting: false\nmessage: {}", "x".repeat(MESSAGE_MAX + 1));
        assert!(Access::parse(&text(&long)).unwrap_err().to_string().contains("message"));
        let other = Access::parse("apiVersion: access.apocryph.network/v2\naccepting: true\n").unwrap_err();
        assert!(other.to_string().starts_with("line 1, apiVersion"), "{other}");
    }
}
