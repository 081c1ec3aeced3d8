# %% [markdown]
# # Gradient descent: your turn
# > Exercises for [01 gd](../01_gd.ipynb).

# %%
import math, torch
from minisgd.data import line, airfoil, airfoil_raw
from minisgd.gd import mse, gd
from minisgd.checks.gd import check

# %% check
import torch
from ..data import airfoil, airfoil_raw
from ..gd import gd, mse

def quadratic(seed, n=3): # a symmetric matrix, and its curvatures, between 0.1 and 3
    g = torch.Generator().manual_seed(seed)
    q = torch.linalg.qr(torch.randn(n, n, generator=g, dtype=torch.float64)).Q
    curvatures = 0.1 + 2.9*torch.rand(n, generator=g, dtype=torch.float64)
    return q@torch.diag(curvatures)@q.T, curvatures

# %% [markdown]
# ## 1. Walk
# (Five minutes.) Write descent for a single number, when somebody has already worked out the slope. Return every point, the start included.
# <details><summary>Hint</summary>
#
# The loop needs three things: the slope *where you are now*, a step against it, and a note of where that led.
# </details>

# %% solution
def walk(slope, # function: the slope of the loss at a number
         w,     # where to start, a float
         lr,    # learning rate
         steps  # how many
        ):      # `steps`+1 points, a list of floats
    "Gradient descent on one parameter."
    path = [w]
    for _ in range(steps):
        w = w - lr*slope(w)
        path.append(w)
    return path

# %% wrong: uphill
def walk(slope, w, lr, steps):
    path = [w]
    for _ in range(steps):
        w = w + lr*slope(w)
        path.append(w)
    return path

# %% wrong: slope of the start
def walk(slope, w, lr, steps):
    path, s = [w], slope(w)
    for _ in range(steps):
        w = w - lr*s
        path.append(w)
    return path

# %% wrong: the start is missing
def walk(slope, w, lr, steps):
    path = []
    for _ in range(steps):
        w = w - lr*slope(w)
        path.append(w)
    return path

# %% wrong: returns nothing
def walk(slope, w, lr, steps):
    for _ in range(steps): w = w - lr*slope(w)

# %% check
def _walk(slope, w, lr, steps):
    path = [w]
    for _ in range(steps): path.append(path[-1] - lr*slope(path[-1]))
    return path

@check.add
def walk(f):
    def twice(w): return 2*w
    def cubed(w): return w**3 - 1
    for slope, w, lr, steps in (twice, 1., 0.1, 3), (cubed, 2., 0.05, 6), (twice, -3., 0.7, 1), (twice, 2., 0.1, 0):
        ask(f, slope, w, lr, steps, expect=_walk, mistakes={
            'it goes uphill': lambda s, w, lr, n: _walk(s, w, -lr, n),
            'it takes every step along the slope of the start': lambda s, w, lr, n: [w - i*lr*s(w) for i in range(n+1)],
            'the start is missing': lambda *a: _walk(*a)[1:],
            'the last point is missing': lambda *a: _walk(*a)[:-1],
            'a step of `lr` whatever the slope': lambda s, w, lr, n: [w - i*lr*(1 if s(w) > 0 else -1) for i in range(n+1)]})

# %% [markdown]
# ## 2. Read off a curvature
# (Ten minutes.) One step at the rate 0.1 takes the loss of a parabola from 1 to 0.64. You don't know its curvature, but two curvatures fit. Which? Write it for any rate and any two losses.
#
# How would you find out which of the two it was, without another step?
# <details><summary>Hint</summary>
#
# A step multiplies the *distance* by $1-\text{lr}\,\lambda$. What does it do to the loss, and which two numbers have the same square?
# </details>

# %% solution
def curvatures(before, # the loss at the start
               after,  # the loss after one step
               lr      # the rate of that step
              ):       # two curvatures, the smaller first
    "The curvatures of a parabola whose loss a step took from `before` to `after`."
    factor = math.sqrt(after/before)
    return (1 - factor)/lr, (1 + factor)/lr

# %% wrong: square root
def curvatures(before, after, lr):
    return (1 - after/before)/lr, (1 + after/before)/lr

# %% wrong: the smaller first
def curvatures(before, after, lr):
    factor = math.sqrt(after/before)
    return (1 + factor)/lr, (1 - factor)/lr

# %% wrong: after over before
def curvatures(before, after, lr):
    factor = math.sqrt(before/after)
    return (1 - factor)/lr, (1 + factor)/lr

# %% check
@check.add
def curvatures(f):
    def right(b, a, lr, power=0.5): return (1 - (a/b)**power)/lr, (1 + (a/b)**power)/lr
    for numbers in (1., 0.64, 0.1), (8., 2., 0.5), (3., 3.63, 0.02):
        ask(f, *numbers, expect=right, mistakes={
            'the loss goes with the square of the distance: where is the square root?': lambda *a: right(*a, power=1),
            'the smaller first, please': lambda *a: right(*a)[::-1],
            'the factor is what is left: after over before': lambda *a: right(*a, power=-0.5)})
    return 'creeping or bouncing, the loss is the same; on which side of the bottom you are tells them apart'

# %% [markdown]
# ## 3. A rate for each step
# (Twenty minutes.) With one rate, a bowl of two curvatures takes forever to reach its bottom exactly. With two rates in turn, two steps do it, from anywhere! Which? And for five curvatures? Check it on the bowl below: five steps, in any order.
# <details><summary>Hint</summary>
#
# A step multiplies the distance along *each* direction by its own $1-\text{lr}\,\lambda$. Once a distance is zero, it stays zero.
# </details>

# %% solution
def rates(curvatures # a tensor of curvatures
         ):          # as many learning rates
    "Learning rates that reach the bottom of a bowl, one step for each."
    return 1/curvatures

# %% wrong: explode
def rates(curvatures): return 2/curvatures

# %% wrong: all the same
def rates(curvatures):
    return torch.full_like(curvatures, (2/(curvatures.min() + curvatures.max())).item())

# %% check
@check.add
def rates(f):
    for seed, n in (0, 2), (1, 3), (2, 5):
        h, curvatures = quadratic(seed, n)
        got = f(curvatures.clone())
        refuse(got is None, 'it returns nothing: no `return`?')
        got = torch.as_tensor(got, dtype=torch.float64)
        refuse(got.shape != (n,), f'{n} curvatures need {n} rates, not shape {[*got.shape]}')
        refuse(n > 1 and got.std() < 1e-9, 'all the same: one rate cannot suit two curvatures')
        w = torch.ones(n, dtype=torch.float64)
        for lr in got.flip(0): w = w - lr*h@w
        refuse(alike(got, 2/curvatures), 'these are the rates at which each direction begins to explode')
        refuse(w.norm() > 1e-6, f'after {n} steps the distance to the bottom is still {w.norm():.2g}')
    return 'so why does nobody train networks like that? Who would tell you their curvatures?'

# %% [markdown]
# Here is the bowl of airfoil. Once `check` agrees, give `five_steps` your `rates(c)`, and a shuffled copy of them, `rates(c)[torch.randperm(5)]`: the lowest loss there is, 0.2417, in five steps.

# %%
x, y = (t.double() for t in airfoil())
c = torch.linalg.eigvalsh(x.T@x/len(x))

def five_steps(rates):
    w = torch.zeros(5, dtype=torch.float64)
    for lr in rates.tolist(): w = w - lr*x.T@(x@w - y)/len(x)
    return mse(x@w, y).item()/2

round(five_steps(torch.full((5,), 0.88)), 3)      # one rate for all, the best one

# %% [markdown]
# ## 4. Half a standardising
# (Fifteen minutes.) Divide the five raw columns of airfoil by their standard deviations, but keep the means. Predict first: is $\kappa$ nearer to 12 or to $10^{11}$? Is the lowest loss 0.242, or 0.277? Then measure both. (The target is `y`, standardised; the loss is half the mean squared error.)
# <details><summary>Hint</summary>
#
# Without an intercept, what can a column with a mean do that one without can't?
# </details>

# %% solution
def half_standardised(raw, # (n, 5), columns in their own units
                      y    # (n,), standardised
                     ):    # the condition number, and the lowest loss: two floats
    "What dividing by the standard deviation alone does for a linear model."
    a = raw/raw.std(0, correction=0)
    low, *_, high = torch.linalg.eigvalsh(a.T@a/len(a))
    w = torch.linalg.lstsq(a, y[:,None]).solution[:,0]
    return (high/low).item(), (mse(a@w, y)/2).item()

# %% wrong: took the means out
def half_standardised(raw, y):
    a = (raw - raw.mean(0))/raw.std(0, correction=0)
    low, *_, high = torch.linalg.eigvalsh(a.T@a/len(a))
    w = torch.linalg.lstsq(a, y[:,None]).solution[:,0]
    return (high/low).item(), (mse(a@w, y)/2).item()

# %% wrong: half the mean squared error
def half_standardised(raw, y):
    a = raw/raw.std(0, correction=0)
    low, *_, high = torch.linalg.eigvalsh(a.T@a/len(a))
    w = torch.linalg.lstsq(a, y[:,None]).solution[:,0]
    return (high/low).item(), mse(a@w, y).item()

# %% wrong: raw columns
def half_standardised(raw, y):
    a = raw
    low, *_, high = torch.linalg.eigvalsh(a.T@a/len(a))
    w = torch.linalg.lstsq(a, y[:,None]).solution[:,0]
    return (high/low).item(), (mse(a@w, y)/2).item()

# %% check
def bowl(a, y): # condition number and lowest loss
    low, *_, high = torch.linalg.eigvalsh(a.T@a/len(a))
    return (high/low).item(), (mse(a@torch.linalg.lstsq(a, y[:,None]).solution[:,0], y)/2).item()

@check.add
def half_standardised(f):
    raw = airfoil_raw()
    z = (raw - raw.mean(0))/raw.std(0, correction=0)
    a, y = raw[:,:5]/raw[:,:5].std(0, correction=0), z[:,5]
    kappa, low = bowl(a, y)
    ask(f, raw[:,:5], y, expect=(kappa, low), tol=1e-3, mistakes={
        'you took the means out, too': bowl(z[:,:5], y), 'those are the raw columns': bowl(raw[:,:5], y),
        'the loss is half the mean squared error': (kappa, 2*low)})
    return f'the divisor shapes the bowl (κ {kappa:.0f}); the floor needs the means'

# %% [markdown]
# ## 5. When does it show? (open)
# (Half an hour.) At the rate 1 the loss of airfoil fell for six steps, and rose a thousandfold only much later. From a start of zero, predict from curvatures and directions *at which step the loss first exceeds 1*. Then run `gd` and measure. Return both; `check` measures too, from three other starts.
#
# Can you predict it without adding up all five directions?

# %% solution
def shows_at(x, y, # a linear model's rows and targets
             w,    # where it starts
             lr    # past the limit
            ):     # two whole numbers: the predicted step, and the measured
    "The first step at which half the mean squared error exceeds 1."
    curvature, direction = torch.linalg.eigh(x.T@x/len(x))
    best = torch.linalg.lstsq(x, y[:,None]).solution[:,0]
    floor, away = mse(x@best, y)/2, (w - best)@direction
    sharpest = curvature[-1]*away[-1]**2/2            # its share of the excess
    growth = (1 - lr*curvature[-1])**2                # of that excess, in a step
    predicted = torch.log((1 - floor)/sharpest)/torch.log(growth)
    losses = gd(lambda w: mse(x@w, y)/2, w.clone(), lr, steps=200)
    measured = next(i for i, l in enumerate(losses) if l > 1)
    return math.ceil(predicted), measured

# %% wrong: what you measured
def shows_at(x, y, w, lr):
    losses = gd(lambda w: mse(x@w, y)/2, w.clone(), lr, steps=200)
    return 0, min(range(201), key=losses.__getitem__)

# %% wrong: nowhere near
def shows_at(x, y, w, lr):
    losses = gd(lambda w: mse(x@w, y)/2, w.clone(), lr, steps=200)
    return 0, next(i for i, l in enumerate(losses) if l > 1)

# %% check
@check.add
def shows_at(f):
    x, y = (t.double() for t in airfoil())
    off = []
    for seed in range(4):
        g = torch.Generator().manual_seed(seed)
        w = 0.1*torch.randn(5, generator=g, dtype=torch.float64) if seed else torch.zeros(5, dtype=torch.float64)
        losses = gd(lambda w: mse(x@w, y)/2, w.clone(), 1., 200)
        at = next(i for i, l in enumerate(losses) if l > 1)
        got = f(x.clone(), y.clone(), w.clone(), 1.)
        refuse(got is None or len(got) != 2, 'two numbers, please: predicted and measured')
        refuse(got[1] != at, f'what you measured is step {got[1]}; the loss first exceeds 1 at step {at}')
        off.append(abs(got[0] - at))
    refuse(max(off) > 15, f'nowhere near: your prediction is {max(off)} steps off, from one of four starts')
    return f'your predictions are at most {max(off)} steps off'
