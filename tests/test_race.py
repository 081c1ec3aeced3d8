"What notebook 09 does not say: the textbook's own loop as a peer, and what an exact descent would do."
import math
import pytest, torch
from torch.utils import data as peer
from minisgd.data import airfoil
from minisgd.dataloader import DataLoader, Dataset
from minisgd.race import half_mse, price_ratio, reach, sgd_runs, sgd_step, train, train_concise


@pytest.fixture(scope='module')
def xy(): return airfoil(source='builtin')


def loader(xy, bs, seed=0, lib=peer):
    ds = peer.TensorDataset(*xy) if lib is peer else Dataset(*xy)
    g = torch.Generator().manual_seed(seed)
    return (peer.DataLoader if lib is peer else DataLoader)(ds, bs, shuffle=True, generator=g)



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
    seconds, losses = train(sgd_step, None, {'lr': lr}, loader(xy, bs, lib=lib), 5, 2, w=w, every=1500)
    assert len(seconds) == 3 and seconds[0] == 0 and sorted(seconds) == seconds
    assert losses[1:] == pytest.approx(textbook(loader(xy, bs), w, lr, 2, *xy), abs=1e-5)


def test_initial_weights_are_left_alone_and_runs_are_independent(xy):
    w = torch.ones(5, 1)
    one, two = (train(sgd_step, None, {'lr': 0.4}, loader(xy, 100), 5, w=w)[1] for _ in range(2))
    assert one == two and w.equal(torch.ones(5, 1)) and not w.requires_grad


def test_looking_leaves_every_generator_alone(xy):
    states = []
    for every in 10, 3000:
        dl = loader(xy, 100, lib=None)
        torch.manual_seed(0)
        train(sgd_step, None, {'lr': 0.1}, dl, 5, w=torch.zeros(5, 1), every=every)
        states.append((dl.generator.get_state(), torch.get_rng_state()))
    assert all(a.equal(b) for a, b in zip(*states))


def test_targets_may_be_a_column(xy):
    x, y = xy
    losses = [train(sgd_step, None, {'lr': 0.5}, loader((x, t), 1500), 5, 3, w=torch.zeros(5, 1))[1] for t in (y, y[:,None])]
    assert losses[0] == losses[1] and losses[0][-1] < 0.3
    with pytest.raises(RuntimeError): half_mse(torch.zeros(2, 1), torch.zeros(3))


def test_any_rule_with_a_memory(xy):
    def momentum(params, states, hyperparams):
        with torch.no_grad():
            for p, v in zip(params, states): p.sub_(v.mul_(0.9).add_(p.grad), alpha=hyperparams['lr'])
    states, runs = [torch.zeros(5, 1), torch.zeros(1)], []
    torch.manual_seed(3)
    runs.append(train(momentum, states, {'lr': 0.02}, loader(xy, 10), 5)[1])
    torch.manual_seed(3)
    runs.append(train_concise(torch.optim.SGD, {'lr': 0.02, 'momentum': 0.9}, loader(xy, 10))[1])
    assert runs[0] == pytest.approx(runs[1], abs=1e-5) and states[0].abs().sum() > 0


def test_any_optimizer_and_any_net(xy):
    net = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    _, losses = train_concise(torch.optim.Adam, {'lr': 0.01}, loader(xy, 100), 3, net=net)
    x, y = xy
    assert losses[-1] == pytest.approx(half_mse(net(x), y).item(), abs=1e-6) and losses[-1] < losses[0]


def test_loading_is_on_the_clock_and_looking_is_not(xy):
    class Clock:
        now = 0
        def __call__(self): return self.now
    class Slow(Dataset):
        def read_batch(self, idxs):
            if len(idxs) < len(self): clock.now += 4    # the read of all rows is the look's
            return super().read_batch(idxs)
    clock = Clock()
    def rule(*args): clock.now += 10; sgd_step(*args)
    seconds, _ = train(rule, None, {'lr': 0.1}, DataLoader(Slow(*xy), 100), 5, every=500, clock=clock)
    assert seconds == [0, 70, 140, 210, 280, 350, 420]


def test_a_subset_is_all_there_is(xy):
    dl = peer.DataLoader(peer.Subset(peer.TensorDataset(*xy), range(10, 60)), 7, shuffle=True)
    _, losses = train(sgd_step, None, {'lr': 0.}, dl, 5, 1, w=torch.zeros(5, 1))
    assert losses[-1] == pytest.approx(half_mse(torch.zeros(50, 1), xy[1][10:60]).item())


@pytest.mark.parametrize('bs,every,epochs,looks', [
    (1500, 250, 4, 5), (64, 200, 1, 9), (1, 250, 1, 7), (1, 250, 0, 1), (100, 400, 1, 5), (100, 700, 2, 6)])
def test_a_look_whenever_another_every_rows_have_gone_by_and_at_the_end(xy, bs, every, epochs, looks):
    seconds, losses = train(sgd_step, None, {'lr': 0.01}, loader(xy, bs, lib=None), 5, epochs, every=every)
    assert len(seconds) == len(losses) == looks


def test_a_last_look_after_the_last_row_that_the_loader_gives(xy):
    dl = DataLoader(Dataset(*xy), 400, drop_last=True)         # 1,200 rows in each epoch
    for every, looks in (1500, 3), (800, 4), (5000, 2):
        seconds, losses = train(sgd_step, None, {'lr': 0.1}, dl, 5, 2, every=every)
        assert len(seconds) == len(losses) == looks
    w = torch.zeros(5, 1)
    ends = [train(sgd_step, None, {'lr': 0.1}, dl, 5, 2, w=w, every=every)[1][-1] for every in (800, 5000)]
    assert ends[0] == ends[1] < half_mse(xy[0]@w, xy[1])


def test_many_runs_against_an_exact_descent(xy):
    "At full batch: in the eigenbasis of the Hessian, each part of the error shrinks by its own factor."
    x, y = (t.double() for t in xy)
    best = torch.linalg.lstsq(x, y[:,None]).solution[:,0]
    values, vectors = torch.linalg.eigh(x.T@x/len(x))
    runs = sgd_runs(x, y, [0.1, 0.7], 1500, 20, seeds=2)
    assert runs.shape == (21, 2, 2, 5)
    for j, lr in enumerate((0.1, 0.7)):
        exact = vectors@((1 - lr*values)**20*(vectors.T@-best)) + best
        torch.testing.assert_close(runs[20,:,j], exact.expand(2, -1))


def test_reach_wants_the_median_to_stay():
    runs = torch.tensor([[5., 5, 5], [1, 1, 5], [5, 5, 1], [2, 2, 9], [9, 2, 0]])
    assert reach(runs, 2) == 3 and reach(runs, 5) == 0 and reach(runs, 0.5) == math.inf
    assert reach(torch.full((4, 3), math.nan), 2) == math.inf
    assert reach(torch.stack([runs, runs + 1], 2), 2).tolist() == [3, math.inf]


def test_price_ratio_hands_its_options_on():
    calls = []
    class Clock:
        now = 0.
        def __call__(self): return self.now
    clock = Clock()
    def step(b): calls.append(b); clock.now += 1 + b/50
    assert price_ratio(step, (10, 30), clock=clock, repeat=1) == pytest.approx(1/50)
    few = len(calls)
    price_ratio(step, (10, 30), clock=clock, repeat=5)
    assert set(calls) == {10, 30} and len(calls) > 2*few


def test_price_ratio_where_no_price_of_a_step_is_left():
    class Clock:
        now = 0.
        def __call__(self): return self.now
    clock = Clock()
    def step(b): clock.now += b - 0.5
    assert price_ratio(step, (1, 10), clock=clock) == math.inf


def test_both_trainers_look_every_200_rows(xy):
    assert len(train(sgd_step, None, {'lr': 0.1}, loader(xy, 10), 5)[1]) == 16
    assert len(train_concise(torch.optim.SGD, {'lr': 0.1}, loader(xy, 10))[1]) == 16


def seeded(seed): return torch.Generator().manual_seed(seed)


def test_many_runs_start_where_they_are_told_and_stop_within_an_epoch(xy):
    starts = torch.randn(2, 3, 5, generator=seeded(0))         # 2 runs at each of 3 rates
    runs = sgd_runs(*xy, [0.1, 0.2, 0.3], 400, 3, 2, w=starts)
    assert runs.shape == (4, 2, 3, 5) and runs[0].equal(starts)
    order = torch.rand(1, 1500, generator=seeded(0)).argsort(1)[0]
    dl = DataLoader(Dataset(*xy), batch_sampler=[i.tolist() for i in order.split(400)])
    x1 = torch.cat([xy[0], torch.ones(1500, 1)], 1)            # `train` has an intercept, which begins at zero
    runs = sgd_runs(x1, xy[1], [0.1, 0.2], 400, 4, 1, w=torch.tensor([0., 1, 2, 3, 4, 0]), generator=seeded(0))
    _, losses = train(sgd_step, None, {'lr': 0.2}, dl, 5, 1, w=torch.arange(5.)[:,None], every=1)
    assert [half_mse(x1@w[:,None], xy[1]).item() for w in runs[:,0,1]] == pytest.approx(losses, rel=1e-4)


def test_many_runs_drop_the_short_batch_of_an_epoch(xy):
    "400 doesn't divide 1,500."
    kept, dropped = [sgd_runs(*xy, 0.2, 400, 4, 1, drop_last=drop, generator=seeded(0)) for drop in (False, True)]
    assert kept[:4].equal(dropped[:4]) and not kept[4].equal(dropped[4])


def test_with_replacement_no_batch_is_short_and_all_rows_take_part(xy):
    def drawn(bs, steps, **kws): return sgd_runs(*xy, 0.2, bs, steps, replacement=True, generator=seeded(0), **kws)
    assert drawn(400, 4).equal(drawn(400, 4, drop_last=True))
    full = drawn(1500, 100, seeds=50)                          # a full batch, but not the full set
    assert full.equal(drawn(1500, 100, seeds=50)) and full[1].std(0).max() > 1e-4
    assert sgd_runs(*xy, 0.2, 1500, 1, generator=seeded(0))[1].std(0).max() < 1e-6
    x, y = xy
    best = torch.linalg.lstsq(x, y[:,None]).solution
    late = full[50:].mean((0, 1)).T
    assert half_mse(x@late, y) < 1.001*half_mse(x@best, y)
