# %% [markdown]
# # Batch size: your turn
# > Five exercises for [10 batch_size](../10_batch_size.ipynb), about two hours in all.

# %%
import math, torch
from minisgd.batch_size import estimate_noise, noise_floor
from minisgd.data import airfoil
from minisgd.gd import mse
from minisgd.minibatch import minibatches
from minisgd.race import sgd_runs
from minisgd.checks.batch_size import check
x, y = [t.double() for t in airfoil()]

# %% check
import math, torch
from ..batch_size import _step_map, estimate_noise, noise_floor
from ..data import airfoil
from ..gd import mse

def drawn(seed, *shape):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=g, dtype=torch.float64)

# %% [markdown]
# ## 1. Parts with gaps
# (Fifteen minutes.) Only `bs` rows fit into memory at once, but you want the gradient over all of them. So you take it over one part after another, and put the parts together. In this data some targets are missing, they're `nan`, and the loss is a mean over the rows that have one, as in `known_loss` below.
#
# Predict first: if all parts have equally many rows, is the mean of the parts' gradients right?
# <details><summary>Hint</summary>
#
# A mean is a sum divided by a count. Turn each part's mean back into its sum: which count was it divided by?
# </details>

# %%
def known_loss(w, xb, yb):
    known = ~yb.isnan()
    return mse(xb[known]@w, yb[known])/2

# %% solution
def accumulated_grad(loss_fn, # loss_fn(w, xb, yb) -> mean over rows whose yb isn't nan
                     w,       # weights, (k,)
                     x, y,    # n rows (n,k) and targets (n,), some of them nan
                     bs       # rows that fit into memory at once
                    ):        # (k,) the gradient of the loss over all rows
    "The gradient over all rows, from parts of at most `bs` rows."
    total = torch.zeros_like(w)
    for i in minibatches(len(x), bs, shuffle=False):
        v = w.detach().clone().requires_grad_()
        grad, = torch.autograd.grad(loss_fn(v, x[i], y[i]), v)
        total += grad*(~y[i].isnan()).sum()
    return total/(~y.isnan()).sum()

# %% wrong: mean of the parts' gradients
def accumulated_grad(loss_fn, w, x, y, bs):
    grads = []
    for i in minibatches(len(x), bs, shuffle=False):
        v = w.detach().clone().requires_grad_()
        grads += torch.autograd.grad(loss_fn(v, x[i], y[i]), v)
    return torch.stack(grads).mean(0)

# %% wrong: weighed by its rows
def accumulated_grad(loss_fn, w, x, y, bs):
    total = torch.zeros_like(w)
    for i in minibatches(len(x), bs, shuffle=False):
        v = w.detach().clone().requires_grad_()
        total += torch.autograd.grad(loss_fn(v, x[i], y[i]), v)[0]*len(i)
    return total/len(x)

# %% wrong: rows that have no target
def accumulated_grad(loss_fn, w, x, y, bs):
    total = torch.zeros_like(w)
    for i in minibatches(len(x), bs, shuffle=False):
        v = w.detach().clone().requires_grad_()
        grad, = torch.autograd.grad(loss_fn(v, x[i], y[i]), v)
        total += grad*(~y[i].isnan()).sum()
    return total/len(x)

# %% wrong: sum of the parts' gradients
def accumulated_grad(loss_fn, w, x, y, bs):
    v = w.detach().clone().requires_grad_()
    for i in minibatches(len(x), bs, shuffle=False): loss_fn(v, x[i], y[i]).backward()
    return v.grad

# %% wrong: at once
def accumulated_grad(loss_fn, w, x, y, bs):
    v = w.detach().clone().requires_grad_()
    return torch.autograd.grad(loss_fn(v, x, y), v)[0]

# %% wrong: the first call
def accumulated_grad(loss_fn, w, x, y, bs):
    w.requires_grad_()
    for i in minibatches(len(x), bs, shuffle=False):
        there = (~y[i].isnan()).sum()
        if there: (loss_fn(w, x[i], y[i])*there/(~y.isnan()).sum()).backward()
    return w.grad

# %% wrong: ask `loss_fn`
def accumulated_grad(loss_fn, w, x, y, bs):
    there = ~y.isnan()
    return x[there].T@(x[there]@w - y[there])/there.sum()

# %% check
@check.add
def accumulated_grad(f):
    def known(power):
        def loss(w, xb, yb, bs=None):
            refuse(bs and len(xb) > bs, f'{len(xb)} rows at once, where only {bs} fit into memory')
            there = ~yb.isnan()
            return ((xb[there]@w - yb[there]).abs()**power).mean()/power
        return loss
    def parts(loss, w, x, y, bs): # of each: its gradient, its rows, its targets
        for k in range(0, len(x), bs):
            v, xb, yb = w.clone().requires_grad_(), x[k:k+bs], y[k:k+bs]
            yield torch.autograd.grad(loss(v, xb, yb), v)[0], len(xb), int((~yb.isnan()).sum())
    nan = float('nan')
    first = known(2), torch.zeros(1), torch.ones(4, 1), torch.tensor([0., 0, 6, nan]), 2
    ragged = known(2), torch.zeros(1), torch.tensor([[1.], [2.], [3.], [4.], [5.]]), torch.ones(5), 2
    tried = [ragged, first]
    for seed, n, k, bs, power in (0, 7, 2, 3, 2), (1, 12, 3, 4, 1), (2, 5, 1, 1, 2), (3, 5, 2, 5, 2), (4, 9, 2, 20, 1), (5, 23, 4, 6, 2):
        x, y, w = drawn(seed, n, k), drawn(seed + 10, n), drawn(seed + 20, k)
        y[drawn(seed + 30, n) > 0.3] = nan
        y[0] = 1.
        tried.append((known(power), w, x, y, bs))
    for loss, w, x, y, bs in tried:
        grads, rows, there = zip(*parts(loss, w, x, y, bs))
        def mix(weights, by=1.): return sum(g*m for g, m in zip(grads, weights))/by
        def loss_fn(*args): return loss(*args, bs=bs)
        loss_fn.__name__ = 'known_loss' if bs == 2 else 'loss_fn'
        ones, known_rows = [1]*len(grads), ~y.isnan()
        ask(f, loss_fn, w, x, y, bs, expect=mix(there, sum(there)), mistakes={
            'each part is weighed by its rows, but the loss is a mean over its *targets*': mix(rows, sum(rows)),
            'the mean of the parts\' gradients: a part with few targets counts as much as one with many': mix(ones, len(ones)),
            'divided by all rows, also the rows that have no target': mix(there, sum(rows)),
            'that is the sum of the parts\' gradients': mix(ones),
            'that is the sum over the rows: divide by the number of targets': mix(there),
            'divided by the number of parts; you have summed over rows': mix(there, len(ones)),
            'the gradient of the last part alone': grads[-1], 'the gradient of the first part alone': grads[0],
            'the short last part is missing': mix([m*(r == bs) for m, r in zip(there, rows)], max(1, sum(m*(r == bs) for m, r in zip(there, rows)))),
            'is that the gradient of `known_loss`? There are other losses: ask `loss_fn`': x[known_rows].T@(x[known_rows]@w - y[known_rows])/sum(there),
            'that is uphill; the gradient, please, not a step': mix(there, -sum(there))})
        v = w.clone()
        for _ in range(2): again = f(loss_fn, v, x.clone(), y.clone(), bs)
        refuse(not alike(again, mix(there, sum(there))), f'right in the first call; the second one, with the same `w`, gives {brief(again)}, not {brief(mix(there, sum(there)))}. Does it add to what is in `w.grad`?')
    return 'equal parts, and the mean of their means is still wrong: see https://huggingface.co/blog/gradient_accumulation'

# %% [markdown]
# ## 2. The noise comes free
# (Fifteen minutes.) Ten machines have taken ten gradients at the same weights, each on `bs` rows of its own, drawn with replacement. You're about to average them for a step. But first: they differ, and that's the noise. Estimate $\mathrm{tr}\,\Sigma$ and $|g|^2$, unbiased, from these ten alone.
#
# Predict: the mean of the ten is the best gradient that you have. Is the square of its length too large or too small for $|g|^2$, and by how much?
# <details><summary>Hint</summary>
#
# How many rows are in each of the ten? And how many are in their mean?
# </details>
# <details><summary>Second hint</summary>
#
# `estimate_noise` takes `m` small batches and *any number* of big ones. One is enough.
# </details>

# %% solution
def noise_of_parts(grads, # (m,k) gradients of m parts, m > 1, float64
                   bs     # rows in each part
                  ):      # tr Σ and |g|²
    "Noise and signal from the parts of one batch."
    m = len(grads)
    return estimate_noise(grads, grads.mean(0, keepdim=True), bs, m*bs)

# %% wrong: variance of a part
def noise_of_parts(grads, bs):
    m, mean = len(grads), grads.mean(0)
    noise = (grads - mean).square().sum().item()/(m - 1)
    return noise, mean.square().sum().item() - noise/m

# %% wrong: still has noise in it
def noise_of_parts(grads, bs):
    m, mean = len(grads), grads.mean(0)
    noise = (grads - mean).square().sum().item()/(m - 1)
    return bs*noise, mean.square().sum().item()

# %% wrong: one less than
def noise_of_parts(grads, bs):
    m, mean = len(grads), grads.mean(0)
    trace = bs*(grads - mean).square().sum(1).mean().item()
    return trace, mean.square().sum().item() - trace/(m*bs)

# %% wrong: cut off at 0
def noise_of_parts(grads, bs):
    m, mean = len(grads), grads.mean(0)
    trace = bs*(grads - mean).square().sum().item()/(m - 1)
    return trace, max(0., mean.square().sum().item() - trace/(m*bs))

# %% wrong: not always ten
def noise_of_parts(grads, bs):
    return estimate_noise(grads, grads.mean(0, keepdim=True), bs, 10*bs)

# %% wrong: in all parts together
def noise_of_parts(grads, bs):
    m, mean = len(grads), grads.mean(0)
    trace = bs*(grads - mean).square().sum().item()/(m - 1)
    return trace, mean.square().sum().item() - trace/bs

# %% check
def _parts(grads, bs, less=1, per=None, subtract=None): # tr Σ, |g|²
    m, mean = len(grads), grads.mean(0)
    trace = (bs if per is None else per)*(grads - mean).square().sum().item()/(m - less)
    return trace, mean.square().sum().item() - (trace/(m*bs) if subtract is None else subtract(trace, m))

@check.add
def noise_of_parts(f):
    tried = [(torch.tensor([[1.], [3.]], dtype=torch.float64), 5), (torch.tensor([[-3.], [1.]], dtype=torch.float64), 1)]
    tried += [(2 + drawn(seed, m, k), bs) for seed, m, k, bs in ((0, 10, 3, 20), (1, 3, 1, 1), (2, 2, 6, 7), (3, 40, 2, 64))]
    for grads, bs in tried:
        right = _parts(grads, bs)
        ask(f, grads, bs, expect=right, mistakes={
            'your tr Σ is the variance of a part; that of a row is `bs` times as large':
                _parts(grads, bs, per=1, subtract=lambda t, m: t/m),
            'your tr Σ is the variance of a part, and you divided it by `bs` again': _parts(grads, bs, per=1),
            'your |g|² still has noise in it: the mean of the parts is no full gradient': _parts(grads, bs, subtract=lambda t, m: 0),
            'divide the squares by one less than the number of parts, because their mean was made from them': _parts(grads, bs, less=0),
            'your tr Σ is right; but how many rows are in all parts together? The mean has the noise of so many': _parts(grads, bs, subtract=lambda t, m: t/bs),
            'you divided tr Σ by the number of parts; how many *rows* are in the mean?': _parts(grads, bs, subtract=lambda t, m: t/m),
            'that is |g|² cut off at 0: it isn\'t unbiased any more, on average it\'s too large': (right[0], max(0., right[1])),
            'there are not always ten parts': estimate_noise(grads, grads.mean(0, keepdim=True), bs, 10*bs),
            'the noise of the mean is subtracted; yours was added': _parts(grads, bs, subtract=lambda t, m: -t/(m*bs)),
            'the other way round: first the noise, then the signal': right[::-1],
            'two numbers, please: their ratio hides a negative |g|²': right[0]/right[1]})
    g, far = torch.Generator().manual_seed(0), []
    for _ in range(300):                    # signal 4, noise 30
        grads = 2 + 30**0.5*torch.randn(8, 5, 1, generator=g, dtype=torch.float64).mean(1)
        far.append([float(v) for v in f(grads, 5)])
    trace, square = torch.tensor(far).mean(0).tolist()
    refuse(abs(trace - 30) > 3 or abs(square - 4) > 0.6, f'on average over 300 steps you find tr Σ {trace:.1f} and |g|² {square:.1f}, where 30 and 4 are right')
    return 'left in, the noise makes |g|² too large, and hides every noise scale beyond the rows of all the parts together'

# %% [markdown]
# ## 3. Beyond the wall
# (Twenty minutes.) Take a rate at which single rows explode, twice as far out as the wall: do all runs explode? Most? Say what you expect before you go on.
#
# To see it clearly there's no noise: `column` has one weight, and its targets are exactly 3 times the row. So a step on row $i$ multiplies $d^2$ by $(1-\varepsilon x_i^2)^2$, and rows are drawn with replacement. Two factors, please: by what does a step multiply the *mean* of $d^2$ over all runs? And by what in a *typical* run, a long one in which every row came equally often?
# <details><summary>Hint</summary>
#
# After a thousand steps, a typical $d^2$ is a product of a thousand numbers. Its logarithm is a sum.
# </details>

# %%
column = torch.randn(1500, 1, generator=torch.Generator().manual_seed(0)).double()
at_wall = (2*(column**2).mean()/(column**4).mean()).item()

# %% solution
def growth(x, # (n,) the only column
           lr # rate
          ):  # two numbers: the factor of the mean, and the typical one
    "What a step on a random row does to the mean of d², and to d² in a typical run."
    factors = (1 - lr*x*x).square()
    return factors.mean().item(), factors.log().mean().exp().item()

# %% wrong: forgot the square
def growth(x, lr):
    factors = (1 - lr*x*x).abs()
    return factors.mean().item(), factors.log().mean().exp().item()

# %% wrong: gradient descent
def growth(x, lr):
    factor = (1 - lr*(x*x).mean()).square().item()
    return factor, (1 - lr*x*x).square().log().mean().exp().item()

# %% wrong: logarithm of the mean
def growth(x, lr):
    factors = (1 - lr*x*x).square()
    return factors.mean().item(), factors.mean().log().exp().item()

# %% wrong: median row
def growth(x, lr):
    factors = (1 - lr*x*x).square()
    return factors.mean().item(), factors.median().item()

# %% wrong: underflow
def growth(x, lr):
    factors = (1 - lr*x*x).square()
    return factors.mean().item(), factors.prod().item()**(1/len(x))

# %% check
@check.add
def growth(f):
    def right(x, lr, power=2):
        factors = (1 - lr*x*x).abs()**power
        return factors.mean().item(), factors.log().mean().exp().item()
    def batch(x, lr): return ((1 - lr*(x*x).mean())**2).item()
    tried = [(torch.tensor([1., 2.], dtype=torch.float64), 1.), (torch.tensor([1., 2., 3.], dtype=torch.float64), 0.1)]
    tried += [(drawn(seed, n), lr) for seed, n, lr in ((0, 6, 0.9), (1, 1, 1.5), (2, 11, 0.05))]
    tried += [(torch.tensor([1., 2., 3., 1.], dtype=torch.float64), 1.), (drawn(3, 4000), 1.3)]
    for x, lr in tried[1:] + tried[:1]: # the first has a factor of zero: a typical run arrives in a moment
        mean, typical = right(x, lr)
        factors = (1 - lr*x*x).square()
        mistakes = {
            'you forgot the square: these are the factors of |d|, not of d²': right(x, lr, 1),
            'the first is what gradient descent does; but the mean of the squares isn\'t the square of the mean': (batch(x, lr), typical),
            'the second is what gradient descent does; a typical run steps on single rows': (mean, batch(x, lr)),
            'the logarithm of the mean is not the mean of the logarithms': (mean, mean),
            'that is the median row; a typical run meets all rows, one after another': (mean, factors.median().item()),
            'the other way round: first the mean': (typical, mean),
            'those are logarithms; factors, please': (mean, math.log(typical) if typical else -math.inf),
            'you forgot the square in the second': (mean, typical**0.5), 'you forgot the square in the first': (factors.sqrt().mean().item(), typical)}
        if len(x) > 1000: mistakes['a product of so many factors underflows to 0, or overflows: add their logarithms'] = (mean, factors.prod().item()**(1/len(x)))
        if not typical: # by now it returns two numbers
            second = float(f(x.clone(), lr)[1])
            refuse(second > 0, f'a row here has the factor 0, and ends a run in one step, so the typical factor is 0; yours is {second:.3g}. Do you add something inside the logarithm?')
        ask(f, x, lr, expect=(mean, typical), mistakes=mistakes)
    return 'so the mean can explode although nearly every run arrives: a few runs carry it all'

# %% [markdown]
# Once `check` agrees, call `growth(column[:,0], 2*at_wall)`. And here are a thousand such runs, after 10 and after 100 steps: the mean of $d^2$, and its median. By your first factor, what should the mean be after 100 steps? Why don't a thousand runs show it?

# %%
beyond = sgd_runs(column, 3*column[:,0], 2*at_wall, 1, 100, seeds=1000,
                  replacement=True, generator=torch.Generator().manual_seed(1))
d2 = (beyond[...,0,0] - 3).square()
print('after 10 steps: mean above 100?', d2[10].mean().item() > 100,
      ' median below 0.1?', d2[10].median().item() < 0.1)
print('after 100 steps: median below 1e-9?', d2[100].median().item() < 1e-9)

# %% [markdown]
# ## 4. Grow the batch instead
# (Twenty-five minutes.) When a run has reached its floor, you lower the rate. Or you leave the rate, and take a larger batch: that's the same, say [Smith et al.](https://arxiv.org/abs/1711.00489), if the batch grows as the rate would have fallen.
#
# On airfoil you're at a rate of 0.15 and batches of 15 rows, drawn with replacement. You'd go to a tenth of the rate. So you take 150 rows instead? Find the smallest batch at the *old* rate whose floor is no higher than that of the old batch at the lower rate. Then try 0.4.
# <details><summary>Hint</summary>
#
# `noise_floor` gives both floors. It falls as the batch grows, so you can count upwards, or halve an interval.
# </details>

# %% solution
def batch_instead(x, y, # n rows and targets, float64
                  lr,   # the rate, which stays
                  bs,   # rows in a batch, drawn with replacement
                  k     # the rate would have been divided by this, k > 1
                 ):     # rows, an int
    "The smallest batch at `lr` whose floor is no higher than that of `bs` at `lr/k`."
    goal = noise_floor(x, y, lr/k, bs, replacement=True)
    low, high = bs, 2*bs               # the first is too small; the second, soon not
    while noise_floor(x, y, lr, high, replacement=True) > goal: low, high = high, 2*high
    while high - low > 1:
        middle = (low + high)//2
        if noise_floor(x, y, lr, middle, replacement=True) > goal: low = middle
        else: high = middle
    return high

# %% wrong: rule of thumb
def batch_instead(x, y, lr, bs, k): return k*bs

# %% wrong: without replacement
def batch_instead(x, y, lr, bs, k):
    goal = noise_floor(x, y, lr/k, bs)
    while noise_floor(x, y, lr, bs) > goal: bs += 1
    return bs

# %% wrong: a row too many
def batch_instead(x, y, lr, bs, k):
    goal = noise_floor(x, y, lr/k, bs, replacement=True)
    while noise_floor(x, y, lr, bs, replacement=True) > goal: bs += 1
    return bs + 1

# %% wrong: more rows than there are
def batch_instead(x, y, lr, bs, k):
    goal = noise_floor(x, y, lr/k, bs, replacement=True)
    while noise_floor(x, y, lr, bs, replacement=True) > goal and bs < len(x): bs += 1
    return bs

# %% wrong: still higher
def batch_instead(x, y, lr, bs, k):
    goal = noise_floor(x, y, lr/k, bs, replacement=True)
    while noise_floor(x, y, lr, bs + 1, replacement=True) > goal: bs += 1
    return bs

# %% check
def smallest(x, y, lr, bs, goal, replacement=True):
    low, high = bs - 1, bs
    while noise_floor(x, y, lr, high, replacement) > goal: low, high = high, 2*high
    while high - low > 1:
        middle = (low + high)//2
        if noise_floor(x, y, lr, middle, replacement) > goal: low = middle
        else: high = middle
    return high

@check.add
def batch_instead(f):
    def floor(x, y, lr, bs): return noise_floor(x, y, lr, bs, True).item()
    data = [t.double() for t in airfoil()]
    small = drawn(0, 200, 2), drawn(1, 200)
    for (x, y), lr, bs, k in (data, 0.15, 15, 10), (data, 0.4, 15, 10), (small, 0.1, 1, 4), (data, 0.3, 6, 2.5), (small, 0.7, 10, 3), (small, 0.4, 10, 30):
        goal = floor(x, y, lr/k, bs)
        right = smallest(x, y, lr, bs, goal)
        given = [t.clone() for t in (x, y)]
        got = f(*given, lr, bs, k)
        call = f'batch_instead(x, y, lr={lr}, bs={bs}, k={k})'
        refuse(got is None, 'it returns nothing: no `return`?')
        refuse(not all(alike(a, b, 0) for a, b in zip(given, (x, y))), 'it changes its arguments')
        try: got = float(got)
        except (TypeError, ValueError): raise Wrong(f'{call} gave {brief(got)}; a number of rows, please')
        refuse(got != right and alike(got, k*bs), f'that is the rule of thumb, {k} times the batch; at {lr} it ends {floor(x, y, lr, int(k*bs))/goal:.2f} times as high as it should')
        refuse(got != right and got == round(k*bs), 'that is the rule of thumb, rounded; ask `noise_floor`')
        refuse(got != round(got) or got < 1, f'{call} gave {brief(got)}; a whole number of rows, please')
        refuse(got == right + 1, f'{call} gave {got:.0f}, a row too many: {right} will do')
        if k*bs < len(x):
            fresh = smallest(x, y, lr, bs, noise_floor(x, y, lr/k, bs), False)
            refuse(got == fresh != right, f'{call} gave {got:.0f}, which is right for draws without replacement; here rows are drawn with replacement')
        now = floor(x, y, lr, int(got))
        refuse(got == len(x) < right, f'{call} gave all {got:.0f} rows; drawn with replacement, a batch can have more rows than there are')
        refuse(got < right, f'{call} gave {got:.0f} rows, and at {lr} their floor is {now:.4g}, still higher than the {goal:.4g} of {bs} rows at {lr/k:.4g}')
        refuse(got > right, f'{call} gave {got:.0f} rows, and fewer have a floor low enough')
    return 'the rule of thumb is for low rates; the nearer to the wall, the more rows it takes'

# %% [markdown]
# ## 5. One epoch must do (open)
# (An hour.) At the best constant rate, single rows drawn with replacement need about two epochs to the target, an excess of 1 % of the best loss, and larger batches read more. What if both the rate and the batch may change on the way? How few rows will do? Guess first, and write your guess into your function.
#
# Then make a plan, rows drawn with replacement, and measure it: the mean excess at its end, over so many runs that you're within a fifth of the truth. `check` works out the exact mean, and is content if the target is reached within one epoch, which is 1,500 rows. How far below do you get? And in how few *steps*?
# <details><summary>Hint</summary>
#
# `sgd_runs(…, w=path[-1])` goes on where a path has ended. Each phase should go on until it has nearly reached its floor.
# </details>

# %%
def excess(w, x, y): # of weights (..., k), as a part of the best loss
    best = torch.linalg.lstsq(x, y[:,None]).solution[:,0]
    d = w - best
    return (d@(x.T@x/len(x))*d).sum(-1)/mse(x@best, y)

# %% solution
def plan(x, y # n rows and targets, float64
        ):    # guess (rows), phases [(rate, rows in a batch, steps), …], mean `excess`
    "A plan to the target, what you guessed before, and what you measured at its end."
    guess = 2000
    phases = [(0.05, 1, 100), (0.05, 2, 60), (0.05, 4, 40),
              (0.05, 8, 25), (0.05, 16, 15), (0.05, 32, 10)]
    w, g = x.new_zeros(x.shape[1]), torch.Generator().manual_seed(0)
    for lr, bs, steps in phases:
        w = sgd_runs(x, y, lr, bs, steps, 400, True, w=w, generator=g)[-1]
    return guess, phases, excess(w, x, y).mean().item()

# %% wrong: more than an epoch
def plan(x, y): return 3000, [(0.0025, 1, 3100)], 0.01

# %% wrong: it ends at
def plan(x, y): return 500, [(0.05, 1, 100), (0.005, 1, 400)], 0.01

# %% wrong: what you measured
def plan(x, y): return 1000, [(0.05*0.6**i, 1, 150) for i in range(8)], 0.002

# %% wrong: Over how many runs
def plan(x, y): return 1000, [(1/(5 + 0.4*t), 1, 10) for t in range(0, 1500, 10)], 0.01

# %% wrong: explodes
def plan(x, y): return 1000, [(0.5, 1, 300), (0.01, 10, 100)], 0.01

# %% check
def arrives(x, y, phases): # the exact mean excess at the end, as a part of the best loss
    k = x.shape[1]
    best = torch.linalg.lstsq(x, y[:,None]).solution[:,0]
    m = -best[:,None]
    M = (m*m.T).reshape(k*k, 1)
    for lr, bs, steps in phases:
        H, _, A, T, D, C = _step_map(x, y, lr, bs, True)
        A, T, D, C = A.reshape(k, k), T.reshape(k*k, k*k), D.reshape(k*k, k), C.reshape(k*k, 1)
        for _ in range(steps): M, m = T@M + D@m + C, A@m
    return ((M[:,0]@(x.T@x/len(x)).flatten())/mse(x@best, y)).item()

@check.add
def plan(f):
    x, y = [t.double() for t in airfoil()]
    got = f(x.clone(), y.clone())
    refuse(got is None, 'it returns nothing: no `return`?')
    refuse(not isinstance(got, (tuple, list)) or len(got) != 3, 'three things, please: your guess, the phases, and the excess you measured')
    guess, phases, measured = got
    try:
        phases = [(float(lr), int(bs), int(steps)) for lr, bs, steps in phases]
        guess, measured = float(guess), float(measured)
    except (TypeError, ValueError): raise Wrong('the guess and the excess are numbers, and a phase is (rate, rows in a batch, steps)')
    refuse(not phases or any(not 0 < lr < math.inf or bs < 1 or steps < 0 for lr, bs, steps in phases), 'a phase is (rate, rows in a batch, steps), with a rate above 0 and at least one row')
    rows, steps = sum(bs*s for _, bs, s in phases), sum(s for *_, s in phases)
    refuse(rows > len(x), f'your plan reads {rows:,} rows, more than an epoch')
    end = arrives(x, y, phases)
    refuse(not end < 1.1, 'your plan explodes, or gets nowhere: on average it ends no lower than it starts')
    refuse(end > 0.01, f'after {rows:,} rows it ends at an excess of {end:.2%} on average, above 1 %')
    refuse(abs(measured/end/100 - 1) < 0.3, 'the excess as a part of the best loss, please, not in percent of it')
    refuse(not abs(measured/end - 1) < 0.2, f'your plan arrives, but what you measured is {measured:.2%}, and the mean is {end:.2%} of the best loss. Over how many runs? Drawn with replacement?')
    return f'your guess was {guess:,.0f} rows; your plan reads {rows:,}, in {steps:,} steps'
