"""Results as pictures: files drawn by matplotlib, and schemes drawn as text.

A report goes in; a .png, .svg or .pdf appears, whole or not at all. matplotlib is optional and is
imported inside the functions. `style.require_drawable` is asked before any work: a picture that
cannot be drawn ends a command at once. `scheme` needs no matplotlib: it draws what one patch sees
with characters, read off the scheme's own groupings.
"""
