"What p processes promise: the same model everywhere, equal to one process, with each row read once, and nothing left behind."
import os, re, signal, subprocess, sys, tempfile, threading, time
from functools import partial
from itertools import product
from multiprocessing.util import get_temp_dir
from pathlib import Path
from types import SimpleNamespace
import pytest, torch, torch.distributed as dist
from torch import nn
from torch.testing import assert_close
from torch.utils.data import DistributedSampler
from minisgd.checkpoint import Checkpoint
from minisgd.dataloader import BatchSampler, DataLoader, Dataset, Sampler
from minisgd.files import BlockSampler
from minisgd.learner import Callback, Learner, get_dls
from minisgd.losses import accuracy, cross_entropy
from minisgd.modules import Linear, ReLU, Sequential
from minisgd.optim import SGD, Adam
from minisgd import parallel
from minisgd.parallel import DataParallel, Shard, checksum, launch, ring_all_reduce, total, train_mnist, train_parallel

ROOT = Path(__file__).parent.parent
momentum = partial(SGD, lr=0.1, momentum=0.9, weight_decay=0.01)
adam = partial(Adam, lr=0.01)


def seeded(seed): return torch.Generator().manual_seed(seed)


def blobs(n, seed=0, dtype=torch.float32):
    "Rows of seven numbers in three classes."
    x = torch.randn(n, 7, generator=seeded(seed), dtype=dtype)
    return x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long()


def small(norm=False, dtype=torch.float32, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Linear(7, 20), *([nn.BatchNorm1d(20)] if norm else []), nn.Tanh(), nn.Linear(20, 3)]
        return nn.Sequential(*layers).to(dtype)


def same(a, b): return a.keys() == b.keys() and all(a[k].equal(b[k]) for k in a)


# ---- messages ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('p', (1, 2, 3, 4))
def test_a_ring_is_all_reduce(p):
    for shape in (1,), (2,), (7,), (5, 3), (1000,):
        for x in torch.randn(shape, generator=seeded(p)), torch.arange(torch.Size(shape).numel()).reshape(shape):
            ours, theirs = launch(total, p, x, ring_all_reduce), launch(total, p, x)
            for (a, sent), (b, _) in zip(ours, theirs):
                assert a.equal(ours[0][0])
                assert_close(a, b)
                assert len(sent) == 2*(p - 1) and all(n in (x.numel()//p, -(-x.numel()//p)) for n in sent)
            assert p == 1 or sum(sum(sent) for _, sent in ours) == 2*(p - 1)*x.numel()
            if p == 2 or not x.is_floating_point(): assert ours[0][0].equal(theirs[0][0])


# ---- who reads what -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('p', (1, 2, 3, 4, 7))
def test_shard_is_the_distributed_sampler(p):
    for n, seed, shuffle in product((7, 8, 10, 29, 100, 101), (0, 5), (True, False)):
        for theirs, ours in ({'drop_last': True}, {'drop': True}), ({'drop_last': False}, {'pad': True}):
            for rank in range(p):
                a = DistributedSampler(range(n), p, rank, shuffle=shuffle, seed=seed, **theirs)
                b = Shard(Sampler(range(n), shuffle=shuffle), rank, p, seed=seed, **ours)
                for epoch in (0, 1, 4):
                    a.set_epoch(epoch), b.set_epoch(epoch)
                    assert list(b) == list(a) and len(b) == len(a)
                assert list(b) == list(a), 'without set_epoch, the same order again'


@pytest.mark.parametrize('p', (2, 3, 4))
@pytest.mark.parametrize('make', (lambda g: Sampler(range(29), shuffle=True, generator=g), lambda g: Sampler(range(29)),
                                  lambda g: BlockSampler(range(29), 4, g)))
def test_every_row_is_read_once_in_an_epoch(p, make):
    shards = [Shard(make(seeded(3)), rank, p) for rank in range(p)]
    for _ in range(3):
        hands = [list(s) for s in shards]
        assert sorted(sum(hands, [])) == list(range(29)) and [len(h) for h in hands] == [len(s) for s in shards]


@pytest.mark.parametrize('p', (2, 3, 4))
def test_a_shard_of_batches_deals_each_batch(p):
    whole = BatchSampler(Sampler(range(49), shuffle=True, generator=seeded(1)), 9)
    shards = [Shard(BatchSampler(Sampler(range(49), shuffle=True, generator=seeded(1)), 9), rank, p) for rank in range(p)]
    for _ in range(2):
        for batch, *hands in zip(whole, *shards, strict=True): assert sorted(sum(hands, [])) == sorted(batch)
    assert len(shards[0]) == len(whole)
    seeded_by = lambda seed, epoch: [(s := Shard(BatchSampler(Sampler(range(49), shuffle=True), 9), 1, p, seed=seed)).set_epoch(epoch), *s]
    assert seeded_by(2, 1) == seeded_by(3, 0) == seeded_by(3, 0) != seeded_by(3, 1)


def test_more_processes_than_rows_are_refused():
    for sampler in Sampler(range(3)), BatchSampler(Sampler(range(100)), 3):
        with pytest.raises(ValueError, match='rank 0 of 4 processes, 3 rows'): Shard(sampler, 0, 4)
    with pytest.raises(ValueError, match='rank 4 of 4'): Shard(Sampler(range(9)), 4, 4)
    with pytest.raises(ValueError, match='rank 0 of 3 processes, 1 rows'): list(Shard(BatchSampler(Sampler(range(10)), 3), 0, 3))
    assert launch(total, 0, torch.ones(1)) == []


# ---- a step -------------------------------------------------------------------------------------------------------------

def alone(model, batches, opt_func, p):
    "One process that takes the parts in turn, as anybody would write it."
    opt = opt_func(model.parameters())
    for x, y in batches:
        for r in range(p): (cross_entropy(model(x[r::p]), y[r::p])*(len(y[r::p])/len(y))).backward()
        opt.step(), opt.zero_grad()
    return model.state_dict()


def cut(x, y, bs): return list(zip(x.split(bs), y.split(bs)))


@pytest.mark.parametrize('opt_func', (momentum, adam))
@pytest.mark.parametrize('norm', (False, True))
def test_two_halves_are_bit_equal_to_accumulation(opt_func, norm):
    data = cut(*blobs(640), 64)
    replicas, one = launch(train_parallel, 2, small(norm), data, opt_func), alone(small(norm), data, opt_func, 2)
    for name, _ in small().named_parameters() if not norm else small(True).named_parameters():
        assert all(r[name].equal(one[name]) for r in replicas), name


@pytest.mark.parametrize('p', (2, 3, 4))
@pytest.mark.parametrize('opt_func', (momentum, adam))
def test_odd_rows_are_equal_up_to_rounding(p, opt_func):
    data = cut(*blobs(515, dtype=torch.double), 101)     # the last batch has ten rows
    replicas = launch(train_parallel, p, small(dtype=torch.double), data, opt_func)
    assert all(same(replicas[0], r) for r in replicas)
    for k in (1, p): assert_close(replicas[0], dict(alone(small(dtype=torch.double), data, opt_func, k)), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize('p', (2, 3))
def test_batch_norm_sees_its_own_rows(p):
    data = cut(*blobs(300, dtype=torch.double), 60)
    replicas = launch(train_parallel, p, small(True, torch.double), data, momentum)
    parts, whole = [alone(small(True, torch.double), data, momentum, k) for k in (p, 1)]
    for name, _ in small(True).named_parameters():
        assert_close(replicas[0][name], parts[name], rtol=1e-9, atol=1e-11)
        assert replicas[1][name].equal(replicas[0][name])
    assert (replicas[0]['0.weight'] - whole['0.weight']).abs().max() > 1e-4
    assert not replicas[0]['1.running_mean'].equal(replicas[1]['1.running_mean'])


# ---- a learner ------------------------------------------------------------------------------------------------------------

class Shares(Callback):
    "How many rows of the validation each rank has seen."
    rows = 0
    def before_validate(self): self.rows = 0
    def after_batch(self): self.rows += 0 if self.learn.training else len(self.learn.yb)


def fit(opt_func, bs, norm=False, cycle=True, generator=True, cbs=True):
    "What a rank can tell of two epochs on 205 rows, validated on 77; with our callback, or as any learner."
    torch.manual_seed(1)
    train, valid = Dataset(*blobs(205, 1, torch.double)), Dataset(*blobs(77, 2, torch.double))
    dls = get_dls(train, valid, bs, seeded(4) if generator else None)
    learn = Learner(dls, small(norm, torch.double), cross_entropy, opt_func, metrics=accuracy, cbs=[shares := Shares(), *[DataParallel()]*cbs])
    with learn.no_logging(): learn.fit_one_cycle(2, 0.05) if cycle else learn.fit(2, 0.05)
    assert dls.train.order is dls.train.batch_sampler and dls.valid.order is dls.valid.batch_sampler
    rank, p = parallel.rank_and_size()
    assert shares.rows == len(range(rank, 77, p)) and sum(b[-1] for b in learn.recorder.batches) == 77
    if rank == 0: assert learn.validate() == pytest.approx(learn.recorder.values[-1][1:])   # alone
    return learn.recorder.values, learn.recorder.losses, learn.recorder.lrs, learn.model.state_dict()


@pytest.mark.parametrize('p', (2, 3, 4))
@pytest.mark.parametrize('opt_func, bs, cycle, generator', ((partial(SGD, momentum=0.9), 50, True, True), (Adam, 41, True, False), (SGD, 205, False, True)))
def test_a_learner_on_p_processes_is_one_on_one(p, opt_func, bs, cycle, generator):
    results, (one, with_callback) = launch(fit, p, opt_func, bs, False, cycle, generator), [fit(opt_func, bs, False, cycle, generator, cbs) for cbs in (False, True)]
    for r in [*results, with_callback]:
        assert r is with_callback or r[:3] == results[0][:3] and same(r[3], results[0][3])
        for ours, expected in zip(r[:3], one[:3]): assert_close(torch.tensor(ours), torch.tensor(expected), rtol=1e-6, atol=1e-6)
        assert_close(dict(r[3]), dict(one[3]), rtol=1e-7, atol=1e-9)


def test_running_statistics_are_the_same_on_all_ranks():
    a, b, c = launch(fit, 3, SGD, 41, True)
    assert same(a[3], b[3]) and same(a[3], c[3]) and a[:3] == b[:3] == c[:3]
    assert not a[3]['1.running_mean'].equal(torch.zeros(20).double())


def dropped(n): # rows of random masks shift the global generator, differently on each rank
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(7, 20), nn.Dropout(0.5), nn.Linear(20, 3))
    seen = Callback()
    rows = []
    seen.before_batch = lambda: rows.extend(seen.learn.xb[0][:, 0].tolist())
    x, y = blobs(n)
    x[:, 0] = torch.arange(n)/n
    learn = Learner([DataLoader(Dataset(x, y), 20, shuffle=True)], model, cross_entropy, cbs=[DataParallel(), seen])
    with learn.no_logging(): learn.fit(3, 0.1)
    return rows


def test_without_a_generator_ranks_still_share_an_order():
    a, b, c = launch(dropped, 3, 100)
    assert sorted(a + b + c) == sorted((torch.arange(100)/100).tolist()*3)


class Cut(Callback):
    def __init__(self, step): self.step = step
    def after_step(self):
        if len(self.learn.recorder.lrs) == self.step: raise KeyboardInterrupt


def cut_and_resumed(folder, cut):
    "Three epochs, cut off after some steps on all ranks and taken up by a learner with other weights and seeds."
    rank, p = parallel.rank_and_size()
    def learner(seed):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(7, 20), nn.BatchNorm1d(20), nn.Dropout(0.2), nn.Linear(20, 3))
        dls = get_dls(Dataset(*blobs(180, 1)), Dataset(*blobs(77, 2)), 36, seeded(seed))
        return Learner(dls, model, cross_entropy, partial(SGD, momentum=0.9), metrics=accuracy, cbs=DataParallel())
    learn = learner(5)
    with learn.no_logging():
        if not cut: learn.fit_one_cycle(3, 0.1)
        else:
            try: learn.fit_one_cycle(3, 0.1, cbs=[Cut(cut), Checkpoint(f'{folder}/{rank}', 2, 'step')])
            except KeyboardInterrupt: pass
            assert len(os.listdir(folder)) == 1
            learn = learner(6)
            with learn.no_logging(): learn.resume(f'{folder}/0')
    return learn.recorder.values, learn.recorder.losses, checksum(learn.model)


@pytest.mark.parametrize('cut', (5, 8))
def test_all_ranks_resume_from_the_file_of_rank_0(tmp_path, cut):
    whole, again = launch(cut_and_resumed, 3, None, 0), launch(cut_and_resumed, 3, str(tmp_path), cut)
    assert whole[0] == whole[1] == whole[2] == again[0] == again[1] == again[2]
    assert [p.name for p in tmp_path.iterdir()] == ['0']


# ---- faults ---------------------------------------------------------------------------------------------------------------

def wrong(kind):
    rank = dist.get_rank()
    if kind == 'raise' and rank == 1: raise KeyError('lost')
    if kind == 'kill' and rank == 1: os.kill(os.getpid(), signal.SIGKILL)
    if kind == 'result': return lambda: 0
    if kind == 'exit' and rank == 1: sys.exit(3)
    if kind == 'wait': time.sleep(600)
    if kind in ('models', 'widths', 'seeds', 'rows'):
        torch.manual_seed(rank if kind == 'models' else 0)
        model = Linear(7, 3 + rank*(kind == 'widths'))
        rows = Dataset(*blobs(64 + 32*rank*(kind == 'rows')))
        loader = DataLoader(rows, 16, shuffle=True, generator=seeded(rank*(kind == 'seeds')))
        learn = Learner([loader], model, cross_entropy, cbs=DataParallel())
        with learn.no_logging(): learn.fit(1)
    dist.barrier()


@pytest.mark.parametrize('kind, says', (('raise', "(?s)rank 1 of 3: .*KeyError: 'lost'"), ('kill', 'rank 1 of 3: its process is dead'),
                                        ('result', '(?s)rank . of 3: .*pickle'), ('exit', '(?s)rank 1 of 3: .*SystemExit: 3'),
                                        ('models', 'rank 1 has another model than rank 0'), ('widths', 'another model than rank 0'),
                                        ('seeds', 'another loader or seed'), ('rows', 'another loader or seed')))
def test_a_fault_on_one_rank_ends_all_and_says_which(kind, says):
    start = time.monotonic()
    with pytest.raises(RuntimeError, match=says): launch(wrong, 3, kind)
    assert time.monotonic() - start < 60 and launch(dist.get_rank, 3) == [0, 1, 2]


def test_ranks_share_no_memory():
    x = torch.zeros(2)
    assert [a.tolist() for a in launch(count, 2, x)] == [[1, 1], [1, 1]] and x.tolist() == [0, 0]


def count(x):
    dist.barrier()
    x += 1
    dist.barrier()
    return x


def test_a_checksum_sees_names_shapes_and_bits():
    a, b = small(), small()
    assert checksum(a) == checksum(b) != checksum(small(seed=1))
    with torch.no_grad(): b[0].bias[3] = torch.nextafter(b[0].bias[3], torch.tensor(9.))
    assert checksum(a) != checksum(b) and checksum(nn.Sequential(a)) != checksum(a) != checksum(small(True))


def test_files_left_over_do_no_harm_and_a_call_leaves_none():
    launch(dist.get_rank, 1)    # a forkserver has a socket here
    with pytest.raises(Exception, match='lost'): launch(wrong, 3, 'raise')
    before = os.listdir(get_temp_dir())     # with the place where those three met; it goes when we go: see below
    for p in 2, 3: assert launch(dist.get_rank, p) == [*range(p)]
    assert os.listdir(get_temp_dir()) == before


def told(): return os.getpid(), torch.rand(1).item(), torch.get_num_threads(), torch.set_num_threads(3)


def test_processes_stay_and_every_call_begins_anew():
    two, four = launch(told, 2), launch(told, 4)
    assert [pid for pid, *_ in four[:2]] == [pid for pid, *_ in two] and len({pid for pid, *_ in four}) == 4
    assert len({random for _, random, *_ in two + four}) == 1 and {threads for _, _, threads, _ in two + four} == {1}
    with pytest.raises(RuntimeError): launch(wrong, 2, 'raise')
    assert not {pid for pid, *_ in launch(told, 4)} & {pid for pid, *_ in four}
    os.kill(launch(os.getpid, 1)[0], signal.SIGKILL)
    with pytest.raises((RuntimeError, OSError)): launch(told, 2)
    assert len(launch(told, 2)) == 2


def nested(): return launch(dist.get_rank, 2)


def test_threads_wait_for_each_other_and_a_rank_is_refused():
    results = {}
    def call(p): results[p] = launch(total, p, torch.ones(1))
    threads = [threading.Thread(target=call, args=(p,)) for p in (2, 3, 4)]
    for t in threads: t.start()
    for t in threads: t.join()
    assert {p: [a.item() for a, _ in r] for p, r in results.items()} == {2: [3]*2, 3: [6]*3, 4: [10]*4}
    with pytest.raises(RuntimeError, match='a rank starts no others'): launch(nested, 2)


def running(pid):
    import psutil
    try: return psutil.Process(pid).status() != 'zombie'
    except psutil.NoSuchProcess: return False


def test_a_call_that_failed_leaves_no_process():
    pytest.importorskip('psutil')
    pids = launch(os.getpid, 3)
    with pytest.raises(RuntimeError, match='lost'): launch(wrong, 2, 'raise')
    assert not any(map(running, pids))


@pytest.mark.parametrize('how, busy', (('ended', False), ('interrupted', True), ('killed', True), ('killed', False), ('killed with its group', True)))
@pytest.mark.parametrize('start', ('forkserver', 'spawn'))
def test_however_we_end_no_process_is_left_and_no_file(how, busy, start, tmp_path):
    psutil = pytest.importorskip('psutil')
    pids, files = tmp_path/'pids', Path(tempfile.mkdtemp())    # a short name: a socket's has at most a hundred letters
    pids.mkdir()
    code = ('import sys, time; sys.path.insert(0, "tests"); from minisgd.parallel import launch; import test_parallel as t\n'
            f'if __name__ == "__main__": launch(t.announce, 2, {str(pids)!r}, {busy}); open({str(pids/"0")!r}, "w"); time.sleep(600*({how!r} != "ended"))')
    env = os.environ | {'MINISGD_START': start, 'TMPDIR': str(files)}
    parent = subprocess.Popen([sys.executable, '-c', code], cwd=ROOT, env=env, start_new_session=True, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: len(list(pids.iterdir())) == 3 - busy)
    others = [p.pid for p in psutil.Process(parent.pid).children(recursive=True)] + [int(p.name) for p in pids.iterdir() if p.name != '0']
    if how == 'interrupted': os.kill(parent.pid, signal.SIGINT)
    if how == 'killed': os.kill(parent.pid, signal.SIGKILL)
    if how == 'killed with its group': os.killpg(parent.pid, signal.SIGKILL)
    _, error = parent.communicate(timeout=60)
    assert (parent.returncode == 0) == (how == 'ended') and ('KeyboardInterrupt' in error) == (how == 'interrupted')
    wait_for(lambda: not any(map(running, others)))
    wait_for(lambda: not any(files.iterdir()))
    files.rmdir()


def announce(folder, busy):
    Path(folder, str(os.getpid())).touch()
    time.sleep(600*busy)


def wait_for(condition, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


# ---- other ways to start, and to start again --------------------------------------------------------------------------------

@pytest.mark.parametrize('start', ('spawn', 'forkserver'))
def test_however_processes_are_started(start, monkeypatch):
    monkeypatch.setattr(parallel, 'START', start)
    monkeypatch.setattr(parallel, '_crew', {})
    data = cut(*blobs(128), 64)
    a, b = launch(train_parallel, 2, small(), data, momentum)
    assert same(a, b) and same(a, alone(small(), data, momentum, 2))
    with pytest.raises(RuntimeError, match='rank 1 of 2'): launch(wrong, 2, 'raise')


def test_torchrun_restarts_to_the_same_digits(tmp_path):
    epochs, batch, die = 3, 250, 33    # of 3*37 steps; an epoch's last batch has 50 rows
    values, weights, steps, _ = launch(train_mnist, 1, epochs, 9050, batch)[0]
    expected = launch(train_mnist, 3, epochs, 9050, batch)
    assert len({e[1] for e in expected}) == 1 and expected[0][1] != weights and steps == 3*37
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '3', '--max-restarts', '1', '-m', 'minisgd.parallel',
               '--epochs', str(epochs), '--rows', '9050', '--batch', str(batch), '--die', str(die), '--checkpoint', str(tmp_path/'fit')]
    command[3:3] = ['--log-dir', str(tmp_path/'log')]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0 and 'exitcode: -9' in run.stderr, run.stderr
    assert run.stdout.split()[-1] == expected[0][1]
    assert run.stdout.startswith('81 steps, '), 'of 111, 30 were in the file; and nobody dies twice'
    assert {p.name for p in tmp_path.iterdir()} == {'fit', 'log'}


def test_a_rate_is_of_rows(monkeypatch):
    ticks = iter((3., 5.))
    monkeypatch.setattr(parallel, 'time', SimpleNamespace(perf_counter=lambda: next(ticks)))
    assert train_mnist(3, 1010, 100)[2:] == (33, 3*1010/2)


def timed():
    "Calls of 5 and 7 seconds, the first time of 100; on rank 1 both take a second longer."
    ticks = iter([t for round in range(20) for seconds in (5, 7) for t in (0, (seconds if round else 100) + dist.get_rank())])
    parallel.time, clock = SimpleNamespace(perf_counter=lambda: next(ticks)), parallel.time
    done = []
    try: return parallel.seconds_of([partial(done.append, name) for name in 'ab']), ''.join(done)
    finally: parallel.time = clock


def test_seconds_are_of_the_fastest_of_twenty_until_the_last_rank_is_done():
    assert launch(timed, 2) == [([6, 8], 'ab'*20)]*2


def test_the_program_prints_rows_per_second():
    run = subprocess.run([sys.executable, '-m', 'minisgd.parallel', '--rows', '1000', '--epochs', '1', '--batch', '100', '--processes', '3'],
                         cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert re.fullmatch(r'[\d,]+ rows per second on one process, [\d,]+ on 3\n', run.stdout), run.stderr
