"What the timing notebook leaves out: bad input, one run, what an import pulls in, a clock that stretches, what needs a GPU."
import math, random, subprocess, sys, time
import pytest, torch
from minisgd.timing import Timer, benchmark, compare, fit_step_cost, gflops

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')


class Clock:
    now = 0.
    def __call__(self): return self.now


def test_an_error_in_the_body_ends_the_lap_and_is_passed_on():
    timer = Timer()
    with pytest.raises(KeyError):
        with timer: raise KeyError
    assert len(timer.times) == 1 and timer.started is None


def test_a_timer_that_was_not_started_cannot_stop():
    with pytest.raises(RuntimeError, match=r'stop\(\) before start\(\)'): Timer().stop()


def test_a_second_start_begins_the_lap_anew():
    timer = Timer(clock := Clock())
    timer.start()
    clock.now += 5
    timer.start()
    clock.now += 1
    assert timer.stop() == 1 and timer.times == [1] and timer.cumsum() == [1]


@pytest.mark.parametrize('bad, message', [(dict(repeat=0), 'repeat=0'), (dict(min_time=-1), 'min_time=-1'),
                                          (dict(min_time=math.nan), 'min_time=nan')])
def test_benchmarks_refuse(bad, message):
    with pytest.raises(ValueError, match=message): benchmark(int, **bad)
    with pytest.raises(ValueError, match=message): compare({'f': int}, **bad)


def test_one_run_has_no_spread():
    median, spread = benchmark(int, repeat=1, min_time=0)
    assert median > 0 and math.isnan(spread)


def test_unless_told_otherwise_there_are_seven_runs_of_a_millisecond_by_perf_counter():
    assert Timer().clock is compare.__kwdefaults__['clock'] is time.perf_counter
    clock, calls = Clock(), []
    def f(): calls.append(1); clock.now += 2**-12
    assert benchmark(f, clock=clock) == (2**-12, 0)
    assert len(calls) == 1 + (1 + 2 + 4 + 8) + 7*(1 + 8)        # cold; trials; runs, with a call before each


def test_a_clock_that_runs_fast_now_and_then_does_not_change_the_ranking():
    clock, rng = Clock(), random.Random(0)
    def job(seconds): clock.now += seconds*(5 if rng.random() < 0.2 else 1)
    for _ in range(20):
        times = compare({'quick': lambda: job(1), 'slow': lambda: job(1.5)}, repeat=15, clock=clock)
        assert times['quick'][0] < times['slow'][0] < 2*times['quick'][0]


def test_rates_need_work_and_time():
    with pytest.raises(ValueError, match='n=0'): gflops(0, seconds=1)
    for bad in 0, -1, math.nan:
        with pytest.raises(ValueError, match='seconds='): gflops(8, seconds=bad)


@pytest.mark.parametrize('bs, seconds, message', [
    ([8, 8], [1, 1], 'two or more'), ([1, 8], [1, 2, 3], 'two or more'), ([[1, 8]], [[1, 2]], 'two or more'), ([], [], 'two or more'),
    ([1, 8], [0, 1], 'positive'), ([0, 8], [1, 2], 'positive'), ([1, 8], [1, math.nan], 'positive'), ([1, 8], [2, 1], 'do not grow')])
def test_the_law_needs_times_that_grow(bs, seconds, message):
    with pytest.raises(ValueError, match=message): fit_step_cost(bs, seconds)


def test_no_step_takes_less_than_no_time_before_its_first_row():
    t0, rate = fit_step_cost([1, 10, 100], [1e-4, 2e-3, 3e-2])
    assert t0 == 0 and 1/3e-4 < rate < 1/1e-4


def test_tensors_and_lists_are_as_good_as_arrays():
    bs = torch.tensor([1., 4., 16.])
    assert fit_step_cost(bs, 1 + bs/2) == pytest.approx((1, 2)) == fit_step_cost([1, 4, 16], [1.5, 3, 9])


def test_import_is_light_and_starts_no_gpu():
    code = ("import sys, minisgd.timing as t; t.Timer().start(); import torch; assert not torch.cuda.is_initialized(); "
            "print(*{'matplotlib', 'sklearn', 'minisgd.data'} & set(sys.modules))")
    assert subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True).stdout.strip() == ''


def test_a_lap_waits_for_the_gpu_at_both_ends(monkeypatch):
    "A queue of seconds, which pass when somebody waits: three from before the lap, and five of its own."
    clock, queue = Clock(), [3]
    def wait(): clock.now += sum(queue); queue.clear()
    monkeypatch.setattr(torch.cuda, 'is_initialized', lambda: True)
    monkeypatch.setattr(torch.cuda, 'synchronize', wait)
    with Timer(clock) as timer: queue.append(5)
    assert timer.times == [5]


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
