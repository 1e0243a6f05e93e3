# SPDX-License-Identifier: MPL-2.0
"""How the exporter refuses and warns: in one sentence, which says what was expected, what was found, and what to do."""

from __future__ import annotations

import sys


class ExportError(Exception):
    """A model that cannot be exported as it is. It is no RuntimeError or ValueError: those are what models themselves raise."""


def warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
