"""What happens when in a long video.

In: a video and a model. Out: windows with scores as the video is decoded, once and forwards, and at
its end the shots and segments.

1. `video/` follows the video in a process of its own and gives windows: clips at even steps within
   each shot, each the clip that `classify` would take there.
2. `inference/window_scores` scores them; what one frame gives by itself is computed once.
3. `segments` finds the labels that explain the scores best if every change of label has a price
   (Viterbi's algorithm), shot by shot. A segment never crosses a cut.
4. `refine` may then look at windows between two neighbours whose labels differ, to find the moment of
   the change more exactly.
"""
