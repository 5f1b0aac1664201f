"""The agent: what runs in a sandbox's container, in three roles.

The **zygote** is process 1. It forks candidates and, when one is done, kills and reaps all of its processes and empties
what is writable. It never holds a job, so that nothing of one is in the memory that a candidate inherits.

The **tester** is forked once, at the start. It alone has the line to the host, and with it jobs, tests and outcomes. It
hands a candidate its solution, watches its limits, and runs test code itself, against stand-ins for what the solution
defines: they call the candidate over a pipe, with plain values. It has a user of its own; a candidate can neither
signal, trace nor read it.

The **candidate** has a user of its own for each job, is limited before its code is compiled, and knows the solution,
the calls of the cases that are data, and the arguments with which it is called. In other languages than Python it is
the program itself, tests and all, or its compiler.

All use the standard library alone. Their sources are sent to the container's Python when that starts (`PARTS`, in this
order), so that no image holds them. Frames are a length (4 bytes, big-endian) and as many bytes of JSON. A job comes in
on standard input, with the bytes after it that it counts as its `payload`; out go, on what was standard output, a
header frame and after it the bytes that it counts: the candidate's reply, its standard output, its standard error;
before that, at most once, a header that says only that the candidate is asleep. The reply to cases that are data is not
parsed here; the host does that (`sandbox.wire`).
"""

PARTS = ("values", "frames", "seccomp", "system", "watch", "program", "candidate", "remote", "tester", "zygote")
