//! History of an agent's session: commits that cannot be lost, forked unnoticed or damaged unnoticed.
//!
//! ```
//! # async fn example() -> persist::Result<()> {
//! use std::sync::Arc;
//! use persist::{adapters::memory::MemoryAdapter, sessions::{At, Sessions}};
//!
//! let sessions = Sessions::new(Arc::new(MemoryAdapter::new()))?;
//! let session = sessions.session("support-bot", "conversation-7")?;
//! session.save("state after step 1").await?;
//! session.save("state after step 2").await?;
//! assert_eq!(session.load(At::Seq(1)).await?.state, "state after step 1");
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```
//!
//! There is a [guide](https://docs.rs/crate/agent-persist/latest/source/docs/sessions.md), and a [specification](https://docs.rs/crate/agent-persist/latest/source/docs/sessions-format.md)
//! of every byte.
//!
//! # Layout
//! In the order in which a save goes:
//! - `storage`, `session`: the handles that callers hold; `held` is what a call has of one
//! - `follow`: which commit a handle continues
//! - `writer`, `draft`, `answer`, `confirm`: create the next commit, and know for certain what became of it;
//!   `fence` has the lengths of time for that, `rival` says who was there first
//! - `head`, `pack`, `delta`: from a state to the bytes of its commit
//! - `manifest`, `object`, `refs`, `line`, `wire`: those bytes
//! - `names`: the keys
//! - `store`: the adapter as sessions use it
//!
//! and a load: `at` says which commit, `find` finds it as `found`, `restore` fetches and checks its chain,
//! `load` gives it as `restored`, `fallback` goes on behind what is `damaged`, `log` is the history. `tag`
//! and `fork` keep commits, `prune` removes those that nothing keeps, `remove` ends a session. `stream`,
//! `background`, `checkpoint`, `diff`, `verify`, `archive` and `list` stand on these.

mod answer;
mod archive;
mod at;
mod background;
mod checkpoint;
mod clock;
mod commit;
mod confirm;
mod copied;
mod damaged;
pub(crate) mod delta;
mod diff;
mod draft;
mod fallback;
mod fence;
mod find;
mod follow;
mod fork;
mod found;
mod head;
mod held;
mod id;
mod line;
mod list;
mod load;
mod log;
mod manifest;
mod names;
mod object;
mod pack;
mod pending;
mod prune;
mod refs;
mod remove;
mod restore;
mod restored;
mod rival;
mod session;
mod storage;
mod store;
mod stream;
mod tag;
mod verified;
mod verify;
mod wire;
mod writer;

pub use crate::clock::{Clock, SystemClock};
pub use archive::Moved;
pub use at::At;
pub use background::Background;
pub use checkpoint::Checkpoints;
pub use commit::{Commit, CommitOptions, NamedSize};
pub use damaged::Damaged;
pub use diff::{Change, diff};
pub use id::CommitId;
pub use list::SessionName;
// For the command line, which tells their objects from others.
#[doc(hidden)]
pub use names::{PartKind, part_kind};
#[doc(hidden)]
pub use object::{commit_id, is_marker};
pub use prune::{KeptBy, Pruned, Retention};
pub use restored::Restored;
pub use rival::Rival;
pub use session::Session;
pub use storage::Sessions;
pub(crate) use storage::WINDOWS;
pub use tag::Tag;
pub use verified::Verified;
