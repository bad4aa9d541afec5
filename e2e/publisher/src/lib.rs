//! The publisher's client: what a tenant runs, as a library and as the command `apocryph`.
//!
//! ```text
//! key, manifest ──> deploy ──> follow: dial, attest, sign, send, read status, dial again ──> provider
//!                     │
//!                   state file (encrypted, written before the first byte is sent)
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`key`], [`peer`] | the publisher's Ethereum key; a peer id that stays |
//! | [`delegation`] | what a wallet lets a named peer do, as a file |
//! | [`provider`], [`known`], [`net`] | where a provider is; those with a name; one connection, streams opened on it |
//! | [`credential`] | requests signed as envelopes |
//! | [`session`], [`reply`] | one request, then replies until the final one; replies as typed values |
//! | [`attest`], [`capacity`] | the two questions that need no key |
//! | [`manifest`], [`quantity`] | reading and checking a manifest offline |
//! | [`state`] | the state file |
//! | [`follow`] | keeps asking until the goal is reached: backoff, reconnect, resume |
//! | [`deploy`], [`dry_run`], [`watch`], [`delete`], [`logs`], [`list`], [`describe`], [`revoke`] | the goals |
//! | [`error`], [`own_codes`], [`exit`] | what went wrong and what to do about it; the exit status |
//! | [`cli`] | arguments, output, commands |

pub mod attest;
pub mod backoff;
pub mod capacity;
pub mod cli;
pub mod credential;
pub mod delegation;
pub mod delete;
pub mod deploy;
pub mod describe;
pub mod dry_run;
pub mod error;
pub mod exit;
pub mod follow;
pub mod key;
pub mod known;
pub mod list;
pub mod logs;
pub mod manifest;
pub mod net;
pub mod own_codes;
pub mod peer;
pub mod pod_id;
pub mod provider;
pub mod quantity;
pub mod reply;
pub mod revoke;
pub mod session;
pub mod state;
pub mod time;
pub mod watch;

pub use deploy::{Deployment, Reached, Until, deploy};
pub use error::Error;
pub use exit::Exit;
pub use follow::{Event, Settings};
pub use key::PublisherKey;
pub use net::{Client, Connection};
pub use pod_id::PodId;
pub use provider::Provider;
pub use state::Store;
