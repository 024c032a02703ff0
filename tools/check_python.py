"""Exits with a one-line error if the pinned requirements have no wheels for this Python."""

import sys

if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    version = "%d.%d (%s)" % (sys.version_info[0], sys.version_info[1], sys.executable)  # noqa: UP031
    advice = "choose one, such as: make PYTHON=python3.11"
    sys.exit("error: expected Python 3.11, 3.12 or 3.13, found %s; %s" % (version, advice))  # noqa: UP031
