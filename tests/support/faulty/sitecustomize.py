"""On the import path of a process: videos named `hangs` hang any decoder, `kills` kill it.

All others take a moment, and parts of a cluster's answer come every second, so that a test can
interfere between them.
"""

import importlib.abc
import importlib.machinery
import os
import signal
import sys
import time


def spoil_decoding(module):
    decode = module.decode

    def faulty(request, beat=module.no_beat):
        if "hangs" in request.path:
            beat("av")
            time.sleep(600)
        left = [n for n in ("av", "decord", "opencv") if n not in request.without]
        if "kills" in request.path and left:
            beat(left[0])
            os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(0.2)
        return decode(request, beat)

    module.decode = faulty


def write_often(module):
    module.SECONDS = 1.0


CHANGED = {
    "timesformer_cli.video.decode": spoil_decoding,
    "timesformer_cli.scale.parts": write_often,
}


class Faulty(importlib.abc.MetaPathFinder):
    """Changes modules when they are imported."""

    def find_spec(self, name, path, target=None):
        if name not in CHANGED:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        execute = spec.loader.exec_module

        def executed(module):
            execute(module)
            CHANGED[name](module)

        spec.loader.exec_module = executed
        return spec


sys.meta_path.insert(0, Faulty())
