"""Delivers each model that is named on stdin, in one process, and says how it ended.

The same flow as a worker would run, without a process to start and imports to wait for each time.
"""

from __future__ import annotations

import json
import sys

from flows.deliver import deliver

ANSWER = "ended: "

if __name__ == "__main__":
    for line in sys.stdin:
        state = deliver(line.strip(), "a test", return_state=True)
        run_id = str(state.state_details.flow_run_id)
        said = {"id": run_id, "type": state.type.value, "message": state.message or ""}
        print(ANSWER + json.dumps(said), flush=True)
