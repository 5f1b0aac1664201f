"""Programs that run a harness in a process of its own, driven over a socket by `adapters.hosted`.

There a harness may change its working directory, its random state and its environment as it likes, print what it likes,
and take its time to be imported while the rest of Touchstone starts. It talks to no model and runs no generated code:
it asks for answers and for executions.
"""
