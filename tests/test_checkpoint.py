"""What the notebook cannot say of `minisgd.checkpoint`: kills at any moment, damage to every byte, contents that don't fit, and every place where randomness hides."""
import builtins, functools, io, multiprocessing as mp, os, random, signal, subprocess, sys, time, types
from copy import deepcopy
from functools import partial
import numpy as np, pytest, torch
from torch import nn, utils
from torch.utils.data import ConcatDataset, Subset, default_collate
from minisgd import checkpoint, dataloader, learner as L, losses, optim
from minisgd.checkpoint import Checkpoint, get_state, read_state, same, set_state, stateful, write_state
from minisgd.learner import Callback, DataLoaders, Learner, ParamScheduler, get_dls

X = torch.randn(230, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, :3] + 0.3*X[:, 3:]).argmax(1)
LISTS = [(X[i:i+20], Y[i:i+20]) for i in range(0, 200, 20)], [(X[200:], Y[200:])]
momentum = partial(optim.SGD, momentum=0.9)
SERVED = 'forkserver' if 'forkserver' in mp.get_all_start_methods() else 'spawn'


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))

def flat(model): return torch.cat([p.detach().flatten() for p in model.parameters()])

def quiet(dls, model, opt_func=momentum, **kwargs):
    learn = Learner(dls, model, nn.functional.cross_entropy, opt_func, metrics=losses.accuracy, **kwargs)
    learn.logger, learn.bar = lambda row: None, False
    return learn

def seed_all(seed):
    for f in (torch.manual_seed, random.seed, np.random.seed): f(seed)

def dropping(seed=0, opt_func=momentum, train=None, **kwargs):
    "A learner whose fits depend on much: momentum, dropout, batch norm's buffers, an order from its own generator."
    model, g = network(seed).append(nn.Dropout(0.1)).insert(1, nn.BatchNorm1d(16)), torch.Generator().manual_seed(seed)
    dls = get_dls(train or dataloader.Dataset(X[:200], Y[:200]), dataloader.Dataset(X[200:], Y[200:]), 16, g)
    return quiet(dls, model, opt_func, **kwargs)

def same_fit(a, b):
    assert same(a.model.state_dict(), b.model.state_dict())
    for name in ('values', 'losses', 'lrs', 'iters'): assert getattr(a.recorder, name) == getattr(b.recorder, name), name

class Cut(Callback):
    "The power fails after so many batches of an epoch, or at its end."
    def __init__(self, epoch, iter=None): self.epoch, self.iter = epoch, iter
    def after_batch(self):
        if self.learn.training and (self.learn.epoch, self.learn.iter) == (self.epoch, self.iter): raise ZeroDivisionError
    def after_epoch(self):
        if self.learn.epoch == self.epoch and self.iter is None: raise ZeroDivisionError

def resumes(path, make, *how, cut=Cut(1, 6), n_epoch=3, fit='fit_one_cycle', cbs=lambda seed: [], again=True):
    "Is a fit of `make`'s learner that was cut and resumed the fit that wasn't? Returns the resumed learner."
    ends = []
    for seeds in (1,), (1, 2):
        learn, more = make(1), cbs(1)
        seed_all(1)
        if len(seeds) == 1: getattr(learn, fit)(n_epoch, 0.05, cbs=more)
        else:
            with pytest.raises(ZeroDivisionError): getattr(learn, fit)(n_epoch, 0.05, cbs=[*more, Checkpoint(path, *how), cut])
            learn = make(2)
            seed_all(2)
            learn.resume(path, cbs=cbs(2) if again else None)
        ends.append(learn)
    same_fit(*ends)
    return learn

HOWS = [(1,), (2,), (1, 'step'), (5, 'step'), (13, 'step'), (100, 'step')]


# ---- the same bits

@pytest.mark.parametrize('how', HOWS)
@pytest.mark.parametrize('fit', ['fit', 'fit_one_cycle'])
@pytest.mark.parametrize('cut', [Cut(0, 3), Cut(1), Cut(2, 12)])
def test_resumed_it_is_the_same_fit(tmp_path, how, fit, cut): resumes(tmp_path/'c', dropping, *how, fit=fit, cut=cut)

@pytest.mark.parametrize('opt_func', [optim.SGD, optim.Adam, torch.optim.Adam, torch.optim.AdamW, getattr(torch.optim, 'Adafactor', torch.optim.NAdam), torch.optim.RMSprop,
                                      partial(torch.optim.SGD, momentum=0.9, nesterov=True), partial(optim.SGD, momentum=0.9, nesterov=True)])
@pytest.mark.parametrize('how', [(1,), (4, 'step')])
def test_every_optimizer(tmp_path, opt_func, how): resumes(tmp_path/'c', partial(dropping, opt_func=opt_func), *how)

@pytest.mark.parametrize('how', HOWS)
def test_a_checkpoint_changes_nothing(tmp_path, how):
    a, b = dropping(), dropping()
    seed_all(0); a.fit_one_cycle(3, 0.05)
    seed_all(0); b.fit_one_cycle(3, 0.05, cbs=Checkpoint(tmp_path/'c', *how))
    same_fit(a, b)
    assert not any(isinstance(cb, Checkpoint) for cb in b.cbs) and os.listdir(tmp_path) == ['c']

def saves(path, *how, n_epoch=7):
    places, learn = [], dropping()
    class Spy(Checkpoint):
        def save(self, epoch, step): places.append((epoch, step)); super().save(epoch, step)
    learn.fit(n_epoch, 0.05, cbs=Spy(path, *how))
    return places

def test_when_it_saves(tmp_path): # 13 steps an epoch
    assert saves(tmp_path/'c') == [(k, 0) for k in range(8)]
    assert saves(tmp_path/'c', 3) == [(0, 0), (3, 0), (6, 0), (7, 0)]
    assert saves(tmp_path/'c', 5, 'step', n_epoch=2) == [(0, 0), (0, 5), (0, 10), (1, 0), (1, 5), (1, 10), (2, 0)]
    assert saves(tmp_path/'c', 13, 'step', n_epoch=2) == [(0, 0), (0, 13), (1, 0), (1, 13), (2, 0)]
    with pytest.raises(ValueError, match='unit'): Checkpoint('c', 1, 'steps')

def test_it_goes_on_saving_and_can_be_cut_again_and_again(tmp_path):
    whole, learn, path = dropping(), dropping(), tmp_path/'c'
    seed_all(0); whole.fit_one_cycle(4, 0.05)
    seed_all(0)
    with pytest.raises(ZeroDivisionError): learn.fit_one_cycle(4, 0.05, cbs=[Checkpoint(path, 3, 'step'), Cut(0, 1)])
    for k, cut in enumerate([Cut(0, 1), Cut(0, 4), Cut(1, 0), Cut(1), Cut(2, 11), Cut(3, 12)]):
        learn = dropping(k + 5)
        with pytest.raises(ZeroDivisionError): learn.resume(path, cbs=cut)
        assert len(learn.recorder.lrs) == 13*cut.epoch + (13 if cut.iter is None else cut.iter + 1), 'what was trained stays'
    plan = read_state(path)
    assert (plan['epoch'], plan['step'], plan['every'], plan['unit']) == (3, 12, 3, 'step')
    learn.resume(path)
    same_fit(learn, whole)
    assert 'one_batch' not in vars(learn) and read_state(path)['epoch'] == 4

def test_a_checkpoint_among_the_learners_callbacks(tmp_path): # which others follow in the queue, and they draw
    late, mine, old = Callback(), tmp_path/'mine', tmp_path/'old'
    late.before_train = late.after_batch = lambda: torch.rand(1)
    whole, half, again = dropping(), dropping(cbs=Checkpoint(mine, 2, 'step')), dropping(1, cbs=Checkpoint(mine, 2, 'step'))
    seed_all(0); whole.fit_one_cycle(3, 0.05, cbs=late)
    seed_all(0)
    with pytest.raises(ZeroDivisionError): half.fit_one_cycle(3, 0.05, cbs=[late, Cut(1, 5)])
    os.rename(mine, old)
    again.resume(old, cbs=late)
    same_fit(again, whole)
    assert read_state(old)['epoch'] == 3 and same(read_state(old), read_state(mine)) # it goes on saving where it was, too

def test_two_checkpoints_at_once(tmp_path):
    a, b = tmp_path/'a', tmp_path/'b'
    both = lambda: [Checkpoint(a, 4, 'step'), Checkpoint(b, 1)]
    whole = dropping(); seed_all(0); whole.fit_one_cycle(3, 0.05)
    half = dropping(); seed_all(0)
    with pytest.raises(ZeroDivisionError): half.fit_one_cycle(3, 0.05, cbs=[*both(), Cut(1, 6)])
    for path in (a, b): # the second file of a fit that goes on from the middle of an epoch is whole as well
        with pytest.raises(ZeroDivisionError): dropping(3).resume(path, cbs=[*both(), Cut(1, 9)])
    for path in (a, b):
        learn = dropping(4); learn.resume(path)
        same_fit(learn, whole)

def test_a_finished_fit_resumes_to_nothing_and_a_new_fit_is_new(tmp_path):
    a = dropping()
    a.fit_one_cycle(2, 0.1, cbs=Checkpoint(tmp_path/'c'))
    before, b = flat(a.model), dropping(1)
    for learn in (a, b):
        learn.resume(tmp_path/'c')
        assert len(learn.recorder.values) == 2 and torch.equal(flat(learn.model), before)
    a.fit(1)
    assert len(a.recorder.values) == 1 and {*a.recorder.lrs} == {1e-3}

def test_a_schedule_of_ones_own(tmp_path):
    slow = lambda seed: [ParamScheduler(dict(lr=lambda pct: 0.1*(1 - pct)))]
    resumes(tmp_path/'c', dropping, 4, 'step', fit='fit', cbs=slow)
    with pytest.raises(ValueError, match="only in .*'ParamScheduler'"): dropping(2).resume(tmp_path/'c')
    with pytest.raises(ZeroDivisionError): dropping().fit_one_cycle(3, 0.1, cbs=[Checkpoint(tmp_path/'d'), Cut(1)])
    with pytest.raises(ValueError, match="only in .*ParamScheduler'"): dropping().resume(tmp_path/'d', cbs=slow(2))

class EMA(Callback):
    "A callback with a state of PyTorch's kind, which appears when the fit begins."
    def before_fit(self): self.mean = deepcopy(self.learn.model)
    def after_step(self):
        for a, b in zip(self.mean.parameters(), self.learn.model.parameters()): a.data.lerp_(b.data, 0.1)

class Counting(Callback):
    n = 0
    def before_epoch(self): self.n += 1; torch.rand(1); random.random() # and one that draws, where none else does
    def after_step(self): self.n += 1; torch.rand(1)
    def state_dict(self): return {'n': self.n}
    def load_state_dict(self, state): self.n = state['n']

@pytest.mark.parametrize('how', [(1,), (4, 'step')])
def test_callbacks_with_a_state(tmp_path, how):
    kept = []
    resumes(tmp_path/'c', dropping, *how, cbs=lambda seed: kept.append([EMA(), Counting()]) or kept[-1])
    (a, n), _, (b, m) = kept
    assert same(a.mean.state_dict(), b.mean.state_dict()) and n.n == m.n
    with pytest.raises(ValueError, match='only in'): dropping().resume(tmp_path/'c')

def test_a_scheduler_of_pytorch_in_a_callback(tmp_path):
    class Steps(Callback):
        def before_fit(self): self.sched = torch.optim.lr_scheduler.StepLR(self.learn.opt, 5, 0.7)
        def after_step(self): self.sched.step()
    make = partial(dropping, opt_func=partial(torch.optim.SGD, momentum=0.9))
    resumes(tmp_path/'c', make, 4, 'step', fit='fit', cbs=lambda seed: [Steps()])

def test_batches_in_a_list_and_a_stream_without_a_length(tmp_path):
    make = lambda seed: quiet(LISTS, network(seed).append(nn.Dropout(0.1)))
    for how in HOWS: resumes(tmp_path/'c', make, *how)
    class Stream(utils.data.IterableDataset):
        def __iter__(self):
            for i in range(50): j = random.randrange(200); yield X[j] + torch.rand(1), Y[j]
    make = lambda seed: quiet([utils.data.DataLoader(Stream(), 10), LISTS[1]], network(seed).append(nn.Dropout(0.1)))
    for how in HOWS:
        for cut in (Cut(1, 2), Cut(1, 4), Cut(1)): resumes(tmp_path/'c', make, *how, fit='fit', cut=cut)

@pytest.mark.parametrize('loader', [dataloader.DataLoader, utils.data.DataLoader])
@pytest.mark.parametrize('options', [dict(shuffle=True), dict(sampler='replace'), dict(sampler='weights'), dict(shuffle=True, drop_last=True)])
@pytest.mark.parametrize('own', [False, True])
def test_orders(tmp_path, loader, options, own):
    def make(seed):
        ds, more = dataloader.Dataset(X[:200], Y[:200]), dict(options)
        g = torch.Generator().manual_seed(seed) if own else None
        if more.get('sampler') == 'replace': more['sampler'] = utils.data.RandomSampler(ds, True, 150, generator=g)
        elif 'sampler' in more: more['sampler'] = utils.data.WeightedRandomSampler(torch.arange(1., 201), 150, generator=g)
        else: more['generator'] = g
        return quiet([loader(ds, 16, **more), LISTS[1]], network(seed).append(nn.Dropout(0.1)))
    for how in ((1,), (4, 'step')): resumes(tmp_path/'c', make, *how)


# ---- where randomness hides

MODULE_RNG = np.random.default_rng(0)
def by_global(x): return x + 0.1*MODULE_RNG.normal()
augment = types.ModuleType('augment') # a module of the user's, with a generator in it
augment.rng = random.Random(0)
def by_module(x): return x*augment.rng.uniform(0.9, 1)
package = types.ModuleType('package')
package.augment, augment.package = augment, package
def by_package(x): return x*package.augment.rng.uniform(0.9, 1)

class Mapped:
    def __init__(self, f): self.f = f
    def __len__(self): return 200
    def __getitem__(self, i): return self.f(X[i]), Y[i]

class Jitter:
    def __init__(self, g): self.g = g
    def __call__(self, x): return x + 0.1*torch.randn((), generator=self.g)
class Slotted(Jitter): __slots__ = 'g',
class OfClass:
    rng = random.Random(0)
    def __call__(self, x): return x*self.rng.uniform(0.9, 1)
class Noise(nn.Module):
    def __init__(self, g): super().__init__(); self.g = g
    def forward(self, x): return x + 0.1*torch.randn(x.shape, generator=self.g)
class Mixing(Callback):
    def __init__(self, rng): self.rng = rng
    def before_batch(self): self.learn.xb = [x*self.rng.uniform(0.9, 1) for x in self.learn.xb]

def tg(seed): return torch.Generator().manual_seed(seed)
def dim(items, rng):
    x, y = default_collate(items)
    return x*rng.uniform(0.9, 1), y
def in_closure(seed):
    rng = np.random.default_rng(seed)
    return lambda x: x + 0.1*rng.normal()
def in_closure_of_closure(seed):
    inner = in_closure(seed)
    return lambda x: [inner(v) for v in [x]][0]
def of_class(seed): OfClass.rng.seed(seed); return OfClass()
def of_global(seed): MODULE_RNG.bit_generator.state = np.random.default_rng(seed).bit_generator.state; return by_global
def of_module(seed): augment.rng.seed(seed); return by_module
def of_package(seed): augment.rng.seed(seed); return by_package
def bound(seed): rng = np.random.RandomState(seed); return lambda x, draw=rng.normal: x + 0.1*draw()
def legacy_bits(seed): rng = np.random.Generator(np.random.MT19937(seed)); return lambda x: x + 0.1*rng.normal()
def philox(seed): rng = np.random.Generator(np.random.Philox(seed)); return lambda x: x + 0.1*rng.normal()

transforms = dict(
    attribute=lambda s: Jitter(tg(s)), slot=lambda s: Slotted(tg(s)), closure=in_closure, nested=in_closure_of_closure, of_class=of_class,
    of_global=of_global, of_module=of_module, of_package=of_package, bound_method=bound, mt19937=legacy_bits, philox=philox,
    partial=lambda s: partial(lambda x, rng: x*rng.uniform(0.9, 1), rng=random.Random(s)),
    default=lambda s: lambda x, rng=random.Random(s): x*rng.uniform(0.9, 1),
    several=lambda s: nn.Sequential(Noise(tg(s)), Noise(tg(s + 100))), in_a_dict=lambda s: (lambda d: lambda x: d['f'][0](x))({'f': [Jitter(tg(s))]}),
    cached=lambda s: functools.lru_cache(maxsize=None)(Jitter(tg(s))).__wrapped__, method=lambda s: Jitter(tg(s)).__call__,
    globals_of_all=lambda s: lambda x: x + random.random()*0.1 + float(np.random.rand())*0.1 + 0.1*torch.rand(()))
wraps = dict(plain=lambda ds: ds, concat=lambda ds: ConcatDataset([ds, ds]), subset=lambda ds: Subset(ds, range(190)))

def hidden(seed, place, theirs=True, workers=0):
    learn, ds, more = dropping(seed), Mapped(lambda x: x), {}
    if place in transforms: ds = Mapped(transforms[place](seed))
    elif place in wraps: ds = wraps[place](Mapped(Jitter(tg(seed))))
    elif place == 'collate partial': more = dict(collate_fn=partial(dim, rng=random.Random(seed)))
    elif place == 'collate closure': f = in_closure(seed); more = dict(collate_fn=lambda items: (f(default_collate(items)[0]), default_collate(items)[1]))
    elif place == 'sampler': more = dict(sampler=utils.data.RandomSampler(ds, generator=tg(seed)))
    elif place == 'batch_sampler': more = dict(batch_sampler=utils.data.BatchSampler(utils.data.RandomSampler(ds, generator=tg(seed)), 16, False))
    elif place == 'own sampler': rng = random.Random(seed); more = dict(sampler=[]); more['sampler'] = type('Odd', (), dict(
        __iter__=lambda self: iter(rng.sample(range(200), 100)), __len__=lambda self: 100))()
    elif place == 'layer': learn.model.insert(1, Noise(tg(seed)))
    elif place == 'hook': f = Jitter(tg(seed)); learn.model[0].register_forward_hook(lambda m, args, out: f(out))
    elif place == 'loss': f = in_closure(seed); learn.loss_func = lambda pred, y: nn.functional.cross_entropy(f(pred), y)
    if not ('sampler' in more or 'batch_sampler' in more): more['shuffle'] = True
    if 'batch_sampler' not in more: more['batch_size'] = 16
    loader = utils.data.DataLoader if theirs else dataloader.DataLoader
    if workers: more |= dict(num_workers=workers)
    learn.dls = DataLoaders(loader(ds, **more), learn.dls.valid)
    return learn

PLACES = [*transforms, *wraps, 'collate partial', 'collate closure', 'sampler', 'batch_sampler', 'own sampler', 'layer', 'hook', 'loss']

@pytest.mark.parametrize('theirs', [False, True])
@pytest.mark.parametrize('place', PLACES)
def test_a_generator_is_found_wherever_it_is_kept(tmp_path, place, theirs):
    for how in ((1,), (4, 'step')): resumes(tmp_path/'c', partial(hidden, place=place, theirs=theirs), *how)

@pytest.mark.parametrize('place', ['globals_of_all', 'closure', 'attribute', 'of_class'])
def test_worker_processes(tmp_path, place):
    make = partial(hidden, place=place, workers=2)
    for how in ((1,), (4, 'step')): resumes(tmp_path/'c', make, *how, cut=Cut(1, 6), n_epoch=2)

def test_worker_init_fn_with_a_generator(tmp_path):
    def make(seed):
        learn, rng = hidden(seed, 'globals_of_all', workers=2), random.Random(seed)
        learn.dls.train.worker_init_fn = lambda k: torch.manual_seed(rng.randrange(1000) + k)
        return learn
    assert 'Random in <lambda>' in stateful(make(1))
    resumes(tmp_path/'c', make, 4, 'step', n_epoch=2)

def test_a_callback_that_draws(tmp_path):
    for rng in (random.Random, np.random.RandomState, np.random.default_rng):
        resumes(tmp_path/'c', dropping, 4, 'step', cbs=lambda seed: [Mixing(rng(seed))])
    with pytest.raises(ValueError, match='PCG64 in Mixing'): dropping().resume(tmp_path/'c')

def refused_at_once(tmp_path, learn, words):
    before = flat(learn.model)
    with pytest.raises((ValueError, NotImplementedError), match=words): learn.fit(1, 0.1, cbs=Checkpoint(tmp_path/'c'))
    assert torch.equal(flat(learn.model), before) and os.listdir(tmp_path) == []

DICE = random.SystemRandom()
def test_what_cannot_be_saved_is_named_before_the_first_step(tmp_path):
    refused_at_once(tmp_path, dropping(train=Mapped(lambda x: x + DICE.random())), 'does not have state')
    dl = utils.data.DataLoader(Mapped(by_global), 16, num_workers=1, persistent_workers=True)
    refused_at_once(tmp_path, quiet([dl, LISTS[1]], network()), 'no persistent workers')
    loose = torch.zeros(3, requires_grad=True)
    refused_at_once(tmp_path, dropping(opt_func=lambda ps, lr: optim.SGD([*ps, loose], lr)), 'no module holds')
    class Opaque(Callback):
        def state_dict(self): return {'set': object()}
        def load_state_dict(self, state): pass
    learn = dropping()
    with pytest.raises(Exception): learn.fit(1, 0.1, cbs=[Opaque(), Checkpoint(tmp_path/'c')])
    assert os.listdir(tmp_path) == []

def test_what_appears_during_a_fit_is_named(tmp_path):
    class Late(Callback):
        def after_epoch(self): self.rng = random.Random(1)
    with pytest.raises(ValueError, match='Random in Late'): dropping().fit(3, 0.1, cbs=[Late(), Checkpoint(tmp_path/'c')])

def test_parameters_of_the_loss_are_saved_too(tmp_path):
    class Scaled(nn.Module):
        def __init__(self): super().__init__(); self.scale = nn.Parameter(torch.ones(1))
        def forward(self, pred, y): return nn.functional.cross_entropy(pred*self.scale, y)
    def make(seed):
        learn = dropping(seed)
        learn.loss_func = Scaled()
        learn.opt_func = lambda ps, lr: momentum([*ps, *learn.loss_func.parameters()], lr)
        return learn
    learn = resumes(tmp_path/'c', make, 4, 'step')
    assert 'Scaled' in stateful(learn)

def test_the_names_do_not_depend_on_hashes():
    code = 'import sys; sys.path.insert(0, "tests"); import test_checkpoint as t; print([*t.stateful(t.hidden(1, "several"))], [*t.stateful(t.hidden(1, "of_module"))])'
    outs = {subprocess.run([sys.executable, '-c', code], env=os.environ | {'PYTHONHASHSEED': str(k)}, capture_output=True, text=True, check=True,
                           cwd=os.path.dirname(os.path.dirname(__file__))).stdout for k in (1, 2)}
    assert len(outs) == 1 and 'Generator in Noise' in outs.pop()

def test_only_what_a_function_names_and_no_other_learner(monkeypatch):
    names = [*stateful(dropping(train=Mapped(lambda x: x.roll(1))))]
    assert names == ['Sequential', 'SGD', 'Recorder', 'Generator in torch', 'Random in python', 'RandomState in numpy', 'Generator in DataLoader']
    monkeypatch.setattr(builtins, 'shell', Jitter(tg(1)), raising=False) # as IPython keeps itself there
    monkeypatch.setattr(augment, '__builtins__', vars(builtins), raising=False)
    assert 'Generator in Jitter' not in stateful(hidden(1, 'of_module'))
    other = hidden(1, 'attribute')
    look = Callback(); look.after_step = lambda: other.model
    assert 'Generator in Jitter' not in stateful(dropping(cbs=look))

def test_states_of_all_generators():
    bits = [b(1) for b in (np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64)]
    for g in [tg(1), random.Random(1), np.random.RandomState(1), *bits]:
        draw = (lambda: np.random.Generator(g).integers(100, size=7, dtype=np.uint32).tolist()) if g in bits else (
            lambda: [torch.randn(3, generator=g).tolist() if isinstance(g, torch.Generator) else g.gauss(0, 1) if isinstance(g, random.Random) else g.randn()])
        draw(); buffer = io.BytesIO()
        torch.save(get_state(g), buffer)
        first = draw(), draw()
        buffer.seek(0); set_state(g, torch.load(buffer, weights_only=True))
        assert (draw(), draw()) == first

@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU here')
def test_dropout_on_a_gpu(tmp_path):
    def make(seed):
        learn = dropping(seed)
        learn.model.cuda()
        return learn
    learn = resumes(tmp_path/'c', make, 4, 'step')
    assert 'Generator in cuda' in stateful(learn)


# ---- SIGKILL

def loaders(k, seed):
    "Each of the mixtures, by the digits of k: whose loader, which augmentation, where the order comes from."
    k, own = divmod(k, 2)
    k, theirs = divmod(k, 2)
    aug = [lambda x: x*random.uniform(0.9, 1), lambda x: x + 0.1*float(np.random.randn()), lambda x: x + 0.1*torch.randn(6),
           transforms['closure'](seed), transforms['globals_of_all'](seed)][k % 5]
    ds, g = Mapped(aug), tg(seed) if own else None
    workers = dict(num_workers=2, multiprocessing_context='fork') if theirs and k % 7 == 3 and hasattr(os, 'fork') else {}
    train = (utils.data.DataLoader if theirs else dataloader.DataLoader)(ds, 10, shuffle=True, generator=g, **workers)
    return DataLoaders(train, dataloader.DataLoader(dataloader.Dataset(X[200:], Y[200:]), 30))

OPTS = [momentum, torch.optim.Adam, partial(torch.optim.SGD, momentum=0.9), optim.Adam, optim.SGD, torch.optim.AdamW]
def mixed(k, seed):
    seed_all(seed)
    model = network(seed).append(nn.Dropout(0.1))
    if k % 3: model.insert(1, nn.BatchNorm1d(16))
    if k % 4 == 1: model.insert(1, Noise(tg(seed)))
    return quiet(loaders(k, seed), model, OPTS[k % len(OPTS)])

EPOCHS = 4 # of 20 batches
class Slow(Callback):
    def after_batch(self): time.sleep(0.005)
def night(k, path, seed):
    "The fit of a night: go on if there is something to go on from."
    torch.set_num_threads(1)
    learn = mixed(k, seed)
    if path.exists(): learn.resume(path, cbs=Slow())
    else:
        seed_all(1)
        fit = learn.fit_one_cycle if k % 5 else learn.fit
        fit(EPOCHS, 0.05, cbs=[Checkpoint(path, [1, 3, 1, 7][k % 4], ['step', 'step', 'epoch', 'step'][k % 4]), Slow()])

def killed(k, folder, kills, clock):
    "How often a night was killed, in vain: the file it ends with is that of a quiet night."
    ctx = mp.get_context(SERVED) # which has torch loaded, so that a child starts at once
    if SERVED == 'forkserver': ctx.set_forkserver_preload(['torch', 'minisgd.checkpoint', 'test_checkpoint'])
    calm, wild, done = folder/f'calm{k}', folder/f'wild{k}', 0
    peace = ctx.Process(target=night, args=(k, calm, 1))
    peace.start(); peace.join()
    assert peace.exitcode == 0
    for attempt in range(500):
        fresh = not wild.exists()
        child = ctx.Process(target=night, args=(k, wild, 1 if fresh else 100 + attempt))
        child.start()
        if done < kills:
            if not fresh: child.join(clock.uniform(0, 0.35))
            else:
                while not wild.exists() and child.exitcode is None: time.sleep(0.002)
                child.join(clock.uniform(0, 0.3))
        else: child.join()
        if child.exitcode is None:
            child.kill()    # SIGKILL, and what Windows has instead
            child.join()
        if child.exitcode == 0 and done >= kills: break
        assert child.exitcode in (0, -getattr(signal, 'SIGKILL', signal.SIGTERM)), child.exitcode
        if child.exitcode: done += 1
        else: break
    a, b = read_state(calm)['parts'], read_state(wild)['parts']
    for name in a: assert same(a[name], b[name]), (k, name)
    assert a.keys() == b.keys() and read_state(wild)['epoch'] == EPOCHS
    return done

RUNS, KILLS = [int(n) for n in os.environ.get('MINISGD_KILLS', '5 4').split()] # '40 8': the long way
def test_killed_at_any_moment_a_fit_ends_on_the_same_bits(tmp_path):
    clock, start = random.Random(), time.time()
    kills = [killed((k*7) % 60, tmp_path, KILLS, clock) for k in range(RUNS)]
    print(f'{sum(kills)} kills in {RUNS} runs, {time.time() - start:.0f} s; parts left behind: {len([*tmp_path.glob("*.part")])}')
    assert sum(kills) >= RUNS*KILLS/3

@pytest.mark.parametrize('where', ['save', 'write', 'fsync', 'replace'])
def test_a_kill_while_saving_leaves_the_last_checkpoint(tmp_path, where, monkeypatch):
    whole, again = dropping(), dropping(9)
    seed_all(0); whole.fit(4, 0.1)
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
    half = dropping(); seed_all(0)
    with pytest.raises(Killed): half.fit(4, 0.1, cbs=Checkpoint(tmp_path/'c'))
    monkeypatch.undo()
    again.resume(tmp_path/'c')
    same_fit(again, whole)


# ---- the disk

def test_nothing_is_on_its_way_when_the_disk_is_asked_for_it(tmp_path, monkeypatch):
    sizes = []
    monkeypatch.setattr(os, 'fsync', lambda fd: sizes.append(os.fstat(fd).st_size))
    write_state(torch.ones(3), tmp_path/'c')
    assert sizes == [os.stat(tmp_path/'c').st_size] and os.listdir(tmp_path) == ['c']

def test_a_full_disk_says_so_and_leaves_the_old_file(tmp_path):
    pytest.importorskip('resource')
    write_state([1], tmp_path/'c')
    code = ('import resource, sys, torch; from minisgd.checkpoint import write_state; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000));'
            'write_state(torch.zeros(10000), sys.argv[1])')
    done = subprocess.run([sys.executable, '-c', code, tmp_path/'c'], capture_output=True, text=True)
    assert done.returncode and 'OSError: [Errno 27] File too large' in done.stderr
    assert read_state(tmp_path/'c') == [1]

@pytest.mark.parametrize('call', ['open', 'fsync', 'replace'])
def test_no_space_left(tmp_path, monkeypatch, call):
    write_state([1], tmp_path/'c')
    def full(*args): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(checkpoint if call == 'open' else os, call, full, raising=False)
    with pytest.raises(OSError, match='No space left'): write_state([2], tmp_path/'c')
    monkeypatch.undo()
    assert read_state(tmp_path/'c') == [1]
    write_state([2], tmp_path/'c') # over the part that may have been left
    assert read_state(tmp_path/'c') == [2] and os.listdir(tmp_path) == ['c']

def scribble(path, k):
    for i in range(100): write_state(torch.full((5000,), 1000*k + i), path)

@pytest.mark.skipif(sys.platform == 'win32', reason='Windows replaces no file that is being read')
def test_two_writers_and_a_reader(tmp_path):
    path, ctx = tmp_path/'c', mp.get_context(SERVED)
    write_state(torch.zeros(5000), path)
    writers = [ctx.Process(target=scribble, args=(path, k)) for k in range(2)]
    for w in writers: w.start()
    while any(w.is_alive() for w in writers): assert len(read_state(path).unique()) == 1
    assert [w.exitcode for w in writers] == [0, 0] and os.listdir(tmp_path) == ['c']

def test_the_file_is_as_readable_as_others(tmp_path):
    write_state([1], tmp_path/'c')
    (tmp_path/'d').write_text('')
    assert os.stat(tmp_path/'c').st_mode == os.stat(tmp_path/'d').st_mode


# ---- files that are not checkpoints

def small():
    learn = quiet([[(X[:4, :2], Y[:4])], None], nn.Linear(2, 3))
    return learn

def test_every_byte_flipped_is_refused(tmp_path):
    learn = small()
    learn.fit(1, 0.1, cbs=Checkpoint(tmp_path/'c'))
    data, before = (tmp_path/'c').read_bytes(), deepcopy(learn.state_dict())
    damaged = tmp_path/'damaged'
    damaged.write_bytes(data)
    with open(damaged, 'r+b', buffering=0) as f:
        for k in range(len(data)):
            os.pwrite(f.fileno(), bytes([data[k] ^ (1 << k % 8)]), k)
            with pytest.raises(ValueError, match='damaged'): learn.resume(damaged)
            os.pwrite(f.fileno(), data[k:k+1], k)
    assert same(learn.state_dict(), before)
    assert same(read_state(damaged), read_state(tmp_path/'c'))

def test_every_truncation_is_refused(tmp_path):
    write_state({'x': torch.ones(3)}, tmp_path/'c')
    data = (tmp_path/'c').read_bytes()
    for k in range(len(data)):
        (tmp_path/'d').write_bytes(data[:k])
        with pytest.raises(ValueError, match='damaged'): read_state(tmp_path/'d')
    (tmp_path/'d').write_bytes(data + b' ')
    with pytest.raises(ValueError, match='damaged'): read_state(tmp_path/'d')

def test_foreign_files(tmp_path):
    learn = dropping()
    before = flat(learn.model)
    class Evil:
        def __reduce__(self): return os.mkdir, (str(tmp_path/'executed'),)
    for i, thing in enumerate([network().state_dict(), [1, 2], torch.ones(3), Evil()]):
        torch.save(thing, tmp_path/f'{i}')
        with pytest.raises(ValueError, match='damaged'): learn.resume(tmp_path/f'{i}')
    buffer = io.BytesIO(); torch.save(Evil(), buffer); data = buffer.getvalue() # with a right digest
    (tmp_path/'evil').write_bytes(checkpoint.hashlib.sha256(data).digest() + data)
    with pytest.raises(Exception, match='[Ww]eights'): learn.resume(tmp_path/'evil')
    with pytest.raises(FileNotFoundError): learn.resume(tmp_path/'nowhere')
    for thing in ([1, 2], {'parts': 1}, {'batches': 13, 'start': {}, 'parts': {}}):
        write_state(thing, tmp_path/'whole')
        with pytest.raises(Exception): learn.resume(tmp_path/'whole')
    assert not (tmp_path/'executed').exists() and torch.equal(flat(learn.model), before)
    with pytest.raises(Exception): write_state(Evil(), tmp_path/'never')
    assert not (tmp_path/'never').exists()

def refused(learn, path, words=None):
    learn.fit(1, 0.05) # so that there is something to lose
    before, lr = deepcopy(learn.state_dict()), learn.opt.param_groups[0]['lr']
    with pytest.raises(Exception, match=words): learn.resume(path)
    assert same(learn.state_dict(), before) and learn.opt.param_groups[0]['lr'] == lr
    assert 'one_batch' not in vars(learn) and len(learn.cbs) == 4

def test_checkpoints_of_another_learner_change_nothing(tmp_path):
    a, path = dropping(), tmp_path/'a'
    with pytest.raises(ZeroDivisionError): a.fit_one_cycle(2, 0.1, cbs=[Checkpoint(path, 3, 'step'), Cut(1, 7)])
    wide = nn.Sequential(nn.Linear(6, 17), nn.BatchNorm1d(17), nn.ReLU(), nn.Linear(17, 3), nn.Dropout())
    refused(quiet(a.dls, wide), path, 'size mismatch')
    refused(dropping(0, torch.optim.Adam), path, "only in .*'Adam'")
    refused(dropping(0, partial(torch.optim.SGD, momentum=0.9)), path, "SGD doesn't fit")
    refused(quiet([LISTS[0] + LISTS[0][:3], LISTS[1]], deepcopy(a.model)), path, "only in .*'Generator in DataLoader'")
    refused(dropping(train=dataloader.Dataset(X[:100], Y[:100])), path, '13 batches, not 7')
    refused(hidden(1, 'layer', theirs=False), path, "only in .*'Generator in Noise'")

def damage(state):
    "Whole files with contents that can't be right: (where, what)."
    model, opt, parts = state['parts']['Sequential'], state['parts']['SGD'], state['parts']
    w, buf = model['0.weight'], opt['state'][0]['momentum_buffer']
    for bad in (w[:3], w.T, w.double(), w.int(), w.to(torch.complex64), w*torch.nan, w[None], 3, 'w', None):
        yield 'weight', parts | {'Sequential': model | {'0.weight': bad}}
    for bad in (buf.double(), buf.int(), buf*torch.nan):
        yield 'momentum', parts | {'SGD': opt | {'state': opt['state'] | {0: {'momentum_buffer': bad}}}}
    yield 'missing', parts | {'Sequential': {k: v for k, v in model.items() if k != '0.weight'}}
    yield 'more', parts | {'Sequential': model | {'more': w}}
    group = opt['param_groups'][0]
    yield 'group', parts | {'SGD': opt | {'param_groups': [group | {'params': [0]}]}}
    yield 'groups', parts | {'SGD': opt | {'param_groups': [group, group]}}
    for name in ('Generator in torch', 'Random in python', 'RandomState in numpy', 'Generator in DataLoader'):
        for bad in (None, 3, 'x', [], {}, torch.zeros(3), torch.zeros(5056), (3, (1, 2), None)): yield name, parts | {name: bad}
    for name in parts: yield 'less', {k: v for k, v in parts.items() if k != name}
    yield 'recorder', parts | {'Recorder': None}
    yield 'more', parts | {'Stranger': {}}

@pytest.mark.parametrize('opt_func', [momentum, partial(torch.optim.SGD, momentum=0.9)])
@pytest.mark.filterwarnings('ignore:Casting complex')
def test_whole_files_with_bad_contents_change_nothing(tmp_path, opt_func):
    a = dropping(opt_func=opt_func)
    with pytest.raises(ZeroDivisionError): a.fit(2, 0.1, cbs=[Checkpoint(tmp_path/'a', 3, 'step'), Cut(1, 7)])
    state, learn = read_state(tmp_path/'a'), dropping(3, opt_func)
    learn.fit(1, 0.05)
    before, loaded = deepcopy(learn.state_dict()), []
    for where, parts in damage(state):
        write_state(state | {'parts': parts}, tmp_path/'b')
        try: learn.resume(tmp_path/'b')
        except Exception: pass
        else: loaded.append(where); break
        assert same(learn.state_dict(), before), where
    assert not loaded
    write_state(state | {'batches': 12}, tmp_path/'b')
    with pytest.raises(ValueError, match='12 batches'): learn.resume(tmp_path/'b')
    assert same(learn.state_dict(), before)

def test_a_nan_never_takes_the_place_of_a_good_file(tmp_path):
    learn, path = dropping(), tmp_path/'c'
    learn.remove_cb(L.NanGuard)
    class Spoil(Callback):
        def after_step(self):
            if (self.learn.epoch, self.learn.iter) == (1, 3): next(self.learn.model.parameters()).data[0, 0] = torch.nan
    with pytest.raises(ValueError, match='nan'): learn.fit(3, 0.1, cbs=[Spoil(), Checkpoint(path, 1, 'step')])
    plan = read_state(path)
    assert (plan['epoch'], plan['step']) == (1, 3)


def test_our_own_modules_are_parts_too(tmp_path):
    from minisgd.modules import Linear, ReLU, Sequential
    def learner():
        torch.manual_seed(0)
        model = Sequential(Linear(3, 4), ReLU(), Linear(4, 1))
        return Learner(dls(), model, lambda p, y: (p[:, 0] - y).square().mean(), optim.SGD)
    def dls():
        g = torch.Generator().manual_seed(0)
        x = torch.randn(20, 3, generator=g)
        return get_dls(dataloader.Dataset(x, x[:, 0]), dataloader.Dataset(x, x[:, 0]), 4, g)
    whole, cut, path = learner(), learner(), tmp_path/'fit'
    with whole.no_logging(): whole.fit(3, 0.1)
    class Stop(Exception): pass
    class Crash(Callback):
        def before_epoch(self):
            if self.learn.epoch == 2: raise Stop
    with pytest.raises(Stop), cut.no_logging(): cut.fit(3, 0.1, cbs=[Checkpoint(path), Crash()])
    again = learner()
    with again.no_logging(): again.resume(path)
    for a, b in zip(whole.model.parameters(), again.model.parameters()): assert a.equal(b)
