//! Memory that kernels share: buffers on cache lines, and slices that several tasks write parts of.

use std::{marker::PhantomData, ops::Range};

/// A slice whose parts are written by tasks that run at the same time.
#[derive(Clone, Copy)]
pub(crate) struct SharedMut<'a, T> {
    start: *mut T,
    len: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: the slice is exclusively borrowed for as long as this lives, and whoever takes a part promises
// that nobody else has it.
unsafe impl<T: Send> Send for SharedMut<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedMut<'_, T> {}

impl<'a, T> SharedMut<'a, T> {
    pub(crate) fn new(values: &'a mut [T]) -> SharedMut<'a, T> {
        SharedMut {
            start: values.as_mut_ptr(),
            len: values.len(),
            borrow: PhantomData,
        }
    }

    /// The first element, for parts that are not slices.
    pub(crate) fn start(self) -> *mut T {
        self.start
    }

    /// A part of the slice.
    ///
    /// # Safety
    /// No other task, and no other part in use, overlaps it.
    ///
    /// # Panics
    /// When the range is not inside the slice.
    pub(crate) unsafe fn slice(&self, range: Range<usize>) -> &'a mut [T] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: inside the slice, and not aliased by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

/// Numbers for which any bits are a value.
pub(crate) trait Plain: Copy {}
impl Plain for f32 {}
impl Plain for u32 {}
impl Plain for u16 {}
impl Plain for i8 {}

/// A growing buffer that starts on a cache line, seen as numbers of any plain type.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines(Vec<Line>);

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl Lines {
    pub(crate) const fn new() -> Lines {
        Lines(Vec::new())
    }

    /// Makes room for `n_bytes`. What was there stays or is zero; memory is kept when it shrinks.
    pub(crate) fn resize(&mut self, n_bytes: usize) {
        self.0.resize(n_bytes.div_ceil(64), Line([0; 64]));
    }

    pub(crate) fn n_bytes(&self) -> usize {
        64 * self.0.len()
    }

    pub(crate) fn get<T: Plain>(&self) -> &[T] {
        let len = self.n_bytes() / size_of::<T>();
        // SAFETY: initialised bytes, aligned to 64, and any bits are a `T`.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), len) }
    }

    pub(crate) fn get_mut<T: Plain>(&mut self) -> &mut [T] {
        let len = self.n_bytes() / size_of::<T>();
        // SAFETY: as above, and any `T` is valid bytes.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_starts_on_a_line_and_new_memory_is_zero() {
        let mut lines = Lines::new();
        lines.resize(4);
        lines.get_mut::<f32>().fill(1.0);
        lines.resize(130);
        assert_eq!(lines.get::<f32>().as_ptr().addr() % 64, 0);
        assert_eq!(lines.get::<f32>().len(), 48);
        assert_eq!(lines.get::<f32>()[15], 1.0);
        assert!(lines.get::<f32>()[16..].iter().all(|x| *x == 0.0));
        assert_eq!(lines.get::<u16>()[..2], [0, 0x3f80]);
    }

    #[test]
    #[should_panic = "assertion"]
    fn a_part_outside_is_refused() {
        let mut values = [0; 4];
        // SAFETY: the only part.
        unsafe { SharedMut::new(&mut values).slice(2..5) };
    }
}
