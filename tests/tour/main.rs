//! The README and the operations guide, typed line by line.
//!
//! What stands in its `segsh` blocks is typed at the prompt of a demo, in a pseudo-terminal of 80
//! columns; what stands behind `$ ` in its `console` blocks is given to a shell. Every line that is
//! printed is compared; [`patterns`] says which parts of a line may differ.

mod console;
mod patterns;
mod prompt;
mod readme;
