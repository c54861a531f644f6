"""`python -m nas.evaluate`."""

import sys

from nas.models.evaluation import main

if __name__ == "__main__":
    sys.exit(main())
