"What the notebook cannot say of the loader: faults, odd types, subclasses, memory, and PyTorch's own behaviour as the measure."
import copy, inspect, pickle, subprocess, sys, tracemalloc
from collections import OrderedDict, UserDict, namedtuple
from itertools import islice

import numpy as np, pytest, torch
from torch.utils import data as peer
from minisgd.dataloader import BatchSampler, DataLoader, Dataset, Sampler, collate


def gen(seed=0): return torch.Generator().manual_seed(seed)

def equal(a, b):
    assert type(a) is type(b), (type(a), type(b))
    if isinstance(a, torch.Tensor): torch.testing.assert_close(a, b, rtol=0, atol=0)
    elif isinstance(a, (dict, UserDict)):
        assert list(a) == list(b)
        for k in a: equal(a[k], b[k])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for p, q in zip(a, b): equal(p, q)
    else: assert a == b


# ---- samplers ----

@pytest.mark.parametrize('options', [dict(), dict(replacement=True), dict(num_samples=5), dict(num_samples=250), dict(replacement=True, num_samples=101)])
def test_global_generator_as_pytorch(options):
    for n in (1, 33, 100):
        torch.manual_seed(3); ours = [list(Sampler(range(n), shuffle=True, **options)) for _ in range(3)]; after = torch.get_rng_state()
        torch.manual_seed(3); theirs = [list(peer.RandomSampler(range(n), **options)) for _ in range(3)]
        assert ours == theirs and after.equal(torch.get_rng_state())

@pytest.mark.parametrize('replacement', [False, True])
def test_both_leave_a_generator_in_the_same_state(replacement):
    for n, m in ((1, None), (32, None), (33, 32), (100, 99), (100, 300), (7, 1)):
        a, b = gen(), gen()
        for _ in range(2): assert list(Sampler(range(n), True, replacement, a, m)) == list(peer.RandomSampler(range(n), replacement, m, b))
        assert a.get_state().equal(b.get_state())

@pytest.mark.parametrize('taken', [0, 1, 99, 100])
def test_a_shuffled_epoch_broken_off_leaves_the_same_state(taken):
    a, b = gen(), gen()
    ours, theirs = iter(Sampler(range(100), True, generator=a)), iter(peer.RandomSampler(range(100), generator=b))
    for _ in range(taken): assert next(ours) == next(theirs)
    assert a.get_state().equal(b.get_state())

@pytest.mark.parametrize('bs', [1, 7, 10, 64])
@pytest.mark.parametrize('drop_last', [False, True])
@pytest.mark.parametrize('batches', [0, 1, 3, None])
def test_a_loader_broken_off_leaves_the_same_state(bs, drop_last, batches):
    x = torch.arange(100)
    a, b = gen(), gen()
    ours = DataLoader(Dataset(x), bs, shuffle=True, drop_last=drop_last, generator=a)
    theirs = peer.DataLoader(peer.TensorDataset(x), bs, shuffle=True, drop_last=drop_last, generator=b)
    for _ in range(2): equal(*(list(islice(dl, batches)) for dl in (ours, theirs)))
    assert a.get_state().equal(b.get_state())

def test_order_is_drawn_when_first_asked_for():
    sampler = Sampler(range(10), shuffle=True)
    its = iter(sampler), iter(sampler)
    orders = []
    for it in its:
        torch.manual_seed(0)
        orders.append(list(it))
    assert orders[0] == orders[1]

def test_the_global_generator_cannot_disturb_an_order():
    def order(noise):
        torch.manual_seed(1)
        return [i for i in Sampler(range(5000), shuffle=True) if not noise or torch.rand(1) >= 0]
    assert order(False) == order(True)

def test_indices_are_plain_ints():
    for s in (Sampler(range(5)), Sampler(range(5), True), Sampler(range(5), replacement=True)):
        assert all(type(i) is int for i in s)
        assert all(type(i) is int for b in BatchSampler(s, 2) for i in b)

@pytest.mark.parametrize('options, error', [
    (dict(shuffle='False'), TypeError), (dict(shuffle=1), TypeError), (dict(replacement=0), TypeError), (dict(shuffle=True, num_samples=0), ValueError),
    (dict(shuffle=True, num_samples=-1), ValueError), (dict(shuffle=True, num_samples=2.), TypeError), (dict(num_samples=3), ValueError)])
def test_sampler_refuses(options, error):
    with pytest.raises(error): Sampler(range(10), **options)

def test_nothing_to_shuffle():
    assert list(Sampler([])) == list(DataLoader([])) == []
    for loader in (DataLoader, peer.DataLoader):
        with pytest.raises(ValueError): loader([], shuffle=True)

def test_what_is_no_generator_is_refused_when_it_should_draw():
    for g in (0, 42):
        with pytest.raises(TypeError): list(Sampler(range(10), shuffle=True, generator=g))

@pytest.mark.parametrize('bad', [(0,), (-1,), (2.,), (True,), ('3',), (3, 'False'), (3, 0), (3, None)])
def test_batch_samplers_refuse(bad):
    for sampler in (BatchSampler, peer.BatchSampler):
        with pytest.raises(ValueError): sampler(range(10), *(bad if len(bad) > 1 else (*bad, False)))

def test_any_iterable_is_a_sampler():
    assert list(BatchSampler('abcde', 2)) == [['a', 'b'], ['c', 'd'], ['e']]
    assert list(BatchSampler(iter(range(5)), 2, drop_last=True)) == [[0, 1], [2, 3]]
    equal([b for b, in DataLoader(Dataset(torch.arange(10)), 2, sampler=torch.tensor([3, 1, 4]))], [torch.tensor([3, 1]), torch.tensor([4])])
    with pytest.raises(TypeError): len(BatchSampler(iter(range(5)), 2))

def test_other_samplers_of_pytorch():
    ds = Dataset(torch.arange(100))
    for make in (lambda: peer.WeightedRandomSampler(range(1, 101), 70, generator=gen(1)), lambda: peer.SubsetRandomSampler(range(0, 100, 3), gen(1)), lambda: peer.SequentialSampler(ds)):
        equal(list(DataLoader(ds, 9, sampler=make())), list(peer.DataLoader(ds, 9, sampler=make())))

def test_a_sampler_subclass_is_obeyed():
    class Backwards(Sampler):
        def __iter__(self): return reversed(range(len(self.data)))
    class Pairs(BatchSampler):
        def __iter__(self): return iter([[1, 0], [3, 2]])
    ds = Dataset(torch.arange(4))
    equal(list(DataLoader(ds, 4, sampler=Backwards(ds))), [[torch.tensor([3, 2, 1, 0])]])
    equal(list(DataLoader(ds, batch_sampler=Pairs(Sampler(ds), 2))), [[torch.tensor([1, 0])], [torch.tensor([3, 2])]])


# ---- datasets ----

def test_rows_of_arrays_are_safe_copies(tmp_path):
    np.arange(12, dtype=np.float32).tofile(tmp_path/'a')
    mapped = np.memmap(tmp_path/'a', np.float32, 'r', shape=(4, 3))
    ds = Dataset(mapped, np.arange(4))
    for x in (ds[1][0], ds[1:3][0], ds[[1, 2]][0], ds.read_batch([1, 2])[0], ds[torch.tensor([0, 1])][0]):
        assert isinstance(x, torch.Tensor)
        x += 1                                              # the file is read-only: writing into it would end the process
    assert ds[0][1].dtype == torch.int64 and mapped[1, 0] == 3
    equal(next(iter(DataLoader(ds, 2))), [torch.arange(6.).view(2, 3), torch.arange(2)])

def test_batches_are_copies():
    x = torch.zeros(4)
    for xb, in DataLoader(Dataset(x), 2): xb += 1
    assert x.sum() == 0

@pytest.mark.parametrize('idxs', [[0, 2], (0, 2), [1], range(3), torch.tensor([0, 2]), np.array([0, 2]), [-1, 0], [torch.tensor(1), torch.tensor(2)]])
def test_one_read_is_the_items_collated(idxs):
    for t in (torch.randn(5, 2, 3), torch.randn(5), torch.randn(3, 5).T, torch.rand(5) > .5, np.random.randn(5, 2), np.random.randn(3, 5).T, np.arange(5)):
        ds = Dataset(t, torch.arange(5))
        equal(ds.read_batch(idxs), collate([ds[int(i)] for i in idxs]))

@pytest.mark.parametrize('t', [np.zeros((100, 100_000), np.float32).T, np.zeros((100_000, 200), np.float32)[:, ::2], np.zeros((100_000, 100), np.float32, order='F')])
def test_rows_of_strided_arrays_cost_what_rows_cost(t):
    "Arrays of 40 MB: a read of 4 rows must not copy the whole. NumPy tells tracemalloc what it allocates."
    dl = DataLoader(Dataset(t), 4, shuffle=True)
    tracemalloc.start()
    for xb, in islice(dl, 20): assert xb.shape == (4, 100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6

def test_one_tensor_gives_tuples():
    x = torch.arange(3)
    equal(Dataset(x)[1], peer.TensorDataset(x)[1])
    equal(Dataset(x)[0:2], peer.TensorDataset(x)[0:2])
    with pytest.raises(IndexError): Dataset(x)[3]
    with pytest.raises(IndexError, match='9'): list(DataLoader(Dataset(x), batch_sampler=[[0, 9]]))

@pytest.mark.parametrize('bad, error', [((), ValueError), ((1,), TypeError), ((torch.tensor(1),), TypeError), ((torch.zeros(2), torch.zeros(3, 1)), ValueError)])
def test_dataset_refuses(bad, error):
    with pytest.raises(error): Dataset(*bad)

class Doubled(Dataset):
    def __getitem__(self, i): return tuple(2*t for t in super().__getitem__(i))
class Mixin:
    def __getitem__(self, i): return tuple(3*t for t in super().__getitem__(i))
class Tripled(Mixin, Dataset): pass
class Sextupled(Mixin, Doubled): pass
class Named(Dataset): name = 'only a name'

@pytest.mark.parametrize('kind, times', [(Dataset, 1), (Doubled, 2), (Tripled, 3), (Sextupled, 6), (Named, 1)])
def test_a_subclass_is_never_read_past(kind, times):
    ds = kind(torch.arange(5))
    assert (ds.read_batch is None) == (times > 1)
    for loader in (DataLoader, peer.DataLoader): equal(list(loader(ds, 5)), [[torch.arange(5)*times]])

def test_a_subclass_may_bring_its_own_read():
    class Squares(Dataset):
        def __init__(self, n): self.n, self.reads = n, 0
        def __len__(self): return self.n
        def __getitem__(self, i): return i*i
        def read_batch(self, idxs): self.reads += 1; return torch.tensor([i*i for i in idxs])
    ds = Squares(10)
    equal(list(DataLoader(ds, 5)), [torch.tensor([0, 1, 4, 9, 16]), torch.tensor([25, 36, 49, 64, 81])])
    assert ds.reads == 2

def test_any_dataset_may_have_read_batch():
    class Rows:
        def __len__(self): return 4
        def __getitem__(self, i): raise AssertionError('asked one by one')
        def read_batch(self, idxs): return idxs
    assert list(DataLoader(Rows(), 3)) == [[0, 1, 2], [3]]
    with pytest.raises(AssertionError): list(DataLoader(Rows(), 3, collate_fn=list))


# ---- collate ----

class MyDict(dict): pass
class MyList(list): pass
Pair = namedtuple('Pair', 'a b')

@pytest.mark.parametrize('item', [MyDict(a=1, b=MyList([1, 2.])), MyList([1, 'a']), [Pair(1, 2), {'x': (b'', np.zeros(2))}], np.float64(1), np.int32(1), np.bool_(0), True, range(3), None,
                                  UserDict(a=1), OrderedDict(b=1, a=2), np.zeros((2, 0)), np.str_('a'), torch.Size((1, 2)), (torch.ones(2, dtype=torch.bfloat16), np.ones(2, np.uint8))])
@pytest.mark.parametrize('n', [1, 3])
def test_collate_as_pytorch(item, n):
    if item is None:
        for c in (collate, peer.default_collate):
            with pytest.raises(TypeError): c([item]*n)
    else: equal(collate([item]*n), peer.default_collate([item]*n))

@pytest.mark.parametrize('bad, error', [([object()], TypeError), ([{1}], TypeError), ([np.array(['a'])], TypeError), ([np.array([object()])], TypeError),
                                        ([['X'], ['X', 'X']], RuntimeError), ([['X', 'X'], ['X']], RuntimeError), ([torch.zeros(2), torch.zeros(3)], RuntimeError),
                                        ([{'a': 1}, {'b': 1}], KeyError), ([torch.zeros(1), 2], TypeError)])
def test_collate_refuses_what_pytorch_refuses(bad, error):
    with pytest.raises(error): peer.default_collate(bad)
    with pytest.raises(error): collate(bad)


def test_dictionaries_of_different_lengths_are_refused():
    "Here we are stricter: PyTorch takes the keys of the first and drops the others."
    uneven = [{'a': 1}, {'a': 1, 'b': 2}]
    equal(peer.default_collate(uneven), {'a': torch.tensor([1, 1])})
    with pytest.raises(RuntimeError, match='different lengths'): collate(uneven)


# ---- the loader ----

class Faulty:
    def __init__(self, error): self.error = error
    def __len__(self): return 6
    def __getitem__(self, i):
        if i == 3: raise self.error
        return i

@pytest.mark.parametrize('error', [ValueError('no'), KeyError('k'), NotImplementedError(), FileNotFoundError(2, 'gone', 'f.png')])
def test_after_a_faulty_item_the_next_batch_comes(error):
    it = iter(DataLoader(Faulty(error), 2))
    next(it)
    with pytest.raises(type(error)) as caught: next(it)
    assert caught.value is error
    equal(next(it), torch.tensor([4, 5]))

def test_attributes_are_pytorchs():
    ds, g, f = Dataset(torch.arange(10)), gen(), lambda b: b
    for options in (dict(), dict(batch_size=3, drop_last=True, generator=g), dict(batch_size=None), dict(batch_sampler=[[1]], collate_fn=f)):
        ours, theirs = DataLoader(ds, **options), peer.DataLoader(ds, **options)
        for name in ('dataset', 'drop_last', 'generator'): assert getattr(ours, name) is getattr(theirs, name)
        assert (ours.batch_sampler is None) == (theirs.batch_sampler is None) and len(ours) == len(theirs)
        assert len(ours.sampler) == 10
    ours.collate_fn = collate
    equal(list(ours), [[torch.tensor([1])]])

def test_a_growing_dataset():
    items = [1, 2]
    loaders = DataLoader(items), DataLoader(items, shuffle=True)
    items.append(3)
    assert [len(dl) for dl in loaders] == [3, 3] and [len(list(dl)) for dl in loaders] == [3, 3]

@pytest.mark.parametrize('options', [dict(), dict(shuffle=True), dict(sampler=[3, 1])])
@pytest.mark.parametrize('data', [Dataset(torch.arange(10), np.arange(10)), [np.ones(2)]*10, list(range(10)), [('a', 1.5, np.float32(2), {'k': np.zeros(2)})]*10])
def test_single_items(options, data):
    a, b = gen(), gen()
    ours, theirs = DataLoader(data, None, generator=a, **options), peer.DataLoader(data, None, generator=b, **options)
    for _ in range(2): equal(list(ours), list(theirs))
    assert len(ours) == len(theirs) and a.get_state().equal(b.get_state())

def test_lists_of_indices_as_items():
    x = torch.arange(10)
    equal(list(DataLoader(x, None, sampler=[[1, 2], [3]], collate_fn=lambda i: -i)), [torch.tensor([-1, -2]), torch.tensor([-3])])
    for loader in (DataLoader, peer.DataLoader):
        equal(list(loader(Dataset(x, -x), None, sampler=BatchSampler(Sampler(x, True, generator=gen()), 4))),
              list(peer.DataLoader(peer.TensorDataset(x, -x), None, sampler=peer.BatchSampler(peer.RandomSampler(x, generator=gen()), 4, False))))

class Stream(peer.IterableDataset):
    def __iter__(self): return iter(range(20))

def test_streams_are_refused():
    with pytest.raises(TypeError, match='no len'): list(DataLoader(Stream(), 2))

def test_without_a_generator_as_pytorch():
    def orders(loader):
        torch.manual_seed(0)
        return [xb.tolist() for _ in range(2) for xb in loader(range(20), 6, shuffle=True)], torch.rand(1)
    assert orders(DataLoader) == orders(peer.DataLoader)

@pytest.mark.parametrize('singly', [False, True])
def test_a_sampler_that_draws_at_once_as_pytorch(singly):
    class AtOnce:
        def __len__(self): return 4
        def __iter__(self): return iter(torch.randperm(20).view(4, 5).tolist())
    how = dict(sampler=AtOnce(), batch_size=None) if singly else dict(batch_sampler=AtOnce())
    def epochs(loader):
        torch.manual_seed(0)
        dl = loader(peer.TensorDataset(torch.arange(20)), **how)
        return [list(dl) for _ in range(3)], torch.rand(1)
    equal(epochs(DataLoader), epochs(peer.DataLoader))

def test_two_iterators_at_once_as_pytorch():
    def orders(loader):
        torch.manual_seed(0)
        dl = loader(range(20), 6, shuffle=True)
        return [(a.tolist(), b.tolist()) for a, b in zip(dl, dl)]
    assert orders(DataLoader) == orders(peer.DataLoader)

@pytest.mark.parametrize('a', [dict(sampler=[0], shuffle=True), dict(sampler=[0], batch_sampler=[[0]]), dict(batch_size=2, batch_sampler=[[0]]), dict(shuffle=True, batch_sampler=[[0]]),
                               dict(drop_last=True, batch_sampler=[[0]]), dict(batch_size=None, batch_sampler=[[0]]), dict(batch_size=None, drop_last=True), dict(batch_size=0), dict(batch_size=-1), dict(batch_size=2.), dict(batch_size=True), dict(drop_last=1)])
def test_both_loaders_refuse(a):
    for loader in (DataLoader, peer.DataLoader):
        with pytest.raises(ValueError): loader(range(3), **a)

def test_every_broken_epoch_goes_on_from_the_same_state():
    "Both loaders, tensors and lists: take some batches, then a whole epoch."
    for taken in (1, 2, 5):
        for options in (dict(batch_size=20), dict(batch_size=30), dict(batch_size=100), dict(batch_size=7, drop_last=True)):
            loaders = [loader(Dataset(torch.arange(100)), shuffle=True, generator=gen(), **options) for loader in (DataLoader, peer.DataLoader)]
            for dl in loaders: list(islice(dl, min(taken, len(dl))))
            equal(*map(list, loaders))

def test_a_dataset_without_length():
    class Endless:
        def __getitem__(self, i): return i
    with pytest.raises(TypeError, match="'Endless' has no len"): list(DataLoader(Endless()))
    with pytest.raises(TypeError, match="'Endless' has no len"): DataLoader(Endless(), shuffle=True)
    equal(list(DataLoader(Endless(), 2, sampler=[5, 7, 9])), [torch.tensor([5, 7]), torch.tensor([9])])

def test_options_of_other_processes():
    DataLoader([1], shuffle=None, num_workers=0, pin_memory=False, timeout=0, worker_init_fn=None, multiprocessing_context=None, prefetch_factor=None, persistent_workers=False)
    theirs = {name: p.default for name, p in inspect.signature(peer.DataLoader).parameters.items() if name != 'dataset'}
    equal(list(DataLoader([1, 2], **theirs)), list(peer.DataLoader([1, 2], **theirs)))
    for name, value in (('num_workers', 2), ('pin_memory', True), ('in_order', False), ('batchsize', 3), ('suffle', False), ('droplast', 0), ('worker_init_fn', [])):
        with pytest.raises(ValueError, match=name): DataLoader([1], **{name: value})

def test_collate_fn_gets_a_list_of_items():
    ds = Dataset(torch.arange(5), torch.arange(5))
    for loader in (DataLoader, peer.DataLoader):
        batch = next(iter(loader(ds, 3, collate_fn=lambda items: items)))
        equal(batch, [(torch.tensor(i), torch.tensor(i)) for i in range(3)])

@pytest.mark.parametrize('workers', [0, 2])
def test_ours_in_pytorchs_loader(workers):
    x, y = torch.randn(50, 3), torch.arange(50)
    def loader(ds, sampler, batches, **options):
        return peer.DataLoader(ds, batch_sampler=batches(sampler(ds), 8, False), num_workers=workers, generator=gen(1), **options)
    ours = loader(Dataset(x, y), lambda ds: Sampler(ds, True, generator=gen()), BatchSampler, collate_fn=collate)
    theirs = loader(peer.TensorDataset(x, y), lambda ds: peer.RandomSampler(ds, generator=gen()), peer.BatchSampler)
    for _ in range(2): equal(list(ours), list(theirs))

def test_copies_and_pickles():
    ds = Dataset(torch.arange(5), np.arange(5))
    for twin in (pickle.loads(pickle.dumps(ds)), copy.deepcopy(ds)): equal(twin.read_batch([3]), ds.read_batch([3]))
    for twin in (pickle.loads(pickle.dumps(DataLoader(ds, 2))), copy.copy(DataLoader(ds, 2))): equal(list(twin), list(DataLoader(ds, 2)))


# ---- the package ----

def test_import_is_light():
    code = 'import sys, minisgd.dataloader; print(*{"matplotlib", "sklearn", "PIL", "pandas"} & set(sys.modules))'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.strip() == ''

def test_a_hundred_million_rows_in_order_take_no_memory():
    "In a process of its own: an index for each row would be 800 MB, a Python number for each over 3 GB."
    code = '''
import resource, sys, torch
from itertools import islice
from minisgd.dataloader import DataLoader, Dataset
used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/(1024**2 if sys.platform == 'darwin' else 1024)
ds, before = Dataset(torch.zeros(1).expand(100_000_000)), used()
dl = DataLoader(ds, 64)
assert len(dl) == 1_562_500 and sum(len(xb) for xb, in islice(dl, 1000)) == 64_000
print(used() - before)'''
    pytest.importorskip('resource')
    assert float(subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout) < 50

def test_a_shuffled_epoch_takes_one_permutation():
    "Ten million rows in a process of its own: the permutation takes 80 MB, a list of Python numbers would take 360."
    code = '''
import resource, sys, torch
from itertools import islice
from minisgd.dataloader import DataLoader, Dataset
used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/(1024**2 if sys.platform == 'darwin' else 1024)
ds, before = Dataset(torch.zeros(1).expand(10_000_000)), used()
for xb, in islice(DataLoader(ds, 64, shuffle=True), 1000): pass
print(used() - before)'''
    pytest.importorskip('resource')
    assert float(subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout) < 160
