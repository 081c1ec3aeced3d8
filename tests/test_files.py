"Files: what the notebook cannot say. Blocks of every size, odd pictures, damaged ones, workers, and memory."
import subprocess, sys
from pathlib import Path
from unittest import mock

import pytest, torch
from torch.utils import data as peer
from minisgd.dataloader import BatchSampler, DataLoader, Dataset
from minisgd.files import BlockSampler, ByteImages, ImageFolder, decode


def gen(seed=0): return torch.Generator().manual_seed(seed)


# ---- blocks ----

@pytest.mark.parametrize('n, block', [(1, 1), (10, 3), (100, 10), (100, 1000), (64, 64), (65, 64)])
def test_blocks(n, block):
    sampler = BlockSampler(range(n), block, gen())
    order = list(sampler)
    assert sorted(order) == list(range(n)) and len(sampler) == n and all(type(i) is int for i in order)
    pieces = [i//block for i in order]
    assert sum(a != b for a, b in zip(pieces, pieces[1:])) == -(-n//block) - 1      # each block in one piece

def test_blocks_and_rows_are_both_shuffled():
    first, second = [list(s) for s in [BlockSampler(range(100), 10, gen())]*2]
    assert first != second and [i//10 for i in first[::10]] != sorted(i//10 for i in first[::10]) and first[:10] != sorted(first[:10])

def test_the_global_generator_decides_where_none_is_given():
    orders = []
    for _ in range(2):
        torch.manual_seed(3)
        orders.append(list(BlockSampler(range(50), 8)))
    assert orders[0] == orders[1] != list(BlockSampler(range(50), 8))

@pytest.mark.parametrize('block', [0, -1, 2., True, None])
def test_blocks_refused(block):
    with pytest.raises(ValueError, match='block_size'): BlockSampler(range(10), block)

@pytest.mark.parametrize('loader', [DataLoader, peer.DataLoader])
def test_blocks_in_either_loader(loader):
    x = torch.arange(100)
    batches = list(loader(Dataset(x), 10, sampler=BlockSampler(x, 10, gen())))
    assert all(len((b//10).unique()) == 1 for b, in batches) and torch.cat([b for b, in batches]).sort().values.equal(x)
    assert len(list(loader(Dataset(x), batch_sampler=BatchSampler(BlockSampler(x, 10), 9, True)))) == 11


# ---- images ----

def picture(path, size=(4, 3), mode='L', value=255):
    from PIL import Image
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)

def test_image_folder(tmp_path):
    for name, mode, value in (('b/2.png', 'L', 51), ('a/1.PNG', 'RGB', (255, 0, 0)), ('a/0.jpg', 'L', 255), ('b/10.JPEG', 'L', 0), ('b/3.png', 'RGBA', (0, 0, 0, 0))):
        picture(tmp_path/name, mode=mode, value=value)
    (tmp_path/'a'/'notes.txt').write_text('not an image')
    (tmp_path/'readme').write_text('not a folder')
    (tmp_path/'.hidden').mkdir()
    ds = ImageFolder(tmp_path)
    assert ds.classes == ['a', 'b'] and [(f.name, k) for f, k in ds.samples] == [('0.jpg', 0), ('1.PNG', 0), ('10.JPEG', 1), ('2.png', 1), ('3.png', 1)]
    assert ds[3][0].shape == (1, 3, 4) and torch.allclose(ds[3][0], torch.tensor(0.2)) and ds[0][0].min() == 1 and len(ds) == 5
    assert ImageFolder(tmp_path, mode='RGB')[1][0][:, 0, 0].tolist() == [1, 0, 0] and ImageFolder(tmp_path, torch.flatten)[0][0].shape == (12,)
    assert [y.tolist() for _, y in DataLoader(ds, 3)] == [[0, 0, 1], [1, 1]]
    for workers in (0, 2):
        for (x, y), (p, q) in zip(DataLoader(ds, 2), peer.DataLoader(ds, 2, num_workers=workers), strict=True): assert x.equal(p) and y.equal(q)

def test_names_and_sizes_of_every_kind(tmp_path):
    "Spaces, umlauts, a note, hidden files, one pixel, four inks: what a user would expect."
    picture(tmp_path/'große Katze'/'im Gras, 1.png', size=(1, 1), value=51)
    picture(tmp_path/'Äffchen'/'b ä.jpg', mode='CMYK', value=(0, 0, 0, 0))      # no ink: white
    picture(tmp_path/'Äffchen'/'a.b.jpeg')
    for name in ('große Katze/._im Gras, 1.png', 'große Katze/Thumbs.db', 'Äffchen/notes.txt'): (tmp_path/name).write_text('no picture')
    (tmp_path/'.ipynb_checkpoints').mkdir()
    ds = ImageFolder(str(tmp_path))
    assert ds.classes == ['große Katze', 'Äffchen'] == sorted(ds.classes) and repr(ds) == '3 pictures in 2 classes'
    assert [(f.name, k) for f, k in ds.samples] == [('im Gras, 1.png', 0), ('a.b.jpeg', 1), ('b ä.jpg', 1)]
    assert ds[0][0].shape == (1, 1, 1) and ds[0][0].item() == torch.tensor(51).div(255).item() and ds[0][0].dtype == torch.float32
    assert ds[2][0].min() > 0.99 and ImageFolder(tmp_path, mode='RGB')[2][0].shape == (3, 3, 4) and ds[-1][1] == 1
    with pytest.raises(IndexError): ds[3]

def test_nothing_is_opened_before_it_is_asked_for(tmp_path):
    from PIL import Image
    for name in ('a/0.png', 'b/1.png'): picture(tmp_path/name)
    with mock.patch.object(Image, 'open', wraps=Image.open) as opened:
        ds = ImageFolder(tmp_path)
        loader = DataLoader(ds, 1)
        assert not opened.called
        next(iter(loader))
        assert opened.call_count == 1

def test_image_folder_faults(tmp_path):
    for path in (tmp_path/'nowhere', tmp_path):
        with pytest.raises(ValueError, match=path.name): ImageFolder(path)
    picture(tmp_path/'a'/'0.png')
    (tmp_path/'b').mkdir()
    with pytest.raises(ValueError, match=r"\['b'\]"): ImageFolder(tmp_path)
    damaged = tmp_path/'b'/'no picture.png'
    damaged.write_bytes(b'not a picture')
    for make in (DataLoader, peer.DataLoader):
        with pytest.raises(OSError) as caught: list(make(ImageFolder(tmp_path), 2))
        assert 'item 1, ' in str(caught.value) and str(damaged) in str(caught.value)
    damaged.unlink()
    picture(damaged, mode='I;16', value=300)    # Pillow would make it white, without a word
    with pytest.raises(OSError, match='8 bits'): ImageFolder(tmp_path)[1]

@pytest.mark.parametrize('kind', ['png', 'jpg'])
def test_a_picture_cut_short_is_refused_or_whole(tmp_path, kind):
    from PIL import Image
    file = tmp_path/'a'/f'0.{kind}'
    file.parent.mkdir()
    Image.fromarray(torch.arange(784, dtype=torch.uint8).view(28, 28).numpy()).save(file)
    ds, data, refused = ImageFolder(tmp_path), file.read_bytes(), 0
    whole, label = ds[0]
    for n in range(len(data)):
        file.write_bytes(data[:n])
        try: assert ds[0][0].equal(whole)
        except OSError as e:
            assert str(file) in str(e)
            refused += 1
    assert len(data) - refused < 25             # what may be lost is the end mark and a checksum


# ---- pictures as bytes ----

@pytest.mark.parametrize('mode', ['L', 'RGB'])
def test_decoded_pictures_are_the_same_items(tmp_path, mode):
    for i in range(7): picture(tmp_path/'x'/'abc'[i % 3]/f'{i}.png', (4, 3), 'RGB', (i, 10*i, 30*i))
    images = ImageFolder(tmp_path/'x', mode=mode)
    stored = decode(images, tmp_path/'bytes')
    assert len(stored) == 7 and (tmp_path/'bytes').stat().st_size == 7*len(mode)*12
    for (x, k), (p, q) in zip(images, stored, strict=True): assert x.equal(p) and k == q and p.dtype == torch.float32
    for ds in (stored, ByteImages(torch.tensor(stored.tensors[0]), stored.tensors[1])):
        for make in (DataLoader, peer.DataLoader):
            for (x, k), (p, q) in zip(DataLoader(images, 3), make(ds, 3), strict=True): assert x.equal(p) and k.equal(q)

def test_decode_refuses_another_size(tmp_path):
    picture(tmp_path/'a'/'0.png')
    picture(tmp_path/'a'/'1.png', size=(1, 1))  # would broadcast
    with pytest.raises(ValueError, match=r'1.png is \[1, 1, 1\], not \[1, 3, 4\]'): decode(ImageFolder(tmp_path), tmp_path/'bytes')


# ---- memory ----

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


# ---- sent to a worker ----

def test_a_mapped_file_is_sent_by_its_name(tmp_path):
    "And only where that says all: a part of a map, or one with changes of its own, is sent as it is."
    import copy, pickle
    import numpy as np
    rows = np.arange(100_000, dtype=np.uint8).reshape(-1, 10)
    rows.tofile(tmp_path/'rows')
    whole = np.memmap(tmp_path/'rows', np.uint8, 'r', shape=rows.shape)
    later = np.memmap(tmp_path/'rows', np.uint8, 'r', offset=500, shape=(9_000, 10))
    fortran = np.memmap(tmp_path/'rows', np.uint8, 'r', shape=rows.shape, order='F')
    changed = np.memmap(tmp_path/'rows', np.uint8, 'c', shape=rows.shape)
    changed[0] = 255
    for array, by_name in ((whole, True), (later, True), (whole[5000:], False), (whole[::2], False), (fortran, False),
                           (changed, False), (rows, False), (torch.from_numpy(rows), False)):
        ds = ByteImages(array)
        ds.extra = 'kept'
        sent = pickle.dumps(ds)
        assert (len(sent) < 1000) == by_name
        for new in (pickle.loads(sent), copy.copy(ds), copy.deepcopy(ds)):
            assert new[:][0].equal(ds[:][0]) and new.extra == 'kept' and type(new.tensors) is tuple
