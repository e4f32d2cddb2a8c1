; ``Trace.follow`` for the common case, in the language of the compiler: a call that is known to come next, whose
; operands are results of this trace, or leaves. It asks ``look_at`` about leaves that do not look as they did when they
; were last read. Everything else is left to replay.py, which says what all this means; nothing has been changed then.
; quick.py compiles it: it puts numbers in the place of words in capitals, where in an object an attribute (a slot) lies.

declare ptr @PyList_GetItem(ptr, i64)                            ; borrowed
declare i64 @PyList_Size(ptr)
declare i32 @PyList_Append(ptr, ptr)
declare ptr @PyList_New(i64)
declare i32 @PyList_SetItem(ptr, i64, ptr)                       ; takes the reference over
declare ptr @PyTuple_GetItem(ptr, i64)                           ; borrowed
declare i64 @PyTuple_Size(ptr)
declare ptr @PyTuple_Pack(i64, ...)
declare ptr @PyLong_FromSsize_t(i64)
declare i64 @PyLong_AsSsize_t(ptr)
declare i32 @PyObject_RichCompareBool(ptr, ptr, i32)             ; 2: ==, or the same object
declare ptr @PyObject_CallOneArg(ptr, ptr)
declare ptr @PyWeakref_NewRef(ptr, ptr)
declare i32 @PyType_IsSubtype(ptr, ptr)
declare ptr @PyErr_Occurred()
declare void @Py_IncRef(ptr)
declare void @Py_DecRef(ptr)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)

; The function's self is a bytes object. Its contents:
%known = type { ptr, ptr, ptr,                                   ; 0  None, False, the type of tuples
                ptr, ptr, ptr, ptr,                              ; 3  TensorBase, Tensor, object.__new__, 0
                ptr }                                            ; 7  look_at

; The attribute at an offset: borrowed, null if it is not set.
define internal ptr @get(ptr %object, i64 %offset) {
  %at = getelementptr i8, ptr %object, i64 %offset
  %value = load ptr, ptr %at
  ret ptr %value
}

define internal void @set(ptr %object, i64 %offset, ptr %value) {
  %at = getelementptr i8, ptr %object, i64 %offset
  %old = load ptr, ptr %at
  call void @Py_IncRef(ptr %value)
  store ptr %value, ptr %at
  call void @Py_DecRef(ptr %old)                                 ; null is nothing to it
  ret void
}

; As ``set`` and ``append``, for a new object.
define internal void @give(ptr %object, i64 %offset, ptr %value) {
  call void @set(ptr %object, i64 %offset, ptr %value)
  call void @Py_DecRef(ptr %value)
  ret void
}

define internal void @append_new(ptr %list, ptr %value) {
  %ignored = call i32 @PyList_Append(ptr %list, ptr %value)
  call void @Py_DecRef(ptr %value)
  ret void
}

define internal i1 @is_equal(ptr %a, ptr %b) {
  %answer = call i32 @PyObject_RichCompareBool(ptr %a, ptr %b, i32 2)
  %yes = icmp eq i32 %answer, 1
  ret i1 %yes
}

; The part of the key that an operand is: its slot, or the number of its look; null if only Python can say, or has
; raised. A leaf that is seen first gets the slot %fresh; what ``look_at`` says of it is kept at %keep.
define internal ptr @part_of(ptr %known, ptr %trace, ptr %last, i64 %slots, ptr %tensor, ptr %tag, ptr %fresh,
                             ptr %keep) {
start:
  %type = call ptr @get(ptr %tensor, i64 TYPE)
  %base.at = getelementptr %known, ptr %known, i32 0, i32 3
  %base = load ptr, ptr %base.at
  %is.tensor = call i32 @PyType_IsSubtype(ptr %type, ptr %base)
  %tensor.bit = icmp ne i32 %is.tensor, 0
  br i1 %tensor.bit, label %tagged, label %unknown

tagged:
  %own.tag = call ptr @get(ptr %tensor, i64 TENSOR_TAG)
  %here = icmp eq ptr %own.tag, %tag
  br i1 %here, label %slot, label %leaf

slot:
  %own.slot = call ptr @get(ptr %tensor, i64 TENSOR_SLOT)
  ret ptr %own.slot

leaf:                                                            ; not a shell of an earlier trace
  %none = load ptr, ptr %known
  %spec = call ptr @get(ptr %tensor, i64 TENSOR_SPEC)
  %plain = icmp eq ptr %spec, %none
  br i1 %plain, label %seen, label %ask

seen:                                                            ; its look is that of the value it has now
  %look = call ptr @get(ptr %tensor, i64 TENSOR_LOOK)
  %unseen = icmp eq ptr %look, %none
  br i1 %unseen, label %ask, label %compare

compare:
  %storage = call ptr @get(ptr %tensor, i64 TENSOR_STORAGE)
  %value = call ptr @get(ptr %storage, i64 STORAGE_LAZY)
  %looked.at = call ptr @PyTuple_GetItem(ptr %look, i64 0)
  %same = icmp eq ptr %looked.at, %value
  br i1 %same, label %memory, label %ask

memory:                                                          ; and NumPy does not see its memory
  %buffer = call ptr @get(ptr %value, i64 LAZY_BUFFER)
  %no.memory = icmp eq ptr %buffer, %none
  br i1 %no.memory, label %as.seen, label %exports

exports:
  %exported = call ptr @get(ptr %buffer, i64 BUFFER_EXPORTS)
  %count = call i64 @PyList_Size(ptr %exported)
  %private = icmp eq i64 %count, 0
  br i1 %private, label %as.seen, label %ask

as.seen:
  call void @Py_IncRef(ptr %look)
  br label %found

ask:
  %look.at.at = getelementptr %known, ptr %known, i32 0, i32 7
  %look.at = load ptr, ptr %look.at.at
  %answer = call ptr @PyObject_CallOneArg(ptr %look.at, ptr %tensor)
  %raised = icmp eq ptr %answer, null
  br i1 %raised, label %unknown, label %answered

answered:                                                        ; it may have done anything, even ended this trace
  %refused = icmp eq ptr %answer, %none
  %values = call ptr @get(ptr %trace, i64 TRACE_VALUES)
  %slots.now = call i64 @PyList_Size(ptr %values)
  %entry.now = call ptr @get(ptr %trace, i64 TRACE_ENTRY)
  %other.slots = icmp ne i64 %slots.now, %slots
  %other.entry = icmp ne ptr %entry.now, %last
  %changed = or i1 %other.slots, %other.entry
  %useless = or i1 %refused, %changed
  br i1 %useless, label %drop, label %found

drop:
  call void @Py_DecRef(ptr %answer)
  br label %unknown

found:
  %the.look = phi ptr [ %look, %as.seen ], [ %answer, %answered ]
  store ptr %the.look, ptr %keep
  %length = load i64, ptr %fresh
  %next = add i64 %length, 1
  store i64 %next, ptr %fresh
  %parts = call i64 @PyTuple_Size(ptr %the.look)
  %lasting = icmp eq i64 %parts, 2
  br i1 %lasting, label %give.slot, label %give.number

give.slot:                                                       ; it is an ordinary operand from now on
  %new.slot = call ptr @PyLong_FromSsize_t(i64 %length)
  call void @set(ptr %tensor, i64 TENSOR_TAG, ptr %tag)
  call void @give(ptr %tensor, i64 TENSOR_SLOT, ptr %new.slot)
  br label %give.number

give.number:
  %number = call ptr @PyTuple_GetItem(ptr %the.look, i64 1)
  ret ptr %number

unknown:
  ret ptr null
}

; ``Trace.enter``, for a leaf that looks like this, in the slot after the last.
define internal void @enter(ptr %known, ptr %trace, ptr %tensor, ptr %look) {
start:
  %none = load ptr, ptr %known
  %values = call ptr @get(ptr %trace, i64 TRACE_VALUES)
  %length = call i64 @PyList_Size(ptr %values)
  %slot = call ptr @PyLong_FromSsize_t(i64 %length)
  %value = call ptr @PyTuple_GetItem(ptr %look, i64 0)
  %readers = call ptr @get(ptr %value, i64 LAZY_READERS)
  %before = call i64 @PyLong_AsSsize_t(ptr %readers)
  %after = add i64 %before, 1
  %more = call ptr @PyLong_FromSsize_t(i64 %after)
  call void @give(ptr %value, i64 LAZY_READERS, ptr %more)
  %leaves = call ptr @get(ptr %trace, i64 TRACE_LEAVES)
  %done.1 = call i32 @PyList_Append(ptr %leaves, ptr %slot)
  %done.2 = call i32 @PyList_Append(ptr %values, ptr %value)
  %holders = call ptr @get(ptr %trace, i64 TRACE_HOLDERS)
  %done.3 = call i32 @PyList_Append(ptr %holders, ptr %tensor)
  %specs = call ptr @get(ptr %trace, i64 TRACE_SPECS)
  %done.4 = call i32 @PyList_Append(ptr %specs, ptr %none)
  %number = call ptr @PyTuple_GetItem(ptr %look, i64 1)
  %look.number = call i64 @PyLong_AsSsize_t(ptr %number)
  %odd = and i64 %look.number, 1
  %tracked = icmp ne i64 %odd, 0
  br i1 %tracked, label %track, label %exit

track:
  %pair = call ptr (i64, ...) @PyTuple_Pack(i64 2, ptr %slot, ptr %tensor)
  %list = call ptr @get(ptr %trace, i64 TRACE_TRACKED)
  call void @append_new(ptr %list, ptr %pair)
  br label %exit

exit:
  call void @Py_DecRef(ptr %slot)
  ret void
}

; A shell, new, that has the slot after the last.
define internal ptr @shell(ptr %known, ptr %trace, ptr %tag, ptr %spec) {
start:
  %class.at = getelementptr %known, ptr %known, i32 0, i32 4
  %class = load ptr, ptr %class.at
  %new.at = getelementptr %known, ptr %known, i32 0, i32 5
  %new = load ptr, ptr %new.at
  %shell = call ptr @PyObject_CallOneArg(ptr %new, ptr %class)
  %failed = icmp eq ptr %shell, null
  br i1 %failed, label %exit, label %made

made:
  %none = load ptr, ptr %known
  %values = call ptr @get(ptr %trace, i64 TRACE_VALUES)
  %length = call i64 @PyList_Size(ptr %values)
  %slot = call ptr @PyLong_FromSsize_t(i64 %length)
  call void @set(ptr %shell, i64 TENSOR_TAG, ptr %tag)
  call void @give(ptr %shell, i64 TENSOR_SLOT, ptr %slot)
  call void @set(ptr %shell, i64 TENSOR_SPEC, ptr %spec)
  call void @set(ptr %shell, i64 TENSOR_OWNER, ptr %trace)
  %done.1 = call i32 @PyList_Append(ptr %values, ptr %none)
  %holders = call ptr @get(ptr %trace, i64 TRACE_HOLDERS)
  %weak = call ptr @PyWeakref_NewRef(ptr %shell, ptr null)
  call void @append_new(ptr %holders, ptr %weak)
  %specs = call ptr @get(ptr %trace, i64 TRACE_SPECS)
  %done.2 = call i32 @PyList_Append(ptr %specs, ptr %spec)
  br label %exit

exit:
  ret ptr %shell
}

; PyObject *mg_follow(self, (trace, function, static, enabled, tensors, numbers), 6): the list of results; None if the call
; is left to Python; null if Python has raised.
define ptr @mg_follow(ptr %self, ptr %arguments, i64 %given) {
start:
  %known = getelementptr i8, ptr %self, i64 CONTENTS
  %none = load ptr, ptr %known
  %trace = load ptr, ptr %arguments
  %function.at = getelementptr ptr, ptr %arguments, i64 1
  %function = load ptr, ptr %function.at
  %static.at = getelementptr ptr, ptr %arguments, i64 2
  %static = load ptr, ptr %static.at
  %enabled.at = getelementptr ptr, ptr %arguments, i64 3
  %enabled = load ptr, ptr %enabled.at
  %tensors.at = getelementptr ptr, ptr %arguments, i64 4
  %tensors = load ptr, ptr %tensors.at
  %numbers.at = getelementptr ptr, ptr %arguments, i64 5
  %numbers = load ptr, ptr %numbers.at
  %tag = call ptr @get(ptr %trace, i64 TRACE_TAG)
  %last = call ptr @get(ptr %trace, i64 TRACE_ENTRY)
  %next = call ptr @get(ptr %last, i64 ENTRY_NEXT)
  %end = icmp eq ptr %next, %none
  br i1 %end, label %left, label %check.hope

check.hope:
  %false.at = getelementptr %known, ptr %known, i32 0, i32 1
  %false = load ptr, ptr %false.at
  %hopeless = call ptr @get(ptr %next, i64 ENTRY_HOPELESS)
  %hope = icmp eq ptr %hopeless, %false
  br i1 %hope, label %check.types, label %left

check.types:                                                     ; of the operands and numbers: tuples
  %tuple.at = getelementptr %known, ptr %known, i32 0, i32 2
  %tuple = load ptr, ptr %tuple.at
  %tensors.type = call ptr @get(ptr %tensors, i64 TYPE)
  %numbers.type = call ptr @get(ptr %numbers, i64 TYPE)
  %tuple.1 = icmp eq ptr %tensors.type, %tuple
  %tuple.2 = icmp eq ptr %numbers.type, %tuple
  %tuples = and i1 %tuple.1, %tuple.2
  br i1 %tuples, label %check.length, label %left

check.length:
  %key = call ptr @get(ptr %last, i64 ENTRY_KEY)
  %operands = call i64 @PyTuple_Size(ptr %tensors)
  %constants = call i64 @PyTuple_Size(ptr %numbers)
  %first.number = add i64 %operands, 3
  %expected = add i64 %first.number, %constants
  %length = call i64 @PyList_Size(ptr %key)
  %fits = icmp eq i64 %length, %expected
  br i1 %fits, label %check.call, label %left

check.call:
  %key.function = call ptr @PyList_GetItem(ptr %key, i64 0)
  %key.enabled = call ptr @PyList_GetItem(ptr %key, i64 2)
  %same.function = icmp eq ptr %key.function, %function
  %same.mode = icmp eq ptr %key.enabled, %enabled
  %same.call = and i1 %same.function, %same.mode
  br i1 %same.call, label %check.static, label %left

check.static:
  %key.static = call ptr @PyList_GetItem(ptr %key, i64 1)
  %same.static = call i1 @is_equal(ptr %key.static, ptr %static)
  br i1 %same.static, label %check.operands, label %left

check.operands:
  %values = call ptr @get(ptr %trace, i64 TRACE_VALUES)
  %slots = call i64 @PyList_Size(ptr %values)
  %fresh = alloca i64
  store i64 %slots, ptr %fresh
  %looks = alloca ptr, i64 %operands
  %bytes = mul i64 %operands, 8
  call void @llvm.memset.p0.i64(ptr %looks, i8 0, i64 %bytes, i1 false)
  br label %operand.head

operand.head:
  %i = phi i64 [ 0, %check.operands ], [ %i.next, %operand.next ]
  %operand.more = icmp slt i64 %i, %operands
  br i1 %operand.more, label %operand.body, label %check.first

operand.body:
  %tensor = call ptr @PyTuple_GetItem(ptr %tensors, i64 %i)
  %keep = getelementptr ptr, ptr %looks, i64 %i
  %part = call ptr @part_of(ptr %known, ptr %trace, ptr %last, i64 %slots, ptr %tensor, ptr %tag, ptr %fresh, ptr %keep)
  %unknown = icmp eq ptr %part, null
  br i1 %unknown, label %undo.head, label %operand.compare

operand.compare:
  %part.at = add i64 %i, 3
  %key.part = call ptr @PyList_GetItem(ptr %key, i64 %part.at)
  %same.part = call i1 @is_equal(ptr %key.part, ptr %part)
  br i1 %same.part, label %operand.next, label %undo.head

operand.next:
  %i.next = add i64 %i, 1
  br label %operand.head

check.first:                                                     ; as many slots were given as when it was recorded
  %end.slot = load i64, ptr %fresh
  %first = call ptr @get(ptr %next, i64 ENTRY_FIRST)
  %first.slot = call i64 @PyLong_AsSsize_t(ptr %first)
  %same.first = icmp eq i64 %end.slot, %first.slot
  br i1 %same.first, label %number.head, label %undo.head

number.head:
  %j = phi i64 [ 0, %check.first ], [ %j.next, %number.next ]
  %number.more = icmp slt i64 %j, %constants
  br i1 %number.more, label %number.body, label %enter.head

number.body:
  %pair = call ptr @PyTuple_GetItem(ptr %numbers, i64 %j)
  %dtype = call ptr @PyTuple_GetItem(ptr %pair, i64 1)
  %dtype.at = add i64 %first.number, %j
  %key.dtype = call ptr @PyList_GetItem(ptr %key, i64 %dtype.at)
  %same.dtype = icmp eq ptr %key.dtype, %dtype
  br i1 %same.dtype, label %number.next, label %undo.head

number.next:
  %j.next = add i64 %j, 1
  br label %number.head

enter.head:                                                      ; it is the call that was expected
  %k = phi i64 [ 0, %number.head ], [ %k.next, %enter.next ]
  %enter.more = icmp slt i64 %k, %operands
  br i1 %enter.more, label %enter.body, label %keep.head

enter.body:
  %operand = call ptr @PyTuple_GetItem(ptr %tensors, i64 %k)
  %look.at = getelementptr ptr, ptr %looks, i64 %k
  %look = load ptr, ptr %look.at
  %is.old = icmp eq ptr %look, null
  br i1 %is.old, label %enter.next, label %enter.leaf

enter.leaf:
  call void @enter(ptr %known, ptr %trace, ptr %operand, ptr %look)
  call void @Py_DecRef(ptr %look)
  br label %enter.next

enter.next:
  %k.next = add i64 %k, 1
  br label %enter.head

keep.head:
  %m = phi i64 [ 0, %enter.head ], [ %m.next, %keep.body ]
  %keep.more = icmp slt i64 %m, %constants
  br i1 %keep.more, label %keep.body, label %advance

keep.body:
  %kept.pair = call ptr @PyTuple_GetItem(ptr %numbers, i64 %m)
  %number = call ptr @PyTuple_GetItem(ptr %kept.pair, i64 0)
  %all.numbers = call ptr @get(ptr %trace, i64 TRACE_NUMBERS)
  %done = call i32 @PyList_Append(ptr %all.numbers, ptr %number)
  %m.next = add i64 %m, 1
  br label %keep.head

advance:
  call void @set(ptr %trace, i64 TRACE_ENTRY, ptr %next)
  %path = call ptr @get(ptr %trace, i64 TRACE_PATH)
  %appended = call i32 @PyList_Append(ptr %path, ptr %next)
  %specs = call ptr @get(ptr %next, i64 ENTRY_SPECS)
  %count = call i64 @PyTuple_Size(ptr %specs)
  %results = call ptr @PyList_New(i64 %count)
  br label %shell.head

shell.head:
  %s = phi i64 [ 0, %advance ], [ %s.next, %shell.body ]
  %shell.more = icmp slt i64 %s, %count
  br i1 %shell.more, label %shell.body, label %finish

shell.body:
  %spec = call ptr @PyTuple_GetItem(ptr %specs, i64 %s)
  %shell = call ptr @shell(ptr %known, ptr %trace, ptr %tag, ptr %spec)
  %placed = call i32 @PyList_SetItem(ptr %results, i64 %s, ptr %shell)
  %s.next = add i64 %s, 1
  br label %shell.head

finish:
  %error = call ptr @PyErr_Occurred()
  %raised = icmp ne ptr %error, null
  br i1 %raised, label %fail, label %succeed

succeed:
  ret ptr %results

fail:
  call void @Py_DecRef(ptr %results)
  ret ptr null

undo.head:                                                       ; what has got a slot gives it back
  %u = phi i64 [ 0, %operand.body ], [ 0, %operand.compare ], [ 0, %check.first ], [ 0, %number.body ],
               [ %u.next, %undo.next ]
  %undo.more = icmp slt i64 %u, %operands
  br i1 %undo.more, label %undo.body, label %left

undo.body:
  %undone = call ptr @PyTuple_GetItem(ptr %tensors, i64 %u)
  %undone.look.at = getelementptr ptr, ptr %looks, i64 %u
  %undone.look = load ptr, ptr %undone.look.at
  %was.old = icmp eq ptr %undone.look, null
  br i1 %was.old, label %undo.next, label %undo.look

undo.look:
  %undone.parts = call i64 @PyTuple_Size(ptr %undone.look)
  call void @Py_DecRef(ptr %undone.look)
  %was.lasting = icmp eq i64 %undone.parts, 2
  br i1 %was.lasting, label %undo.leaf, label %undo.next

undo.leaf:
  %zero.at = getelementptr %known, ptr %known, i32 0, i32 6
  %zero = load ptr, ptr %zero.at
  call void @set(ptr %undone, i64 TENSOR_TAG, ptr %zero)
  br label %undo.next

undo.next:
  %u.next = add i64 %u, 1
  br label %undo.head

left:
  %left.error = call ptr @PyErr_Occurred()
  %left.raised = icmp ne ptr %left.error, null
  br i1 %left.raised, label %left.fail, label %left.none

left.fail:
  ret ptr null

left.none:
  call void @Py_IncRef(ptr %none)
  ret ptr %none
}
