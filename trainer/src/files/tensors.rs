//! Safetensors whose bytes depend on their content alone.

use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};

/// The safetensors file of `tensors` and `metadata`.
///
/// # Errors
/// Tensors of a type that the format lacks.
pub fn safetensors_bytes<'a>(
    tensors: impl IntoIterator<Item = (String, &'a Tensor)>,
    metadata: BTreeMap<String, String>,
) -> candle_core::Result<Vec<u8>> {
    Contents::new(tensors)?.file(&metadata)
}

/// Tensors as a safetensors file has them, copied from where they were.
pub struct Contents(Vec<(String, Stored)>);

impl Contents {
    /// Of tensors on any device.
    ///
    /// # Errors
    /// Tensors of a type that the format lacks.
    pub fn new<'a>(tensors: impl IntoIterator<Item = (String, &'a Tensor)>) -> candle_core::Result<Self> {
        tensors.into_iter().map(|(name, t)| Ok((name, Stored::new(t)?))).collect::<candle_core::Result<_>>().map(Self)
    }

    /// The SHA-256 of every tensor's type, shape and bytes, by its name.
    pub fn hashes(&self) -> impl Iterator<Item = (&str, String)> {
        self.0.iter().map(|(name, s)| (name.as_str(), tensor_sha256(s.dtype, &s.shape, &s.bytes)))
    }

    /// The first tensor that holds a number that is not finite.
    pub fn not_finite(&self) -> Option<&str> {
        self.0.iter().find(|(_, s)| !is_finite(s.dtype, &s.bytes)).map(|(name, _)| name.as_str())
    }

    /// The safetensors file, with `metadata`.
    ///
    /// # Errors
    /// Tensors that the format refuses.
    pub fn file(&self, metadata: &BTreeMap<String, String>) -> candle_core::Result<Vec<u8>> {
        file(&self.0, metadata)
    }
}

/// SHA-256 of a tensor's type, shape and bytes, in lower-case hexadecimal digits.
pub(crate) fn tensor_sha256(dtype: Dtype, shape: &[usize], bytes: &[u8]) -> String {
    let hash = Sha256::new().chain_update(format!("{dtype:?} {shape:?}\n")).chain_update(bytes).finalize();
    super::hex(&hash)
}

/// Whether all numbers of a tensor are.
pub(crate) fn is_finite(dtype: Dtype, bytes: &[u8]) -> bool {
    match dtype {
        Dtype::F16 => bytes.as_chunks().0.iter().all(|&b| half::f16::from_le_bytes(b).is_finite()),
        Dtype::F32 => bytes.as_chunks().0.iter().all(|&b| f32::from_le_bytes(b).is_finite()),
        _ => bytes.as_chunks().0.iter().all(|&b| f64::from_le_bytes(b).is_finite()),
    }
}

/// The file. Its bytes depend on what is in it alone.
fn file(stored: &[(String, Stored)], metadata: &BTreeMap<String, String>) -> candle_core::Result<Vec<u8>> {
    let mut views = Vec::new();
    for (name, s) in stored {
        let view = TensorView::new(s.dtype, s.shape.clone(), &s.bytes).map_err(candle_core::Error::wrap)?;
        views.push((name.as_str(), view));
    }
    // The crate takes the metadata as a hash map, whose order differs from run to run: leave the place of one key, whose
    // value is as long as all of them, and put the sorted ones there.
    let sorted = serde_json::to_string(metadata).map_err(candle_core::Error::wrap)?;
    let filler = "x".repeat(sorted.len().saturating_sub(r#"{"x":""}"#.len()));
    let stand_in = HashMap::from([("x".to_owned(), filler.clone())]);
    let mut file = safetensors::serialize(views, Some(stand_in)).map_err(candle_core::Error::wrap)?;
    let pattern = format!(r#"{{"x":"{filler}"}}"#);
    let place = file.windows(pattern.len()).position(|window| window == pattern.as_bytes());
    match place {
        Some(start) if pattern.len() == sorted.len() => {
            file[start..start + sorted.len()].copy_from_slice(sorted.as_bytes())
        }
        _ => candle_core::bail!("safetensors: no place for metadata of {} bytes", sorted.len()),
    }
    Ok(file)
}

/// A tensor of a safetensors file, in its own type, `f32` or `f64`.
///
/// # Errors
/// No such tensor, another type.
pub(crate) fn read_tensor(file: &SafeTensors<'_>, name: &str) -> candle_core::Result<Tensor> {
    let view = file.tensor(name).map_err(candle_core::Error::wrap)?;
    let (shape, data, device) = (view.shape(), view.data(), &Device::Cpu);
    match view.dtype() {
        Dtype::F32 => {
            Tensor::from_iter(data.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)), device)?.reshape(shape)
        }
        Dtype::F64 => {
            Tensor::from_iter(data.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)), device)?.reshape(shape)
        }
        other => candle_core::bail!("{name} is {other:?}, allowed are F32 and F64"),
    }
}

/// A tensor as the format stores it.
struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Stored {
    fn new(t: &Tensor) -> candle_core::Result<Self> {
        let flat = t.flatten_all()?;
        let (dtype, bytes) = match t.dtype() {
            DType::F16 => (Dtype::F16, flat.to_vec1::<half::f16>()?.iter().flat_map(|v| v.to_le_bytes()).collect()),
            DType::F32 => (Dtype::F32, flat.to_vec1::<f32>()?.iter().flat_map(|v| v.to_le_bytes()).collect()),
            DType::F64 => (Dtype::F64, flat.to_vec1::<f64>()?.iter().flat_map(|v| v.to_le_bytes()).collect()),
            other => candle_core::bail!("safetensors: only f16, f32 and f64 are stored, not {other:?}"),
        };
        Ok(Self { dtype, shape: t.dims().to_vec(), bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn safetensors_hold_tensors_and_sorted_metadata() -> candle_core::Result<()> {
        let a = Tensor::new(&[[1f32, 2.], [3., 4.]], &Device::Cpu)?;
        let b = Tensor::new(&[1f32], &Device::Cpu)?.to_dtype(DType::F16)?;
        let metadata: BTreeMap<_, _> = (0..20).map(|i| (format!("key{i}"), format!("\"quoted\"\n{i}"))).collect();
        let bytes = safetensors_bytes([("a".into(), &a), ("b".into(), &b)], metadata.clone())?;
        assert_eq!(bytes, safetensors_bytes([("a".into(), &a), ("b".into(), &b)], metadata.clone())?);
        let file = safetensors::SafeTensors::deserialize(&bytes).expect("reads");
        assert_eq!(file.tensor("a").expect("a").shape(), [2, 2]);
        assert_eq!(file.tensor("b").expect("b").data(), half::f16::ONE.to_le_bytes());
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).expect("reads");
        let read: BTreeMap<_, _> = header.metadata().clone().expect("metadata").into_iter().collect();
        assert_eq!(read, metadata);
        Ok(())
    }

    #[test]
    fn hashes_tell_numbers_shapes_and_types_apart() -> candle_core::Result<()> {
        let zeros = |shape: &[usize], dtype| Tensor::zeros(shape, dtype, &Device::Cpu);
        let mut all = [zeros(&[2, 2], DType::F32)?, zeros(&[4], DType::F32)?, zeros(&[2], DType::F64)?].to_vec();
        all.push(Tensor::new(&[0f32, 0., 0., f32::NAN], &Device::Cpu)?);
        let contents = Contents::new(all.iter().enumerate().map(|(i, t)| (i.to_string(), t)))?;
        let hashes: std::collections::BTreeSet<String> = contents.hashes().map(|(_, hash)| hash).collect();
        assert_eq!(hashes.len(), 4);
        assert_eq!(contents.not_finite(), Some("3"));
        // `printf 'F32 [4]\n' | cat - <(head -c 16 /dev/zero) | sha256sum`
        assert!(hashes.contains("8acbe1416c8996e39b74f5353c83964811008e109244559e52ae3223cca16a64"));
        Ok(())
    }
}
