//! The allocator of a program that makes and drops large buffers all the time.
//!
//! Every tensor operation allocates its result. With the usual settings an allocator hands freed pages
//! back to the system within milliseconds and has them cleared again for the next operation, which took a
//! quarter of a training step. Kept a while, they are reused as they are.

use std::ffi::c_long;

/// The allocator; a program makes it its own with `#[global_allocator]`.
pub type Allocator = mimalloc::MiMalloc;

/// `mi_option_purge_delay`, the same number in all releases of mimalloc 2 and 3.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// How long freed pages are kept, in milliseconds: longer than a step, shorter than a user's patience with
/// a program that holds on to its largest moment.
const KEEP_MS: c_long = 10_000;

/// Keeps freed memory for ten seconds before it goes back to the system, in this process.
pub fn keep_freed_memory() {
    // SAFETY: `mi_option_set` stores a number in a table inside the allocator; the option is in range for
    // every release this is built with, and the call may be made at any time.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, KEEP_MS) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_the_one_meant() {
        // SAFETY: reads a number from the same table.
        let read = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        // The neighbours in the table default to 0 or 1; only the delay is a number of milliseconds.
        assert!(10 <= read(), "{}", read());
        keep_freed_memory();
        assert_eq!(read(), KEEP_MS);
    }
}
