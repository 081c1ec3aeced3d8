"What notebook 10 does not say: the closed forms against every possible run, odd input, and the engine's order."
import itertools, math
import pytest, torch
from minisgd.batch_size import (estimate_noise, expected_excess, fit_hyperbola, noise_floor, noise_scale,
                                variance_factor)
from minisgd.race import sgd_runs


def seeded(seed): return torch.Generator().manual_seed(seed)
def data(n=40, k=3, dtype=torch.float64):
    x = torch.randn(n, k, generator=seeded(0), dtype=dtype)
    return x, x.sum(1) + torch.randn(n, generator=seeded(1), dtype=dtype)


def every_run(x, y, lr, bs, steps, replacement):
    "Mean excess after each step over all sequences of batches, by counting them."
    n = len(x)
    best = torch.linalg.lstsq(x, y[:,None]).solution[:,0]
    batches = list(itertools.product(range(n), repeat=bs) if replacement else itertools.combinations(range(n), bs))
    total = torch.zeros(steps + 1, dtype=x.dtype)
    for run in itertools.product(batches, repeat=steps):
        w = torch.zeros_like(best)
        for t, i in enumerate([*run, None]):
            total[t] += (x@(w - best)).square().mean()/2
            if i is not None: w = w - lr*x[list(i)].T@(x[list(i)]@w - y[list(i)])/bs
    return total/len(batches)**steps


@pytest.mark.parametrize('replacement', [False, True])
@pytest.mark.parametrize('bs', [1, 2, 3])
def test_expected_excess_is_the_mean_over_every_possible_run(bs, replacement):
    x, y = data(n=4, k=2)
    theory = expected_excess(x, y, [0.1, 0.7], bs, steps=2, replacement=replacement)
    for r, lr in enumerate((0.1, 0.7)):
        torch.testing.assert_close(theory[:,r], every_run(x, y, lr, bs, 2, replacement))


def test_the_estimate_is_unbiased_over_every_possible_batch():
    g = data(n=6)[0]
    trace, square = (g - g.mean(0)).square().sum().item()/6, g.mean(0).square().sum().item()
    small, big = (torch.stack([g[list(i)].mean(0) for i in itertools.combinations(range(6), b)]) for b in (2, 4))
    assert estimate_noise(small, big, 2, 4, n=6) == pytest.approx((trace, square))
    assert noise_scale(g) == pytest.approx(trace/square)


def test_the_floor_is_where_the_expected_excess_ends():
    x, y = data()
    for bs, replacement in (1, True), (4, False), (40, False):
        end = expected_excess(x, y, [0.05, 0.02], bs, 3000, replacement)[-1]
        torch.testing.assert_close(noise_floor(x, y, [0.05, 0.02], bs, replacement), end, rtol=1e-6, atol=1e-12)
    assert noise_floor(x, y, 10., 1).tolist() == [math.inf]


def test_runs_start_where_told_and_leave_the_start_alone():
    x, y = data()
    w = torch.randn(2, 1, 3, generator=seeded(2), dtype=x.dtype)
    kept = w.clone()
    path = sgd_runs(x, y, 0.1, 8, 7, seeds=2, w=w, generator=seeded(3))
    assert torch.equal(path[0], kept) and torch.equal(w, kept) and path.shape == (8, 2, 1, 3)
    again = sgd_runs(x, y, 0.1, 8, 2, seeds=2, w=path[5], generator=seeded(4))
    assert torch.equal(again[0], path[5])
    assert torch.equal(sgd_runs(x, y, 0.1, 8, 0)[0], torch.zeros(9, 1, 3, dtype=x.dtype))


@pytest.mark.parametrize('kwargs', [{}, {'replacement': True}, {'drop_last': True}])
def test_seeds_differ_repeat_and_keep_to_their_generator(kwargs):
    x, y = data(dtype=torch.float32)
    before = torch.get_rng_state()
    a, b = (sgd_runs(x, y, [0.1, 0.2], 12, 9, seeds=3, generator=seeded(5), **kwargs) for _ in range(2))
    assert torch.equal(a, b) and a.dtype == torch.float32 and torch.equal(before, torch.get_rng_state())
    assert not torch.equal(a[-1,0], a[-1,1])


def test_an_epoch_reads_every_row_once_and_drop_last_leaves_out_the_rest():
    x, y = torch.eye(10, dtype=torch.float64), torch.ones(10, dtype=torch.float64)   # each row moves its own weight
    moved = (sgd_runs(x, y, 0.1, 4, 3, generator=seeded(0))[-1] > 0).sum(-1)
    dropped = (sgd_runs(x, y, 0.1, 4, 2, generator=seeded(0), drop_last=True)[-1] > 0).sum(-1)
    assert (moved == 10).all() and (dropped == 8).all()
    assert len(sgd_runs(x, y, 0.1, 4, 5, drop_last=True)) == 6      # the third step begins the second epoch


def test_ragged_and_dropped_epochs_are_those_of_a_plain_loop():
    x, y = data()
    for drop_last in (False, True):
        path = sgd_runs(x, y, 0.1, 12, 6, seeds=1, drop_last=drop_last, generator=seeded(3))
        g, rows, w, batches = seeded(3), 36 if drop_last else 40, torch.zeros_like(x[0]), []
        while len(batches) < 6: batches += torch.rand(1, 40, generator=g).argsort(1)[0,:rows].split(12)
        for t, i in enumerate(batches[:6]):
            torch.testing.assert_close(path[t,0,0], w)
            w = w - 0.1*x[i].T@(x[i]@w - y[i])/len(i)
        torch.testing.assert_close(path[6,0,0], w)


def test_bad_input_is_refused():
    x, y = data()
    g = torch.ones(2, 3)
    with pytest.raises(ValueError, match='bs_small is 10'): estimate_noise(g, g, 10, 10)
    for bs in (0, 2000):
        with pytest.raises(ValueError, match='from 1 to 1500'): variance_factor(bs, n=1500)
    with pytest.raises(ValueError, match='from 1 to 40'): expected_excess(x, y, 0.1, 41, 1)
    with pytest.raises(ValueError, match='sizes'): fit_hyperbola([10, 10], [20, 20])
    with pytest.raises(ValueError, match='inf'): fit_hyperbola([1, 10], [math.inf, 20])
    for wrong in (y[:,None], y[:-1], y.float()):     # PyTorch refuses these by itself: nothing is broadcast
        with pytest.raises(RuntimeError): expected_excess(x, wrong, 0.1, 4, 1)


def test_one_rate_or_several():
    x, y = data()
    both = expected_excess(x, y, [0.1, 0.2], 4, 5)
    torch.testing.assert_close(both[:,:1], expected_excess(x, y, 0.1, 4, 5))
    torch.testing.assert_close(both[:,1:], expected_excess(x, y, torch.tensor(0.2), 4, 5), rtol=1e-6, atol=1e-8)
    assert noise_floor(x, y, [0.1, 0.05, 0.02], 4).shape == (3,)


def test_edges():
    assert variance_factor(1, 1) == 0. and variance_factor(1, 5) == 1. and variance_factor(5) == 0.2
    assert noise_scale(torch.tensor([[1.], [-1.]])) == math.inf


def test_the_hyperbola_with_and_without_replacement():
    bs = [1, 10, 100]
    assert fit_hyperbola(bs, [7*(1 + 30/b) for b in bs]) == pytest.approx((7, 30))
    assert fit_hyperbola(bs, [7*(1 + 30*variance_factor(b, 100)) for b in bs], 100) == pytest.approx((7, 30))
