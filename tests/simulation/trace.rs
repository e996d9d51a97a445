//! The last lines of what happened, and a number that stands for all of them.

use std::collections::VecDeque;

const KEPT: usize = 80;

/// What happened, in words.
#[derive(Debug, Default)]
pub struct Trace {
    lines: VecDeque<String>,
    /// Of every line ever said.
    pub hash: u64,
    pub said: u64,
    /// Every line is printed as it is said.
    aloud: bool,
}

impl Trace {
    /// With `SEGSH_SIMULATION_TRACE` everything is printed, and not only the end.
    pub fn new() -> Trace {
        Trace { aloud: std::env::var_os("SEGSH_SIMULATION_TRACE").is_some(), ..Trace::default() }
    }

    pub fn say(&mut self, now: u64, text: impl FnOnce() -> String) {
        let line = format!("{:>10.3} ms  {}", now as f64 / 1000.0, text());
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(5);
        }
        self.said += 1;
        if self.aloud {
            eprintln!("{line}");
        }
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub fn text(&self) -> String {
        self.lines.iter().map(|l| format!("{l}\n")).collect()
    }
}
