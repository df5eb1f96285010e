"""Runs a gateway as a process of its own: `python serve.py HOME PORT`."""

import sys
from pathlib import Path

from jinqiao.dataplane.gateway.main import main

sys.exit(main(["run", str(Path(sys.argv[1])), "--port", sys.argv[2]]))
