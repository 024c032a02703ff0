"""Exits with a one-line error if the pinned requirements have no wheels for this Python."""

import sys

OLDEST, NEWEST = (3, 11), (3, 13)

if not OLDEST <= sys.version_info[:2] <= NEWEST:
    found = "%d.%d (%s)" % (sys.version_info[0], sys.version_info[1], sys.executable)  # noqa: UP031
    sys.exit("error: expected Python 3.11, 3.12 or 3.13, found %s; choose one, such as: make PYTHON=python3.11" % found)  # noqa: UP031
