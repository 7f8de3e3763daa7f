use super::*;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

impl Object for u32 {
    type Remote = u32;

    fn remote(&self) -> u32 {
        *self + 100
    }
}

fn status<R>(result: Result<R, Failure>) -> KilnStatus {
    result.map_or_else(|failure| failure.status, |_| KilnStatus::Ok)
}

#[test]
fn stale_null_and_foreign_handles_are_errors() {
    let table = Table::<u32, 2>::new(1, "number");
    let id = table.open(|| Ok(5)).expect("opens");
    assert_eq!(table.with(id, |n| Ok(*n)).expect("is open"), 5);
    for wrong in [0, 1, u64::MAX, id + 1, id ^ 1 << 16, id ^ 1 << 24, id ^ 1 << 63] {
        assert_eq!(status(table.with(wrong, |_| Ok(()))), KilnStatus::Handle, "{wrong:x}");
        assert_eq!(status(table.reach(wrong, |_| ())), KilnStatus::Handle, "{wrong:x}");
    }
    table.close(id).expect("closes");
    assert_eq!(status(table.close(id)), KilnStatus::Handle);
    let next = table.open(|| Ok(6)).expect("opens");
    assert_ne!(id, next);
    assert_eq!(status(table.with(id, |_| Ok(()))), KilnStatus::Handle, "the place has another object");
    assert_eq!(status(table.reach(id, |_| ())), KilnStatus::Handle, "the place has another object");
    assert_eq!(table.reach(next, |n| *n).expect("is open"), 106);
    assert_eq!(table.guard(id, || table.with(id, |_| Ok(()))), KilnStatus::Handle);
    assert_eq!(status(table.last_error(id)), KilnStatus::Handle);
    assert_eq!(&*table.last_error(next).expect("is open"), "", "of no call with this handle");
}

#[test]
fn of_several_that_close_what_is_in_use_one_does() {
    let table = Table::<u32, 1>::new(1, "number");
    let id = table.open(|| Ok(1)).expect("opens");
    // Channels, which end with whoever fails: at a barrier the other would wait for ever.
    let ((using, used), (telling, told)) = (channel(), channel());
    std::thread::scope(|scope| {
        scope.spawn({
            let table = &table;
            move || {
                let _ = table.with(id, |_| {
                    let _ = using.send(());
                    let _ = told.recv();
                    // Until both have tried, most likely.
                    std::thread::sleep(Duration::from_millis(20));
                    Ok(())
                });
            }
        });
        used.recv().expect("is used");
        let closing = [telling.clone(), telling].map(|telling| {
            let table = &table;
            scope.spawn(move || status(table.close_used(id, |_| _ = telling.send(()))))
        });
        let mut all = closing.map(|closing| closing.join().expect("no panic") as i32);
        all.sort_unstable();
        assert_eq!(all, [KilnStatus::Ok as i32, KilnStatus::Handle as i32]);
    });
    assert!(table.open(|| Ok(2)).is_ok(), "the place is free");
}

#[test]
fn what_is_being_closed_is_not_busy_but_closed() {
    let table = Table::<u32, 1>::new(1, "number");
    let id = table.open(|| Ok(1)).expect("opens");
    let ((using, used), (telling, told), (ending, end)) = (channel::<()>(), channel::<()>(), channel::<()>());
    std::thread::scope(|scope| {
        let table = &table;
        scope.spawn(move || {
            table.with(id, |_| {
                let _ = using.send(());
                let _ = end.recv();
                Ok(())
            })
        });
        used.recv().expect("is used");
        assert_eq!(status(table.with(id, |_| Ok(()))), KilnStatus::Busy);
        scope.spawn(move || table.close_used(id, |_| _ = telling.send(())));
        told.recv().expect("is being closed");
        let all = [status(table.with(id, |_| Ok(()))), status(table.reach(id, |_| ())), status(table.last_error(id))];
        assert_eq!(all, [KilnStatus::Handle; 3]);
        drop(ending);
    });
    assert!(table.open(|| Ok(2)).is_ok(), "the place is free");
}

#[test]
fn the_table_is_full_when_it_is_and_failures_take_no_place() {
    let table = Table::<u32, 2>::new(1, "number");
    for _ in 0..5 {
        assert_eq!(status(table.open(|| Err(Failure::argument("no")))), KilnStatus::Argument);
        assert!(catch_unwind(|| table.open(|| panic!("no"))).is_err());
    }
    let ids = [1, 2].map(|n| table.open(|| Ok(n)).expect("opens"));
    let full = table.open(|| Ok(3)).expect_err("is full");
    assert_eq!(full.status, KilnStatus::Full);
    assert!(full.text.contains("2 numbers"), "{}", full.text);
    table.close(ids[0]).expect("closes");
    assert!(table.open(|| Ok(4)).is_ok());
}

#[test]
fn a_panic_closes_the_object_and_nothing_else() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("again");
        }
    }
    impl Object for Option<Bad> {
        type Remote = ();

        fn remote(&self) {}
    }
    let table = Table::<Option<Bad>, 1>::new(1, "object");
    for content in [None, Some(Bad)] {
        let id = table.open(|| Ok(content)).expect("opens");
        let failure = table.with(id, |_| -> Result<(), _> { panic!("once") }).expect_err("panics");
        assert_eq!((failure.status, failure.text.as_str()), (KilnStatus::Panic, "internal error: once"));
        assert_eq!(status(table.with(id, |_| Ok(()))), KilnStatus::Handle);
        assert_eq!(status(table.reach(id, |_| ())), KilnStatus::Handle);
    }
    assert!(table.open(|| Ok(None)).is_ok(), "the place is free");
}

#[test]
fn what_is_in_use_is_busy_and_what_is_stale_is_not() {
    let table = Table::<u32, 1>::new(1, "number");
    let old = table.open(|| Ok(0)).expect("opens");
    table.close(old).expect("closes");
    let id = table.open(|| Ok(1)).expect("opens");
    let ((using, used), (leaving, may_leave)) = (channel(), channel());
    assert_eq!(table.guard(id, || Err(Failure::argument("once"))), KilnStatus::Argument);
    std::thread::scope(|scope| {
        scope.spawn({
            let table = &table;
            move || {
                let used = table.with(id, |_| {
                    let _ = using.send(());
                    // An error is that of the other's having failed.
                    let _ = may_leave.recv();
                    Ok(())
                });
                assert_eq!(status(used), KilnStatus::Ok);
            }
        });
        // Dropped at the end, and where something fails.
        let _leaving: Sender<()> = leaving;
        used.recv().expect("is used");
        assert_eq!(status(table.with(id, |_| Ok(()))), KilnStatus::Busy);
        assert_eq!(table.guard(id, || table.close(id)), KilnStatus::Busy);
        assert_eq!(&*table.last_error(id).expect("is open"), "once", "nor is its text, which another's call leaves");
        assert_eq!(table.reach(id, |n| *n).expect("is open"), 101, "its remote is not busy");
        assert_eq!(status(table.reach(old, |n| *n)), KilnStatus::Handle);
        assert_eq!(status(table.close(old)), KilnStatus::Handle);
    });
    assert_eq!(status(table.close(id)), KilnStatus::Ok);
}
