//! Intel's matrix tiles: whether they are there, and their instructions.

/// Whether the machine has bf16 tiles, its operating system lets this process use them, and they multiply.
pub(crate) fn is_available() -> bool {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    {
        use std::sync::OnceLock;

        use crate::matmul::tiles;

        static AVAILABLE: OnceLock<bool> = OnceLock::new();
        *AVAILABLE.get_or_init(|| {
            // SAFETY: when the first two say so, the instructions are there and allowed.
            let are_right = || unsafe { tiles::are_right(&mut Registers) };
            linux::has_tiles() && linux::may_use_tiles() && are_right()
        })
    }
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
    false
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod linux {
    use std::arch::{asm, x86_64::__cpuid_count};

    /// Whether the processor has bf16 tiles and the system saves them.
    pub(super) fn has_tiles() -> bool {
        const OSXSAVE: u32 = 1 << 27;
        const AMX_BF16: u32 = 1 << 22;
        const AMX_TILE: u32 = 1 << 24;
        // Configuration and data of tiles, among the states that the system saves.
        const TILE_STATE: u32 = 1 << 17 | 1 << 18;
        let (most, _) = std::arch::x86_64::__get_cpuid_max(0);
        if most < 7 || __cpuid_count(1, 0).ecx & OSXSAVE == 0 {
            return false;
        }
        let has = __cpuid_count(7, 0).edx & (AMX_BF16 | AMX_TILE) == AMX_BF16 | AMX_TILE;
        has && saved_state() & TILE_STATE == TILE_STATE
    }

    /// The lower half of the register that says which state the system saves.
    fn saved_state() -> u32 {
        let lower: u32;
        // SAFETY: `xgetbv` of register 0 is there where the system has set OSXSAVE, as was asked before.
        unsafe {
            asm!(
                "xgetbv",
                in("ecx") 0,
                out("eax") lower,
                out("edx") _,
                options(nomem, nostack, preserves_flags),
            );
        }
        lower
    }

    /// Asks the system for the use of tiles, once for all threads of the process.
    pub(super) fn may_use_tiles() -> bool {
        const ARCH_PRCTL: i64 = 158;
        const REQUEST_STATE: u64 = 0x1023;
        const TILE_DATA: u64 = 18;
        let result: i64;
        // SAFETY: the system call takes two numbers and touches no memory of ours; the kernel overwrites rcx
        // and r11.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") ARCH_PRCTL => result,
                in("rdi") REQUEST_STATE,
                in("rsi") TILE_DATA,
                lateout("rcx") _,
                lateout("r11") _,
                options(nostack),
            );
        }
        result == 0
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use registers::Registers;

#[cfg(target_arch = "x86_64")]
mod registers {
    use std::arch::asm;

    use crate::matmul::tiles::{TileShapes, Tiles};

    /// The tile registers of the thread that runs. The compiler never uses them by itself, so they keep
    /// their contents from one instruction here to the next.
    pub(crate) struct Registers;

    // SAFETY (all blocks): the trait's contract. Nothing else in the process holds values in tiles.
    #[expect(clippy::undocumented_unsafe_blocks, reason = "said once, above")]
    impl Tiles for Registers {
        #[inline(always)]
        unsafe fn configure(&mut self, shapes: &TileShapes) {
            unsafe {
                asm!(
                    "ldtilecfg [{shapes}]",
                    shapes = in(reg) shapes,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(readonly, nostack, preserves_flags),
                );
            }
        }

        #[inline(always)]
        unsafe fn zero<const TILE: usize>(&mut self) {
            unsafe {
                asm!(
                    "tilezero tmm{tile}",
                    tile = const TILE,
                    options(nomem, nostack, preserves_flags),
                );
            }
        }

        #[inline(always)]
        unsafe fn load<const TILE: usize>(&mut self, from: *const u8, stride: usize) {
            unsafe {
                asm!(
                    "tileloadd tmm{tile}, [{from} + {stride}*1]",
                    tile = const TILE,
                    from = in(reg) from,
                    stride = in(reg) stride,
                    options(readonly, nostack, preserves_flags),
                );
            }
        }

        #[inline(always)]
        unsafe fn dot<const SUM: usize, const ROWS: usize, const WEIGHTS: usize>(&mut self) {
            unsafe {
                asm!(
                    "tdpbf16ps tmm{sum}, tmm{rows}, tmm{weights}",
                    sum = const SUM,
                    rows = const ROWS,
                    weights = const WEIGHTS,
                    options(nomem, nostack, preserves_flags),
                );
            }
        }

        #[inline(always)]
        unsafe fn store<const TILE: usize>(&mut self, to: *mut u8, stride: usize) {
            unsafe {
                asm!(
                    "tilestored [{to} + {stride}*1], tmm{tile}",
                    tile = const TILE,
                    to = in(reg) to,
                    stride = in(reg) stride,
                    options(nostack, preserves_flags),
                );
            }
        }

        #[inline(always)]
        unsafe fn release(&mut self) {
            unsafe {
                asm!(
                    "tilerelease",
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nomem, nostack, preserves_flags),
                );
            }
        }
    }
}
