"""What a browser shows at `/`."""

# What the page may do: all of it is its own, and it calls nobody but this server.
POLICY = (
    "default-src 'none'; connect-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
PAGE = b"""<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>tsf</title>
<h1>tsf</h1>
<p>This server labels videos. <a href="/openapi.json">Its contract</a></p>
</html>
"""


def start_page() -> bytes:
    """The page, whole, as HTML in UTF-8."""
    return PAGE
