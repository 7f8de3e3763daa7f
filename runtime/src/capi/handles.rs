//! Handles: numbers that are looked up in tables of fixed size, so that a wrong one is an error and nothing worse.
//!
//! A handle's number says which table it belongs to, which place in it, and the how-many-eth object that place holds:
//! a closed handle is not taken for the next object in its place.

use super::status::{Failure, KilnStatus, discard, guard};
use crate::control::Canceller;
use crate::generator::Generator;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// Most generators open at once in a process.
pub const KILN_MAX_GENERATORS: usize = 256;
/// Most pools open at once in a process.
pub const KILN_MAX_POOLS: usize = 64;
/// Most streams open at once in a process; each has a thread.
pub const KILN_MAX_STREAMS: usize = 64;

/// A generator. `{0}` is the null handle, that no function takes for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct KilnGenerator {
    /// For the library alone; 0 is null.
    pub id: u64,
}

/// Generators for many threads. `{0}` is the null handle, that no function takes for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct KilnPool {
    /// For the library alone; 0 is null.
    pub id: u64,
}

/// A stream of frames. `{0}` is the null handle, that no function takes for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct KilnStream {
    /// For the library alone; 0 is null.
    pub id: u64,
}

pub(super) static GENERATORS: Table<Generator, KILN_MAX_GENERATORS> = Table::new(1, "generator");
pub(super) static POOLS: Table<super::pool::Shared, KILN_MAX_POOLS> = Table::new(3, "pool");
pub(super) static STREAMS: Table<super::stream::Running, KILN_MAX_STREAMS> = Table::new(2, "stream");

/// What a table holds.
pub(super) trait Object {
    /// What can be done to an object while it is in use.
    type Remote;

    fn remote(&self) -> Self::Remote;
}

impl Object for Generator {
    type Remote = Canceller;

    fn remote(&self) -> Canceller {
        self.canceller()
    }
}

/// No object's number: a number ends in its place, and no table has so many.
const RESERVED: u64 = u64::MAX;

pub(super) struct Table<T: Object, const N: usize> {
    slots: [Slot<T>; N],
    tag: u64,
    name: &'static str,
}

struct Slot<T: Object> {
    /// The number of the object here: 0 when there is none, `RESERVED` while one is being made.
    id: AtomicU64,
    /// How many have been here.
    count: AtomicU64,
    /// Locked while it is used. In a box, so that a table without objects is all zeros and takes no room in the library.
    object: Mutex<Option<Box<T>>>,
    /// Locked for moments only.
    beside: Mutex<Beside<T::Remote>>,
}

/// What is looked at while the object may be in use.
struct Beside<R> {
    /// None from when the object is to be closed.
    remote: Option<R>,
    /// The text of the last error.
    error: Option<Box<str>>,
}

impl<T: Object> Slot<T> {
    const fn new() -> Self {
        Self {
            id: AtomicU64::new(0),
            count: AtomicU64::new(0),
            object: Mutex::new(None),
            beside: Mutex::new(Beside { remote: None, error: None }),
        }
    }

    fn beside(&self) -> MutexGuard<'_, Beside<T::Remote>> {
        self.beside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the object out, and ends it.
    fn take(&self, mut guard: MutexGuard<'_, Option<Box<T>>>) {
        let object = guard.take();
        self.free();
        // The place is free for the next before this one has ended, which may take long.
        drop(guard);
        drop(object);
    }

    /// Frees the place of the object that was taken out.
    fn free(&self) {
        // Before somebody else can have the place.
        *self.beside() = Beside { remote: None, error: None };
        self.id.store(0, Ordering::SeqCst);
    }
}

impl<T: Object, const N: usize> Table<T, N> {
    const fn new(tag: u64, name: &'static str) -> Self {
        assert!(0 < tag && tag < 0xff && N <= 0xffff, "a number has 8 bits for the table and 16 for the place");
        Self { slots: [const { Slot::new() }; N], tag, name }
    }

    /// Puts what `make` makes into the table, and gives its number.
    pub(super) fn open(&self, make: impl FnOnce() -> Result<T, Failure>) -> Result<u64, Failure> {
        // Before the object is made, which may take long.
        let place = self.reserve()?;
        let object = Box::new(make()?);
        Ok(place.fill(object))
    }

    /// Lets `body` use an object, while nobody else does. If it panics, the object is in no known state: it is closed.
    pub(super) fn with<R>(&self, id: u64, body: impl FnOnce(&mut T) -> Result<R, Failure>) -> Result<R, Failure> {
        let (slot, mut guard) = self.lock(id)?;
        let Some(object) = guard.as_deref_mut() else { return Err(self.unknown(id)) };
        // Unwind safe: nobody looks at the object after a panic.
        catch_unwind(AssertUnwindSafe(|| body(object))).unwrap_or_else(|payload| {
            let object = guard.take();
            slot.free();
            drop(guard);
            let failure = Failure::panic(payload);
            discard(object);
            Err(failure)
        })
    }

    /// Takes an object out of the table.
    pub(super) fn close(&self, id: u64) -> Result<(), Failure> {
        let (slot, guard) = self.lock(id)?;
        slot.take(guard);
        Ok(())
    }

    /// The same also while others use the object: `let_go` has them come back, and is waited for.
    pub(super) fn close_used(&self, id: u64, let_go: impl FnMut(&T::Remote)) -> Result<(), Failure> {
        // From here on it counts as closed: who tries to use it while this waits is told so.
        let remote = self.beside(id)?.remote.take();
        remote.iter().for_each(let_go);
        let slot = self.slot(id)?;
        let guard = slot.object.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have closed it meanwhile.
        if slot.id.load(Ordering::SeqCst) != id {
            return Err(self.unknown(id));
        }
        slot.take(guard);
        Ok(())
    }

    /// Lets `body` use an object's remote, whoever uses the object meanwhile. `body` must not wait for anything.
    pub(super) fn reach<R>(&self, id: u64, body: impl FnOnce(&T::Remote) -> R) -> Result<R, Failure> {
        self.beside(id)?.remote.as_ref().map(body).ok_or_else(|| self.unknown(id))
    }

    /// Runs the body of a function that C calls with this handle, as [`guard`] does, and notes its error on the handle.
    pub(super) fn guard(&self, id: u64, body: impl FnOnce() -> Result<(), Failure>) -> KilnStatus {
        guard(|| body().inspect_err(|failure| self.note(id, failure)))
    }

    /// The text of the last error with this handle; empty if there was none.
    pub(super) fn last_error(&self, id: u64) -> Result<Box<str>, Failure> {
        Ok(self.beside(id)?.error.clone().unwrap_or_default())
    }

    fn note(&self, id: u64, failure: &Failure) {
        // They are not of a call that has used the object, or there is none any more.
        if matches!(failure.status, KilnStatus::Handle | KilnStatus::Busy | KilnStatus::Panic) {
            return;
        }
        if let Ok(mut beside) = self.beside(id) {
            beside.error = Some(failure.text.as_str().into());
        }
    }

    fn beside(&self, id: u64) -> Result<MutexGuard<'_, Beside<T::Remote>>, Failure> {
        let slot = self.slot(id)?;
        let beside = slot.beside();
        // It may have been closed in between, and the place have another object by now.
        match slot.id.load(Ordering::SeqCst) == id && beside.remote.is_some() {
            true => Ok(beside),
            false => Err(self.unknown(id)),
        }
    }

    fn reserve(&self) -> Result<Reserved<'_, T>, Failure> {
        let is_free =
            |slot: &Slot<T>| slot.id.compare_exchange(0, RESERVED, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        match self.slots.iter().enumerate().find(|(_, slot)| is_free(slot)) {
            Some((index, slot)) => Ok(Reserved { slot, tag_and_index: self.tag << 16 | index as u64 }),
            None => {
                let name = self.name;
                let text = format!("{N} {name}s are open, which is as many as can be; close one first");
                Err(Failure::new(KilnStatus::Full, text))
            }
        }
    }

    fn slot(&self, id: u64) -> Result<&Slot<T>, Failure> {
        let slot = self.slots.get((id & 0xffff) as usize).filter(|_| id != RESERVED && id != 0);
        // A stale handle is an error even while the next object in its place is in use.
        slot.filter(|slot| slot.id.load(Ordering::SeqCst) == id).ok_or_else(|| self.unknown(id))
    }

    #[allow(clippy::type_complexity)]
    fn lock(&self, id: u64) -> Result<(&Slot<T>, MutexGuard<'_, Option<Box<T>>>), Failure> {
        let slot = self.slot(id)?;
        let guard = match slot.object.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                // One that is being closed is in use by who closes it.
                drop(self.beside(id)?);
                let text =
                    format!("the {} is in use by another thread; give each thread a handle of its own", self.name);
                return Err(Failure::new(KilnStatus::Busy, text));
            }
        };
        // It may have been closed in between.
        if slot.id.load(Ordering::SeqCst) != id {
            return Err(self.unknown(id));
        }
        Ok((slot, guard))
    }

    fn unknown(&self, id: u64) -> Failure {
        let name = self.name;
        let text = match id {
            0 => format!("the {name}'s handle is null; open one first"),
            _ if id >> 16 & 0xff != self.tag => format!("the handle is no {name}'s; allowed is one that is open"),
            _ => format!("the {name} has been closed, or never was open"),
        };
        Failure::new(KilnStatus::Handle, text)
    }
}

/// A place in a table, kept free for an object; given back when dropped.
struct Reserved<'a, T: Object> {
    slot: &'a Slot<T>,
    tag_and_index: u64,
}

impl<T: Object> Reserved<'_, T> {
    fn fill(self, object: Box<T>) -> u64 {
        // It comes round after 2^40 objects in this place.
        let count = self.slot.count.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let id = count << 24 | self.tag_and_index;
        *self.slot.beside() = Beside { remote: Some(object.remote()), error: None };
        // Only a caller with a stale handle can hold the lock, to find out that it is stale.
        *self.slot.object.lock().unwrap_or_else(PoisonError::into_inner) = Some(object);
        self.slot.id.store(id, Ordering::SeqCst);
        id
    }
}

impl<T: Object> Drop for Reserved<'_, T> {
    fn drop(&mut self) {
        // After `fill` it holds a number, and this does nothing.
        let _ = self.slot.id.compare_exchange(RESERVED, 0, Ordering::SeqCst, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests;
