; The native half of the runtime: runs the kernels of a plan one after another and splits the large ones among
; worker threads. pool.py compiles it, with definitions of @pause, @wait, @wake, @yield, @get_mode and @set_mode for the
; processor and system it runs on.
;
; A job is one kernel call, split into chunks of its parallel loop. Everything about who does what is in one 64-bit
; word, the pool's state:
;
;     bits 63..32  epoch: changes with every job; idle workers wait for it to change
;     bits 31..16  chunks: how many chunks the job has
;     bits 15..0   next: the chunk to be done next
;
; A thread claims a chunk by adding 1 to the word: what it held before says, at one instant, which chunk of which job
; the thread got, or that there was none left. A job is over when all its chunks are done, and a chunk that was
; claimed is not done yet: so whoever holds a claim may read the job's fields, which change only between jobs. And so
; the calling thread never waits for a worker that has not started: it takes the chunks itself. Kernels give the same
; bits for any split.
;
; A long run is *guarded*: another thread, the leader, does what the calling thread would have done, and that one sleeps.
; A signal wakes it, and it lets Python call the handler. Should the handler raise, the run is aborted: the caller sends
; a signal of its own to every thread that is in a kernel, and its handler jumps out of the kernel, to where the
; thread waits for work. A kernel takes no lock and allocates nothing, so it can be left anywhere. A run that has come to
; its firm step, the first that writes into what was there before, is finished instead. The phase of a guarded run:
;
;     0 open    may be aborted
;     1 firm    will be finished
;     2 aborted
;     3 open, and Python is in a handler: the run does not become firm before that has returned

%kernel_arguments = type { ptr, ptr, ptr, i64 }                  ; function, arrays, scalars, iterations

; The pool. Words that different threads write are on cache lines of their own.
%pool = type { i64, [7 x i64],                                   ; 0  state
               i64, [7 x i64],                                   ; 2  chunks done
               i32, i32, [7 x i64],                              ; 4  workers asleep; 5  1: workers leave
               %kernel_arguments,                                ; 7  the job
               i64,                                              ; 8  spins before a thread sleeps or yields
               i64,                                              ; 9  workers with an index from here up take no part
               [2 x i64],                                        ; 10 the caller's floating-point mode
               ptr, i64, [6 x i64],                              ; 11 records, the leader's first; 12 how many
               i32, i32, [7 x i64],                              ; 14 orders given to the leader; 15 taken by it
               i32, i32, ptr, [6 x i64],                         ; 17 orders finished; 18 phase; 19 the run
               i64 }                                             ; 21 guarded runs under way

; A thread of the pool: which it is, 1 while it may be in a kernel, and where it goes when it leaves one.
%record = type { i64, i64, [6 x i64], [1024 x i8] }

; A step of a plan. Fewer than 2 * grain iterations, or grain 0: all on the calling thread.
%step = type { %kernel_arguments, i64 }                          ; the call, grain

; A run: cells[i] = slots[source[i]] + offset[i] for all i, then the steps.
%run = type { ptr, i64,                                          ; 0  steps, how many
              ptr, i64,                                          ; 2  pool, threads
              ptr, ptr, ptr, i64,                                ; 4  slots, { source, offset }s, cells, how many
               ptr, i64,                                          ; 8  the phase if it is guarded; the firm step
               i64, ptr,                                          ; 10 1 when all steps are done; 11 where the seconds
                                                                  ;    of each step are noted; or null
               i64, ptr, i64 }                                    ; 12 where a run ends if a word is not 0; 13 the slot
                                                                  ;    that says where the words are; 14 how many

define internal void @do_run(ptr %run) {
entry:
  %steps.at = getelementptr %run, ptr %run, i32 0, i32 0
  %steps = load ptr, ptr %steps.at
  %count.at = getelementptr %run, ptr %run, i32 0, i32 1
  %count = load i64, ptr %count.at
  %pool.at = getelementptr %run, ptr %run, i32 0, i32 2
  %pool = load ptr, ptr %pool.at
  %threads.at = getelementptr %run, ptr %run, i32 0, i32 3
  %threads = load i64, ptr %threads.at
  %phase.at.at = getelementptr %run, ptr %run, i32 0, i32 8
  %phase.at = load ptr, ptr %phase.at.at
  %guarded = icmp ne ptr %phase.at, null
  %firm.at = getelementptr %run, ptr %run, i32 0, i32 9
  %firm = load i64, ptr %firm.at
  %stop.at = getelementptr %run, ptr %run, i32 0, i32 12
  %stop = load i64, ptr %stop.at
  %times.at = getelementptr %run, ptr %run, i32 0, i32 11
  %times = load ptr, ptr %times.at
  %timed = icmp ne ptr %times, null
  call void @wake_early(ptr %steps, i64 %count, ptr %pool, i64 %threads)
  br i1 %timed, label %begin, label %head

begin:
  %now.first = call i64 @now()
  br label %head

head:
  %i = phi i64 [ 0, %entry ], [ 0, %begin ], [ %i.next, %next ], [ %i.next, %note ]
  %then = phi i64 [ 0, %entry ], [ %now.first, %begin ], [ %then, %next ], [ %now, %note ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %ask, label %all

ask:
  %may.stop = icmp eq i64 %i, %stop
  br i1 %may.stop, label %words, label %look

words:
  %slot.at = getelementptr %run, ptr %run, i32 0, i32 13
  %slot = load ptr, ptr %slot.at
  %first = load ptr, ptr %slot
  %words.at = getelementptr %run, ptr %run, i32 0, i32 14
  %words.count = load i64, ptr %words.at
  br label %word

word:
  %w = phi i64 [ 0, %words ], [ %w.next, %fine ]
  %unread = icmp slt i64 %w, %words.count
  br i1 %unread, label %read, label %look

read:
  %word.at = getelementptr i64, ptr %first, i64 %w
  %said = load i64, ptr %word.at
  %wrong = icmp ne i64 %said, 0
  br i1 %wrong, label %exit, label %fine

fine:
  %w.next = add i64 %w, 1
  br label %word

look:
  br i1 %guarded, label %phases, label %body

phases:
  %phase = load atomic i32, ptr %phase.at seq_cst, align 4
  %aborted = icmp eq i32 %phase, 2
  br i1 %aborted, label %exit, label %on

on:
  %here = icmp eq i64 %i, %firm
  br i1 %here, label %harden, label %body

harden:
  %exchange = cmpxchg ptr %phase.at, i32 0, i32 1 seq_cst seq_cst
  %hard = extractvalue { i32, i1 } %exchange, 1
  br i1 %hard, label %body, label %late

late:
  %was = load atomic i32, ptr %phase.at seq_cst, align 4
  %gone = icmp eq i32 %was, 2
  br i1 %gone, label %exit, label %pause

pause:
  call void @nap()
  br label %harden

body:
  %step = getelementptr %step, ptr %steps, i64 %i
  %chunks = call i64 @chunks_of(ptr %step, i64 %threads)
  %iterations.at = getelementptr %step, ptr %step, i32 0, i32 0, i32 3
  %iterations = load i64, ptr %iterations.at
  %split = icmp sgt i64 %chunks, 1
  br i1 %split, label %parallel, label %check

check:
  %some = icmp sgt i64 %iterations, 0
  br i1 %some, label %alone, label %next

alone:
  call void @call_kernel(ptr %step, i64 0, i64 %iterations)
  br label %next

parallel:
  call void @fork_join(ptr %pool, ptr %step, i64 %chunks, i64 %threads)
  br label %next

next:
  %i.next = add i64 %i, 1
  br i1 %timed, label %note, label %head

note:
  %now = call i64 @now()
  %nanoseconds = sub i64 %now, %then
  %long = sitofp i64 %nanoseconds to double
  %seconds = fmul double %long, 0x3E112E0BE826D695               ; 1e-9
  %time.at = getelementptr double, ptr %times, i64 %i
  store double %seconds, ptr %time.at
  br label %head

all:
  %complete.at = getelementptr %run, ptr %run, i32 0, i32 10
  store i64 1, ptr %complete.at
  br label %exit

exit:
  ret void
}

; A run as a Python function, which is called ten times as fast as a foreign function through ctypes. The function's self
; is a bytes object; ``pool.py`` makes it. Its contents:
%entry = type { ptr, ptr, i64,                                   ; 0  run, slots, how many
                i64,                                             ; 3  1: without the interpreter lock
                ptr,                                             ; 4  None
                [0 x i8] }                                       ; 5  of each slot: 1 for a float64, 0 for an integer

declare i64 @PyLong_AsUnsignedLongLongMask(ptr)
declare double @PyFloat_AsDouble(ptr)
declare i32 @PyErr_BadArgument()
declare ptr @PyErr_Occurred()
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare i32 @PyErr_CheckSignals()
declare void @PyErr_Fetch(ptr, ptr, ptr)
declare void @PyErr_NormalizeException(ptr, ptr, ptr)
declare void @Py_DecRef(ptr)
declare void @Py_IncRef(ptr)
declare void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)

; PyObject *mg_call(self, arguments, given): puts a number into each slot, then runs. Returns None; or null, after a
; number that Python could not convert, or when a signal's handler raised and the run was aborted; or the exception, when
; a handler raised and the run was finished all the same.
define ptr @mg_call(ptr %self, ptr %arguments, i64 %given) {
start:
  %entry = getelementptr i8, ptr %self, i64 CONTENTS
  %slots.at = getelementptr %entry, ptr %entry, i32 0, i32 1
  %slots = load ptr, ptr %slots.at
  %count.at = getelementptr %entry, ptr %entry, i32 0, i32 2
  %count = load i64, ptr %count.at
  %fits = icmp eq i64 %given, %count
  br i1 %fits, label %head, label %refuse

refuse:
  %ignored = call i32 @PyErr_BadArgument()
  ret ptr null

head:
  %i = phi i64 [ 0, %start ], [ %i.next, %stored ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %body, label %converted

body:
  %argument.at = getelementptr ptr, ptr %arguments, i64 %i
  %argument = load ptr, ptr %argument.at
  %slot = getelementptr i64, ptr %slots, i64 %i
  %kind.at = getelementptr %entry, ptr %entry, i32 0, i32 5, i64 %i
  %kind = load i8, ptr %kind.at
  %whole = icmp eq i8 %kind, 0
  br i1 %whole, label %as.integer, label %as.float

as.integer:
  %integer = call i64 @PyLong_AsUnsignedLongLongMask(ptr %argument)
  store i64 %integer, ptr %slot
  %integer.odd = icmp eq i64 %integer, -1
  br i1 %integer.odd, label %look, label %stored

as.float:
  %float = call double @PyFloat_AsDouble(ptr %argument)
  store double %float, ptr %slot
  %float.odd = fcmp oeq double %float, -1.0
  br i1 %float.odd, label %look, label %stored

look:                                                              ; -1 may be an error
  %error = call ptr @PyErr_Occurred()
  %failed = icmp ne ptr %error, null
  br i1 %failed, label %fail, label %stored

fail:
  ret ptr null

stored:
  %i.next = add i64 %i, 1
  br label %head

converted:
  %run = load ptr, ptr %entry
  %free.at = getelementptr %entry, ptr %entry, i32 0, i32 3
  %free = load i64, ptr %free.at
  %held = icmp eq i64 %free, 0
  br i1 %held, label %short, label %busy

short:
  call void @fill_cells(ptr %run)
  call void @do_run(ptr %run)
  br label %exit

busy:
  %pool.at = getelementptr %run, ptr %run, i32 0, i32 2
  %pool = load ptr, ptr %pool.at
  %state.settle = call ptr @PyEval_SaveThread()
  call void @mg_settle(ptr %pool)
  call void @PyEval_RestoreThread(ptr %state.settle)
  call void @fill_cells(ptr %run)
  %phase.at.at = getelementptr %run, ptr %run, i32 0, i32 8
  %phase.at = load ptr, ptr %phase.at.at
  %alone = icmp eq ptr %phase.at, null
  br i1 %alone, label %long, label %guard

long:
  %state = call ptr @PyEval_SaveThread()
  call void @do_run(ptr %run)
  call void @PyEval_RestoreThread(ptr %state)
  br label %exit

guard:
  %how = call i32 @guarded(ptr %run, ptr %pool)
  switch i32 %how, label %exit [ i32 1, label %fail
                                 i32 2, label %raised ]

raised:
  %exception = call ptr @fetch()
  ret ptr %exception

exit:
  %none.at = getelementptr %entry, ptr %entry, i32 0, i32 4
  %none = load ptr, ptr %none.at
  call void @Py_IncRef(ptr %none)
  ret ptr %none
}

; The exception that Python is about to raise, taken from it.
define internal ptr @fetch() {
  %type.at = alloca ptr
  %value.at = alloca ptr
  %trace.at = alloca ptr
  call void @PyErr_Fetch(ptr %type.at, ptr %value.at, ptr %trace.at)
  call void @PyErr_NormalizeException(ptr %type.at, ptr %value.at, ptr %trace.at)
  %type = load ptr, ptr %type.at
  call void @Py_DecRef(ptr %type)
  %trace = load ptr, ptr %trace.at
  call void @Py_DecRef(ptr %trace)
  %value = load ptr, ptr %value.at
  ret ptr %value
}

; void mg_settle(pool *): waits for the guarded run under way, if a signal's handler calls this in the middle of one.
define void @mg_settle(ptr %pool) {
entry:
  %no.pool = icmp eq ptr %pool, null
  br i1 %no.pool, label %exit, label %look

look:
  %active.at = getelementptr %pool, ptr %pool, i32 0, i32 21
  %active = load i64, ptr %active.at
  %none = icmp eq i64 %active, 0
  br i1 %none, label %exit, label %wait

wait:
  %phase.at = getelementptr %pool, ptr %pool, i32 0, i32 18
  %exchange = cmpxchg ptr %phase.at, i32 3, i32 0 seq_cst seq_cst
  %order.at = getelementptr %pool, ptr %pool, i32 0, i32 14
  %order = load atomic i32, ptr %order.at seq_cst, align 4
  call void @finish(ptr %pool, i32 %order)
  br label %exit

exit:
  ret void
}

; Waits until an order is finished.
define internal void @finish(ptr %pool, i32 %order) {
entry:
  %finished.at = getelementptr %pool, ptr %pool, i32 0, i32 17
  br label %look

look:
  %finished = load atomic i32, ptr %finished.at seq_cst, align 4
  %ahead = sub i32 %finished, %order
  %over = icmp sge i32 %ahead, 0
  br i1 %over, label %exit, label %wait

wait:
  call void @wait_briefly(ptr %finished.at, i32 %finished)
  br label %look

exit:
  ret void
}

; A guarded run, for a thread that has the interpreter lock: 0 when it is done; 1 when it was aborted, 2 when it is done,
; and Python has an exception to raise.
define internal i32 @guarded(ptr %run, ptr %pool) {
entry:
  %mode.at = getelementptr %pool, ptr %pool, i32 0, i32 10
  call void @get_mode(ptr %mode.at)
  %run.at = getelementptr %pool, ptr %pool, i32 0, i32 19
  store ptr %run, ptr %run.at
  %phase.at = getelementptr %pool, ptr %pool, i32 0, i32 18
  store atomic i32 0, ptr %phase.at seq_cst, align 4
  %active.at = getelementptr %pool, ptr %pool, i32 0, i32 21
  %active = load i64, ptr %active.at
  %active.more = add i64 %active, 1
  store i64 %active.more, ptr %active.at
  %finished.at = getelementptr %pool, ptr %pool, i32 0, i32 17
  %order.at = getelementptr %pool, ptr %pool, i32 0, i32 14
  %order.before = load atomic i32, ptr %order.at seq_cst, align 4
  %order = add i32 %order.before, 1
  store atomic i32 %order, ptr %order.at seq_cst, align 4
  call void @wake(ptr %order.at)
  br label %sleep

sleep:
  %state = call ptr @PyEval_SaveThread()
  %seen = load atomic i32, ptr %finished.at seq_cst, align 4
  %ahead = sub i32 %seen, %order
  %over = icmp sge i32 %ahead, 0
  br i1 %over, label %done, label %wait

wait:                                                            ; a signal ends it
  call void @wait_briefly(ptr %finished.at, i32 %seen)
  %seen.now = load atomic i32, ptr %finished.at seq_cst, align 4
  %ahead.now = sub i32 %seen.now, %order
  %over.now = icmp sge i32 %ahead.now, 0
  br i1 %over.now, label %done, label %look

look:
  call void @PyEval_RestoreThread(ptr %state)
  %hold = cmpxchg ptr %phase.at, i32 0, i32 3 seq_cst seq_cst
  %open = extractvalue { i32, i1 } %hold, 1
  br i1 %open, label %handle, label %sleep

handle:
  %error = call i32 @PyErr_CheckSignals()
  %raised = icmp ne i32 %error, 0
  br i1 %raised, label %decide, label %release

release:
  %let.on = cmpxchg ptr %phase.at, i32 3, i32 0 seq_cst seq_cst
  br label %sleep

decide:                                                          ; the handler may have waited for the run
  %seen.then = load atomic i32, ptr %finished.at seq_cst, align 4
  %ahead.then = sub i32 %seen.then, %order
  %over.then = icmp sge i32 %ahead.then, 0
  br i1 %over.then, label %late, label %stop

stop:
  %let.go = cmpxchg ptr %phase.at, i32 3, i32 0 seq_cst seq_cst
  %exchange = cmpxchg ptr %phase.at, i32 0, i32 2 seq_cst seq_cst
  %may = extractvalue { i32, i1 } %exchange, 1
  br i1 %may, label %abort, label %firm

abort:
  call void @abort(ptr %pool, i32 %order)
  br label %leave

firm:
  %state.firm = call ptr @PyEval_SaveThread()
  call void @finish(ptr %pool, i32 %order)
  call void @PyEval_RestoreThread(ptr %state.firm)
  br label %late

done:
  call void @PyEval_RestoreThread(ptr %state)
  %firm.at = getelementptr %run, ptr %run, i32 0, i32 9
  %firm.step = load i64, ptr %firm.at
  %count.at = getelementptr %run, ptr %run, i32 0, i32 1
  %count = load i64, ptr %count.at
  %writes = icmp slt i64 %firm.step, %count
  br i1 %writes, label %last, label %leave

last:                                                            ; before Python looks, which would lose the results
  %error.last = call i32 @PyErr_CheckSignals()
  %raised.last = icmp ne i32 %error.last, 0
  br i1 %raised.last, label %late, label %leave

late:
  br label %leave

leave:
  %how = phi i32 [ 1, %abort ], [ 2, %late ], [ 0, %done ], [ 0, %last ]
  store i64 %active, ptr %active.at
  ret i32 %how
}

; All threads leave the kernels that they are in.
define internal void @abort(ptr %pool, i32 %order) {
entry:
  %old = alloca [1024 x i8], align 16
  call void @begin_interrupting(ptr %pool, ptr %old)
  %records.at = getelementptr %pool, ptr %pool, i32 0, i32 11
  %records = load ptr, ptr %records.at
  %count.at = getelementptr %pool, ptr %pool, i32 0, i32 12
  %taken.at = getelementptr %pool, ptr %pool, i32 0, i32 15
  br label %wake

wake:                                                            ; the leader has the order
  %taken = load atomic i32, ptr %taken.at seq_cst, align 4
  %has = icmp eq i32 %taken, %order
  br i1 %has, label %stop.leader, label %wait

wait:
  call void @nap()
  br label %wake

stop.leader:                                                     ; first, as it gives work to the others
  call void @stop(ptr %records)
  call void @publish(ptr %pool, i64 0)
  br label %head

head:
  %i = phi i64 [ 1, %stop.leader ], [ %i.next, %body ]
  %count = load atomic i64, ptr %count.at seq_cst, align 8
  %more = icmp slt i64 %i, %count
  br i1 %more, label %body, label %exit

body:
  %record = getelementptr %record, ptr %records, i64 %i
  call void @stop(ptr %record)
  %i.next = add i64 %i, 1
  br label %head

exit:
  call void @end_interrupting(ptr %old)
  ret void
}

; A thread leaves the kernel it is in.
define internal void @stop(ptr %record) {
entry:
  %busy.at = getelementptr %record, ptr %record, i32 0, i32 1
  br label %look

look:
  %busy = load atomic i64, ptr %busy.at seq_cst, align 8
  %idle = icmp eq i64 %busy, 0
  br i1 %idle, label %exit, label %again

again:
  %thread = load i64, ptr %record
  call void @interrupt(i64 %thread)
  call void @nap()
  br label %look

exit:
  ret void
}

; The handler of the signal that @interrupt sends. It may come late, to a thread that has left its kernel already, and
; so while the next abort begins: the pool whose threads leave is read and written atomically.
@interrupted = internal global i64 0

define internal void @leave_kernel(i32 %number) {
entry:
  %at = load atomic i64, ptr @interrupted seq_cst, align 8
  %pool = inttoptr i64 %at to ptr
  %self = call i64 @this_thread()
  %records.at = getelementptr %pool, ptr %pool, i32 0, i32 11
  %records = load ptr, ptr %records.at
  %count.at = getelementptr %pool, ptr %pool, i32 0, i32 12
  %count = load atomic i64, ptr %count.at seq_cst, align 8
  br label %head

head:
  %i = phi i64 [ 0, %entry ], [ %i.next, %next ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %body, label %exit

body:
  %record = getelementptr %record, ptr %records, i64 %i
  %thread = load i64, ptr %record
  %mine = icmp eq i64 %thread, %self
  br i1 %mine, label %found, label %next

next:
  %i.next = add i64 %i, 1
  br label %head

found:
  %busy.at = getelementptr %record, ptr %record, i32 0, i32 1
  %busy = load atomic i64, ptr %busy.at seq_cst, align 8
  %idle = icmp eq i64 %busy, 0
  br i1 %idle, label %exit, label %jump

jump:
  %place = getelementptr %record, ptr %record, i32 0, i32 3
  call void @jump(ptr %place)
  br label %exit

exit:
  ret void
}

; void mg_leader(pool *): the life of the thread that does guarded runs.
define void @mg_leader(ptr %pool) {
entry:
  %record = call ptr @enlist(ptr %pool, i64 0)
  %busy.at = getelementptr %record, ptr %record, i32 0, i32 1
  %place = getelementptr %record, ptr %record, i32 0, i32 3
  %leave.at = getelementptr %pool, ptr %pool, i32 0, i32 5
  %mode.at = getelementptr %pool, ptr %pool, i32 0, i32 10
  %order.at = getelementptr %pool, ptr %pool, i32 0, i32 14
  %taken.at = getelementptr %pool, ptr %pool, i32 0, i32 15
  %finished.at = getelementptr %pool, ptr %pool, i32 0, i32 17
  %phase.at = getelementptr %pool, ptr %pool, i32 0, i32 18
  %run.at = getelementptr %pool, ptr %pool, i32 0, i32 19
  %jumped = call i32 @SETJMP(ptr %place, i32 1) returns_twice
  br label %idle

idle:                                                            ; at first, and whenever it has left a kernel
  store atomic i64 0, ptr %busy.at seq_cst, align 8
  br label %look

look:
  %leave = load atomic i32, ptr %leave.at seq_cst, align 4
  %stay = icmp eq i32 %leave, 0
  br i1 %stay, label %orders, label %exit

orders:
  %taken = load atomic i32, ptr %taken.at seq_cst, align 4
  %order = load atomic i32, ptr %order.at seq_cst, align 4
  %none = icmp eq i32 %taken, %order
  br i1 %none, label %wait, label %take

wait:
  call void @wait(ptr %order.at, i32 %taken)
  br label %look

take:
  store atomic i64 1, ptr %busy.at seq_cst, align 8
  store atomic i32 %order, ptr %taken.at seq_cst, align 4
  %phase = load atomic i32, ptr %phase.at seq_cst, align 4
  %aborted = icmp eq i32 %phase, 2
  br i1 %aborted, label %idle, label %work

work:
  call void @set_mode(ptr %mode.at)
  %run = load ptr, ptr %run.at
  call void @do_run(ptr %run)
  store atomic i64 0, ptr %busy.at seq_cst, align 8
  store atomic i32 %order, ptr %finished.at seq_cst, align 4
  call void @wake(ptr %finished.at)
  br label %look

exit:
  ret void
}

; A thread's record, with its name in it. The leader's is that of index 0.
define internal ptr @enlist(ptr %pool, i64 %index) {
  %records.at = getelementptr %pool, ptr %pool, i32 0, i32 11
  %records = load ptr, ptr %records.at
  %record = getelementptr %record, ptr %records, i64 %index
  %self = call i64 @this_thread()
  store i64 %self, ptr %record
  %count.at = getelementptr %pool, ptr %pool, i32 0, i32 12
  %more = add i64 %index, 1
  %before = atomicrmw max ptr %count.at, i64 %more seq_cst, align 8
  ret ptr %record
}

; PyObject *mg_copy(self, (to, from, bytes), 3): as memmove. Copying much lets Python's other threads run.
define ptr @mg_copy(ptr %self, ptr %arguments, i64 %given) {
start:
  %fits = icmp eq i64 %given, 3
  br i1 %fits, label %convert, label %refuse

refuse:
  %ignored = call i32 @PyErr_BadArgument()
  ret ptr null

convert:
  %to.number = load ptr, ptr %arguments
  %to = call i64 @PyLong_AsUnsignedLongLongMask(ptr %to.number)
  %from.at = getelementptr ptr, ptr %arguments, i64 1
  %from.number = load ptr, ptr %from.at
  %from = call i64 @PyLong_AsUnsignedLongLongMask(ptr %from.number)
  %bytes.at = getelementptr ptr, ptr %arguments, i64 2
  %bytes.number = load ptr, ptr %bytes.at
  %bytes = call i64 @PyLong_AsUnsignedLongLongMask(ptr %bytes.number)
  %error = call ptr @PyErr_Occurred()
  %failed = icmp ne ptr %error, null
  br i1 %failed, label %fail, label %converted

fail:
  ret ptr null

converted:
  %target = inttoptr i64 %to to ptr
  %source = inttoptr i64 %from to ptr
  %little = icmp ult i64 %bytes, 65536
  br i1 %little, label %short, label %long

short:
  call void @llvm.memmove.p0.p0.i64(ptr %target, ptr %source, i64 %bytes, i1 false)
  br label %exit

long:
  %state = call ptr @PyEval_SaveThread()
  call void @llvm.memmove.p0.p0.i64(ptr %target, ptr %source, i64 %bytes, i1 false)
  call void @PyEval_RestoreThread(ptr %state)
  br label %exit

exit:
  %none.at = getelementptr i8, ptr %self, i64 CONTENTS
  %none = load ptr, ptr %none.at
  call void @Py_IncRef(ptr %none)
  ret ptr %none
}

; Puts the addresses and scalars of this run where the kernels' argument arrays are.
define internal void @fill_cells(ptr %run) {
entry:
  %slots.at = getelementptr %run, ptr %run, i32 0, i32 4
  %slots = load ptr, ptr %slots.at
  %moves.at = getelementptr %run, ptr %run, i32 0, i32 5
  %moves = load ptr, ptr %moves.at
  %cells.at = getelementptr %run, ptr %run, i32 0, i32 6
  %cells = load ptr, ptr %cells.at
  %count.at = getelementptr %run, ptr %run, i32 0, i32 7
  %count = load i64, ptr %count.at
  br label %head

head:
  %i = phi i64 [ 0, %entry ], [ %i.next, %body ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %body, label %exit

body:
  %source.at = getelementptr { i64, i64 }, ptr %moves, i64 %i, i32 0
  %source = load i64, ptr %source.at
  %offset.at = getelementptr { i64, i64 }, ptr %moves, i64 %i, i32 1
  %offset = load i64, ptr %offset.at
  %slot = getelementptr i64, ptr %slots, i64 %source
  %base = load i64, ptr %slot
  %value = add i64 %base, %offset
  %cell = getelementptr i64, ptr %cells, i64 %i
  store i64 %value, ptr %cell
  %i.next = add i64 %i, 1
  br label %head

exit:
  ret void
}

; If a later step is parallel and workers are asleep, wakes them now: waking takes longer than most small steps.
define internal void @wake_early(ptr %steps, i64 %count, ptr %pool, i64 %threads) {
entry:
  %alone = icmp slt i64 %threads, 2
  br i1 %alone, label %exit, label %head

head:
  %i = phi i64 [ 0, %entry ], [ %i.next, %next ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %body, label %exit

body:
  %step = getelementptr %step, ptr %steps, i64 %i
  %chunks = call i64 @chunks_of(ptr %step, i64 %threads)
  %split = icmp sgt i64 %chunks, 1
  br i1 %split, label %found, label %next

next:
  %i.next = add i64 %i, 1
  br label %head

found:                                                           ; the first step wakes them itself
  %first = icmp eq i64 %i, 0
  br i1 %first, label %exit, label %look

look:
  %asleep.at = getelementptr %pool, ptr %pool, i32 0, i32 4
  %asleep = load atomic i32, ptr %asleep.at seq_cst, align 4
  %none = icmp eq i32 %asleep, 0
  br i1 %none, label %exit, label %wake

wake:
  call void @publish(ptr %pool, i64 0)
  br label %exit

exit:
  ret void
}

; Chunks that a step is split into: at least grain iterations each, four for each thread so that an unequal or
; interrupted thread does not hold up the others.
define internal i64 @chunks_of(ptr %step, i64 %threads) {
entry:
  %grain.at = getelementptr %step, ptr %step, i32 0, i32 1
  %grain = load i64, ptr %grain.at
  %may = icmp sgt i64 %grain, 0
  %several = icmp sgt i64 %threads, 1
  %split = and i1 %may, %several
  br i1 %split, label %divide, label %alone

divide:
  %iterations.at = getelementptr %step, ptr %step, i32 0, i32 0, i32 3
  %iterations = load i64, ptr %iterations.at
  %most = sdiv i64 %iterations, %grain
  %wanted = shl i64 %threads, 2
  %fewer = icmp slt i64 %most, %wanted
  %chunks = select i1 %fewer, i64 %most, i64 %wanted
  ret i64 %chunks

alone:
  ret i64 1
}

; Calls the kernel for iterations begin to end.
define internal void @call_kernel(ptr %job, i64 %begin, i64 %end) {
  %function.at = getelementptr %kernel_arguments, ptr %job, i32 0, i32 0
  %function = load ptr, ptr %function.at
  %arrays.at = getelementptr %kernel_arguments, ptr %job, i32 0, i32 1
  %arrays = load ptr, ptr %arrays.at
  %scalars.at = getelementptr %kernel_arguments, ptr %job, i32 0, i32 2
  %scalars = load ptr, ptr %scalars.at
  call void %function(ptr %arrays, ptr %scalars, i64 %begin, i64 %end)
  ret void
}

define internal void @fork_join(ptr %pool, ptr %step, i64 %chunks, i64 %threads) {
entry:
  %call = load %kernel_arguments, ptr %step
  %job = getelementptr %pool, ptr %pool, i32 0, i32 7
  store %kernel_arguments %call, ptr %job
  %mode.at = getelementptr %pool, ptr %pool, i32 0, i32 10
  call void @get_mode(ptr %mode.at)
  %workers = sub i64 %threads, 1
  %limit = getelementptr %pool, ptr %pool, i32 0, i32 9
  store atomic i64 %workers, ptr %limit monotonic, align 8
  %done.at = getelementptr %pool, ptr %pool, i32 0, i32 2
  store atomic i64 0, ptr %done.at monotonic, align 8
  call void @publish(ptr %pool, i64 %chunks)
  call void @take_chunks(ptr %pool)
  %spins.at = getelementptr %pool, ptr %pool, i32 0, i32 8
  %spins = load i64, ptr %spins.at
  br label %join

join:
  %spun = phi i64 [ 0, %entry ], [ %spun.next, %spin ], [ %spun, %yield ]
  %done = load atomic i64, ptr %done.at acquire, align 8
  %finished = icmp eq i64 %done, %chunks
  br i1 %finished, label %exit, label %wait

wait:
  %patient = icmp slt i64 %spun, %spins
  br i1 %patient, label %spin, label %yield

spin:
  call void @pause()
  %spun.next = add i64 %spun, 1
  br label %join

yield:                                                           ; a worker lost its core to another process
  call void @yield()
  br label %join

exit:
  ret void
}

; Makes a new epoch with so many chunks and wakes the workers that sleep.
define internal void @publish(ptr %pool, i64 %chunks) {
entry:
  %old = load atomic i64, ptr %pool monotonic, align 8
  %epoch = lshr i64 %old, 32
  %epoch.next = add i64 %epoch, 1
  %high = shl i64 %epoch.next, 32
  %middle = shl i64 %chunks, 16
  %new = or i64 %high, %middle
  ; seq_cst here and where a worker goes to sleep: either it sees this epoch or we see that it sleeps.
  store atomic i64 %new, ptr %pool seq_cst, align 8
  %asleep.at = getelementptr %pool, ptr %pool, i32 0, i32 4
  %asleep = load atomic i32, ptr %asleep.at seq_cst, align 4
  %none = icmp eq i32 %asleep, 0
  br i1 %none, label %exit, label %wake

wake:
  %epoch.at = getelementptr i8, ptr %pool, i64 4                 ; the high half, as all our systems are little-endian
  call void @wake(ptr %epoch.at)
  br label %exit

exit:
  ret void
}

; Claims and runs chunks until there are none.
define internal void @take_chunks(ptr %pool) {
entry:
  %job = getelementptr %pool, ptr %pool, i32 0, i32 7
  %iterations.at = getelementptr %kernel_arguments, ptr %job, i32 0, i32 3
  %done.at = getelementptr %pool, ptr %pool, i32 0, i32 2
  %mode.at = getelementptr %pool, ptr %pool, i32 0, i32 10
  br label %claim

claim:
  %state = atomicrmw add ptr %pool, i64 1 acq_rel, align 8
  %index = and i64 %state, 65535
  %shifted = lshr i64 %state, 16
  %chunks = and i64 %shifted, 65535
  %got = icmp ult i64 %index, %chunks
  br i1 %got, label %work, label %exit

work:                                                            ; chunk i of n: iterations * i / n onwards, exactly
  %iterations = load i64, ptr %iterations.at
  %each = udiv i64 %iterations, %chunks
  %rest = urem i64 %iterations, %chunks
  %index.next = add i64 %index, 1
  %begin = call i64 @edge(i64 %each, i64 %rest, i64 %index)
  %end = call i64 @edge(i64 %each, i64 %rest, i64 %index.next)
  ; A worker rounds and flushes as the caller does, or the bits would depend on who did what.
  call void @set_mode(ptr %mode.at)
  call void @call_kernel(ptr %job, i64 %begin, i64 %end)
  %before = atomicrmw add ptr %done.at, i64 1 release, align 8
  br label %claim

exit:
  ret void
}

; Where chunk i begins: the first `rest` chunks have one iteration more.
define internal i64 @edge(i64 %each, i64 %rest, i64 %index) {
  %base = mul i64 %each, %index
  %early = icmp ult i64 %index, %rest
  %extra = select i1 %early, i64 %index, i64 %rest
  %begin = add i64 %base, %extra
  ret i64 %begin
}

; void mg_worker(pool *, int64_t index): the life of a worker thread.
define void @mg_worker(ptr %pool, i64 %worker) {
entry:
  %epoch.at = getelementptr i8, ptr %pool, i64 4
  %asleep.at = getelementptr %pool, ptr %pool, i32 0, i32 4
  %leave.at = getelementptr %pool, ptr %pool, i32 0, i32 5
  %spins.at = getelementptr %pool, ptr %pool, i32 0, i32 8
  %spins = load i64, ptr %spins.at
  %limit.at = getelementptr %pool, ptr %pool, i32 0, i32 9
  %index = add i64 %worker, 1
  %record = call ptr @enlist(ptr %pool, i64 %index)
  %busy.at = getelementptr %record, ptr %record, i32 0, i32 1
  %place = getelementptr %record, ptr %record, i32 0, i32 3
  %jumped = call i32 @SETJMP(ptr %place, i32 1) returns_twice
  store atomic i64 0, ptr %busy.at seq_cst, align 8
  br label %idle

idle:                                                            ; after a jump it looks once for what is not there
  %seen = phi i32 [ 0, %entry ], [ %epoch, %start ], [ %epoch, %work ]
  br label %look

look:
  %spun = phi i64 [ 0, %idle ], [ %spun.next, %spin ]
  %now = load atomic i32, ptr %epoch.at acquire, align 4
  %changed = icmp ne i32 %now, %seen
  br i1 %changed, label %leaving, label %patience

patience:
  %patient = icmp slt i64 %spun, %spins
  br i1 %patient, label %spin, label %sleep

spin:
  call void @pause()
  %spun.next = add i64 %spun, 1
  br label %look

sleep:
  %one.more = atomicrmw add ptr %asleep.at, i32 1 seq_cst, align 4
  br label %asleep

asleep:
  %still = load atomic i32, ptr %epoch.at seq_cst, align 4
  %same = icmp eq i32 %still, %seen
  br i1 %same, label %wait, label %awake

wait:                                                            ; returns at once if the epoch is no longer `seen`
  call void @wait(ptr %epoch.at, i32 %seen)
  br label %asleep

awake:
  %one.less = atomicrmw sub ptr %asleep.at, i32 1 seq_cst, align 4
  br label %leaving

leaving:
  %epoch = phi i32 [ %now, %look ], [ %still, %awake ]
  %leave = load atomic i32, ptr %leave.at acquire, align 4
  %stay = icmp eq i32 %leave, 0
  br i1 %stay, label %start, label %exit

start:
  %limit = load atomic i64, ptr %limit.at monotonic, align 8
  %mine = icmp slt i64 %worker, %limit
  br i1 %mine, label %work, label %idle

work:
  store atomic i64 1, ptr %busy.at seq_cst, align 8
  call void @take_chunks(ptr %pool)
  store atomic i64 0, ptr %busy.at release, align 8
  br label %idle

exit:
  ret void
}

; void mg_start(pool *, int64_t spins, record *): once, on zeroed memory, before there are workers.
define void @mg_start(ptr %pool, i64 %spins, ptr %records) {
  %spins.at = getelementptr %pool, ptr %pool, i32 0, i32 8
  store i64 %spins, ptr %spins.at
  %records.at = getelementptr %pool, ptr %pool, i32 0, i32 11
  store ptr %records, ptr %records.at
  ret void
}

; void mg_stop(pool *): all workers leave.
define void @mg_stop(ptr %pool) {
  %leave.at = getelementptr %pool, ptr %pool, i32 0, i32 5
  store atomic i32 1, ptr %leave.at release, align 4
  call void @publish(ptr %pool, i64 0)
  %order.at = getelementptr %pool, ptr %pool, i32 0, i32 14
  %order = load atomic i32, ptr %order.at seq_cst, align 4
  %order.next = add i32 %order, 1                                ; a leader that sleeps looks whether to leave
  %phase.at = getelementptr %pool, ptr %pool, i32 0, i32 18
  store atomic i32 2, ptr %phase.at seq_cst, align 4
  store atomic i32 %order.next, ptr %order.at seq_cst, align 4
  call void @wake(ptr %order.at)
  ret void
}

; void mg_spin(int64_t n): as long as n spins of a waiting thread take; pool.py measures it.
define void @mg_spin(i64 %n) {
entry:
  br label %head

head:
  %i = phi i64 [ 0, %entry ], [ %i.next, %body ]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %body, label %exit

body:
  call void @pause()
  %i.next = add i64 %i, 1
  br label %head

exit:
  ret void
}
