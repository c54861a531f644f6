"""What a study has decided and what it has not, from its search and, if there was one, its retraining."""

from __future__ import annotations

from nas.errors import mendable
from nas.report import retraining_verdict
from nas.report.remarks import remarks
from nas.report.verdict import of_search, verdict
from nas.results import Results
from nas.retraining.retrained import load_retrained


@mendable
def conclusion(results: Results) -> list[str]:
    """The conclusion in a few sentences. A difference within the noise is said to be not decided."""
    if results.retraining() is None:
        return [*verdict(results), *remarks(results)]
    return [*of_search(results), *remarks(results), *retraining_verdict.verdict(load_retrained(results))]
