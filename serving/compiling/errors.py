"""Why an engine is not to be had."""


class CannotCompile(Exception):
    """A part of a pipeline, which it names, has no form in that engine."""
