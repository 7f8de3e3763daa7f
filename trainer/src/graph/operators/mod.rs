//! What networks are made of: an operator a file.

mod add;
mod batch_norm;
mod channel_affine;
mod concat;
mod convolution;
mod deviation;
mod elementwise;
mod inner_product;
mod kernel_energy;
mod layer;
mod linear;
mod normalisation;
mod pool;
mod resample;
mod reshape;
mod sample_scale;
mod sample_shift;
mod scale;
mod spectral_norm;
mod sum_positions;
mod take_rows;
#[cfg(test)]
mod tests;
mod transposed_convolution;
mod window;

pub use add::Add;
pub use batch_norm::BatchNorm;
pub use channel_affine::ChannelAffine;
pub use concat::Concat;
pub use convolution::Convolution;
pub use deviation::MinibatchDeviation;
pub use elementwise::Elementwise;
pub use inner_product::InnerProduct;
pub use kernel_energy::KernelEnergy;
pub use linear::Linear;
pub use normalisation::{Normalisation, Normalised};
pub use pool::AveragePool;
pub use resample::{PixelShuffle, Upsample};
pub use reshape::{Layout, Reshape};
pub use sample_scale::SampleScale;
pub use sample_shift::SampleShift;
pub use scale::Scale;
pub use spectral_norm::SpectralNorm;
pub use sum_positions::SumPositions;
pub use take_rows::TakeRows;
pub use transposed_convolution::TransposedConvolution;
