"""What a browser shows at `/`."""

from functools import cache
from typing import NamedTuple


class StartPage(NamedTuple):
    """A page, and what it may do."""

    text: str
    policy: str


@cache
def start_page(*, token: bool, most: int) -> StartPage:
    """The page for videos of up to `most` bytes, which asks for the server's token, if it has one."""
    from timesformer_cli.pages.page import page_policy, render_page

    return StartPage(
        text=render_page("live", "What a video shows", connects=True, token=token, most=most),
        policy=f"{page_policy(connects=True)}; frame-ancestors 'none'",
    )
