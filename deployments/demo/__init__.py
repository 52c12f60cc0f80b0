"""The demo: the whole line once, on real input, with proof."""

from deployments.demo.run import run

__all__ = ["run"]
