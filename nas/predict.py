"""`python -m nas.predict`."""

import sys

from nas.models.inference import main

if __name__ == "__main__":
    sys.exit(main())
