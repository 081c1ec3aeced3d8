"What the timing notebook cannot say: what is restored after an error, what an import pulls in, and what needs a GPU."
import subprocess, sys
import pytest, torch
from minisgd.timing import Timer, benchmark, threads

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
