"""`python -m kfaclib`, the `kfac` command: what torchrun starts."""

import sys

from kfaclib.commands.cli import main

if __name__ == "__main__":
    sys.exit(main())
