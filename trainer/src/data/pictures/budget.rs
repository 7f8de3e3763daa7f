//! A budget that threads share: of bytes, of open files. Who wants more than is free waits for others to give back.
//!
//! Whoever holds a part must neither take another part of the same budget nor wait for another thread: then somebody can
//! always go on.

use std::sync::{Condvar, Mutex, PoisonError};

/// So much, of something.
#[derive(Debug)]
pub struct Budget {
    total: u64,
    state: Mutex<State>,
    given_back: Condvar,
}

#[derive(Debug)]
struct State {
    free: u64,
    /// Threads that wait: to wake nobody costs a call of the system, too.
    waiting: usize,
}

/// A part of a budget, given back when it is dropped.
#[derive(Debug)]
pub struct Held<'a> {
    budget: &'a Budget,
    amount: u64,
}

impl Budget {
    /// A budget of which nothing is taken.
    pub fn new(total: u64) -> Self {
        Self { total, state: Mutex::new(State { free: total, waiting: 0 }), given_back: Condvar::new() }
    }

    /// Takes `amount`, or everything where there is less in all.
    pub fn take(&self, amount: u64) -> Held<'_> {
        let amount = amount.min(self.total);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting += 1;
        let enough = self.given_back.wait_while(state, |state| state.free < amount);
        let mut state = enough.unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state.free -= amount;
        Held { budget: self, amount }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut state = self.budget.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.free += self.amount;
        if state.waiting > 0 {
            self.budget.given_back.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn no_more_than_the_budget_is_held_at_once_and_what_is_larger_is_alone() {
        let (budget, held, most) = (Budget::new(10), AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..6u64 {
                let (budget, held, most) = (&budget, &held, &most);
                scope.spawn(move || {
                    for round in 0..50 {
                        let amount = (thread * 7 + round) % 13 + 1;
                        let _part = budget.take(amount);
                        let now = held.fetch_add(amount.min(10), Ordering::SeqCst) + amount.min(10);
                        most.fetch_max(now, Ordering::SeqCst);
                        std::thread::yield_now();
                        held.fetch_sub(amount.min(10), Ordering::SeqCst);
                    }
                });
            }
        });
        assert!((2..=10).contains(&most.load(Ordering::SeqCst)), "{most:?}");
    }
}
