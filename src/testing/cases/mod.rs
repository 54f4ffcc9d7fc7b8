//! The cases: each name says what the contract promises.

mod about;
mod broken;
mod conditions;
mod crowds;
mod list;
mod modes;
mod names;
mod put;
mod races;
mod read;

pub(super) use about::*;
pub(super) use broken::*;
pub(super) use conditions::*;
pub(super) use crowds::*;
pub(super) use list::*;
pub(super) use modes::*;
pub(super) use names::*;
pub(super) use put::*;
pub(super) use races::*;
pub(super) use read::*;
