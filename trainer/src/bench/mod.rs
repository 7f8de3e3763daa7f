//! Benchmarks of mode coverage: how many modes of a known distribution a method finds, how evenly, how cleanly.
//!
//! A [`Protocol`] is a distribution with its networks, a file each; a [`Method`] is how networks learn, the same for all of
//! them. [`Learning`] plays the game that training plays. What is measured is in [`Measures`], for several seeds in a
//! [`Report`], beside the [`floor()`]: what real samples have. A [`Folder`] keeps it all from one process to the next.

mod folder;
mod grid;
mod learn;
mod measures;
mod method;
mod mixture;
mod protocol;
mod report;
mod ring;
mod stacked_mnist;

pub use folder::Folder;
pub use grid::grid;
pub use learn::{Learning, floor, measure};
pub use measures::{Estimate, Measures, Sighting, Tally};
pub use method::{Method, OURS, PLAIN};
pub use mixture::Mixture;
pub use protocol::{Protocol, Variant};
pub use report::{Report, Run, Summary};
pub use ring::ring;
pub use stacked_mnist::StackedMnist;
