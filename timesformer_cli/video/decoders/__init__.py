"""A file and wanted moments in; for each moment, the picture that is on screen then.

There is one reader per library (`decord`, `pyav`, `opencv`, `torchcodec`), all with the signature
`Reader`. A reader chooses frames by their times, not by their numbers, so a variable frame rate
does not matter. Each frame is prepared (resized and cropped) as it is taken, so only small pictures
are held.

A reader that would return wrong frames for a file must decline it (`ReaderDeclined`), and the
caller asks the next one. When times run backwards, a reader reads again and trusts less: first
without seeking, then with times counted from the frame rate.
"""
