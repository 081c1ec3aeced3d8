"What notebook 10 does not say: the closed forms against every possible run, odd input, and what is left behind."
import itertools, math
import pytest, torch
from minisgd.batch_size import (accumulated_grad, estimate_noise, expected_excess, fit_hyperbola, noise_floor,
                                noise_scale, sgd_runs, steps_to, variance_factor)
from minisgd.gd import mse


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


def test_bad_input_is_named():
    x, y = data()
    g = torch.ones(2, 3)
    with pytest.raises(ValueError, match=r'\(2,\)'): noise_scale(torch.ones(2))
    with pytest.raises(ValueError, match='larger'): estimate_noise(g, g, 10, 10)
    with pytest.raises(ValueError, match='from 1 to 1500'): variance_factor(2000, n=1500)
    with pytest.raises(ValueError, match='from 1 to 40'): sgd_runs(x, y, 0.1, 41, 1)
    with pytest.raises(ValueError, match='two or more'): fit_hyperbola([10], [20])
    with pytest.raises(ValueError, match='finite'): fit_hyperbola([1, 10], [math.inf, 20])
    with pytest.raises(ValueError, match='bs is 0'): accumulated_grad(lambda p, a, b: p.sum(), g, x, y, 0)
    with pytest.raises(ValueError, match='39'): accumulated_grad(lambda p, a, b: p.sum(), g, x, y[:-1], 4)
    for args, message in (((x.long(), y.long()), 'floating'), ((x, y.float()), 'floating'), ((x[:,0], y), r'\(40,\)'),
                          ((x, y[:-1]), '39')):
        with pytest.raises(ValueError, match=message): sgd_runs(*args, 0.1, 4, 1)
        with pytest.raises(ValueError, match=message): expected_excess(*args, 0.1, 4, 1)
    with pytest.raises(ValueError, match='seeds is 0'): sgd_runs(x, y, 0.1, 4, 1, seeds=0)
    with pytest.raises(ValueError, match='steps is -1'): sgd_runs(x, y, 0.1, 4, -1)
    for lr in (-1., float('nan'), [0.1, 0.]):
        with pytest.raises(ValueError, match='lr is'): sgd_runs(x, y, lr, 4, 1)
        with pytest.raises(ValueError, match='lr is'): noise_floor(x, y, lr, 4)
    with pytest.raises(ValueError, match='steps'): fit_hyperbola([1, 2], [3])


def test_edges():
    assert variance_factor(1, 1) == 0. and variance_factor(1, 5) == 1. and variance_factor(5) == 0.2
    assert noise_scale(torch.tensor([[1.], [-1.]])) == math.inf
    assert steps_to(torch.tensor([3., 2., 1.]), 3.).item() == 0
    assert steps_to(torch.tensor([float('nan'), 1.]), 1.).item() == 1


def test_accumulated_grad_of_a_list_and_of_a_network():
    x, y = data()
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)).double()
    params = list(net.parameters())
    def loss(p, xb, yb): return mse(net(xb)[:,0], yb)
    whole = torch.autograd.grad(loss(params, x, y), params)
    for p in params: p.grad = torch.ones_like(p)                     # what was there before does not count
    for bs in (1, 7, 40, 100):
        for got, want, p in zip(accumulated_grad(loss, params, x, y, bs), whole, params):
            torch.testing.assert_close(got, want)
            assert p.grad is got
