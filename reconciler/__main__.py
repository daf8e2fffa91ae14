"""`python -m reconciler` is `lian`."""

import sys

from reconciler.cli import main

sys.exit(main())
