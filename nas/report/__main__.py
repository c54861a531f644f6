"""`python -m nas.report`: rewrite the page of a study. From Python: `nas.write_report(...)`."""

import sys

from nas.commands.cli import main_of

if __name__ == "__main__":
    sys.exit(main_of("report"))
