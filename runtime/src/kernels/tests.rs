use super::lanes::PANEL;
use super::*;
use half::f16;
use proptest::prelude::*;

/// A layer of these sizes, its kernel and its bias.
#[derive(Clone, Debug)]
struct Case {
    inputs: usize,
    outputs: usize,
    size: [usize; 2],
    batch: usize,
    threads: usize,
    activation: Activation,
    from: Order,
    to: Order,
}

fn numbers(len: usize, salt: f32) -> Vec<f32> {
    (0..len).map(|i| ((i as f32 + salt) * 1.618).sin()).collect()
}

impl Case {
    fn kernel(&self) -> Vec<f32> {
        numbers(self.inputs * self.outputs * 16, 0.3)
    }

    fn bias(&self) -> Vec<f32> {
        numbers(self.outputs, 0.7)
    }

    fn layer(&self, level: Level) -> Doubling {
        let (kernel, bias) = (self.kernel(), self.bias());
        let &Self { inputs, outputs, size, activation, from, to, .. } = self;
        Doubling::with(&Written { inputs, outputs, size, kernel: &kernel, bias: &bias, activation, from, to }, level)
            .expect("has memory")
    }

    /// Planes of the input.
    fn input(&self) -> Vec<f32> {
        numbers(self.batch * self.inputs * self.size[0] * self.size[1], 0.1)
    }

    /// Planes of the output, from its definition.
    fn expected(&self) -> Vec<f64> {
        let ([h, w], x, kernel, bias) = (self.size, self.input(), self.kernel(), self.bias());
        let mut y = Vec::new();
        for (image, o) in (0..self.batch).flat_map(|image| (0..self.outputs).map(move |o| (image, o))) {
            for (row, column) in (0..2 * h).flat_map(|row| (0..2 * w).map(move |column| (row, column))) {
                let mut sum = f64::from(bias[o]);
                for (i, j) in (0..h).flat_map(|i| (0..w).map(move |j| (i, j))) {
                    // Input row i is spread over the output's rows 2 i - 1 to 2 i + 2.
                    let (p, q) = ((row + 1).wrapping_sub(2 * i), (column + 1).wrapping_sub(2 * j));
                    if p > 3 || q > 3 {
                        continue;
                    }
                    for c in 0..self.inputs {
                        let x = x[((image * self.inputs + c) * h + i) * w + j];
                        sum += f64::from(x) * f64::from(kernel[((c * self.outputs + o) * 4 + p) * 4 + q]);
                    }
                }
                y.push(match self.activation {
                    Activation::None => sum,
                    Activation::Relu => sum.max(0.),
                    Activation::Leaky(slope) => {
                        if sum < 0. {
                            f64::from(slope) * sum
                        } else {
                            sum
                        }
                    }
                });
            }
        }
        y
    }

    /// What is computed out of planes, as planes, and that nothing else is written.
    fn computed(&self, level: Level) -> Vec<f32> {
        let layer = self.layer(level);
        let pixels = self.size[0] * self.size[1];
        let x = in_order(&self.input(), self.batch, self.inputs, pixels, self.from);
        assert_eq!(x.len(), self.batch * layer.input_len());
        let shape = layer.output_shape(self.batch);
        let len = shape.iter().product::<usize>();
        // What is not written, or read before it is, shows.
        let mut y = vec![f32::NAN; len + PANEL];
        let mut scratch = vec![f32::NAN; layer.scratch(self.batch, self.threads) + PANEL];
        let room = scratch.len() - PANEL;
        let mut parts = 0;
        let task = Task { batch: self.batch, x: x.as_ptr(), y: y.as_mut_ptr(), scratch: scratch.as_mut_ptr() };
        // SAFETY: all are as long as they have to be.
        unsafe {
            layer.run(task, self.threads, &mut |part| {
                in_threads(self.threads, part);
                parts += 1;
            });
        }
        assert_eq!(parts, 1);
        assert!(scratch[room..].iter().chain(&y[len..]).all(|x| x.is_nan()), "something is written beyond the end");
        y.truncate(len);
        assert!(y.iter().all(|x| !x.is_nan()), "not all is written");
        let channels = self.to.room(self.outputs);
        if self.to == Order::Planes {
            return y;
        }
        let rest = |(i, _): &(usize, &f32)| i % channels >= self.outputs;
        assert!(y.iter().enumerate().filter(rest).all(|(_, &x)| x == 0.), "channels that are filled up are zeros");
        let pixels = 4 * pixels;
        let at = |(image, o, pixel): (usize, usize, usize)| y[(image * pixels + pixel) * channels + o];
        let all = (0..self.batch).flat_map(|image| (0..self.outputs).map(move |o| (image, o)));
        all.flat_map(|(image, o)| (0..pixels).map(move |pixel| (image, o, pixel))).map(at).collect()
    }
}

/// Planes in another order.
fn in_order(planes: &[f32], batch: usize, channels: usize, pixels: usize, order: Order) -> Vec<f32> {
    let room = order.room(channels);
    if order == Order::Planes {
        return planes.to_vec();
    }
    let at = |i: usize| {
        let (image, pixel, channel) = (i / room / pixels, i / room % pixels, i % room);
        if channel < channels { planes[(image * channels + channel) * pixels + pixel] } else { 0. }
    };
    (0..batch * pixels * room).map(at).collect()
}

/// All levels that this processor has.
fn levels() -> Vec<Level> {
    let mut levels = vec![Level::Portable];
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        if has!("avx2") && has!("fma") && has!("f16c") {
            levels.push(Level::Avx2);
        }
        if has!("avx512f") {
            levels.push(Level::Avx512);
        }
    }
    levels
}

fn in_threads(threads: usize, part: &Part<'_>) {
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || part(thread));
        }
    });
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|x| x.to_bits()).collect()
}

fn case() -> impl Strategy<Value = Case> {
    let order = || prop_oneof![Just(Order::Planes), Just(Order::ChannelsLast)];
    let activation =
        prop_oneof![Just(Activation::None), Just(Activation::Relu), (0f32..2.).prop_map(Activation::Leaky)];
    // Few outputs, which are computed otherwise, as often as many.
    let outputs = prop_oneof![1usize..=FEW, FEW + 1..80];
    (1usize..40, outputs, prop::array::uniform2(1usize..9), 1usize..4, 1usize..4, activation, order(), order())
        .prop_map(|(inputs, outputs, size, batch, threads, activation, from, to)| Case {
            inputs,
            outputs,
            size,
            batch,
            threads,
            activation,
            from,
            to,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 3 } else { 200 }, ..ProptestConfig::default() })]

    #[test]
    fn layers_are_what_they_are_defined_as_with_the_same_bits_everywhere(case in case()) {
        let (expected, found) = (case.expected(), case.computed(Level::Portable));
        prop_assert_eq!(expected.len(), found.len());
        // Some hundred terms of up to 1 are added up.
        let scale = (16 * case.inputs) as f64;
        let far = expected.iter().zip(&found).map(|(a, &b)| (a - f64::from(b)).abs()).fold(0., f64::max);
        prop_assert!(far <= 1e-6 * scale, "{far} where {} is allowed", 1e-6 * scale);
        let found = bits(&found);
        for level in levels() {
            for threads in [1, case.threads] {
                prop_assert!(bits(&Case { threads, ..case.clone() }.computed(level)) == found, "{level:?}, {threads} threads");
            }
        }
        // The first image alone.
        let one = bits(&Case { batch: 1, ..case.clone() }.computed(Level::here()));
        prop_assert!(one == found[..one.len()]);
        // Numbers that come and go in another order.
        let turned = Case { from: Order::ChannelsLast, to: Order::Planes, ..case.clone() };
        prop_assert!(bits(&turned.computed(Level::here())) == found);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 3 } else { 200 }, ..ProptestConfig::default() })]

    #[test]
    fn projections_are_what_they_are_defined_as_with_the_same_bits_everywhere(
        inner in 1usize..70, channels in 1usize..40, size in prop::array::uniform2(1usize..6), batch in 1usize..30,
        threads in 1usize..4, relu: bool, half: bool, transposed: bool,
    ) {
        let pixels = size[0] * size[1];
        let columns = channels * pixels;
        let halves: Vec<f16> = numbers(inner * columns, 0.3).into_iter().map(f16::from_f32).collect();
        let wide: Vec<f32> = halves.iter().map(|x| x.to_f32()).collect();
        let weight = |row: usize, column: usize| match transposed {
            true => wide[column * inner + row],
            false => wide[row * columns + column],
        };
        let (x, bias) = (numbers(batch * inner, 0.1), numbers(columns, 0.7));
        let layer = Projected {
            weights: if half { Numbers::F16(halves) } else { Numbers::F32(wide.clone()) },
            transposed,
            bias: bias.clone(),
            activation: if relu { Activation::Relu } else { Activation::Leaky(0.1) },
            size,
        };
        let room = Order::ChannelsLast.room(channels);
        let computed = |level: Level, batch: usize, threads: usize| {
            let layer = Projection::with(&layer, level).expect("has memory");
            assert_eq!((layer.input_len(), layer.scratch(batch, threads)), (inner, 0));
            assert_eq!(layer.output_shape(batch), [batch, size[0], size[1], room]);
            let mut y = vec![f32::NAN; batch * pixels * room + PANEL];
            let task = Task { batch, x: x.as_ptr(), y: y.as_mut_ptr(), scratch: std::ptr::null_mut() };
            // SAFETY: all are as long as they have to be.
            unsafe { layer.run(task, threads, &mut |part| in_threads(threads, part)) };
            assert!(y.split_off(batch * pixels * room).iter().all(|x| x.is_nan()), "something is written beyond the end");
            y
        };
        let found = computed(Level::Portable, batch, 1);
        for (at, &y) in found.iter().enumerate() {
            let (row, pixel, channel) = (at / room / pixels, at / room % pixels, at % room);
            if channel >= channels {
                prop_assert_eq!(y, 0.);
                continue;
            }
            let column = channel * pixels + pixel;
            let terms = (0..inner).map(|i| f64::from(x[row * inner + i]) * f64::from(weight(i, column)));
            let sum = f64::from(bias[column]) + terms.sum::<f64>();
            let expected = if sum > 0. { sum } else if relu { 0. } else { 0.1 * sum };
            prop_assert!((expected - f64::from(y)).abs() <= 1e-6 * inner as f64, "{at}: {y} for {expected}");
        }
        for level in levels() {
            prop_assert!(bits(&computed(level, batch, threads)) == bits(&found), "{level:?}");
            prop_assert!(bits(&computed(level, 1, threads)) == bits(&found[..pixels * room]), "{level:?}, one row");
        }
    }
}

#[test]
fn what_is_no_number_stays_none() {
    for outputs in [1, FEW + 1] {
        for activation in [Activation::None, Activation::Relu, Activation::Leaky(0.2)] {
            let case = Case {
                inputs: 1,
                outputs,
                size: [1, 1],
                batch: 1,
                threads: 1,
                activation,
                from: Order::Planes,
                to: Order::Planes,
            };
            for level in levels() {
                let layer = case.layer(level);
                let (x, mut y) = ([f32::NAN], vec![0f32; 4 * outputs]);
                let mut scratch = vec![0f32; layer.scratch(1, 1)];
                let task = Task { batch: 1, x: x.as_ptr(), y: y.as_mut_ptr(), scratch: scratch.as_mut_ptr() };
                // SAFETY: all are as long as they have to be.
                unsafe { layer.run(task, 1, &mut |part| part(0)) };
                assert!(y.iter().all(|y| y.is_nan()), "{outputs} outputs, {activation:?}, {level:?}");
            }
        }
    }
}

#[test]
fn more_than_there_is_memory_for_is_told() {
    assert!(filled(Line([0.; PANEL]), usize::MAX / 64).is_err());
    assert_eq!(filled(3u8, 5).expect("has memory"), [3; 5]);
}

#[test]
fn shares_are_all_of_it() {
    for (count, threads) in [(0, 3), (1, 3), (7, 3), (24, 1), (25, 24)] {
        let shares: Vec<_> = (0..threads).map(|thread| share(count, thread, threads)).collect();
        assert_eq!((shares[0].start, shares[threads - 1].end), (0, count));
        assert!(shares.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert!(shares.iter().all(|share| share.len() <= count.div_ceil(threads)));
    }
}
