"""The peers of `benchmarks.sandbox`: programs of their own, which read samples on standard input and judge them.

Each loads everything before its clock starts, and prints one JSON object: `seconds`, and `passed`, a boolean for each
sample in order.
"""
