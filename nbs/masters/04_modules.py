# %% [markdown]
# # Modules: your turn
# > Five exercises for [04 modules](../04_modules.ipynb), about two hours in all.

# %%
import copy, math, torch, torch.nn as nn
from minisgd.modules import Module, Linear, ReLU, Sequential
from minisgd.checks.modules import check

# %% check
import torch, torch.nn as nn
from ..modules import Linear, Module, ReLU, Sequential

# %% [markdown]
# ## 1. Nobody minds
# (Ten minutes.) Break a PyTorch model in two ways, and look at `list(model.parameters())` each time: leave `super().__init__()` out, and call it a second time, *after* the layers. One of the two says nothing at all!
#
# Now mend both. Write `forgiving`, which returns a class for models to be built on. It's a child of `nn.Module`, and a model may call `super().__init__()` first, or last, or twice, or never.
# <details><summary>Hint</summary>
#
# Our `Module` makes its registers in `__new__`, before any `__init__` runs. PyTorch's are made by the `__init__` of `nn.Module`, and you may call that wherever you like.
# </details>
# <details><summary>Second hint</summary>
#
# Still empty when the model calls `super().__init__()` last? PyTorch's `__init__` has made new registers, and the old ones are gone. Who must stand in its way?
# </details>

# %% solution
def forgiving(): # a class like `nn.Module`
    "A base class for models that may forget `super().__init__()`."
    class Forgiving(nn.Module):
        def __new__(cls, *args, **kwargs):
            self = super().__new__(cls)
            nn.Module.__init__(self)
            return self
        def __init__(self): pass
    return Forgiving

# %% wrong: what was assigned before is gone
def forgiving():
    class Forgiving(nn.Module):
        def __new__(cls, *args, **kwargs):
            self = super().__new__(cls)
            nn.Module.__init__(self)
            return self
    return Forgiving

# %% wrong: never calls
def forgiving():
    class Forgiving(nn.Module):
        def __init__(self): super().__init__()
    return Forgiving

# %% wrong: arguments of its own
def forgiving():
    class Forgiving(nn.Module):
        def __new__(cls):
            self = super().__new__(cls)
            nn.Module.__init__(self)
            return self
        def __init__(self): pass
    return Forgiving

# %% wrong: assigns nothing
def forgiving():
    class Forgiving(nn.Module):
        def __init__(self):
            if '_modules' not in vars(self): super().__init__()
        def __setattr__(self, name, value):
            if '_modules' not in vars(self): nn.Module.__init__(self)
            super().__setattr__(name, value)
    return Forgiving

# %% wrong: let the later call do nothing
def forgiving():
    class Forgiving(nn.Module):
        def __new__(cls, *args, **kwargs):
            self = super().__new__(cls)
            nn.Module.__init__(self)
            return self
        def __init__(self):
            old = {name: vars(self)[name] for name in ('_parameters', '_modules', '_buffers')}
            super().__init__()
            vars(self).update(old)
    return Forgiving

# %% wrong: not a child of `nn.Module`
def forgiving(): return Module

# %% check
@check.add
def forgiving(f):
    Base = f()
    refuse(Base is None, 'it returns nothing: no `return`?')
    refuse(not isinstance(Base, type), f'it should return a class, and returns {brief(Base)}')
    refuse(not issubclass(Base, nn.Module), f'{Base.__name__} is not a child of `nn.Module`: '
           "PyTorch's own containers would refuse it")
    refuse(Base is nn.Module, 'that is `nn.Module` itself: it does mind')
    def model(first, last):
        class Model(Base):
            def __init__(self):
                for _ in range(first): super().__init__()
                self.l1, self.scale = nn.Linear(3, 2), nn.Parameter(torch.ones(2))
                self.register_buffer('seen', torch.zeros(1))
                self.register_buffer('unsaved', torch.zeros(1), persistent=False)
                for _ in range(last): super().__init__()
            def forward(self, x): return self.scale*self.l1(x)
        return Model
    calls = {'calls it first': (1, 0), 'never calls it': (0, 0), 'calls it last': (0, 1), 'calls it twice': (1, 1)}
    for words, (first, last) in calls.items():
        Model, made = model(first, last), []
        for which in 'a model', 'the first model is there, but a second one':
            try: made.append(Model())
            except (AttributeError, KeyError, TypeError) as e:
                shared = '; what is noted in the class holds for all its models'*len(made)
                raise Wrong(f'{which} that {words} stops with {type(e).__name__}: {e}{shared}') from None
        a, b = made
        refuse(a._modules is b._modules or a._parameters is b._parameters, 'two models share their layers')
        found = [name for name, _ in a.named_parameters()]
        refuse(not found, f'in a model that {words}, what was assigned before is gone: no parameter is left')
        refuse(sorted(found) != ['l1.bias', 'l1.weight', 'scale'], f'a model that {words} has the parameters {found}')
        refuse('seen' not in a.state_dict(), f'in a model that {words}, the buffers are gone')
        refuse('unsaved' in a.state_dict(), f'a model that {words} saves a buffer that is not to be saved: more is gone than the registers. Better let the later call do nothing')
        refuse(a(torch.ones(4, 3)).shape != (4, 2), f'a model that {words} computes something else')
        refuse(a.eval().l1.training or a.training or not a.train().l1.training, f'`eval` and `train` do not reach the layers of a model that {words}')
        refuse(a.double().l1.weight.dtype != torch.float64, f'`double` does not reach the layers of a model that {words}')
        refuse(len([*nn.Sequential(a, b).parameters()]) != 6, f'a model that {words} is not seen inside `nn.Sequential`')
    class Empty(Base):
        def __init__(self): pass
        def forward(self, x): return x
    try: Empty()(torch.ones(1)), Empty().state_dict()
    except AttributeError as e: raise Wrong(f'a model that assigns nothing has no registers: {e}') from None
    class Wide(Base):
        def __init__(self, width, bias=True): self.l1 = nn.Linear(width, width, bias)
    try: wide = Wide(5, bias=False)
    except TypeError as e: raise Wrong(f'a model whose `__init__` has arguments of its own cannot be made: {e}') from None
    refuse([tuple(p.shape) for p in wide.parameters()] != [(5, 5)], 'a model with arguments of its own has other parameters')
    return 'the second call is the nasty one: `nn.Module` takes it without a word, and the layers are gone'

# %% [markdown]
# ## 2. Keep the best
# (Fifteen minutes.) A network often gets worse again when it's trained for too long. So train for some epochs, and leave the model with the weights whose score was the lowest, wherever in the run that was. The weights that it came with count as well.
#
# It must work for any model, with whatever PyTorch keeps in its `state_dict`.
# <details><summary>Hint</summary>
#
# Read the docstring of `state_dict` again. What's in the dictionary an epoch later?
# </details>

# %% solution
def keep_best(model,  # any model, ours or PyTorch's
              train,  # function of the model: trains it for an epoch
              score,  # function of the model: a number, the lower the better
              epochs  # how many
             ):       # the lowest score, which the model now has
    "Train, and go back to the best weights."
    best, kept = score(model), copy.deepcopy(model.state_dict())
    for _ in range(epochs):
        train(model)
        now = score(model)
        if now < best: best, kept = now, copy.deepcopy(model.state_dict())
    model.load_state_dict(kept)
    return best

# %% wrong: the weights of the last epoch
def keep_best(model, train, score, epochs):
    best, kept = score(model), model.state_dict()
    for _ in range(epochs):
        train(model)
        now = score(model)
        if now < best: best, kept = now, model.state_dict()
    model.load_state_dict(kept)
    return best

# %% wrong: the same memory
def keep_best(model, train, score, epochs):
    best, kept = score(model), dict(model.state_dict())
    for _ in range(epochs):
        train(model)
        now = score(model)
        if now < best: best, kept = now, dict(model.state_dict())
    model.load_state_dict(kept)
    return best

# %% wrong: it came with count
def keep_best(model, train, score, epochs):
    best = math.inf
    for _ in range(epochs):
        train(model)
        now = score(model)
        if now < best: best, kept = now, copy.deepcopy(model.state_dict())
    model.load_state_dict(kept)
    return best

# %% wrong: buffer
def keep_best(model, train, score, epochs):
    best, kept = score(model), [p.detach().clone() for p in model.parameters()]
    for _ in range(epochs):
        train(model)
        now = score(model)
        if now < best: best, kept = now, [p.detach().clone() for p in model.parameters()]
    with torch.no_grad():
        for p, old in zip(model.parameters(), kept): p.copy_(old)
    return best

# %% wrong: the lower the better
def keep_best(model, train, score, epochs):
    best, kept = score(model), copy.deepcopy(model.state_dict())
    for _ in range(epochs):
        train(model)
        now = score(model)
        if now > best: best, kept = now, copy.deepcopy(model.state_dict())
    model.load_state_dict(kept)
    return best

# %% check
class Counted(nn.Module): # a layer with a buffer
    def __init__(self):
        super().__init__()
        self.l1 = nn.Linear(2, 1)
        self.register_buffer('count', torch.zeros(1))
    def forward(self, x): return self.l1(x)

@check.add
def keep_best(f):
    def ours():
        l = Linear(2, 2)
        return Sequential(l, ReLU(), l)
    for make in ours, Counted, lambda: Sequential(Linear(2, 2), Sequential(Counted())):
        for scores in [3., 2., 1., 5., 4.], [3., 2., 1.], [1., 2., 3.], [2., 3., 1., 1.5, 0.5, 7.], [4.]:
            model, at, best = make(), [0], scores.index(min(scores))
            def fill(): # epoch i leaves the number i everywhere
                with torch.no_grad():
                    for t in model.state_dict().values(): t.fill_(at[0])
            def train(m):
                refuse(m is not model, 'it trains another model than the one it was given')
                now = int(next(iter(m.state_dict().values())).flatten()[0])
                refuse(now != at[0], f'scores {scores}: epoch {at[0] + 1} begins with the weights of epoch {now}. '
                       'Train on from where you are, and go back once, at the end')
                at[0] += 1
                fill()
            def score(m): return scores[int(next(iter(m.state_dict().values())).flatten()[0])]
            fill()
            before = [id(p) for p in model.parameters()]
            try: got = f(model, train, score, len(scores) - 1)
            except UnboundLocalError as e:
                refuse(len(scores) == 1, f'without any epoch it stops: the weights that it came with count, too ({e})')
                raise
            story = f'scores {scores}, the start included'
            refuse(at[0] != len(scores) - 1, f'{story}: it trained for {at[0]} epochs, not {len(scores) - 1}')
            refuse([id(p) for p in model.parameters()] != before, 'the model has new parameters: an optimizer would go on training the old ones')
            left = {name: t.flatten()[0].item() for name, t in model.state_dict().items()}
            where = f'{story}: the model should have the weights of epoch {best}, and has those of epoch {{}}'
            for name, t in model.named_parameters():
                i = int(t.detach().flatten()[0])
                worst = scores.index(max(scores))
                refuse(i != best == 0 and len(scores) > 1 and i != at[0],
                       where.format(i) + '. The weights that it came with count, too')
                refuse(i == at[0] != best, where.format(i) + ': the weights of the last epoch, whatever you kept. '
                       'Did you keep a copy, or the same memory? And did you load it into `model`?')
                refuse(i == worst != best, where.format(i) + ': the lower the better')
                refuse(i != best, where.format(i))
            refuse(any(i != best for i in left.values()),
                   f'{story}: the parameters are those of epoch {best}, but the buffer `count` is that of epoch {brief(max(left.values()))}')
            refuse(got is None, 'it returns nothing: no `return`?')
            refuse(not alike(got, scores[best]), f'{story}: it should return {scores[best]}, not {brief(got)}')
    return '`load_state_dict` copied into the old tensors, so an optimizer that was made before can go on with them'

# %% [markdown]
# ## 3. Dropout
# (Twenty minutes.) Write `nn.Dropout` yourself. While it's being trained, it sets each number to zero with probability `p`, by a new throw of the dice in each call, and divides the others by `1 - p`. After `eval()` it hands its input on.
#
# Say first what dividing is good for: which figure of the output stays what it was?
# <details><summary>Hint</summary>
#
# `torch.rand_like(input)` throws a number from 0 to 1 for each. And who sets `self.training`?
# </details>

# %% solution
class Dropout(Module):
    "Sets numbers to zero at random, in training only."
    def __init__(self, p=0.5): # probability of a zero, from 0 to 1
        "Keep `p`."
        self.p = p
    def forward(self, input): # a tensor of any shape
        "`input`, or in training what is left of it, divided by `1 - p`."
        if not self.training or self.p == 0: return input
        if self.p == 1: return input*0
        return input*(torch.rand_like(input) >= self.p)/(1 - self.p)

# %% wrong: keeps with probability `p`
class Dropout(Module):
    def __init__(self, p=0.5): self.p = p
    def forward(self, input):
        if not self.training: return input
        return input*(torch.rand_like(input) < self.p)/self.p

# %% wrong: doesn't divide
class Dropout(Module):
    def __init__(self, p=0.5): self.p = p
    def forward(self, input):
        if not self.training: return input
        return input*(torch.rand_like(input) >= self.p)

# %% wrong: `eval()`
class Dropout(Module):
    def __init__(self, p=0.5): self.p = p
    def forward(self, input): return input*(torch.rand_like(input) >= self.p)/(1 - self.p)

# %% wrong: whole rows
class Dropout(Module):
    def __init__(self, p=0.5): self.p = p
    def forward(self, input):
        if not self.training: return input
        return input*(torch.rand(len(input), 1) >= self.p)/(1 - self.p)

# %% wrong: changes its input
class Dropout(Module):
    def __init__(self, p=0.5): self.p = p
    def forward(self, input):
        if not self.training: return input
        input[torch.rand_like(input) < self.p] = 0
        return input/(1 - self.p)

# %% check
@check.add
def Dropout(f):
    refuse(not issubclass(f, (Module, nn.Module)), 'it is no `Module`, so `eval()` on a model would not reach it')
    refuse(f(0.5).training is not True, 'a new layer should be in training: `training` is missing or False')
    x = torch.linspace(1, 2, 10_000).reshape(100, 100)
    for p in (0.25, 0.5, 0.9):
        layer, given = f(p), x.clone()
        refuse(layer(given) is None, '`forward` returns nothing: no `return`?')
        refuse(not given.equal(x), 'it changes its input: the zeros are in the tensor that it was given')
        out = layer(given.requires_grad_())
        refuse(out.shape != x.shape, f'the shape should stay {tuple(x.shape)}, and is {tuple(out.shape)}')
        zeros, kept = out.detach() == 0, out.detach() != 0
        share = zeros.float().mean().item()
        refuse(share == 0, f'p = {p}, in training: no number became zero')
        refuse(share == 1, f'p = {p}, in training: every number became zero')
        rows, columns = zeros.float().mean(1), zeros.float().mean(0)
        for lines, words in (rows, 'rows'), (columns, 'columns'):
            refuse(lines.std() > 0.25*(p*(1-p))**0.5, f'the numbers fall in whole {words}: throw the dice for each number')
        refuse(abs(share - p) > 0.03 and abs(share - (1-p)) < 0.03, f'p = {p}: {share:.0%} became zero: it keeps with probability `p`')
        refuse(abs(share - p) > 0.03, f'p = {p}: {share:.0%} became zero')
        ratio = (out.detach()/x)[kept]
        refuse(alike(ratio, torch.ones_like(ratio)), f"p = {p}: the numbers that are left stay as they were: it doesn't divide them by 1 - p")
        refuse(p != 0.5 and alike(ratio, torch.full_like(ratio, 1/p)), f'p = {p}: the numbers that are left are divided by p, not by 1 - p')
        refuse(p != 0.5 and alike(ratio, torch.full_like(ratio, 1 - p)), f'p = {p}: the numbers that are left are multiplied by 1 - p, not divided')
        refuse(not alike(ratio, torch.full_like(ratio, 1/(1-p))), f'p = {p}: what is left should be {1/(1-p):.4g} times as large, and is {brief(ratio[0].item())} times')
        refuse(layer(x).equal(out.detach()), 'the same numbers fall in every call: throw the dice anew')
        refuse(not out.requires_grad, 'no gradient comes through')
        grad, = torch.autograd.grad(out.sum(), given)
        refuse(not alike(grad*x, out.detach(), 1e-4), 'the gradient should be zero where the number fell, and 1/(1-p) elsewhere')
        model = Sequential(Linear(4, 4), Sequential(layer)).eval()
        for _ in range(2):
            refuse(not layer(x).equal(x), 'after `eval()` it should hand its input on as it is')
        model.train()
        refuse(layer(x).equal(x), 'after `train()` it should drop numbers again')
    refuse(not f(0)(x).equal(x), 'p = 0: nothing should fall')
    refuse(not f(1)(x).equal(torch.zeros_like(x)), 'p = 1: zeros, please, not nan or inf; what is 0 divided by 0?')
    refuse(f(0.5)(x.double()).dtype != torch.float64, 'a tensor in double precision should stay one')
    refuse(f(0.5)(torch.ones(3, 4, 5)).shape != (3, 4, 5) or f(0.5)(torch.ones(7)).shape != (7,), 'it should take any shape')
    refuse(abs(f(1/2)(torch.ones(10**6)).mean().item() - 1) > 0.01, 'the mean of a million ones should stay within 1 % of 1')
    refuse([*f(0.5).parameters()] or f(0.5).state_dict(), 'it should have nothing to train or to save')
    return 'the mean stays, so the next layer gets what it is used to, with `eval()` and without'

# %% [markdown]
# ## 4. What came out of each layer?
# (Forty minutes.) Write a `summary` of any model, ours, PyTorch's, or a mixture: send `x` through it, and note for each layer that's called its address, the shape of what came out, and how many numbers its parameters hold. A layer is a module without children. The lines come in the order of the calls, so a layer that's called twice has two. Leave the model as you found it, even if it stops with an error on the way. That goes for its buffers, too: in training, a BatchNorm moves its running means with every call.
#
# What would `__call__` have to do for that? (PyTorch's answer is called a *hook*. Here no method of theirs is needed.)
# <details><summary>Hint</summary>
#
# Both kinds of modules call `self.forward`. An ordinary attribute of that name, on one object, comes before the method of its class. And `del layer.forward` takes it away again.
# </details>
# <details><summary>Second hint</summary>
#
# If you make the new function inside a `for` loop, all of them see the last layer. Make it in a function of its own, which takes the layer and its address. `named_modules()` yields the addresses.
# </details>

# %% solution
def summary(model, # any model
            x      # what to call it on
           ):      # a list of (address, shape as a tuple, numbers), one for each call
    "What each layer of `model` makes of `x`, and how many numbers it holds."
    lines = []
    layers = [pair for pair in model.named_modules() if not [*pair[1].children()]]
    kept = [(buffer, buffer.clone()) for _, layer in model.named_modules()
            for buffer in layer._buffers.values() if buffer is not None]
    def listen(address, layer):
        forward = layer.forward
        numbers = sum(p.numel() for p in layer.parameters())
        def heard(*args, **kwargs):
            out = forward(*args, **kwargs)
            lines.append((address, tuple(out.shape), numbers))
            return out
        layer.forward = heard
    for pair in layers: listen(*pair)
    try: model(x)
    finally:
        for _, layer in layers: del layer.forward
        for buffer, old in kept: buffer.copy_(old)
    return lines

# %% wrong: still listens
def summary(model, x):
    lines, layers = [], [(a, m) for a, m in model.named_modules() if not [*m.children()]]
    def listen(address, layer):
        forward = layer.forward
        numbers = sum(p.numel() for p in layer.parameters())
        def heard(*args, **kwargs):
            out = forward(*args, **kwargs)
            lines.append((address, tuple(out.shape), numbers))
            return out
        layer.forward = heard
    for pair in layers: listen(*pair)
    model(x)
    return lines

# %% wrong: one after the other
def summary(model, x):
    lines = []
    for address, layer in model.named_modules():
        if [*layer.children()]: continue
        x = layer(x)
        lines.append((address, tuple(x.shape), sum(p.numel() for p in layer.parameters())))
    return lines

# %% wrong: all of them see the last layer
def summary(model, x):
    lines, layers = [], [(a, m) for a, m in model.named_modules() if not [*m.children()]]
    for address, layer in layers:
        def heard(*args, **kwargs):
            out = type(layer).forward(layer, *args, **kwargs)
            lines.append((address, tuple(out.shape), sum(p.numel() for p in layer.parameters())))
            return out
        layer.forward = heard
    try: model(x)
    finally:
        for _, layer in layers: del layer.forward
    return lines

# %% wrong: with an error
def summary(model, x):
    lines, layers = [], [(a, m) for a, m in model.named_modules() if not [*m.children()]]
    def listen(address, layer):
        forward = layer.forward
        numbers = sum(p.numel() for p in layer.parameters())
        def heard(*args, **kwargs):
            out = forward(*args, **kwargs)
            lines.append((address, tuple(out.shape), numbers))
            return out
        layer.forward = heard
    for pair in layers: listen(*pair)
    model(x)
    for _, layer in layers: del layer.forward
    return lines

# %% wrong: several arguments
def summary(model, x):
    lines, layers = [], [(a, m) for a, m in model.named_modules() if not [*m.children()]]
    def listen(address, layer):
        forward = layer.forward
        numbers = sum(p.numel() for p in layer.parameters())
        def heard(input):
            out = forward(input)
            lines.append((address, tuple(out.shape), numbers))
            return out
        layer.forward = heard
    for pair in layers: listen(*pair)
    try: model(x)
    finally:
        for _, layer in layers: del layer.forward
    return lines

# %% wrong: children are not layers
def summary(model, x):
    lines, layers = [], [(a, m) for a, m in model.named_modules()]
    def listen(address, layer):
        forward = layer.forward
        numbers = sum(p.numel() for p in layer.parameters())
        def heard(*args, **kwargs):
            out = forward(*args, **kwargs)
            lines.append((address, tuple(out.shape), numbers))
            return out
        layer.forward = heard
    for pair in layers: listen(*pair)
    try: model(x)
    finally:
        for _, layer in layers: del layer.forward
    return lines

# %% wrong: its buffers have changed
def summary(model, x):
    lines, layers = [], [(a, m) for a, m in model.named_modules() if not [*m.children()]]
    def listen(address, layer):
        forward = layer.forward
        numbers = sum(p.numel() for p in layer.parameters())
        def heard(*args, **kwargs):
            out = forward(*args, **kwargs)
            lines.append((address, tuple(out.shape), numbers))
            return out
        layer.forward = heard
    for pair in layers: listen(*pair)
    try: model(x)
    finally:
        for _, layer in layers: del layer.forward
    return lines

# %% wrong: its mode has changed
def summary(model, x):
    lines, layers = [], [(a, m) for a, m in model.named_modules() if not [*m.children()]]
    def listen(address, layer):
        forward = layer.forward
        numbers = sum(p.numel() for p in layer.parameters())
        def heard(*args, **kwargs):
            out = forward(*args, **kwargs)
            lines.append((address, tuple(out.shape), numbers))
            return out
        layer.forward = heard
    for pair in layers: listen(*pair)
    before = model.training
    try: model.eval()(x)
    finally:
        model.train(before)
        for _, layer in layers: del layer.forward
    return lines

# %% check
class Around(Module): # its layers are called in another order than they were assigned, and one of them twice
    def __init__(self, kind=nn): self.last, self.first, self.act = kind.Linear(4, 2), kind.Linear(3, 4), kind.ReLU()
    def forward(self, x): return self.act(self.last(self.act(self.first(x))))

class Twice(Module): # its layer takes two arguments, one of them by name
    def __init__(self): self.both = nn.Bilinear(3, 3, 2)
    def forward(self, x): return self.both(x, input2=x)

class Stops(Around):
    def forward(self, x): raise ValueError('on purpose')

def state(model): # what may not be left behind
    return [(name, sorted(vars(m)), m.training, m.__dict__.get('forward'), len(m.__dict__.get('_forward_hooks') or ()))
            for name, m in model.named_modules()]

def buffers(model): return [b.tolist() for _, m in model.named_modules() for b in m._buffers.values() if b is not None]

def normed(*after): # a model with a BatchNorm in training mode, and one that has been frozen
    return Sequential(Linear(3, 4), nn.BatchNorm1d(4), Sequential(nn.BatchNorm1d(4).eval()), *after)

@check.add
def summary(f):
    for words, model, x, expected in (
        ('Sequential(Linear(3, 4), ReLU(), Linear(4, 2))', Sequential(Linear(3, 4), ReLU(), Linear(4, 2)), torch.ones(5, 3), [('0', (5, 4), 16), ('1', (5, 4), 0), ('2', (5, 2), 10)]),
        ('nn.Sequential(nn.Linear(3, 4, bias=False), nn.Flatten(0))', nn.Sequential(nn.Linear(3, 4, bias=False), nn.Flatten(0)), torch.ones(5, 3), [('0', (5, 4), 12), ('1', (20,), 0)]),
        ('a model whose `forward` is `act(last(act(first(x))))`', Around(), torch.ones(2, 3), [('first', (2, 4), 16), ('act', (2, 4), 0), ('last', (2, 2), 10), ('act', (2, 2), 0)]),
        ('such a model, after a small Sequential', Sequential(Sequential(Linear(3, 3), nn.ReLU()), Around()), torch.ones(1, 3),
         [('0.0', (1, 3), 12), ('0.1', (1, 3), 0), ('1.first', (1, 4), 16), ('1.act', (1, 4), 0), ('1.last', (1, 2), 10), ('1.act', (1, 2), 0)]),
        ('a frozen nn.Linear(3, 2)', nn.Linear(3, 2).requires_grad_(False), torch.ones(3), [('', (2,), 8)]),
        ('a model whose `forward` is `both(x, input2=x)`', Twice(), torch.ones(4, 3), [('both', (4, 2), 20)])):
        before = state(model)
        try: got = f(model, x.clone())
        except TypeError as e:
            refuse(isinstance(model, Twice), f'{words}: a layer may get several arguments, and by name; hand them all on ({e})')
            raise
        except RuntimeError as e:
            refuse('shapes' in str(e), f"{words}: a layer got what isn't for it. Do all of them see the last layer? Or are they called one after the other, "
                   f'as they stand in the tree, and not as the model calls them? ({e})')
            raise
        refuse(got is None, 'it returns nothing: no `return`?')
        refuse([s[2] for s in state(model)] != [s[2] for s in before], f'{words}: the model is not as it was: its mode has changed')
        refuse(state(model) != before, f'{words}: the model is not as it was: it still listens, or has kept a new attribute; `del layer.forward`')
        try: lines = [(address, tuple(shape), int(n)) for address, shape, n in got]
        except (TypeError, ValueError): raise Wrong(f'each line should be (address, shape, numbers), but it returned {brief(got)}') from None
        said = f'\n  {words} gave {brief(lines)}; expected {brief(expected)}'
        names, wanted = [a for a, *_ in lines], [a for a, *_ in expected]
        refuse(len(lines) == len(expected) and len(set(names)) == 1 < len(set(wanted)), f'all of them see the last layer{said}')
        refuse(set(names) - set(wanted) and set(wanted) <= set(names), f'modules with children are not layers here{said}')
        refuse(set(names) == set(wanted) and len(lines) < len(expected), f'a layer that is called twice has two lines{said}')
        refuse(sorted(lines) == sorted(expected) and lines != expected, f'the lines should come in the order of the calls{said}')
        refuse(names == wanted and [s for _, s, _ in lines] != [s for _, s, _ in expected], f'the shapes should be those of what comes out{said}')
        refuse(names == wanted and lines != expected, f'the third number is how many numbers the layer itself holds, trained or not{said}')
        refuse(lines != expected, f'that is not what the model does{said}')
        refuse(f(model, x.clone()) is None or [tuple(line) for line in f(model, x.clone())] != [tuple(line) for line in got], 'a second call says something else')
    for words, model in ('', Stops()), ('', normed(Stops())), ('a model with two BatchNorms, one of them in training', normed()):
        before, held = state(model), buffers(model)
        try: got = f(model, torch.ones(4, 3))
        except ValueError: pass
        else: refuse(not words, 'the model stopped with an error on the way, and nobody heard of it')
        words = words or 'after a model has stopped with an error'
        refuse([s[2] for s in state(model)] != [s[2] for s in before], f'{words}: its mode has changed, or that of a layer')
        refuse(state(model) != before, f'{words}: it still listens')
        refuse(buffers(model) != held, f'{words}: its buffers have changed, such as the running means of a BatchNorm')
    expected = [('0', (4, 4), 16), ('1', (4, 4), 8), ('2.0', (4, 4), 8)]
    refuse([tuple(line) for line in got] != expected, f'{words} gave {brief(got)}; expected {brief(expected)}')
    return "a hook is no more than that: a function that PyTorch's `__call__` calls after `forward`"

# %% [markdown]
# ## 5. It fades (open)
# (Half an hour.) Stack ten layers `Linear(256, 256, bias=False)`, each with a `ReLU` after it, as they begin, and send a thousand rows of random numbers through (`torch.randn`). How large is what comes out beside what went in, measured by the root of the mean square? A half, a tenth, a thousandth? Predict it for any width and depth without making a layer, then measure. Return both.
#
# By which factor would you multiply all weights at the start so that it doesn't fade?
# <details><summary>Hint</summary>
#
# The weights are uniform from −1/√`width` to 1/√`width`. What's the mean of their squares? The squares of how many products add up in each output? And which part of that does a ReLU let through, if half of the outputs are below zero?
# </details>

# %% solution
def fades(width, # numbers in each layer
          depth  # how many layers, each with a ReLU
         ):      # two numbers, output beside input: predicted, measured
    "How much of the size of random numbers is left after `depth` untrained layers."
    predicted = 6**(-depth/2)    # of the mean square: a third, and half of that
    model = Sequential(*[layer for _ in range(depth)
                         for layer in (Linear(width, width, bias=False), ReLU())])
    x = torch.randn(1000, width)
    def size(t): return t.square().mean().sqrt()
    with torch.no_grad(): return predicted, (size(model(x))/size(x)).item()

# %% wrong: your prediction
def fades(width, depth):
    predicted = 3**(-depth/2)    # forgets the ReLU
    model = Sequential(*[layer for _ in range(depth)
                         for layer in (Linear(width, width, bias=False), ReLU())])
    x = torch.randn(1000, width)
    def size(t): return t.square().mean().sqrt()
    with torch.no_grad(): return predicted, (size(model(x))/size(x)).item()

# %% wrong: with biases
def fades(width, depth):
    model = Sequential(*[layer for _ in range(depth)
                         for layer in (Linear(width, width), ReLU())])
    x = torch.randn(1000, width)
    def size(t): return t.square().mean().sqrt()
    with torch.no_grad(): return 6**(-depth/2), (size(model(x))/size(x)).item()

# %% wrong: the root is missing
def fades(width, depth):
    model = Sequential(*[layer for _ in range(depth)
                         for layer in (Linear(width, width, bias=False), ReLU())])
    x = torch.randn(1000, width)
    def size(t): return t.square().mean()
    with torch.no_grad(): return 6**-depth, (size(model(x))/size(x)).item()

# %% wrong: deviation
def fades(width, depth):
    h = x = torch.randn(1000, width)
    with torch.no_grad():
        for _ in range(depth): h = Linear(width, width, bias=False)(h).relu()
    return 6**(-depth/2), (h.std()/x.std()).item()

# %% wrong: from call to call
def fades(width, depth):
    def measured():
        h = x = torch.randn(1000, width)
        with torch.no_grad():
            for _ in range(depth): h = Linear(width, width, bias=False)(h).relu()
        return (h.norm()/x.norm()).item()
    return measured(), measured()

# %% wrong: the same number twice
def fades(width, depth): return 6**(-depth/2), 6**(-depth/2)

# %% check
@torch.no_grad()
def left_of(width, depth, bias, draws=4): # the size of what comes out beside what went in
    total = 0
    for _ in range(draws):
        h = x = torch.randn(200, width)
        for _ in range(depth): h = Linear(width, width, bias)(h).relu()
        total += (h.square().mean()/x.square().mean()).sqrt().item()/draws
    return total

@check.add
def fades(f):
    off = 1.
    for width, depth in (256, 1), (256, 4), (400, 10):
        size, biased = left_of(width, depth, False), left_of(width, depth, True)
        got = f(width, depth)
        refuse(got is None or len(got) != 2, 'two numbers, please: predicted and measured')
        predicted, measured = (torch.as_tensor(q).detach().item() for q in got)
        case = f'width {width}, depth {depth}'
        refuse(predicted == measured, f'{case}: the same number twice, {predicted:.3g}; did you measure it?')
        refuse(all(abs(q/size**2 - 1) < 0.5 for q in (predicted, measured)), f'{case}: both are mean squares; the root is missing')
        refuse(not 1/1.6 < measured/size < 1.6 and 1/1.6 < measured/biased < 1.6,
               f'{case}: what you measured is {measured:.3g}, the size with biases; without, it is {size:.3g}')
        refuse(not 1/1.6 < measured/size < 1.6, f'{case}: what you measured is {measured:.3g}; `check` measured {size:.3g}')
        why = {2: ': the mean square of numbers spread evenly from −a to a is not a², but a third of it', 3: ': what does the ReLU do to the mean square?', 12: ': a ReLU halves the mean square, not the root of it'}
        refuse(not 1/1.6 < predicted/size < 1.6, f'{case}: your prediction is {predicted:.3g}, and it came to {size:.3g}'
               + ''.join(words for square, words in why.items() if alike(predicted*square**(depth/2), 1., 1e-3)))
        off = max(off, predicted/size, size/predicted)
    predicted, measured = torch.tensor([[float(q) for q in f(256, 1)] for _ in range(8)]).T
    refuse(predicted.min() != predicted.max(), 'your prediction differs from call to call: predict it without making a layer')
    ratio = (measured.mean()/left_of(256, 1, False)).item()
    refuse(not 0.9 < ratio < 1.1, f'width 256, depth 1: what you measured is {ratio:.2f} of what `check` measured. '
           'The root of the mean square, please: not the standard deviation, which leaves the mean out, and no mean of absolute values')
    return (f'your predictions are within a factor of {1.3 if off < 1.3 else 1.6}; with weights √6 times as large, '
            "nothing fades: that's He's start (2015)")
