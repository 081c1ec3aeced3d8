"minisgd.sources: bad servers, bad files, bad caches, and stand-ins that behave like what they stand in for."
import gzip, hashlib, os, shutil, subprocess, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
import numpy as np, pytest, torch
import torch.nn.functional as F
from minisgd import data, sources

ENV = {k: os.environ.get(k) for k in ('MINISGD_DATA', 'MINISGD_CACHE')} # where this machine has the real data, before it is hidden

# ------------------------------------------------------------------ a small world

@pytest.fixture(autouse=True)
def world(tmp_path, monkeypatch):
    "No variables but ours, an empty cache, nothing said or given up yet."
    for name in ('MINISGD_DATA', 'MINISGD_OFFLINE'): monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('MINISGD_CACHE', str(tmp_path/'cache'))
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    monkeypatch.setattr(sources, '_failed', {})
    sources._announce.cache_clear(); sources._writable.cache_clear()
    return tmp_path

def idx(a):
    "An array of bytes as an IDX file."
    return bytes([0, 0, 8, a.ndim]) + b''.join(n.to_bytes(4, 'big') for n in a.shape) + a.astype(np.uint8).tobytes()

IMAGES = np.arange(6*784).reshape(6, 28, 28) % 256
TABLE = '\r\n'.join('\t'.join(str(v) for v in row) for row in np.random.RandomState(0).standard_normal((1503, 6))).encode()
GOOD = {'airfoil_self_noise.dat': TABLE,
        'mnist/t10k-images-idx3-ubyte.gz': gzip.compress(idx(IMAGES)),
        'mnist/t10k-labels-idx1-ubyte.gz': gzip.compress(idx(np.arange(6)))}
WING = 'airfoil_self_noise.dat'

@pytest.fixture
def servers(monkeypatch):
    "Two servers on this machine, /a/ and /b/; `answers` maps a path to bytes, a status, or a function of the good bytes; `asked` lists what was asked for."
    answers, asked = {}, []
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            good = GOOD[self.path[3:]]
            body = answers.get(self.path, answers.get(self.path[:3], good))
            if isinstance(body, int): return self.send_error(body)
            if callable(body): body = body(good)
            self.send_response(200)
            self.send_header('Content-Length', str(len(good) if self.path in answers.get('lie', ()) else len(body)))
            self.end_headers(); self.wfile.write(body)
        def log_message(self, *args): pass
    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=.01), daemon=True).start()
    root = f'http://127.0.0.1:{server.server_port}'
    monkeypatch.setattr(sources, 'FILES', {f: (hashlib.sha256(b).hexdigest(), [f'{root}/a/', f'{root}/b/']) for f, b in GOOD.items()})
    yield type('Servers', (), dict(answers=answers, asked=asked, root=root))
    server.shutdown(); server.server_close()

def flip(b, at=100): b = bytearray(b); b[at] ^= 1; return bytes(b)

def cached(): return Path(os.environ['MINISGD_CACHE'])/WING

def same_as_table(raw): np.testing.assert_allclose(raw.numpy(), np.loadtxt(TABLE.decode().splitlines()))

# ------------------------------------------------------------------ downloads

def test_download_is_verified_and_kept(servers, world):
    assert sources.origin('airfoil') == 'download'
    same_as_table(sources.airfoil_raw('real'))
    assert cached().read_bytes() == TABLE and sources.origin('airfoil') == 'cache'
    same_as_table(sources.airfoil_raw())
    assert servers.asked == [f'/a/{WING}']                      # once, from the first server, nothing more
    assert [p.name for p in cached().parent.iterdir()] == [WING] # and no temporary file is left

@pytest.mark.parametrize('bad', [404, 503, flip, lambda b: b[:1000], lambda b: b'', lambda b: b'<html>log in here</html>'],
                         ids=['404', '503', 'flipped', 'short', 'empty', 'login page'])
def test_a_bad_server_then_a_mirror_that_works(servers, bad):
    servers.answers[f'/a/{WING}'] = bad
    same_as_table(sources.airfoil_raw('real'))
    assert servers.asked == [f'/a/{WING}', f'/b/{WING}'] and cached().read_bytes() == TABLE

def test_connection_cut_in_the_middle(servers):
    servers.answers |= {f'/a/{WING}': lambda b: b[:1000], 'lie': [f'/a/{WING}']}
    same_as_table(sources.airfoil_raw('real'))
    assert cached().read_bytes() == TABLE

def test_every_server_bad(servers, capsys):
    servers.answers |= {'/a/': 404, '/b/': flip}
    with pytest.raises(sources.NotAvailable) as e: data.airfoil(source='real')
    for part in (f'{servers.root}/a/{WING}: HTTPError, 404 Client Error', f'{servers.root}/b/{WING}: ValueError, SHA256 hash', 'does not match', 'MINISGD_DATA', 'Check the network'):
        assert part in str(e.value)
    assert not cached().exists() and not list(cached().parent.iterdir())
    x, y = data.airfoil()                                       # the stand-in, and no second wait for the same servers
    assert len(servers.asked) == 2 and x.shape == (1500, 5)
    torch.testing.assert_close((x, y), data.airfoil(source='builtin'))
    assert sources.origin('airfoil') == 'builtin'
    servers.answers.clear()
    same_as_table(sources.airfoil_raw('real'))                  # asked for by name, it is tried again
    same_as_table(sources.airfoil_raw())

def test_no_network(monkeypatch, capsys):
    import socket
    with socket.socket() as s: s.bind(('127.0.0.1', 0)); port = s.getsockname()[1] # nobody listens there now
    monkeypatch.setattr(sources, 'FILES', {WING: (sources.FILES[WING][0], [f'http://127.0.0.1:{port}/'])})
    with pytest.raises(sources.NotAvailable, match='ConnectionError.*Check the network, or set MINISGD_DATA'): data.airfoil(source='real')
    assert data.airfoil()[0].shape == (1500, 5)
    said = capsys.readouterr().err
    assert said.count('airfoil is the built-in stand-in') == 1

def test_the_stand_in_is_announced_once_in_one_line(servers, monkeypatch, capsys):
    monkeypatch.setenv('MINISGD_OFFLINE', '1')
    data.airfoil(); data.airfoil()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and not servers.asked
    for part in ('airfoil', 'built-in stand-in', 'MINISGD_OFFLINE', 'MINISGD_DATA', str(cached().parent)): assert part in lines[0]
    data.airfoil(source='builtin')
    assert capsys.readouterr().err == ''                        # asked for, it needs no announcement
    with pytest.raises(sources.NotAvailable, match='MINISGD_OFFLINE'): data.airfoil(source='real')
    monkeypatch.setenv('MINISGD_OFFLINE', '0')
    same_as_table(sources.airfoil_raw())

def test_offline_still_reads_the_cache(servers, monkeypatch):
    sources.airfoil_raw('real')
    monkeypatch.setenv('MINISGD_OFFLINE', '1')
    assert sources.origin('airfoil') == 'cache'
    same_as_table(sources.airfoil_raw('real'))

# ------------------------------------------------------------------ the cache

@pytest.mark.parametrize('bad', [flip, lambda b: b[:-1], lambda b: b'', lambda b: b + b'\n'], ids=['flipped', 'short', 'empty', 'long'])
def test_cached_file_gone_bad(servers, monkeypatch, capsys, bad):
    sources.airfoil_raw('real'); cached().write_bytes(bad(TABLE))
    same_as_table(sources.airfoil_raw('real'))                  # fetched again
    assert cached().read_bytes() == TABLE and 'damaged' in capsys.readouterr().err
    cached().write_bytes(bad(TABLE))
    monkeypatch.setenv('MINISGD_OFFLINE', '1')
    with pytest.raises(sources.NotAvailable): data.airfoil(source='real')
    assert not cached().exists() and 'damaged' in capsys.readouterr().err

def test_cache_that_cannot_be_written(servers, world, monkeypatch, capsys):
    (world/'file').write_text('a file where a folder should be')
    monkeypatch.setenv('MINISGD_CACHE', str(world/'file'/'cache'))
    for _ in range(2): same_as_table(sources.airfoil_raw('real'))
    said = capsys.readouterr().err
    assert said.count('cannot write to') == 1 and 'Set MINISGD_CACHE' in said
    assert servers.asked == [f'/a/{WING}']                      # the temporary folder serves the second time

@pytest.mark.skipif(not hasattr(os, 'geteuid') or os.geteuid() == 0, reason='root may write anywhere')
def test_read_only_cache(servers, world, capsys):
    (world/'cache').mkdir(mode=0o500)
    same_as_table(sources.airfoil_raw('real'))
    assert 'cannot write to' in capsys.readouterr().err

def test_two_processes_fill_the_cache_at_once(servers, world):
    code = 'import json, os; from minisgd import sources; sources.FILES.update(json.loads(os.environ["FILES"])); print(sources.sha256(sources.airfoil_raw("real").numpy().tobytes()))'
    import json
    env = os.environ | {'FILES': json.dumps(sources.FILES), 'PYTHONPATH': os.pathsep.join(sys.path)}
    runs = [subprocess.Popen([sys.executable, '-c', code], env=env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = {run.communicate(timeout=60)[0] for run in runs}
    assert len(answers) == 1 and all(run.returncode == 0 for run in runs)
    assert [p.name for p in cached().parent.iterdir()] == [WING]

# ------------------------------------------------------------------ MINISGD_DATA

def test_folder_of_ones_own(servers, world, monkeypatch):
    for name, content in GOOD.items():
        (world/'mine'/name).parent.mkdir(parents=True, exist_ok=True); (world/'mine'/name).write_bytes(content)
    monkeypatch.setenv('MINISGD_DATA', str(world/'mine'))
    assert sources.data_dir() == world/'mine' and sources.origin('airfoil') == 'MINISGD_DATA'
    same_as_table(sources.airfoil_raw())
    x, y = data.mnist_test()
    assert (x*255).round().int().tolist() == IMAGES.reshape(6, 784).tolist() and y.tolist() == list(range(6))
    (world/'mine'/WING).write_bytes(flip(TABLE))
    for source in ('auto', 'real'):
        with pytest.raises(ValueError, match='damaged, or another file'): data.airfoil(source=source)
    assert (world/'mine'/WING).exists() and not servers.asked   # yours is not touched, and nothing is tried behind your back
    assert data.airfoil(source='builtin')[0].shape == (1500, 5)

@pytest.mark.parametrize('source', ['auto', 'real'])
def test_folder_that_is_not_there(world, monkeypatch, source):
    monkeypatch.setenv('MINISGD_DATA', str(world/'nowhere'))
    for f in (data.airfoil, data.mnist, data.mnist_test, data.digit_pair):
        with pytest.raises(FileNotFoundError, match="MINISGD_DATA is '.*nowhere'.*no file"): f(source=source)
    with pytest.raises(FileNotFoundError): sources.origin('mnist')

def test_empty_variables_count_as_unset(servers, monkeypatch):
    for name in ('MINISGD_DATA', 'MINISGD_OFFLINE'): monkeypatch.setenv(name, '')
    assert sources.data_dir() == cached().parent and sources.origin('airfoil') == 'download'
    same_as_table(sources.airfoil_raw())

# ------------------------------------------------------------------ bad input

@pytest.mark.parametrize('f', [data.airfoil, sources.airfoil_raw, data.mnist, data.mnist_test, data.digit_pair])
def test_source_typo(f):
    with pytest.raises(ValueError, match="source='typo' must be 'auto', 'real' or 'builtin'"): f(source='typo')

def test_origin_of_nothing():
    with pytest.raises(KeyError, match='cifar'): sources.origin('cifar')
    with pytest.raises(KeyError, match='cifar'): sources.mnist_raw('cifar', 'builtin')

@pytest.mark.parametrize('bad', [b'', b'\0\0', b'\0\0\x09\1\0\0\0\0', b'\1\0\x08\1\0\0\0\1\7', b'\0\0\x08\1', b'\0\0\x08\2\0\0\0\1',
                                 b'\0\0\x08\1\0\0\0\2\7', b'\0\0\x08\1\0\0\0\1\7\7', b'\x80\4K\1.'])
def test_bad_idx(bad):
    with pytest.raises(ValueError): sources.read_idx(bad)

def test_idx():
    for a in (np.arange(24).reshape(2, 3, 4), np.arange(5), np.zeros((0, 3))):
        np.testing.assert_array_equal(sources.read_idx(idx(a)), a)

# ------------------------------------------------------------------ the stand-in for airfoil

CORRELATION = [-.2728, -.0037, .1337, -.2301, -.3907, -.5049, .0588, .7534, -.1561, .0038, -.2208, -.2362, -.0040, .1251, -.3127]

def test_airfoil_stand_in_has_the_correlations():
    x, y = data.airfoil(1503, source='builtin')
    assert x.dtype == y.dtype == torch.float32 and x.shape == (1503, 5) and y.shape == (1503,)
    z = torch.cat([x, y[:,None]], 1).double()
    i, j = torch.triu_indices(6, 6, 1)
    torch.testing.assert_close((z.T@z/1503)[i, j], torch.tensor(CORRELATION, dtype=torch.float64), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.mean(0), torch.zeros(6, dtype=torch.float64), atol=1e-6, rtol=0)

def descent(x, y, lr, steps=60):
    w, losses = torch.zeros(5, dtype=torch.float64), []
    for _ in range(steps):
        error = x@w - y
        losses.append(error.square().mean()/2)
        w = w - lr*x.T@error/len(x)
    return torch.stack(losses)

@pytest.mark.parametrize('n, optimum', [(1503, .2421), (1500, .2417)])
def test_airfoil_stand_in_has_the_optimum(n, optimum):
    x, y = [t.double() for t in data.airfoil(n, source='builtin')]
    assert round(descent(x, y, .8, 300)[-1].item(), 4) == optimum

@pytest.mark.parametrize('n, atol', [(1503, 1e-4), (1500, 3e-4)])
@pytest.mark.parametrize('lr', [.1, .5, .88, .95])
def test_airfoil_stand_in_descends_like_the_real_one(monkeypatch, n, atol, lr):
    for name, value in ENV.items():
        if value: monkeypatch.setenv(name, value)
        else: monkeypatch.delenv(name, raising=False)
    if sources.origin('airfoil') not in ('MINISGD_DATA', 'cache'): pytest.skip('the real data are not at hand')
    real, builtin = [descent(*[t.double() for t in data.airfoil(n, source)], lr) for source in ('real', 'builtin')]
    torch.testing.assert_close(builtin, real, atol=atol, rtol=0)

# ------------------------------------------------------------------ the stand-in for MNIST

@pytest.fixture(scope='module')
def digits_cache(tmp_path_factory): return tmp_path_factory.mktemp('digits')

@pytest.fixture
def digits(digits_cache, monkeypatch):
    "A cache of its own for the digits, in which they are grown once for all the tests here."
    monkeypatch.setenv('MINISGD_CACHE', str(digits_cache))
    return digits_cache

def test_digits_stand_in_has_the_shapes_and_is_cached(digits, monkeypatch):
    first = data.mnist('builtin')
    monkeypatch.setattr(sources, '_grow_all', lambda: pytest.fail('grown twice'))
    second = data.mnist('builtin')
    torch.testing.assert_close(first, second, atol=0, rtol=0)
    x, y, xv, yv = second; xt, yt = data.mnist_test('builtin')
    for a, b, n in ((x, y, 50_000), (xv, yv, 10_000), (xt, yt, 10_000)):
        assert a.shape == (n, 784) and b.shape == (n,) and a.dtype == torch.float32 and b.dtype == torch.int64
        assert a.min() == 0 and a.max() == 1 and b.unique().tolist() == list(range(10))
        assert (a*255 - (a*255).round()).abs().max() < 1e-4
    parts = [{row.tobytes() for row in a.numpy()} for a in (x, xv, xt)]
    assert len(set.union(*parts)) == sum(map(len, parts)) > 69_000  # no image is in two parts; they are grown, not copied
    (path,) = digits.iterdir()
    assert sources.sha256(path.read_bytes()) == path.name[-64:]

def test_no_source_digit_is_in_two_parts():
    parts = [x.flatten(1) for x, _ in sources.source_digits()]
    assert sum(map(len, parts)) == 1797 and len(torch.cat(parts).unique(dim=0)) == 1797

def test_grown_images_keep_their_labels():
    labels = torch.arange(10)
    flat = (.4 + labels/20)[:,None,None].expand(10, 8, 8)       # the label is the shade
    x, y = sources.grow(flat, labels, 40, np.random.RandomState(0))
    middle = x.view(40, 28, 28)[:,14,14]
    torch.testing.assert_close(middle.float()/255, (.1 + y/20)*1.5, atol=.01, rtol=0)

def test_each_part_is_grown_from_its_own_sources(monkeypatch):
    asked = []
    monkeypatch.setattr(sources, 'grow', lambda x, y, n, rng: asked.append((x, n)) or (torch.zeros(n, 784).byte(), torch.zeros(n).byte()))
    sources._grow_all()
    assert [n for _, n in asked] == [50_000, 10_000, 10_000]
    for (x, _), (own, _) in zip(asked, sources.source_digits()): assert torch.equal(x, own)

@pytest.mark.parametrize('bad', [lambda b: flip(b, 10**6), lambda b: b[:-1], lambda b: b''], ids=['flipped', 'short', 'empty'])
def test_damaged_cache_of_the_stand_in_is_made_anew(digits, world, monkeypatch, bad):
    data.mnist_test('builtin')
    (good,) = digits.iterdir()
    monkeypatch.setenv('MINISGD_CACHE', str(world/'cache')); (world/'cache').mkdir()
    (world/'cache'/good.name).write_bytes(bad(good.read_bytes()))
    monkeypatch.setattr(sources, '_grow_all', good.read_bytes)     # as if grown
    x, _ = data.mnist_test('builtin')
    assert x.shape == (10_000, 784)
    assert [p.read_bytes() == good.read_bytes() for p in (world/'cache').iterdir()] == [True]

def test_stand_in_without_a_cache(world, monkeypatch, digits, capsys):
    data.mnist_test('builtin'); (good,) = digits.iterdir(); content = good.read_bytes()
    (world/'file').write_text('')
    monkeypatch.setenv('MINISGD_CACHE', str(world/'file'/'cache'))
    monkeypatch.setattr(sources, '_grow_all', lambda: content)
    assert data.mnist_test('builtin')[0].shape == (10_000, 784)
    assert 'Set MINISGD_CACHE' in capsys.readouterr().err
    monkeypatch.setattr(sources.os, 'replace', lambda *_: (_ for _ in ()).throw(OSError(28, 'No space left on device')))
    monkeypatch.setenv('MINISGD_CACHE', str(world/'full'))
    assert data.mnist_test('builtin')[0].shape == (10_000, 784)
    assert 'No space left' in capsys.readouterr().err and not list((world/'full').iterdir())

def train(x, y, model, loss, lr, bs, epochs):
    params = list(model.parameters())
    for _ in range(epochs):
        for i in torch.randperm(len(x)).split(bs):
            for p, g in zip(params, torch.autograd.grad(loss(model(x[i]), y[i]), params)): p.data -= lr*g

def test_digits_stand_in_can_be_learnt(digits):
    torch.manual_seed(0)
    x, y, xv, yv = data.mnist('builtin')
    model = torch.nn.Sequential(torch.nn.Linear(784, 50), torch.nn.ReLU(), torch.nn.Linear(50, 10))
    train(x, y, model, F.cross_entropy, .1, 64, 2)
    assert .87 < (model(xv).argmax(1) == yv).float().mean() < .98

def test_fours_and_fives_can_be_told_apart(digits):
    torch.manual_seed(0)
    x, y, xv, yv = data.digit_pair(source='builtin')
    assert y.shape == (len(x), 1) and y.unique().tolist() == [0, 1] and y.dtype == torch.float32
    model = torch.nn.Linear(784, 1)
    train(x, y, model, F.binary_cross_entropy_with_logits, .1, 256, 2)
    assert ((model(xv) > 0) == yv).float().mean() > .94

# ------------------------------------------------------------------ the promises

def test_promises():
    "Typed a second time, so that a digit changed in the one place is found out by the other."
    assert {f: h for f, (h, _) in sources.FILES.items()} == {
        'airfoil_self_noise.dat': '74c75fd71783f1e6b71f8a622b993dc592897a97cd689c5090a07147a1b097b3',
        'mnist/train-images-idx3-ubyte.gz': '440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609',
        'mnist/train-labels-idx1-ubyte.gz': '3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c',
        'mnist/t10k-images-idx3-ubyte.gz': '8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6',
        'mnist/t10k-labels-idx1-ubyte.gz': 'f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6'}
    urls = [f'{server}{f}' for f, (_, servers) in sources.FILES.items() for server in servers]
    assert urls[:3] == ['http://d2l-data.s3-accelerate.amazonaws.com/airfoil_self_noise.dat',
                        'https://ossci-datasets.s3.amazonaws.com/mnist/train-images-idx3-ubyte.gz',
                        'https://storage.googleapis.com/cvdf-datasets/mnist/train-images-idx3-ubyte.gz'] and len(urls) == 9
