"""Where generated code runs. `registry` names the backends."""

from __future__ import annotations

from core.registry import Registry

registry = Registry(
    "sandbox",
    "touchstone.sandboxes",
    {"docker": "sandbox.docker:DockerSandbox", "bubblewrap": "sandbox.bubblewrap:BubblewrapSandbox"},
)
"""Names to subclasses of `sandbox.base.Sandbox`."""
