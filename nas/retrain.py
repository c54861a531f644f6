"""`python -m nas.retrain`."""

import sys

from nas.retraining.retrain import main

if __name__ == "__main__":
    sys.exit(main())
