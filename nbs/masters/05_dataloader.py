# %% [markdown]
# # The data loader: your turn
# > Six exercises for [05 dataloader](../05_dataloader.ipynb), about two hours in all.

# %%
import math, torch
from minisgd.data import mnist
from minisgd.losses import cross_entropy
from minisgd.modules import Linear, ReLU, Sequential
from minisgd.dataloader import Dataset, DataLoader, collate
from minisgd.checks.dataloader import check

# %% check
import math, torch, torch.nn.functional as F
from torch.overrides import TorchFunctionMode
from ..dataloader import DataLoader, Dataset, collate

def gen(seed=0): return torch.Generator().manual_seed(seed)

# %% [markdown]
# ## 1. Torn pairs
# (Ten minutes.) Break the lesson's loop on purpose: shuffle the rows and the labels, each in an order of its own. Every row now has a label from anywhere, and yet some of them are right, by chance. How large is their share, on average? Guess it for ten labels of equal frequency, and for 990 rows with the label 0 and ten with the label 1. Then compute it for any labels, tear them once, and count. Return both.
#
# If you then looked at a hundred of the 990 and ten rows, how many wrong labels would you meet?
# <details><summary>Hint</summary>
#
# A row whose own label has the share $p$ gets a label from the same pot. How likely is it the same one? And how many such rows are there?
# </details>

# %% solution
def still_right(y # (n,) labels, whole numbers
               ): # two shares of right labels: on average, and in one tear of yours
    "How many labels are right after rows and labels were shuffled separately."
    share = y.unique(return_counts=True)[1]/len(y)
    rows, labels = torch.randperm(len(y)), torch.randperm(len(y))
    torn = y[rows] == y[labels]
    return share.square().sum().item(), torn.float().mean().item()

# %% wrong: not all labels are equally frequent
def still_right(y):
    torn = y[torch.randperm(len(y))] == y
    return 1/len(y.unique()), torn.float().mean().item()

# %% wrong: the most frequent label
def still_right(y):
    torn = y[torch.randperm(len(y))] == y
    return y.unique(return_counts=True)[1].max().item()/len(y), torn.float().mean().item()

# %% wrong: get their own label back
def still_right(y):
    torn = y[torch.randperm(len(y))] == y
    return 1/len(y), torn.float().mean().item()

# %% wrong: own label is in the pot
def still_right(y):
    torn, count = y[torch.randperm(len(y))] == y, y.unique(return_counts=True)[1]
    right = (count*(count - 1)).sum()/(len(y)*(len(y) - 1)) if len(y) > 1 else 0
    return float(right), torn.float().mean().item()

# %% wrong: in the same order
def still_right(y):
    share, order = y.unique(return_counts=True)[1]/len(y), torch.randperm(len(y))
    return share.square().sum().item(), (y[order] == y[order]).float().mean().item()

# %% wrong: neighbours
def still_right(y):
    share = y.unique(return_counts=True)[1]/len(y)
    return share.square().sum().item(), (y == y.roll(1)).float().mean().item()

# %% wrong: with replacement
def still_right(y):
    share = y.unique(return_counts=True)[1]/len(y)
    drawn = y[torch.randint(len(y), (len(y),))]
    return share.square().sum().item(), (y == drawn).float().mean().item()

# %% wrong: has to be counted
def still_right(y):
    right = (y.unique(return_counts=True)[1]/len(y)).square().sum().item()
    return right, right

# %% wrong: which share
def still_right(y):
    share = y.unique(return_counts=True)[1]/len(y)
    return share.square().sum().item(), (y[torch.randperm(len(y))] == y).sum().item()

# %% check
def spread_of_tears(y): # standard deviation of how many labels are right, over all orders
    same = (y[:, None] == y).double()
    off = same - same.mean(0) - same.mean(1)[:, None] + same.mean()
    return (off.square().sum()/max(len(y) - 1, 1)).sqrt().item()

@check.add
def still_right(f):
    guessed = []
    for counts in {0: 5, 1: 2, 2: 1}, {k: 60 for k in range(10)}, {0: 990, 1: 10}, {7: 5}, {3: 1}, {4: 500, 40: 300, 9: 200}, {1: 60, 8: 41}, {0: 90, 5: 120}, {0: 1, 1: 1, 2: 1}, {2: 17, 5: 40, 1: 44}:
        y = torch.cat([torch.full((n,), k) for k, n in counts.items()])
        n, p, given = len(y), torch.tensor([*counts.values()]).double()/len(y), y.clone()
        here = 'labels ' + ', '.join(f'{m} times {k}' for k, m in [*counts.items()][:3]) + ', …'*(len(counts) > 3) + ': '
        got = f(given)
        refuse(got is None, 'it returns nothing: no `return`?')
        refuse(not given.equal(y), 'it changes its argument: the labels come back in another order')
        if torch.is_tensor(got): got = got.tolist()
        refuse(not isinstance(got, (tuple, list)) or len(got) != 2, 'two shares, please: on average, and in a tear of yours')
        average, torn = map(float, got)
        right = p.square().sum().item()
        for words, wrong in [] if alike(average, right) else [
            ('not all labels are equally frequent', 1/len(p)), ('that is the share of the most frequent label; the others may be right, too', p.max().item()),
            ('these get their own label back; another row\'s is as good, if it is the same', 1/n),
            ('when the labels are shuffled, a row\'s own label is in the pot with the others', (right*n - 1)/max(n - 1, 1)),
            ('that is the share that is wrong', 1 - right), ('how many rows have that label? Each counts with its share', p.square().mean().item()),
            ('a row has its label already: p for that, and once more p for the label that it gets', 1.), ('a root too many', right**0.5),
            ('that is how many, and which share of them is wanted', n*right), ('that takes the mean of logarithms', (p*p.log()).sum().exp().item()),
            ('that is a loss; the share of right labels is wanted', -(p*p.log()).sum().item())]:
            refuse(alike(average, wrong), f'{here}{words}\n  you computed {average:.6g}; on average it is {right:.6g}')
        refuse(not alike(average, right), f'{here}you computed {average:.6g}; on average it is {right:.6g}')
        said = f'\n  you counted {torn:.6g}; on average it is {right:.6g}'
        refuse(torn > 1, f'{here}that is how many are right in your tear, not which share{said}')
        guessed.append(average == torn)
        refuse(len(p) > 1 and n > 10 and guessed[0] and all(guessed), f'the computed share comes twice; the other one has to be counted, in a tear{said}')
        refuse(torn == 1 and n > 100 and right < 0.9, f'{here}all are right in your tear: were rows and labels shuffled in the same order?{said}')
        same = (y == y.roll(1)).double().mean().item()
        refuse(alike(torn, same) and abs(same - right)*n > 5*spread_of_tears(y), f'{here}a label from one of the neighbours; shuffle them, each in an order of its own{said}')
        far = abs(torn - right)*n > 5*spread_of_tears(y) + 6       # rare labels come in jumps
        refuse(far and torn*n < 7, f'{here}did you count the rows that got their own label back? One from another row is as good, if it is the same{said}')
        refuse(far and abs(1 - torn - right)*n < 5*spread_of_tears(y) + 6, f'{here}the second one looks like the share of wrong labels{said}')
        refuse(far, f'{here}no tear of these labels comes out so: two shuffles, and then count the rows whose label is the same as before{said}')
        refuse(len(p) == 2 and round(n - torn*n) % 2, f'{here}of two labels, the wrong ones come in pairs if the labels are shuffled; did you draw them with replacement, or not count all?{said}')
        refuse(abs(torn*n - round(torn*n)) > 1e-3, f'{here}{torn:.6g} is no share of {n} rows: the second one has to be counted, in a tear{said}')
    return 'with 990 to 10, 98 % of the labels stay right: of a hundred rows that you look at, two are wrong; so keep the pairs in one object'

# %% [markdown]
# And what does it cost? Here's an epoch on 10,000 digits, with the pairs as they should be and with the pairs torn, and the loss on the same rows afterwards. A tenth of the labels is right, as you know now. Predict where the loss gets stuck: the images tell nothing about their labels, so no model can do better than one that never looks. (Train for longer, and it gets a little *lower*: the network begins to learn these rows by heart.)

# %%
torch.set_num_threads(1)
x, y = (t[:10_000] for t in mnist()[:2])

def loss_after(x, y, epochs=1, lr=0.1):
    torch.manual_seed(0)
    model = Sequential(Linear(784, 50), ReLU(), Linear(50, 10))
    for _ in range(epochs):
        for xb, yb in DataLoader(Dataset(x, y), batch_size=64, shuffle=True):
            cross_entropy(model(xb), yb).backward()
            with torch.no_grad():
                for p in model.parameters(): p -= lr*p.grad
            model.zero_grad()
    return cross_entropy(model(x), y).item()

other = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
torn = loss_after(x, y[other])
paired = loss_after(x, y)
paired < 1, torn < 2    # print the two losses instead!

# %% [markdown]
# ## 2. Who stays at home?
# (Ten minutes.) A loader with `drop_last=True` leaves items out, different ones in each epoch. Which share of the items does an epoch not see, on average? Write it for a shuffled epoch, and for one that's drawn with replacement (n draws, cut in the same way). Say what you expect for the alphabet in batches of 4 before you compute it: is it a tenth, or more like a third?
#
# Then look for a batch size with which training does nothing at all, and nobody says so.
# <details><summary>Hint</summary>
#
# With replacement: with which probability does one draw miss the letter *a*? And how many draws are left once the short batch is gone?
# </details>

# %% solution
def unseen(n,          # items
           batch_size, # of each batch; a shorter last one is dropped
           replacement # drawn with replacement? Else shuffled
          ):           # a share, from 0 to 1
    "The share of the items that an epoch doesn't see, on average."
    seen = n - n % batch_size
    return (1 - 1/n)**seen if replacement else 1 - seen/n

# %% wrong: how many draws are left
def unseen(n, batch_size, replacement):
    return (1 - 1/n)**n if replacement else (n % batch_size)/n

# %% wrong: how many items, not which share
def unseen(n, batch_size, replacement):
    seen = n - n % batch_size
    return n*(1 - 1/n)**seen if replacement else n - seen

# %% wrong: a batch that is full
def unseen(n, batch_size, replacement):
    left = n % batch_size or batch_size
    return (1 - 1/n)**(n - left) if replacement else left/n

# %% wrong: larger than n
def unseen(n, batch_size, replacement):
    left = n % batch_size if batch_size < n else 0
    return (1 - 1/n)**(n - left) if replacement else left/n

# %% wrong: replacement or not
def unseen(n, batch_size, replacement): return (n % batch_size)/n

# %% check
@check.add
def unseen(f):
    def right(n, bs, replacement):
        seen = n//bs*bs
        return (1 - 1/n)**seen if replacement else 1 - seen/n
    for n, bs in (26, 4), (26, 13), (10, 3), (100, 64), (7, 1), (5, 9), (1, 1), (50_000, 64):
        for replacement in False, True:
            ask(f, n, bs, replacement, expect=right, tol=1e-6, mistakes={
                'how many draws are left, once the short batch is dropped?': lambda n, bs, r: (1 - 1/n)**n if r else right(n, bs, r),
                'that is how many items, not which share of them': lambda n, bs, r: n*right(n, bs, r),
                'a batch larger than n is a short one, too, and dropped: nothing is seen': lambda n, bs, r: ((1 - 1/n)**n if r else 0.) if bs > n else None,
                'one draw misses an item with the probability 1 - 1/n; 25/26 is the alphabet\'s': lambda n, bs, r: (25/26)**(n//bs*bs) if r else None,
                'that is the share that it does see': lambda n, bs, r: 1 - right(n, bs, r),
                'a batch that is full is not dropped': lambda n, bs, r: (1 - 1/n)**(n - (n % bs or bs)) if r else (n % bs or bs)/n,
                'it answers the same, replacement or not': lambda n, bs, r: right(n, bs, not r),
                'in the limit of many items, perhaps; write it for any number': lambda n, bs, r: math.exp(-(n//bs*bs)/n) if r else 0.,
                'a batch is several draws: each of them may miss the item': lambda n, bs, r: (1 - 1/n)**(n//bs) if r else right(n, bs, r),
                'with replacement, an item may be drawn twice in one batch, so count the draws, not the batches':
                    lambda n, bs, r: max(0, 1 - bs/n)**(n//bs) if r else right(n, bs, r),
                'a share of all items is wanted, not of a batch': lambda n, bs, r: right(n, bs, r) if r else (n % bs)/bs,
                'the short batch is the remainder, `n % batch_size`': lambda n, bs, r: (1 - 1/n)**(n - bs) if r else bs/n})
    return 'a batch size above n drops everything: an epoch without a step, and without a word'

# %% [markdown]
# ## 3. Words of any length
# (Fifteen minutes.) `collate` can't stack words of different lengths. Write a `collate_fn` for them: it turns a list of words in small letters into whole numbers, padded with zeros on the right until all are as long as the longest *of this batch*, and keeps the lengths beside them. Which number must *a* not get?
# <details><summary>Hint</summary>
#
# `ord('a')` is 97. And `torch.zeros(rows, columns, dtype=torch.int64)` is a good place to begin.
# </details>

# %% solution
def pad(words # a list of n words, from a to z; a word may be empty
       ):     # (n, longest) whole numbers, 1 for a to 26 for z; and (n,) the lengths
    "One batch of words."
    lengths = torch.tensor([len(word) for word in words])
    numbers = torch.zeros(len(words), int(lengths.max()), dtype=torch.int64)
    for row, word in zip(numbers, words):
        row[:len(word)] = torch.tensor([ord(letter) - 96 for letter in word])
    return numbers, lengths

# %% wrong: told from the padding
def pad(words):
    lengths = torch.tensor([len(word) for word in words])
    numbers = torch.zeros(len(words), int(lengths.max()), dtype=torch.int64)
    for row, word in zip(numbers, words):
        row[:len(word)] = torch.tensor([ord(letter) - 97 for letter in word])
    return numbers, lengths

# %% wrong: on the left
def pad(words):
    longest = max(len(word) for word in words)
    numbers = [[0]*(longest - len(word)) + [ord(letter) - 96 for letter in word] for word in words]
    return torch.tensor(numbers), torch.tensor([len(word) for word in words])

# %% wrong: whole numbers
def pad(words):
    lengths = torch.tensor([len(word) for word in words])
    numbers = torch.zeros(len(words), int(lengths.max()))
    for row, word in zip(numbers, words):
        row[:len(word)] = torch.tensor([ord(letter) - 96 for letter in word])
    return numbers, lengths

# %% wrong: wider than the longest word
def pad(words):
    lengths = torch.tensor([len(word) for word in words])
    numbers = torch.zeros(len(words), max(1, int(lengths.max())), dtype=torch.int64)
    for row, word in zip(numbers, words):
        row[:len(word)] = torch.tensor([ord(letter) - 96 for letter in word])
    return numbers, lengths

# %% wrong: their own lengths
def pad(words):
    longest = max(len(word) for word in words)
    numbers = torch.tensor([[ord(letter) - 96 for letter in word] + [0]*(longest - len(word)) for word in words])
    return numbers, torch.tensor([longest]*len(words))

# %% wrong: the order
def pad(words):
    words = sorted(words, key=len)
    longest = max(len(word) for word in words)
    numbers = torch.tensor([[ord(letter) - 96 for letter in word] + [0]*(longest - len(word)) for word in words])
    return numbers, torch.tensor([len(word) for word in words])

# %% check
def _pad(words, first=1, left=False, width=0):
    width = max(width, *map(len, words)) if len(words) > 1 else max(width, len(words[0]))
    rows = [[ord(c) - 97 + first for c in word] for word in words]
    rows = [[0]*(width - len(r))*left + r + [0]*(width - len(r))*(not left) for r in rows]
    return torch.tensor(rows, dtype=torch.int64).view(len(words), width), torch.tensor([*map(len, words)])

@check.add
def pad(f):
    def lengths_of_all(words): return _pad(words)[0], torch.full((len(words),), max(map(len, words)))
    for words in ['a', 'loader'], ['zebra'], ['of', 'a', 'batch', 'and', 'maps'], ['', 'ab'], ['same', 'size'], ['b', 'a', ''], ['', '']:
        given = list(words)
        got = f(given)
        refuse(got is None, 'it returns nothing: no `return`?')
        refuse(given != words, 'it changes its argument: the list of words is another')
        call = f'pad({words!r})'
        refuse(not isinstance(got, (tuple, list)) or len(got) != 2, f'{call}: two tensors, please, the numbers and the lengths')
        refuse(not all(map(torch.is_tensor, got)), f'{call} gave {brief(got)}: tensors, please')
        numbers, lengths = got
        right, sizes = _pad(words)
        said = f'{call} gave {brief(numbers)}; expected {brief(right)}'
        refuse(numbers.is_floating_point() or lengths.is_floating_point(), f'{call}: whole numbers, please, not {numbers.dtype}, {lengths.dtype}')
        refuse(numbers.ndim == 2 and numbers.shape == right.T.shape != right.shape and alike(numbers, right.T), f'a row for each word, not a column\n  {said}')
        if not alike(numbers, right):
            in_order = sorted(words, key=len)
            for other in in_order, in_order[::-1], sorted(words):
                refuse(other != words and alike(numbers, _pad(other)[0]), f'the order of the words has changed, and their labels would not know\n  {said}')
            refuse(alike(numbers, _pad(words, 0)[0]), f'*a* is 0 here, and cannot be told from the padding\n  {said}')
            refuse(alike(numbers, (right + 96)*(right > 0)), f'count the letters from 1: *a* is 1\n  {said}')
            refuse(alike(numbers, _pad(words, 1, True)[0]), f'the zeros are on the left\n  {said}')
            refuse(numbers.ndim == 2 and numbers.shape[1] > right.shape[1] and alike(numbers[:, :right.shape[1]], right),
                   f'wider than the longest word of this batch: {[*numbers.shape]} where {[*right.shape]} would do\n  {said}')
            refuse(numbers.ndim == 2 and numbers.shape[1] < right.shape[1], f'letters are cut off\n  {said}')
            raise Wrong(said)
        said = f'{call} gave the lengths {brief(lengths)}; expected {brief(sizes)}'
        refuse(alike(lengths, lengths_of_all(words)[1]) and not alike(lengths, sizes), f'the words have their own lengths, without the padding\n  {said}')
        refuse(not alike(lengths, sizes), said)
    words = ['to', 'the', 'end', 'a', 'sampler', 'reads', 'x']
    rows = [(n[:size].tolist()) for numbers, lengths in DataLoader(words, 3, collate_fn=f) for n, size in zip(numbers, lengths)]
    refuse(rows != [[ord(c) - 96 for c in word] for word in words], 'it works alone, but not as the `collate_fn` of a loader')
    return 'the lengths say where to stop: a mean over a padded row would count the zeros'

# %% [markdown]
# ## 4. Every class equally often
# (Twenty minutes.) In a thousand rows, 990 have the label 0 and ten the label 1. Write a sampler that hands out the index of one label as often as that of any other: it draws a label, each with the same probability, and then one of the rows that have it. An epoch has as many draws as there are rows. If a `generator` is given, all draws come from it.
#
# Predict before you count: how often does each of the ten rare rows come in an epoch?
# <details><summary>Hint</summary>
#
# `torch.multinomial(weights, n, replacement=True, generator=g)` draws in proportion to weights. Which weight must a row have so that those of each label add up to the same sum?
# </details>

# %% solution
class Balanced:
    "Indices of rows, drawn with replacement so that every label is equally frequent."
    def __init__(self, labels,   # (n,) whole numbers
                 generator=None): # of torch
        "Note the labels and the generator."
        _, which, counts = labels.unique(return_inverse=True, return_counts=True)
        self.weights, self.generator = 1/counts[which], generator
    def __len__(self):
        "As many draws as rows."
        return len(self.weights)
    def __iter__(self):
        "The indices of an epoch, one by one, drawn anew each time."
        n, g = len(self), self.generator
        drawn = torch.multinomial(self.weights, n, replacement=True, generator=g)
        return iter(drawn.tolist())

# %% wrong: as rare as before
class Balanced:
    def __init__(self, labels, generator=None): self.labels, self.generator = labels, generator
    def __len__(self): return len(self.labels)
    def __iter__(self): return iter(torch.randint(len(self), (len(self),), generator=self.generator).tolist())

# %% wrong: the same in each epoch
class Balanced:
    def __init__(self, labels, generator=None):
        _, which, counts = labels.unique(return_inverse=True, return_counts=True)
        self.drawn = torch.multinomial(1/counts[which], len(labels), replacement=True, generator=generator).tolist()
    def __len__(self): return len(self.drawn)
    def __iter__(self): return iter(self.drawn)

# %% wrong: come in turn
class Balanced:
    def __init__(self, labels, generator=None): self.labels, self.generator = labels, generator
    def __len__(self): return len(self.labels)
    def __iter__(self):
        kinds, n = self.labels.unique(), len(self)
        for i in range(n):
            rows = (self.labels == kinds[i*len(kinds)//n]).nonzero()[:, 0]
            yield rows[torch.randint(len(rows), (), generator=self.generator)].item()

# %% wrong: generator
class Balanced:
    def __init__(self, labels, generator=None):
        _, which, counts = labels.unique(return_inverse=True, return_counts=True)
        self.weights = 1/counts[which]
    def __len__(self): return len(self.weights)
    def __iter__(self): return iter(torch.multinomial(self.weights, len(self), replacement=True).tolist())

# %% wrong: labels that do not occur
class Balanced:
    def __init__(self, labels, generator=None): self.labels, self.generator = labels, generator
    def __len__(self): return len(self.labels)
    def __iter__(self):
        for _ in range(len(self)):
            kind = torch.randint(int(self.labels.max()) + 1, (), generator=self.generator)
            rows = (self.labels == kind).nonzero()[:, 0]
            yield rows[torch.randint(len(rows), (), generator=self.generator)].item()

# %% check
@check.add
def Balanced(f):
    rare = torch.tensor([0]*990 + [1]*10)[torch.randperm(1000, generator=gen())]
    mixed = torch.tensor([0]*700 + [1]*200 + [2]*100)[torch.randperm(1000, generator=gen(1))]
    gaps = torch.tensor([9, 3, 3, 9, 9, 9, 7, 9, 9, 9, 3, 9, 9])
    for labels, epochs in (rare, 8), (mixed, 8), (gaps, 300), (torch.tensor([4]), 3):
        n, g = len(labels), gen(5)
        sampler = f(labels.clone(), generator=g)
        refuse(len(sampler) != n, f'the length should be {n}, as many draws as rows, and is {len(sampler)}')
        try: drawn = [list(sampler) for _ in range(epochs)]
        except RuntimeError as e:
            refuse(labels is gaps, f'labels {brief(labels)}: does it draw labels that do not occur, such as 0? ({e})')
            raise
        refuse(any(len(d) != n for d in drawn), f'an epoch should have {n} draws, and had {len(drawn[0])}')
        refuse(any(int(i) != i or not 0 <= i < n for d in drawn for i in d), f'indices should be from 0 to {n-1}')
        refuse(n > 1 and drawn[0] == drawn[1], 'the draws are the same in each epoch')
        i = torch.tensor(drawn)
        got, kinds = labels[i].flatten(), labels.unique()
        counts = torch.tensor([(labels == k).sum() for k in kinds])
        share = torch.tensor([(got == k).float().mean() for k in kinds])
        slack = 5*(len(got)*len(kinds))**-0.5 # five standard deviations or more
        words = f'of {[*zip(kinds.tolist(), counts.tolist())]} (label, rows) it drew the labels with the shares {[round(s, 3) for s in share.tolist()]}'
        refuse(len(kinds) > 1 and (share - counts/n).abs().max() < slack/2, f'rare labels are as rare as before: {words}')
        refuse((share - 1/len(kinds)).abs().max() > slack, f'not equally often: {words}')
        for k, m in zip(kinds, counts):
            rows = (labels == k).nonzero()[:, 0]
            times = torch.tensor([(i == r).sum() for r in rows]).double()
            mean, d = times.mean(), max(m.item() - 1, 1)
            spread = m*times.var(correction=0)/mean.clamp(min=1e-9) # chi-squared; outside of the bounds less than once in a million
            low, high = (d*(1 - 2/(9*d) + z*(2/(9*d))**0.5)**3 for z in (-4.9, 4.9))
            refuse(m > 1 and spread > high, f'the rows of label {k} are not drawn equally often: from {int(times.min())} to {int(times.max())} times')
            refuse(m > 5 and mean > 3 and spread < low and len(kinds) > 1,
                   f'the rows of label {k} are not drawn independently: each comes {int(times.min())} to {int(times.max())} times')
        if len(kinds) > 1 and n > 100:
            same = (labels[i][:, 1:] == labels[i][:, :-1]).float().mean()
            refuse(same > 0.5 + 0.5/len(kinds), 'the labels come in turn, one after the other in long runs: a batch would hold one label only')
            refuse(same < 0.5/len(kinds), 'the labels alternate: draw each one anew')
        again = f(labels.clone(), generator=gen(5))
        torch.rand(7)
        refuse([list(again) for _ in range(epochs)] != drawn, 'the same seed gives other draws: do all of them come from the generator?')
    plain = f(rare)
    refuse(list(plain) == list(plain), 'without a generator, the draws are the same in each epoch')
    data = Dataset(torch.arange(1000), rare)
    labels = torch.cat([yb for _, yb in DataLoader(data, 50, sampler=f(rare, generator=gen(2)))])
    refuse(not 400 < labels.sum() < 600, f'in a loader, {int(labels.sum())} of 1,000 rows have the rare label')
    return 'each of the ten rare rows comes about fifty times an epoch: a network may well learn them by heart'

# %% [markdown]
# ## 5. A million windows in one series
# (Twenty-five minutes.) A model that's to guess the next number of a series, or the next letter of a text, wants items like these: `k` numbers, and the one that follows. Write the `Dataset`, with a `read_batch` that reads a whole batch at once, however large, and without ever storing the windows.
#
# Then break it: take `read_batch` out, and time an epoch of `DataLoader(Windows(torch.randn(100_000), 50), 64)` both ways.
# <details><summary>Hint</summary>
#
# How many items are there? Try it with a series of five and `k` of three, on paper.
# </details>
# <details><summary>Second hint</summary>
#
# A tensor takes a tensor of indices, of any shape. For a column of starts, (b, 1), what does `starts + torch.arange(k)` look like?
# </details>

# %% solution
class Windows(Dataset):
    "All windows of a series: item `i` is `k` numbers from `i` on, and the next one."
    def __init__(self, series, # (n,)
                 k):           # numbers in a window
        "Keep the series, once."
        super().__init__(series)
        self.series, self.k = series, k
    def __len__(self):
        "How many windows have a next number; none if the series is too short."
        return max(0, len(self.series) - self.k)
    def __getitem__(self, i): # from 0 up
        "One item: (k,) and a number, 0-d; past the last one, an IndexError."
        return self.series[i:i+self.k], self.series[i+self.k]
    def read_batch(self, idxs): # a list of b indices
        "As `collate` of these items: (b, k) and (b,)."
        starts = torch.as_tensor(idxs)
        at = starts[:, None] + torch.arange(self.k)
        return [self.series[at], self.series[starts + self.k]]

# %% wrong: the last window has no next number
class Windows(Dataset):
    def __init__(self, series, k): self.series, self.k, self.tensors = series, k, (series,)
    def __len__(self): return len(self.series) - self.k + 1
    def __getitem__(self, i): return self.series[i:i+self.k], self.series[i+self.k]
    def read_batch(self, idxs):
        at = torch.as_tensor(idxs)[:, None] + torch.arange(self.k)
        return [self.series[at], self.series[at[:, -1] + 1]]

# %% wrong: shorter than its windows
class Windows(Dataset):
    def __init__(self, series, k): self.series, self.k, self.tensors = series, k, (series,)
    def __len__(self): return len(self.series) - self.k
    def __getitem__(self, i): return self.series[i:i+self.k], self.series[i+self.k]
    def read_batch(self, idxs):
        at = torch.as_tensor(idxs)[:, None] + torch.arange(self.k)
        return [self.series[at], self.series[at[:, -1] + 1]]

# %% wrong: in any order
class Windows(Dataset):
    def __init__(self, series, k): self.series, self.k, self.tensors = series, k, (series,)
    def __len__(self): return max(0, len(self.series) - self.k)
    def __getitem__(self, i): return self.series[i:i+self.k], self.series[i+self.k]
    def read_batch(self, idxs):
        part = self.series[idxs[0]:idxs[0] + len(idxs) + self.k]
        return [part.unfold(0, self.k, 1)[:-1], part[self.k:]]

# %% wrong: the items one by one
class Windows(Dataset):
    def __init__(self, series, k): self.series, self.k, self.tensors = series, k, (series,)
    def __len__(self): return len(self.series) - self.k
    def __getitem__(self, i): return self.series[i:i+self.k], self.series[i+self.k]
    def read_batch(self, idxs): return collate([self[i] for i in idxs])

# %% wrong: one window after the other
class Windows(Dataset):
    def __init__(self, series, k): self.series, self.k, self.tensors = series, k, (series,)
    def __len__(self): return len(self.series) - self.k
    def __getitem__(self, i): return self.series[i:i+self.k], self.series[i+self.k]
    def read_batch(self, idxs):
        return [torch.stack([self.series[i:i+self.k] for i in idxs]), self.series[[i+self.k for i in idxs]]]

# %% wrong: stores the windows
class Windows(Dataset):
    def __init__(self, series, k):
        self.k, self.tensors = k, (series,)
        self.x = torch.stack([series[i:i+k] for i in range(len(series)-k)])
        self.y = series[k:]
    def __len__(self): return len(self.x)
    def __getitem__(self, i): return self.x[i], self.y[i]
    def read_batch(self, idxs): return [self.x[idxs], self.y[idxs]]

# %% wrong: the last number of the window
class Windows(Dataset):
    def __init__(self, series, k): self.series, self.k, self.tensors = series, k, (series,)
    def __len__(self): return len(self.series) - self.k
    def __getitem__(self, i): return self.series[i:i+self.k], self.series[i+self.k-1]
    def read_batch(self, idxs):
        at = torch.as_tensor(idxs)[:, None] + torch.arange(self.k)
        return [self.series[at], self.series[at[:, -1]]]

# %% check
class Counting(TorchFunctionMode): # how many calls of torch's functions
    n = 0
    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.n += 1
        return func(*args, **(kwargs or {}))

def calls(act):
    with Counting() as count: act()
    return count.n

@check.add
def Windows(f):
    refuse(not issubclass(f, Dataset), 'it is no `Dataset`')
    g = gen()
    for series, k in ((torch.arange(10., 15.), 3), (torch.randn(40, generator=g, dtype=torch.float64), 7), (torch.arange(6), 1),
                      (torch.arange(3), 2), (torch.arange(5), 4)):
        n = len(series) - k
        right = [(series[i:i+k], series[i+k]) for i in range(n)]
        ds, call = f(series.clone(), k), f'Windows({brief(series)}, {k})'
        refuse(len(ds) == n + 1, f'{call} has the length {n + 1}, but the last window has no next number')
        refuse(len(ds) != n, f'{call} has the length {len(ds)}; expected {n}')
        for i, (x, y) in enumerate(right):
            got = ds[i]
            refuse(got is None, f'item {i} is nothing: no `return`?')
            refuse(not isinstance(got, (tuple, list)) or len(got) != 2, f'{call}[{i}] should be a pair, the window and the next number')
            said = f'{call}[{i}] gave {brief(got)}; expected {brief((x, y))}'
            refuse(alike(got[1], x[-1]) and not alike(x[-1], y), f'the target is the last number of the window, and the network sees it\n  {said}')
            refuse(not alike(got, (x, y)), said)
            refuse(not all(map(torch.is_tensor, got)) or got[0].dtype != series.dtype, f'{call}[{i}]: tensors, please, of the type of the series')
        for past in n, n + 1:
            try: ds[past]
            except IndexError: pass
            else: raise Wrong(f'{call}[{past}] should be an IndexError, or a `for` over the items goes too far')
        refuse(getattr(ds, 'read_batch', None) is None, 'where is `read_batch`?')
        def reads(idxs, got): return alike(tuple(got), [torch.stack(c) for c in zip(*[right[i] for i in idxs])])
        for idxs in [n-1, 0, n-1], [0], list(range(n)):
            got = ds.read_batch(list(idxs))
            refuse(got is None, '`read_batch` returns nothing: no `return`?')
            if reads(idxs, got): continue
            said = f'{call}.read_batch({idxs}) gave {brief(got)}; expected {brief(collate([right[i] for i in idxs]))}'
            refuse(n > 1 and reads(range(n), ds.read_batch([*range(n)])), f'it reads neighbours, and the indices come in any order, some of them twice\n  {said}')
            raise Wrong(said)
        batches = [*DataLoader(ds, 4, shuffle=True, generator=gen(3))]
        refuse(not alike(torch.cat([y for _, y in batches]).sort().values, series[k:].sort().values), f'a loader over {call} does not bring every target once')
        refuse(batches[0][0].dtype != series.dtype, f'`read_batch` changes the type of the numbers to {batches[0][0].dtype}')
    series = torch.randn(2000, generator=g)
    refuse(calls(lambda: f(series, 50)) > 300, 'it stores the windows, fifty times as many numbers as there are in the series')
    ds, item, asked = f(series, 50), f.__getitem__, []
    def heard(self, i):
        asked.append(i)
        return item(self, i)
    f.__getitem__ = heard
    try: few, many = (calls(lambda: ds.read_batch(list(range(b)))) for b in (5, 500))
    finally: f.__getitem__ = item
    refuse(asked, f'`read_batch` reads the items one by one: `__getitem__` was called {len(asked)} times for 505 rows')
    refuse(many > few + 100, f'`read_batch` reads one window after the other: {few} calls of torch for 5 rows, {many} for 500')
    for n, k in (3, 3), (2, 3), (0, 5), (1, 50):
        call, ds = f'Windows of {k} numbers over a series of {n}', f(torch.arange(n), k)
        try: size = len(ds)
        except ValueError as e: raise Wrong(f'{call}: a series that is shorter than its windows has none, so the length is 0 ({e})') from None
        refuse(size, f'{call}: the length is {size}; there is no window with a next number')
        try: ds[0]
        except IndexError: pass
        else: raise Wrong(f'{call}: item 0 should be an IndexError')
        refuse([*DataLoader(ds, 4)], f'{call}: a loader over it should have no batch')
    return 'every number of the series lies in `k` windows, and is stored once'

# %% [markdown]
# ## 6. Fewer zeros (open)
# (Forty-five minutes.) Words from 1 to 100 letters in shuffled batches of 20: which share of the padded batches is zeros? More than a tenth? More than a third? Guess before you run the cell below.
#
# Now make better batches: words of *similar* lengths together, so that at most a quarter of those zeros is left. But it must stay an epoch of SGD. Every index comes once, all batches but one are full, their order is mixed (not the short words first), and a word meets mostly other companions in each epoch. Before you count: which share of zeros do you expect in *your* batches, to within 0.05? Return that, too; `check` counts.
# <details><summary>Hint</summary>
#
# If you sort all the words, each meets the same neighbours for ever. If you sort none, you pad. What about sorting a part of a shuffled order at a time?
# </details>
# <details><summary>Second hint</summary>
#
# If a batch holds the lengths from `a` to `b`, evenly, its padding is half of `b - a` for each word. In how many pieces does your sorting cut the whole range?
# </details>

# %% solution
def similar(lengths,    # (n,) whole numbers, the length of each word
            batch_size, # indices in each batch
            g           # generator of torch; all that's random comes from it
           ):           # one epoch: a list of lists of indices; the share predicted
    "Batches of words of similar lengths, and the share of zeros expected in them."
    n, pieces = len(lengths), 10
    order = torch.randperm(n, generator=g)
    parts = order.split(pieces*batch_size)
    sets = [part[lengths[part].argsort()].split(batch_size) for part in parts]
    batches = [b.tolist() for some in sets for b in some]
    mixed = [batches[i] for i in torch.randperm(len(batches), generator=g).tolist()]
    spread = (lengths.max() - lengths.min())/pieces/2
    return mixed, (spread/(lengths.float().mean() + spread)).item()

# %% wrong: the same companions
def similar(lengths, batch_size, g):
    batches = [b.tolist() for b in lengths.argsort().split(batch_size)]
    return [batches[i] for i in torch.randperm(len(batches), generator=g)], 0.01

# %% wrong: sorted in parts
def similar(lengths, batch_size, g):
    order, batches = torch.randperm(len(lengths), generator=g), []
    for part in order.split(10*batch_size):
        batches += [b.tolist() for b in part[lengths[part].argsort()].split(batch_size)]
    spread = (lengths.max() - lengths.min()).item()/20
    return batches, spread/(lengths.float().mean().item() + spread)

# %% wrong: zeros are left
def similar(lengths, batch_size, g):
    return [b.tolist() for b in torch.randperm(len(lengths), generator=g).split(batch_size)], 0.5

# %% wrong: in order of their lengths
def similar(lengths, batch_size, g):
    noise = lengths + 10*torch.rand(len(lengths), generator=g)
    return [b.tolist() for b in noise.argsort().split(batch_size)], 0.1

# %% wrong: your prediction
def similar(lengths, batch_size, g):
    noise = lengths + 4*torch.rand(len(lengths), generator=g)
    batches = [b.tolist() for b in noise.argsort().split(batch_size)]
    return [batches[i] for i in torch.randperm(len(batches), generator=g)], 0.5

# %% wrong: comes once
def similar(lengths, batch_size, g):
    batches = []
    for _ in range(len(lengths)//batch_size):
        middle = lengths[torch.randint(len(lengths), (), generator=g)]
        near = (lengths - middle).abs() + torch.rand(len(lengths), generator=g)
        batches.append(near.argsort()[:batch_size].tolist())
    return batches, 0.05

# %% check
def zeros(lengths, batches): # share of padding
    full = sum(len(b)*int(lengths[b].max()) for b in batches)
    return 1 - int(lengths.sum())/full

def companions(batches): # all pairs that meet
    return {(i, j) for b in batches for i in b for j in b if i < j}

@check.add
def similar(f):
    g, off, worst = gen(9), 0., 0.
    few = torch.randint(1, 101, (2000,), generator=g), 20
    odd = torch.randint(5, 60, (1003,), generator=g), 16
    for lengths, bs in few, odd:
        n, own = len(lengths), gen(1)
        got = [f(lengths.clone(), bs, own) for _ in range(3)]
        refuse(got[0] is None, 'it returns nothing: no `return`?')
        refuse(not isinstance(got[0], (tuple, list)) or len(got[0]) != 2, 'two things, please: the batches, and the share of zeros that you predict')
        epochs = [[[int(i) for i in b] for b in batches] for batches, _ in got]
        plain = zeros(lengths, [b.tolist() for b in torch.randperm(n, generator=gen(2)).split(bs)])
        for batches, (_, predicted) in zip(epochs, got):
            refuse(sorted(i for b in batches for i in b) != list(range(n)), f'{n} words: not every index comes once in an epoch')
            sizes = sorted(map(len, batches))
            refuse(len(sizes) != -(-n//bs) or sizes[1] != bs, f'{n} words in batches of {bs}: all but one should be full, and they have from {sizes[0]} to {sizes[-1]} words')
            share = zeros(lengths, batches)
            refuse(share > plain/4, f'{share:.0%} zeros are left; shuffled batches have {plain:.0%}, so get below {plain/4:.0%}')
            means = torch.tensor([lengths[b].float().mean() for b in batches if len(b) == bs])
            r = torch.corrcoef(torch.stack([means, torch.arange(len(means)).float()]))[0, 1]
            refuse(r.abs() > 0.6, 'the batches come in order of their lengths, so each part of the epoch sees one kind of words')
            longer = (means.diff() > 0).float().mean().item() # about a half, in mixed order
            refuse(not 0.25 < longer < 0.75, f'the batches come sorted in parts: {longer:.0%} of them have longer words than the one before. Mix their order, too')
            refuse(predicted is None or not 0 <= float(predicted) <= 1, f'a share is from 0 to 1; you predict {predicted}')
            off, worst = max(off, abs(float(predicted) - share)), max(worst, share/plain)
        a, b = companions(epochs[0]), companions(epochs[1])
        refuse(epochs[0] == epochs[1], 'two epochs are the same, batch for batch')
        refuse(len(a & b) > 0.5*len(a), f'the words have the same companions in each epoch: {len(a & b)/len(a):.0%} of the pairs meet again')
        refuse([[[int(i) for i in b] for b in f(lengths.clone(), bs, gen(1))[0]]][0] != epochs[0], 'the same seed gives other batches: does all that is random come from `g`?')
    refuse(off > 0.05, f'the batches are right, but your prediction is {off:.2f} off')
    return f'of the zeros in shuffled batches you keep {worst:.0%} at most, and your predictions are at most {off:.2f} off'

# %% [markdown]
# Here are the shuffled batches. (Print it, once you've guessed!)

# %%
g = torch.Generator().manual_seed(0)
lengths = torch.randint(1, 101, (2000,), generator=g)
shuffled = [b.tolist() for b in torch.randperm(2000, generator=g).split(20)]

def share_of_zeros(lengths, batches):
    padded = sum(len(b)*lengths[b].max().item() for b in batches)
    return 1 - lengths.sum().item()/padded

share_of_zeros(lengths, shuffled) > 0.1
