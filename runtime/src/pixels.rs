//! From the generator's values in [-1, 1] to what the caller wants.

use half::f16;
use half::slice::HalfFloatSliceExt;

mod sealed {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for f32 {}
    impl Sealed for half::f16 {}
}

/// The types that images come in.
///
/// `f32` and `f16` are the generator's values, nominally in [-1, 1]. `u8` is 0 to 255: `round((x + 1) * 127.5)`, half
/// away from zero, clamped; NaN becomes 0.
pub trait Pixel: sealed::Sealed + Copy + Default + Send + 'static {
    /// The opacity of what is not transparent.
    #[doc(hidden)]
    const OPAQUE: Self;

    /// Converts from `f32`; both slices have one length.
    #[doc(hidden)]
    fn from_f32(from: &[f32], to: &mut [Self]);

    /// Converts from `f16`; both slices have one length.
    #[doc(hidden)]
    fn from_f16(from: &[f16], to: &mut [Self]);
}

impl Pixel for f32 {
    const OPAQUE: Self = 1.;

    fn from_f32(from: &[f32], to: &mut [Self]) {
        to.copy_from_slice(from);
    }

    fn from_f16(from: &[f16], to: &mut [Self]) {
        from.convert_to_f32_slice(to);
    }
}

impl Pixel for f16 {
    const OPAQUE: Self = f16::ONE;

    fn from_f32(from: &[f32], to: &mut [Self]) {
        to.convert_from_f32_slice(from);
    }

    fn from_f16(from: &[f16], to: &mut [Self]) {
        to.copy_from_slice(from);
    }
}

impl Pixel for u8 {
    const OPAQUE: Self = u8::MAX;

    fn from_f32(from: &[f32], to: &mut [Self]) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2.
            return unsafe { to_bytes_avx2(from, to) };
        }
        to_bytes(from, to);
    }

    fn from_f16(from: &[f16], to: &mut [Self]) {
        // Widened a piece at a time: the whole-slice conversion uses the processor's own instruction.
        let mut wide = [0f32; 256];
        for (from, to) in from.chunks(wide.len()).zip(to.chunks_mut(wide.len())) {
            let wide = &mut wide[..from.len()];
            from.convert_to_f32_slice(wide);
            Self::from_f32(wide, to);
        }
    }
}

/// [`to_bytes`] compiled for wider registers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn to_bytes_avx2(from: &[f32], to: &mut [u8]) {
    to_bytes(from, to);
}

/// Written so that it is compiled to vector instructions, which a saturating cast is not.
#[inline(always)]
fn to_bytes(from: &[f32], to: &mut [u8]) {
    /// Numbers of this size have no room for a fraction: adding it rounds, and leaves the integer in the lowest bits.
    const ROUND: f32 = 8_388_608.;
    for (to, &x) in to.iter_mut().zip(from) {
        let y = (x + 1.) * 127.5 + 0.5;
        // In this order NaN becomes 0.
        let y = if y > 0. { y } else { 0. };
        let y = if y < 255. { y } else { 255. };
        let nearest = (y + ROUND) - ROUND;
        let floor = if nearest > y { nearest - 1. } else { nearest };
        *to = (floor + ROUND).to_bits() as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_rounded_and_clamped() {
        let from = [-1f32, 1., 0., -2., 2., f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1. + 1. / 127.5, 0.25];
        let mut to = [9u8; 10];
        u8::from_f32(&from, &mut to);
        assert_eq!(to, [0, 255, 128, 0, 255, 0, 255, 0, 1, 159]);
    }

    #[test]
    fn bytes_are_those_of_the_saturating_cast() {
        // Every 257th pattern of bits, and the neighbours of every tie.
        let patterns = (0..=u32::MAX / 257).map(|i| i * 257);
        let ties = (0..=255).map(|k| ((k as f32 - 0.5) / 127.5 - 1.).to_bits());
        let ties = ties.flat_map(|bits| (0..8u32).map(move |i| bits.wrapping_add(i).wrapping_sub(4)));
        let all: Vec<f32> = patterns.chain(ties).map(f32::from_bits).collect();
        let expected: Vec<u8> = all.iter().map(|x| ((x + 1.) * 127.5 + 0.5) as u8).collect();
        let mut to = vec![0u8; all.len()];
        to_bytes(&all, &mut to);
        assert!(to == expected);
        u8::from_f32(&all, &mut to);
        assert!(to == expected);
    }

    #[test]
    fn halves_convert_like_their_values() {
        let values: Vec<f16> = (0..1000).map(|i| f16::from_f32(i as f32 / 400. - 1.25)).collect();
        let wide: Vec<f32> = values.iter().map(|v| v.to_f32()).collect();
        let (mut a, mut b) = (vec![0u8; 1000], vec![0u8; 1000]);
        u8::from_f16(&values, &mut a);
        u8::from_f32(&wide, &mut b);
        assert_eq!(a, b);
        let mut back = vec![f16::ZERO; 1000];
        <f16 as Pixel>::from_f32(&wide, &mut back);
        assert_eq!(back, values);
        let mut to = vec![0f32; 1000];
        <f32 as Pixel>::from_f16(&values, &mut to);
        assert_eq!(to, wide);
    }
}
