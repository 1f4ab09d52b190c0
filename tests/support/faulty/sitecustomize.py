"""On the import path of a process: videos named `hangs` hang any decoder, `kills` kill it."""

import importlib.abc
import importlib.machinery
import os
import signal
import sys
import time

NAME = "timesformer_cli.video.decode"


class Faulty(importlib.abc.MetaPathFinder):
    """Wraps the function that decodes, when its module is imported."""

    def find_spec(self, name, path, target=None):
        if name != NAME:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        execute = spec.loader.exec_module

        def executed(module):
            execute(module)
            decode = module.decode

            def faulty(request, beat=module.no_beat):
                if "hangs" in request.path:
                    beat("av")
                    time.sleep(600)
                left = [n for n in ("av", "decord", "opencv") if n not in request.without]
                if "kills" in request.path and left:
                    beat(left[0])
                    os.kill(os.getpid(), signal.SIGSEGV)
                return decode(request, beat)

            module.decode = faulty

        spec.loader.exec_module = executed
        return spec


sys.meta_path.insert(0, Faulty())
