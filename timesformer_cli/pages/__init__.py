"""Pages: answers as one HTML file that a browser shows from disk, and the page of the server.

1. `page`: an answer goes into a page as the JSON that the commands print, beside one style and one
   program, and nothing is fetched from elsewhere. The program (`script/`) puts names and labels on
   the page as text, never as markup.
2. `pictures`: small pictures of the frames that the model saw, bounded in bytes.

A page is an answer as its JSON says it, so there is one way to draw it: what comes from a file and
what comes from the server look alike.
"""
