"""Why an engine is not to be had."""


class CannotCompile(Exception):
    """This part of a pipeline has no form in that engine; names the part."""
