# %% [markdown]
# # The learner: your turn
# > Five exercises for [07 learner](../07_learner.ipynb), nearly two hours and a half in all.

# %%
import math, torch
from functools import partial
from torch import nn
from minisgd.data import mnist
from minisgd.losses import cross_entropy, accuracy
from minisgd.modules import Linear, ReLU, Sequential
from minisgd.dataloader import Dataset, DataLoader
from minisgd.optim import SGD
from minisgd.learner import Learner, Callback, CancelFitException, validate
from minisgd.checks.learner import check

# %%
torch.set_num_threads(1)    # everything here is small, as in the notebook

# %% check
import itertools, math, torch
from torch import nn
from ..dataloader import DataLoader, Dataset
from ..learner import Callback, Learner, validate
from ..optim import SGD

def fitted(model, cb, train, valid=None, epochs=1, lr=0.1, loss=nn.functional.mse_loss, metrics=None, fit_cb=True, opt_func=SGD): # a learner after a fit
    learn = Learner([train, valid], model, loss, opt_func, metrics=metrics, cbs=None if fit_cb else cb)
    with learn.no_bar(), learn.no_logging(): learn.fit(epochs, lr, cbs=cb if fit_cb else None)
    return learn

def made(cls, *args, **kwargs): # an object of the learner's class, if it is a callback
    refuse(not (isinstance(cls, type) and issubclass(cls, Callback)), 'it should be a class derived from `Callback`, or the learner will not have it')
    return cls(*args, **kwargs)

# %% [markdown]
# ## 1. How wrong can it be?
# (Ten minutes.) Somebody validates in batches of `bs` rows, the last of which holds what's left, and reports the mean of the batches' accuracies. How far can that be from the share of rows that are right, at worst?
#
# Guess first, for 10,000 digits in batches of 128: a hundredth of a percentage point, a tenth, or a whole one?
# <details><summary>Hint</summary>
#
# How much does the last batch count, and how much should it? And for which answers does that matter most?
# </details>

# %% solution
def worst_gap(n, # rows to validate on
              bs # rows in a batch
             ):  # between 0 and 1: the largest possible distance of the two accuracies
    "How far a mean of batch accuracies can be from the accuracy."
    last = n % bs
    return 1/math.ceil(n/bs) - last/n if last else 0

# %% wrong: should count a little
def worst_gap(n, bs): return 1/math.ceil(n/bs) if n % bs else 0

# %% wrong: not all full
def worst_gap(n, bs):
    batches = math.ceil(n/bs)
    last = n - (batches - 1)*bs
    return (1 - last/bs)/batches if batches > 1 else 0

# %% wrong: no last batch
def worst_gap(n, bs): return 1/math.ceil(n/bs) - (n % bs)/n

# %% wrong: left out
def worst_gap(n, bs): return (n % bs)/n

# %% wrong: how many are the batches
def worst_gap(n, bs): return abs(1/(n//bs) - (n % bs)/n) if n >= bs and n % bs else 0

# %% check
@check.add
def worst_gap(f):
    def right(n, bs): return 1/math.ceil(n/bs) - (n % bs)/n if n % bs else 0
    for n, bs in (15, 4), (10, 5), (10, 9), (7, 3), (1000, 333), (3, 8), (8, 8), (10_000, 128), (1500, 64), (5, 1), (1, 1):
        ask(f, n, bs, expect=right, tol=1e-7, mistakes={
            'the last batch should count a little, too: by its rows': lambda n, bs: 1/math.ceil(n/bs) if n % bs else 0,
            'here `bs` divides `n`, or there is only one batch: no last batch is short': lambda n, bs: abs(1/math.ceil(n/bs) - (n % bs)/n),
            'that is what happens if the last batch is left out': lambda n, bs: (n % bs)/n,
            'how many are the batches? One of them is short': lambda n, bs: abs(1/(n//bs) - (n % bs)/n) if n >= bs and n % bs else 0,
            'how many rows does the last batch hold? Not always one': lambda n, bs: 1/math.ceil(n/bs) - 1/n if n > bs and n % bs else 0,
            'a row should count `1/n`, as the batches are not all full': lambda n, bs: (1 - (n % bs)/bs)/math.ceil(n/bs) if n > bs and n % bs else 0,
            'there is no short last batch here, and you count one': lambda n, bs: 1/(n//bs + 1) - (n % bs)/n,
            '`n/bs` is not how many batches there are: the short one counts as one': lambda n, bs: (bs - n % bs)/n,
            'by which sign? A distance is positive': lambda n, bs: -right(n, bs),
            'as a share, please, not in percent': lambda n, bs: 100*right(n, bs),
            'that is how much a full batch should count less how much it does; what do all of them together lose?': lambda n, bs: abs(bs/n - 1/math.ceil(n/bs))})
    return '10,000 digits in batches of 128: up to 1.1 points of accuracy, and only 16 digits are left over'

# %% [markdown]
# And which batch size is the worst of all? Guess, and then give `worst_size` your `worst_gap`.

# %%
def worst_size(gap, n=10_000): return max(range(1, n), key=lambda bs: gap(n, bs))

# %% [markdown]
# ## 2. Lose patience
# (Fifteen minutes.) Write a callback that ends a fit when it's no longer worth it: once a number in `learn.row` hasn't been better than the best so far for some epochs in a row. Equal isn't better. Losses get better by falling, and accuracies by rising. One object must serve for fit after fit.
# <details><summary>Hint</summary>
#
# Whatever you remember of one fit mustn't be there in the next. There's an event for that; or you remember nothing, and look into `learn.recorder.values`.
# </details>

# %% solution
class Patience(Callback):
    "Ends a fit once `name` hasn't got better for some epochs."
    def __init__(self, name='valid_loss', # which number of `learn.row`
                 epochs=3,                # so many in a row without a new best: the end
                 higher=False):           # is a higher number better?
        "Note what to watch, and how long to wait."
        self.name, self.epochs, self.sign = name, epochs, -1 if higher else 1
    def after_epoch(self):
        "Look at the row; end the fit if it's time."
        i = [*self.learn.row].index(self.name)
        seen = [self.sign*row[i] for row in self.learn.recorder.values]
        waited = len(seen) - 1 - seen.index(min(seen))
        if waited >= self.epochs: raise CancelFitException

# %% wrong: the epoch before
class Patience(Callback):
    def __init__(self, name='valid_loss', epochs=3, higher=False):
        self.name, self.epochs, self.sign = name, epochs, -1 if higher else 1
    def before_fit(self): self.last, self.waited = math.inf, 0
    def after_epoch(self):
        now = self.sign*self.learn.row[self.name]
        self.waited = 0 if now < self.last else self.waited + 1
        self.last = now
        if self.waited >= self.epochs: raise CancelFitException

# %% wrong: the fit before
class Patience(Callback):
    def __init__(self, name='valid_loss', epochs=3, higher=False):
        self.name, self.epochs, self.sign = name, epochs, -1 if higher else 1
        self.best, self.waited = math.inf, 0
    def after_epoch(self):
        now = self.sign*self.learn.row[self.name]
        self.waited = 0 if now < self.best else self.waited + 1
        self.best = min(self.best, now)
        if self.waited >= self.epochs: raise CancelFitException

# %% wrong: in a row
class Patience(Callback):
    def __init__(self, name='valid_loss', epochs=3, higher=False):
        self.name, self.epochs, self.sign = name, epochs, -1 if higher else 1
    def before_fit(self): self.best, self.waited = math.inf, 0
    def after_epoch(self):
        now = self.sign*self.learn.row[self.name]
        self.waited += now >= self.best
        self.best = min(self.best, now)
        if self.waited >= self.epochs: raise CancelFitException

# %% wrong: below 0
class Patience(Callback):
    def __init__(self, name='valid_loss', epochs=3, higher=False):
        self.name, self.epochs, self.higher = name, epochs, higher
    def before_fit(self): self.best, self.waited = 0 if self.higher else math.inf, 0
    def after_epoch(self):
        now = self.learn.row[self.name]
        better = now > self.best if self.higher else now < self.best
        self.best, self.waited = (now, 0) if better else (self.best, self.waited + 1)
        if self.waited >= self.epochs: raise CancelFitException

# %% wrong: too late
class Patience(Callback):
    def __init__(self, name='valid_loss', epochs=3, higher=False):
        self.name, self.epochs, self.sign = name, epochs, -1 if higher else 1
    def before_fit(self): self.best, self.waited = math.inf, 0
    def after_epoch(self):
        now = self.sign*self.learn.row[self.name]
        self.waited = 0 if now < self.best else self.waited + 1
        self.best = min(self.best, now)
        if self.waited > self.epochs: raise CancelFitException

# %% check
class Epochs(nn.Module): # its output is the number of the epochs that it has been trained for
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1))
    def forward(self, x): return self.w*1

def played(losses, scores=None): # a learner whose epochs end with these validation losses and scores, whatever they are
    scores = scores or [0.]*len(losses)
    def loss(pred, y): return torch.tensor(losses[max(int(pred), 1) - 1]) - (pred - pred.detach()).sum()
    def score(pred, y): return torch.tensor(scores[int(pred) - 1])
    batch = [(torch.zeros(1, 1), torch.zeros(1))]
    return Learner([batch, batch], Epochs(), loss, metrics=score)

def epochs_of(learn, cb, n): # how many a fit runs
    with learn.no_bar(), learn.no_logging(): learn.fit(n, 1., cbs=cb)
    return len(learn.recorder.values)

@check.add
def Patience(f):
    def ends(series, patience, best=math.inf, previous=False, total=False, late=0, equal=False):
        waited = 0
        for i, now in enumerate(series):
            better = now <= best if equal else now < best
            waited = 0 if better and not total else waited + (not better)
            best = now if previous else min(best, now)
            if waited >= patience + late: return i + 1
        return len(series)
    up = [4., 5., 6., 7., 8., 9., 10., 11.]
    for series, patience in (([3., 2., 2.5, 2.6, 2.7, 2.8, 2.9, 3.], 3), ([3., 2., 2.5, 2.1, 2.2, 1., 0.5, 0.2], 3), ([3., 2., 2.6, 2.5, 2.4, 2.3, 2.2, 2.1], 3), ([5., 6., 4., 5., 3., 4., 2., 3.], 2), (up, 1),
                             ([1., 1., 1., 1., 1., 1.], 2), ([6., 5., 4., 3., 2., 1.], 1), ([2.], 1), ([5., 4., 4.5, 4., 3.9, 4.2, 4., 3.9, 3.9], 3)):
        want, n = ends(series, patience), len(series)
        for name, higher in ('valid_loss', False), ('score', True), ('score', False):
            shown = [-v for v in series] if higher else series
            cb = made(f, name, patience, higher)
            got = epochs_of(played(up[:n], shown) if name == 'score' else played(shown, up[:n]), cb, n)
            if got == want: continue
            said = f'Patience({name!r}, {patience}, higher={higher}) at {brief(shown)}: ended after {got} epochs; expected {want}'
            refuse(got == want - 1 and any(hasattr(cb, e) for e in ('after_validate', 'before_validate')), f'the last row is missing in the record: end the fit in `after_epoch`\n  {said}')
            refuse(higher and got == ends(shown, patience), f'for a score, higher is better\n  {said}')
            refuse(got == ends(up[:n], patience) and got != n, f'it does not look at {name!r}, or is `higher` the wrong way round?\n  {said}')
            refuse(got == ends(series, patience, previous=True), f'compare with the best so far, not with the epoch before\n  {said}')
            refuse(got == ends(series, patience, total=True), f'only epochs in a row count: a new best starts the waiting anew\n  {said}')
            refuse(higher and got == ends(series, patience, best=0.), f'does your best begin at 0? A score below 0 never beats that\n  {said}')
            refuse(got == ends(series, patience, equal=True), f'an equal number is no better\n  {said}')
            refuse(got == n, f'it never ends this fit\n  {said}' if want < n - 1 else f'it comes an epoch too late\n  {said}')
            refuse(got == ends(series, patience, late=1), f'it comes an epoch too late\n  {said}')
            refuse(got == ends(series, patience, late=-1), f'it comes an epoch too early\n  {said}')
            raise Wrong(said)
    cb = made(f, 'valid_loss', 2)
    epochs_of(played([1., 2., 3., 4.]), cb, 4)
    got = epochs_of(played([9., 8., 7., 6., 5.]), cb, 5)
    refuse(got < 5, f'it remembers the fit before: the losses 9, 8, 7, 6, 5 of a second fit end it after {got} of the 5 epochs')
    got = epochs_of(played([5., 6., 7., 8., 9.]), cb, 5)
    refuse(got != 3, f'in a third fit with the same object, the losses 5, 6, 7, 8, 9 end after {got} epochs; expected 3')
    learn, cb = played([3., 2., 2., 2., 2., 2.]), made(f)
    learn.add_cb(cb)
    refuse((got := epochs_of(learn, None, 6)) != 5, f'without arguments it should watch the validation loss and wait for 3 epochs; 3, 2, 2, 2, 2, 2 end after {got} epochs, not 5')

# %% [markdown]
# Try it on the 500 digits of the notebook, by the loss and by the accuracy: `overfit(Patience())`, and `overfit(Patience('accuracy', higher=True))`. Which of the two stops earlier, and what has it cost?

# %%
x_train, y_train, x_valid, y_valid = mnist()

def overfit(cb, n_epoch=40):
    "The rows of a fit to 500 digits: training loss, validation loss, accuracy."
    torch.manual_seed(42)
    wide = Sequential(Linear(784, 500), ReLU(), Linear(500, 10))
    few = DataLoader(Dataset(x_train[:500], y_train[:500]), 50, shuffle=True)
    others = DataLoader(Dataset(x_valid[:1000], y_valid[:1000]), 100)
    momentum_sgd = partial(SGD, momentum=0.9)
    learn = Learner([few, others], wide, cross_entropy, momentum_sgd, metrics=accuracy)
    with learn.no_logging(): learn.fit(n_epoch, lr=0.1, cbs=cb)
    return learn.recorder.values

# %% [markdown]
# ## 3. A speed limit
# (Twenty minutes.) At a rate of 10 the network of the notebook died. Write a callback that cuts the gradients down before each step: if all of them together, as one long vector, are longer than `max_norm`, make them that long, without turning them. Keep the length from *before* that, one number a step, in a list `norms`.
# <details><summary>Hint</summary>
#
# The length of a long vector, made of several, is the root of the sum of *all* squares. A parameter that took no part in the loss has a gradient of `None`.
# </details>

# %% solution
class Clip(Callback):
    "Shortens gradients that are too long."
    def __init__(self, max_norm): # length that all gradients together may have
        "Note the limit, and begin a list `norms`."
        self.max_norm, self.norms = max_norm, []
    def before_step(self):
        "Note the length of the gradients, and shorten them if need be."
        grads = [p.grad for p in self.learn.model.parameters() if p.grad is not None]
        norm = sum(g.square().sum() for g in grads).sqrt().item()
        self.norms.append(norm)
        if norm > self.max_norm:
            for g in grads: g *= self.max_norm/norm

# %% wrong: each parameter by itself
class Clip(Callback):
    def __init__(self, max_norm): self.max_norm, self.norms = max_norm, []
    def before_step(self):
        grads = [p.grad for p in self.learn.model.parameters() if p.grad is not None]
        self.norms.append(sum(g.square().sum() for g in grads).sqrt().item())
        for g in grads:
            if g.norm() > self.max_norm: g *= self.max_norm/g.norm()

# %% wrong: too late
class Clip(Callback):
    def __init__(self, max_norm): self.max_norm, self.norms = max_norm, []
    def after_step(self):
        grads = [p.grad for p in self.learn.model.parameters() if p.grad is not None]
        norm = sum(g.square().sum() for g in grads).sqrt().item()
        self.norms.append(norm)
        if norm > self.max_norm:
            for g in grads: g *= self.max_norm/norm

# %% wrong: makes short ones longer
class Clip(Callback):
    def __init__(self, max_norm): self.max_norm, self.norms = max_norm, []
    def before_step(self):
        grads = [p.grad for p in self.learn.model.parameters() if p.grad is not None]
        norm = sum(g.square().sum() for g in grads).sqrt().item()
        self.norms.append(norm)
        for g in grads: g *= self.max_norm/norm

# %% wrong: first group
class Clip(Callback):
    def __init__(self, max_norm): self.max_norm, self.norms = max_norm, []
    def before_step(self):
        grads = [p.grad for p in self.learn.opt.param_groups[0]['params'] if p.grad is not None]
        norm = sum(g.square().sum() for g in grads).sqrt().item()
        self.norms.append(norm)
        if norm > self.max_norm:
            for g in grads: g *= self.max_norm/norm

# %% wrong: turns them
class Clip(Callback):
    def __init__(self, max_norm): self.max_norm, self.norms = max_norm, []
    def before_step(self):
        grads = [p.grad for p in self.learn.model.parameters() if p.grad is not None]
        self.norms.append(sum(g.square().sum() for g in grads).sqrt().item())
        for g in grads: g.clamp_(-self.max_norm, self.max_norm)

# %% wrong: belongs to the class
class Clip(Callback):
    norms = []
    def __init__(self, max_norm): self.max_norm = max_norm
    def before_step(self):
        grads = [p.grad for p in self.learn.model.parameters() if p.grad is not None]
        norm = sum(g.square().sum() for g in grads).sqrt().item()
        self.norms.append(norm)
        if norm > self.max_norm:
            for g in grads: g *= self.max_norm/norm

# %% wrong: after it was cut
class Clip(Callback):
    def __init__(self, max_norm): self.max_norm, self.norms = max_norm, []
    def before_step(self):
        grads = [p.grad for p in self.learn.model.parameters() if p.grad is not None]
        norm = sum(g.square().sum() for g in grads).sqrt().item()
        if norm > self.max_norm:
            for g in grads: g *= self.max_norm/norm
        self.norms.append(sum(g.square().sum() for g in grads).sqrt().item())

# %% check
class Idle(nn.Module): # two layers, and one that takes no part
    def __init__(self):
        super().__init__()
        self.one, self.idle, self.two = nn.Linear(3, 4), nn.Linear(2, 2), nn.Linear(4, 1)
    def forward(self, x): return self.two(self.one(x).tanh())

@check.add
def Clip(f):
    ways = {'it cuts each parameter by itself; all of them together count': lambda gs, m, n: [g*min(1, m/g.norm()) for g in gs],
            'it makes short ones longer, too': lambda gs, m, n: [g*m/n for g in gs],
            'it turns them: it cuts the single numbers, not the length': lambda gs, m, n: [g.clamp(-m, m) for g in gs],
            'where is the root? The length is the root of the sum of squares': lambda gs, m, n: [g*min(1, m/n**2) for g in gs],
            'lengths do not add up; their squares do': lambda gs, m, n: [g*min(1, m/sum(g.norm() for g in gs)) for g in gs],
            'long ones should be cut to the length `max_norm`, not to 1': lambda gs, m, n: [g/n if n > m else g for g in gs],
            'it cuts by the factor `max_norm`, whatever their length': lambda gs, m, n: [g*m if n > m else g for g in gs],
            'it cuts the first group of the optimizer only; all gradients together count': lambda gs, m, n: [g*min(1, m/torch.cat([g.flatten() for g in gs[:2]]).norm()) for g in gs[:2]] + [*gs[2:]],
            'it drops a long gradient instead of cutting it': lambda gs, m, n: [g*0 if n > m else g for g in gs]}
    for seed, scale, limit in (0, 10., 2.), (1, 0.1, 5.), (2, 30., 2.5), (3, 5., 0.01), (4, 3., 1.):
        torch.manual_seed(seed)
        model, x = Idle(), torch.randn(6, 3)
        y = scale*torch.randn(6, 1)
        ps = [*model.one.parameters(), *model.two.parameters()]
        before = [p.detach().clone() for p in ps]
        gs = torch.autograd.grad(nn.functional.mse_loss(model(x), y), ps)
        norm = torch.cat([g.flatten() for g in gs]).norm().item()
        cb = made(f, limit)
        def groups(ps, lr):
            first, second, *rest = ps
            return SGD([{'params': [first, second]}, {'params': rest}], lr)
        fitted(model, cb, [(x, y)], [(x, y)], lr=0.5, opt_func=groups if seed > 2 else SGD)
        moved = [(b - p.detach())/0.5 for b, p in zip(before, ps)]
        right = [g*min(1, limit/norm) for g in gs]
        if not alike(moved, right, 1e-4*min(1, limit)):
            long = torch.cat([m.flatten() for m in moved]).norm().item()
            said = f'Clip({limit}), a gradient of length {norm:.4g}: the step was taken with one of length {long:.4g}; expected {min(norm, limit):.4g}'
            late = ': is it too late?' if any(hasattr(cb, e) for e in ('after_step', 'after_batch')) else ''
            refuse(alike(moved, [*gs], 1e-4), f'the gradients are as long as they were when the step is taken{late}\n  {said}')
            for words, way in ways.items():
                refuse(alike(moved, way(gs, limit, norm), 1e-4), f'{words}\n  {said}')
            raise Wrong(said)
        norms = getattr(cb, 'norms', None)
        refuse(norms is None, 'it keeps no list `norms`')
        refuse(norms is getattr(f, 'norms', None), '`norms` belongs to the class, so all its objects share it: begin it in `__init__`, as `self.norms`')
        refuse(not norms and norm <= limit, 'a gradient within the limit has a length, too: note it in `norms`')
        refuse(len(norms) != 1, f'one step of training, then a validation: `norms` has {len(norms)} entries, not 1')
        refuse(norm > limit and alike(norms, [limit], 1e-4), f'`norms` should hold the length from before, and this is the one after it was cut: {brief([*norms])}, not [{norm:.6g}]')
        refuse(not alike([float(v) for v in norms], [norm], 1e-4), f'the length was {norm:.6g}, and `norms` is {brief([*norms])}')
    model, cb = nn.Linear(3, 1), made(f, 0.1)
    fitted(model, cb, [(x[:2], y[:2]), (x[2:], y[2:])], epochs=3)
    refuse(len(cb.norms) != 6, f'after six steps, `norms` has {len(cb.norms)} entries')
    return 'no step is now longer than the rate times `max_norm`; so a rate of 10 with a limit of 0.1 takes steps of at most 1'

# %% [markdown]
# At which rates does the network survive? `share_right(10)` is the share of unseen digits that it gets right after 200 steps without a limit. Try it with `Clip(1)` and `Clip(0.1)`, and say first which pairs of rate and limit will do.

# %%
def share_right(lr, cb=None):
    torch.manual_seed(0)
    net = Sequential(Linear(784, 50), ReLU(), Linear(50, 10))
    dl = DataLoader(Dataset(x_train[:12_800], y_train[:12_800]), 64, shuffle=True)
    learn = Learner([dl], net, cross_entropy)
    with learn.no_logging(): learn.fit(1, lr=lr, cbs=cb)
    return accuracy(net(x_valid), y_valid).item()

# %% [markdown]
# ## 4. Peek, and leave no trace
# (Forty minutes.) An epoch is long, and you'd like to see the validation loss after every 100 steps. First do it wrongly: write a callback that calls `self.learn.validate()` in `after_batch` if `self.learn.training`, and see how many of its 200 steps the epoch below still takes. Why?
#
# Then write `Peek`. A fit with it must be *the same fit* as without, to the last digit: the same steps, the same rows, the same dropout. Its list `seen` holds pairs of step and validation loss, over all rows; in each fit, steps count from 1 and go on over its epochs.
# <details><summary>Hint</summary>
#
# The function `validate`, imported above, makes a learner of its own. In which mode does it leave the model?
# </details>
# <details><summary>Second hint</summary>
#
# What does a loader do to PyTorch's random numbers when you begin to iterate, even one that doesn't shuffle? (See [05 dataloader](../05_dataloader.ipynb).) `torch.random.fork_rng()` is a `with` that puts them back.
# </details>

# %%
def one_epoch(cb=None):
    "A learner after an epoch of 200 steps."
    torch.manual_seed(0)
    net = Sequential(Linear(784, 50), ReLU(), nn.Dropout(0.5), Linear(50, 10))
    train = DataLoader(Dataset(x_train[:12_800], y_train[:12_800]), 64, shuffle=True)
    valid = DataLoader(Dataset(x_valid[:1000], y_valid[:1000]), 128)
    learn = Learner([train, valid], net, cross_entropy)
    with learn.no_logging(): learn.fit(1, lr=0.1, cbs=cb)
    return learn

len(one_epoch().recorder.losses)

# %% solution
class Peek(Callback):
    "Validates every so many steps, and doesn't disturb the training."
    def __init__(self, every): # steps between two looks
        "Note it, and begin a list `seen`."
        self.every, self.seen = every, []
    def after_batch(self):
        "After a training batch whose turn it is, note its step and the loss."
        learn = self.learn
        step = learn.epoch*learn.n_iter + learn.iter + 1
        if not learn.training or step % self.every: return
        with torch.random.fork_rng():
            loss, = validate(learn.model, learn.dls.valid, learn.loss_func)
        learn.model.train()
        self.seen.append((step, loss))

# %% wrong: leaves the learner validating
class Peek(Callback):
    def __init__(self, every): self.every, self.seen, self.step = every, [], 0
    def after_batch(self):
        if not self.learn.training: return
        self.step += 1
        if self.step % self.every == 0:
            self.seen.append((self.step, self.learn.validate()[0]))

# %% wrong: in evaluation mode
class Peek(Callback):
    def __init__(self, every): self.every, self.seen, self.step = every, [], 0
    def after_batch(self):
        learn = self.learn
        if not learn.training: return
        self.step += 1
        if self.step % self.every: return
        with torch.random.fork_rng():
            self.seen.append((self.step, validate(learn.model, learn.dls.valid, learn.loss_func)[0]))

# %% wrong: random numbers
class Peek(Callback):
    def __init__(self, every): self.every, self.seen, self.step = every, [], 0
    def after_batch(self):
        learn = self.learn
        if not learn.training: return
        self.step += 1
        if self.step % self.every: return
        self.seen.append((self.step, validate(learn.model, learn.dls.valid, learn.loss_func)[0]))
        learn.model.train()

# %% wrong: mean of means
class Peek(Callback):
    def __init__(self, every): self.every, self.seen, self.step = every, [], 0
    def after_batch(self):
        learn = self.learn
        if not learn.training: return
        self.step += 1
        if self.step % self.every: return
        learn.model.eval()
        with torch.random.fork_rng(), torch.no_grad():
            losses = [learn.loss_func(learn.model(xb), yb) for xb, yb in learn.dls.valid]
        learn.model.train()
        self.seen.append((self.step, torch.stack(losses).mean().item()))

# %% wrong: from 1 in each fit
class Peek(Callback):
    def __init__(self, every): self.every, self.seen, self.step = every, [], 0
    def after_batch(self):
        learn = self.learn
        if not learn.training: return
        self.step += 1
        if self.step % self.every: return
        with torch.random.fork_rng():
            loss = validate(learn.model, learn.dls.valid, learn.loss_func)[0]
        learn.model.train()
        self.seen.append((self.step, loss))

# %% wrong: begin again at each epoch
class Peek(Callback):
    def __init__(self, every): self.every, self.seen = every, []
    def after_batch(self):
        learn = self.learn
        if not learn.training or (learn.iter + 1) % self.every: return
        with torch.random.fork_rng():
            loss = validate(learn.model, learn.dls.valid, learn.loss_func)[0]
        learn.model.train()
        self.seen.append((learn.iter + 1, loss))

# %% check
class Spy(Callback): # what a fit does at each step of training
    def __init__(self): self.modes, self.states = [], []
    def before_batch(self):
        if self.learn.training: self.modes.append(self.learn.model.training)
    def after_step(self): self.states.append([p.detach().clone() for p in self.learn.model.parameters()])

@check.add
def Peek(f):
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(30, 4, generator=g), torch.randn(30, 1, generator=g)
    train, valid = Dataset(x[:20], y[:20]), Dataset(x[20:], y[20:])
    def fit(cb, seed, bs, epochs): # learner and spy after a fit
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Tanh(), nn.Linear(8, 1))
        spy = Spy()
        cbs = [spy] if cb is None else [cb, spy]
        return fitted(model, cbs, DataLoader(train, bs, shuffle=True), DataLoader(valid, 4), epochs), spy
    def mean(model, dl, dropout=False): # of means over batches
        model.train(dropout)
        with torch.no_grad(), torch.random.fork_rng(devices=[]): return sum(nn.functional.mse_loss(model(a), b).item() for a, b in dl)/len(dl)
    for seed, bs, epochs, every in (0, 4, 2, 2), (1, 3, 3, 4), (2, 20, 3, 1), (3, 5, 1, 9):
        plain, spied = fit(None, seed, bs, epochs)
        peek = made(f, every)
        peeked, spy = fit(peek, seed, bs, epochs)
        n = len(spied.states)
        call = f'Peek({every}) in {epochs} epochs of {n//epochs} steps'
        refuse(len(peeked.recorder.values) < epochs, f'it ends the fit: {call} came to {len(peeked.recorder.values)} epochs')
        refuse(len(spy.states) < n, f'it leaves the learner validating: {call} took only {len(spy.states)} steps, because from your look on, the rest of the epoch is gone through without')
        wrong = [i + 1 for i, training in enumerate(spy.modes) if not training][:1]
        refuse(wrong, f'after a look, the training goes on in evaluation mode, without dropout: {call}, step {wrong and wrong[0]}')
        refuse(len(spy.states) > n, f'{call} took {len(spy.states)} steps')
        seen = getattr(peek, 'seen', None)
        refuse(seen is None, 'it keeps no list `seen`')
        refuse(not all(isinstance(p, (tuple, list)) and len(p) == 2 for p in seen), f'`seen` should hold pairs of step and loss, and is {brief([*seen])}')
        steps = [p[0] for p in seen]
        turns = [s for s in range(1, n + 1) if s % every == 0]
        if not alike(steps, turns):
            said = f'{call} looked at steps {brief(steps)}; expected {brief(turns)}'
            refuse(alike(steps, [t - 1 for t in turns]) or alike(steps, [s for s in range(n) if s % every == 0]), f'steps count from 1\n  {said}')
            refuse(alike(steps, [s for s in range(1, n//epochs + 1) if s % every == 0]*epochs), f'your steps begin again at each epoch\n  {said}')
            refuse(max(steps, default=0) > n, f'does it count the batches of a validation, too?\n  {said}')
            raise Wrong(said)
        at = next((i for i, pair in enumerate(zip(spy.states, spied.states)) if not alike(*pair, 0)), None)
        refuse(at is not None, f'the training comes out differently, from step {(at or 0) + 1} on ({call}). Are the random numbers what they would have been? And is everything else?')
        rows = [*zip(peeked.recorder.values, plain.recorder.values)]
        bad = next((pair for pair in rows if not alike(*pair, 0)), None)
        refuse(bad is not None or len(rows) < epochs, f'the row of an epoch is {brief(bad and bad[0])} instead of {brief(bad and bad[1])}: did your look go into the record?')
        refuse(peeked.recorder.losses != plain.recorder.losses or peeked.recorder.iters != plain.recorder.iters, 'the recorder holds other losses than without your look')
        model = peeked.model
        refuse(any(isinstance(p[1], (list, tuple)) for p in seen), f'the second of each pair should be a number; `validate` returns a list. `seen` begins with {brief([*seen[:1]])}')
        for (step, loss), turn in zip(seen, turns):
            with torch.no_grad():
                for p, was in zip(model.parameters(), spied.states[turn - 1]): p.copy_(was)
            right, = [nn.functional.mse_loss(model.eval()(x[20:]), y[20:]).item()]
            if alike(float(loss), right, 1e-4): continue
            said = f'{call}: the loss after step {turn} was {float(loss):.4f}; expected {right:.4f}'
            refuse(alike(float(loss), mean(model, DataLoader(valid, 4)), 1e-4), f'that is the mean of means: the last batch of the validation is short\n  {said}')
            with torch.no_grad():
                for p, was in zip(model.parameters(), spied.states[turn - 2] if turn > 1 else spied.states[0]): p.copy_(was)
            refuse(alike(float(loss), nn.functional.mse_loss(model.eval()(x[20:]), y[20:]).item(), 1e-4), f'that is the loss before the step\n  {said}')
            refuse(loss in [b[0] for b in peeked.recorder.batches] or alike(float(loss), plain.recorder.losses[turn - 1], 1e-4), f'that is a loss of the training\n  {said}')
            raise Wrong(f'is it the validation loss, in evaluation mode?\n  {said}')
        fit(peek, seed, bs, epochs)
        refuse(not alike([p[0] for p in peek.seen[-len(turns):]], turns), f'steps count from 1 in each fit: a second one with the same object looked at steps {brief([p[0] for p in peek.seen[-len(turns):]])}; expected {brief(turns)}')
    return 'your plots may now have as many points as you like, and the results in them stay comparable'

# %% [markdown]
# ## 5. Why a tenth? (open)
# (An hour.) `lr_find` takes a tenth of the rate at the lowest point, because there the rate is already too high. How much too high? On a parabola, $\lambda w^2/2$, you know the limit, $2/\lambda$. Let the rate grow by a factor after each step, from a tiny one on, and look for the step that *first brings the loss above where it began*. Say first: will its rate be $2/\lambda$, a little more, or many times that?
#
# Find *one* number that predicts it when you divide it by the curvature, then measure. `check` wants the measured rate, and a prediction that's within a factor of one and a half.
# <details><summary>Hint</summary>
#
# A step multiplies the distance by $|1-\text{lr}\,\lambda|$. It's the *logarithms* of these factors that add up: below zero at first, then far below, and above zero only from $\text{lr}\,\lambda = 2$ on. When is the sum back at zero?
# </details>
# <details><summary>Second hint</summary>
#
# With $u=\text{lr}\,\lambda$ there's no curvature left in it. And rates that grow by a factor are evenly spaced on a logarithmic axis, whatever the factor: so add up $\log|1-u|$ for many $u$ from `torch.logspace`, and see where the sum changes its sign.
# </details>

# %% solution
def back_at(curvature, # of a parabola, whose minimum is at 0
            factor,    # what the rate is multiplied by after each step, 1.05 to 1.2
            start      # rate of the first step, far below 1/curvature
           ):          # two rates: the predicted one, and the measured
    "The rate of the step that first brings the loss of a sweep above where it began."
    u = torch.logspace(-6, 2, 80_000, dtype=torch.float64)
    total = (1 - u).abs().log().cumsum(0)
    predicted = u[(total > 0).int().argmax()].item()/curvature
    w, lr = 1., start
    while True:
        w -= lr*curvature*w
        if abs(w) > 1: return predicted, lr
        lr *= factor

# %% wrong: nowhere near
def back_at(curvature, factor, start):
    w, lr = 1., start
    while True:
        w -= lr*curvature*w
        if abs(w) > 1: return 2/curvature, lr
        lr *= factor

# %% wrong: the next step
def back_at(curvature, factor, start):
    w, lr = 1., start
    while abs(w) <= 1:
        w -= lr*curvature*w
        lr *= factor
    return 12.6/curvature, lr

# %% wrong: times what it was
def back_at(curvature, factor, start):
    w, lr = 1., start
    for _ in range(200):
        w -= lr*curvature*w
        if abs(w) > 1: break
        lr *= factor
    return 12.6/curvature, lr

# %% wrong: divide your number
def back_at(curvature, factor, start):
    w, lr = 1., start
    while True:
        w -= lr*curvature*w
        if abs(w) > 1: return 12.6, lr
        lr *= factor

# %% wrong: one number
def back_at(curvature, factor, start):
    w, lr = 1., start
    while True:
        w -= lr*curvature*w
        if abs(w) > 1: return lr, lr
        lr *= factor

# %% wrong: begins to rise
def back_at(curvature, factor, start):
    lr = start
    while lr <= 2/curvature: lr *= factor
    return 12.6/curvature, lr

# %% check
def loss_after(curvature, factor, lr, last): # of the step at rate `last`, as a multiple of the first loss
    w = 1.
    while lr < 1.001*last: w, lr = w*(1 - lr*curvature), lr*factor
    return w*w

def sweep(curvature, factor, lr, above): # the rate of the step after which `above(before, after)`
    w = 1.
    while True:
        before, w = w, w*(1 - lr*curvature)
        if above(abs(before), abs(w)): return lr
        lr *= factor

@check.add
def back_at(f):
    off, numbers = [], []
    for curvature, factor, start in (3., 1.1, 1e-4), (0.5, 1.2, 1e-3), (20., 1.05, 1e-5), (1.7, 1.08, 1e-3), (7.3, 1.15, 1e-6):
        right = sweep(curvature, factor, start, lambda before, after: after > 1)
        got = f(curvature, factor, start)
        refuse(got is None, 'it returns nothing: no `return`?')
        refuse(not hasattr(got, '__len__') or len(got) != 2, 'two rates, please: predicted and measured')
        predicted, measured = map(float, got)
        if not alike(measured/right, 1., 1e-4):
            said = f'back_at({curvature}, {factor}, {start}) measured {measured:.6g}; expected {right:.6g}'
            refuse(alike(measured/right, factor, 1e-4), f'that is the rate of the next step\n  {said}')
            refuse(alike(measured*factor/right, 1., 1e-4), f'that is the rate of the step before\n  {said}')
            refuse(alike(measured, sweep(curvature, factor, start, lambda before, after: after > before)), f'that is where the loss begins to rise. It has a long way up to where it began\n  {said}')
            refuse(0 < measured < right, f'after that step the loss is {loss_after(curvature, factor, start, measured):.3g} times what it was at the start: not above it\n  {said}')
            refuse(alike(predicted/right, 1., 1e-4), f'the prediction comes first, then the measured rate\n  {said}')
            raise Wrong(said)
        numbers.append(predicted*curvature)
        off.append(abs(math.log(predicted/measured)) if predicted > 0 else math.inf)
        refuse(off[-1] > math.log(1.5) and abs(math.log(max(predicted, 1e-9)/curvature/measured)) < math.log(1.5), f'you predict {predicted:.4g} for a curvature of {curvature:g}, and {measured:.4g} was measured: divide your number by the curvature')
        refuse(off[-1] > math.log(1.5), f'nowhere near: back_at({curvature}, {factor}, {start}) predicts {predicted:.4g}, and {measured:.4g} was measured, {measured*curvature/2:.1f} times the limit')
    refuse(max(numbers) > 1.02*min(numbers), f'times the curvature, your predictions are from {min(numbers):.4g} to {max(numbers):.4g}: is there one number that does without a sweep?')
    return f'your predictions are at most {math.expm1(max(off)):.0%} off; a tenth of that rate is about two thirds of the limit'

# %% [markdown]
# And `lr_find` itself? Here it is on a parabola of curvature 3, with a patient sweep and a hasty one. Its suggestion as a share of the limit:

# %%
class Bowl(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(1, dtype=torch.float64))
    def forward(self, x): return self.w

def share_of_limit(curvature, num_it):
    one = [(torch.zeros(1), torch.zeros(1))]
    learn = Learner([one], Bowl(), lambda pred, y: curvature*pred.square().sum()/2)
    return learn.lr_find(num_it=num_it, show_plot=False).minimum/(2/curvature)

[round(share_of_limit(3, num_it), 1) for num_it in (1000, 100)]
