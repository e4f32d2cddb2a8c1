; Elements i and partners[i] of order change places, for i = 0, 1, 2 … in turn. A partner may be i itself, or any
; element of order. shuffle.py calls it.

define void @mg_shuffle(ptr %order, ptr %partners, i64 %count) {
entry:
  %some = icmp sgt i64 %count, 0
  br i1 %some, label %loop, label %done

loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %at_partner = getelementptr i32, ptr %partners, i64 %i
  %partner = load i32, ptr %at_partner
  %j = zext i32 %partner to i64
  %here = getelementptr i32, ptr %order, i64 %i
  %there = getelementptr i32, ptr %order, i64 %j
  %a = load i32, ptr %here
  %b = load i32, ptr %there
  store i32 %b, ptr %here
  store i32 %a, ptr %there
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %count
  br i1 %more, label %loop, label %done

done:
  ret void
}
