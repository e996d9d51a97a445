//! What a person sees: screens, prompt, questions, progress.

pub mod render;
