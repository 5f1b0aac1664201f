"""The agent: process 1 of a sandbox container. It forks a process for each candidate and reports what that did.

It uses the standard library alone, and its sources are sent to the container's Python when that starts (`PARTS`, in
this order), so that no image holds it. Frames on both sides are a length (4 bytes, big-endian) and as many bytes of
JSON. A job comes in on standard input; out go, on what was standard output, a header frame and after it the bytes that
it counts: the candidate's reply, its standard output, its standard error. The agent never parses a reply; the host
does (`sandbox.wire`).

The candidate's process runs under a user of its own, is limited before its code is compiled, and sends a frame for
each stage that it reaches. When it ends, for whatever reason, everything in the container but the agent is killed and
reaped, and what is writable is emptied.
"""

PARTS = ("values", "candidate", "system", "watch", "serve")
