"""`python -m nas.run`."""

import sys

from nas.searching.search import main

if __name__ == "__main__":
    sys.exit(main())
