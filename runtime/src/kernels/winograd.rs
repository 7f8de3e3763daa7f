//! By Winograd's algorithm F(2, 2) (Lavin and Gray, 2016, for convolutions), for both remainders of an output's row at once.
//!
//! Along one axis, with the taps k of the kernel, output 2 i is x\[i - 1\] k3 + x\[i\] k1, and output 2 i + 1 is
//! x\[i\] k2 + x\[i + 1\] k0. For a pair of inputs i = 2 t and 2 t + 1, with a = x\[i - 1\], b = x\[i\], c = x\[i + 1\] and d = x\[i + 2\],
//! the four outputs need eight products as they are written, and six as
//!
//! - y0 = b (k1 + k3) + (a - b) k3
//! - y1 = c (k0 + k2) + (c - b) (-k2)
//! - y2 = b (k1 + k3) + (c - b) k1
//! - y3 = c (k0 + k2) + (c - d) (-k0)
//!
//! Along both axes there are 36 for a tile of 2 x 2 inputs instead of 64, of 5 x 5 different terms. For each of the 36, the
//! terms of many tiles are rows of a product of matrices, whose inner dimension are the inputs.

use super::lanes::{Lanes, PANEL};
use super::product::{Panels, Rows, product};
use super::{Doubling, Line, NoMemory, Order, Task, Written, filled, share};
use std::ops::Range;

/// Tiles that are computed at once: while weights come from far, each must meet many rows.
const TILES: usize = 24;
/// Different terms along an axis: b, c, c - b, a - b, c - d.
const TERMS: usize = 5;
/// Products along an axis.
const PRODUCTS: usize = 6;
/// The term of each product along an axis.
const TERM: [usize; PRODUCTS] = [0, 1, 2, 2, 3, 4];
/// Channels of the output that are computed at once.
const CHANNELS: usize = 2 * PANEL;

/// Weights [panels, products, products, inputs filled up, PANEL].
pub(super) fn arranged(layer: &Written<'_>) -> Result<Vec<Line>, NoMemory> {
    /// Numbers of the outputs of a panel.
    type Each = [f32; PANEL];
    let (inputs, outputs) = (layer.inputs, layer.outputs);
    let (pitch, panels) = (Order::ChannelsLast.room(inputs), outputs.div_ceil(PANEL));
    let mut weights = filled(Line([0.; PANEL]), panels * PRODUCTS * PRODUCTS * pitch)?;
    let sum = |a: Each, b: Each| -> Each { std::array::from_fn(|i| a[i] + b[i]) };
    let along = |[k0, k1, k2, k3]: [Each; 4]| [sum(k1, k3), sum(k0, k2), k1, k2.map(|k| -k), k3, k0.map(|k| -k)];
    for (input, taps) in layer.kernel.chunks_exact(16 * outputs).enumerate() {
        for (panel, outputs) in taps.as_chunks::<16>().0.chunks(PANEL).enumerate() {
            let mut taps = [[0.; PANEL]; 16];
            for (output, of_one) in outputs.iter().enumerate() {
                taps.iter_mut().zip(of_one).for_each(|(tap, &weight)| tap[output] = weight);
            }
            let rows: [[Each; PRODUCTS]; 4] = std::array::from_fn(|y| along(std::array::from_fn(|x| taps[4 * y + x])));
            for column in 0..PRODUCTS {
                for (row, weight) in along(rows.map(|row| row[column])).into_iter().enumerate() {
                    weights[((panel * PRODUCTS + row) * PRODUCTS + column) * pitch + input] = Line(weight);
                }
            }
        }
    }
    Ok(weights)
}

/// Numbers that a thread needs room for: the terms of the tiles at hand, and their products.
pub(super) fn scratch(layer: &Doubling) -> usize {
    TERMS * TERMS * TILES * layer.pitch() + PRODUCTS * PRODUCTS * TILES * CHANNELS
}

/// Which tile of which image.
#[derive(Clone, Copy)]
struct Tile {
    image: usize,
    row: usize,
    column: usize,
}

impl Tile {
    fn of(layer: &Doubling, number: usize) -> Self {
        let [rows, columns] = layer.size.map(|n| n.div_ceil(2));
        Self { image: number / columns / rows, row: number / columns % rows, column: number % columns }
    }
}

/// The part of thread number `thread`.
///
/// # Safety
/// As [`Parts::part`](super::Parts::part); the input lies channels last.
#[inline(always)]
pub(super) unsafe fn part<L: Lanes>(layer: &Doubling, task: Task, thread: usize, threads: usize) {
    let tiles = task.batch * layer.size.map(|n| n.div_ceil(2)).iter().product::<usize>();
    let panels = layer.outputs.div_ceil(PANEL);
    // Where there are few tiles, each thread has all of them and some of the weights, of which there are then many.
    let (tiles, panels) = match tiles >= threads * TILES || panels < threads {
        true => (share(tiles, thread, threads), 0..panels),
        false => (0..tiles, share(panels, thread, threads)),
    };
    let blocks = tiles.len().div_ceil(TILES);
    for block in 0..blocks {
        let block = share(tiles.len(), block, blocks);
        // SAFETY: the caller's promise; other threads have other tiles or panels.
        unsafe {
            self::block::<L>(layer, task, tiles.start + block.start..tiles.start + block.end, panels.clone());
        }
    }
}

/// Tiles that are computed at once: first those that the image has all of, then those that have one input where others have a
/// pair, as the image has an odd number of columns, of rows, of both.
struct Tiles {
    tiles: [Tile; TILES],
    /// Where each of the four kinds ends.
    ends: [usize; 4],
}

/// The products along an axis that tiles with one input there have to do without: the second output of the pair that they do
/// not make alone, and what are products with zeros.
const OF_PAIRS: [usize; 3] = [1, 2, 5];
/// That of them which an output is made with: zeros.
const ZERO: usize = 1;

impl Tiles {
    /// These, at most [`TILES`].
    fn new(layer: &Doubling, numbers: Range<usize>) -> Self {
        let [height, width] = layer.size;
        let mut this = Self { tiles: [Tile { image: 0, row: 0, column: 0 }; TILES], ends: [0; 4] };
        let mut count = 0;
        for (kind, end) in this.ends.iter_mut().enumerate() {
            for tile in numbers.clone().map(|number| Tile::of(layer, number)) {
                let is_narrow = 2 * tile.column + 1 == width;
                let is_low = 2 * tile.row + 1 == height;
                if usize::from(is_narrow) + 2 * usize::from(is_low) == kind {
                    this.tiles[count] = tile;
                    count += 1;
                }
            }
            *end = count;
        }
        this
    }

    fn all(&self) -> &[Tile] {
        &self.tiles[..self.ends[3]]
    }

    /// Which have the product of this row and column, and which have not.
    fn having(&self, row: usize, column: usize) -> ([Range<usize>; 2], [Range<usize>; 2]) {
        let [whole, narrow, low, end] = self.ends;
        match (OF_PAIRS.contains(&row), OF_PAIRS.contains(&column)) {
            (false, false) => ([0..end, 0..0], [0..0, 0..0]),
            (true, false) => ([0..narrow, 0..0], [narrow..end, 0..0]),
            (false, true) => ([0..whole, narrow..low], [whole..narrow, low..end]),
            (true, true) => ([0..whole, 0..0], [whole..end, 0..0]),
        }
    }
}

/// These tiles, at most [`TILES`], for these panels of the output's channels.
///
/// # Safety
/// As [`part`].
#[inline(always)]
unsafe fn block<L: Lanes>(layer: &Doubling, task: Task, numbers: Range<usize>, panels: Range<usize>) {
    let (tiles, pitch) = (Tiles::new(layer, numbers), layer.pitch());
    let (terms, products) = (task.scratch, task.scratch.wrapping_add(TERMS * TERMS * TILES * pitch));
    for (i, &tile) in tiles.all().iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { write_terms::<L>(layer, task.x, tile, terms.add(i * pitch)) };
    }
    let mut first = panels.start;
    while first < panels.end {
        let two = first + 1 < panels.end;
        for (row, row_term) in TERM.into_iter().enumerate() {
            for (column, column_term) in TERM.into_iter().enumerate() {
                let (term, number) = (row_term * TERMS + column_term, row * PRODUCTS + column);
                let (having, others) = tiles.having(row, column);
                // SAFETY: there are so many terms and products in the scratch, and weights in the panels.
                unsafe {
                    let a = Rows { data: terms.add(term * TILES * pitch).cast_const(), pitch };
                    let data = layer.weights.as_ptr().add((first * PRODUCTS * PRODUCTS + number) * pitch);
                    let b = Panels { data: data.cast::<f32>(), pitch: PRODUCTS * PRODUCTS * pitch * PANEL, two };
                    let out = Rows { data: products.add(number * TILES * CHANNELS), pitch: CHANNELS };
                    for tiles in having {
                        product::<L, f32>(tiles.len(), pitch, a.from(tiles.start), b, out.from(tiles.start));
                    }
                    for tiles in others.into_iter().filter(|_| row == ZERO || column == ZERO) {
                        out.from(tiles.start).data.write_bytes(0, tiles.len() * CHANNELS);
                    }
                }
            }
        }
        let end = first + 1 + usize::from(two);
        for (i, &tile) in tiles.all().iter().enumerate() {
            for channel in (first * PANEL..end * PANEL).step_by(L::LEN) {
                // SAFETY: the products of all tiles and panels were written, but for those of outputs that are not; the rest is
                // the caller's promise.
                unsafe {
                    let from = products.add(i * CHANNELS + channel - first * PANEL);
                    write_outputs::<L>(layer, from, tile, channel, task.y);
                }
            }
        }
        first = end;
    }
}

/// Writes the terms [terms, terms, tiles, inputs] of a tile, of which `to` is the first.
///
/// # Safety
/// As [`part`].
#[inline(always)]
unsafe fn write_terms<L: Lanes>(layer: &Doubling, x: *const f32, tile: Tile, to: *mut f32) {
    let ([height, width], pitch) = (layer.size, layer.pitch());
    // SAFETY: rows and columns that the image has not are not read; the scratch has room for all terms.
    unsafe {
        let zero = L::splat(0.);
        macro_rules! along {
            ($x:expr) => {{
                let [a, b, c, d] = $x;
                [b, c, c.sub(b), a.sub(b), c.sub(d)]
            }};
        }
        let image = x.add(tile.image * height * width * pitch);
        for channel in (0..pitch).step_by(L::LEN) {
            let mut rows = [[zero; TERMS]; 4];
            for (r, terms) in rows.iter_mut().enumerate() {
                // Of the row above the image this is a large number.
                let row = (2 * tile.row + r).wrapping_sub(1);
                if row >= height {
                    continue;
                }
                let mut pixels = [zero; 4];
                for (c, pixel) in pixels.iter_mut().enumerate() {
                    let column = (2 * tile.column + c).wrapping_sub(1);
                    if column < width {
                        *pixel = L::load(image.add((row * width + column) * pitch + channel));
                    }
                }
                *terms = along!(pixels);
            }
            for column in 0..TERMS {
                let terms = along!(rows.map(|row| row[column]));
                for (row, term) in terms.into_iter().enumerate() {
                    term.store(to.add((row * TERMS + column) * TILES * pitch + channel));
                }
            }
        }
    }
}

/// Writes the outputs of a tile, of the channels from `channel` on, out of the products [products, products, tiles,
/// channels], of which `from` is the first.
///
/// # Safety
/// As [`part`].
#[inline(always)]
unsafe fn write_outputs<L: Lanes>(layer: &Doubling, from: *const f32, tile: Tile, channel: usize, y: *mut f32) {
    let [height, width] = layer.size.map(|n| 2 * n);
    // SAFETY: the scratch has all products; rows, columns and channels that the output has not are not written.
    unsafe {
        macro_rules! along {
            ($p:expr) => {{
                let p = $p;
                [p[0].add(p[4]), p[1].add(p[3]), p[0].add(p[2]), p[1].add(p[5])]
            }};
        }
        let zero = L::splat(0.);
        let bias = L::load(layer.bias.as_ptr().add(channel));
        let mut rows = [[zero; PRODUCTS]; 4];
        for column in 0..PRODUCTS {
            let mut products = [zero; PRODUCTS];
            for (row, product) in products.iter_mut().enumerate() {
                *product = L::load(from.add((row * PRODUCTS + column) * TILES * CHANNELS));
            }
            for (row, sum) in rows.iter_mut().zip(along!(products)) {
                row[column] = sum;
            }
        }
        for (r, products) in rows.into_iter().enumerate() {
            let row = 4 * tile.row + r;
            if row >= height {
                break;
            }
            for (c, sum) in along!(products).into_iter().enumerate() {
                let column = 4 * tile.column + c;
                if column >= width {
                    break;
                }
                let sum = sum.add(bias);
                let value = layer.activation.of(sum);
                let pixel = row * width + column;
                match layer.to {
                    Order::ChannelsLast => {
                        let room = layer.to.room(layer.outputs);
                        value.store(y.add((tile.image * height * width + pixel) * room + channel));
                    }
                    Order::Planes => {
                        let mut values = [0f32; PANEL];
                        value.store(values.as_mut_ptr());
                        for (i, &value) in
                            values.iter().enumerate().take(L::LEN.min(layer.outputs.saturating_sub(channel)))
                        {
                            *y.add(((tile.image * layer.outputs + channel + i) * height) * width + pixel) = value;
                        }
                    }
                }
            }
        }
    }
}
