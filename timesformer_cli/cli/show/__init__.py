"""Results as text: one file per command, one function per format.

A command's result goes in; a table, JSON, CSV or Markdown goes to a stream. The one idea: JSON is
the result's dataclass, field for field, and every other format is another view of the same object.
Where there are several formats, RENDERERS maps their names to functions. A table leaves out what
the terminal has no room for, and says so.
"""
