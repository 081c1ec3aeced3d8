"""What the notebook cannot say of `minisgd.checkpoint`: kills at any moment, damaged and foreign files, every source of randomness."""
import multiprocessing as mp, os, random, signal
from functools import partial
import numpy as np, pytest, torch
from torch import nn, utils
from minisgd import checkpoint, dataloader, losses, optim
from minisgd.checkpoint import Checkpoint, generators, read_state, write_state
from minisgd.learner import Callback, DataLoaders, Learner, get_dls

X = torch.randn(230, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, :3] + 0.3*X[:, 3:]).argmax(1)
LISTS = [(X[i:i+20], Y[i:i+20]) for i in range(0, 200, 20)], [(X[200:], Y[200:])]
momentum = partial(optim.SGD, momentum=0.9)


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))

def flat(model): return torch.cat([p.detach().flatten() for p in model.parameters()])

def quiet(dls, model, opt_func=momentum):
    learn = Learner(dls, model, nn.functional.cross_entropy, opt_func, metrics=losses.accuracy)
    learn.logger, learn.bar = lambda row: None, False
    return learn

def dropping(seed=0, opt_func=momentum, train=None):
    "A learner whose fits depend on everything: momentum, dropout from the global stream, an order from its own."
    model, g = network(seed).append(nn.Dropout(0.1)), torch.Generator().manual_seed(seed)
    dls = get_dls(train or dataloader.Dataset(X[:200], Y[:200]), dataloader.Dataset(X[200:], Y[200:]), 16, g)
    for f in (torch.manual_seed, random.seed, np.random.seed): f(seed)
    return quiet(dls, model, opt_func)

def same_fit(a, b):
    assert torch.equal(flat(a.model), flat(b.model))
    for name in ('values', 'losses', 'lrs', 'iters'): assert getattr(a.recorder, name) == getattr(b.recorder, name), name

class Cut(Callback):
    "The power fails at the end of an epoch, or in the middle of it."
    def __init__(self, epoch, iter=None): self.epoch, self.iter = epoch, iter
    def after_batch(self):
        if (self.learn.epoch, self.learn.iter) == (self.epoch, self.iter): raise ZeroDivisionError
    def after_epoch(self):
        if self.learn.epoch == self.epoch and self.iter is None: raise ZeroDivisionError


# ---- the same bits

@pytest.mark.parametrize('method', ['fit', 'fit_one_cycle'])
@pytest.mark.parametrize('opt_func', [momentum, optim.SGD, torch.optim.Adam, partial(torch.optim.SGD, momentum=0.9)])
@pytest.mark.parametrize('cut', [Cut(0, 3), Cut(1), Cut(2, 12)])
def test_resumed_it_is_the_same_fit(tmp_path, method, opt_func, cut):
    whole, half, other = dropping(0, opt_func), dropping(0, opt_func), dropping(5, opt_func)
    for f in (torch.manual_seed, random.seed, np.random.seed): f(0)
    getattr(whole, method)(4, 0.05)
    for f in (torch.manual_seed, random.seed, np.random.seed): f(0)
    with pytest.raises(ZeroDivisionError): getattr(half, method)(4, 0.05, cbs=[cut, Checkpoint(tmp_path/'c')])
    other.resume(tmp_path/'c')
    same_fit(other, whole)

def test_saving_now_and_then(tmp_path):
    saved = []
    class Spy(Checkpoint):
        def save(self, done): saved.append(done); super().save(done)
    whole, half, other = dropping(), dropping(), dropping(5)
    torch.manual_seed(0); whole.fit(7, 0.05)
    torch.manual_seed(0)
    with pytest.raises(ZeroDivisionError): half.fit(7, 0.05, cbs=[Spy(tmp_path/'c', every=3), Cut(4)])
    assert saved == [0, 3] and read_state(tmp_path/'c')['every'] == 3
    other.resume(tmp_path/'c')
    same_fit(other, whole)
    assert read_state(tmp_path/'c')['done'] == 7

def test_a_finished_fit_resumes_to_nothing_and_a_new_fit_is_new(tmp_path):
    a = dropping()
    a.fit_one_cycle(2, 0.1, cbs=Checkpoint(tmp_path/'c'))
    before = flat(a.model)
    a.resume(tmp_path/'c')
    assert len(a.recorder.values) == 2 and torch.equal(flat(a.model), before)
    a.fit(1)
    assert len(a.recorder.values) == 1 and {*a.recorder.lrs} == {1e-3}

@pytest.mark.parametrize('loader', [dataloader.DataLoader, utils.data.DataLoader])
def test_resume_with_an_order_from_the_global_generator(tmp_path, loader):
    def make(seed):
        train = loader(dataloader.Dataset(X[:200], Y[:200]), batch_size=16, shuffle=True)
        return quiet(DataLoaders(train, LISTS[1]), network(seed))
    whole, half, other = make(0), make(0), make(5)
    torch.manual_seed(0); whole.fit(4, 0.05)
    torch.manual_seed(0)
    with pytest.raises(ZeroDivisionError): half.fit(4, 0.05, cbs=[Checkpoint(tmp_path/'c'), Cut(1)])
    other.resume(tmp_path/'c')
    same_fit(other, whole)

class Noisy:
    "A data set that draws from Python, from NumPy, and from a generator of its transform."
    def __init__(self, transform): self.transform = transform
    def __len__(self): return 200
    def __getitem__(self, i): return self.transform(X[i]) + random.random() + float(np.random.rand()), Y[i]

class Jitter:
    def __init__(self): self.g = torch.Generator().manual_seed(0)
    def __call__(self, x): return x + torch.randn((), generator=self.g)

@pytest.mark.parametrize('wrap', [lambda ds: ds, lambda ds: utils.data.ConcatDataset([ds]), lambda ds: utils.data.Subset(ds, range(200))])
def test_resume_with_randomness_in_the_data(tmp_path, wrap):
    whole, half, other = [dropping(s, train=wrap(Noisy(Jitter()))) for s in (0, 0, 5)]
    def fit(learn, **kwargs):
        for f in (torch.manual_seed, random.seed, np.random.seed): f(0)
        learn.fit(3, 0.05, **kwargs)
    fit(whole)
    with pytest.raises(ZeroDivisionError): fit(half, cbs=[Checkpoint(tmp_path/'c'), Cut(1)])
    other.resume(tmp_path/'c')
    same_fit(other, whole)

def test_generators_are_found_wherever_they_are_kept():
    g, h = torch.Generator(), torch.Generator()
    ours, theirs = [m.DataLoader(X, 10, shuffle=True, generator=g) for m in (dataloader, utils.data)]
    assert generators(ours, theirs) == [g]
    sampler = utils.data.RandomSampler(X, generator=h)
    inside = utils.data.DataLoader(X, batch_sampler=utils.data.BatchSampler(sampler, 10, False))
    assert set(generators(inside, ours)) == {g, h} and generators(*LISTS) == []
    class Drop(nn.Module):
        def __init__(self): super().__init__(); self.g = g
    assert generators(*nn.Sequential(Drop()).modules()) == [g]

def test_a_checkpoint_of_ours_goes_on_with_pytorchs_optimizer(tmp_path):
    a = dropping()
    with pytest.raises(ZeroDivisionError): a.fit(5, 0.05, cbs=[Checkpoint(tmp_path/'a'), Cut(2)])
    b, c = dropping(1, partial(torch.optim.SGD, momentum=0.9)), dropping(2)
    b.resume(tmp_path/'a')
    c.resume(tmp_path/'a')
    torch.testing.assert_close(flat(b.model), flat(c.model), rtol=1e-6, atol=1e-6)


# ---- SIGKILL

EPOCHS = 16
class Slow(Callback):
    def after_epoch(self):
        import time
        time.sleep(0.05)

def night(path):
    "The fit of a night: go on if there is something to go on from. The last thing is the result, in a file of its own."
    torch.set_num_threads(1)
    learn = dropping(random.randrange(10**6) if path.exists() else 0)
    if path.exists(): learn.resume(path, cbs=Slow())
    else: learn.fit_one_cycle(EPOCHS, 0.1, cbs=[Slow(), Checkpoint(path)])
    write_state(learn.state_dict(), path.with_name('result'))

def test_killed_at_any_moment_a_fit_ends_with_the_same_weights(tmp_path):
    whole = dropping()
    whole.fit_one_cycle(EPOCHS, 0.1)
    ctx = mp.get_context('forkserver') # which has torch loaded, so that a child starts at once
    ctx.set_forkserver_preload(['torch', 'minisgd.checkpoint', 'test_checkpoint'])
    clock, kills, path = random.Random(0), 0, tmp_path/'night'
    for _ in range(60):
        child = ctx.Process(target=night, args=(path,))
        child.start()
        child.join(clock.uniform(0.02, 0.25) if kills < 12 else None)
        if child.exitcode is None:
            os.kill(child.pid, signal.SIGKILL)
            child.join()
        if child.exitcode == 0: break
        assert child.exitcode == -signal.SIGKILL, child.exitcode
        kills += 1
    assert kills >= 3 and child.exitcode == 0
    end = dropping(5)
    end.load_state_dict(read_state(tmp_path/'result'))
    same_fit(end, whole)

@pytest.mark.parametrize('where', ['save', 'write', 'fsync', 'replace'])
def test_a_kill_while_saving_leaves_the_last_checkpoint(tmp_path, where, monkeypatch):
    whole, again = dropping(), dropping(9)
    torch.manual_seed(0); whole.fit(4, 0.1)
    class Killed(BaseException): pass
    calls = []
    def strike(real):
        def act(*args, **kwargs):
            calls.append(1)
            if len(calls) == 3: raise Killed
            return real(*args, **kwargs)
        return act
    module, name = dict(save=(torch, 'save'), write=(checkpoint, 'open'), fsync=(os, 'fsync'), replace=(os, 'replace'))[where]
    monkeypatch.setattr(module, name, strike(open if where == 'write' else getattr(module, name)), raising=False)
    torch.manual_seed(0)
    with pytest.raises(Killed): dropping().fit(4, 0.1, cbs=Checkpoint(tmp_path/'c'))
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ['c'], 'something was left behind'
    again.resume(tmp_path/'c')
    same_fit(again, whole)

def test_a_full_disk_says_so_and_leaves_the_old_file(tmp_path, monkeypatch):
    write_state([1], tmp_path/'c')
    def full(fd): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match='No space left'): write_state([2], tmp_path/'c')
    assert read_state(tmp_path/'c') == [1] and os.listdir(tmp_path) == ['c']


# ---- files that are not checkpoints

def test_every_truncation_and_every_flipped_bit_is_refused(tmp_path):
    learn = dropping()
    learn.fit(1, 0.1, cbs=Checkpoint(tmp_path/'c'))
    data, before = (tmp_path/'c').read_bytes(), flat(learn.model)
    damaged = tmp_path/'damaged'
    for k in [0, 1, 50, len(data)-1, *range(0, len(data), len(data)//100)]:
        for text in (data[:k], data[:k] + bytes([data[k] ^ (1 << k%8)]) + data[k+1:]):
            damaged.write_bytes(text)
            with pytest.raises(ValueError, match='damaged|not written by'): learn.resume(damaged)
    assert torch.equal(flat(learn.model), before)

def test_foreign_files(tmp_path):
    learn = dropping()
    before = flat(learn.model)
    class Evil:
        def __reduce__(self): return os.mkdir, (str(tmp_path/'executed'),)
    for i, thing in enumerate([network().state_dict(), [1, 2], torch.ones(3), Evil()]):
        torch.save(thing, tmp_path/f'{i}')
        with pytest.raises(ValueError, match='not written by'): learn.resume(tmp_path/f'{i}')
    write_state(Evil(), tmp_path/'evil')
    with pytest.raises(Exception, match='[Ww]eights'): learn.resume(tmp_path/'evil')
    with pytest.raises(FileNotFoundError): learn.resume(tmp_path/'nowhere')
    assert not (tmp_path/'executed').exists() and torch.equal(flat(learn.model), before) and 'opt' not in vars(learn)

def test_checkpoints_of_another_learner_change_nothing(tmp_path):
    a = dropping()
    a.fit(1, 0.1, cbs=Checkpoint(tmp_path/'a'))
    def refused(learn, words, file='a'):
        before, rng = flat(learn.model), torch.get_rng_state()
        with pytest.raises((ValueError, RuntimeError), match=words): learn.resume(tmp_path/file)
        assert torch.equal(flat(learn.model), before) and 'opt' not in vars(learn) and torch.equal(rng, torch.get_rng_state())
    refused(quiet(a.dls, nn.Sequential(nn.Linear(6, 17), nn.ReLU(), nn.Linear(17, 3), nn.Dropout())), 'size mismatch')
    refused(dropping(0, torch.optim.Adam), 'of SGD, not of Adam')
    plain = dataloader.DataLoader(dataloader.Dataset(X[:200], Y[:200]), batch_size=16)
    refused(quiet([plain, LISTS[1]], network().append(nn.Dropout(0.1))), 'with 1 random generators, not 0')
    shorter = dropping(train=dataloader.Dataset(X[:100], Y[:100]))
    refused(shorter, '13 batches in an epoch, the training loader has 7')
