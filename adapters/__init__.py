"""Harnesses, one file each. `registry` names them."""

from __future__ import annotations

from core.registry import Registry

registry = Registry(
    "harness",
    "touchstone.adapters",
    {
        "bigcode": "adapters.bigcode:BigCode",
        "lm-eval": "adapters.lm_eval:LmEval",
        "native": "adapters.native:Native",
    },
)
"""Names to subclasses of `adapters.base.Adapter` or `adapters.base.Driven`."""
