"""`python -m gaussflow`, the same as the command `gaussflow`."""

import sys

from gaussflow.cli import main

if __name__ == "__main__":
    sys.exit(main())
