# %% [markdown]
# # Data: your turn
# > Five exercises for [00 data](../00_data.ipynb), an hour and a half in all.

# %%
import math, torch
from minisgd.data import airfoil_raw, digit_pair, mnist, show_images, standardise
from minisgd.checks.data import check

# %% check
import math, torch
from ..data import airfoil_raw, standardise

def drawn(seed, *shape, dtype=torch.float32): # columns of several sizes and means
    g = torch.Generator().manual_seed(seed)
    z = torch.randn(*shape, generator=g, dtype=torch.float64)
    k = shape[-1]
    return (z*10.**torch.arange(k, 0, -1) + 3*torch.arange(1, k + 1)).to(dtype)

# %% [markdown]
# ## 1. One row at a time
# (Five minutes.) Your model has learned from standardised rows, and now it's at work. New rows arrive, sometimes a single one, and you have to bring them to the scale that the model knows. Before you write it, try `standardise` on a single row: what does it say, and why?
# <details><summary>Hint</summary>
#
# What's the mean of a single row, and what's its deviation? And whose did the model see?
# </details>

# %% solution
def standardise_like(new,  # (m, k), the rows that have just arrived; m may be 1
                     train # (n, k), the rows that the model has learned from
                    ):     # (m, k), `new` on the model's scale
    "New rows on the scale of the training rows."
    return (new - train.mean(0))/train.std(0, correction=0)

# %% wrong: own mean and deviation
def standardise_like(new, train):
    return (new - new.mean(0))/new.std(0, correction=0)

# %% wrong: has a say
def standardise_like(new, train):
    both = torch.cat([train, new])
    return (new - both.mean(0))/both.std(0, correction=0)

# %% wrong: divides by n−1
def standardise_like(new, train):
    return (new - train.mean(0))/train.std(0)

# %% wrong: one mean and one deviation for all columns
def standardise_like(new, train):
    return (new - train.mean())/train.std(correction=0)

# %% wrong: a dimension of size one is lost
def standardise_like(new, train):
    return torch.stack([(row - train.mean(0))/train.std(0, correction=0) for row in new]).squeeze()

# %% check
@check.add
def standardise_like(f):
    def by(rows, **kws): return lambda new, train: (new - rows(new, train).mean(0))/rows(new, train).std(0, **kws)
    def both(new, train): return torch.cat([train, new])
    cases = [(torch.tensor([[2., 40.], [4., 10.]]), torch.tensor([[1., 10.], [1., 10.], [3., 30.], [3., 30.]]))]
    for seed, m, n, k, dtype in (1, 1, 3, 2, torch.float32), (2, 7, 40, 5, torch.float32), (3, 40, 6, 1, torch.float64):
        cases.append((drawn(seed, m, k, dtype=dtype), drawn(seed + 10, n, k, dtype=dtype)))
    for new, train in cases:
        ask(f, new, train, tol=1e-4,
            expect=by(lambda new, train: train, correction=0), mistakes={
            'the new rows are measured by their own mean and deviation': by(lambda new, train: new, correction=0),
            'what is new has a say in the mean and the deviation': by(both, correction=0),
            '`std` divides by n−1 unless you ask for `correction=0`': by(lambda new, train: train, correction=1),
            'one mean and one deviation for all columns': lambda new, train: (new - train.mean())/train.std(correction=0),
            'one deviation for all columns': lambda new, train: (new - train.mean(0))/train.std(correction=0),
            'the mean is still there': lambda new, train: new/train.std(0, correction=0),
            'only the mean is gone: divide by the deviation, too': lambda new, train: new - train.mean(0),
            'divided by the variance': lambda new, train: (new - train.mean(0))/train.var(0, correction=0),
            'a dimension of size one is lost, and (m, k) is promised': lambda new, train: by(lambda new, train: train, correction=0)(new, train).squeeze(),
            'those are the training rows': lambda new, train: standardise(train)})
    return 'so a model travels with two rows of numbers: the mean and the deviation of what it learned from'

# %% [markdown]
# ## 2. Muddled files
# (Fifteen minutes.) Somebody has muddled up the files, and some of the validation images are training images as well. You have all the images, and you know which of the validation images the model got right. What's its accuracy on those that it really hasn't met?
#
# `muddle` makes such a mess on purpose, with the model that only remembers. If it's right about 87 % of what it hasn't met, and a third of the 500 validation images are ones that it keeps, what will `read(*muddle(167))` say? Try it, then try 400, and compare with your `honest(*muddle(400))`.
# <details><summary>Hint</summary>
#
# You have a tool that tells equal bytes from unequal ones, and it made sets: see `hashes` in the notebook. Tuples of numbers can go into a set, too.
# </details>

# %%
def muddle(known, n=500): # how many of the `n` validation images are training images
    "Images to learn from, images to validate on, and which of those come out right."
    x, y, xv, yv = mnist()
    train, labels = x[:1000], y[:1000]
    i, new = torch.randperm(1000)[:known], n - known
    valid, truth = torch.cat([train[i], xv[:new]]), torch.cat([labels[i], yv[:new]])
    right = labels[torch.cdist(valid, train).argmin(1)] == truth
    mixed = torch.randperm(n)
    return train, valid[mixed], right[mixed]

def read(train, valid, right): return right.float().mean().item()

# %% solution
def honest(train, # (n, k) images that the model has met
           valid, # (m, k) images that it should not have met
           right  # (m,) True where its answer was right
          ):      # its accuracy on those it has not met
    "Accuracy on the validation images that are no training images."
    met = {image.tobytes() for image in train.numpy()}
    new = torch.tensor([image.tobytes() not in met for image in valid.numpy()])
    return right[new].float().mean().item()

# %% wrong: nothing was taken out
def honest(train, valid, right):
    return right.float().mean().item()

# %% wrong: divided by all
def honest(train, valid, right):
    met = {tuple(image) for image in train.tolist()}
    new = torch.tensor([tuple(image) not in met for image in valid.tolist()])
    return (right & new).float().mean().item()

# %% wrong: same place
def honest(train, valid, right):
    m = min(len(train), len(valid))
    new = torch.ones(len(valid), dtype=torch.bool)
    new[:m] = (train[:m] != valid[:m]).any(1)
    return right[new].float().mean().item()

# %% wrong: nearly zero
def honest(train, valid, right):
    new = torch.cdist(valid, train).amin(1) > 0
    return right[new].float().mean().item()

# %% wrong: different images may have the same sum
def honest(train, valid, right):
    new = ~torch.isin(valid.sum(1), train.sum(1))
    return right[new].float().mean().item()

# %% wrong: twice counts twice
def honest(train, valid, right):
    met, fresh = {tuple(image) for image in train.tolist()}, []
    for image, hit in zip(valid.tolist(), right.tolist()):
        if tuple(image) not in met: fresh.append(hit)
        met.add(tuple(image))
    return sum(fresh)/len(fresh)

# %% wrong: not all that it has met
def honest(train, valid, right):
    met = {tuple(image) for image in train.tolist()}
    known = sum(tuple(image) in met for image in valid.tolist())
    return (right.sum().item() - known)/(len(valid) - known)

# %% wrong: those it has met
def honest(train, valid, right):
    met = {tuple(image) for image in train.tolist()}
    new = torch.tensor([tuple(image) in met for image in valid.tolist()])
    return right[new].float().mean().item()

# %% check
@check.add
def honest(f):
    def share(hits): return hits.double().mean().item()
    def compare(train, valid, right, new):
        both = min(len(train), len(valid))
        placed = torch.ones(len(valid), dtype=torch.bool)
        placed[:both] = (train[:both] != valid[:both]).any(1)
        first = torch.tensor([not (valid[:i] == image).all(1).any() for i, image in enumerate(valid)])
        same = (valid.sort(1).values[:,None] == train.sort(1).values).all(2).any(1)
        ask(f, train, valid, right, expect=share(right[new]), mistakes={
            'nothing was taken out: that is what you read': share(right),
            'the images are taken out, but you divided by all': share(right & new),
            'an image with the same numbers in other places is another image': share(right[~same]),
            'different images may have the same sum': share(right[~torch.isin(valid.sum(1), train.sum(1))]),
            'each of its pixels occurs somewhere, but the whole image has to': share(right[~torch.isin(valid, train).all(1)]),
            'it compares images in the same place only, and they may be anywhere': share(right[placed]),
            'that is the accuracy on those it has met': share(right[~new]),
            'an image that comes twice counts twice, as long as it is no training image': share(right[new & first]),
            'not all that it has met is right, and you take it for right': share(right[new]) + (share(right[~new]) - 1)*share(~new)/share(new),
            'that is how many it has not met': share(new),
            'that is the share of wrong answers': share(~right[new]),
            'the distance of an image from itself is only nearly zero in `cdist`': share(right[torch.cdist(valid, train).amin(1) > 0])})
    train = torch.tensor([[0., 0.], [0., 1.], [1., 0.]])
    valid = torch.tensor([[0., 1.], [1., 1.], [1., 0.], [.5, 0.], [.5, .5], [0., .5]])
    compare(train, valid, torch.tensor([1, 1, 1, 0, 0, 0]).bool(), torch.tensor([0, 1, 0, 1, 1, 1]).bool())
    for seed, n, m, known, k in (1, 60, 50, 20, 49), (2, 40, 90, 30, 784), (3, 30, 30, 0, 4):
        g = torch.Generator().manual_seed(seed)
        train, fresh = [torch.randint(256, (size, k), generator=g)/255 for size in (n, m - known)]
        if known and k > 3:              # near to a training image is not equal to it: a pixel more, or two that have swapped
            fresh[0], fresh[1], fresh[2] = train[0], train[1], train[2]
            fresh[0,0] = (fresh[0,0] + 0.5) % 1
            fresh[1,[0, 1]] = train[1,[0, 1]].flip(0)
            fresh[2] = train[2].flip(0)
        fresh[3] = fresh[4]              # one that it has not met comes twice
        valid = torch.cat([train[torch.randint(n, (known,), generator=g)], fresh])
        right = torch.cat([torch.ones(known), torch.rand(m - known, generator=g) < 0.6]).bool()
        if known: right[0] = False       # not even all that it has met
        i = torch.randperm(m, generator=g)
        valid, right, new = valid[i], right[i], (i >= known)
        if known: valid[0], right[0], new[0] = train[1], False, False
        compare(train, valid, right, new)
    return 'what a memory reads on images that it has met says nothing, however many they are'

# %% [markdown]
# ## 3. A model in disguise
# (Twenty minutes.) The nearer of two average images is a *linear* model in disguise. From the two averages, find weights `w` and a number `bias` so that `x@w + bias` is above zero just where `x` is nearer to `b`. Then draw your weights with `strokes(plane)`: what speaks for a five, and what for a four?
# <details><summary>Hint</summary>
#
# Write out both squared distances, and subtract one from the other. Which term do they share?
# </details>

# %% solution
def plane(a, # (k,), the average of one class
          b  # (k,), the average of the other
         ):  # w (k,) and bias, a number: x@w + bias is above 0 where x is nearer to b
    "The linear model that says which of two points is nearer."
    return 2*(b - a), a@a - b@b

# %% wrong: the wrong way round
def plane(a, b): return a - b, (b@b - a@a)/2

# %% wrong: no bias
def plane(a, b): return b - a, 0.

# %% wrong: half of that
def plane(a, b): return b - a, a@a - b@b

# %% wrong: similar
def plane(a, b): return b, -b@b/2

# %% wrong: cuts it at
def plane(a, b): return 2*(b - a), a.norm() - b.norm()

# %% wrong: a number for each row
def plane(a, b):
    w = (b - a)[:,None]
    return w, -((a + b)/2@w).item()

# %% check
@check.add
def plane(f):
    for seed, k in (0, 2), (1, 1), (2, 5), (3, 784), (4, 2):
        g = torch.Generator().manual_seed(seed)
        a, b = torch.rand(2, k, generator=g, dtype=torch.float32 if k == 784 else torch.float64)
        if seed == 0: a, b = torch.tensor([1., 2.]), torch.tensor([3., 1.])
        if seed == 4: a, b = -3*b, a    # far from each other, and from zero
        given = a.clone(), b.clone()
        got = f(*given)
        refuse(got is None, 'it returns nothing: no `return`?')
        refuse(not alike(given, (a, b), 0), 'it changes its argument')
        refuse(not isinstance(got, (tuple, list)) or len(got) != 2, 'two things, please: the weights and the bias')
        w, bias = (torch.as_tensor(t, dtype=torch.float64).detach() for t in got)
        refuse(w.numel() != k, f'for points of {k} numbers w has shape {[*w.shape]}, where one weight for each is wanted')
        refuse(w.shape != (k,), f'w has shape {[*w.shape]}; with [{k}] `x@w` is a number for each row')
        refuse(bias.numel() != 1, f'the bias has shape {[*bias.shape]}; one number, please')
        bias, a, b = bias.item(), a.double(), b.double()
        right, half = b - a, ((a@a - b@b)/2).item()
        side = torch.randn(40, k, generator=g, dtype=torch.float64)
        side = side - (side@right)[:,None]*right/(right@right)                   # along the border
        near = 0.02 if k == 784 else 0.001
        step = torch.tensor([-1., -near, near, 1.], dtype=torch.float64).repeat(10)
        x = (a + b)/2 + side + step[:,None]*right                                # and off it, to either side
        nearer, says = step > 0, x@w + bias > 0
        here = f'a = {brief(a.tolist())}, b = {brief(b.tolist())}: ' if k < 3 else ''
        refuse((says != nearer).all(), here + 'you have it the wrong way round: above zero means nearer to `b`')
        refuse(bias == 0 and (says != nearer).any(), here + 'there is no bias, so the border goes through zero instead of midway between `a` and `b`')
        refuse(alike(w, right) and alike(bias, 2*half), here + 'with `w = b - a` the bias should be half of that')
        refuse(alike(w, 2*right) and alike(bias, half), here + 'with `w = 2*(b - a)` the bias should be twice that')
        refuse(alike(w, right) and alike(bias, -half), here + 'the bias has the wrong sign')
        refuse(abs((w@right).item()) < (1 - 1e-4)*(w.norm()*right.norm()).item(),
               here + f'w = {brief(w.tolist())}, so the border is tilted: these weights say how similar, not which is nearer; w should point from `a` to `b`')
        cut = (-(w@a + bias)/(w@right)).item()
        refuse((says != nearer).any() and abs(cut - 0.5) > near/2, here + f'the border should cut the way from `a` to `b` in the middle, and yours cuts it at {cut:.3g} of the way: what is the bias?')
        for point, yes, no in zip(x, nearer, says):
            refuse(yes != no, f'{here}x = {brief(point.tolist())} is nearer to {"b" if yes else "a"}, and x@w + bias is {(point@w + bias).item():.3g}')
    return 'a network of one layer searches for such a `w` and `bias`, too; yours cost two averages'

# %%
def strokes(plane):
    "The weights that tell fives from fours, drawn: dark speaks for a five."
    x, target, *_ = digit_pair()
    four, five = [x[target[:,0] == k].mean(0) for k in (0, 1)]
    show_images(plane(four, five)[0].reshape(1, 28, 28), size=2)

# %% [markdown]
# ## 4. Take out the lean
# (Half an hour.) Standardised, the wing's angle and thickness still leaned: a correlation of 0.75. Now mix the columns so that none is correlated with another. Each new column is a weighted sum of the old ones plus a number. Each must have mean 0, and `z.T@z/len(z)` must be the identity (so each has deviation 1, and no two are correlated). How many answers do you think there are? `check` takes any, and says which you've found.
# <details><summary>Hint</summary>
#
# Start from standardised `z` with `C = z.T@z/len(z)`. If each row is multiplied by a matrix, `z@M`, what becomes of `C`?
# </details>
# <details><summary>Second hint</summary>
#
# `M.T@C@M` has to be the identity. `torch.linalg.cholesky(C)` gives an `L` with `L@L.T = C`. Or take the eigenvectors of `C`, each divided by the root of its eigenvalue.
# </details>

# %% solution
def straighten(x # (n, k), columns in any units, n much larger than k
              ): # (n, k), mixtures of mean 0 with `z.T@z/n` the identity
    "Columns mixed so that none is correlated with another, mean 0 and deviation 1."
    z = standardise(x)
    size, direction = torch.linalg.eigh(z.T@z/len(z))
    return z@direction/size.sqrt()

# %% wrong: still lean
def straighten(x): return standardise(x)

# %% wrong: unequal deviations
def straighten(x):
    z = standardise(x)
    return z@torch.linalg.eigh(z.T@z/len(z)).eigenvectors

# %% wrong: the other way
def straighten(x):
    z = standardise(x)
    return z@torch.linalg.cholesky(z.T@z/len(z))

# %% wrong: divided by n−1
def straighten(x):
    z = x - x.mean(0)
    return z@torch.linalg.inv(torch.linalg.cholesky(torch.cov(x.T)).T)

# %% wrong: mean is not 0
def straighten(x):
    return x@torch.linalg.inv(torch.linalg.cholesky(x.T@x/len(x)).T)

# %% wrong: no mixtures of the old
def straighten(x):
    z = torch.randn_like(x)
    z = z - z.mean(0)
    return z@torch.linalg.inv(torch.linalg.cholesky(z.T@z/len(z)).T)

# %% check
def leaning(seed, n, k):
    z = torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return z@(torch.eye(k) + 0.8*torch.ones(k, k).triu(1)).double()*10.**torch.arange(k) - 2

def which_way(mix): # (k, k), from standardised columns to straight ones
    off = (mix.T@mix).fill_diagonal_(0).abs().max()
    if mix.tril(-1).abs().max() < 1e-3: return 'each column is mixed from itself and those before it, which is Cholesky\'s way'
    if off < 1e-3: return 'the new columns lie along the eigenvectors; that is called PCA whitening'
    if (mix - mix.T).abs().max() < 1e-3: return 'no other answer stays as near to the standardised columns; it is called ZCA'
    return 'yours is one of infinitely many'

@check.add
def straighten(f):
    for x in leaning(0, 6, 2), leaning(1, 41, 3), leaning(2, 30, 1), leaning(3, 200, 4).float(), airfoil_raw()[:,:5]:
        n, k = x.shape
        given = x.clone()
        got = f(given)
        refuse(got is None, 'it returns nothing: no `return`?')
        refuse(not torch.equal(given, x), 'it changes its argument')
        got = torch.as_tensor(got).detach().double()
        here = f'{n} rows of {k} columns: '
        refuse(got.shape != x.shape, f'{here}came back with shape {[*got.shape]}')
        refuse(not got.isfinite().all(), f'{here}there are nan or inf among the results')
        z = standardise(x.double())
        C, lean = got.T@got/n, z.T@z/n
        one, off = torch.eye(k, dtype=torch.float64), (C - C.diag().diag()).abs().max().item()
        low, high = C.diag().min().sqrt().item(), C.diag().max().sqrt().item()
        refuse(got.mean(0).abs().max() > 1e-3*max(high, 1e-9), f'{here}the mean is not 0 but up to {got.mean(0).abs().max():.3g}')
        refuse(k > 1 and alike(C, lean, 1e-3), f'{here}standardised, but the columns still lean: the largest correlation is {off:.2f}')
        refuse(n < 1000 and alike(C*n/(n - 1), one, 1e-3), f'{here}it should be `z.T@z/n`, and you divided by n−1')
        refuse(k > 1 and off < 1e-3*high**2 and high/low > 1.001, f'{here}uncorrelated, but with unequal deviations, from {low:.3g} to {high:.3g}; they should all be 1')
        refuse(k > 1 and high > 1.001 and off > 1e-3, f'{here}`z.T@z/n` should be the identity, and its largest number off the diagonal is {off:.3g}; did you go the other way, and lean the columns more?')
        refuse(not alike(C, one, 1e-3), f'{here}`z.T@z/n` should be the identity, and it is {brief(C.round(decimals=3).tolist())}')
        mix = torch.linalg.lstsq(z, got).solution
        refuse((z@mix - got).abs().max() > 1e-2, f'{here}these are no mixtures of the old columns')
    return f'{which_way(mix)}; κ is 1 now'

# %% [markdown]
# ## 5. Luck (open)
# (Half an hour.) Many models guess at the validation digits, one time in ten rightly, and we keep the best of them. What share of the digits will that winner get right, on average? Predict it from the number of models and of digits, then hold at least a hundred such contests and measure. Return both numbers. `check` asks for several sizes, and calculates the truth; your prediction may be off by as much as the deviation of one guesser.
#
# First write down two guesses. Is the winner of a million models at a hundred digits much luckier than the winner of a thousand? And how many digits do you need until the winner of a thousand is less than a percentage point too good?
# <details><summary>Hint</summary>
#
# The share of one model has mean 0.1 and deviation $\sqrt{0.1\cdot0.9/n}$. How many deviations up is the one in a thousand? (Or exactly: the winner has at most $k$ right if *all* of them have.)
# </details>
# <details><summary>Second hint</summary>
#
# `numpy`'s `rng.binomial(digits, 0.1, (contests, models))` guesses for everybody at once.
# </details>

# %% solution
def luck(models, # how many guess
         digits  # how many they guess at
        ):       # the winner's average share of right answers: predicted, measured
    "How good the best of many guessers looks."
    at_most, low = 0., 0.
    predicted = 1.
    for k in range(digits):       # an average is the sum of the chances to exceed k
        at_most += math.comb(digits, k)*0.1**k*0.9**(digits - k)
        predicted += -min(at_most, 1.)**models/digits
    tosses = torch.distributions.Binomial(digits, torch.tensor(0.1))
    measured = tosses.sample((200, models)).amax(1).mean().item()/digits
    return predicted, measured

# %% wrong: one digit too few
def luck(models, digits):
    at_most, predicted = 0.9**digits, 1 - 1/digits
    for k in range(1, digits):
        at_most += math.comb(digits, k)*0.1**k*0.9**(digits - k)
        predicted -= min(at_most, 1.)**models/digits
    tosses = torch.distributions.Binomial(digits, torch.tensor(0.1))
    return predicted, tosses.sample((200, models)).amax(1).mean().item()/digits

# %% wrong: the best of all models in each contest
def luck(models, digits):
    tosses = torch.distributions.Binomial(digits, torch.tensor(0.1))
    measured = tosses.sample((200, models)).amax(0).mean().item()/digits
    return 0.1 + 3*math.sqrt(0.09/digits), measured

# %% wrong: the same number twice
def luck(models, digits):
    tosses = torch.distributions.Binomial(digits, torch.tensor(0.1))
    measured = tosses.sample((200, models)).amax(1).mean().item()/digits
    return measured, measured

# %% wrong: how many, not
def luck(models, digits):
    tosses = torch.distributions.Binomial(digits, torch.tensor(0.1))
    won = tosses.sample((200, models)).amax(1).mean().item()
    return won, won

# %% wrong: all models
def luck(models, digits):
    tosses = torch.distributions.Binomial(digits, torch.tensor(0.1))
    deviation = math.sqrt(0.09/digits)
    predicted = 0.1 + math.sqrt(2*math.log(models))*deviation
    return predicted, tosses.sample((200, models)).mean().item()/digits

# %% wrong: on average is missing
def luck(models, digits):
    tosses = torch.distributions.Binomial(digits, torch.tensor(0.1))
    measured = tosses.sample((200, models)).amax(1).mean().item()/digits
    return math.sqrt(2*math.log(models)*0.09/digits), measured

# %% wrong: what you predicted for
def luck(models, digits):
    tosses = torch.distributions.Binomial(digits, torch.tensor(0.1))
    measured = tosses.sample((200, models)).amax(1).mean().item()/digits
    return 0.1 + 3*math.sqrt(0.09/digits), measured

# %% check
def share_of_winner(models, digits): # exactly
    below, share = 0., 1.
    for k in range(digits):
        below += math.comb(digits, k)*0.1**k*0.9**(digits - k)
        share -= min(below, 1.)**models/digits
    return share

@check.add
def luck(f):
    off = []
    for models, digits in (1000, 100), (10, 100), (1, 50), (100, 400):
        got, truth, deviation = f(models, digits), share_of_winner(models, digits), math.sqrt(0.09/digits)
        if torch.is_tensor(got): got = got.tolist()
        refuse(not isinstance(got, (tuple, list)) or len(got) != 2, 'two numbers, please: predicted and measured')
        predicted, measured = map(float, got)
        here = f'{models} model{"s"*(models > 1)}, {digits} digits: '
        for name, share in ('predicted', predicted), ('measured', measured):
            refuse(not 0 <= share <= 1, f'{here}{name} {share:.4g}; a share is wanted, from 0 to 1, and this is how many, not what share')
        refuse(models > 1 and abs(measured - 0.1) < deviation/2, f'{here}you measured {measured:.3f}, which is the average of all models, or of the winner on other digits; the winner alone is wanted, on the digits it won by')
        refuse(abs(measured - truth) > 0.3*deviation, f'{here}you measured {measured:.3f}; calculated exactly it is {truth:.3f} (the best of all models in each contest, at {digits} digits; then the mean over a hundred contests or more)')
        refuse(models > 1 and predicted == measured, f'{here}the same number twice; one is predicted, and the other measured')
        refuse(models > 1 and abs(predicted - truth + 1/digits) < 1e-3/digits, f'{here}you predicted {predicted:.3f}, one digit too few: does your sum begin at 0?')
        refuse(predicted + deviation < truth and abs(predicted + 0.1 - truth) < deviation, f'{here}you predicted {predicted:.3f}, and it is {truth:.3f}: the tenth that each gets on average is missing')
        refuse(abs(predicted - truth) > deviation, f'{here}what you predicted for them is {predicted:.3f}, and it is {truth:.3f}: more than a deviation of one guesser off')
        off.append(abs(predicted - truth)/deviation)
    gain, thousand = [share_of_winner(m, 100) - 0.1 for m in (10**6, 1000)]
    return (f'your predictions are at most {max(off):.1f} deviations off; a million models are {gain/thousand:.1f} times '
            'as lucky as a thousand, and a thousand need nearly 10,000 digits to be less than a point too good')
