"Files: what the notebook cannot say. Blocks of every size, odd pictures, damaged ones, workers, and memory."
import subprocess, sys
from pathlib import Path

import pytest, torch
from torch.utils import data as peer
from minisgd.dataloader import BatchSampler, DataLoader, Dataset
from minisgd.files import BlockSampler, ImageFolder


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

def test_image_folder_faults(tmp_path):
    for path in (tmp_path/'nowhere', tmp_path):
        with pytest.raises(ValueError, match=path.name): ImageFolder(path)
    picture(tmp_path/'a'/'0.png')
    (tmp_path/'b').mkdir()
    with pytest.raises(ValueError, match="'b'"): ImageFolder(tmp_path)
    (tmp_path/'b'/'0.png').write_bytes(b'not a picture')
    with pytest.raises(OSError) as caught: list(DataLoader(ImageFolder(tmp_path), 2))
    assert 'item 1: ' in caught.value.__notes__[0] and str(Path('b')/'0.png') in caught.value.__notes__[0]


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
