"""The tests, laid out as the package is."""

import os
import sys

# A run starts about a thousand processes. Where the environment forbids to keep modules compiled, each of
# them compiled ours again, which is a third of its start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
