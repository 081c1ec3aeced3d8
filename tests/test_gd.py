"What notebook 01 does not say: precision, lists, odd arguments, where the rings and the dots of a drawing are."
import matplotlib, numpy as np, pytest, torch
matplotlib.use('Agg')
import matplotlib.pyplot as plt
from minisgd.data import airfoil, line
from minisgd.gd import gd, leaves, mse, numerical_grad, plot_contour


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close('all')


def test_mse_is_pytorchs_and_never_broadcasts():
    a, b = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0)).unbind()
    torch.testing.assert_close(mse(a, b), torch.nn.functional.mse_loss(a, b))
    for pred in (a[:,:1], a[:1], a[0], a[0,0]):
        with pytest.raises(ValueError, match='broadcast'): mse(pred, b)


@pytest.mark.parametrize('dtype, tolerance', [(torch.float16, .05), (torch.float32, 1e-3), (torch.float64, 1e-8)])
@pytest.mark.parametrize('scale', [1e-3, 1., 50.])
def test_numerical_grad_in_every_precision(dtype, tolerance, scale):
    w = scale*torch.tensor([[1., -2.], [3., .5]], dtype=dtype)
    before = w.clone()
    grad = numerical_grad(lambda w: (w/scale).square().sum(), w)
    assert grad.dtype == dtype and grad.shape == w.shape and torch.equal(w, before)
    torch.testing.assert_close(grad*scale, 2*w/scale, rtol=tolerance, atol=2*tolerance)


def test_numerical_grad_far_from_zero():
    torch.testing.assert_close(numerical_grad(lambda w: w**2, torch.tensor(1e6)), torch.tensor(2e6), rtol=1e-3, atol=0)


def test_numerical_grad_agrees_with_autograd_to_nine_digits():
    x, y = (t.double() for t in line())
    w = torch.tensor([-1., 1.], dtype=torch.float64, requires_grad=True)
    mse(x@w, y).backward()
    grad = numerical_grad(lambda w: mse(x@w, y), w)
    assert not grad.requires_grad
    torch.testing.assert_close(grad, w.grad, rtol=1e-9, atol=0)


def test_leaves():
    w, b = torch.zeros(2), torch.zeros(1)
    for params, wanted in ((w, [w]), ([w, b], [w, b]), (iter((w, b)), [w, b])):
        got = leaves(params)
        assert isinstance(got, list) and all(p is q for p, q in zip(got, wanted, strict=True))
        assert all(p.requires_grad for p in got)


def test_gd_counts():
    calls, w = [], torch.tensor(1.)
    history = gd(lambda w: calls.append(w.item()) or w**2, w, lr=0.25, steps=3)
    assert calls == [1, .5, .25, .125] and history == [1, .25, .0625, .015625] and w.item() == .125
    assert gd(lambda w: w**2, w, lr=0.25, steps=0) == [.015625] and w.item() == .125


def test_gd_moves_a_list_as_it_moves_a_tensor():
    x, y = line()
    w, pair = torch.tensor([-1., 1.]), [torch.tensor(-1.), torch.tensor(1.)]
    history = gd(lambda w: mse(x@w, y), w, lr=0.1, steps=100)
    assert gd(lambda p: mse(p[0]*x[:,0] + p[1], y), pair, lr=0.1, steps=100) == pytest.approx(history)
    torch.testing.assert_close(torch.stack(pair), w)


def test_gd_forgets_old_gradients():
    w = torch.tensor(1., requires_grad=True)
    w.grad = torch.tensor(100.)
    gd(lambda w: w**2, w, lr=0.25, steps=1)
    assert w.item() == .5


@pytest.mark.parametrize('lr, steps', [(-.1, 1), (float('nan'), 1), (.1, -3)])
def test_gd_refuses(lr, steps):
    with pytest.raises(ValueError, match='negative'): gd(lambda w: w**2, torch.tensor(1.), lr, steps)


def test_every_start_of_the_textbook_explodes_at_rate_1():
    "With its intercept, and its small random weights."
    x, y = airfoil()
    x = torch.cat([x, torch.ones(len(x), 1)], 1)
    for seed in range(10):
        w = 0.01*torch.randn(6, generator=torch.Generator().manual_seed(seed))
        w[5] = 0
        history = gd(lambda w: mse(x@w, y)/2, w, lr=1., steps=100)
        assert history[10] < 0.26 and history[100] > 1e4


def steep(w): return 5*w[0]**2 + w[1]
def reach(ax): return [f(np.concatenate([line for _, line in rings(ax)]), axis=0) for f in (np.min, np.max)]
def rings(ax): return [(level, line) for level, lines in zip(ax.collections[0].levels, ax.collections[0].allsegs) for line in lines]


def test_each_ring_is_a_line_of_equal_loss():
    "On an area that is not square, for a loss that is not symmetric."
    ax = plot_contour(steep, torch.tensor([[-1., 0.], [2., 40.]]))
    assert len(rings(ax)) > 5
    for level, line in rings(ax):
        for point in line: assert abs(steep(point) - level) < 0.1
    low, high = reach(ax)
    assert (low > [-1.76, -10.1]).all() and (high < [2.76, 50.1]).all() and high[1] > 45   # a quarter of room
    assert (ax.get_xlabel(), ax.get_ylabel()) == ('slope', 'intercept')


def test_trails_and_dots():
    paths = {'a': torch.tensor([[0., 0.], [1., 1.], [2., 1.]]), 'b': torch.tensor([[3., 3.], [1., 2.]])}
    own = plt.figure().gca()
    ax = plot_contour(steep, paths, ax=own, names=('u', 'v'))
    assert ax is own and (ax.get_xlabel(), ax.get_ylabel()) == ('u', 'v')
    assert [t.get_text() for t in ax.legend().get_texts()] == ['a', 'b']
    for path, trail, dot in zip(paths.values(), ax.lines[::2], ax.lines[1::2], strict=True):
        np.testing.assert_array_equal(trail.get_xydata(), path)
        np.testing.assert_array_equal(dot.get_xydata(), path[-1:])
    trail, dot = plot_contour(steep, paths['a']).lines
    np.testing.assert_array_equal(trail.get_xydata(), paths['a'])


@pytest.mark.parametrize('order', ['abc', 'bca', 'cab'])
def test_the_rings_surround_every_path(order):
    at = dict(a=[-4., 0.], b=[0., 9.], c=[5., -9.])
    low, high = reach(plot_contour(lambda w: w.square().sum(), {name: torch.tensor([at[name]]) for name in order}))
    assert (low < [-5, -12]).all() and (high > [6, 12]).all()


def test_a_gradient_at_zero_and_its_shape():
    w = torch.zeros(2, 3)
    torch.testing.assert_close(numerical_grad(lambda w: (w + 1).square().sum(), w), w + 2, rtol=1e-3, atol=0)


def test_zero_is_a_rate_and_a_number_of_steps():
    assert gd(lambda w: w**2, torch.tensor(1.), lr=0., steps=2) == [1, 1, 1]
    assert gd(lambda w: w**2, torch.tensor(1.), lr=0., steps=0) == [1]
