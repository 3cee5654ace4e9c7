"""Leave tests of confined programs out where the machine cannot confine, but never in CI."""

import os

import pytest

from curate.system.confined.program import why_not_confined

WHY_NOT = why_not_confined()


def confined() -> pytest.MarkDecorator:
    """Return the mark of tests that run programs of unknown origin.

    `.ci/run` sets CURATE_MUST_CONFINE: there a machine that cannot confine fails them all.
    """
    must = os.environ.get("CURATE_MUST_CONFINE") == "1"
    return pytest.mark.skipif(WHY_NOT is not None and not must, reason=str(WHY_NOT))
