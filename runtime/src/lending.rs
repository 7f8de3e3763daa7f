//! Things that are lent, one to a caller, and given back.

use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Most things on a shelf: a bit of a word for each.
pub(crate) const MOST: usize = 64;

/// Things that lie here until they are lent.
pub(crate) struct Shelf<T> {
    state: Mutex<State<T>>,
    /// For who waits for any of them.
    returned: Condvar,
    /// For [`Shelf::each`], which waits for certain ones, one caller at a time.
    wanted_returned: Condvar,
    each: Mutex<()>,
    size: usize,
}

struct State<T> {
    /// Each with its number.
    idle: heapless::Vec<(usize, T), MOST>,
    /// The numbers, as bits, that [`Shelf::each`] waits for: nobody else is lent those, or it might wait for ever.
    wanted: u64,
}

impl<T> State<T> {
    fn is_wanted(&self, number: usize) -> bool {
        self.wanted >> number & 1 == 1
    }

    fn take(&mut self, fits: impl Fn(usize) -> bool) -> Option<(usize, T)> {
        let at = self.idle.iter().rposition(|(number, _)| fits(*number))?;
        Some(self.idle.swap_remove(at))
    }

    fn take_any(&mut self) -> Option<(usize, T)> {
        let wanted = self.wanted;
        self.take(|number| wanted >> number & 1 == 0)
    }
}

impl<T> Shelf<T> {
    /// A shelf with these things, of which it takes at most [`MOST`].
    pub(crate) fn new(things: impl IntoIterator<Item = T>) -> Self {
        let idle: heapless::Vec<_, MOST> = things.into_iter().take(MOST).enumerate().collect();
        Self {
            size: idle.len(),
            state: Mutex::new(State { idle, wanted: 0 }),
            returned: Condvar::new(),
            wanted_returned: Condvar::new(),
            each: Mutex::new(()),
        }
    }

    /// How many there are, lent ones included.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Lends one; waits while there is none.
    pub(crate) fn lend(&self) -> Loan<'_, T> {
        let mut state = self.state();
        loop {
            match state.take_any() {
                Some((number, thing)) => break self.loan(number, thing),
                None => state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Lends one; waits so long while there is none.
    pub(crate) fn lend_timeout(&self, limit: Duration) -> Option<Loan<'_, T>> {
        // One that the clock does not reach is none.
        let Some(deadline) = Instant::now().checked_add(limit) else { return Some(self.lend()) };
        let mut state = self.state();
        loop {
            if let Some((number, thing)) = state.take_any() {
                break Some(self.loan(number, thing));
            }
            let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            state = self.returned.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Lends one, if there is one.
    pub(crate) fn try_lend(&self) -> Option<Loan<'_, T>> {
        let (number, thing) = self.state().take_any()?;
        Some(self.loan(number, thing))
    }

    /// Uses every one once, one after the other, and waits for those that are lent; meanwhile the others can be lent.
    ///
    /// # Errors
    /// The first of `use_it`, after which the rest are not used.
    pub(crate) fn each<E>(&self, mut use_it: impl FnMut(&mut T) -> Result<(), E>) -> Result<(), E> {
        let _one_at_a_time = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = if self.size == MOST { u64::MAX } else { (1 << self.size) - 1 };
        while left != 0 {
            let mut loan = self.lend_of(left);
            left &= !(1 << loan.number);
            use_it(&mut loan)?;
        }
        Ok(())
    }

    /// Lends one of these numbers; waits while there is none.
    fn lend_of(&self, numbers: u64) -> Loan<'_, T> {
        let mut state = self.state();
        loop {
            if let Some((number, thing)) = state.take(|number| numbers >> number & 1 == 1) {
                break self.loan(number, thing);
            }
            state.wanted = numbers;
            state = self.wanted_returned.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.wanted = 0;
            // More than one may have come back, of which nobody else was told.
            self.returned.notify_all();
        }
    }

    fn loan(&self, number: usize, thing: T) -> Loan<'_, T> {
        Loan { shelf: self, number, thing: ManuallyDrop::new(thing) }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        // The state is whole after every statement under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thing that is given back when this is dropped, even by a panic: others wait for it.
pub(crate) struct Loan<'a, T> {
    shelf: &'a Shelf<T>,
    number: usize,
    thing: ManuallyDrop<T>,
}

impl<T> Deref for Loan<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.thing
    }
}

impl<T> DerefMut for Loan<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.thing
    }
}

impl<T> Drop for Loan<'_, T> {
    fn drop(&mut self) {
        // SAFETY: the field is not used after this, the last use of the struct.
        let thing = unsafe { ManuallyDrop::take(&mut self.thing) };
        let mut state = self.shelf.state();
        // There is room: it came from there.
        let _ = state.idle.push((self.number, thing));
        let is_wanted = state.is_wanted(self.number);
        drop(state);
        match is_wanted {
            true => self.shelf.wanted_returned.notify_one(),
            false => self.shelf.returned.notify_one(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;
    use std::thread;

    /// A shelf whose things count how often [`Shelf::each`] has used them.
    fn shelf(size: usize) -> Shelf<u32> {
        Shelf::new(vec![0; size])
    }

    fn count(used: &mut u32) -> Result<(), Infallible> {
        *used += 1;
        Ok(())
    }

    fn uses(shelf: &Shelf<u32>) -> Vec<u32> {
        let loans: Vec<_> = (0..shelf.size()).map(|_| shelf.lend()).collect();
        assert!(shelf.try_lend().is_none(), "all are lent");
        loans.iter().map(|loan| **loan).collect()
    }

    #[test]
    fn others_are_lent_while_one_is_used() {
        let shelf = shelf(3);
        let all = shelf.each(|used| {
            // With the lock held, the first of these would wait for ever.
            let others = [shelf.try_lend(), shelf.try_lend()];
            assert!(others.iter().all(Option::is_some) && shelf.try_lend().is_none());
            count(used)
        });
        assert!(all.is_ok());
        assert_eq!(uses(&shelf), [1; 3]);
    }

    #[test]
    fn lent_ones_are_waited_for_and_kept_from_others() {
        let shelf = shelf(2);
        let lent = shelf.lend();
        let (used, was_used) = mpsc::channel();
        thread::scope(|scope| {
            let all = scope.spawn(|| {
                shelf.each(|thing| {
                    count(thing)?;
                    let _ = used.send(());
                    Ok::<(), Infallible>(())
                })
            });
            was_used.recv().expect("one is used");
            while shelf.state().wanted == 0 {
                thread::yield_now();
            }
            drop(shelf.try_lend().expect("the other one is free"));
            assert_eq!(*lent, 0);
            drop(lent);
            assert!(all.join().expect("no panic").is_ok());
        });
        assert_eq!(uses(&shelf), [1; 2]);
    }

    #[test]
    fn every_one_is_used_once_while_all_are_in_use() {
        for size in [1, 2, 5, MOST] {
            let (shelf, done) = (shelf(size), AtomicBool::new(false));
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        while !done.load(Ordering::Relaxed) {
                            let _loan = shelf.lend();
                            thread::yield_now();
                        }
                    });
                }
                let all = [0; 2].map(|_| scope.spawn(|| (0..20).try_for_each(|_| shelf.each(count))));
                all.into_iter().for_each(|all| assert!(all.join().expect("no panic").is_ok()));
                done.store(true, Ordering::Relaxed);
            });
            assert!(uses(&shelf).iter().all(|&used| used == 40), "{size}");
        }
    }

    #[test]
    fn who_waits_has_a_thing_in_time_or_none() {
        let shelf = shelf(1);
        let lent = shelf.lend();
        for limit in [Duration::ZERO, Duration::from_millis(20)] {
            let began = Instant::now();
            assert!(shelf.lend_timeout(limit).is_none() && began.elapsed() >= limit);
        }
        thread::scope(|scope| {
            for limit in [Duration::from_secs(1000), Duration::MAX] {
                let shelf = &shelf;
                scope.spawn(move || assert!(shelf.lend_timeout(limit).is_some()));
            }
            thread::sleep(Duration::from_millis(20));
            drop(lent);
        });
        assert!(shelf.lend_timeout(Duration::ZERO).is_some(), "what is there is lent at once");
    }

    #[test]
    fn after_an_error_all_are_there() {
        let shelf = shelf(3);
        assert_eq!(shelf.each(|_| Err("no")), Err("no"));
        assert_eq!(uses(&shelf), [0; 3]);
    }
}
