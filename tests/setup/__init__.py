"""Set-up's decisions, on made-up machines: a PATH of small programs that write down how they were called."""

import sys
from pathlib import Path

# Set-up is no part of the package: it runs before the package is installed.
sys.path.insert(0, str(Path(__file__).parents[2] / ".ci"))
