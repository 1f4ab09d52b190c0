"""One verb a file: options in, result dataclasses out; nothing here prints."""
