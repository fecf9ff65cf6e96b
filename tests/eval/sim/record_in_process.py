"""Run by test_record.py: `record_sim` in processes of its own, as the command line runs it.

python record_in_process.py OUT '{"arms": [...], ...}'      prints the finished folders as JSON
"""

import json
import sys
from pathlib import Path

from rtx.eval.sim.record import record_sim

if __name__ == "__main__":
    print(json.dumps([str(path) for path in record_sim(Path(sys.argv[1]), **json.loads(sys.argv[2]))]))
