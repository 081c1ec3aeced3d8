"""Speed, side by side with PyTorch: `make bench`, or `python tests/bench.py [WORD ...]` for the rows whose name has a word.

A row is a function under `@row`. It races its contestants with `race`, which lets them take turns in one process, so that
whatever else the machine does falls on all alike, and returns one line of the table, or several. Nothing here fails on a
time; a row may assert what is not a time. `peer/ours` is how many times as long the peer takes as we do: larger is better.
"""
import os, re, sys, tempfile, time
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median, quantiles

os.environ.setdefault('MINISGD_OFFLINE', '1')
import numpy as np, torch
from torch.utils import data as peer
from minisgd.data import airfoil, mnist, origin
from minisgd.dataloader import DataLoader, Dataset, Sampler
from minisgd.files import BlockSampler
from minisgd.race import sgd_step, train

ROWS = []

def row(f):
    "Add a function that returns the lines of one comparison."
    ROWS.append(f)
    return f

def once(f):
    start = time.perf_counter()
    f()
    return time.perf_counter() - start

def race(repeat=9, min_time=0.01, **contestants):
    "Seconds of each contestant, a function without arguments, in `repeat` rounds, each after one to warm up."
    loops = {name: max(1, int(min_time/max(once(f), 1e-9))) for name, f in contestants.items()}
    times = {name: [] for name in contestants}
    for _ in range(repeat):
        for name, f in contestants.items():
            times[name].append(once(lambda: [f() for _ in range(loops[name])])/loops[name])
    return times

def spread(values):
    "Half the distance between the quartiles, as a share of the median."
    low, _, high = quantiles(values, n=4)
    return (high - low)/2/median(values)

def line(name, times, target='', ours='ours', peer='theirs'):
    "One line of the table: medians, the median of the ratios round by round, and its spread."
    ratios = [p/o for p, o in zip(times[peer], times[ours])]
    return dict(name=name, ours=median(times[ours]), peer=median(times[peer]), ratio=median(ratios), spread=spread(ratios), target=target)

def show(r):
    if 'note' in r: return print(f'{"":56}{r["note"]}')
    print(f'{r["name"]:56}{r["ours"]*1e3:10.3f}{r["peer"]*1e3:10.3f}{r["ratio"]:11.2f}  ±{r["spread"]:4.0%}   {r["target"]}', flush=True)

# ---- loading ----------------------------------------------------------------------------------------------------------

def drain(batches):
    for _ in batches: pass

def bare(tensors, bs):
    "A loop with nothing but a permutation and one indexed read after another."
    order = torch.randperm(len(tensors[0]))
    for i in range(0, len(order), bs): [t.index_select(0, order[i:i+bs]) for t in tensors]

def load(name, tensors, bs, repeat=7, targets=('', '', '')):
    "PyTorch's loader as everyone uses it, PyTorch's loader used well (one indexed read a batch), and no loader."
    rows = peer.TensorDataset(*tensors)
    ours = DataLoader(Dataset(*tensors), bs, shuffle=True)
    theirs = peer.DataLoader(rows, bs, shuffle=True)
    used_well = peer.DataLoader(rows, batch_size=None, sampler=peer.BatchSampler(peer.RandomSampler(rows), bs, drop_last=False))
    times = race(repeat, ours=lambda: drain(ours), theirs=lambda: drain(theirs), used_well=lambda: drain(used_well), bare=lambda: bare(tensors, bs))
    yield line(f'{name}, batch {bs}: PyTorch', times, targets[0])
    yield line(f'{name}, batch {bs}: PyTorch, well used', times, targets[1], peer='used_well')
    yield line(f'{name}, batch {bs}: bare index_select', times, targets[2], peer='bare')

@row
def load_mnist():
    for threads in dict.fromkeys((torch.get_num_threads(), 1)):
        default = torch.get_num_threads()
        torch.set_num_threads(threads)
        yield from load(f'load MNIST, {threads} threads', mnist()[:2], 64, targets=('>= 10', '>= 2.5', '>= 0.83'))
        torch.set_num_threads(default)

@row
def load_mnist_by_batch_size():
    for bs in (1, 8, 512, 4096, 50_000): yield from load('load MNIST', mnist()[:2], bs, repeat=3, targets=('>= 1' if bs == 1 else '', '', ''))

@row
def load_airfoil():
    for bs in (1, 10, 100, 1500): yield from load('load airfoil', airfoil(), bs, targets=('>= 1' if bs == 1 else '', '', ''))

@row
def load_item_by_item():
    "The road for any map-style dataset: a list of pairs."
    items = list(zip(*(t[:10_000] for t in mnist()[:2])))
    yield line('load a list of pairs, batch 64: PyTorch', race(5, ours=lambda: drain(DataLoader(items, 64, shuffle=True)),
                                                               theirs=lambda: drain(peer.DataLoader(items, 64, shuffle=True))))

@row
def load_epoch_start():
    tensors = mnist()[:2]
    dl = DataLoader(Dataset(*tensors), 64, shuffle=True)
    def first():
        idxs = torch.randperm(len(tensors[0]))[:64]
        return [t.index_select(0, idxs) for t in tensors]
    yield line('first batch of MNIST: randperm and index_select', race(51, ours=lambda: next(iter(dl)), theirs=first), '~ 1')

@row
def load_our_dataset_in_their_loader():
    tensors = mnist()[:2]
    ours, theirs = [peer.DataLoader(ds(*tensors), 64, shuffle=True) for ds in (Dataset, peer.TensorDataset)]
    yield line("PyTorch's loader, batch 64: our Dataset, TensorDataset", race(5, ours=lambda: drain(ours), theirs=lambda: drain(theirs)))

# ---- a whole epoch on five weights -------------------------------------------------------------------------------------

def textbook(loader, lr, epochs):
    "Linear regression as in the minibatch chapter of Dive into Deep Learning: each parameter updated in Python."
    w, b = torch.zeros(5, 1, requires_grad=True), torch.zeros(1, requires_grad=True)
    for _ in range(epochs):
        for xb, yb in loader:
            pred = torch.matmul(xb, w) + b
            ((pred - yb.reshape(pred.shape))**2/2).mean().backward()
            with torch.no_grad():
                for p in w, b:
                    p.sub_(lr*p.grad)
                    p.grad.zero_()
    return w

@row
def train_airfoil():
    "`race.train` on our loader against the textbook's loop on PyTorch's; the same batches lead to the same weights."
    for bs, epochs, target in (1500, 20, '>= 20'), (100, 10, '>= 5'), (10, 2, '>= 1.67'), (1, 1, '>= 1.25'):
        ours = DataLoader(Dataset(*airfoil()), bs, shuffle=True)
        theirs = peer.DataLoader(peer.TensorDataset(*airfoil()), bs, shuffle=True)
        start = torch.zeros(5, 1)
        times = race(9, ours=lambda: train(sgd_step, None, {'lr': 0.01}, ours, 5, epochs, w=start, every=epochs*1500),
                        theirs=lambda: textbook(theirs, 0.01, epochs))
        yield line(f'one airfoil epoch, batch {bs}: the textbook loop', {k: [t/epochs for t in ts] for k, ts in times.items()}, target)

# ---- beyond memory ----------------------------------------------------------------------------------------------------

def anonymous_mb():
    "Memory of this process that is no file's, in MB."
    return int(re.search(r'RssAnon:\s*(\d+)', Path('/proc/self/status').read_text())[1])/1024

def forget(file):
    "Ask the system to drop a file's pages from its cache, so that they are read from the disk again."
    with open(file, 'rb') as f:
        os.fsync(f.fileno())
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

@row
def stream_2gb():
    "A shuffled epoch over 2 GB on disk must not make the process grow by 300 MB; then batches by rows and by blocks of rows, from the disk itself."
    if not Path('/proc/self/status').exists(): return print('stream 2 GB: skipped, this system does not tell RssAnon')
    rows, width, bs = 640_000, 784, 256
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder)/'rows.f32'
        with open(file, 'wb') as f:
            for i in range(0, rows, 32_000): np.random.default_rng(i).random((32_000, width), dtype=np.float32).tofile(f)
        ds = lambda: Dataset(np.memmap(file, np.float32, 'r', shape=(rows, width)))
        before, start = anonymous_mb(), time.perf_counter()
        assert sum(len(xb) for xb, in DataLoader(ds(), bs, shuffle=True)) == rows
        seconds, grown = time.perf_counter() - start, anonymous_mb() - before
        assert grown < 300, f'{grown:.0f} MB'
        yield dict(note=f'streamed {file.stat().st_size/2**30:.1f} GB, batch {bs}, shuffled, in {seconds:.1f} s; RssAnon grew by {grown:.0f} MB (target < 300)')
        def batches(sampler):
            forget(file)
            data = ds()
            drain(islice(DataLoader(data, bs, sampler=sampler(data)), 50))
        times = race(5, min_time=0, ours=lambda: batches(lambda data: BlockSampler(data, bs)),
                     theirs=lambda: batches(lambda data: Sampler(data, shuffle=True)))
        yield line(f'50 batches from disk, blocks of {bs}: single rows', times, '> 1')

# ---- training ---------------------------------------------------------------------------------------------------------

@row
def train_mnist_epoch():
    """An epoch of 784-50-10, batch 64, validation excluded: our loader, SGD and the Learner with its callbacks on, the usual PyTorch loop,
    and our steps on one batch that stays where it is. Network and loss are PyTorch's for all."""
    from torch import nn
    from torch.nn.functional import cross_entropy
    from minisgd.learner import Learner
    from minisgd.optim import SGD
    x, y = mnist()[:2]
    ours, theirs, still = [nn.Sequential(nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 10)) for _ in range(3)]
    their_opt, still_opt = torch.optim.SGD(theirs.parameters(), lr=0.1), SGD(still.parameters(), lr=0.1)
    dl = DataLoader(Dataset(x, y), 64, shuffle=True)
    learn = Learner([dl], ours, cross_entropy)
    def callbacks_on():
        with learn.no_logging(): learn.fit(1, lr=0.1)
    their_dl = peer.DataLoader(peer.TensorDataset(x, y), batch_size=64, shuffle=True)
    def step(model, opt, xb, yb):
        opt.zero_grad()
        cross_entropy(model(xb), yb).backward()
        opt.step()
    def usual():
        for xb, yb in their_dl: step(theirs, their_opt, xb, yb)
    def resident():
        xb, yb = x[:64], y[:64]
        for _ in range(len(dl)): step(still, still_opt, xb, yb)
    times = race(7, ours=callbacks_on, theirs=usual, resident=resident)
    yield line('train MNIST, one epoch, batch 64: the usual PyTorch loop', times, '>= 2 (0.5 of its time)')
    yield line('train MNIST, one epoch, batch 64: the same batch again', times, '>= 0.67 (1.5 times its)', peer='resident')

# ---- two processes ----------------------------------------------------------------------------------------------------

def by_tensor(params, rows):
    "An exchange with a message for each tensor, as many loops do it."
    for p in params: torch.distributed.all_reduce(p.grad)

def crossing(sizes, one, two):
    "The batch from which on two processes are faster than one to the largest: between two sizes, on a straight line."
    slower = [i for i, (a, b) in enumerate(zip(one, two)) if b >= a]
    if not slower: return f'below {sizes[0]}'
    i = slower[-1]
    if i + 1 == len(sizes): return f'above {sizes[-1]}'
    loss, gain = two[i] - one[i], one[i + 1] - two[i + 1]
    return f'{sizes[i] + (sizes[i + 1] - sizes[i])*loss/(loss + gain):.0f}'

@row
def parallel_steps():
    "Steps per second on one process and on two, and the break-even, predicted and measured. One thread a process."
    from fastcore.basics import noop
    from minisgd.parallel import all_reduce_grads, launch, seconds_of, train_parallel
    from minisgd.modules import Linear, ReLU, Sequential
    from minisgd.optim import SGD
    from minisgd.timing import fit_step_cost
    ns, opt_func = [4**k for k in range(11)], partial(SGD, lr=0.01)
    exchanges = [partial(all_reduce_grads, [], 1, torch.zeros(n)) for n in ns]
    alpha, bandwidth = fit_step_cost([4*n for n in ns], launch(seconds_of, 2, exchanges)[0])
    yield dict(note=f'exchange between two processes: {alpha*1e6:.0f} us + bytes at {bandwidth/1e9:.2f} GB/s')
    for widths, sizes in ((784, 50, 10), [64, 256, 1024, 4096]), ((784, 1024, 1024, 10), [16, 64, 256, 1024]):
        layers = [layer for pair in zip(widths, widths[1:]) for layer in (Linear(*pair), ReLU())]
        model = Sequential(*layers[:-1])
        data = [[(torch.randn(b, widths[0]), torch.randint(10, (b,)))] for b in sizes]
        def steps(exchange): return [partial(train_parallel, model, batches, opt_func, exchange) for batches in data]
        one, flat, each = [launch(seconds_of, p, steps(how))[0] for p, how in ((1, noop), (2, all_reduce_grads), (2, by_tensor))]
        name, nbytes = '-'.join(map(str, widths)), 4*sum(b*(a + 1) for a, b in zip(widths, widths[1:]))
        for b, *times in zip(sizes, one, flat, each):
            yield dict(note='{}, {} rows: {:.0f} steps/s on one process, {:.0f} on two (tensor by tensor {:.0f})'.format(name, b, *[1/t for t in times]))
        _, rate = fit_step_cost(sizes, one)
        predicted = 2*rate*(alpha + nbytes/bandwidth)
        yield dict(note=f'{name}: break-even predicted at {predicted:.0f} rows, measured {crossing(sizes, one, flat)}')

# ---- the table --------------------------------------------------------------------------------------------------------

def main(words):
    print(f'torch {torch.__version__}, {torch.get_num_threads()} threads, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; '
          f'MNIST from {origin("mnist")}, airfoil from {origin("airfoil")}')
    print(f'\n{"row: peer":56}{"ours ms":>10}{"peer ms":>10}{"peer/ours":>11}  spread  target')
    for f in ROWS:
        if not words or any(w in f.__name__ for w in words):
            for r in f() or (): show(r)

if __name__ == '__main__': main(sys.argv[1:])
