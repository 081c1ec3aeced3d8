"What the timing notebook leaves out: bad input, what is restored after an error, what an import pulls in, what needs a GPU."
import math, subprocess, sys
import pytest, torch
from minisgd.timing import Timer, benchmark, compare, fit_step_cost, gflops, threads

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')


def test_threads_are_restored_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(KeyError):
        with threads(before + 1): raise KeyError
    assert torch.get_num_threads() == before


def test_an_error_in_the_body_ends_the_lap_and_is_passed_on():
    timer = Timer()
    with pytest.raises(KeyError):
        with timer: raise KeyError
    assert len(timer.times) == 1 and timer.started is None


def test_a_timer_that_was_not_started_cannot_stop():
    with pytest.raises(RuntimeError, match=r'stop\(\) before start\(\)'): Timer().stop()


@pytest.mark.parametrize('bad, message', [(dict(repeat=0), 'repeat is 0'), (dict(min_time=-1), 'min_time is -1'),
                                          (dict(min_time=math.nan), 'min_time is nan')])
def test_benchmarks_refuse(bad, message):
    with pytest.raises(ValueError, match=message): benchmark(int, **bad)
    with pytest.raises(ValueError, match=message): compare({'f': int}, **bad)


def test_one_run_has_no_spread():
    median, spread = benchmark(int, repeat=1, min_time=0)
    assert median > 0 and math.isnan(spread)


def test_rates_need_work_and_time():
    with pytest.raises(ValueError, match='n is 0'): gflops(0, seconds=1)
    for bad in 0, -1, math.nan:
        with pytest.raises(ValueError, match='seconds is'): gflops(8, seconds=bad)


@pytest.mark.parametrize('bs, seconds, message', [
    ([8, 8], [1, 1], 'two different'), ([1, 8], [1, 2, 3], 'two different'), ([[1, 8]], [[1, 2]], 'two different'), ([], [], 'two different'),
    ([1, 8], [0, 1], 'positive'), ([0, 8], [1, 2], 'positive'), ([1, 8], [1, math.nan], 'positive'), ([1, 8], [2, 1], 'do not grow')])
def test_the_law_needs_times_that_grow(bs, seconds, message):
    with pytest.raises(ValueError, match=message): fit_step_cost(bs, seconds)


def test_import_is_light_and_starts_no_gpu():
    code = ("import sys, minisgd.timing as t; t.Timer().start(); import torch; assert not torch.cuda.is_initialized(); "
            "print(*{'matplotlib', 'sklearn', 'minisgd.data'} & set(sys.modules))")
    assert subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True).stdout.strip() == ''


@gpu
def test_the_work_of_a_gpu_is_on_the_bill_and_earlier_work_is_not():
    x = torch.randn(4096, 4096, device='cuda')
    def work(): return [x@x for _ in range(20)]
    seconds, _ = benchmark(work, repeat=3)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record(); work(); end.record(); end.synchronize()
    assert seconds > 0.5*start.elapsed_time(end)/1000
    work()                                     # still queued when the next lap begins
    with Timer() as timer: pass
    assert timer.sum() < 0.5*seconds
