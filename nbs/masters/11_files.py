# %% [markdown]
# # Data that is files: your turn
# > Five exercises for [11 files](../11_files.ipynb), two hours and a half in all.

# %%
import io, math, numpy as np, tempfile, torch, torch.nn.functional as F
from functools import partial
from pathlib import Path
from PIL import Image
from minisgd.dataloader import BatchSampler
from minisgd.files import BlockSampler, ImageFolder
from minisgd.checks.files import check

# %% check
import copy, io, math, numpy as np, random, tempfile, torch, torch.nn.functional as F
from functools import partial
from pathlib import Path
from unittest import mock
from PIL import Image
from ..files import BlockSampler, ImageFolder

def gen(seed): return torch.Generator().manual_seed(seed)

# %% [markdown]
# ## 1. The short block
# (Ten minutes.) A file of 20,000 rows is read by `BlockSampler` in blocks of 256, for batches of 256. How many blocks does a batch touch? Write your guess down. Then write the function that counts, and try it with `order` below. Where did your guess go wrong, and from which batch on?
#
# And with batches of 300?
# <details><summary>Hint</summary>
#
# 20,000 isn't a multiple of 256. What lies before the first batch that touches more than you thought?
# </details>

# %%
order = list(BlockSampler(range(20_000), 256, torch.Generator().manual_seed(42)))

# %% solution
def blocks_touched(order,      # indices of rows, in the order of an epoch
                   block_size, # neighbours in a block; the file begins with a full one
                   batch_size  # indices in a batch; the last may be shorter
                  ):           # how many blocks each batch touches, a list of ints
    "From how many blocks of the file does each batch read?"
    batches = BatchSampler(order, batch_size)
    return [len({i//block_size for i in batch}) for batch in batches]

# %% wrong: size of the batch
def blocks_touched(order, block_size, batch_size):
    batches = BatchSampler(order, batch_size)
    return [len({i//batch_size for i in batch}) for batch in batches]

# %% wrong: the last batch
def blocks_touched(order, block_size, batch_size):
    batches = BatchSampler(order, batch_size, drop_last=True)
    return [len({i//block_size for i in batch}) for batch in batches]

# %% wrong: place in the order
def blocks_touched(order, block_size, batch_size):
    batches = BatchSampler(range(len(order)), batch_size)
    return [len({i//block_size for i in batch}) for batch in batches]

# %% wrong: it counts
def blocks_touched(order, block_size, batch_size):
    seen, counts = set(), []
    for batch in BatchSampler(order, batch_size):
        new = {i//block_size for i in batch} - seen
        counts.append(len(new))
        seen |= new
    return counts

# %% wrong: so many blocks
def blocks_touched(order, block_size, batch_size):
    return [math.ceil(len(batch)/block_size) for batch in BatchSampler(order, batch_size)]

# %% check
@check.add
def blocks_touched(f):
    def cut(order, bs): return [order[k:k+bs] for k in range(0, len(order), bs)]
    def right(order, k, bs): return [len({i//k for i in batch}) for batch in cut(order, bs)]
    def steps(order, k, bs): return [1 + sum(a//k != b//k for a, b in zip(batch, batch[1:])) for batch in cut(order, bs)]
    def again(order, k, bs): return [len({i//k for i in order[j:j+bs]} - {i//k for i in order[:j]}) for j in range(0, len(order), bs)]
    small = [8, 9, 2, 0, 3, 1, 5, 4, 7, 6], 4, 3
    shuffled = torch.randperm(23, generator=gen(0)).tolist(), 3, 5
    blocks = [(list(BlockSampler(range(n), k, gen(n))), k, bs) for n, k, bs in ((100, 8, 12), (103, 10, 10), (64, 16, 4), (7, 1, 3), (7, 20, 1))]
    for order, k, bs in small, shuffled, *blocks:
        full = right(order, k, bs)
        ask(f, order, k, bs, expect=right, mistakes={
            'the last batch is missing, the shorter one': full[:-1] if len(order)%bs else None,
            'a block has its own size; you divided by the size of the batch': lambda o, k, bs: right(o, bs, bs),
            'it counts blocks by the place in the order, not by the row': lambda o, k, bs: right(list(range(len(o))), k, bs),
            'so many blocks would do, if each batch began where a block does': lambda o, k, bs: [math.ceil(len(b)/k) for b in cut(o, bs)],
            'a block is counted again when the batch comes back to it': steps,
            'a list, please, with a number for each batch': sum(full)/len(full), 'a list, please, with a number for each batch: that is the sum': sum(full),
            'a block that an earlier batch has touched is read again: it counts': again,
            'not all blocks between the first and the last are touched': lambda o, k, bs: [max(b)//k - min(b)//k + 1 for b in cut(o, bs)],
            'those are the blocks; how many are they?': lambda o, k, bs: [sorted({i//k for i in b}) for b in cut(o, bs)],
            'that is how many rows are in each batch': lambda o, k, bs: [len(b) for b in cut(o, bs)]})
    return 'if blocks and batches are of one size, every batch behind the short block lies across an edge, and reads from two'

# %% [markdown]
# ## 2. Flip a bit
# (Twenty minutes.) The notebook cut a picture in half, and `ImageFolder` noticed. Now be subtle: flip a single bit. Take each byte of a file in turn, change only its lowest bit (`byte ^ 1`), and open the result. Either there's an `OSError`, so it's noticed; or the pixels are what they were; or you've got a damaged picture, and nobody says a word.
#
# Guess the three shares for a PNG and for a JPEG. Then count with `partial(opened, suffix='.png')` and `.jpg`, on the two files below.
# <details><summary>Hint</summary>
#
# `bytes` can't be changed, `bytearray(data)` can. A damaged picture may even have another size.
# </details>

# %%
def opened(data, suffix): # the bytes of a file -> its pixels, or an OSError
    with tempfile.TemporaryDirectory() as root:
        (Path(root)/'a').mkdir()
        (Path(root)/f'a/picture{suffix}').write_bytes(data)
        return ImageFolder(root).pixels(0)

def saved(pixels, kind): # the bytes of a file of that kind
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()

a = np.arange(40)
picture = (128 + 120*np.sin(a*a[:,None]/25)).astype(np.uint8)
png, jpg = saved(picture, 'PNG'), saved(picture, 'JPEG')

# %% solution
def fates(opened, # opened(data) -> pixels (channels,h,w), or an OSError
          data    # the bytes of a picture's file
         ):       # three ints: noticed, harmless, damaged without a word
    "What happens to a picture when one bit of its file is flipped, byte by byte."
    pixels, noticed, harmless = opened(data), 0, 0
    for i in range(len(data)):
        changed = bytearray(data)
        changed[i] ^= 1
        try: harmless += torch.equal(opened(bytes(changed)), pixels)
        except OSError: noticed += 1
    return noticed, harmless, len(data) - noticed - harmless

# %% wrong: flips stay
def fates(opened, data):
    pixels, counts, changed = opened(data), [0, 0, 0], bytearray(data)
    for i in range(len(data)):
        changed[i] ^= 1
        try: counts[1 if torch.equal(opened(bytes(changed)), pixels) else 2] += 1
        except OSError: counts[0] += 1
    return tuple(counts)

# %% wrong: another size
def fates(opened, data):
    pixels, counts = opened(data), [0, 0, 0]
    for i in range(len(data)):
        changed = bytearray(data)
        changed[i] ^= 1
        try: counts[1 if (opened(bytes(changed)) == pixels).all() else 2] += 1
        except Exception: counts[0] += 1
    return tuple(counts)

# %% wrong: only the lowest bit
def fates(opened, data):
    pixels, counts = opened(data), [0, 0, 0]
    for i in range(len(data)):
        changed = data[:i] + bytes([(data[i] + 1)%256]) + data[i+1:]
        try: counts[1 if torch.equal(opened(changed), pixels) else 2] += 1
        except OSError: counts[0] += 1
    return tuple(counts)

# %% wrong: each in its place
def fates(opened, data):
    total, noticed, harmless = opened(data).sum(), 0, 0
    for i in range(len(data)):
        changed = bytearray(data)
        changed[i] ^= 1
        try: harmless += bool(opened(bytes(changed)).sum() == total)
        except OSError: noticed += 1
    return noticed, harmless, len(data) - noticed - harmless

# %% wrong: another shape
def fates(opened, data):
    def read(data): return opened(bytes(data)).numpy().tobytes()
    pixels, counts = read(data), [0, 0, 0]
    for i in range(len(data)):
        changed = bytearray(data)
        changed[i] ^= 1
        try: counts[1 if read(changed) == pixels else 2] += 1
        except OSError: counts[0] += 1
    return tuple(counts)

# %% wrong: opens without an error
def fates(opened, data):
    noticed = 0
    for i in range(len(data)):
        changed = bytearray(data)
        changed[i] ^= 1
        try: opened(bytes(changed))
        except OSError: noticed += 1
    return noticed, 0, len(data) - noticed

# %% wrong: other way round
def fates(opened, data):
    pixels, noticed, damaged = opened(data), 0, 0
    for i in range(len(data)):
        changed = data[:i] + bytes([data[i] ^ 1]) + data[i+1:]
        try: damaged += not torch.equal(opened(changed), pixels)
        except OSError: noticed += 1
    return noticed, damaged, len(data) - noticed - damaged

# %% check
def toy(data): # a format without checksums: 'P', rows, columns, then pixels, whose lowest bit isn't used
    if data[:1] != b'P' or data[1]*data[2] > len(data) - 3: raise OSError('not a toy')
    size = data[1]*data[2]
    return torch.tensor([b//2 for b in data[3:3 + size]], dtype=torch.uint8).view(1, data[1], data[2])

def hashed(data): # one with a checksum of its pixels
    if sum(data[2:])%256 != data[0]: raise OSError('damaged')
    return torch.tensor(list(data[2:]), dtype=torch.uint8)[None, None]

def fragile(data): # one without any help
    return torch.tensor(list(data), dtype=torch.uint8)[None, None]

def real(data, suffix):
    with tempfile.TemporaryDirectory() as root:
        (Path(root)/'a').mkdir()
        (Path(root)/f'a/b{suffix}').write_bytes(data)
        return ImageFolder(root).pixels(0)

def turned(data): # and one that says in its first byte from which end to read
    return torch.tensor(list(data[1:] if data[0]%2 else data[:0:-1]), dtype=torch.uint8)[None, None]

def lying(data): # and one that says in its first byte whether it stands or lies
    return torch.tensor(list(data[1:7]), dtype=torch.uint8).view((1, 2, 3) if data[0]%2 else (1, 3, 2))

def _fates(opened, data, flip=lambda byte: byte ^ 1, same=torch.equal):
    pixels, counts = opened(data), [0, 0, 0]
    for i in range(len(data)):
        try: counts[1 if same(opened(data[:i] + bytes([flip(data[i])]) + data[i+1:]), pixels) else 2] += 1
        except OSError: counts[0] += 1
    return tuple(counts)

@check.add
def fates(f):
    def kept(opened, data): # without putting the bits back
        pixels, counts, changed = opened(data), [0, 0, 0], bytearray(data)
        for i in range(len(data)):
            changed[i] ^= 1
            try: counts[1 if torch.equal(opened(bytes(changed)), pixels) else 2] += 1
            except OSError: counts[0] += 1
        return tuple(counts)
    def sizes(opened, data): # another size taken for an error
        pixels, counts = opened(data), [0, 0, 0]
        for i in range(len(data)):
            try: p = opened(data[:i] + bytes([data[i] ^ 1]) + data[i+1:])
            except OSError: counts[0] += 1; continue
            counts[1 if torch.equal(p, pixels) else 2 if p.shape == pixels.shape else 0] += 1
        return tuple(counts)
    wide, tall = b'P\x02\x03' + bytes(range(10, 19)), b'P\x03\x02' + bytes(range(10, 17))
    png = io.BytesIO()
    Image.fromarray(np.add.outer(np.arange(6), np.arange(7)).astype(np.uint8)*9).save(png, 'PNG')
    picture = partial(real, suffix='.png')
    picture.__name__ = 'opened'
    for opened, data in (toy, wide), (toy, tall), (toy, b'P\x01\x01\x08\x08'), (hashed, bytes([60, 0, 10, 20, 30])), (fragile, b'abc'), (turned, b'abca'), (lying, b'abcdefgh'), (picture, png.getvalue()):
        right = _fates(opened, data)
        # another size shows as a broadcast that fails, or succeeds: both are the same mistake
        ask(f, opened, data, expect=right, mistakes={
            'the flips stay: put each bit back before the next': kept,
            'a picture of another size is damaged too, and nobody noticed': sizes,
            'only the lowest bit: 1 + 1 is 2, and that changes another one, too; `^ 1` doesn\'t': lambda o, d: _fates(o, d, lambda byte: (byte + 1)%256),
            'a bit that is 1 already stays as it is; flip it, with `^ 1`': lambda o, d: _fates(o, d, lambda byte: byte | 1),
            'all bits flipped; only the lowest, please': lambda o, d: _fates(o, d, lambda byte: byte ^ 255),
            'the same numbers, but in a picture of another shape: that is damaged, too': lambda o, d: _fates(o, d, same=lambda a, b: a.flatten().equal(b.flatten())),
            'compare the pixels, each in its place: their sum can be the same in a damaged picture': lambda o, d: _fates(o, d, same=lambda a, b: a.sum() == b.sum()),
            'not all that opens without an error is damaged: compare the pixels': (right[0], 0, right[1] + right[2]),
            'not all that opens without an error is harmless: compare the pixels': (right[0], right[1] + right[2], 0),
            'the other way round: noticed, harmless, damaged': (right[0], right[2], right[1]),
            'in another order: noticed, harmless, damaged': right[::-1],
            'numbers of bytes, please, not shares': tuple(n/len(data) for n in right)})
    return 'a PNG has checksums, a JPEG has none; so if it must not happen, keep a hash of each file'

# %% [markdown]
# ## 3. A shake for four workers
# (Twenty-five minutes.) Write a transform for `ImageFolder`: it moves a picture by at most `by` pixels up or down, and at most `by` left or right, each distance equally likely, zero included. Zeros come in where the picture leaves.
#
# Four workers will have a copy of it each. Where should its random numbers come from, so that `torch.manual_seed` decides, and the four don't all do the same? (PyTorch gives its global generator another seed in each worker.)
# <details><summary>Hint</summary>
#
# Put a frame of zeros around the picture, and cut a window out of it.
# </details>
# <details><summary>Second hint</summary>
#
# What happens to a `torch.Generator` that lies in your object, when the object is copied?
# </details>

# %% solution
class Shift:
    "Moves a picture at random; zeros come in."
    def __init__(self, by): # pixels, at most
        "Remember how far."
        self.by = by
    def __call__(self, x): # (channels, height, width)
        "The picture moved: a new tensor of the same shape."
        down, right = torch.randint(2*self.by + 1, (2,)).tolist()
        framed = F.pad(x, 4*[self.by])
        return framed[:, down:down + x.shape[1], right:right + x.shape[2]].clone()

# %% wrong: comes in on the other
class Shift:
    def __init__(self, by): self.by = by
    def __call__(self, x):
        down, right = torch.randint(-self.by, self.by + 1, (2,)).tolist()
        return torch.roll(x, (down, right), (1, 2))

# %% wrong: generator of its own
class Shift:
    def __init__(self, by): self.by, self.g = by, torch.Generator().manual_seed(42)
    def __call__(self, x):
        down, right = torch.randint(2*self.by + 1, (2,), generator=self.g).tolist()
        framed = F.pad(x, 4*[self.by])
        return framed[:, down:down + x.shape[1], right:right + x.shape[2]].clone()

# %% wrong: once and for all
class Shift:
    def __init__(self, by): self.by, self.where = by, torch.randint(2*by + 1, (2,))
    def __call__(self, x):
        down, right = self.where.tolist()
        framed = F.pad(x, 4*[self.by])
        return framed[:, down:down + x.shape[1], right:right + x.shape[2]].clone()

# %% wrong: the very picture
class Shift:
    def __init__(self, by): self.by = by
    def __call__(self, x):
        down, right = torch.randint(2*self.by + 1, (2,)).tolist()
        if down == right == self.by: return x
        framed = F.pad(x, 4*[self.by])
        return framed[:, down:down + x.shape[1], right:right + x.shape[2]]

# %% wrong: equally likely
class Shift:
    def __init__(self, by): self.by = by
    def __call__(self, x):
        down, right = (2*self.by*torch.rand(2)).round().int().tolist()
        framed = F.pad(x, 4*[self.by])
        return framed[:, down:down + x.shape[1], right:right + x.shape[2]]

# %% wrong: not one moves
class Shift:
    def __init__(self, by): self.by = by
    def __call__(self, x):
        down, right = torch.randint(2*self.by, (2,)).tolist() if self.by else (0, 0)
        framed = F.pad(x, 4*[self.by])
        return framed[:, down:down + x.shape[1], right:right + x.shape[2]].clone()

# %% wrong: as far down as it does right
class Shift:
    def __init__(self, by): self.by = by
    def __call__(self, x):
        k, framed = torch.randint(2*self.by + 1, ()).item(), F.pad(x, 4*[self.by])
        return framed[:, k:k + x.shape[1], k:k + x.shape[2]].clone()

# %% check
def window(x, down, right): # x moved, zeros coming in
    framed, b = F.pad(x, 4*[9]), 9
    return framed[:, b - down:b - down + x.shape[1], b - right:b - right + x.shape[2]]

def rolled(x, *way): return torch.roll(x, way, (1, 2))

def moves(x, by, change=window): # by how much x was moved, by the result
    ways = range(-by, by + 1)
    return {change(x, d, r).numpy().tobytes(): (d, r) for d in ways for r in ways}

def where(moved, table): return table.get(torch.as_tensor(moved).detach().float().contiguous().numpy().tobytes())

@check.add
def Shift(f):
    for seed, shape, by in (0, (1, 6, 5), 1), (1, (3, 4, 7), 2), (2, (1, 5, 5), 0):
        x = 1 + torch.rand(shape, generator=gen(seed))
        ways = moves(x, by)
        def runs(n, seed, shift=None):
            torch.manual_seed(seed)
            np.random.seed(0), random.seed(0)
            shift, found = f(by) if shift is None else shift, []
            for _ in range(n):
                given = x.clone()
                moved = shift(given)
                refuse(moved is None, 'it returns nothing: no `return`?')
                refuse(getattr(moved, 'untyped_storage', None) and moved.untyped_storage().data_ptr() == given.untyped_storage().data_ptr(), 'what comes back is the very picture that it was given, or a view of it; a new one, please')
                refuse(not given.equal(x), 'it changes the picture that it was given; a new one, please')
                refuse(moved.shape != x.shape, f'a picture of {[*x.shape]} came back as {[*moved.shape]}')
                at = where(moved, ways)
                if at is None:
                    refuse(where(moved, moves(x, by, rolled)), 'what leaves on one side comes in on the other; zeros should')
                    far = where(moved, moves(x, 4))
                    refuse(far, f'with by={by} it moved a picture down by {far and far[0]} and right by {far and far[1]}')
                    each = [where(a[None], moves(b[None], by)) for a, b in zip(moved, x)]
                    refuse(len(x) > 1 and None not in each, 'the channels of a picture move apart')
                    raise Wrong('a picture came back changed, and not only moved: zeros should come in, and the rest stay as it is')
                found.append(at)
            return found
        if not by: runs(3, 0); continue
        n = 60*(2*by + 1)**2
        found = runs(n, 0)
        refuse(len({*found}) == 1 and len({*runs(20, 1)}) == 1, 'each picture is moved in the same way: it was drawn once and for all')
        refuse(all(d == 0 for d, _ in found), 'it never moves a picture up or down')
        refuse(all(r == 0 for _, r in found), 'it never moves a picture left or right')
        refuse(all(d == r for d, r in found), 'it moves a picture as far down as it does right; two draws, please')
        never = {(d, r) for d in range(-by, by + 1) for r in range(-by, by + 1)} - {*found}
        for end, way in (by, 'down'), (-by, 'up'):
            refuse(all(d != end for d, _ in found), f'with by={by}, in {n} pictures not one moves {way} by {by}; does `randint` leave out its upper end?')
        refuse(never, f'with by={by}, in {n} pictures a move by {min(never, default=(0, 0))} (down, right) never happens')
        counts = [found.count(way) for way in {*found}]
        refuse(max(counts) > 3*min(counts), f'not all moves are equally likely: of {n}, one came {max(counts)} times and another {min(counts)} times')
        apart = 'a generator of its own: each worker would have a copy of it, and draw the same as the others'
        torch.manual_seed(0)
        shift = f(by)
        try: workers = [copy.deepcopy(shift) for _ in range(2)]
        except (TypeError, AttributeError): raise Wrong(f'your object cannot be copied, so it cannot be sent to a worker. Has it {apart}?')
        one, other = [runs(40, seed, worker) for seed, worker in enumerate(workers)]
        refuse(one == other, f'two workers do the same. Is there {apart}')
        refuse(runs(40, 5) == runs(40, 6), 'another `torch.manual_seed`, and the same moves: the random numbers don\'t come from PyTorch\'s global generator')
        refuse(runs(40, 5) != runs(40, 5), 'with the same `torch.manual_seed` it does something else: the random numbers don\'t come from PyTorch\'s global generator')
    return 'one more generator is one more thing that each worker has a copy of'

# %% [markdown]
# ## 4. Any size, one file
# (Forty minutes.) `decode` wants all pictures to be of one size. Your photographs aren't. Write a data set that keeps their bytes in one file, one after the other, and knows where each begins and what shape it has. Nothing may be lost: no cropping, no scaling, no `transform`. `__init__` opens each picture once; then the folder may go, and an item is read from the file when it's asked for.
# <details><summary>Hint</summary>
#
# `np.memmap(file, np.uint8, 'r')` without a shape is one long row of bytes. `itertools.accumulate` turns lengths into places.
# </details>

# %% solution
class AnySize:
    "Pictures of any size, their bytes kept in one file."
    def __init__(self, images, # an ImageFolder; pixels(i) are bytes (channels,h,w)
                 file):        # the file to write: these bytes and nothing else
        "Open each picture once, and write its pixels to `file`."
        self.labels, self.shapes, self.starts = [k for _, k in images.samples], [], [0]
        with open(file, 'wb') as f:
            for i in range(len(images)):
                pixels = images.pixels(i)
                f.write(pixels.numpy().tobytes())
                self.shapes.append(pixels.shape)
                self.starts.append(self.starts[-1] + pixels.numel())
        self.bytes = np.memmap(file, np.uint8, 'r')
    def __len__(self):
        "How many pictures."
        return len(self.labels)
    def __getitem__(self, i): # from 0
        "Picture `i` as floats from 0 to 1, (channels,h,w), and its label, an int."
        flat = torch.tensor(self.bytes[self.starts[i]:self.starts[i+1]])
        return flat.view(self.shapes[i])/255, self.labels[i]

# %% wrong: in memory
class AnySize:
    def __init__(self, images, file):
        self.items = [(images.pixels(i), k) for i, (_, k) in enumerate(images.samples)]
        with open(file, 'wb') as f:
            for pixels, _ in self.items: f.write(pixels.numpy().tobytes())
    def __len__(self): return len(self.items)
    def __getitem__(self, i): return self.items[i][0]/255, self.items[i][1]

# %% wrong: opens the pictures
class AnySize:
    def __init__(self, images, file):
        self.images = images
        with open(file, 'wb') as f:
            for i in range(len(images)): f.write(images.pixels(i).numpy().tobytes())
    def __len__(self): return len(self.images)
    def __getitem__(self, i): return self.images[i]

# %% wrong: the wrong place
class AnySize:
    def __init__(self, images, file):
        self.labels, self.shapes, self.starts = [k for _, k in images.samples], [], [0]
        with open(file, 'wb') as f:
            for i in range(len(images)):
                pixels = images.pixels(i)
                f.write(pixels.numpy().tobytes())
                self.shapes.append(pixels.shape)
                self.starts.append(self.starts[-1] + pixels[0].numel())
        self.bytes = np.memmap(file, np.uint8, 'r')
    def __len__(self): return len(self.labels)
    def __getitem__(self, i):
        start, n = self.starts[i], math.prod(self.shapes[i])
        return torch.tensor(self.bytes[start:start + n]).view(self.shapes[i])/255, self.labels[i]

# %% wrong: the channels last
class AnySize:
    def __init__(self, images, file):
        self.labels, self.shapes, self.starts = [k for _, k in images.samples], [], [0]
        with open(file, 'wb') as f:
            for i in range(len(images)):
                pixels = images.pixels(i)
                f.write(pixels.permute(1, 2, 0).numpy().tobytes())
                self.shapes.append(pixels.shape)
                self.starts.append(self.starts[-1] + pixels.numel())
        self.bytes = np.memmap(file, np.uint8, 'r')
    def __len__(self): return len(self.labels)
    def __getitem__(self, i):
        flat = torch.tensor(self.bytes[self.starts[i]:self.starts[i+1]])
        return flat.view(self.shapes[i])/255, self.labels[i]

# %% wrong: appended to it
class AnySize:
    def __init__(self, images, file):
        self.labels, self.shapes, self.starts, self.file = [], [], [0], file
        for i, (_, label) in enumerate(images.samples):
            pixels = images.pixels(i)
            with open(file, 'ab') as f: f.write(pixels.numpy().tobytes())
            self.labels.append(label)
            self.shapes.append(pixels.shape)
            self.starts.append(self.starts[-1] + pixels.numel())
    def __len__(self): return len(self.labels)
    def __getitem__(self, i):
        data = np.memmap(self.file, np.uint8, 'r')[self.starts[i]:self.starts[i+1]]
        return torch.tensor(data).view(self.shapes[i])/255, self.labels[i]

# %% wrong: belong to the class
class AnySize:
    labels, shapes, starts = [], [], [0]
    def __init__(self, images, file):
        with open(file, 'wb') as f:
            for i, (_, label) in enumerate(images.samples):
                pixels = images.pixels(i)
                f.write(pixels.numpy().tobytes())
                self.labels.append(label)
                self.shapes.append(pixels.shape)
                self.starts.append(self.starts[-1] + pixels.numel())
        self.bytes = np.memmap(file, np.uint8, 'r')
    def __len__(self): return len(self.labels)
    def __getitem__(self, i):
        flat = torch.tensor(self.bytes[self.starts[i]:self.starts[i+1]])
        return flat.view(self.shapes[i])/255, self.labels[i]

# %% wrong: the transform
class AnySize:
    def __init__(self, images, file):
        self.labels, self.shapes, self.starts = [k for _, k in images.samples], [], [0]
        with open(file, 'wb') as f:
            for pixels, _ in (images[i] for i in range(len(images))):
                f.write((pixels*255).byte().numpy().tobytes())
                self.shapes.append(pixels.shape)
                self.starts.append(self.starts[-1] + pixels.numel())
        self.bytes = np.memmap(file, np.uint8, 'r')
    def __len__(self): return len(self.labels)
    def __getitem__(self, i):
        flat = torch.tensor(self.bytes[self.starts[i]:self.starts[i+1]])
        return flat.view(self.shapes[i])/255, self.labels[i]

# %% wrong: from 0 to 255
class AnySize:
    def __init__(self, images, file):
        self.labels, self.shapes, self.starts = [k for _, k in images.samples], [], [0]
        with open(file, 'wb') as f:
            for i in range(len(images)):
                pixels = images.pixels(i)
                f.write(pixels.numpy().tobytes())
                self.shapes.append(pixels.shape)
                self.starts.append(self.starts[-1] + pixels.numel())
        self.bytes = np.memmap(file, np.uint8, 'r')
    def __len__(self): return len(self.labels)
    def __getitem__(self, i):
        flat = torch.tensor(self.bytes[self.starts[i]:self.starts[i+1]])
        return flat.view(self.shapes[i]), self.labels[i]

# %% check
@check.add
def AnySize(f):
    before = 0
    for mode, sizes in ('RGB', [(4, 6), (5, 3), (6, 4), (1, 1), (8, 2)]), ('L', [(3, 7), (9, 2), (2, 9)]):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as root:
            root = Path(root)
            for i, (h, w) in enumerate(sizes):
                (root/f'pictures/{i//2}').mkdir(parents=True, exist_ok=True)
                shape = (h, w, 3) if mode == 'RGB' else (h, w)
                pixels = torch.randint(256, shape, dtype=torch.uint8, generator=gen(10*i + len(mode))).numpy()
                Image.fromarray(pixels).save(root/f'pictures/{i//2}/{i}.png')
            images, file = ImageFolder(root/'pictures', mode=mode), root/'all.bytes'
            items, samples, n = [*map(images.__getitem__, range(len(images)))], list(images.samples), len(images)
            images.transform = lambda x: 1 - x
            file.write_bytes(b'old')
            with mock.patch.object(Image, 'open', wraps=Image.open) as opened: ds = f(images, file)
            refuse(images.samples != samples or images.mode != mode, 'it changes the folder that it was given')
            refuse(opened.call_count > n + 1, f'it opens {opened.call_count} pictures to keep {n}; once each should do')
            total, size = sum(x.numel() for x, _ in items), file.stat().st_size
            refuse(size == 3 and file.read_bytes() == b'old', 'it writes no file')
            refuse(size == total + 3, 'there was a file before, and you\'ve appended to it: begin anew, with `\'wb\'`')
            refuse(before and len(ds) == n + before, f'{n} pictures, and a length of {len(ds)}: {before} are from the data set made before. Do your lists belong to the class, not to `self`?')
            before = n
            got = ds[0]
            refuse(got is None, '`__getitem__` returns nothing: no `return`?')
            refuse(not isinstance(got, (tuple, list)) or len(got) != 2, 'an item is a picture and its label')
            refuse(len(ds) != n, f'{n} pictures, and a length of {len(ds)}')
            for file_, _ in samples: file_.unlink()
            for i in [*range(n), *reversed(range(n))]:
                try: x, label = ds[i]
                except OSError as e: raise Wrong(f'it still opens the pictures when an item is asked for: {type(e).__name__}') from e
                right, k = items[i]
                x = torch.as_tensor(x)
                refuse(not x.is_floating_point() and x.shape == right.shape and alike(x, 255*right, 0.6), 'floats from 0 to 1, please; these are from 0 to 255')
                refuse(alike(x, 255*right, 1e-3), 'floats from 0 to 1, please; these are from 0 to 255')
                refuse(alike(x, right.permute(1, 2, 0)), f'item {i} has its channels last: {[*x.shape]}, not {[*right.shape]}')
                refuse(x.shape != right.shape, f'item {i} is {[*x.shape]}; expected {[*right.shape]}')
                if not alike(x, right):
                    refuse(alike(x.flatten(), right.permute(1, 2, 0).flatten()), f'item {i} was written with the channels last, and read with the channels first')
                    refuse(alike(x, right*255/256), 'a byte goes up to 255, so divide by that, not by 256')
                    refuse(alike(x, 1 - right, 0.01), f'the transform of the folder has changed item {i}; take `images.pixels(i)`')
                    refuse(alike(x.flatten(), right.mT.flatten()), f'item {i} has its rows and columns exchanged')
                    everything = torch.cat([p.flatten() for p, _ in items])
                    there = everything.unfold(0, x.numel(), 1)
                    at = (there - x.flatten()).abs().amax(1) < 1e-5
                    refuse(at.any(), f'item {i} is read from the wrong place: it begins at byte {int(at.float().argmax())} of the file, and should at {sum(p.numel() for p, _ in items[:i])}')
                    raise Wrong(f'item {i} came back with other pixels than it had')
                refuse(int(label) != k, f'item {i} has the label {k}, and came back with {label}')
            refuse(file.stat().st_size != total, f'the file has {file.stat().st_size} bytes; these pictures have {total}')
            with open(file, 'r+b') as g: g.write(bytes(total))     # black, behind its back
            refuse(any(torch.as_tensor(ds[i][0]).any() for i in range(n)), 'the pixels are kept in memory: I blackened the file, and the items didn\'t change')
            del ds
    return 'to batch them, crop or scale in the loader; what is on disk has lost nothing'

# %% [markdown]
# ## 5. Few places, many digits (open)
# (An hour.) The file is sorted by label, 20,000 rows, 2,000 of each digit, and you can't write it again. A full shuffle meets all ten digits in a batch of 256, but reads in 212 places (stretches of 32 rows). Blocks of 256 rows read in about a dozen places, and meet one digit or two. Find an order with at most 50 places and at least nine digits in a batch, on average. Each index comes once, and each epoch is another one.
#
# Before you measure, predict both numbers for your order, the places to within a quarter and the digits to within a half, and return them as well. `check` counts.
# <details><summary>Hint</summary>
#
# Blocks of 32 rows are one place each. How many random blocks does it take until they hold nine digits, on average?
# </details>
# <details><summary>Second hint</summary>
#
# A batch needn't read its blocks to the end, if the next few batches go on with them.
# </details>

# %%
def places_and_digits(order): # on average in a batch of 256; 2,000 rows of each digit
    rows = torch.tensor(order[:19_968]).view(-1, 256)
    return [sum(len(r.unique()) for r in rows//k)/len(rows) for k in (32, 2000)]

full = torch.randperm(20_000, generator=torch.Generator().manual_seed(0)).tolist()
[round(mean) for mean in places_and_digits(full)]

# %% solution
def mixed_order(n, # rows in the file, a tenth of them for each digit, sorted
                g  # generator of torch; all that's random comes from it
               ):  # an epoch's order, a list; places and digits predicted for a batch
    "An order for a sorted file, and what a batch of 256 is expected to meet in it."
    pool, stretch = 32, 32
    order = torch.tensor(list(BlockSampler(range(n), stretch, g)))
    parts = [part[torch.randperm(len(part), generator=g)]
             for part in order.split(pool*stretch)]
    return torch.cat(parts).tolist(), pool, 10*(1 - 0.9**pool)

# %% wrong: too many places
def mixed_order(n, g): return torch.randperm(n, generator=g).tolist(), 212, 10

# %% wrong: too few digits
def mixed_order(n, g): return list(BlockSampler(range(n), 32, g)), 8, 10*(1 - 0.9**8)

# %% wrong: your prediction
def mixed_order(n, g):
    order = torch.tensor(list(BlockSampler(range(n), 32, g)))
    parts = [part[torch.randperm(len(part), generator=g)] for part in order.split(1024)]
    return torch.cat(parts).tolist(), 8, 9

# %% wrong: are missing
def mixed_order(n, g):
    order = []
    for part in torch.randperm(n//32, generator=g).split(32):
        rows = (32*part[:, None] + torch.arange(32)).flatten()
        order += rows[torch.randperm(len(rows), generator=g)].tolist()
    return order, 32, 9.6

# %% wrong: not every index
def mixed_order(n, g):
    blocks = torch.randint(n//32, (n//32//32, 32), generator=g)
    rows = (32*blocks[..., None] + torch.arange(32)).flatten(1)
    return rows[:, torch.randperm(1024, generator=g)].flatten().tolist(), 32, 9.6

# %% wrong: the same in each
def mixed_order(n, g):
    g = torch.Generator().manual_seed(42)
    order = torch.tensor(list(BlockSampler(range(n), 32, g)))
    parts = [part[torch.randperm(len(part), generator=g)] for part in order.split(1024)]
    return torch.cat(parts).tolist(), 32, 9.6

# %% check
@check.add
def mixed_order(f):
    remark = None
    for n, seed in (20_000, 0), (20_000, 1), (12_345, 2):
        g, epochs = gen(seed), []
        for _ in range(2):
            got = f(n, g)
            refuse(got is None, 'it returns nothing: no `return`?')
            refuse(not isinstance(got, (tuple, list)) or len(got) != 3, 'three things, please: the order, and the places and digits that you predict')
            epochs.append(([int(i) for i in got[0]], float(got[1]), float(got[2])))
        for order, expected_places, expected_digits in epochs:
            missing = len({*range(n)} - {*order})
            refuse(missing, f'not every index comes: of {n:,} rows, {missing:,} are missing')
            refuse(sorted(order) != list(range(n)), f'not every index comes just once: {len(order):,} of them, for {n:,} rows')
            rows = torch.tensor(order[:n//256*256]).view(-1, 256)
            def mean(r): return sum(len(b.unique()) for b in r)/len(r)
            places, digits = mean(rows//32), mean(rows*10//n)
            refuse(places > 50, f'too many places: {places:.0f} in a batch, and {digits:.1f} digits')
            refuse(digits < 9, f'too few digits: {digits:.1f} in a batch, and {places:.0f} places')
            refuse(not (abs(expected_places/places - 1) < 0.25 and abs(expected_digits - digits) < 0.5), f'the order is good, but your prediction isn\'t: {expected_places:.0f} places and {expected_digits:.1f} digits, where I count {places:.0f} and {digits:.1f}')
            remark = remark or f'{places:.0f} places and {digits:.1f} digits in a batch; you predicted {expected_places:.0f} and {expected_digits:.1f}'
        first, second = [{*map(frozenset, torch.tensor(o[:n//256*256]).view(-1, 256).tolist())} for o, *_ in epochs]
        refuse(len(first & second) > len(first)/2, 'the batches are the same in each epoch')
        refuse(list(f(n, gen(seed))[0]) != epochs[0][0], 'the same seed gives another order: does all that\'s random come from `g`?')
    return remark
