# %% [markdown]
# # Many processes, one model: your turn
# > Five exercises for [14 parallel](../14_parallel.ipynb), about two hours in all. No process is started: ranks are played, by lists and generators.

# %%
import math, torch
from minisgd.checks.parallel import check

# %% check
import copy, math, torch

def gen(seed): return torch.Generator().manual_seed(seed)

# %% [markdown]
# ## 1. A parameter that one rank didn't use
# (Fifteen minutes.) A network has a branch for pictures and one for words. Rank 0 had only pictures in its hand, so the words' gradient is `None` there; on rank 1 it's the other way round. Look at the cell below to see what the ranks would send if each left out what's `None`: both messages have three numbers, so they add up without an error!
#
# Write the mean that one process would have got on all rows. What's `None` on all ranks stays `None`. Predict before you begin: the words' gradient is 4 on rank 1, which had 1 of the 4 rows, and `None` on rank 0. What's the mean?
# <details><summary>Hint</summary>
#
# The loss of a rank is a mean over its rows. How much does that loss change if a parameter moves that it doesn't use?
# </details>

# %%
pictures, words = torch.tensor([1., 2., 3.]), torch.tensor([4., 5., 6.])
hands = [pictures, None], [None, words]    # of two ranks
[torch.cat([g for g in hand if g is not None]) for hand in hands]

# %% solution
def merge(grads, # a list for each rank: a tensor or None for each parameter
          rows   # a list: the rows of each rank
         ):      # a list: a tensor or None for each parameter
    "The mean gradient over all ranks' rows, where some don't use some parameters."
    def mean(those):
        terms = [n*g for n, g in zip(rows, those) if g is not None]
        return sum(terms)/sum(rows) if terms else None
    return [mean(those) for those in zip(*grads)]

# %% wrong: by the rows of those that have it
def merge(grads, rows):
    def mean(those):
        have = [(n, g) for n, g in zip(rows, those) if g is not None]
        return sum(n*g for n, g in have)/sum(n for n, _ in have) if have else None
    return [mean(those) for those in zip(*grads)]

# %% wrong: mean of means
def merge(grads, rows):
    def mean(those):
        have = [g for g in those if g is not None]
        return sum(have)/len(rows) if have else None
    return [mean(those) for those in zip(*grads)]

# %% wrong: None on all ranks
def merge(grads, rows):
    def mean(those):
        return sum(n*g for n, g in zip(rows, those) if g is not None)/torch.tensor(float(sum(rows)))
    return [mean(those) for those in zip(*grads)]

# %% wrong: zero is not None
def merge(grads, rows):
    def mean(those):
        total = sum(n*g for n, g in zip(rows, those) if g is not None)/sum(rows)
        return total if torch.is_tensor(total) and total.any() else None
    return [mean(those) for those in zip(*grads)]

# %% wrong: the sum where a mean
def merge(grads, rows):
    def total(those):
        have = [n*g for n, g in zip(rows, those) if g is not None]
        return sum(have) if have else None
    return [total(those) for those in zip(*grads)]

# %% check
def _merge(grads, rows, weigh=True, among=False, whole=True):
    result = []
    for those in zip(*grads):
        have = [(n if weigh else 1, g) for n, g in zip(rows, those) if g is not None]
        over = sum(n for n, _ in have) if among else sum(rows) if weigh else len(rows)
        result.append(sum(n*g for n, g in have)/(over if whole else 1) if have else None)
    return result

@check.add
def merge(f):
    def drawn(seed, rows, shapes, missing, dtype=torch.float32):
        g = gen(seed)
        grads = [[torch.randn(s, generator=g).to(dtype) for s in shapes] for _ in rows]
        for rank, k in missing: grads[rank][k] = None
        return grads, rows
    t = torch.tensor
    for grads, rows in [
        ([[t([1.]), None], [t([2.]), t([4.])]], [3, 1]),
        ([[t([1.]), None], [t([5.]), None]], [3, 1]),
        ([[t([1.]), t([2.])], [t([-1.]), t([2.])]], [3, 3]),
        drawn(0, [2, 5, 1], [(3, 2), (4,)], [(0, 1), (2, 1)]),
        drawn(1, [7], [(2,), (), (3,)], [(0, 2)], torch.float64),
        drawn(2, [4, 4], [(5,), (5,)], [(0, 0), (1, 1)]),
        drawn(3, [1, 2, 3, 4], [(2, 2)], [], torch.float64)]:
        ask(f, grads, rows, expect=_merge, mistakes={
            'you divide by the rows of those that have it; the rows of the others count too, their gradient is zero': lambda g, r: _merge(g, r, among=True),
            'that is a mean of means: a rank with more rows has more to say': lambda g, r: _merge(g, r, weigh=False),
            'a mean of means, and only among those that have it': lambda g, r: _merge(g, r, weigh=False, among=True),
            'what is None on all ranks stays None: an optimizer would let it decay, or move it by its momentum': lambda g, r: [torch.zeros(()) if m is None else m for m in _merge(g, r)],
            'a gradient of zero is not None: decay and momentum still move such a parameter': lambda g, r: [m if m is None or m.any() else None for m in _merge(g, r)],
            'the shapes are lost: each mean has that of its parameter': lambda g, r: [m if m is None else m.flatten() for m in _merge(g, r)],
            'each rank\'s gradient is a mean over its rows: times its rows, before you add it': lambda g, r: [None if m is None else m*len(r)/sum(r) for m in _merge(g, r, weigh=False)],
            'one rank without it, and it is None for all: that rank\'s gradient is zero': lambda g, r: [None if any(x is None for x in those) else m for m, those in zip(_merge(g, r), zip(*g))],
            'the sum where a mean was asked': lambda g, r: _merge(g, r, whole=False)})
    return 'so ranks have to agree on the places in the message; PyTorch\'s way is the option `find_unused_parameters`'

# %% [markdown]
# ## 2. All around the ring
# (Twenty-five minutes.) Each rank has an item, and all want the list of all items, in order of rank. Write what *one* rank does, as a generator. `got = yield x` passes `x` to the next rank and gets what the one before has passed; `play` runs all of them in lockstep, as in `add_up`, which sends everybody's number all the way around.
#
# Each item may go over each link only once, and a message holds one item. So how many messages does each rank send? (And with one rank?)
# <details><summary>Hint</summary>
#
# What you got in this round is what you pass on in the next. Whose item is it? It comes from one rank farther back each time.
# </details>

# %%
def play(f, items):
    "What each rank returns, and how many messages it sent."
    ranks = [f(r, len(items), x) for r, x in enumerate(items)]
    found, sent, got = {}, 0, [None]*len(items)
    while True:
        out = []
        for r, rank in enumerate(ranks):
            try: out.append(rank.send(got[r]))
            except StopIteration as e: found[r] = e.value
        if not out: return [found[r] for r in range(len(items))], sent
        assert len(out) == len(items), 'a rank has left, and the others wait for it'
        got, sent = out[-1:] + out[:-1], sent + 1

def add_up(rank, p, mine):
    total = mine
    for _ in range(p - 1): total += (mine := (yield mine))
    return total

play(add_up, [1, 10, 100])

# %% solution
def all_gather(rank, # this rank
               p,    # how many there are
               mine  # this rank's item
              ):     # a generator that returns the list of all items, in order of rank
    "Gather the items of all ranks, passing on one in each round."
    items = [None]*p
    items[rank] = mine
    for k in range(1, p):
        mine = yield mine
        items[(rank - k) % p] = mine
    return items

# %% wrong: its own item again
def all_gather(rank, p, mine):
    items = [None]*p
    items[rank] = mine
    for k in range(1, p): items[(rank - k) % p] = yield mine
    return items

# %% wrong: in order of rank
def all_gather(rank, p, mine):
    items = [mine]
    for k in range(1, p):
        mine = yield mine
        items.append(mine)
    return items

# %% wrong: other way round
def all_gather(rank, p, mine):
    items = [None]*p
    items[rank] = mine
    for k in range(1, p):
        mine = yield mine
        items[(rank + k) % p] = mine
    return items

# %% wrong: message too many
def all_gather(rank, p, mine):
    items = [None]*p
    for k in range(p):
        items[(rank - k) % p] = mine
        mine = yield mine
    return items

# %% wrong: holds one item
def all_gather(rank, p, mine):
    items = {rank: mine}
    for k in range(p - 1): items |= yield items
    return [items[r] for r in range(p)]

# %% wrong: no `yield`
def all_gather(rank, p, mine): return [mine]*p

# %% check
def around(f, items): # what each rank returns, and the messages of each round
    ranks = [f(r, len(items), copy.deepcopy(x)) for r, x in enumerate(items)]
    refuse(any(not hasattr(rank, 'send') for rank in ranks), 'no `yield`: a rank that sends nothing cannot know what the others have')
    found, rounds, got = {}, [], [None]*len(items)
    while True:
        out = []
        for r, rank in enumerate(ranks):
            try: out.append(rank.send(got[r]))
            except StopIteration as e: found[r] = e.value
        if not out: return [found[r] for r in range(len(items))], rounds
        refuse(len(out) != len(items), f'with {len(items)} ranks, some are done after {len(rounds)} messages, and the others wait for them')
        refuse(len(rounds) > 3*len(items), f'with {len(items)} ranks, each has sent {len(rounds)} messages, and there is no end')
        rounds.append(out)
        got = copy.deepcopy(out[-1:] + out[:-1])

@check.add
def all_gather(f):
    tensors = [torch.randn(3, generator=gen(s)) for s in range(5)]
    for items in [5, 7], ['a', 'b', 'c', 'd'], [2.5], [9, 9, 4, 0, 9, 1, 3], [None, 'x', 'y'], tensors, [[1, 2], [3], []]:
        p = len(items)
        found, rounds = around(f, items)
        for r in [*range(1, p), 0]:
            mine = found[r]
            here = f'of {p} ranks with {brief(items)}, rank {r} returns {brief(mine)}'
            refuse(mine is None, f'{here}: no `return`?')
            if alike(mine, items): continue
            refuse(type(items[0]) is int and alike(mine, sorted(items)), f'{here}: sorted by size; in order of rank, please')
            refuse(alike(mine, items[r::-1] + items[:r:-1]) and p > 2, f'{here}: all are there, but not in order of rank; which one comes first?')
            refuse(alike(mine, [items[(2*r - k) % p] for k in range(p)]) and p > 2, f'{here}: placed the other way round; the first that comes is of the rank *before*')
            refuse(p == 2 and alike(mine, items[::-1]), f'{here}: not in order of rank')
            refuse(all(alike(out[r], items[r]) for out in rounds) and p > 2, f'{here}. It sends its own item again in each round: pass on what has come')
            refuse(len(rounds) < p - 1, f'{here}, after {len(rounds)} messages; that is too few')
            refuse(True, here)
        refuse(p == 1 and rounds, 'a message too many: one rank alone has nobody to send to')
        refuse(len(rounds) > p - 1, f'{p} ranks, {len(rounds)} messages from each: a message too many. The last ones only bring home what everybody has')
        for out, k in zip(rounds, range(p)):
            refuse(any(not alike(x, items[(r - k) % p]) for r, x in enumerate(out)), f'a message holds one item, and this one, of round {k+1}, is {brief(out[0])}')
    return 'p − 1 messages: the second half of `ring_all_reduce`, whose first half leaves a finished part on each rank'

# %% [markdown]
# ## 3. One spread from many
# (Twenty minutes.) A batch norm needs the mean and the standard deviation of the *whole* batch, and each rank knows only those of its own rows. `SyncBatchNorm` puts them together. How? Predict first: rank 0 has the numbers 1 and 1, and rank 1 has 3 and 3. Each says that its deviation is 0. What is it for all four?
#
# Beware of $\overline{x^2}-\bar x^2$, the short way: when the mean is large and the deviation small, float32 has no digits left for it. Try it on numbers around 5,000.
# <details><summary>Hint</summary>
#
# A row's distance from the mean of all has two parts: how far it is from its rank's mean, and how far that one is from the mean of all. Their squares add up. (Why does the mixed term vanish?)
# </details>

# %% solution
def spread(rows,  # a list: the rows of each rank
           means, # a tensor, the mean on each rank
           stds   # a tensor, the deviation on each rank (over n, not n - 1)
          ):      # mean and deviation over all rows: two numbers
    "The mean and the standard deviation of all rows, from those of each rank."
    share = torch.tensor(rows, dtype=means.dtype)/sum(rows)
    mean = (share*means).sum()
    return mean, (share*(stds**2 + (means - mean)**2)).sum().sqrt()

# %% wrong: how far the ranks' means lie apart
def spread(rows, means, stds):
    share = torch.tensor(rows, dtype=means.dtype)/sum(rows)
    return (share*means).sum(), (share*stds**2).sum().sqrt()

# %% wrong: mean of the deviations
def spread(rows, means, stds):
    share = torch.tensor(rows, dtype=means.dtype)/sum(rows)
    return (share*means).sum(), (share*stds).sum()

# %% wrong: as if all ranks had equally many rows
def spread(rows, means, stds):
    mean = means.mean()
    return mean, (stds**2 + (means - mean)**2).mean().sqrt()

# %% wrong: count by rows, too
def spread(rows, means, stds):
    share = torch.tensor(rows, dtype=means.dtype)/sum(rows)
    mean = (share*means).sum()
    return mean, ((share*stds**2).sum() + (means - mean).square().mean()).sqrt()

# %% wrong: no digits left
def spread(rows, means, stds):
    share = torch.tensor(rows, dtype=means.dtype)/sum(rows)
    mean = (share*means).sum()
    return mean, ((share*(stds**2 + means**2)).sum() - mean**2).clamp(min=0).sqrt()

# %% wrong: variance
def spread(rows, means, stds):
    share = torch.tensor(rows, dtype=means.dtype)/sum(rows)
    mean = (share*means).sum()
    return mean, (share*(stds**2 + (means - mean)**2)).sum()

# %% check
def _spread(rows, means, stds, even=False, apart=True):
    n = torch.ones(len(rows), dtype=torch.float64) if even else torch.tensor(rows, dtype=torch.float64)
    means, stds, share = means.double(), stds.double(), n/n.sum()
    mean = (share*means).sum()
    return mean, (share*(stds**2 + apart*(means - mean)**2)).sum().sqrt()

@check.add
def spread(f):
    def hands(seed, rows, at, wide):
        g = gen(seed)
        xs = [at + wide*torch.randn(n, generator=g, dtype=torch.float64) + wide*torch.rand(1, generator=g, dtype=torch.float64) for n in rows]
        return rows, torch.stack([x.mean() for x in xs]).float(), torch.stack([x.std(correction=0) for x in xs]).float()
    def share(rows): return torch.tensor(rows, dtype=torch.float64)/sum(rows)
    def deviations(r, m, s): return _spread(r, m, s)[0], (share(r)*s.double()).sum()
    def apart(r, m): return m.double() - (share(r)*m.double()).sum()
    for rows, means, stds in [
        hands(0, [4, 9, 1], 0., 1.), ([2, 2], torch.tensor([1., 3.]), torch.tensor([0., 0.])), hands(1, [6], -3., 2.),
        hands(2, [3, 50], 10., 4.), hands(3, [1, 1, 1, 2], 0., 3.)]:
        ask(f, rows, means, stds, expect=_spread, tol=1e-5, mistakes={
            'as if all ranks had equally many rows': lambda *a: _spread(*a, even=True),
            'you left out how far the ranks\' means lie apart': lambda *a: _spread(*a, apart=False),
            'a mean of the deviations: deviations don\'t add up, their squares do': deviations,
            'deviations don\'t add up, their squares do; and a rank with more rows counts more': lambda r, m, s: (m.double().mean(), s.double().mean()),
            'a mean of the deviations within the ranks: deviations don\'t add up, their squares do': lambda r, m, s: (_spread(r, m, s)[0], ((share(r)*s).sum()**2 + (share(r)*apart(r, m)**2).sum()).sqrt()),
            'the distances of the means count by rows, too': lambda r, m, s: (_spread(r, m, s)[0], ((share(r)*s.double()**2).sum() + apart(r, m).square().mean()).sqrt()),
            'no dimension, please: one number each': lambda *a: [v[None] for v in _spread(*a)],
            'you left out how far each rank\'s rows spread around its mean': lambda r, m, s: _spread(r, m, 0*s),
            'that is the variance; its root is wanted': lambda *a: (_spread(*a)[0], _spread(*a)[1]**2),
            'divided by n − 1': lambda r, m, s: (_spread(r, m, s)[0], _spread(r, m, s)[1]*(sum(r)/max(sum(r) - 1, 1))**0.5),
            'the mean first, please': lambda *a: _spread(*a)[::-1],
            'only one of two: the mean, and the deviation': lambda *a: _spread(*a)[1]})
    for args in hands(4, [5, 8], 5000., 0.1), hands(5, [3, 3, 9], -20000., 0.5):
        (_, right), got = _spread(*args), f(*args)
        got = [float(v) for v in got]
        refuse(not abs(got[1]/right.item() - 1) < 0.02, f'no digits left: with means near {args[1][0].item():.0f}, in float32, the deviation is {right:.4f}, and you get {got[1]:.4f}. Square differences from the mean, not the numbers')
    return 'three numbers from each rank, and nobody has to see the others\' rows; accuracies and losses go together more simply'

# %% [markdown]
# ## 4. Before or after the exchange?
# (Half an hour.) Between the gradient and the weights there's often a rule with a memory of its own: momentum, clipping, Adam. Could each rank apply its rule to its *own* gradient, and the ranks average what comes out? Then each would keep the memory for itself. Or must the rule wait for the mean?
#
# Break it: let two ranks apply each of the four rules below before they average, and look where it makes a difference. Then write `may_come_first`, which finds out for any rule.
# <details><summary>Hint</summary>
#
# Two ranks with a fresh rule each, and a third fresh rule for the mean of their gradients. Which gradients would *not* show a difference?
# </details>
# <details><summary>Second hint</summary>
#
# A clipping does nothing to small gradients, and a rule with a memory may do nothing special in its first step. And rounding isn't a difference.
# </details>

# %%
def momentum():
    v = 0
    def rule(g):
        nonlocal v
        v = 0.9*v + g
        return v
    return rule

def clip(): return lambda g: g/max(1, g.norm().item())
def sign(): return torch.sign

def adam():
    t = m = s = 0
    def rule(g):
        nonlocal t, m, s
        t, m, s = t + 1, 0.9*m + 0.1*g, 0.999*s + 0.001*g**2
        return m/(1 - 0.9**t)/((s/(1 - 0.999**t)).sqrt() + 1e-8)
    return rule

a, b = torch.tensor([3., 0.]), torch.tensor([-1., 1.])
{new.__name__: ((new()(a) + new()(b))/2, new()((a + b)/2))
 for new in (momentum, clip, sign, adam)}

# %% solution
def may_come_first(new # gives a fresh rule, a function from a gradient to a step
                  ):   # True or False
    "Whether ranks may apply a rule to their own gradients, and average what comes out."
    g = torch.Generator().manual_seed(0)
    for size in 1e-3, 1, 1e3:
        first, second, both = new(), new(), new()
        for _ in range(20):
            a, b = size*torch.randn(2, 5, generator=g, dtype=torch.float64)
            before, after = (first(a) + second(b))/2, both((a + b)/2)
            if not torch.allclose(before, after, 1e-6, 1e-9*size): return False
    return True

# %% wrong: first step
def may_come_first(new):
    for _ in range(20):
        a, b = 100*torch.randn(2, 5)
        before, after = (new()(a) + new()(b))/2, new()((a + b)/2)
        if not torch.allclose(before, after, rtol=1e-3, atol=1e-3): return False
    return True

# %% wrong: small
def may_come_first(new):
    first, second, both = new(), new(), new()
    for _ in range(30):
        a, b = 0.01*torch.randn(2, 5).double()
        if not torch.allclose((first(a) + second(b))/2, both((a + b)/2)): return False
    return True

# %% wrong: memory
def may_come_first(new):
    rule = new()
    for _ in range(20):
        a, b = 100*torch.randn(2, 5).double()
        if not torch.allclose((rule(a) + rule(b))/2, rule((a + b)/2)): return False
    return True

# %% wrong: same gradient
def may_come_first(new):
    first, second, both = new(), new(), new()
    for _ in range(20):
        a = 100*torch.randn(5).double()
        if not torch.allclose((first(a) + second(a))/2, both(a)): return False
    return True

# %% wrong: compare sums
def may_come_first(new):
    first, second, both = new(), new(), new()
    for _ in range(20):
        a, b = 100*torch.randn(2, 5).double()
        if not torch.allclose(first(a) + second(b), both(a + b)): return False
    return True

# %% wrong: Rounding
def may_come_first(new):
    first, second, both = new(), new(), new()
    for _ in range(20):
        a, b = 100*torch.randn(2, 5)
        if not ((first(a) + second(b))/2).equal(both((a + b)/2)): return False
    return True

# %% check
def with_memory(update, *memory): # a fresh rule: `update` of a gradient and the memory returns a step and the memory
    def new():
        state = memory
        def rule(g):
            nonlocal state
            step, *state = update(g, *state)
            return step
        return rule
    return new

RULES = [ # name, rule, may it come first?, words for those who are wrong
    ('plain descent', lambda: lambda g: g*1., True, 'it is the gradient itself'),
    ('a momentum of 0.9', with_memory(lambda g, v: (0.9*v + g, 0.9*v + g), 0.), True, 'it adds and multiplies by numbers. Rounding is no difference, and each rule needs a memory of its own'),
    ('Nesterov\'s momentum', with_memory(lambda g, v: (0.9*(0.9*v + g) + g, 0.9*v + g), 0.), True, 'it adds and multiplies by numbers. Rounding is no difference, and each rule needs a memory of its own'),
    ('the running mean of all gradients', with_memory(lambda g, t, m: ((m*t + g)/(t + 1), t + 1, (m*t + g)/(t + 1)), 0, 0.), True, 'it only adds and divides by a count. Rounding is no difference, and each rule needs a memory of its own'),
    ('a rate of 1/t', with_memory(lambda g, t: (g/t, t + 1), 1), True, 'the rate is the same for all in each step. Does each rule have a memory of its own?'),
    ('a weight decay that adds 1', lambda: lambda g: g + 1., True, 'each rank adds 1, and so does the mean. Do you compare sums? A sum has 2 of it'),
    ('reversed, times 1/3', lambda: lambda g: g.flip(0)/3, True, 'it only multiplies, and puts the numbers elsewhere. Rounding is no difference'),
    ('the sign', lambda: torch.sign, False, 'do both ranks have the same gradient in your trial? They must differ, in their signs, too'),
    ('clipped to length 1', lambda: lambda g: g/max(1., g.norm().item()), False, 'to small gradients it does nothing. Were yours large enough?'),
    ('Adam', with_memory(lambda g, t, m, s: ((m := 0.9*m + 0.1*g)/(1 - 0.9**t)/((s := 0.99*s + 0.01*g**2)/(1 - 0.99**t) + 1e-16).sqrt(), t + 1, m, s), 1, 0., 0.), False, 'do both ranks have the same gradient in your trial? They must differ, in their signs, too'),
    ('each divided by the root of the squares of all *before*', with_memory(lambda g, s: (g/(1 + s).sqrt() if torch.is_tensor(s) else g*1., s + g**2), 0.), False, 'in its first step it does nothing special. Did you try more steps?'),
    ('the largest two numbers', lambda: lambda g: g*(g.abs() >= g.abs().topk(min(2, len(g))).values[-1]), False, 'do both ranks have the same gradient in your trial? They must differ, in their signs, too'),
    ('negative numbers made zero', lambda: torch.relu, False, 'do both ranks have the same gradient in your trial? They must differ, in their signs, too'),
    ('clipped to 30 each', lambda: lambda g: g.clamp(-30, 30), False, 'to small gradients it does nothing. Were yours large enough?'),
    ('the square', lambda: lambda g: g*g.abs(), False, 'do both ranks have the same gradient in your trial? They must differ, in their signs, too'),
]

@check.add
def may_come_first(f):
    for name, new, right, why in RULES:
        got = f(new)
        refuse(got is None, 'it returns nothing: no `return`?')
        if torch.is_tensor(got): got = got.item()
        refuse(got not in (True, False), f'True or False, please, not {brief(got)}')
        refuse(bool(got) != right, f'{name} {"may" if right else "may not"} come first, and you say that it {"may" if got else "may not"}: {why}')
    return 'what only adds, and multiplies by numbers, may come first; so gradients are averaged, and then clipped'

# %% [markdown]
# ## 5. One machine too many (open)
# (Forty minutes.) In the notebook, a thousand machines arrived 17 times as fast, and they used a tree. Stay with the ring and its $2(p-1)$ messages, and at some number of machines each further one makes it *slower*. Predict the number that arrives first, to within 15 %, by a formula: from $t_0$, $r$, bytes, α, β, the rows of a machine and the critical batch. Then measure: try all numbers up to a hundred thousand, with `arrival`. (Time is steps times seconds of a step: $\left(\frac1{p\,b}+\frac1B\right)\left(t_0+\frac br+\text{ring}(p)\right)$, for each row of all.)
#
# Four times the critical batch: how many times as many machines? And would you have thought that the number of *rows* to train on plays no part?
# <details><summary>Hint</summary>
#
# Multiply it out. What grows with $p$, what falls like $1/p$? Where's the sum of $c/p$ and $d\,p$ least? (What falls like $1/p^2$ you may forget.)
# </details>

# %%
def arrival(p, t0, rate, nbytes, alpha, beta, bs, critical):
    "Seconds for each row of all, on `p` machines with a ring."
    ring = 2*(p - 1)*(alpha + beta*nbytes/p)
    return (1/(p*bs) + 1/critical)*(t0 + bs/rate + ring)

net = dict(t0=3.6e-3, rate=8400, nbytes=7.45e6, alpha=5e-5, beta=8e-10, bs=512)
one = arrival(1, **net, critical=1e4)
for p in (1, 10, 100, 1000):
    times = one/arrival(p, **net, critical=1e4)
    print(f'{p:5,} machines: {times:4.1f} times as fast')

# %% solution
def most_useful(t0, rate,    # seconds of a step + rows a second, of one machine
                nbytes,      # of a gradient
                alpha, beta, # of a message: seconds, seconds a byte
                bs,          # rows of a step on each machine
                critical     # the critical batch, in rows
               ):            # two whole numbers of machines: predicted, measured
    "How many machines in a ring arrive first."
    own = t0 + bs/rate - 2*alpha + 2*beta*nbytes        # of a step, whatever p
    falls = own/bs - 2*beta*nbytes/critical             # over p
    grows = 2*alpha/critical                            # times p
    predicted = max(1, round(math.sqrt(max(falls, 0)/grows)))
    numbers = t0, rate, nbytes, alpha, beta, bs, critical
    return predicted, min(range(1, 100_001), key=lambda p: arrival(p, *numbers))

# %% wrong: what you measured
def most_useful(t0, rate, nbytes, alpha, beta, bs, critical):
    def seconds(p): return (1/(p*bs) + 1/critical)*(t0 + bs/rate + 2*(p - 1)*(alpha + beta*nbytes/p))
    best = min((2**k for k in range(17)), key=seconds)
    return best, best

# %% wrong: more than you try
def most_useful(t0, rate, nbytes, alpha, beta, bs, critical):
    p = torch.arange(1, 100_001, dtype=torch.float64)
    best = int(arrival(p, t0, rate, nbytes, alpha, beta, bs, critical).argmin()) + 1
    return best, best

# %% wrong: the critical batch over the rows
def most_useful(t0, rate, nbytes, alpha, beta, bs, critical):
    def seconds(p): return (1/(p*bs) + 1/critical)*(t0 + bs/rate + 2*(p - 1)*(alpha + beta*nbytes/p))
    return round(critical/bs), min(range(1, 100_001), key=seconds)

# %% wrong: square root
def most_useful(t0, rate, nbytes, alpha, beta, bs, critical):
    def seconds(p): return (1/(p*bs) + 1/critical)*(t0 + bs/rate + 2*(p - 1)*(alpha + beta*nbytes/p))
    own = t0 + bs/rate + 2*beta*nbytes
    return own*critical/(2*alpha*bs), min(range(1, 100_001), key=seconds)

# %% wrong: bytes
def most_useful(t0, rate, nbytes, alpha, beta, bs, critical):
    def seconds(p): return (1/(p*bs) + 1/critical)*(t0 + bs/rate + 2*(p - 1)*(alpha + beta*nbytes/p))
    own = t0 + bs/rate
    return math.sqrt(own*critical/(2*alpha*bs)), min(range(1, 100_001), key=seconds)

# %% check
@check.add
def most_useful(f):
    off = []
    for t0, rate, nbytes, alpha, beta, bs, critical in [
        (3.6e-3, 8400., 7.45e6, 5e-5, 8e-10, 512, 1e4), (3.6e-3, 8400., 7.45e6, 5e-5, 8e-10, 512, 4e4),
        (1e-3, 2e4, 4e8, 1e-4, 1e-9, 64, 2e5), (5e-4, 1e4, 1.6e5, 2e-5, 1e-9, 64, 1e6),
        (5e-4, 1e4, 1.6e5, 1e-7, 1e-9, 64, 1e8)]: # the last: farther than it tries
        args = dict(t0=t0, rate=rate, nbytes=nbytes, alpha=alpha, beta=beta, bs=bs, critical=critical)
        def seconds(p): return (1/(p*bs) + 1/critical)*(t0 + bs/rate + 2*(p - 1)*(alpha + beta*nbytes/p))
        guess = math.sqrt((t0 + bs/rate + 2*beta*nbytes)*critical/(2*alpha*bs))
        far = guess > 100_000
        best = round(guess) if far else min(range(1, int(3*guess) + 10), key=seconds)
        got = f(**args)
        refuse(got is None, 'it returns nothing: no `return`?')
        if torch.is_tensor(got): got = got.tolist()
        refuse(not isinstance(got, (tuple, list)) or len(got) != 2, 'two numbers, please: predicted, measured')
        predicted, measured = map(float, got)
        here = f'{bs} rows a machine, critical batch {critical:,.0f}, {nbytes:.3g} bytes: '
        refuse(far and predicted == measured, f'{here}by the formula {best:,} machines arrive first, more than you try. Your prediction is {predicted:,.0f}: what you measured?')
        miss = not far and measured != best and seconds(max(1, round(measured))) > seconds(best)*(1 + 1e-12)
        refuse(miss and abs(measured/best - 1) < 0.02, f'{here}what you measured is {measured:,.0f}, but {best:,} machines arrive first. Counted from 0? Or in float32, where neighbours take the same time?')
        refuse(miss, f'{here}what you measured is {measured:,.0f}, but {best:,} machines arrive first. Try each number up to a hundred thousand')
        def near(number): return abs(predicted/number - 1) < 0.02
        said = f'; you predict {predicted:,.0f}, and {best:,} arrive first'
        refuse(not math.isfinite(predicted), f'{here}your prediction is {predicted}')
        if abs(predicted/best - 1) > 0.15:
            refuse(abs(predicted*bs/critical - 1) < 0.04, f'{here}that is the critical batch over the rows of a machine, where steps begin to be wasted{said}')
            refuse(near(guess**2), f'{here}a square root is missing{said}')
            refuse(near(guess*bs**0.5) or near(guess/bs**0.5), f'{here}where are the rows of a machine? 1/(p·b) falls like 1/p, with `1/bs` before it{said}')
            refuse(near(guess*2**0.5), f'{here}the ring has two rounds for each machine{said}')
            refuse(near(math.sqrt((t0 + bs/rate)*critical/(2*alpha*bs))), f'{here}the bytes take their time whatever the number of machines, about twice β·bytes in each step{said}')
            refuse(True, f'{here}more than 15 % off{said}')
        refuse(predicted != round(predicted), f'{here}a whole number of machines, please, not {predicted:.6g}')
        off.append(abs(predicted/best - 1))
    return f'at most {max(off):.0%} off; with four times the critical batch it is only about twice as many machines'
