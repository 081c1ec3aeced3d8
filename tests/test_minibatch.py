"What notebook 02 does not say: odd types and layouts, what is left behind, and what is refused."
import pytest, torch
from minisgd.gd import mse
from minisgd.minibatch import batch_accuracy, grad_samples, minibatches, mnist_loss, sgd


def seeded(seed): return torch.Generator().manual_seed(seed)
def loss(w, xb, yb): return mse(xb@w, yb)
def data(dtype=torch.float32):
    x = torch.randn(30, 3, generator=seeded(0), dtype=dtype)
    return x, x@torch.tensor([1., -2., 3.], dtype=dtype)


@pytest.mark.parametrize('shuffle, replacement', [(True, False), (False, False), (True, True)])
@pytest.mark.parametrize('n, bs', [(1, 1), (7, 1), (7, 3), (7, 7), (7, 9), (8, 4)])
def test_an_epoch_has_n_rows(n, bs, shuffle, replacement):
    batches = list(minibatches(n, bs, shuffle, seeded(0), replacement))
    assert [len(i) for i in batches] == [bs]*(n//bs) + [n%bs]*(n%bs > 0)
    assert all(i.dtype == torch.int64 and 0 <= i.min() and i.max() < n for i in batches)
    if not replacement: assert sorted(torch.cat(batches).tolist()) == list(range(n))


def test_the_random_streams():
    "Another PyTorch program that draws the same numbers gets the same batches."
    for kw, order in (dict(), torch.randperm(10, generator=seeded(1))), \
                     (dict(replacement=True), torch.randint(10, (10,), generator=seeded(1))), \
                     (dict(shuffle=False), torch.arange(10)):
        assert torch.equal(torch.cat(list(minibatches(10, 4, generator=seeded(1), **kw))), order)


def test_refused_at_the_call():     # not at the first batch
    with pytest.raises(ValueError, match='replacement=True'): minibatches(26, 4, shuffle=False, replacement=True)
    with pytest.raises(ValueError): minibatches(26, 0)


def test_the_global_generator_is_left_alone():
    x, y = data()
    before = torch.get_rng_state()
    sgd(loss, torch.zeros(3), x, y, lr=0.1, bs=4, epochs=1, generator=seeded(0))
    grad_samples(loss, torch.zeros(3), x, y, bs=4, n=3, generator=seeded(0))
    assert torch.equal(before, torch.get_rng_state())


def test_a_gradient_from_before_is_not_used():
    x, y = data()
    w, v = torch.zeros(3, requires_grad=True), torch.zeros(3)
    loss(w, x, y).backward()
    assert sgd(loss, w, x, y, 0.1, 4, 2, generator=seeded(0)) == sgd(loss, v, x, y, 0.1, 4, 2, generator=seeded(0))
    assert torch.equal(w, v)


def test_params_as_one_tensor_or_a_list_in_either_precision():
    for dtype in (torch.float32, torch.float64):
        x, y = data(dtype)
        w, v, b = (torch.zeros(k, dtype=dtype) for k in ((3,), (3,), ()))
        one = sgd(loss, w, x, y, 0.1, 5, 3, generator=seeded(1))
        two = sgd(lambda p, xb, yb: mse(xb@p[0] + 0*p[1], yb), [v, b], x, y, 0.1, 5, 3, generator=seeded(1))
        assert w.dtype == dtype and torch.equal(w, v) and b == 0
        assert one == two and len(one) == 4 and all(type(l) is float for l in one)


def test_rows_that_are_not_contiguous():
    x, y = data()
    w, v = torch.zeros(3), torch.zeros(3)
    sgd(loss, w, x.T.contiguous().T, y, 0.1, 4, 2, generator=seeded(0))
    sgd(loss, v, x, y, 0.1, 4, 2, generator=seeded(0))
    torch.testing.assert_close(w, v)


def test_the_options_reach_the_draw():
    "Which rows `sgd` reads, written down by the loss: x is the row number."
    def rows(**kw):
        seen = []
        def noting(w, xb, yb):
            if torch.is_grad_enabled(): seen.append(xb[:,0].long())
            return mse(xb@w, yb)
        sgd(noting, torch.zeros(1), torch.arange(9.)[:,None], torch.zeros(9), 0., 4, 2, **kw)
        assert [len(i) for i in seen] == [4, 4, 1]*2
        return torch.cat(seen)
    for kw in dict(shuffle=False), dict(), dict(replacement=True):
        expected = [torch.cat(list(minibatches(9, 4, generator=g, **kw))) for g in [seeded(5)] for _ in range(2)]
        assert torch.equal(rows(generator=seeded(5), **kw), torch.cat(expected))


def test_no_epochs_move_nothing():
    x, y = data()
    w = torch.ones(3)
    assert sgd(loss, w, x, y, 0.1, 4, 0) == [loss(torch.ones(3), x, y).item()] and torch.equal(w, torch.ones(3))


def test_grad_samples_leaves_params_alone_and_joins_a_list():
    x, y = data()
    w, b = torch.ones(3), torch.zeros(())
    g = grad_samples(lambda p, xb, yb: mse(xb@p[0] + p[1], yb), [w, b], x, y, bs=4, n=6)
    assert g.shape == (6, 4) and not g.requires_grad
    assert not w.requires_grad and w.grad is None and torch.equal(w, torch.ones(3))


def test_grad_samples_may_draw_a_row_twice_only_with_replacement():
    def loss(w, xb, yb): return (w*xb).sum()    # its gradient is the sum of the row numbers in the batch
    x, w = torch.arange(10.), torch.ones(1)
    assert (grad_samples(loss, w, x, x, bs=10, n=20) == 45).all()
    assert grad_samples(loss, w, x, x, bs=10, n=20, replacement=True, generator=seeded(0)).unique().numel() > 5


def test_mnist_loss_and_its_gradient():
    pred = torch.randn(5, 1, dtype=torch.float64, generator=seeded(0), requires_grad=True)
    target = torch.tensor([[0.], [1.], [1.], [0.], [1.]], dtype=torch.float64)
    assert torch.autograd.gradcheck(mnist_loss, (pred, target))
    for dtype in (torch.bool, torch.int64, torch.float32):
        assert mnist_loss(pred, target.to(dtype)) == mnist_loss(pred, target)
        assert batch_accuracy(pred, target.to(dtype)) == batch_accuracy(pred, target)
    assert mnist_loss(torch.tensor([[1e4], [-1e4]]), torch.tensor([[1.], [1.]])) == 0.5


def test_targets_other_than_0_and_1():
    for wrong in (0.5, 2., -1., float('nan')):
        with pytest.raises(ValueError, match='0 and 1 only'): mnist_loss(torch.zeros(2, 1), torch.tensor([[1.], [wrong]]))


@pytest.mark.parametrize('f', [mnist_loss, batch_accuracy])
def test_scores_and_targets_belong_together(f):
    score, target = torch.tensor([[2.], [-1.], [0.5]]), torch.tensor([[1.], [0.], [0.]])
    for t in target[:,0], target[:2]:
        with pytest.raises(ValueError, match='differ'): f(score, t)


def test_accuracy_of_a_score_of_zero_and_of_nan():
    assert batch_accuracy(torch.zeros(2, 1), torch.tensor([[0.], [1.]])) == 0.5     # zero is class 0
    assert batch_accuracy(torch.full((2, 1), float('nan')), torch.tensor([[0.], [1.]])) == 0
