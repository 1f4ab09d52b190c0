"""Windows of what is live: a camera, a stream, a pipe, a file that is still being written.

In: a source and a window plan. Out: windows as they come, the newest ones where the model is slower
than the stream.

1. `source` says what a word on the command line means, and what FFmpeg may open for it.
2. `worker` is the child process: one thread reads and decodes, the other answers the parent.
3. `clock` turns the times that frames carry into moments since the first frame.
4. `backlog` holds the few windows that wait for the model, and drops the oldest where there are too
   many. Frames are resized when a window is fetched, so a dropped window costs next to nothing.
5. `reader` is one connection as the parent sees it. A lost stream gets a new connection, and so a
   new process.
"""
