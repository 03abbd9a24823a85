"""Telemetry watches a call; it must never be the reason why one fails."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def contained(watch: Callable[[], T], otherwise: T) -> T:
    """Run what only watches; if that fails in any way, go on with `otherwise`.

    This is the one place of the package that swallows every error, and it leaves no trace: a failure to log cannot be
    logged. What is lost is counted where that is possible.
    """
    try:
        return watch()
    except Exception:  # noqa: BLE001 - __str__ of foreign objects and exporters may raise anything
        return otherwise
