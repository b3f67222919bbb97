"""Text as a page may show it: nothing in it acts, hides or turns around what stands beside it."""

from __future__ import annotations

from markupsafe import Markup

from mesh.visible import visible


def clean(value: object) -> object:
    """A text with its control and direction marks made visible; anything else as it is.

    It is applied to everything that a template prints, before it is escaped.
    """
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(str(value))
    return value


def number(value: int) -> str:
    """A number with its thousands apart."""
    return f"{value:,}"


def duration(elapsed_us: int) -> tuple[str, str]:
    """Mesh time in its two largest units, English and Japanese."""
    seconds = elapsed_us / 1_000_000
    if seconds < 60:
        return f"{seconds:.2f} s", f"{seconds:.2f}秒"
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if hours == 0:
        return f"{minutes} min {int(seconds % 60)} s", f"{minutes}分{int(seconds % 60)}秒"
    if days == 0:
        return f"{hours} h {minutes % 60} min", f"{hours}時間{minutes % 60}分"
    return f"{days} d {hours % 24} h", f"{days}日{hours % 24}時間"
