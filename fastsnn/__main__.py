"""What `python -m fastsnn` runs."""

import sys

from fastsnn.cli import main

if __name__ == "__main__":
    sys.exit(main())
