"""The BigCode evaluation harness in a process of its own.

https://github.com/bigcode-project/bigcode-evaluation-harness
"""
