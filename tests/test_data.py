"minisgd.data: the tensors that are made of the bytes. Where the bytes come from is in test_sources.py."
import os, subprocess, sys
import numpy as np, pytest, torch
from minisgd import data, sources

# ------------------------------------------------------------------ a line

def test_line_is_what_its_arguments_say():
    x, y = data.line(1000, a=(-2., .5), noise=3., seed=7)
    assert x.shape == (1000, 2) and y.shape == (1000,) and x.dtype == y.dtype == torch.float32
    assert (x[:,1] == 1).all() and -1 <= x[:,0].min() < -.9 and .9 < x[:,0].max() <= 1
    lift = y - (-2*x[:,0] + .5)
    assert -1e-5 < lift.min() < .1 and 2.9 < lift.max() < 3 + 1e-5

def test_line_has_a_generator_of_its_own():
    torch.manual_seed(0); before = torch.get_rng_state(); first = data.line()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    torch.testing.assert_close(data.line(100, torch.tensor([3, 2]), 1., 42), first, rtol=0, atol=0)
    assert not torch.equal(data.line(seed=43)[0], first[0])

@pytest.mark.parametrize('n', [2.5, torch.tensor(2.7), '3'])
def test_a_part_of_a_point_is_refused(n):
    with pytest.raises(TypeError): data.line(n)

@pytest.mark.parametrize('a', [3., (1., 2., 3.)])
def test_a_line_has_a_slope_and_an_intercept(a):
    with pytest.raises(RuntimeError): data.line(a=a)

# ------------------------------------------------------------------ airfoil

def test_airfoil_is_standardised_over_all_rows_and_then_cut():
    raw = sources.airfoil_raw('builtin').numpy()
    z = (raw - raw.mean(0))/raw.std(0)
    for n in (1, 1500, 1503):
        x, y = data.airfoil(n, source='builtin')
        assert x.dtype == y.dtype == torch.float32 and x.is_contiguous() and y.is_contiguous()
        np.testing.assert_allclose(x, z[:n,:5], rtol=0, atol=1e-6)
        np.testing.assert_allclose(y, z[:n,5], rtol=0, atol=1e-6)
    torch.testing.assert_close(data.airfoil(source='builtin'), data.airfoil(1500, 'builtin'), rtol=0, atol=0)

@pytest.mark.parametrize('n', [1504, 0, -1])
def test_rows_that_are_not_there(n):
    with pytest.raises(ValueError, match=f'n is {n}; it must be from 1 to 1503'): data.airfoil(n, source='builtin')

@pytest.mark.parametrize('n', [10., 'all', torch.tensor(2.7), None])
def test_a_part_of_a_row_is_refused(n):
    with pytest.raises(TypeError): data.airfoil(n, source='builtin')

# ------------------------------------------------------------------ digits

@pytest.fixture
def numbered(monkeypatch):
    "60,000 and 10,000 images of one pixel pattern each: the pixels spell the row number, the label is its last figure."
    def mnist_raw(name, source):
        asked.append((name, source))
        n = torch.arange(60_000 if name == 'mnist' else 10_000)
        return torch.stack([n//256, n%256], 1).byte(), (n%10).byte()
    asked = []
    monkeypatch.setattr(data, 'mnist_raw', mnist_raw)
    return asked

def number(x):
    "The row numbers that images in [0,1] spell."
    high, low = (x*255).round().long().T
    return high*256 + low

def test_the_last_ten_thousand_are_for_validation(numbered):
    x, y, xv, yv = data.mnist('real')
    assert torch.equal(number(x), torch.arange(50_000)) and torch.equal(number(xv), torch.arange(50_000, 60_000))
    assert torch.equal(y, number(x)%10) and torch.equal(yv, number(xv)%10) and x.dtype == torch.float32 and y.dtype == torch.int64
    x, y = data.mnist_test()
    assert torch.equal(number(x), torch.arange(10_000)) and torch.equal(y, number(x)%10) and y.dtype == torch.int64
    assert numbered == [('mnist', 'real'), ('mnist_test', 'auto')]

@pytest.mark.parametrize('a, b', [(4, 5), (7, 2), (9, 0)])
def test_a_pair_is_picked_from_mnist(numbered, a, b):
    parts = data.digit_pair(a, b, 'real')
    for x, y, n in ((*parts[:2], torch.arange(50_000)), (*parts[2:], torch.arange(50_000, 60_000))):
        assert torch.equal(number(x), n[(n%10 == a) | (n%10 == b)])
        assert x.dtype == y.dtype == torch.float32 and torch.equal(y, (number(x)%10 == b).float()[:,None])
    assert numbered == [('mnist', 'real')]

def test_the_usual_pair_is_four_and_five(numbered):
    torch.testing.assert_close(data.digit_pair(), data.digit_pair(4, 5), rtol=0, atol=0)
    assert numbered[0] == ('mnist', 'auto')

@pytest.mark.parametrize('pair, match', [((4, 10), 'b=10'), ((-1, 5), 'a=-1'), (('4', 5), "a='4'"), ((5, 5), 'different'), ((4.5, 5), 'a=4.5')])
def test_bad_pair(pair, match):
    with pytest.raises(ValueError, match=match): data.digit_pair(*pair, source='builtin')

# ------------------------------------------------------------------ images

@pytest.fixture
def plt():
    import matplotlib; matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    yield plt
    plt.close('all')

@pytest.mark.parametrize('x', [torch.rand(3, 784), torch.rand(3, 28, 20), torch.rand(3, 1, 8, 8), np.random.rand(3, 64), torch.rand(3, 65)[:,1:],
                               torch.rand(3, 16, requires_grad=True), torch.rand(3, 1, 5)],
                         ids=['rows', 'images', 'channel', 'array', 'not contiguous', 'weights', 'one row high'])
def test_shapes_of_images(plt, x):
    data.show_images(x, ncols=2)
    axs = plt.gcf().axes
    assert len(axs) == 4 and [len(ax.images) for ax in axs] == [1, 1, 1, 0] and not any(ax.axison for ax in axs)
    shown = np.stack([ax.images[0].get_array() for ax in axs[:3]])
    np.testing.assert_array_equal(shown.ravel(), torch.as_tensor(x).detach().ravel())   # nothing is lost or turned
    assert {ax.images[0].get_clim() for ax in axs[:3]} == {(shown.min(), shown.max())}    # and all are on one scale

def test_titles_of_images(plt):
    data.show_images(torch.rand(2, 4), titles=torch.tensor([7, 8]), size=1.)
    assert [ax.get_title() for ax in plt.gcf().axes] == ['7', '8'] and tuple(plt.gcf().get_size_inches()) == (2, 1.35)
    data.show_images(torch.rand(2, 4), size=1.)
    assert tuple(plt.gcf().get_size_inches()) == (2, 1)
    with pytest.raises(ValueError, match='1 titles for 2 images'): data.show_images(torch.rand(2, 4), titles=['a'])

@pytest.mark.parametrize('shape', [(784,), (0, 784), (2, 3, 8, 8), ()], ids=str)
def test_no_images(shape):
    with pytest.raises(ValueError, match='x has shape'): data.show_images(torch.rand(shape))

def test_rows_that_are_not_square():
    with pytest.raises(RuntimeError, match='27, 27'): data.show_images(torch.rand(729, 783))

# ------------------------------------------------------------------ names, and what importing costs

def test_names_from_the_appendix_are_at_hand():
    for name in ('airfoil_raw', 'data_dir', 'origin'): assert getattr(data, name) is getattr(sources, name)

def test_import_is_light():
    code = 'import torch, sys; before = set(sys.modules); import minisgd.data; print(*{m.split(".")[0] for m in set(sys.modules) - before} & {"matplotlib", "sklearn", "pooch", "requests", "tqdm", "scipy", "PIL", "fastcore"})'
    env = os.environ | {'PYTHONPATH': os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, '-c', code], env=env, capture_output=True, text=True, check=True).stdout.strip() == ''
