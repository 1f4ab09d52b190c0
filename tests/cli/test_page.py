"""The page of what was found: whatever a file or a label is called, it stays text."""

from html.parser import HTMLParser

from timesformer_cli.cli.show.page import Shown, page

HOSTILE = "/a/<img src=x onerror=alert(1)>\"'&\x1b[31m\u202e#t=9\udcff.mp4"


class Tags(HTMLParser):
    """What is in a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attributes if name == "src"]


def test_names_and_labels_cannot_break_out_of_the_page():
    found = Tags()
    text = page("1 found", [([Shown(HOSTILE, 1.5, 2)], [HOSTILE])])
    found.feed(text)
    assert "img" not in found.tags and found.tags.count("video") == 1
    (source,) = found.sources
    assert source.startswith("file:///a/%3Cimg") and source.endswith(".mp4#t=1.5,2")
    assert source.count("#") == 1
    assert not {"\x1b", "\u202e", "\udcff"} & set(text)
    text.encode()
