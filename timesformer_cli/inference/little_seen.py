"""What is said of a video of which a single clip shows little."""

from timesformer_cli.video import Decoded

# One clip of a video longer than LONG is worth a warning where it is less than this share of it.
LONG, MOST_UNNOTED = 30.0, 0.25  # seconds; a share


def little_seen(decoded: Decoded) -> tuple[str, ...]:
    """A warning where the only view is a small part of a long video."""
    if len(decoded.views) > 1:  # whoever asks for views knows
        return ()
    (view,), duration = decoded.views, decoded.probe.duration
    seen = view.end - view.start
    if seen > MOST_UNNOTED * duration or duration < LONG:
        return ()
    return (f"was seen for {seen:.1f} s of {_clock(duration)}; see --views or tsf timeline",)


def _clock(seconds: float) -> str:
    """`32:37` or `1:02:37`; `45 s` below a minute."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
