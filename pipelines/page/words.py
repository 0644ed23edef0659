"""How pages and tables write numbers, and texts that plotly would read as markup."""

from __future__ import annotations

import html

MISSING = "–"


def plain(text: str) -> str:
    """Take from a text what plotly would read as its markup."""
    return html.escape(text, quote=False)


def percent(score: float) -> str:
    """Write a fraction in percent, to a tenth."""
    return f"{100 * score:.1f}"


def share(fraction: float) -> str:
    """Write a confidence."""
    return f"{100 * fraction:g}\N{NO-BREAK SPACE}%"


def duration(seconds: float | None) -> str:
    """Write a time in the units that people would; nothing if it is unknown or none."""
    if not seconds:
        return ""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
