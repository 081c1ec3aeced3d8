# %% [markdown]
# # Minibatches: your turn
# > Five exercises for [02 minibatch](../02_minibatch.ipynb), about two hours in all.

# %%
import math, torch
from minisgd.data import line
from minisgd.gd import mse
from minisgd.minibatch import minibatches, sgd
from minisgd.checks.minibatch import check

# %% check
import math, torch
from ..data import line
from ..gd import mse
from ..minibatch import minibatches, sgd

# %% [markdown]
# ## 1. The loss of all rows
# (Ten minutes.) `sgd` hands all rows to the loss function when it reports. What if they don't fit into memory at once? Take the loss of all rows in order, no more than `bs` of them at a time, for any loss function that is a mean over its rows. There's nothing to train, so nothing should be recorded for `backward`.
# <details><summary>Hint</summary>
#
# With 7 rows in batches of 3, how much should the last batch count?
# </details>

# %% solution
def loss_of_all(loss_fn, # loss_fn(params, xb, yb) -> scalar, a mean over its rows
                params,  # a tensor, perhaps one that requires a gradient
                x, y,    # n rows of data, and their targets
                bs       # rows at a time
               ):        # the mean over all n rows
    "The loss over all rows, with at most `bs` of them in memory."
    total = 0.
    with torch.no_grad():
        for i in minibatches(len(x), bs, shuffle=False):
            total += loss_fn(params, x[i], y[i]).item()*len(i)
    return total/len(x)

# %% wrong: mean of the batches
def loss_of_all(loss_fn, params, x, y, bs):
    with torch.no_grad():
        losses = [loss_fn(params, x[i], y[i]) for i in minibatches(len(x), bs, False)]
    return torch.stack(losses).mean().item()

# %% wrong: short last batch is missing
def loss_of_all(loss_fn, params, x, y, bs):
    total, n = 0., len(x)//bs*bs
    with torch.no_grad():
        for k in range(0, n, bs): total += loss_fn(params, x[k:k+bs], y[k:k+bs]).item()*bs
    return total/n if n else 0.

# %% wrong: as if it were full
def loss_of_all(loss_fn, params, x, y, bs):
    total = 0.
    with torch.no_grad():
        for i in minibatches(len(x), bs, False): total += loss_fn(params, x[i], y[i]).item()*bs
    return total/len(x)

# %% wrong: in another order
def loss_of_all(loss_fn, params, x, y, bs):
    total = 0.
    with torch.no_grad():
        for i in minibatches(len(x), bs):
            total += loss_fn(params, x[i], y[i]).item()*len(i)
    return total/len(x)

# %% wrong: outlives your function
def loss_of_all(loss_fn, params, x, y, bs):
    torch.set_grad_enabled(False)
    parts = [loss_fn(params, x[i], y[i])*len(i) for i in minibatches(len(x), bs, False)]
    return sum(parts).item()/len(x)

# %% wrong: at once
def loss_of_all(loss_fn, params, x, y, bs):
    with torch.no_grad(): return loss_fn(params, x, y).item()

# %% wrong: recorded
def loss_of_all(loss_fn, params, x, y, bs):
    total = 0.
    for i in minibatches(len(x), bs, False): total += loss_fn(params, x[i], y[i])*len(i)
    return total/len(x)

# %% check
@check.add
@torch.enable_grad()
def loss_of_all(f):
    def square(w, xb, yb): return mse(xb@w, yb)
    def absolute(w, xb, yb): return (xb@w - yb).abs().mean()
    def sums(loss_fn, w, x, y, bs, last=True): # of each batch, and how many rows it has
        parts = [i for i in minibatches(len(x), bs, False) if last or len(i) == bs]
        return [(loss_fn(w, x[i], y[i]).item()*len(i), len(i)) for i in parts]
    for seed, n, k, bs, loss in (0, 3, 1, 2, square), (1, 7, 2, 3, square), (2, 8, 2, 4, absolute), (3, 5, 3, 9, square), (4, 4, 1, 1, absolute), (5, 11, 2, 5, square):
        g = torch.Generator().manual_seed(seed)
        x, y = [torch.randint(-9, 10, shape, generator=g).double() for shape in ((n, k), (n,))]
        w = torch.ones(k, dtype=torch.float64, requires_grad=seed > 0)
        if seed == 0: x, y = torch.tensor([[1.], [2.], [3.]]), torch.tensor([0., 0., 0.]); w = torch.ones(1)
        came = []
        def loss_fn(params, xb, yb):
            came.extend(xb.tolist())
            refuse(len(xb) > bs, f'{len(xb)} rows at once, where only {bs} fit into memory')
            out = loss(params, xb, yb)
            if torch.is_tensor(params): refuse(out.requires_grad, 'the loss is recorded for `backward`, which costs memory and is not needed: `with torch.no_grad()`')
            return out
        loss_fn.__name__ = loss.__name__
        def weighed(args, kind):
            parts = sums(*args, last=kind != 'full')
            total, rows = sum(s for s, _ in parts), sum(m for _, m in parts)
            if kind == 'full': return total/rows if rows else 0.
            if kind == 'mean': return sum(s/m for s, m in parts)/len(parts)
            if kind == 'as full': return sum(s/m*bs for s, m in parts)/n
            if kind == 'sum': return sum(s/m for s, m in parts)
            if kind == 'rows': return total
            if kind == 'dropped': return sum(s for s, m in parts if m == bs)/n
            if kind == 'batches': return total/len(parts)
        with torch.no_grad():
            right, kinds = loss(w, x, y).item(), {kind: weighed((loss, w, x, y, bs), kind) for kind in ('mean', 'full', 'as full', 'sum', 'rows', 'dropped', 'batches')}
        ask(f, loss_fn, w, x, y, bs, expect=right, mistakes={
            'the mean of the batches\' means: the rows of the short last batch count for more than the others': kinds['mean'],
            'the short last batch is missing': kinds['full'],
            'the short last batch is missing in the sum, but its rows are counted': kinds['dropped'],
            'the short last batch counts as if it were full': kinds['as full'],
            'that is the sum of the batches\' means': kinds['sum'],
            'that is the sum over the rows; divide by how many there are': kinds['rows'],
            'divided by how many batches there are; you have summed over rows': kinds['batches']})
        refuse(not torch.is_grad_enabled(), 'nothing is recorded afterwards either: `set_grad_enabled(False)` outlives your function; use `with`')
        refuse(came != x.tolist(), 'the number is right, but the rows come in another order: without `shuffle=False` `minibatches` draws one')
    w = torch.ones(2, requires_grad=True)
    f(square, w, torch.ones(3, 2), torch.ones(3), 2)
    refuse(not w.requires_grad, 'it changes its argument: afterwards `params` requires no gradient any more')
    return 'and when `bs` divides n, the mean of the means is right: a test on such numbers shows nothing'

# %% [markdown]
# ## 2. As few rows as will do
# (Fifteen minutes.) You know the spread $S$ of a single row's gradient, and you want a batch, dealt without replacement from $n$ rows, whose spread is at most $s$. How many rows must it have?
#
# Predict first: for a tenth of $S$, how many of 1,500 rows do you need? And of 1,500 *million*?
# <details><summary>Hint</summary>
#
# Set the exact formula of the notebook equal to $s^2$, and solve for $b$. Half a row is not for sale.
# </details>

# %% solution
def rows_needed(n,      # rows in the data, at least 2
                single, # S: the spread of the gradient of single rows
                spread  # at most this much for the batch, above 0
               ):       # the smallest batch size that does it, a whole number
    "Rows in the smallest dealt batch whose gradient scatters no more than `spread`."
    ratio = (single/spread)**2
    return max(1, math.ceil(ratio*n/(n - 1 + ratio)))

# %% wrong: with replacement
def rows_needed(n, single, spread): return math.ceil((single/spread)**2)

# %% wrong: round up
def rows_needed(n, single, spread):
    ratio = (single/spread)**2
    return int(ratio*n/(n - 1 + ratio))

# %% wrong: one row too many
def rows_needed(n, single, spread):
    ratio = (single/spread)**2
    return int(ratio*n/(n - 1 + ratio)) + 1

# %% wrong: square
def rows_needed(n, single, spread):
    ratio = single/spread
    return math.ceil(ratio*n/(n - 1 + ratio))

# %% wrong: the root of the rows
def rows_needed(n, single, spread):
    return next(b for b in range(1, n + 1) if single/b <= spread)

# %% check
@check.add
def rows_needed(f):
    def exact(n, single, spread, power=2):
        ratio = (single/spread)**power
        return ratio*n/(n - 1 + ratio)
    def least(b): return max(1, math.ceil(b))
    for numbers in ((20, 1., 0.3), (10, 1., 0.4), (2, 3., 2.), (1500, 1., 0.1), (1500, 2.5, 0.3), (150, 2., 0.01),
                    (7, 0.5, 0.6), (9, 1., 0.25), (12, 2., 2.), (1_500_000_000, 1., 0.0999), (40, 5., 3.)):
        got = ask(f, *numbers, expect=lambda *a: least(exact(*a)), tol=1e-12, mistakes={
            'that is for rows drawn with replacement; dealt ones need fewer': lambda n, single, spread: math.ceil((single/spread)**2),
            'with replacement, and not rounded up': lambda n, single, spread: int((single/spread)**2),
            'n where n−1 should be': lambda n, single, spread: least((single/spread)**2*n/(n + (single/spread)**2)),
            'round up, because fewer rows scatter more': lambda *a: int(exact(*a)),
            'round up to a whole row': exact,
            'one row too many: rounding up leaves a whole number as it is': lambda *a: int(least(exact(*a))) + 1,
            'round up: the nearest whole number may be too few': lambda *a: round(exact(*a)),
            'the formula holds for the square of the spread': lambda *a: least(exact(*a, power=1)),
            'the spread shrinks only with the root of the rows': lambda n, single, spread: min(n, least(single/spread)),
            'a batch has at least one row': lambda *a: 0})
    return 'for a tenth of the spread it takes 94 rows of 1,500, and 100 of 1,500 million: the batch counts, hardly the data'

# %% [markdown]
# ## 3. The last row
# (Twenty minutes.) Draw rows with replacement. One epoch misses $1/e$ of them. After how many *draws*, on average, has each of 1,500 rows come at least once? Say a number of epochs before you go on. Then find the average for any $n$, exactly, and compare it with `draws_it_took`.
# <details><summary>Hint</summary>
#
# When $k$ rows are still missing, how likely is it that the next draw brings one of them? And how many draws does it take, on average, until something happens that has probability $p$ at each?
# </details>

# %%
def draws_it_took(n, generator=None):
    "One trial: draw until each of `n` rows has come."
    missing, draws = set(range(n)), 0
    while missing:
        for row in torch.randint(n, (n,), generator=generator).tolist():
            draws += 1
            missing.discard(row)
            if not missing: break
    return draws

# %% solution
def draws_for_all(n # rows in the data
                 ): # the average number of draws
    "How many draws with replacement it takes, on average, until each row has come."
    return float(sum(n/k for k in range(1, n + 1)))

# %% wrong: epochs
def draws_for_all(n): return sum(1/k for k in range(1, n + 1))

# %% wrong: large n
def draws_for_all(n): return n*math.log(n)

# %% wrong: one of them is still missing
def draws_for_all(n): return sum(n/k for k in range(2, n + 1))

# %% wrong: nothing to round
def draws_for_all(n): return float(sum(math.ceil(n/k) for k in range(1, n + 1)))

# %% wrong: a single trial
def draws_for_all(n): return float(draws_it_took(n))

# %% check
@check.add
def draws_for_all(f):
    def exact(n, first=1): return sum(n/k for k in range(first, n + 1))
    for n in 3, 2, 1, 10, 137, 1500:
        got = f(n)
        refuse(got is None, 'it returns nothing: no `return`?')
        said = f'\n  draws_for_all({n}) gave {brief(got)}; expected {brief(exact(n))}'
        refuse(n > 1 and alike(got, exact(n)/n), 'that is in epochs, and draws are asked for' + said)
        refuse(n > 1 and (alike(got, exact(n, 2)) or alike(got, exact(n) - 1)), 'on average one of them is still missing then, or you have left out a draw' + said)
        refuse(n > 1 and alike(got, n*math.log(n)), 'n log n is too few even for large n: there the rest is 0.577 n' + said)
        refuse(n == 1 and not alike(got, 1.), 'a single row takes a single draw' + said)
        refuse(alike(got, sum(-(-n//k) for k in range(1, n + 1))) and not alike(got, exact(n)), 'on average you wait a fraction of a draw, too: nothing to round' + said)
        refuse(n > 3 and alike(got, n*math.ceil(exact(n)/n)), 'whole epochs; it may happen in the midst of one' + said)
        refuse(not alike(got, exact(n), 1e-4), 'the average can be had exactly, for small n, too; is this a single trial, a mean of some, or a formula for large n?' + said)
    return '1,500 rows take nearly eight epochs, and the last missing row takes one of them alone'

# %% [markdown]
# ## 4. Sabotage
# (Twenty-five minutes.) Now break it. The epoch is one of `spoiled`: single rows at the rate 0.1, from weights of zero. A random order typically ends a tenth above the best loss. You may choose the order, each row once: make it end at least *twenty times* the best loss above it! `check` tries you on four lines that rise and fall.
#
# Which order did you expect to be worst? And why is the same one, read backwards, so much less harmful?
# <details><summary>Hint</summary>
#
# Try to sort by something. At the end, which rows has it not met for a long time, and what would they have told it?
# </details>

# %%
def spoiled(x, y, order, lr=0.1):
    "How far the loss ends above the best, in multiples of the best."
    best = torch.linalg.lstsq(x, y[:,None]).solution[:,0]
    def loss(w, xb, yb): return mse(xb@w, yb)
    w = torch.zeros(2)
    losses = sgd(loss, w, x[order], y[order], lr, bs=1, epochs=1, shuffle=False)
    return losses[1]/loss(best, x, y).item() - 1

x, y = line()
print(f'as the rows come, {spoiled(x, y, torch.arange(100)):.1f} times')

# %% solution
def worst_order(x, # (n, 2), a number and a one
                y  # (n,), on a line with noise
               ):  # (n,) the row numbers, each once, in an order that does harm
    "An order of the rows that spoils an epoch of single rows."
    orders = [i for t in (x[:,0], y) for i in (t.argsort(), t.argsort(descending=True))]
    return max(orders, key=lambda order: spoiled(x, y, order))

# %% wrong: Read backwards
def worst_order(x, y): return x[:,0].argsort()

# %% wrong: at random
def worst_order(x, y): return torch.randperm(len(x))

# %% wrong: more than once
def worst_order(x, y): return torch.full((len(x),), y.argmax().item())

# %% wrong: these are ranks
def worst_order(x, y): return y.argsort().argsort()

# %% wrong: values, and row numbers
def worst_order(x, y): return y.sort().values

# %% check
@check.add
def worst_order(f):
    def end(x, y, order):
        best = torch.linalg.lstsq(x, y[:,None]).solution[:,0]
        def loss(w, xb, yb): return mse(xb@w, yb)
        return sgd(loss, torch.zeros(2), x[order], y[order], 0.1, 1, 1, shuffle=False)[1]/loss(best, x, y).item() - 1
    for a, seed in ((3., 2.), 42), ((-3., 2.), 5), ((2., 3.), 6), ((3., -3.), 7):
        x, y = line(a=a, seed=seed)
        got = f(x.clone(), y.clone())
        refuse(got is None, 'it returns nothing: no `return`?')
        order = torch.as_tensor(got)
        refuse(order.shape != (100,), f'100 row numbers, please, not shape {[*order.shape]}')
        refuse(order.is_floating_point() and not torch.equal(order, order.round()), 'these are values, and row numbers are wanted: `argsort`, not `sort`')
        order = order.long()
        refuse(order.sort().values.ne(torch.arange(100)).any(), f'not each row once: {100 - len(order.unique())} of the 100 never come, and others come more than once')
        with_a = f'slope {a[0]:g}, intercept {a[1]:g}: '
        high = end(x, y, order)
        if high >= 20: continue
        back = end(x, y, order.flip(0))
        mixed = max(end(x, y, torch.randperm(100, generator=torch.Generator().manual_seed(s))) for s in range(5))
        why = (', no worse than an order at random may be' if high <= mixed else '. Read backwards, your order would do it' if back >= 20
               else ': these are ranks, the place of each row. Which row is in each place? `argsort` once, not twice' if end(x, y, order.argsort()) >= 20
               else ', which is harm, but not enough')
        raise Wrong(f'{with_a}it ends {high:.2g} times the best loss above it{why}; at least twenty times is wanted, on any of four lines')
    return 'rows from one end of the line tell only the sum of slope and intercept, or the difference; a mixed order tells both'

# %% [markdown]
# ## 5. How high does it hover? (open)
# (An hour.) Single rows at a constant rate never come to rest: the loss hovers above the best. How high, on average over many steps? (The loss is `mse`, without a half.) Find a formula from what one-row gradients look like *at the bottom*, and return its prediction with a measurement of yours. The rows are drawn with replacement. `check` wants a measurement within a tenth, a prediction within a factor of one and a half, on four lines and rates.
#
# First write down three guesses. Halve the rate: is it half as high, a quarter, or no lower? Halve the noise? And with *no* noise at all?
# <details><summary>Hint</summary>
#
# In one parabola of curvature $\lambda$, a step multiplies the distance by $1-\eta\lambda$ and adds $\eta$ times a random error. When the mean *square* of the distance no longer changes, what is it? (Leave out the $\eta^2\lambda^2$.) What's the loss there, and what has become of $\lambda$?
# </details>
# <details><summary>Second hint</summary>
#
# To measure, walk a thousand walks at once: `w` of shape (1000, 2), and a row of its own for each at every step. Skip the first few hundred steps.
# </details>

# %% solution
def hover(x, y, # (n, 2) and (n,), a line with noise
          lr    # constant rate of one-row steps
         ):     # mean loss above the best, in the end: predicted, measured
    "How far above the best loss the steps of single rows stay."
    bottom = torch.linalg.lstsq(x, y[:,None]).solution.flatten()
    rows = 2*(x@bottom - y)[:,None]*x
    predicted = lr/4*rows.square().sum(1).mean().item()    # a quarter of lr·spread²
    w, hessian, above = bottom.repeat(1000, 1), 2*x.T@x/len(x), []
    for step in range(600):
        i = torch.randint(len(x), (1000,))
        w = w - lr*2*((w*x[i]).sum(1) - y[i])[:,None]*x[i]
        away = w - bottom
        if step >= 200: above.append(((away@hessian)*away).sum(1).mean().item()/2)
    return predicted, sum(above)/len(above)

# %% wrong: what you measured
def hover(x, y, lr):
    best = torch.linalg.lstsq(x, y[:,None]).solution[:,0]
    low = mse(x@best, y).item()
    return lr*low*4/3, low + lr*low*4/3

# %% wrong: half, a quarter
def hover(x, y, lr):
    w = torch.linalg.lstsq(x, y[:,None]).solution[:,0]
    best, rows = w, 2*(x@w - y)[:,None]*x
    w, hessian, above = best.repeat(1000, 1), 2*x.T@x/len(x), []
    for step in range(600):
        i = torch.randint(len(x), (1000,))
        w = w - lr*2*((w*x[i]).sum(1) - y[i])[:,None]*x[i]
        if step >= 200: above.append((((w - best)@hessian)*(w - best)).sum(1).mean().item()/2)
    return 3*lr**2*rows.square().sum(1).mean().item(), sum(above)/len(above)

# %% wrong: those at the bottom
def hover(x, y, lr):
    best = torch.linalg.lstsq(x, y[:,None]).solution[:,0]
    rows = -2*y[:,None]*x
    w, hessian, above = best.repeat(1000, 1), 2*x.T@x/len(x), []
    for step in range(600):
        i = torch.randint(len(x), (1000,))
        w = w - lr*2*((w*x[i]).sum(1) - y[i])[:,None]*x[i]
        if step >= 200: above.append((((w - best)@hessian)*(w - best)).sum(1).mean().item()/2)
    return lr*(rows - rows.mean(0)).square().sum(1).mean().item()/4, sum(above)/len(above)

# %% check
def stays(x, y, lr): # exactly: where the second moment of the distance no longer changes
    best = torch.linalg.lstsq(x, y[:,None]).solution[:,0]
    moves = torch.eye(2, dtype=x.dtype) - 2*lr*x[:,:,None]*x[:,None]
    carry = torch.stack([torch.kron(m, m) for m in moves]).mean(0)
    rows = 2*(x@best - y)[:,None]*x
    moment = torch.linalg.solve(torch.eye(4, dtype=x.dtype) - carry, lr**2*(rows.T@rows/len(x)).flatten())
    return (x.T@x/len(x)).flatten()@moment

@check.add
def hover(f):
    off = []
    for noise, lr, seed, n in (1., 0.1, 42, 100), (1., 0.05, 42, 100), (0.5, 0.1, 3, 37), (0., 0.1, 4, 100):
        x, y = line(n, noise=noise, seed=seed)
        truth = stays(x.double(), y.double(), lr).item()
        got = f(x.clone(), y.clone(), lr)
        if torch.is_tensor(got): got = got.tolist()
        refuse(not isinstance(got, (tuple, list)) or len(got) != 2, 'two numbers, please: predicted and measured')
        predicted, measured = map(float, got)
        here = f'noise {noise:g}, rate {lr:g}: '
        if noise == 0:
            refuse(abs(measured) > 1e-5, f'{here}you measured {measured:.3g}; the rows agree, so it comes to rest at zero (did you skip the first steps?)')
            refuse(abs(predicted) > 1e-6, f'{here}you predicted {predicted:.3g}, and it is zero: without noise each row has its bottom at the same place')
            continue
        best = torch.linalg.lstsq(x, y[:,None]).solution[:,0]
        low = mse(x@best, y).item()
        refuse(abs(measured/(truth + low) - 1) < 0.1 and abs(measured/truth - 1) > 0.1, f'{here}what you measured, {measured:.3g}, is the loss; how far above the best is it?')
        refuse(abs(measured/(truth/low) - 1) < 0.1, f'{here}what you measured, {measured:.3g}, is a multiple of the best loss; the difference is wanted')
        if not off: refuse(abs(measured/(2*truth) - 1) < 0.1 or abs(measured/(truth/2) - 1) < 0.1, f'{here}you measured {measured:.3g}, {"twice" if measured > truth else "half"} as much as it is; the loss here is the mean squared error, without a half')
        refuse(abs(measured/truth - 1) > 0.1, f'{here}you measured {measured:.3g}; calculated exactly it is {truth:.3g} (many walks at this rate, each with rows of its own, drawn with replacement, and without the way there?)')
        refuse(predicted == measured, f'{here}the same number twice; one is predicted, and the other measured')
        ratio = predicted/truth
        formula = lr/4*(2*(x@best - y)[:,None]*x).square().sum(1).mean().item()
        refuse(abs(predicted/formula - 2) < 0.02, f'{here}you predicted {predicted:.3g}, and it is {truth:.3g}: the loss of a parabola is *half* of λ times the squared distance')
        refuse(abs(predicted/formula - 1/4) < 0.01, f'{here}you predicted {predicted:.3g}, and it is {truth:.3g}: the gradient of a squared error has a 2 in it, and its square a 4')
        refuse(ratio > 5, f'{here}you predicted {predicted:.3g}, and it is {truth:.3g}: are your gradients those at the bottom, and is the rate in it?')
        refuse(not 2/3 < ratio < 3/2, f'{here}you predicted {predicted:.3g}, and it is {truth:.3g}. (Half the rate, half, a quarter or more of the height?)')
        off.append(abs(ratio - 1))
    return f'your predictions are within {10*math.ceil(10*max(off)):.0f} %; half the rate or twice the batch, about half the height; half the noise, a quarter; no noise, none'
