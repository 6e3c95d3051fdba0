//! Bounds for memory that requests share. Everything that may be large is charged to a budget until it is dropped.
//!
//! A company may use half of each budget, and a peer a quarter of the budget for unauthenticated requests, so no
//! single one uses all of it.

mod budget;
mod budgets;
mod held;
mod strangers;

pub(crate) use budget::Charge;
pub(crate) use budgets::{DECODED, Memory, RESPONSES, SMALL, STRANGERS, Sizes};
pub(crate) use held::{Arriving, Held, Payer, charged};
