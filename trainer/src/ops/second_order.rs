//! Second derivatives: candle gives them only when asked to.
//!
//! `Tensor::backward` cuts the graph of the gradients it computes unless the environment variable
//! `CANDLE_GRAD_DO_NOT_DETACH` is set (not empty, not `0`); each thread reads it once, at its first backward pass. Without it
//! a penalty on a gradient trains on wrong numbers in silence.

use super::{leaky_relu, softplus, tanh};
use candle_core::{Device, Result, Var};

/// The variable that makes candle keep the graph of gradients.
const VARIABLE: &str = "CANDLE_GRAD_DO_NOT_DETACH";

/// Makes candle keep the graph of gradients, in every thread that has not run a backward pass yet.
///
/// # Safety
/// Sets an environment variable: to be called while the process has one thread, before candle is used.
pub unsafe fn keep_gradients_attached() {
    // SAFETY: the caller promises that there is no other thread that could read the environment.
    unsafe { std::env::set_var(VARIABLE, "1") }
}

/// Whether second derivatives come out right on this thread: compares those of a small graph with their closed forms.
///
/// To be asked before a gradient is penalised. The first backward pass of a thread decides for its whole life, and this
/// may be it.
///
/// # Errors
/// Those of candle.
pub fn second_order_works() -> Result<bool> {
    const SLOPE: f64 = 0.2;
    let points = [-1.5, -0.3, 0.4, 2.];
    let x = Var::new(&points, &Device::Cpu)?;
    let y = ((tanh(&x)? * softplus(&x)?)? + leaky_relu(&x, SLOPE)?.sqr()?)?;
    let Some(first) = y.sum_all()?.backward()?.remove(&x) else { return Ok(false) };
    let Some(second) = first.sum_all()?.backward()?.remove(&x) else { return Ok(false) };
    let exact = points.map(|x: f64| {
        let (t, s, p) = (x.tanh(), 1. / (1. + (-x).exp()), x.exp().ln_1p());
        let slope = if x < 0. { SLOPE } else { 1. };
        // (t p)'' = t'' p + 2 t' p' + t p'', with t' = 1 - t^2 and p' = s.
        let first = 1. - t * t;
        -2. * t * first * p + 2. * first * s + t * s * (1. - s) + 2. * slope * slope
    });
    Ok(second.to_vec1::<f64>()?.iter().zip(exact).all(|(value, exact)| (value - exact).abs() < 1e-12))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check_second_order, values};
    use std::process::Command;

    /// What this process finds: that second derivatives work and can be checked, or that they do not and the check says
    /// so. Printed for [`the_variable_decides`].
    #[test]
    fn the_check_fails_loudly_where_gradients_are_detached() -> Result<()> {
        let works = second_order_works()?;
        let check = || check_second_order(&[values(&[3], 1)?], |v| v[0].sqr()?.sqr());
        match std::thread::spawn(check).join() {
            Ok(checked) => {
                checked?;
                assert!(works);
            }
            Err(panic) => {
                let message = panic.downcast_ref::<&str>().copied().unwrap_or("another panic");
                assert!(!works && message.contains(VARIABLE), "{message}");
            }
        }
        println!("second order works: {works}");
        Ok(())
    }

    #[test]
    fn the_variable_decides() {
        let find = |value: Option<&str>| -> String {
            let name = "ops::second_order::tests::the_check_fails_loudly_where_gradients_are_detached";
            let mut command = Command::new(std::env::current_exe().expect("the test's own program"));
            command.args(["--exact", name, "--nocapture"]).env_remove(VARIABLE);
            if let Some(value) = value {
                command.env(VARIABLE, value);
            }
            let output = command.output().expect("a process");
            assert!(output.status.success(), "{output:?}");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        for value in [None, Some(""), Some("0")] {
            assert!(find(value).contains("second order works: false"), "{value:?}");
        }
        assert!(find(Some("1")).contains("second order works: true"));
    }
}
