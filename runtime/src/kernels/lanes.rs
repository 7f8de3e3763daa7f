//! Several numbers at a time: the vectors that the kernels are written in, once for all processors.
//!
//! All of them multiply and add with one rounding, so that every processor gives the same bits.

use half::f16;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64 as arch;

/// Channels in a panel of weights, and what numbers of channels are filled up to: a multiple of every vector's length.
pub(super) const PANEL: usize = 16;

/// A vector of single precision.
///
/// # Safety
/// What is unsafe here is so for one reason, besides that of pointers, which must be valid for [`Self::LEN`] numbers: the
/// processor must have the instructions ([`Level::here`]).
pub(super) trait Lanes: Copy {
    /// How many numbers.
    const LEN: usize;
    /// Rows of a product that are summed up at once: with two vectors for each they must fit the registers.
    const ROWS: usize;

    /// Says that the weights at this place, which may be beyond the end, are needed once those of a panel are through. With one
    /// vector for a panel they are two streams, which a processor follows by itself; with two they are one, and at few rows
    /// it would wait for it (measured: 2.1 ms for 3.0 at an image of 64 x 64, and with one vector 1.9 for 1.7).
    #[inline(always)]
    fn ahead(_: *const f32) {}
    unsafe fn load(from: *const f32) -> Self;
    /// As many of half precision, which is exact.
    unsafe fn load_halves(from: *const f16) -> Self;
    unsafe fn store(self, to: *mut f32);
    unsafe fn splat(x: f32) -> Self;
    /// `self * b + c`, rounded once.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    unsafe fn add(self, b: Self) -> Self;
    unsafe fn sub(self, b: Self) -> Self;
    /// `self` where it is greater, else `b`, where one is no number as well.
    unsafe fn max(self, b: Self) -> Self;
    /// `self` where it is less, else `b`.
    unsafe fn min(self, b: Self) -> Self;
}

#[cfg(target_arch = "x86_64")]
macro_rules! vectors {
    ($vector:ty, $len:literal, $rows:literal, $ahead:item, $halves:expr, $load:ident, $store:ident, $splat:ident,
     $mul_add:ident, { $($name:ident: $of:ident),* }) => {
        impl Lanes for $vector {
            const LEN: usize = $len;
            const ROWS: usize = $rows;

            $ahead

            #[inline(always)]
            unsafe fn load(from: *const f32) -> Self {
                // SAFETY: the caller's promise, here and below.
                unsafe { arch::$load(from) }
            }

            #[inline(always)]
            unsafe fn load_halves(from: *const f16) -> Self {
                // SAFETY: as above.
                unsafe { $halves(from) }
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut f32) {
                // SAFETY: as above.
                unsafe { arch::$store(to, self) }
            }

            #[inline(always)]
            unsafe fn splat(x: f32) -> Self {
                // SAFETY: as above.
                unsafe { arch::$splat(x) }
            }

            #[inline(always)]
            unsafe fn mul_add(self, b: Self, c: Self) -> Self {
                // SAFETY: as above.
                unsafe { arch::$mul_add(self, b, c) }
            }

            $(
                #[inline(always)]
                unsafe fn $name(self, b: Self) -> Self {
                    // SAFETY: as above.
                    unsafe { arch::$of(self, b) }
                }
            )*
        }
    };
}

#[cfg(target_arch = "x86_64")]
vectors!(
    arch::__m512,
    16,
    12,
    fn ahead(_: *const f32) {},
    |from: *const f16| arch::_mm512_cvtph_ps(arch::_mm256_loadu_si256(from.cast())),
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_set1_ps,
    _mm512_fmadd_ps,
    { add: _mm512_add_ps, sub: _mm512_sub_ps, max: _mm512_max_ps, min: _mm512_min_ps }
);
#[cfg(target_arch = "x86_64")]
vectors!(
    arch::__m256,
    8,
    6,
    #[inline(always)]
    fn ahead(weights: *const f32) {
        // SAFETY: every processor with these vectors has it, and it may be given any address.
        unsafe { arch::_mm_prefetch::<{ arch::_MM_HINT_T1 }>(weights.cast()) }
    },
    |from: *const f16| arch::_mm256_cvtph_ps(arch::_mm_loadu_si128(from.cast())),
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_set1_ps,
    _mm256_fmadd_ps,
    { add: _mm256_add_ps, sub: _mm256_sub_ps, max: _mm256_max_ps, min: _mm256_min_ps }
);

/// What every processor can do, and the measure of what the others do.
#[derive(Clone, Copy)]
pub(super) struct Portable([f32; 8]);

impl Portable {
    #[inline(always)]
    fn with(self, b: Self, of: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|i| of(self.0[i], b.0[i])))
    }
}

impl Lanes for Portable {
    const LEN: usize = 8;
    const ROWS: usize = 4;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { from.cast::<[f32; 8]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn load_halves(from: *const f16) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { from.cast::<[f16; 8]>().read_unaligned() }.map(f16::to_f32))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self([x; 8])
    }

    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i].mul_add(b.0[i], c.0[i])))
    }

    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        self.with(b, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        self.with(b, |a, b| a - b)
    }

    #[inline(always)]
    unsafe fn max(self, b: Self) -> Self {
        self.with(b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    unsafe fn min(self, b: Self) -> Self {
        self.with(b, |a, b| if a < b { a } else { b })
    }
}

/// Which vectors are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Level {
    /// The longest that this processor has.
    pub(super) fn here() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx512f") {
                return Self::Avx512;
            }
            if has!("avx2") && has!("fma") && has!("f16c") {
                return Self::Avx2;
            }
        }
        Self::Portable
    }
}
