# %% [markdown]
# # Gradient descent: your turn
# > Six exercises for [01 gd](../01_gd.ipynb), nearly two hours in all.

# %%
import math, torch
from minisgd.data import line, airfoil, airfoil_raw
from minisgd.gd import mse, gd
from minisgd.checks.gd import check

# %% check
import math, torch
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

# %% wrong: the last point is missing
def walk(slope, w, lr, steps):
    path = []
    for _ in range(steps):
        path.append(w)
        w = w - lr*slope(w)
    return path

# %% wrong: stops where the slope
def walk(slope, w, lr, steps):
    path = [w]
    for _ in range(steps):
        if abs(slope(w)) < 1e-6: break
        w = w - lr*slope(w)
        path.append(w)
    return path

# %% wrong: points of earlier calls
def walk(slope, w, lr, steps, path=[]):
    path.append(w)
    for _ in range(steps):
        w = w - lr*slope(w)
        path.append(w)
    return path

# %% wrong: whatever the slope
def walk(slope, w, lr, steps):
    path = [w]
    for _ in range(steps): path.append(path[-1] - math.copysign(lr, slope(path[-1])))
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
    refuse(f(twice, 1., 0.1, 3) is f(twice, 1., 0.1, 3) is not None, 'each call returns the same list, so points of earlier calls are still in it: a default `[]` is made only once')
    for slope, w, lr, steps in (twice, 1., 0.1, 3), (twice, 1., 0.5, 3), (cubed, 2., 0.05, 6), (twice, -3., 0.7, 1), (cubed, 0.5, 0.3, 4), (twice, 2., 0.1, 0):
        ask(f, slope, w, lr, steps, expect=_walk, mistakes={
            'it goes uphill': lambda s, w, lr, n: _walk(s, w, -lr, n),
            'it takes every step along the slope of the start': lambda s, w, lr, n: [w - i*lr*s(w) for i in range(n+1)],
            'the start is missing': lambda *a: _walk(*a)[1:],
            'the last point is missing': lambda *a: _walk(*a)[:-1],
            'it stops where the slope is zero, and `steps`+1 points are promised': lambda *a: _walk(*a)[:2],
            'all points are one and the same tensor, which each step changes': lambda *a: [_walk(*a)[-1]]*(a[-1] + 1),
            'only the last point; all of them are wanted': lambda *a: _walk(*a)[-1],
            'the rate is missing: each step is the whole slope': lambda s, w, lr, n: _walk(s, w, 1, n),
            'a step of `lr` whatever the slope': lambda s, w, lr, n: _walk(lambda w: 1 if s(w) > 0 else -1, w, lr, n)})
    return 'with a gradient for the slope and a tensor for the number, this is the loop of `gd`'

# %% [markdown]
# ## 2. Read off a curvature
# (Ten minutes.) The loss of a parabola is 0 at its bottom, and one step at the rate 0.1 takes it from 1 to 0.64. You don't know its curvature, but two curvatures fit. Which? Write it for any rate and any loss that a step hasn't made worse.
#
# How would you find out which of the two it was, without another step?
# <details><summary>Hint</summary>
#
# A step multiplies the *distance* by $1-\text{lr}\,\lambda$. What does it do to the loss, and which two numbers have the same square?
# </details>

# %% solution
def curvatures(before, # the loss at the start
               after,  # the loss after one step, no larger
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

# %% wrong: what share of the loss
def curvatures(before, after, lr):
    d = math.sqrt(before), math.sqrt(after)
    return (d[0] - d[1])/lr, (d[0] + d[1])/lr

# %% wrong: half as much
def curvatures(before, after, lr):
    factor = math.sqrt(after/before)
    return (1 - factor)/(2*lr), (1 + factor)/(2*lr)

# %% wrong: divide by the rate
def curvatures(before, after, lr):
    factor = math.sqrt(after/before)
    return 1 - factor, 1 + factor

# %% check
@check.add
def curvatures(f):
    def right(b, a, lr, power=0.5):
        factor = (a/b)**power if a else 0.
        return (1 - factor)/lr, (1 + factor)/lr
    for numbers in (1., 0.64, 0.1), (8., 2., 0.5), (3., 2.43, 0.02), (5., 0., 0.25), (0.2, 0.0002, 3.):
        ask(f, *numbers, expect=right, mistakes={
            'the loss goes with the square of the distance: where is the square root?': lambda *a: right(*a, power=1),
            'the loss goes with the square of the distance: a root is wanted, not a square': lambda *a: right(*a, power=2),
            'the smaller first, please': lambda *a: right(*a)[::-1],
            'the factor is what is left: after over before': lambda *a: right(*a, power=-0.5),
            'it is right where the loss was 1; what share of the loss is left?': lambda b, a, lr: ((b**0.5 - a**0.5)/lr, (b**0.5 + a**0.5)/lr),
            'it is right where the loss was 1: take the root of the whole share': lambda b, a, lr: ((1 - a**0.5/b)/lr, (1 + a**0.5/b)/lr),
            'half as much: a parabola of curvature λ has the slope λ times the distance': lambda *a: tuple(c/2 for c in right(*a)),
            'only one of two; which other number has the same square?': lambda *a: right(*a)[0],
            'divide by the rate': lambda b, a, lr: right(b, a, 1),
            'divide by the rate, not multiply': lambda b, a, lr: right(b, a, 1/lr),
            'these are the rates that would have hopped to the bottom': lambda *a: tuple(1/c for c in right(*a) if c)})
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
         ):          # as many learning rates, a tensor
    "Learning rates that reach the bottom of a bowl, one step for each."
    return 1/curvatures

# %% wrong: explode
def rates(curvatures): return 2/curvatures

# %% wrong: spread evenly
def rates(curvatures):
    return 1/torch.linspace(curvatures.min(), curvatures.max(), len(curvatures))

# %% wrong: 3 curvatures need 3 rates
def rates(curvatures): return 1/curvatures.unique()

# %% wrong: still
def rates(curvatures): return 1/curvatures.sqrt()

# %% wrong: all the same
def rates(curvatures):
    return torch.full_like(curvatures, (2/(curvatures.min() + curvatures.max())).item())

# %% check
@check.add
def rates(f):
    same = torch.tensor([2., 0.5, 2.], dtype=torch.float64)
    for h, curvatures in quadratic(0, 2), quadratic(1, 3), quadratic(2, 5), (same.diag(), same):
        n, given = len(curvatures), curvatures.clone()
        got = f(given)
        refuse(got is None, 'it returns nothing: no `return`?')
        refuse(not torch.equal(given, curvatures), 'it changes its argument')
        got = torch.as_tensor(got, dtype=torch.float64)
        refuse(got.shape != (n,), f'{n} curvatures need {n} rates, not shape {[*got.shape]}')
        refuse(n > 1 and got.std() < 1e-9, 'all the same: one rate cannot suit two curvatures')
        w = torch.ones(n, dtype=torch.float64)
        for lr in got.flip(0): w = w - lr*h@w
        refuse(alike(got, 2/curvatures), 'these are the rates at which each direction begins to explode')
        between = torch.linspace(curvatures.min(), curvatures.max(), n, dtype=torch.float64)
        refuse(n > 2 and alike(got.sort().values, (1/between).flip(0)), 'for curvatures that are spread evenly; yours are given')
        missed = max(curvatures, key=lambda c: (1 - got*c).abs().min()) # no rate removes its distance
        refuse(w.norm() > 1e-6, f'after {n} steps the distance to the bottom is still {w.norm():.2g}; which of your rates makes the distance along the curvature {missed:.3g} zero?')
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
# ## 4. Forget it on purpose
# (Twenty-five minutes.) With the zeroing forgotten, the loss swung "like a ball in a bowl without friction". On a parabola, how many steps does one swing take, there and back? And from which rate on does it explode: below the $2/\lambda$ of honest descent, or above? Look at a few of `forgetful`'s paths, then find both from the curvature and the rate. (The number of steps may be a few per cent off.)
# <details><summary>Hint</summary>
#
# The sum of all slopes so far is the *velocity* of the ball, and each slope is a push. School physics: what's the period of a weight on a spring, $\ddot d=-k\,d$? What's $k$, if time is counted in steps?
# </details>
# <details><summary>Second hint</summary>
#
# Three points in a row obey $d_{t+1}=(2-\text{lr}\,\lambda)\,d_t-d_{t-1}$. Put in $d_t=\cos\theta t$. Which $\theta$ does it? And which $\text{lr}\,\lambda$ leave no such $\theta$?
# </details>

# %%
def forgetful(curvature, lr, steps=50):
    "Distances from the bottom of a parabola, when nobody zeroes the gradient."
    d, grad, path = 1., 0., [1.]
    while len(path) <= steps:
        grad += curvature*d    # as `backward` does: it adds
        d -= lr*grad
        path.append(d)
    return path

' '.join(f'{d:.2f}' for d in forgetful(curvature=2., lr=0.1, steps=16))

# %% solution
def swing(curvature, # of a parabola
          lr         # rate of descent that never zeroes its gradient
         ):          # steps of one swing there and back; the rate at which it explodes
    "How descent swings when the gradients are never zeroed."
    return 2*math.pi/math.acos(1 - lr*curvature/2), 4/curvature

# %% wrong: half a swing
def swing(curvature, lr): return math.pi/math.sqrt(lr*curvature), 4/curvature

# %% wrong: limit of honest descent
def swing(curvature, lr): return 2*math.pi/math.sqrt(lr*curvature), 2/curvature

# %% wrong: square root
def swing(curvature, lr): return 2*math.pi/(lr*curvature), 4/curvature

# %% check
@check.add
def swing(f):
    for curvature, lr in (2., 0.1), (1., 0.02), (0.5, 0.6), (30., 0.01):
        got = f(curvature, lr)
        if torch.is_tensor(got): got = got.tolist()
        refuse(not isinstance(got, (tuple, list)) or len(got) != 2, 'two numbers, please: the steps of a swing, and a rate')
        steps, limit = map(float, got)
        k, here = lr*curvature, f'curvature {curvature:g}, rate {lr:g}: '
        right = 2*math.pi/math.acos(1 - k/2)
        def near(number): return abs(steps/number - 1) < 0.03
        said = f'; you have {steps:.3g} steps, and it takes {right:.3g}'
        for words, wrong in [] if near(right) else [
            ('that is half a swing; there and back is wanted', right/2),
            ('that is the way to the bottom, a quarter of a swing', right/4),
            ('a square root is missing', 2*math.pi/k), ('a square root is missing, and once around is 2π', 1/k),
            ('once around is 2π', 1/math.sqrt(k)),
            ('a longer rate makes it swing faster, and so does a sharper bend', 2*math.pi*math.sqrt(k)),
            ('the rate is missing: the time is counted in steps', 2*math.pi/math.sqrt(curvature)),
            ('the curvature is missing', 2*math.pi/math.sqrt(lr)), ('that is swings in a step, and steps in a swing are wanted', 1/right), ('the steps first, please', 4/curvature)]: refuse(near(wrong), f'{here}{words}{said}')
        refuse(not near(right), f'{here}not so{said}')
        refuse(alike(limit, 2/curvature, 1e-3), f'{here}2/λ is the limit of honest descent. Try `forgetful` just above it')
        refuse(alike(limit, 1/curvature, 1e-3), f'{here}1/λ is the best rate of honest descent. Try `forgetful` just above it')
        refuse(curvature != 1 and alike(limit, 4., 1e-3), f'{here}that is the limit of rate times curvature')
        refuse(abs(limit*curvature/4 - 1) > 0.01, f'{here}it does not begin to explode at the rate {limit:.4g}; try `forgetful` a little below and above')
    return 'the bug doubles the limit, and never comes to rest; with a little friction it is called momentum'

# %% [markdown]
# ## 5. Half a standardising
# (Fifteen minutes.) Divide the five raw columns of airfoil by their standard deviations, but keep the means, and add no column of ones. Predict first: is $\kappa$ nearer to 12 or to $10^{11}$? Is the lowest loss 0.242, or 0.277? Then measure both. (The target is `y`, standardised; the loss is half the mean squared error.)
# <details><summary>Hint</summary>
#
# Without an intercept, what can a column with a mean do that one without can't?
# </details>

# %% solution
def half_standardised(raw, # (n, k), columns in their own units
                      y    # (n,), standardised
                     ):    # the condition number, and the lowest loss
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

# %% wrong: a model with an intercept
def half_standardised(raw, y):
    a = raw/raw.std(0, correction=0)
    low, *_, high = torch.linalg.eigvalsh(a.T@a/len(a))
    ones = torch.cat([a, torch.ones_like(a[:,:1])], 1)
    w = torch.linalg.lstsq(ones, y[:,None]).solution[:,0]
    return (high/low).item(), (mse(ones@w, y)/2).item()

# %% wrong: singular values
def half_standardised(raw, y):
    a = raw/raw.std(0, correction=0)
    w = torch.linalg.lstsq(a, y[:,None]).solution[:,0]
    return torch.linalg.cond(a).item(), (mse(a@w, y)/2).item()

# %% wrong: made larger
def half_standardised(raw, y):
    a = raw/raw.square().mean(0).sqrt()
    low, *_, high = torch.linalg.eigvalsh(a.T@a/len(a))
    w = torch.linalg.lstsq(a, y[:,None]).solution[:,0]
    return (high/low).item(), (mse(a@w, y)/2).item()

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
    g = torch.Generator().manual_seed(0)
    other = torch.randn(40, 4, generator=g, dtype=torch.float64)*torch.tensor([1., 20., 3., 1.]) + torch.tensor([2., -5., 1., 0.])
    for t in other, raw:
        x, z = t[:,:-1], (t - t.mean(0))/t.std(0, correction=0)
        y, ones, a = z[:,-1], torch.ones(len(t), 1, dtype=t.dtype), x/x.std(0, correction=0)
        kappa, low = bowl(a, y)
        centred = bowl(z[:,:-1], y)
        ask(f, x, y, expect=(kappa, low), tol=1e-3, mistakes={
            'you took the means out, too': centred, 'those are the raw columns': bowl(x, y),
            'the column of ones is extra: no intercept, please': bowl(torch.cat([a, ones], 1), y),
            'that is the lowest loss of a model with an intercept': (kappa, centred[1]),
            'that is κ without the means, which `cov` and `corrcoef` take out': (centred[0], low),
            'divided by the root of the mean square, which the mean has made larger': bowl(x/x.square().mean(0).sqrt(), y),
            'divided by the variance, not the deviation': bowl(x/x.var(0, correction=0), y),
            'the means are out, but the columns are not divided': bowl(x - x.mean(0), y),
            'the loss is half the mean squared error': (kappa, 2*low),
            'the condition number is largest over smallest': (1/kappa, low),
            'that is the ratio of the singular values; curvatures are their squares': (kappa**0.5, low),
            'the other order, please: the condition number first': (low, kappa)})
    return f'the divisor shapes the bowl (κ {kappa:.0f}); the floor needs the means'

# %% [markdown]
# ## 6. When does it show? (open)
# (Half an hour.) At the rate 1 the loss of airfoil fell for six steps, and rose a thousandfold only much later. From any start `w`, and at any rate past the limit, predict from curvatures and directions *at which step the loss first exceeds 1*. (The start is step 0.) Then run `gd` and measure. Return both. `check` measures too, from zero and from three other starts; your prediction may be fifteen steps off.
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

# %% wrong: count from one
def shows_at(x, y, w, lr):
    losses = gd(lambda w: mse(x@w, y)/2, w.clone(), lr, steps=200)
    return 0, next(i for i, l in enumerate(losses, 1) if l > 1)

# %% wrong: where does your model start
def shows_at(x, y, w, lr):
    losses = gd(lambda w: mse(x@w, y)/2, torch.zeros_like(w), lr, steps=200)
    return 40, next(i for i, l in enumerate(losses) if l > 1)

# %% wrong: the rate here is 1.05
def shows_at(x, y, w, lr):
    losses = gd(lambda w: mse(x@w, y)/2, w.clone(), 1., steps=200)
    at = next(i for i, l in enumerate(losses) if l > 1)
    return at, at

# %% wrong: by the square of the factor
def shows_at(x, y, w, lr):
    curvature, direction = torch.linalg.eigh(x.T@x/len(x))
    best = torch.linalg.lstsq(x, y[:,None]).solution[:,0]
    floor, away = mse(x@best, y)/2, (w - best)@direction
    sharpest, growth = curvature[-1]*away[-1]**2/2, (1 - lr*curvature[-1]).abs()
    losses = gd(lambda w: mse(x@w, y)/2, w.clone(), lr, steps=200)
    measured = next(i for i, l in enumerate(losses) if l > 1)
    return math.ceil(torch.log((1 - floor)/sharpest)/torch.log(growth)), measured

# %% wrong: nowhere near
def shows_at(x, y, w, lr):
    losses = gd(lambda w: mse(x@w, y)/2, w.clone(), lr, steps=200)
    return 0, next(i for i, l in enumerate(losses) if l > 1)

# %% check
@check.add
def shows_at(f):
    x, y = (t.double() for t in airfoil())
    off, ratio = [], []
    def first(w, lr, limit=1.):
        losses = gd(lambda w: mse(x@w, y)/2, w.clone(), lr, 80)
        return next((i for i, l in enumerate(losses) if l > limit), None)
    for seed, lr in enumerate((1., 1., 1.05, 1.02)):
        g = torch.Generator().manual_seed(seed)
        w = 0.1*torch.randn(5, generator=g, dtype=torch.float64) if seed else torch.zeros(5, dtype=torch.float64)
        at = first(w, lr)
        got = f(x.clone(), y.clone(), w.clone(), lr)
        if torch.is_tensor(got): got = got.tolist()
        refuse(not isinstance(got, (tuple, list)) or len(got) != 2, 'two numbers, please: predicted and measured')
        got = [float(number) for number in got]
        refuse(not math.isfinite(got[0]), f'your prediction is {got[0]}')
        refuse(got[0] != round(got[0]), f'you predicted {got[0]:.4g}, and a step is a whole number: which is the first one past it?')
        for words, wrong in [] if got[1] == at else [
            ('you count from one, and the start is step 0', at + 1), ('that is the last step that does not exceed 1', at - 1),
            ('half the mean squared error, please', first(w, lr, 0.5)), ('half the mean squared error, please, in the steps, too', first(w, 2*lr, 0.5)),
            ('where does your model start?', first(torch.zeros_like(w), lr)), (f'the rate here is {lr:g}', first(w, 1.))]:
            refuse(got[1] == wrong, f'what you measured is step {got[1]:.0f}, and it is {at}: {words}')
        refuse(got[1] != at, f'what you measured is step {got[1]:.0f}; the loss first exceeds 1 at step {at}')
        ratio.append(got[0]/at)
        off.append(abs(got[0] - at))
    refuse(min(ratio) > 1.8 and max(ratio) < 2.2, 'you predict twice as many steps as it takes: the distance grows by a factor, and the loss by the square of the factor')
    refuse(max(off) > 15, f'nowhere near: your prediction is {max(off):.0f} steps off, from one of four starts')
    return f'your predictions are at most {max(off):.0f} step{"s"*(max(off) != 1)} off'
