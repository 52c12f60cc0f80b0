"""`andon demo`, as `make demo` calls it: twice in a row, and down."""

from __future__ import annotations

import pytest
from line_under_test import LineUnderTest, copy_project
from support import free_port_block, scratch_folder

from andon.settings import Settings
from deployments.platform import strays

pytestmark = pytest.mark.slow


@pytest.mark.timeout(1200)
def test_the_demo_sees_all_of_it_twice_in_a_row_and_down_leaves_nothing():
    with scratch_folder() as folder:
        copy_project(folder, ("churn",))
        line = LineUnderTest(Settings(project=folder, port_base=free_port_block()))
        try:
            for _ in range(2):
                done = line.andon("demo", check=False)
                assert done.returncode == 0, done.stdout + done.stderr
                assert "All of it happened" in done.stdout
                assert "✗" not in done.stdout
            summary = (line.settings.state / "demo.html").read_text(encoding="utf-8")
            assert "0 failed requests" in summary
            assert line.ask("churn", line.sample("churn")).status_code == 200, "it still serves"
            again = line.andon("deliver", "churn", check=False)
            assert again.returncode == 1, "the old model is worse for the customers of today"
            assert "no harm seen on live rows" in again.stdout
        finally:
            line.close()
        assert strays.marked(line.settings) == []
