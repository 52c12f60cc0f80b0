"""A model project's own code may do anything; what is said of it names the file."""

from __future__ import annotations

import pytest

from andon.adapters.projects import load_pipeline
from andon.errors import LineError


@pytest.mark.parametrize(
    "code",
    [
        "import sys\nsys.exit('enough')",
        "def pipeline():\n    raise SystemExit('enough')",
        "def pipeline():\n    raise ValueError('enough')",
    ],
)
def test_code_that_ends_or_raises_is_an_error_with_its_words(tmp_path, code):
    folder = tmp_path / "models" / "m"
    folder.mkdir(parents=True)
    (folder / "pipeline.py").write_text(code)
    with pytest.raises(LineError, match=r"models/m/pipeline\.py: .*enough"):
        load_pipeline(tmp_path, "m")
