"""lm-eval, https://github.com/EleutherAI/lm-evaluation-harness, in a process of its own."""
