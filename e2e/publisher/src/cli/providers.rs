//! Providers by name: `apocryph provider add|list|remove`, and what `--provider` means.

use serde_json::{Value, json};

use super::{
    args::{Global, Providers},
    commands::store,
    human, json as machine,
    output::Output,
};
use crate::{credential, error::Error, exit::Exit, known::Known, provider::Provider};

/// The provider that `--provider` or the environment names, and its entry where it was named by name.
pub fn given(global: &Global) -> Result<Option<(Provider, Option<Known>)>, Error> {
    let Some(text) = global.provider.as_deref().map(str::trim).filter(|t| !t.is_empty()) else {
        return Ok(None);
    };
    // A multiaddr has one, a name has none.
    if text.contains('/') {
        return Ok(Some((text.parse()?, None)));
    }
    let known = Known::load(&store(global)?, text)?;
    Ok(Some((known.provider.clone(), Some(known))))
}

pub fn run(global: &Global, command: Providers, output: &mut Output) -> Result<Exit, Error> {
    let store = store(global)?;
    match command {
        Providers::Add { name, address } => {
            let known = Known::add(&store, &name, address.parse()?)?;
            let line = format!(
                "{name} is {}; ask it with `apocryph capacity --provider {name}`",
                known.provider.peer()
            );
            output.tell(&[human::line("added", line)], &value(&known));
        }
        Providers::Remove { name } => {
            Known::remove(&store, &name)?;
            let line = format!("{name}; pods that were deployed there keep its address");
            output.tell(
                &[human::line("removed", line)],
                &json!({"event": "removed", "name": name}),
            );
        }
        Providers::List => list(&Known::list(&store)?, output),
    }
    Ok(Exit::Ok)
}

fn list(known: &[Known], output: &mut Output) {
    if known.is_empty() {
        output.note("no provider is known; add one with `apocryph provider add NAME MULTIADDR`");
        return;
    }
    let values: Vec<_> = known.iter().map(value).collect();
    output.tell_all(&human::providers(known, credential::now()), &values);
}

fn value(known: &Known) -> Value {
    let asked = known.asked.as_ref().map(|asked| {
        let mut value = machine::capacity(&asked.capacity);
        value["at"] = asked.at.into();
        if let Some(fields) = value.as_object_mut() {
            fields.remove("event");
        }
        value
    });
    json!({
        "event": "provider",
        "name": known.name,
        "peer": known.provider.peer().to_base58(),
        "addresses": known.provider.texts(),
        "asked": asked,
    })
}
