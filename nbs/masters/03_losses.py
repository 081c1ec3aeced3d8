# %% [markdown]
# # Losses: your turn
# > Six exercises for [03 losses](../03_losses.ipynb), two hours and a half in all.

# %%
import math, torch, torch.nn.functional as F
from minisgd.data import mnist
from minisgd.minibatch import sgd
from minisgd.losses import accuracy, cross_entropy, log_softmax, logsumexp, nll_loss
from minisgd.checks.losses import check

# %% check
import math, sys, weakref, torch, torch.nn.functional as F
from ..data import mnist
from ..losses import accuracy, cross_entropy, log_softmax, nll_loss

# %% [markdown]
# ## 1. Knowing nothing
# (Ten minutes.) Of a hundred people tested for an illness, three have it. Somebody's model has a cross-entropy of 0.14 on them, and that's far below the log 2 of equal scores. Is it any good? What's the lowest cross-entropy for a model that never looks at its input, and so gives the same probabilities to every row?
# <details><summary>Hint</summary>
#
# Which probabilities would you give if you knew only how often each class comes? What does a row of each class cost then, and how many such rows are there?
# </details>

# %% solution
def knows_nothing(target # (n,) the class of each row, from 0; some may never come
                 ):      # lowest mean cross-entropy without looking, in nats
    "The cross-entropy of the best model that gives the same scores to every row."
    p = target.bincount()/len(target)
    p = p[p > 0]
    return -(p*p.log()).sum().item()

# %% wrong: equal scores
def knows_nothing(target): return math.log(target.max().item() + 1)

# %% wrong: is nan
def knows_nothing(target):
    p = target.bincount()/len(target)
    return -(p*p.log()).sum().item()

# %% wrong: classes that come more often
def knows_nothing(target):
    p = target.bincount()/len(target)
    return -p[p > 0].log().mean().item()

# %% wrong: as scores
def knows_nothing(target):
    p = target.bincount()/len(target)
    return cross_entropy(p.repeat(len(target), 1), target).item()

# %% wrong: in bits
def knows_nothing(target):
    p = target.bincount()/len(target)
    p = p[p > 0]
    return -(p*p.log2()).sum().item()

# %% check
@check.add
def knows_nothing(f):
    def shares(t):
        p = t.bincount().double()/len(t)
        return p[p > 0]
    def entropy(t): return -(shares(t)*shares(t).log()).sum().item()
    for counts in (1, 3), (97, 3), (1, 1, 2), (2, 0, 1), (5,), (0, 0, 3, 4, 5, 0, 1), (0, 7):
        t = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
        t = t[torch.randperm(len(t), generator=torch.Generator().manual_seed(len(t)))]
        ask(f, t, expect=entropy, mistakes={
            'that is what equal scores cost; knowing how often each class comes, you can do better': lambda t: math.log(t.max().item() + 1),
            'equal scores for the classes that come; but some come more often': lambda t: math.log(len(shares(t))),
            'a class that never comes: 0 times log 0 is nan, and it should cost nothing': math.nan,
            'classes that come more often cost more often: weigh them': lambda t: -shares(t).log().mean().item(),
            'that is the sum of the costs, once for each class': lambda t: -shares(t).log().sum().item(),
            'the shares are probabilities; as scores, take their logarithms': lambda t: F.cross_entropy((t.bincount()/len(t)).repeat(len(t), 1), t),
            'that is right for two classes only: 0 and the rest': lambda t: entropy(1*(t == 0)),
            'that is in bits; the natural logarithm is wanted': lambda t: entropy(t)/math.log(2),
            'that is what a row of the commonest class costs; the others cost, too': lambda t: -shares(t).max().log().item(),
            'a row was added to each class; the shares as they are cost the least': lambda t: -((t.bincount() + 1.)/(len(t) + t.max() + 1)).log()[t].mean().item(),
            'the sign is wrong': lambda t: -entropy(t),
            'that is for all rows together; the mean is wanted': lambda t: entropy(t)*len(t)})
    return 'with 3 ill in 100 it is 0.135, so at 0.14 a model does worse than one that never looks'

# %% [markdown]
# ## 2. A softer label
# (Fifteen minutes.) Let the label be a little unsure of itself: $1-\varepsilon$ of it stays on the right class, and $\varepsilon$ is spread evenly over *all* classes, the right one included. Write $-\sum_i p_i\log q_i$, the mean over the rows, for scores of any size.
#
# What's the lowest value it can have, with ten classes and $\varepsilon=0.1$? And how far would the right score stand above the others? (In plain cross-entropy, as far as you like.)
# <details><summary>Hint</summary>
#
# `log_softmax` is imported. What does the even part pick from it, if not one entry?
# </details>

# %% solution
def smooth_cross_entropy(x,      # (n, c) scores
                         target, # (n,) the class of each row
                         eps     # how much of the label is spread, 0 to 1
                        ):       # 0-d, the mean over the rows
    "Cross-entropy with labels that leave `eps` to all classes evenly."
    log_probs = log_softmax(x)
    return (1 - eps)*nll_loss(log_probs, target) - eps*log_probs.mean()

# %% wrong: other classes only
def smooth_cross_entropy(x, target, eps):
    n, c = x.shape
    p = torch.full((n, c), eps/(c - 1), dtype=x.dtype)
    p[range(n), target] = 1 - eps
    return -(p*log_softmax(x)).sum(1).mean()

# %% wrong: overflow
def smooth_cross_entropy(x, target, eps):
    q = x.exp()/x.exp().sum(1, keepdim=True)
    p = (1 - eps)*F.one_hot(target, x.shape[1]) + eps/x.shape[1]
    return -(p*q.log()).sum(1).mean()

# %% wrong: cost too little
def smooth_cross_entropy(x, target, eps):
    p = (1 - eps)*F.one_hot(target, x.shape[1]) + eps/x.shape[1]
    return -(p*(x.softmax(1) + 1e-9).log()).sum(1).mean()

# %% wrong: add up to 1
def smooth_cross_entropy(x, target, eps):
    p = torch.full_like(x, eps/x.shape[1])
    p[range(len(x)), target] = 1 - eps
    return -(p*log_softmax(x)).sum(1).mean()

# %% wrong: over all numbers
def smooth_cross_entropy(x, target, eps):
    p = (1 - eps)*F.one_hot(target, x.shape[1]) + eps/x.shape[1]
    return -(p*log_softmax(x)).mean()

# %% wrong: to each class
def smooth_cross_entropy(x, target, eps):
    p = (1 - eps)*F.one_hot(target, x.shape[1]) + eps
    return -(p*log_softmax(x)).sum(1).mean()

# %% check
@check.add
def smooth_cross_entropy(f):
    def smooth(x, t, eps, spread=None): # with the part that is spread, and the part that each class gets of it
        n, c = x.shape
        p = (1 - eps)*F.one_hot(t, c).to(x.dtype) + (eps/c if spread is None else spread)
        return -(p*F.log_softmax(x, 1)).sum(1).mean()
    def instead(x, t, eps, spread): # the right class has 1 - eps, and no part of what is spread
        p = torch.full_like(x, spread).scatter(1, t[:, None], 1 - eps)
        return -(p*F.log_softmax(x, 1)).sum(1).mean()
    def mixed(x, t, eps): return -((1 - eps)*x.softmax(1)[range(len(t)), t] + eps/x.shape[1]).log().mean()
    for seed, n, c, eps, size, dtype in ((0, 2, 3, 0.2, 1, torch.float64), (6, 1, 2, 0.2, 1, torch.float64), (5, 2, 3, 0.3, 1000, torch.float32), (1, 3, 4, 0.1, 3, torch.float32),
                                         (2, 5, 10, 0., 2, torch.float32), (3, 64, 10, 0.1, 5, torch.float64), (4, 4, 3, 1., 2, torch.float64)):
        g = torch.Generator().manual_seed(seed)
        x = (size*torch.randn(n, c, generator=g, dtype=torch.float64)).to(dtype)
        t = torch.randint(c, (n,), generator=g)
        if seed == 0: x, t = torch.tensor([[0., 1., 2.], [0., 0., 0.]]), torch.tensor([0, 1])
        if size == 1000:
            cost, least = f(x.clone(), t.clone(), eps), 0.9*F.cross_entropy(x, t, label_smoothing=eps)
            refuse(torch.is_tensor(cost) and (cost < least).any(), 'at scores of a thousand, bad mistakes cost too little: is a small number added to the probabilities, or are they clipped?')
        ask(f, x, t, eps, tol=1e-4, expect=lambda x, t, eps: F.cross_entropy(x, t, label_smoothing=eps), mistakes={
            '`eps` is spread over the other classes only, and the right one should have its part of it': lambda x, t, eps: instead(x, t, eps, eps/max(x.shape[1] - 1, 1)),
            'the probabilities of a label do not add up to 1: the right class gets `1 - eps`, and its part of `eps` besides': lambda x, t, eps: instead(x, t, eps, eps/x.shape[1]),
            'it divides `eps` by ten, however many classes there are': lambda x, t, eps: smooth(x, t, eps, spread=eps/10),
            'that is the logarithm of a mixture of probabilities; mix their logarithms': mixed,
            'that is the plain cross-entropy': lambda x, t, eps: F.cross_entropy(x, t),
            'the two parts are swapped: `1 - eps` stays on the right class': lambda x, t, eps: smooth(x, t, 1 - eps),
            '`eps` goes to each class, and it should be divided among them': lambda x, t, eps: smooth(x, t, eps, spread=eps),
            'the even part is there, but the right class still gets all of its own': lambda x, t, eps: smooth(x, t, eps) + eps*F.cross_entropy(x, t),
            'that is the mean over all numbers; sum over the classes, then take the mean over the rows': lambda x, t, eps: smooth(x, t, eps)/x.shape[1],
            'that is the sum over the rows': lambda x, t, eps: smooth(x, t, eps)*len(x),
            'the sign is wrong': lambda x, t, eps: -smooth(x, t, eps),
            'it overflows: nan at scores of a thousand': math.nan, 'it overflows: inf at scores of a thousand': math.inf})
        x.requires_grad_()
        slope, truth = [torch.autograd.grad(loss, x)[0] if torch.is_tensor(loss) and loss.requires_grad else None
                        for loss in (f(x, t, eps), F.cross_entropy(x, t, label_smoothing=eps))]
        refuse(slope is None, 'right in value, but no gradient flows from it: keep it a tensor, without `item` or `detach`')
        refuse(not alike(slope, truth, 1e-4), 'right in value, but its gradient is not')
    return 'at eps 0.1 and ten classes it never goes below 0.500, and it gets there with the right score just 4.5 above the others'

# %% [markdown]
# ## 3. Catch them all
# (Twenty minutes.) The naive loss passed the notebook's check, because a check is only as hard as its numbers. Write a harder one. `check` will hand you eighteen functions `loss(x, target)`, one after the other. Five are cross-entropies, by other ways of calculating. Each of the others has a bug. Which is which?
#
# Before you begin, spoil `cross_entropy` in three ways that you'd like to catch.
# <details><summary>Hint</summary>
#
# What would you vary? How large the scores are, how many rows and classes there are, and not only the value can be wrong. A right loss may differ from `F.cross_entropy` in the last digits.
# </details>

# %% solution
def is_cross_entropy(loss # a function of scores (n, c) and classes (n,)
                    ):    # True or False
    "Whether `loss` is the mean cross-entropy, in value and in gradient."
    for n, c, size in (1, 2, 1.), (7, 3, 5.), (64, 10, 1.), (5, 4, 500.):
        x = (size*torch.randn(n, c)).requires_grad_()
        target = torch.randint(c, (n,))
        ours, right = loss(x, target), F.cross_entropy(x, target)
        if not ours.requires_grad: return False
        slopes = [torch.autograd.grad(value, x)[0] for value in (ours, right)]
        for a, b in (ours, right), slopes:
            if not torch.allclose(a, b, rtol=1e-4, atol=1e-6): return False
    return True

# %% wrong: overflows
def is_cross_entropy(loss):
    x, target = torch.randn(64, 10), torch.randint(10, (64,))
    return torch.allclose(loss(x, target), F.cross_entropy(x, target))

# %% wrong: it is right
def is_cross_entropy(loss):
    x, target = 100*torch.randn(64, 10), torch.randint(10, (64,))
    return torch.equal(loss(x, target), F.cross_entropy(x, target))

# %% wrong: number of classes
def is_cross_entropy(loss):
    target = torch.arange(4)
    for size in 1, 50, 1000:
        x = (size*torch.randn(4, 4)).requires_grad_()
        both = loss(x, target), F.cross_entropy(x, target)
        if not both[0].requires_grad: return False
        slopes = [torch.autograd.grad(value, x)[0] for value in both]
        for a, b in both, slopes:
            if not torch.allclose(a, b, rtol=1e-4, atol=1e-6): return False
    return True

# %% wrong: gradient
def is_cross_entropy(loss):
    for n, c, size in (1, 2, 1.), (7, 3, 5.), (64, 10, 1.), (5, 4, 500.):
        x, target = size*torch.randn(n, c), torch.randint(c, (n,))
        if not torch.allclose(loss(x, target), F.cross_entropy(x, target), rtol=1e-4): return False
    return True

# %% wrong: True or False
def is_cross_entropy(loss):
    x, target = torch.randn(64, 10), torch.randint(10, (64,))
    torch.testing.assert_close(loss(x, target), F.cross_entropy(x, target))

# %% check
def picked(log_probs, t): return -log_probs[range(len(t)), t]

def candidates(): # what each is, whether it is right, and the function
    def minus(x, t): return (x.logsumexp(1) - x[range(len(t)), t]).mean()
    def hot(x, t): return -(F.one_hot(t, x.shape[1])*F.log_softmax(x.double(), 1)).sum(1).mean().to(x.dtype)
    def rows(x, t): return torch.stack([F.cross_entropy(row, k) for row, k in zip(x, t)]).mean()
    def by_hand(x, t): return nll_loss(log_softmax(x), t)
    def naive(x, t): return picked((x.exp()/x.exp().sum(1, keepdim=True)).log(), t).mean()
    def half(x, t): return picked(x - x.exp().sum(1, keepdim=True).log(), t).mean()
    def clipped(x, t): return picked(x.softmax(1).clamp(min=1e-7).log(), t).mean()
    def total(x, t): return F.cross_entropy(x, t, reduction='sum')
    def every(x, t): return -(F.one_hot(t, x.shape[1])*F.log_softmax(x, 1)).mean()
    def ten(x, t): return F.cross_entropy(x, t, reduction='sum')/64
    def by_classes(x, t): return F.cross_entropy(x, t, reduction='sum')/x.shape[1]
    def columns(x, t): return picked(x.log_softmax(0), t).mean()
    def cut(x, t): return F.cross_entropy(x, t).detach() + 0*x[0,0]
    def stuck(x, t): return (x.detach().logsumexp(1) - x[range(len(t)), t]).mean()
    def twice(x, t): return F.cross_entropy(x.softmax(1), t)
    def last(x, t): return F.cross_entropy(x[:-1], t[:-1]) if len(x) > 1 else F.cross_entropy(x, t)
    def back(x, t): return F.cross_entropy(x, t.flip(0))
    return [('log-sum-exp minus the right score', True, minus), ('one-hot labels, in double precision', True, hot),
            ('row by row', True, rows), ('the course\'s own, `nll_loss(log_softmax(x), target)`', True, by_hand), ('PyTorch\'s', True, F.cross_entropy),
            ('the definition as it stands, which overflows at large scores', False, naive), ('the log rule alone, which still overflows', False, half),
            ('probabilities clipped at 1e-7, so that a bad mistake costs no more than 16', False, clipped),
            ('the sum where the mean should be', False, total), ('the mean over the classes, too', False, every), ('the sum divided by the number of classes, not of rows', False, by_classes),
            ('softmax taken twice', False, twice), ('the softmax of the columns', False, columns), ('labels in another order', False, back),
            ('the last row left out', False, last), ('the sum divided by 64, whatever the batch', False, ten),
            ('right in value, with a gradient of zero', False, cut), ('right in value, with half of its gradient cut off', False, stuck)]

@check.add
def is_cross_entropy(f):
    for what, right, loss in candidates():
        try: got = f(loss)
        except AssertionError: raise Wrong(f'it stops with an AssertionError at {what}; return False instead')
        refuse(got is None, 'it returns nothing: True or False, please')
        if torch.is_tensor(got) and got.numel() == 1: got = got.item()
        refuse(not isinstance(got, (bool, int)) and type(got).__name__ not in ('bool_', 'bool'), f'True or False, please, not {brief(got)}')
        refuse(right and not got, f'it is right, and you reject it: {what}')
        refuse(not right and got, f'you let a bug through: {what}')
    return 'five right ones, thirteen bugs: value and gradient, one row and many, small scores and large'

# %% [markdown]
# ## 4. More scores than fit
# (Half an hour.) A language model has a hundred thousand scores for each word, and they arrive in chunks, one after the other. You can keep a few numbers, but not the chunks. Take the log-sum-exp of all scores in *one* pass, without overflow. (FlashAttention, inside large language models, rests on this trick.)
#
# Break your answer before `check` does: which order of the chunks is the cruellest?
# <details><summary>Hint</summary>
#
# Keep the largest score so far, and the sum of `exp(score - largest)` so far. What becomes of that sum when a larger score turns up?
# </details>
# <details><summary>Second hint</summary>
#
# Or: what's the log-sum-exp of two log-sum-exps?
# </details>

# %% solution
def logsumexp_of(chunks # yields (k,) finite scores, once; k differs, from 1 up
                ):      # log-sum-exp of all scores together
    "Log-sum-exp in one pass, with a chunk at a time."
    so_far = torch.tensor(-math.inf)
    for chunk in chunks: so_far = torch.logaddexp(so_far, logsumexp(chunk))
    return so_far

# %% wrong: of the first chunk is not the largest
def logsumexp_of(chunks):
    m, total = None, 0.
    for chunk in chunks:
        if m is None: m = chunk.max()
        total = total + (chunk - m).exp().sum()
    return m + total.log()

# %% wrong: must be scaled anew
def logsumexp_of(chunks):
    m, total = torch.tensor(-math.inf), 0.
    for chunk in chunks:
        m = torch.maximum(m, chunk.max())
        total = total + (chunk - m).exp().sum()
    return m + total.log()

# %% wrong: sum of the chunks
def logsumexp_of(chunks): return sum(logsumexp(chunk) for chunk in chunks)

# %% wrong: too large or too small
def logsumexp_of(chunks): return sum(chunk.exp().sum() for chunk in chunks).log()

# %% wrong: keeps the chunks
def logsumexp_of(chunks): return logsumexp(torch.cat(list(chunks)))

# %% wrong: keeps the scores
def logsumexp_of(chunks):
    seen = torch.tensor([])
    for chunk in chunks: seen = torch.cat([seen, chunk])
    return logsumexp(seen)

# %% wrong: of this chunk
def logsumexp_of(chunks):
    m, total = torch.tensor(-math.inf), 0.
    for chunk in chunks:
        old, m = m, chunk.max()
        total = total*(old - m).exp() + (chunk - m).exp().sum()
    return m + total.log()

# %% wrong: one score too many
def logsumexp_of(chunks):
    so_far = torch.tensor(0.)
    for chunk in chunks: so_far = torch.logaddexp(so_far, logsumexp(chunk))
    return so_far

# %% wrong: far below zero
def logsumexp_of(chunks):
    m, total = torch.tensor(0.), 0.
    for chunk in chunks:
        old, m = m, torch.maximum(m, chunk.max())
        total = total*(old - m).exp() + (chunk - m).exp().sum()
    return m + total.log()

# %% check
class Once: # an iterator that says so when it is asked to begin again
    def __init__(self, chunks): self.chunks, self.done = chunks, False
    def __iter__(self):
        refuse(self.done, 'the chunks come only once; you go through them a second time')
        return self
    def __next__(self):
        try: return next(self.chunks)
        except StopIteration: self.done = True; raise

def numbers_in(value):
    if torch.is_tensor(value): return value.numel()
    return sum(map(numbers_in, value)) if isinstance(value, (list, tuple)) else 1

def most_in_a_name(frame): # the most numbers that a name of the answer stands for, in this frame and those that called it
    most = 0
    while frame and frame.f_globals is not globals():
        most, frame = max([most, *map(numbers_in, frame.f_locals.values())]), frame.f_back
    return most

@check.add
def logsumexp_of(f):
    def exp_of(sum_of): # log-sum-exps of each chunk, put together in some way
        return lambda chunks: sum_of([c.logsumexp(0) for c in chunks])
    def unscaled(chunks):
        m, total = torch.tensor(-math.inf), 0.
        for c in chunks:
            m = torch.maximum(m, c.max())
            total = total + (c - m).exp().sum()
        return m + total.log()
    g = torch.Generator().manual_seed(0)
    small = [torch.randn(k, generator=g) for k in (3, 1, 2, 5)]
    grows = [torch.randn(4, generator=g) + 100*k for k in range(30)]
    plain, later = 'the scores themselves are too large or too small for `exp`', 'the largest score of the first chunk is not the largest of all, and a later one overflows'
    low = 'all scores are far below zero, and `exp` makes them zero; what was the largest so far, before the first chunk?'
    falls = 'a chunk far below the others overflows: subtract the largest of all so far, not of this chunk'
    cases = [([torch.tensor([0., 1.]), torch.tensor([2.])], plain), ([torch.tensor([2.])], plain), (small, plain),
             ([torch.tensor([1000.]), torch.tensor([0., 1000.])], plain), ([torch.tensor([-1000., -1000.]), torch.tensor([-1001.])], low),
             (grows[::-1], falls), ([torch.tensor([0.]), torch.tensor([200., 200.])], later), (grows, later),
             ([torch.zeros(7, dtype=torch.float64) for _ in range(50)], plain)]
    for chunks, unless_finite in cases:
        right, alive, most = torch.cat(chunks).double().logsumexp(0).item(), [], [0]
        def once():
            for chunk in chunks:
                given = chunk.clone()
                alive.append(weakref.ref(given))
                yield given
                refuse(not given.equal(chunk), 'it changes the chunks; others may need them after you')
                del given
                most[0] = max(most[0], sum(r() is not None for r in alive))
                refuse(most_in_a_name(sys._getframe(2)) > 100, 'it keeps the scores of all chunks: a few numbers are enough')
        got = f(Once(once()))
        refuse(got is None, 'it returns nothing: no `return`?')
        said = f'\n  chunks {brief([c.tolist() for c in chunks])} gave {brief(got)}; expected {brief(right)}'
        refuse(most[0] > 3, f'it keeps the chunks: of {len(chunks)}, {most[0]} were in memory at once')
        if alike(got, right, 1e-5): continue
        refuse(torch.as_tensor(got).numel() == 1 and not math.isfinite(float(got)), unless_finite + said)
        for words, wrong in {
            'when a larger score turns up, the old sum must be scaled anew': unscaled,
            'that is the sum of the chunks\' log-sum-exps; they are logarithms of what should be added': exp_of(sum),
            'that is the largest log-sum-exp of a chunk': exp_of(max),
            'that is the mean of the chunks\' log-sum-exps': exp_of(lambda parts: sum(parts)/len(parts)),
            'that is the largest score': lambda chunks: torch.cat(chunks).max(),
            'that is one score too many, a zero: begin with minus infinity': lambda chunks: torch.logaddexp(torch.tensor(0.), torch.tensor(right)),
            'that is the last chunk\'s': lambda chunks: chunks[-1].logsumexp(0),
            'the logarithm is missing': lambda chunks: math.exp(min(right, 700))}.items():
            refuse(alike(got, wrong(chunks), 1e-5), words + said)
        refuse(not alike(f(Once(once())), got), 'the same chunks again give another number: what is kept from one call to the next?' + said)
        raise Wrong('not so' + said)
    return 'log-sum-exps of parts add up like the whole, in any order: so the parts may lie on many machines'

# %% [markdown]
# ## 5. Backward through a sigmoid
# (Half an hour.) Put a sigmoid in ReLU's place, and walk back by hand: the loss is the mean cross-entropy of `sigmoid(x@w1 + b1)@w2 + b2`. Return all four gradients. `check` switches autograd off, so it won't help you.
#
# Only one line of the notebook's backward pass changes. Predict, before you write it: at a start with small weights, is the first layer's gradient larger than ReLU's or smaller?
# <details><summary>Hint</summary>
#
# The slope of a sigmoid can be written with its *output* alone. Try it: $h = 1/(1+e^{-z})$; what's $h(1-h)$?
# </details>

# %% solution
def sigmoid_grads(x, target, # (n, k) rows, and (n,) the class of each
                  w1, b1,    # (k, h) and (h,)
                  w2, b2     # (h, c) and (c,)
                 ):          # gradients of w1, b1, w2, b2, of the same shapes
    "Backpropagation by hand through two layers with a sigmoid between."
    h = (x@w1 + b1).sigmoid()
    d_out = log_softmax(h@w2 + b2).exp()
    d_out[range(len(x)), target] -= 1
    d_out /= len(x)
    d_z = d_out@w2.T*h*(1 - h)
    return x.T@d_z, d_z.sum(0), h.T@d_out, d_out.sum(0)

# %% wrong: still ReLU
def sigmoid_grads(x, target, w1, b1, w2, b2):
    z = x@w1 + b1
    h = z.sigmoid()
    d_out = ((h@w2 + b2).softmax(1) - F.one_hot(target, len(b2)))/len(x)
    d_z = d_out@w2.T*(z > 0)
    return x.T@d_z, d_z.sum(0), h.T@d_out, d_out.sum(0)

# %% wrong: output of the sigmoid, not
def sigmoid_grads(x, target, w1, b1, w2, b2):
    z = x@w1 + b1
    h = z.sigmoid()
    d_out = ((h@w2 + b2).softmax(1) - F.one_hot(target, len(b2)))/len(x)
    d_z = d_out@w2.T*z*(1 - z)
    return x.T@d_z, d_z.sum(0), h.T@d_out, d_out.sum(0)

# %% wrong: divided by n
def sigmoid_grads(x, target, w1, b1, w2, b2):
    h = (x@w1 + b1).sigmoid()
    d_out = (h@w2 + b2).softmax(1) - F.one_hot(target, len(b2))
    d_z = d_out@w2.T*h*(1 - h)
    return x.T@d_z, d_z.sum(0), h.T@d_out, d_out.sum(0)

# %% wrong: from whole columns
def sigmoid_grads(x, target, w1, b1, w2, b2):
    h = (x@w1 + b1).sigmoid()
    d_out = (h@w2 + b2).softmax(1)
    d_out[:, target] -= 1
    d_out /= len(x)
    d_z = d_out@w2.T*h*(1 - h)
    return x.T@d_z, d_z.sum(0), h.T@d_out, d_out.sum(0)

# %% wrong: summed over the rows
def sigmoid_grads(x, target, w1, b1, w2, b2):
    h = (x@w1 + b1).sigmoid()
    d_out = ((h@w2 + b2).softmax(1) - F.one_hot(target, len(b2)))/len(x)
    d_z = d_out@w2.T*h*(1 - h)
    return x.T@d_z, d_z.mean(0), h.T@d_out, d_out.mean(0)

# %% check
def backward(x, t, w1, b1, w2, b2, slope=lambda z, h: h*(1 - h), scale=lambda n: n, sums=lambda d: d.sum(0), sign=1, labels=F.one_hot):
    z = x@w1 + b1
    h = z.sigmoid()
    d_out = sign*((h@w2 + b2).softmax(1) - labels(t, len(b2)))/scale(len(x))
    d_z = d_out@w2.T*slope(z, h)
    return x.T@d_z, sums(d_z), h.T@d_out, sums(d_out)

@check.add
def sigmoid_grads(f):
    def wrongly(**kws): return lambda *args: backward(*args, **kws)
    for seed, n, k, width, c, dtype in (0, 2, 1, 1, 2, torch.float64), (1, 1, 3, 2, 4, torch.float32), (2, 7, 5, 4, 3, torch.float64), (3, 64, 20, 6, 10, torch.float32):
        g = torch.Generator().manual_seed(seed)
        shapes = (n, k), (k, width), (width,), (width, c), (c,)
        x, w1, b1, w2, b2 = (torch.randn(*shape, generator=g, dtype=torch.float64).to(dtype) for shape in shapes)
        t = torch.randint(c, (n,), generator=g)
        inputs, mistakes = (x, t, w1, b1, w2, b2), {
            'the line of the ReLU is still ReLU\'s': wrongly(slope=lambda z, h: z > 0),
            'the slope of the sigmoid is missing: `d_z` is still `d_h`': wrongly(slope=lambda z, h: 1),
            'h(1−h) takes the output of the sigmoid, not what goes in': wrongly(slope=lambda z, h: z*(1 - z)),
            'the slope of the sigmoid is h(1−h), not h': wrongly(slope=lambda z, h: h),
            'the slope is that of tanh': wrongly(slope=lambda z, h: 1 - h*h),
            'the sigmoid is taken twice': wrongly(slope=lambda z, h: h.sigmoid()*(1 - h.sigmoid())),
            'the loss is a mean: `d_out` should be divided by n': wrongly(scale=lambda n: 1),
            'divided by n twice': wrongly(scale=lambda n: n*n),
            'divided by 64, however many rows there are': wrongly(scale=lambda n: 64),
            'the gradient of a bias is summed over the rows (`d_out` has been divided by n already)': wrongly(sums=lambda d: d.mean(0)),
            'the sign is wrong: probabilities minus one-hot labels': wrongly(sign=-1),
            'the one-hot labels are missing in `d_out`': wrongly(labels=lambda t, c: 0),
            'the 1 is taken from whole columns: `[range(n), target]` picks one number of each row, and `[:, target]` does not': wrongly(labels=lambda t, c: F.one_hot(t, c).amax(0)),
            'the gradients of the weights lie on their side: `w1` is (k, h) here': lambda *a: tuple(d.T if d.ndim == 2 else d for d in backward(*a)),
            'the gradients come in another order: w1, b1, w2, b2, please': lambda *a: (*backward(*a)[2:], *backward(*a)[:2])}
        here = f'{n} row{"s"*(n > 1)}, {k} → {width} → {c}: '
        with torch.no_grad():
            try: ask(f, *inputs, tol=1e-4, expect=backward, mistakes=mistakes)
            except Wrong as wrong:
                words = str(wrong).split('\n')[0]
                if not words.startswith('sigmoid_grads('): raise Wrong(words if 'returns nothing' in words else here + words)
                got, right = f(*(t.clone() for t in inputs)), backward(*inputs)
                refuse(not isinstance(got, (tuple, list)) or len(got) != 4, 'four gradients, please: of w1, b1, w2 and b2')
                for name, g, r in zip(('w1', 'b1', 'w2', 'b2'), got, right):
                    refuse(torch.as_tensor(g).shape != r.shape, f'{here}the gradient of {name} has shape {[*torch.as_tensor(g).shape]}, and {name} has {[*r.shape]}')
                good = [name for name, g, r in zip(('w1', 'b1', 'w2', 'b2'), got, right) if alike(g, r, 1e-4)]
                raise Wrong(f'{here}not so; of the four gradients {"only " + ", ".join(good) if good else "none"} agree{"s"*(len(good) < 2)} with autograd')
    return 'h(1−h) is at most a quarter: each sigmoid on the way back takes three quarters of the gradient, or more'

# %% [markdown]
# ## 6. A lottery of labels (open)
# (Three quarters of an hour.) For half of the training pictures somebody has drawn the label by lot, from all ten. You don't know for which. Train on them all the same. First write two guesses into your answer:
#
# - What share of *clean* validation labels will the network get right after two epochs? (On clean labels the notebook's network got more than eight in ten after one epoch.)
# - What's the lowest mean cross-entropy that any model could have on new labels drawn like this? That one can be calculated.
#
# Then measure, on the validation pictures: the accuracy on their clean labels, and the loss on labels of the same lottery. Batches of 64 at a rate of 0.1 will do. `check` brings its own pictures, and another share.
# <details><summary>Hint</summary>
#
# A model that sees through it all still can't know a label, only how likely each of the ten is. How likely is the true one, when a share `s` is drawn from all ten, and how likely is each of the others? What's the cross-entropy of that with itself?
# </details>

# %%
def drawn_by_lot(y, share, generator=None):
    "Labels, of which about `share` are drawn anew from 0 to 9."
    lots = torch.randint(10, y.shape, generator=generator)
    return torch.where(torch.rand(len(y), generator=generator) < share, lots, y)

def start(generator=None):
    "Weights and biases of 784 → 50 → 10, small and random."
    w1, w2 = [torch.randn(shape, generator=generator)/shape[0]**0.5
              for shape in ((784, 50), (50, 10))]
    return [w1, torch.zeros(50), w2, torch.zeros(10)]

def network(params, xb):
    w1, b1, w2, b2 = params
    return (xb@w1 + b1).relu()@w2 + b2

def network_loss(params, xb, yb): return cross_entropy(network(params, xb), yb)

# %% solution
def lottery(x, y,   # (n, 784) training pictures and their clean labels
            xv, yv, # validation pictures and their clean labels
            share   # how many of the labels to draw by lot, 0 to 1
           ):       # guess, lowest, right, loss: two predictions, two measurements
    "Training on labels of which a share is drawn by lot."
    guess = 0.86                                   # of clean labels that come out right
    true, other = 1 - share + share/10, share/10
    lowest = -(true*math.log(true) + 9*other*math.log(other))
    params = start()
    sgd(network_loss, params, x, drawn_by_lot(y, share), lr=0.1, bs=64, epochs=2)
    with torch.no_grad():
        right = accuracy(network(params, xv), yv).item()
        loss = network_loss(params, xv, drawn_by_lot(yv, share)).item()
    return guess, lowest, right, loss

# %% wrong: same lottery
def lottery(x, y, xv, yv, share):
    params = start()
    sgd(network_loss, params, x, drawn_by_lot(y, share), lr=0.1, bs=64, epochs=1)
    with torch.no_grad(): out = network(params, xv)
    true, other = 1 - share + share/10, share/10
    lowest = -(true*math.log(true) + 9*other*math.log(other))
    return 0.5, lowest, accuracy(out, yv).item(), cross_entropy(out, yv).item()

# %% wrong: one number for
def lottery(x, y, xv, yv, share):
    params = start()
    sgd(network_loss, params, x, drawn_by_lot(y, share), lr=0.1, bs=64, epochs=1)
    with torch.no_grad(): out = network(params, xv)
    lots = drawn_by_lot(yv, share)
    lowest = -((1 - share)*math.log(1 - share) + share*math.log(share/10))
    return 0.5, lowest, accuracy(out, yv).item(), cross_entropy(out, lots).item()

# %% wrong: clean labels
def lottery(x, y, xv, yv, share):
    params = start()
    sgd(network_loss, params, x, drawn_by_lot(y, share), lr=0.1, bs=64, epochs=1)
    with torch.no_grad(): out = network(params, xv)
    lots = drawn_by_lot(yv, share)
    true, other = 1 - share + share/10, share/10
    lowest = -(true*math.log(true) + 9*other*math.log(other))
    return 0.5, lowest, accuracy(out, lots).item(), cross_entropy(out, lots).item()

# %% check
@check.add
def lottery(f):
    x, y, xv, yv = mnist()
    xv, yv, said = xv[:4000], yv[:4000], None
    for share, n in (0.5, 20_000), (0.7, 8000):
        got = f(x[:n].clone(), y[:n].clone(), xv.clone(), yv.clone(), share)
        if torch.is_tensor(got): got = got.tolist()
        refuse(not isinstance(got, (tuple, list)) or len(got) != 4, 'four numbers, please: guess, lowest, right, loss')
        guess, lowest, right, loss = map(float, got)
        for name, number in ('guess', guess), ('right', right):
            refuse(not 0 <= number <= 1, f'`{name}` is {number:.3g}; a share is wanted, from 0 to 1')
        true, other = 1 - share + share/10, share/10
        def entropy(p, q, others=9): return -(p*math.log(p) + others*q*math.log(q))
        exact, here = entropy(true, other), f'share {share:g}: '
        for words, wrong in {'a label drawn by lot may be the true one, too; then it is one number for the true class, and nine for the others': (entropy(1 - share, share/10, 10), entropy(1 - share, share/9)),
                             'that is whether a label is drawn, and nothing about which': (entropy(1 - share, share, 1),),
                             'that is what the true class alone costs': (-math.log(true), -true*math.log(true), -math.log(1 - share)),
                             'that is what equal scores cost': (math.log(10),), 'zero would do if no label were drawn by lot': (0.,),
                             'that is in bits': (exact/math.log(2),)}.items():
            refuse(any(alike(lowest, w, 1e-3) for w in wrong), f'{here}lowest is {lowest:.4g}: {words}')
        refuse(not alike(lowest, exact, 1e-3), f'{here}the lowest loss is {exact:.4f}, and you have {lowest:.4f}')
        refuse(right < true + 0.05, f'{here}{right:.2f} of the labels right is no more than a perfect network gets of labels drawn by lot ({true:.2f}). Did you compare with the clean labels? Is it trained?')
        refuse(loss < exact - 0.03, f'{here}a loss of {loss:.3f} is below the lowest, {exact:.3f}: were the validation labels drawn in the same lottery?')
        refuse(loss > math.log(10) and right > 0.6, f'{here}{right:.2f} of the clean labels are right, but with a loss of {loss:.3f} it is far too sure of itself: were its own labels drawn by lot?')
        refuse(loss > math.log(10), f'{here}a loss of {loss:.3f} is worse than knowing nothing')
        if share == 0.5: said = 'was within ten points' if abs(guess - right) < 0.1 else 'was too low' if guess < right else 'was too high'
    return f'your guess {said}; the true label is still the likeliest of the ten, and that is all a network needs'
