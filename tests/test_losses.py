"What the notebook cannot say at length: the losses against PyTorch's on a grid of shapes, types, layouts and devices."
import itertools, math
import pytest, torch
import torch.nn.functional as F
from minisgd.losses import accuracy, cross_entropy, log_softmax, logsumexp, nll_loss

DEVICES = ['cpu'] + ['cuda']*torch.cuda.is_available()
SHAPES = [(1, 1), (1, 10), (7, 1), (64, 10), (33, 3), (3, 1000), (257, 17)]
TOL = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 2e-2, torch.float16: 2e-3}
LAYOUTS = dict(plain=lambda x: x, transposed=lambda x: x.t().contiguous().t(),
               strided=lambda x: torch.stack([x, x*0-9], -1)[..., 0], expanded=lambda x: x[:1].expand(x.shape))
PAIRS = dict(cross_entropy=(cross_entropy, F.cross_entropy), nll_loss=(nll_loss, F.nll_loss),
             by_hand=(lambda x, t: nll_loss(log_softmax(x), t), F.cross_entropy))
UNARY = dict(logsumexp=(logsumexp, lambda x: torch.logsumexp(x, -1)), log_softmax=(log_softmax, lambda x: F.log_softmax(x, -1)))
inf, nan = float('inf'), float('nan')


def value_and_grad(f, x):
    x = x.detach().requires_grad_()
    out = f(x)
    weight = torch.rand(out.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(out)
    return out.detach(), torch.autograd.grad(out, x, weight)[0]


def scores(shape, dtype, device, scale=3., seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, dtype=torch.float64, generator=g)*scale
    return x.to(dtype=dtype, device=device), torch.randint(shape[-1], shape[:1], generator=g).to(device)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('dtype', TOL, ids=str)
@pytest.mark.parametrize('name', PAIRS)
def test_losses_equal_torch(name, dtype, layout, device):
    ours, theirs = PAIRS[name]
    for shape in SHAPES:
        x, target = scores(shape, dtype, device)
        if name == 'nll_loss': x = -x.abs()
        x = LAYOUTS[layout](x)
        torch.testing.assert_close(value_and_grad(lambda x: ours(x, target), x), value_and_grad(lambda x: theirs(x, target), x),
                                   rtol=TOL[dtype], atol=TOL[dtype])
        assert not ours(x, target).requires_grad and ours(x, target).shape == () and ours(x, target).dtype == dtype


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize('name', UNARY)
def test_any_leading_shape(name, dtype, device):
    ours, theirs = UNARY[name]
    for shape in [(), (1,), (6,), (2, 3, 4), (2, 1, 3, 5), (0, 5), (3, 0, 2), *SHAPES]:
        x = scores((*shape, 1), dtype, device)[0][..., 0]
        torch.testing.assert_close(value_and_grad(ours, x), value_and_grad(theirs, x), rtol=TOL[dtype], atol=TOL[dtype])
        if x.ndim > 1:
            y = x.transpose(0, -1)
            if y.shape[-1]: torch.testing.assert_close(value_and_grad(ours, y), value_and_grad(theirs, y), rtol=TOL[dtype], atol=TOL[dtype])
    assert logsumexp(x, keepdim=True).shape == (*x.shape[:-1], 1)


@pytest.mark.parametrize('dtype', TOL, ids=str)
@pytest.mark.parametrize('row', [[1000., 0.], [-1000., 0.], [1000., 1000.], [-1000., -1000.], [6e4, -6e4], [-inf, 0.], [-inf, -inf], [inf, 0.],
                                 [inf, -inf], [inf, inf], [nan, 0.], [0., 0.]], ids=str)
def test_extreme_scores(row, dtype):
    x = torch.tensor([row], dtype=dtype)
    torch.testing.assert_close(logsumexp(x), torch.logsumexp(x, -1), equal_nan=True)
    torch.testing.assert_close(log_softmax(x), F.log_softmax(x, -1), equal_nan=True)
    for t in (0, 1):
        target = torch.tensor([t])
        for ours in (cross_entropy, PAIRS['by_hand'][0]):
            torch.testing.assert_close(value_and_grad(lambda x: ours(x, target), x), value_and_grad(lambda x: F.cross_entropy(x, target), x), equal_nan=True)


def test_each_row_has_its_own_largest_score():
    x = torch.tensor([[0., 0.], [1e4, 1e4], [-1e4, -1e4]])
    torch.testing.assert_close(log_softmax(x), torch.full((3, 2), math.log(1/2)))


def test_infinite_scores_have_torchs_gradients():
    for row in [[-inf, -inf], [-inf, 0.], [inf, 0.], [inf, -inf], [inf, inf], [inf, 1000.], [nan, 0.]]:
        x = torch.tensor([row], dtype=torch.float64)
        torch.testing.assert_close(value_and_grad(logsumexp, x), value_and_grad(UNARY['logsumexp'][1], x), equal_nan=True)


@pytest.mark.parametrize('scale', [1., 30.])
def test_gradcheck(scale):
    for n, c in [(4, 3), (1, 5), (3, 1)]:
        x, target = scores((n, c), torch.float64, 'cpu', scale)
        x.requires_grad_()
        for f in (logsumexp, log_softmax, *(lambda x, f=f: f(x, target) for f, _ in PAIRS.values())):
            assert torch.autograd.gradcheck(f, x) and torch.autograd.gradgradcheck(f, x)
    ties = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(logsumexp, ties) and torch.autograd.gradcheck(log_softmax, ties)


def test_inputs_are_left_alone():
    x, target = scores((8, 5), torch.float32, 'cpu')
    x0, target0 = x.clone(), target.clone()
    for f in (cross_entropy, nll_loss, accuracy): f(x, target)
    log_softmax(x), logsumexp(x)
    assert torch.equal(x, x0) and torch.equal(target, target0)


def test_targets_may_be_views():
    x, target = scores((12, 5), torch.float32, 'cpu')
    wide = torch.stack([target, target*0 + 99], 1)[:, 0]
    assert not wide.is_contiguous() and torch.equal(cross_entropy(x, wide), cross_entropy(x, target))
    assert torch.equal(accuracy(x, wide), accuracy(x, target))
    same = torch.tensor([2]).expand(12)
    torch.testing.assert_close(cross_entropy(x, same), F.cross_entropy(x, same))


def test_accuracy():
    for (n, c), dtype in itertools.product(SHAPES, [*TOL, torch.int64]):
        x, yb = scores((n, c), dtype, 'cpu')
        acc = accuracy(x.requires_grad_(x.is_floating_point()), yb)
        assert acc.dtype == torch.float32 and acc.shape == () and not acc.requires_grad
        right = sum(max(range(c), key=lambda j: row[j]) == y for row, y in zip(x.tolist(), yb.tolist()))
        assert math.isclose(acc.item(), right/n, rel_tol=1e-6)


def test_a_row_with_nan_is_wrong():
    x = torch.tensor([[nan, nan], [nan, 1.], [1., nan], [2., 1.], [-inf, inf]])
    assert accuracy(x, I([0, 0, 0, 0, 1])) == torch.tensor(2/5)
    assert accuracy(x, I([1, 1, 1, 0, 1])) == torch.tensor(2/5)


I = torch.tensor
BAD = {  # targets for scores of shape (4, 3)
    'too large': I([0, 1, 2, 3]), 'unknown': I([0, -1, 2, 0]), 'ignore_index': I([0, 1, -100, 0]), 'huge': I([2**62, 0, 0, 0]),
    'too few': I([0, 1, 2]), 'too many': I([0, 1, 2, 0, 1]), 'column': I([[0], [1], [2], [0]]), 'row': I([[0, 1, 2, 0]]), 'number': I(0),
    'one-hot': I([[1, 0, 0]]*4), 'probabilities': I([[1., 0., 0.]]*4),
}


@pytest.mark.parametrize('bad', BAD)
@pytest.mark.parametrize('f', [cross_entropy, nll_loss, accuracy])
def test_bad_labels_are_refused(f, bad):
    x = torch.randn(4, 3)
    f(x, I([0, 1, 2, 0]))
    with pytest.raises(ValueError, match='^the labels must be 4 classes from 0 to 2, one for each row$'): f(x, BAD[bad])


@pytest.mark.parametrize('f', [cross_entropy, nll_loss, accuracy])
def test_what_fails_by_itself(f):
    "Scores that are not rows, and a mean over nothing: an error of Python's or PyTorch's own, never a number."
    for x in (torch.randn(3), torch.randn(4, 3, 2)):
        with pytest.raises(ValueError, match='unpack'): f(x, I([0, 1, 2, 0]))
    with pytest.raises(RuntimeError): f(torch.empty(0, 3), I([], dtype=torch.int64))
    if f is not accuracy:
        with pytest.raises((RuntimeError, IndexError)): f(torch.randn(4, 3), I([0., 1., 2., 0.]))


def test_logsumexp_of_no_class():
    for f in (logsumexp, log_softmax):
        with pytest.raises(IndexError): f(torch.empty(4, 0))
