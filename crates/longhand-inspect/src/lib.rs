//! Shows the steps, attempts and turns of a run in a terminal.
