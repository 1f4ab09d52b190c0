"""Work that another thread does comes in order, is bounded, and fails where it is asked for."""

import threading
import time

import numpy as np
import pytest

from timesformer_cli.video.ahead import Ahead, at_once
from timesformer_cli.video.cuts import CutFinder, CutWatch


def test_work_is_done_in_order_by_one_other_thread():
    done = []
    with Ahead(3) as ahead:
        results = [
            ahead(lambda n=n: done.append((n, threading.get_ident())) or n) for n in range(9)
        ]
        assert [result() for result in results] == list(range(9))
        assert [result() for result in results] == list(range(9)), "asked for again"
    assert [number for number, _ in done] == list(range(9))
    assert {thread for _, thread in done} & {threading.get_ident()} == set()


def test_no_more_is_unfinished_than_may_be():
    begun, may_go_on = [], threading.Event()

    def begin_all() -> None:
        for number in range(5):
            begun.append(number)
            ahead(may_go_on.wait)

    with Ahead(2) as ahead:
        thread = threading.Thread(target=begin_all)
        thread.start()
        time.sleep(0.2)
        assert begun == [0, 1, 2]  # the third waits for room
        may_go_on.set()
        thread.join()
    assert begun == [0, 1, 2, 3, 4]


def test_an_error_is_raised_where_the_result_is_asked_for_and_the_rest_is_done():
    def fails() -> None:
        raise ValueError("no picture")

    with Ahead(2) as ahead:
        broken, whole = ahead(fails), ahead(lambda: 7)
        with pytest.raises(ValueError, match="no picture"):
            broken()
        assert whole() == 7


@pytest.mark.parametrize("behind", [0, 1, 4, 50])
def test_cuts_are_the_same_however_far_the_look_lags(behind):
    generator = np.random.default_rng(5)
    scenes = [generator.integers(0, 256, (18, 96, 3), np.uint8) for _ in range(6)]
    pictures = [scenes[number // 25] for number in range(150)]
    finder, expected = CutFinder(30), set()
    for picture in pictures:
        expected.add(finder.feed(picture))
    found = set()
    with Ahead(4) as ahead:
        watch = CutWatch(30, ahead if behind else at_once, behind)
        for number, picture in enumerate(pictures):
            watch.look(lambda picture=picture: picture)
            if number >= watch.lag and watch.begins_shot(number - watch.lag):
                found.add(number - watch.lag)
        for number in range(max(0, len(pictures) - watch.lag), len(pictures)):
            if watch.begins_shot(number):
                found.add(number)
    assert found == expected - {None} == {25, 50, 75, 100, 125}
