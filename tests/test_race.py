"What notebook 09 does not say: the textbook's own loop as a peer, and results that are kept."
import copy, pickle, re
import pytest, torch
from torch.utils import data as peer
from minisgd.data import airfoil
from minisgd.dataloader import DataLoader, Dataset
from minisgd.race import all_rows, half_mse, reach, sgd, sweep, train, train_concise


@pytest.fixture(scope='module')
def xy(): return airfoil(source='builtin')


def loader(xy, bs, seed=0, lib=peer):
    ds = peer.TensorDataset(*xy) if lib is peer else Dataset(*xy)
    g = torch.Generator().manual_seed(seed)
    return peer.DataLoader(ds, bs, shuffle=True, generator=g) if lib is peer else DataLoader(ds, bs, shuffle=True, generator=g)


def textbook(batches, w, lr, num_epochs, x, y):
    "The loop of Dive into Deep Learning, and the loss over all rows at the end of each epoch."
    w, b, losses = w.clone().requires_grad_(), torch.zeros(1, requires_grad=True), []
    for _ in range(num_epochs):
        for xb, yb in batches:
            pred = torch.matmul(xb, w) + b
            ((pred - yb.reshape(pred.shape))**2/2).mean().backward()
            for p in w, b:
                p.data.sub_(lr*p.grad)
                p.grad.data.zero_()
        losses.append(((x@w + b)[:,0] - y).square().mean().item()/2)
    return losses


@pytest.mark.parametrize('bs,lr', [(1500, 0.7), (100, 0.4), (64, 0.2), (10, 0.05), (1, 0.005)])
@pytest.mark.parametrize('lib', [peer, None], ids=['torch', 'ours'])
def test_as_the_textbook(xy, bs, lr, lib):
    w = torch.randn(5, 1, generator=torch.Generator().manual_seed(1))
    run = train(sgd, None, {'lr': lr}, loader(xy, bs, lib=lib), 5, 2, w=w, every=1500)
    assert run.rows == [0, 1500, 3000]
    assert run.losses[1:] == pytest.approx(textbook(loader(xy, bs), w, lr, 2, *xy), abs=1e-5)


def test_initial_weights_are_left_alone_and_runs_are_independent(xy):
    w = torch.ones(5, 1)
    one, two = (train(sgd, None, {'lr': 0.4}, loader(xy, 100), 5, w=w).losses for _ in range(2))
    assert one == two and w.equal(torch.ones(5, 1)) and not w.requires_grad


def test_looking_leaves_a_loaders_generator_alone(xy):
    states = []
    for every in 10, 3000:
        dl = loader(xy, 100, lib=None)
        train(sgd, None, {'lr': 0.1}, dl, 5, every=every)
        states.append(dl.generator.get_state())
    assert states[0].equal(states[1])


@pytest.mark.parametrize('column', [True, False])
def test_targets_may_be_a_column(xy, column):
    x, y = xy
    batches = [(x, y[:,None] if column else y)]
    assert train(sgd, None, {'lr': 0.5}, batches, 5, 3, w=torch.zeros(5, 1)).losses[-1] < 0.3
    torch.manual_seed(0)
    assert train_concise(torch.optim.SGD, {'lr': 0.5}, batches, 3).losses[-1] < 0.3


def test_a_run_that_explodes_stops_at_nan_if_it_has_a_target(xy):
    run = train(sgd, None, {'lr': 100.}, loader(xy, 10), 5, 20, target=0.1)
    assert run.losses[-1] != run.losses[-1] and run.rows[-1] < 20*1500
    assert reach(run, 0.1)[0] == float('inf')


def test_any_optimizer_and_any_net(xy):
    net = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    run = train_concise(torch.optim.Adam, {'lr': 0.01}, loader(xy, 100), 3, net=net)
    x, y = xy
    assert run.losses[-1] == pytest.approx(half_mse(net(x), y).item(), abs=1e-6) and run.losses[-1] < run.losses[0]


def test_a_subset_is_all_there_is(xy):
    x, y = all_rows(peer.DataLoader(peer.Subset(peer.TensorDataset(*xy), range(10, 60)), 7, shuffle=True))
    assert x.equal(xy[0][10:60]) and y.equal(xy[1][10:60])


def test_a_run_is_two_lists_and_survives_copies(xy):
    run = train(sgd, None, {'lr': 0.1}, loader(xy, 100), 5)
    seconds, losses = run
    for other in copy.deepcopy(run), pickle.loads(pickle.dumps(run)):
        assert other == run == (seconds, losses) and (other.rows, other.steps) == (run.rows, run.steps)


def test_sweep_against_an_exact_descent(xy):
    "At full batch: in the eigenbasis of the Hessian, each part of the error shrinks by its own factor."
    x, y = (t.double() for t in xy)
    x1 = torch.cat([x, torch.ones(len(x), 1, dtype=torch.float64)], 1)
    best = torch.linalg.lstsq(x1, y[:,None]).solution
    floor = half_mse(x1@best, y)
    values, vectors = torch.linalg.eigh(x1.T@x1/len(x))
    start = (vectors.T@best)[:,0]
    def steps(lr): return next(k for k in range(200) if (values*start**2*(1 - lr*values)**(2*k)).sum()/2 <= 0.01*floor)
    rates = [0.1, 0.3, 0.5, 0.7]
    assert sweep(*xy, 1500, rates, 1.01*floor.item(), 80, seeds=range(2)).tolist() == [steps(lr) for lr in rates]


@pytest.mark.parametrize('bs,every,epochs,rows', [
    (1500, 250, 4, [0, 1500, 3000, 4500, 6000]), (64, 200, 1, [0, 256, 448, 640, 832, 1024, 1216, 1408, 1500]),
    (1, 250, 1, list(range(0, 1501, 250))), (1, 250, 0, [0])])
def test_a_look_whenever_another_every_rows_have_gone_by(xy, bs, every, epochs, rows):
    assert train(sgd, None, {'lr': 0.01}, loader(xy, bs, lib=None), 5, epochs, every=every).rows == rows


@pytest.mark.parametrize('message,kwargs', [
    ('feature_dim is 4, but rows have shape (5,)', dict(feature_dim=4)), ('num_epochs is -1', dict(num_epochs=-1)),
    ('num_epochs is 1.5', dict(num_epochs=1.5)), ('every is 0', dict(every=0)),
    ('w has shape (5,); it must be (5, 1)', dict(w=torch.zeros(5)))])
def test_bad_arguments_are_refused(xy, message, kwargs):
    with pytest.raises(ValueError, match=re.escape(message)):
        train(sgd, None, {'lr': 0.1}, loader(xy, 100), **({'feature_dim': 5} | kwargs))
    if not kwargs.keys() & {'feature_dim', 'w'}:
        with pytest.raises(ValueError, match=re.escape(message)):
            train_concise(torch.optim.SGD, {'lr': 0.1}, loader(xy, 100), **kwargs)
