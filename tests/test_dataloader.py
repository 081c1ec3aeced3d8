"What the notebook cannot say of the loader: faults, processes, subclasses, and PyTorch's own behaviour as the measure."
import copy, pickle, subprocess, sys
from collections import namedtuple
from itertools import islice
from pathlib import Path

import numpy as np, pytest, torch
from torch.utils import data as peer
from minisgd.dataloader import BatchSampler, DataLoader, Dataset, ImageFolder, Sampler, collate


def gen(seed=0): return torch.Generator().manual_seed(seed)

def equal(a, b):
    assert type(a) is type(b), (type(a), type(b))
    if isinstance(a, torch.Tensor): torch.testing.assert_close(a, b, rtol=0, atol=0)
    elif isinstance(a, dict):
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
@pytest.mark.parametrize('taken', [0, 1, 5, 32, 33, 99, 100])
def test_an_epoch_broken_off_leaves_the_same_state(replacement, taken):
    a, b = gen(), gen()
    ours, theirs = iter(Sampler(range(100), True, replacement, a)), iter(peer.RandomSampler(range(100), replacement, generator=b))
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

def test_indices_are_plain_ints():
    for s in (Sampler(range(5)), Sampler(range(5), True), Sampler(range(5), replacement=True), Sampler(range(5), True, block_size=2)):
        assert all(type(i) is int for i in s)
        assert all(type(i) is int for b in BatchSampler(s, 2) for i in b)

@pytest.mark.parametrize('n, block', [(1, 1), (10, 3), (100, 10), (100, 1000), (64, 64), (65, 64)])
def test_blocks(n, block):
    order = list(Sampler(range(n), shuffle=True, block_size=block, generator=gen()))
    assert sorted(order) == list(range(n))
    pieces = [i//block for i in order]
    assert sum(a != b for a, b in zip(pieces, pieces[1:])) == -(-n//block) - 1      # each block in one piece

@pytest.mark.parametrize('options, error, text', [
    (dict(replacement=0), TypeError, 'replacement should be a boolean value, but got replacement=0'),
    (dict(shuffle=True, num_samples=0), ValueError, 'num_samples'), (dict(shuffle=True, num_samples=2.), ValueError, 'num_samples'),
    (dict(num_samples=3), ValueError, 'fixed order'), (dict(block_size=3), ValueError, 'shuffle'),
    (dict(shuffle=True, block_size=0), ValueError, 'block_size'), (dict(shuffle=True, block_size=True), ValueError, 'block_size'),
    (dict(replacement=True, block_size=3), ValueError, 'block_size'), (dict(shuffle=True, num_samples=5, block_size=3), ValueError, 'block_size')])
def test_sampler_refuses(options, error, text):
    with pytest.raises(error, match=text): Sampler(range(10), **options)

def test_what_is_no_generator_is_refused_when_it_should_draw():
    for g in (0, 42):
        with pytest.raises(TypeError): list(Sampler(range(10), shuffle=True, generator=g))

@pytest.mark.parametrize('drop_last', [0, None, 'no'])
def test_batch_sampler_refuses(drop_last):
    with pytest.raises(ValueError, match='drop_last'): BatchSampler(range(10), 3, drop_last)

def test_any_iterable_is_a_sampler():
    assert list(BatchSampler('abcde', 2)) == [['a', 'b'], ['c', 'd'], ['e']]
    assert list(BatchSampler(iter(range(5)), 2, drop_last=True)) == [[0, 1], [2, 3]]
    equal([b for b, in DataLoader(Dataset(torch.arange(10)), 2, sampler=torch.tensor([3, 1, 4]))], [torch.tensor([3, 1]), torch.tensor([4])])
    with pytest.raises(TypeError): len(BatchSampler(iter(range(5)), 2))

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

@pytest.mark.parametrize('idxs', [[0, 2], (0, 2), range(3), torch.tensor([0, 2]), np.array([0, 2]), [-1, 0], [torch.tensor(1), torch.tensor(2)]])
def test_one_read_is_the_items_collated(idxs):
    for t in (torch.randn(5, 2, 3), torch.randn(5), torch.randn(3, 5).T, torch.rand(5) > .5, np.random.randn(5, 2)):
        ds = Dataset(t)
        equal(ds.read_batch(idxs), collate([ds[int(i)] for i in idxs]))
        equal(collate(ds.__getitems__(idxs)), ds.read_batch(idxs))

def test_one_tensor_gives_tuples():
    x = torch.arange(3)
    equal(Dataset(x)[1], peer.TensorDataset(x)[1])
    equal(Dataset(x)[0:2], peer.TensorDataset(x)[0:2])
    with pytest.raises(IndexError): Dataset(x)[3]

@pytest.mark.parametrize('bad, error', [((), ValueError), ((1,), TypeError), (('ab',), TypeError), ((torch.tensor(1),), TypeError), ((torch.zeros(2), torch.zeros(3, 1)), ValueError)])
def test_dataset_refuses(bad, error):
    with pytest.raises(error, match='tensors'): Dataset(*bad)

def test_a_subclass_may_bring_its_own_fast_road():
    class Squares(Dataset):
        def __init__(self, n): self.n, self.reads = n, 0
        def __len__(self): return self.n
        def __getitem__(self, i): return i*i
        def __getitems__(self, idxs): self.reads += 1; return [i*i for i in idxs]
    ds = Squares(10)
    equal(list(DataLoader(ds, 5)), [torch.tensor([0, 1, 4, 9, 16]), torch.tensor([25, 36, 49, 64, 81])])
    assert ds.reads == 2

def test_one_call_per_batch_of_any_dataset_with_getitems():
    class Stacked:
        def __init__(self): self.asked = []
        def __len__(self): return 10
        def __getitem__(self, i): raise AssertionError('asked one by one')
        def __getitems__(self, idxs): self.asked.append(idxs); return [{'i': i} for i in idxs]
    ours, theirs = Stacked(), Stacked()
    equal(list(DataLoader(ours, 4)), list(peer.DataLoader(theirs, 4)))
    assert ours.asked == theirs.asked == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


# ---- collate ----

class MyDict(dict): pass
class MyList(list): pass
Pair = namedtuple('Pair', 'a b')

@pytest.mark.parametrize('item', [MyDict(a=1, b=MyList([1, 2.])), MyList([1, 'a']), [Pair(1, 2), {'x': (b'', np.zeros(2))}], np.float64(1), np.bool_(0), True, range(3)])
@pytest.mark.parametrize('n', [1, 3])
def test_collate_as_pytorch(item, n): equal(collate([item]*n), peer.default_collate([item]*n))

@pytest.mark.parametrize('bad, error', [([object()], TypeError), ([None], TypeError), ([np.array(['a'])], TypeError), ([np.array([object()])], TypeError), ([1j], TypeError),
                                        ([['X'], ['X', 'X']], RuntimeError), ([['X', 'X'], ['X']], RuntimeError), ([torch.zeros(2), torch.zeros(3)], RuntimeError),
                                        ([np.zeros(2), np.zeros(3)], RuntimeError), ([{'a': 1}, {'b': 1}], KeyError)])
def test_collate_refuses_what_pytorch_refuses(bad, error):
    with pytest.raises(error): peer.default_collate(bad)
    with pytest.raises(error): collate(bad)


# ---- the loader ----

class Faulty:
    def __init__(self, error): self.error = error
    def __len__(self): return 6
    def __getitem__(self, i):
        if i == 3: raise self.error
        return i

class Odd(Exception):
    def __init__(self, a, b): super().__init__(a, b); self.a, self.b = a, b

@pytest.mark.parametrize('error', [ValueError('no'), KeyError('k'), Odd(1, 2), NotImplementedError(), IndexError(), FileNotFoundError(2, 'gone', 'f.png'), UnicodeDecodeError('utf8', b'a', 0, 1, 'x')])
def test_a_faulty_item_is_named_and_the_next_batch_comes(error):
    it = iter(DataLoader(Faulty(error), 2))
    next(it)
    with pytest.raises(type(error)) as caught: next(it)
    assert caught.value is error and '(item 3 of the dataset)' in f'{error} {error.__cause__}'
    equal(next(it), torch.tensor([4, 5]))

def test_a_stop_iteration_does_not_end_the_epoch():
    with pytest.raises(RuntimeError) as caught: list(DataLoader(Faulty(StopIteration()), 2))
    assert 'item 3' in str(caught.value.__cause__)

def test_a_fault_in_one_read_is_named():
    with pytest.raises(IndexError, match='item 9 of'): list(DataLoader(Dataset(torch.arange(5)), batch_sampler=[[0, 9]]))
    class Bulk(Faulty):
        def __getitems__(self, idxs): return [self[i] for i in idxs]
    with pytest.raises(ValueError, match='item 3'): list(DataLoader(Bulk(ValueError('no')), 2))
    class Late(Faulty):
        def __getitems__(self, idxs): raise OSError('the whole batch')
    with pytest.raises(OSError, match='the whole batch'): next(iter(DataLoader(Late(ValueError('no')), 2)))

def test_unequal_shapes_are_named():
    items = [(torch.zeros(2), {'a': torch.zeros(3)})]*3 + [(torch.zeros(2), {'a': torch.zeros(4)})]
    with pytest.raises(RuntimeError, match=r'item 1 of the batch has shape \(4,\), item 0 has \(3,\).*\(item 3 of the dataset\)'): list(DataLoader(items, 2))

def test_attributes_are_pytorchs():
    ds, g, f = Dataset(torch.arange(10)), gen(), lambda b: b
    for options in (dict(), dict(batch_size=3, drop_last=True, generator=g), dict(batch_size=None), dict(batch_sampler=[[1]], collate_fn=f)):
        ours, theirs = DataLoader(ds, **options), peer.DataLoader(ds, **options)
        for name in ('dataset', 'batch_size', 'drop_last', 'generator'): assert getattr(ours, name) is getattr(theirs, name) or getattr(ours, name) == getattr(theirs, name)
        assert (ours.batch_sampler is None) == (theirs.batch_sampler is None) and len(ours) == len(theirs)
        assert len(ours.sampler) == 10
        for name in ('dataset', 'batch_size', 'sampler', 'batch_sampler', 'drop_last'):
            with pytest.raises(ValueError, match=name): setattr(ours, name, 1)
    ours.collate_fn = collate
    equal(list(ours), [[torch.tensor([1])]])

def test_a_growing_dataset():
    items = [1, 2]
    loaders = DataLoader(items), DataLoader(items, shuffle=True)
    items.append(3)
    assert [len(dl) for dl in loaders] == [3, 3] and [len(list(dl)) for dl in loaders] == [3, 3]

@pytest.mark.parametrize('options', [dict(), dict(shuffle=True), dict(sampler=[3, 1])])
def test_single_items(options):
    x, y = torch.arange(10), -torch.arange(10)
    a, b = gen(), gen()
    ours, theirs = DataLoader(Dataset(x, y), None, generator=a, **options), peer.DataLoader(peer.TensorDataset(x, y), None, generator=b, **options)
    for _ in range(2): equal([list(item) for item in ours], list(theirs))
    assert len(ours) == len(theirs) and a.get_state().equal(b.get_state())
    equal(list(DataLoader(x, None, sampler=[[1, 2], [3]], collate_fn=lambda i: -i)), [torch.tensor([-1, -2]), torch.tensor([-3])])
    with pytest.raises(ValueError, match='batch_size=None'): DataLoader(x, None, drop_last=True)

class Stream(peer.IterableDataset):
    def __iter__(self): return iter(range(20))
class Sized(Stream):
    def __len__(self): return 20

def test_streams_are_refused():
    with pytest.raises(TypeError, match='no len'): list(DataLoader(Stream(), 2))
    with pytest.raises(NotImplementedError, match='__getitem__.*item 0'): list(DataLoader(Sized(), 2))

def test_without_a_generator_as_pytorch():
    def orders(loader):
        torch.manual_seed(0)
        return [xb.tolist() for _ in range(2) for xb in loader(range(20), 6, shuffle=True)], torch.rand(1)
    assert orders(DataLoader) == orders(peer.DataLoader)

@pytest.mark.parametrize('a', [dict(sampler=[0], shuffle=True), dict(sampler=[0], batch_sampler=[[0]]), dict(batch_size=2, batch_sampler=[[0]]), dict(shuffle=True, batch_sampler=[[0]]),
                               dict(drop_last=True, batch_sampler=[[0]]), dict(batch_size=0), dict(batch_size=-1), dict(batch_size=2.), dict(batch_size=True), dict(drop_last=1)])
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
    DataLoader([1], num_workers=0, pin_memory=False, persistent_workers=False, prefetch_factor=None, timeout=0)
    with pytest.raises(ValueError, match='num_workers=2'): DataLoader([1], num_workers=2)
    with pytest.raises(ValueError, match='pin_memory'): DataLoader([1], pin_memory=True)
    with pytest.raises(TypeError, match='batchsize'): DataLoader([1], batchsize=3)

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
    equal(list(copy.copy(DataLoader(ds, 2))), list(DataLoader(ds, 2)))


# ---- images ----

def png(path, size=(4, 3), mode='L', value=255):
    from PIL import Image
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)

def test_image_folder(tmp_path):
    for name, mode, value in (('b/2.png', 'L', 51), ('a/1.PNG', 'RGB', (255, 0, 0)), ('a/0.png', '1', 1), ('b/10.png', 'RGBA', (0, 0, 0, 0))): png(tmp_path/name, mode=mode, value=value)
    (tmp_path/'a'/'notes.txt').write_text('not an image')
    ds = ImageFolder(tmp_path)
    assert ds.classes == ['a', 'b'] and [(f.name, k) for f, k in ds.samples] == [('0.png', 0), ('1.PNG', 0), ('10.png', 1), ('2.png', 1)]
    assert ds[3][0].shape == (1, 3, 4) and torch.allclose(ds[3][0], torch.tensor(0.2)) and ds[0][0].min() == 1
    assert ImageFolder(tmp_path, mode='RGB')[1][0][:, 0, 0].tolist() == [1, 0, 0]
    equal([y.tolist() for _, y in DataLoader(ds, 3)], [[0, 0, 1], [1]])
    equal(list(peer.DataLoader(ds, 2, num_workers=2)), list(DataLoader(ds, 2)))

def test_image_folder_faults(tmp_path):
    with pytest.raises(FileNotFoundError): ImageFolder(tmp_path/'nowhere')
    with pytest.raises(ValueError, match='path'): ImageFolder(tmp_path)
    png(tmp_path/'a'/'0.png')
    (tmp_path/'b').mkdir()
    with pytest.raises(ValueError, match="'b'"): ImageFolder(tmp_path)
    (tmp_path/'b'/'0.png').write_bytes(b'not a picture')
    with pytest.raises(OSError) as caught: list(DataLoader(ImageFolder(tmp_path), 2))
    assert '(item 1 of the dataset)' in f'{caught.value} {caught.value.__cause__}'


# ---- the package ----

def test_import_is_light():
    code = 'import sys, minisgd.dataloader; print(*{"matplotlib", "sklearn", "PIL", "pandas", "fastcore"} & set(sys.modules))'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.strip() == ''

def test_an_epoch_over_a_file_does_not_fill_memory(tmp_path):
    "In a process of its own, 256 MB on disk; `make bench` does the same with 2 GB."
    if not Path('/proc/self/status').exists(): pytest.skip('this system does not tell RssAnon')
    code = f'''
import re, numpy as np
from minisgd.dataloader import Dataset, DataLoader
anonymous = lambda: int(re.search(r"RssAnon:\\s*(\\d+)", open("/proc/self/status").read())[1])/1024
file = {str(tmp_path/"rows")!r}
with open(file, "wb") as f:
    for i in range(16): np.full((8192, 512), i, np.float32).tofile(f)
ds, total = Dataset(np.memmap(file, np.float32, "r", shape=(16*8192, 512))), 0
before = anonymous()
for xb, in DataLoader(ds, 256, shuffle=True): total += xb[:, 0].sum().item()
assert total == sum(range(16))*8192
print(anonymous() - before)'''
    grown = float(subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout)
    assert grown < 30
