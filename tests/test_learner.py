"""What the notebook cannot say of `minisgd.learner`: kills, Ctrl-C, damaged files, and every mix with PyTorch's parts."""
import itertools, multiprocessing as mp, os, random, signal, subprocess, sys, tempfile, textwrap, time
from functools import partial
import pytest, torch
from torch import nn, utils
from minisgd import dataloader, learner, losses, modules, optim
from minisgd.learner import DataLoaders, History, Learner, fit, get_dls, validate

X = torch.randn(230, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, :3] + 0.3*X[:, 3:]).argmax(1)
LISTS = [(X[i:i+20], Y[i:i+20]) for i in range(0, 200, 20)], [(X[200:], Y[200:])]
momentum = partial(optim.SGD, momentum=0.9)


def network(seed=0, nn=nn):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))

def flat(model): return torch.cat([p.detach().flatten() for p in model.parameters()])

def dropping(seed=0, opt_func=momentum, shuffle_seed=None, **kwargs):
    "A learner whose fits depend on everything: momentum, dropout from the global stream, an order from its own."
    model = network(seed).append(nn.Dropout(0.1))
    dls = get_dls(dataloader.Dataset(X[:200], Y[:200]), dataloader.Dataset(X[200:], Y[200:]), 16, torch.Generator().manual_seed(seed))
    torch.manual_seed(seed)
    return Learner(dls, model, nn.functional.cross_entropy, opt_func, metrics=losses.accuracy, **{'logger': None} | kwargs)

def same_fit(a, b):
    assert torch.equal(flat(a.model), flat(b.model))
    assert a.history.lrs == b.history.lrs and a.history.batch_losses == b.history.batch_losses and a.history.iters == b.history.iters
    timeless = lambda h: [{k: v for k, v in row.items() if k != 'seconds'} for row in h]
    assert timeless(a.history) == timeless(b.history)


# ---- any mix of ours and PyTorch's

LOADERS = [dataloader.DataLoader, utils.data.DataLoader]
@pytest.mark.parametrize('mods, opt_class, sets', list(itertools.product([modules, nn], [optim.SGD, torch.optim.SGD], [dataloader.Dataset, utils.data.TensorDataset])))
def test_any_mix_gives_the_same_fit(mods, opt_class, sets):
    runs = []
    for loader in LOADERS:
        model = network(nn=mods)
        model.load_state_dict(network().state_dict())
        train = loader(sets(X[:200], Y[:200]), batch_size=32, shuffle=True, generator=torch.Generator().manual_seed(1))
        valid = loader(sets(X[200:], Y[200:]), batch_size=16)
        learn = Learner(DataLoaders(train, valid), model, nn.CrossEntropyLoss(), partial(opt_class, momentum=0.9), metrics=losses.accuracy, logger=None)
        learn.fit(2, 0.1)
        learn.fit_one_cycle(2, 0.1)
        runs.append((flat(model), learn.validate()))
    torch.testing.assert_close(runs[0], runs[1], rtol=1e-5, atol=1e-6)
    reference = fit_by_hand()
    torch.testing.assert_close(runs[0][0], reference, rtol=1e-4, atol=1e-5)

def fit_by_hand(_cache=[]):
    "The same by PyTorch alone: two epochs at 0.1, then fastai's cycle over two."
    if _cache: return _cache[0]
    model = network()
    opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    dl = utils.data.DataLoader(utils.data.TensorDataset(X[:200], Y[:200]), batch_size=32, shuffle=True, generator=torch.Generator().manual_seed(1))
    cos = lambda a, b, pos: a + (b - a)*(1 - torch.cos(torch.tensor(pos*torch.pi, dtype=torch.float64)).item())/2
    valid = utils.data.DataLoader(utils.data.TensorDataset(X[200:], Y[200:]), batch_size=16)
    for epoch in range(4):
        for i, (xb, yb) in enumerate(dl):
            if epoch >= 2:
                pos = ((epoch - 2)*7 + i)/14
                lr = cos(0.004, 0.1, pos*4) if pos < 0.25 else cos(0.1, 1e-6, (pos - 0.25)/0.75)
                mom = cos(0.95, 0.85, pos*4) if pos < 0.25 else cos(0.85, 0.95, (pos - 0.25)/0.75)
                opt.param_groups[0].update(lr=lr, momentum=mom)
            opt.zero_grad()
            nn.functional.cross_entropy(model(xb), yb).backward()
            opt.step()
        list(valid)
    _cache.append(flat(model))
    return _cache[0]

def test_a_checkpoint_of_ours_goes_on_with_pytorchs_optimizer(tmp_path):
    a = dropping()
    a.fit(3, 0.05, checkpoint=tmp_path/'a')
    b = dropping(1, partial(torch.optim.SGD, momentum=0.9)).load(tmp_path/'a')
    for learn in (a, b):
        torch.manual_seed(3)
        learn.dls.train.generator.manual_seed(3)
        learn.fit(2, 0.05)
    torch.testing.assert_close(flat(a.model), flat(b.model), rtol=1e-6, atol=1e-6)

def test_other_optimizers_and_schedulers_of_pytorch():
    learn = Learner(LISTS, network(), nn.functional.cross_entropy, torch.optim.Adam, logger=None)
    assert learn.fit(3, 0.01)[-1]['train_loss'] < learn.history[0]['train_loss']
    learn.fit_one_cycle(2, 0.02)
    model = network()
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    h = fit(2, model, nn.functional.cross_entropy, opt, *LISTS, sched=torch.optim.lr_scheduler.StepLR(opt, 10), logger=None)
    assert h.lrs == pytest.approx([0.1]*10 + [0.01]*10)


# ---- fit

def test_one_schedule_step_for_each_step():
    calls = []
    class Sched:
        def step(self): calls.append(1)
    fit(3, network(), nn.functional.cross_entropy, optim.SGD(network().parameters(), lr=0.), *LISTS, sched=Sched(), logger=None)
    assert len(calls) == 30

def test_gradients_left_over_from_before_do_no_harm():
    weights = []
    for stale in (False, True):
        model = network()
        if stale: nn.functional.cross_entropy(model(X), Y).backward()
        fit(1, model, nn.functional.cross_entropy, optim.SGD(model.parameters(), lr=0.1), *LISTS, logger=None)
        weights.append(flat(model))
    assert torch.equal(*weights)

def test_table_has_one_row_per_epoch_and_history_is_plain(capsys):
    model = network()
    h = fit(3, model, nn.functional.cross_entropy, optim.SGD(model.parameters(), lr=0.1), *LISTS)
    out = capsys.readouterr()
    assert [l.split()[0] for l in out.out.splitlines()] == ['epoch', '0', '1', '2'] and out.err == ''
    assert out.out.split()[:5] == ['epoch', 'train_loss', 'valid_loss', 'accuracy', 'seconds']
    import json
    assert json.loads(json.dumps(h))[2]['epoch'] == 2
    assert {type(v) for row in h for v in row.values()} == {int, float}

def test_two_metrics_of_one_name_both_count():
    h = fit(1, network(), nn.functional.cross_entropy, optim.SGD(network().parameters(), lr=0.1), *LISTS, metrics=[lambda o, y: 1., lambda o, y: 2.], logger=None)
    assert [v for k, v in h[0].items() if 'lambda' in k] == [1., 2.]

def test_modes_come_back_even_after_an_error():
    model = nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3), nn.Dropout())
    model[1].eval()
    modes = [m.training for m in model.modules()]
    def broken(out, yb): raise OSError('disk')
    with pytest.raises(RuntimeError, match='metric broken raised OSError: disk'): validate(model, LISTS[1], nn.functional.cross_entropy, broken)
    with pytest.raises(OSError): fit(1, model, broken, optim.SGD(model.parameters(), lr=0.1), *LISTS)
    assert [m.training for m in model.modules()] == modes

def test_several_inputs():
    class Sum(nn.Module):
        def __init__(self): super().__init__(); self.l = nn.Linear(6, 3)
        def forward(self, a, b): return self.l(a + b)
    batches = [(X[:20], X[20:40], Y[:20])]
    learn = Learner([batches, batches], Sum(), nn.functional.cross_entropy, logger=None)
    assert len(learn.fit(2, 0.1)) == 2 and learn.get_preds()[0].shape == (20, 3)

def test_nan_keeps_the_weights_from_before_the_step():
    poisoned = [*LISTS[0][:4], (X[:20]*float('nan'), Y[:20])]
    a, b = network(), network()
    with pytest.raises(FloatingPointError, match=r'loss is nan at step 4 \(epoch 0\), learning rate 0.1; .* Try a lower rate'):
        fit(1, a, nn.functional.cross_entropy, optim.SGD(a.parameters(), lr=0.1), poisoned)
    fit(1, b, nn.functional.cross_entropy, optim.SGD(b.parameters(), lr=0.1), poisoned[:4], logger=None)
    assert torch.equal(flat(a), flat(b))

def test_weights_already_spoiled_go_back_to_the_start_of_the_epoch():
    model, start = network(), flat(network())
    root = lambda out, yb: out.abs().sum().mul(0).sqrt() # its value is 0, its gradient nan
    with pytest.raises(FloatingPointError, match='step 1'): fit(1, model, root, optim.SGD(model.parameters(), lr=0.1), *LISTS)
    assert torch.equal(flat(model), start)

@pytest.mark.parametrize('change, error, words', [
    (dict(epochs=-1), ValueError, 'epochs'),
    (dict(train_dl=[]), ValueError, 'train_dl'), (dict(valid_dl=[]), ValueError, 'valid_dl'), (dict(train_dl=iter(())), ValueError, 'train_dl'),
    (dict(loss_func=lambda o, y: o), ValueError, r'loss_func.*\(20, 3\)'), (dict(loss_func=lambda o, y: 1.), ValueError, 'loss_func.*float'),
    (dict(metrics=lambda o, y: o), RuntimeError, 'metric <lambda>')])
def test_bad_input(change, error, words):
    model = network()
    args = dict(epochs=1, model=model, loss_func=nn.functional.cross_entropy, opt=optim.SGD(model.parameters(), lr=0.1), train_dl=LISTS[0], valid_dl=LISTS[1])
    with pytest.raises(error, match=words): fit(**args | change, logger=None)

@pytest.mark.parametrize('call', [lambda l: l.fit(-1), lambda l: l.fit(1, -0.1), lambda l: l.fit(1, float('nan')), lambda l: l.fit(1, slice(1, 2)), lambda l: l.fit_one_cycle(-1),
                                  lambda l: l.fit_one_cycle(1, 0.1, pct_start=2), lambda l: l.lr_find(1, 0.1), lambda l: l.lr_find(num_it=-5)])
def test_bad_input_to_the_learner_changes_nothing(call):
    learn = dropping()
    learn.fit(1, 0.1)
    before, history = flat(learn.model), learn.history
    with pytest.raises((ValueError, TypeError)): call(learn)
    assert torch.equal(flat(learn.model), before) and learn.opt.param_groups[0]['lr'] == 0.1 and learn.history is history

def test_other_bad_input():
    with pytest.raises(ValueError, match='no batches'): validate(network(), [], nn.functional.cross_entropy)
    with pytest.raises(ValueError, match=r'got shape \(30,\)'): validate(network(), LISTS[1], nn.CrossEntropyLoss(reduction='none'))
    with pytest.raises(ValueError, match='a loader to train on'): DataLoaders()
    with pytest.raises(ValueError, match='0 batches in an epoch'): dropping().resume(dropping().save(os.path.join(tempfile.mkdtemp(), 'new')))
    assert fit(0, network(), nn.functional.cross_entropy, optim.SGD(network().parameters(), lr=0.1), *LISTS) == []

def test_generators_are_found_wherever_loaders_keep_them():
    g, h = torch.Generator(), torch.Generator()
    ours, theirs = [m.DataLoader(X, 10, shuffle=True, generator=g) for m in (dataloader, utils.data)]
    assert learner._generators([ours, theirs]) == [g]
    sampler = utils.data.RandomSampler(X, generator=h)
    inside = utils.data.DataLoader(X, batch_sampler=utils.data.BatchSampler(sampler, 10, False))
    assert set(learner._generators([inside, ours])) == {g, h} and learner._generators(LISTS) == []

def test_lr_find_puts_back_gradients_and_mode():
    learn = dropping()
    learn.fit(1, 0.1)
    learn.model.eval()
    grads = [p.grad for p in learn.model.parameters()]
    learn.lr_find(show_plot=False)
    assert all(p.grad is g for p, g in zip(learn.model.parameters(), grads)) and not learn.model.training

def test_lr_find_changes_nothing_of_a_learner_in_use():
    learners = []
    for look in (True, False):
        learn = dropping()
        learn.fit_one_cycle(2, 0.05)
        opt, history = learn.opt, learn.history
        if look: assert 1e-7 < learn.lr_find(show_plot=False).valley < 10
        assert learn.opt is opt and learn.history is history
        learn.fit(2)
        learners.append(learn)
    same_fit(*learners)


# ---- Ctrl-C

def run_child(code, *args, **kwargs):
    return subprocess.Popen([sys.executable, '-c', textwrap.dedent(code), *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            cwd=os.path.dirname(__file__), **kwargs)

def test_ctrl_c_ends_a_fit_and_keeps_its_history():
    child = run_child('''
        import time, test_learner as t
        learn = t.dropping(logger=lambda row: print(row, flush=True))
        h = learn.fit(10**6, 0.01, cbs=[lambda h: time.sleep(0.02)])
        assert h is learn.history and len(h) == len(h.iters) > 2, len(h)
        assert learn.model.training
        print('end')''')
    lines = [child.stdout.readline() for _ in range(5)]
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert out.splitlines()[-2].startswith('Ctrl-C in epoch') and out.splitlines()[-1] == 'end' and lines[0].split()[0] == 'epoch'


# ---- SIGKILL

EPOCHS = 16
def night(path):
    "The fit of a night: go on if there is something to go on from. The last thing is the result, in a file of its own."
    torch.set_num_threads(1)
    learn = dropping(0 if not path.exists() else random.randrange(10**6))
    slow = [lambda h: time.sleep(0.05)]
    if path.exists(): learn.resume(path, cbs=slow)
    else: learn.fit_one_cycle(EPOCHS, 0.1, cbs=slow, checkpoint=path)
    learn.save(path.with_name('result.pth'))

def test_killed_at_any_moment_a_fit_ends_with_the_same_weights(tmp_path):
    whole = dropping()
    whole.fit_one_cycle(EPOCHS, 0.1)
    ctx = mp.get_context('forkserver') # which has torch loaded, so that a child starts at once
    ctx.set_forkserver_preload(['torch', 'minisgd.learner', 'test_learner'])
    clock, kills, path = random.Random(0), 0, tmp_path/'night.pth'
    for _ in range(60):
        child = ctx.Process(target=night, args=(path,))
        child.start()
        child.join(clock.uniform(0.02, 0.25) if kills < 12 else None)
        if child.exitcode is None:
            os.kill(child.pid, signal.SIGKILL)
            child.join()
        if child.exitcode == 0: break
        assert child.exitcode == -signal.SIGKILL, child.exitcode
        kills += 1
    assert kills >= 3 and child.exitcode == 0
    same_fit(dropping(5).load(tmp_path/'result.pth'), whole)

@pytest.mark.parametrize('where', ['write', 'flush', 'fsync', 'replace'])
def test_a_kill_while_saving_leaves_the_last_checkpoint(tmp_path, where, monkeypatch):
    whole = dropping()
    whole.fit(4, 0.1)
    saves = []
    class Killed(BaseException): pass
    def strike(*args):
        saves.append(1)
        if len(saves) == 3: raise Killed
    def torn(state, f):
        strike()
        real_save(state, f)
    def half(state, f):
        saves.append(1)
        if len(saves) != 3: return real_save(state, f)
        import io
        buffer = io.BytesIO()
        real_save(state, buffer)
        f.write(buffer.getvalue()[:2000])
        f.flush()
        raise Killed
    real_save, real_fsync, real_replace = torch.save, os.fsync, os.replace
    if where == 'write': monkeypatch.setattr(torch, 'save', half)
    if where == 'flush': monkeypatch.setattr(torch, 'save', torn)
    if where == 'fsync': monkeypatch.setattr(os, 'fsync', lambda fd: (strike(), real_fsync(fd)))
    if where == 'replace': monkeypatch.setattr(os, 'replace', lambda a, b: (strike(), real_replace(a, b)))
    with pytest.raises(Killed): dropping().fit(4, 0.1, checkpoint=tmp_path/'c')
    monkeypatch.undo()
    again = dropping(9)
    again.resume(tmp_path/'c')
    same_fit(again, whole)

def test_a_finished_fit_resumes_to_nothing_and_a_new_fit_is_new(tmp_path):
    a = dropping()
    a.fit_one_cycle(2, 0.1, checkpoint=tmp_path/'c')
    before = flat(a.model)
    assert len(a.resume(tmp_path/'c')) == 2 and torch.equal(flat(a.model), before)
    assert len(a.fit(1)) == 1 and a.sched is None

@pytest.mark.parametrize('loader', LOADERS)
def test_resume_with_an_order_from_the_global_generator(tmp_path, loader):
    def make(seed):
        model = network(seed)
        train = loader(dataloader.Dataset(X[:200], Y[:200]), batch_size=16, shuffle=True)
        return Learner(DataLoaders(train, LISTS[1]), model, nn.functional.cross_entropy, momentum, logger=None)
    def cut(h):
        if len(h) == 2: raise ZeroDivisionError
    whole, half = make(0), make(0)
    torch.manual_seed(0); whole.fit(4, 0.05)
    torch.manual_seed(0)
    with pytest.raises(ZeroDivisionError): half.fit(4, 0.05, cbs=[cut], checkpoint=tmp_path/'c')
    other = make(5)
    other.resume(tmp_path/'c')
    same_fit(other, whole)


# ---- files that are not checkpoints

def test_every_truncation_is_refused_and_changes_nothing(tmp_path):
    learn = dropping()
    learn.fit(1, 0.1)
    path = learn.save(tmp_path/'c')
    assert path == tmp_path/'c.pth' and os.listdir(tmp_path) == ['c.pth']
    data, before = path.read_bytes(), flat(learn.model)
    for n in (0, 1, 100, len(data)//2, len(data)-1):
        path.write_bytes(data[:n])
        with pytest.raises(ValueError, match='no whole checkpoint'): learn.load(path)
    for k in range(0, len(data), len(data)//40):
        path.write_bytes(data[:k] + bytes([data[k] ^ 0xff]) + data[k+1:])
        try: learn.load(path)
        except ValueError: pass # some bytes of a zip file mean nothing
        assert torch.equal(flat(learn.model), before)

def test_foreign_files(tmp_path):
    learn = dropping()
    before = flat(learn.model)
    class Evil:
        def __reduce__(self): return os.mkdir, (str(tmp_path/'executed'),)
    for i, thing in enumerate([network().state_dict(), [1, 2], torch.ones(3), dict(format='other'), Evil()]):
        torch.save(thing, tmp_path/f'{i}.pth')
        with pytest.raises(ValueError, match='checkpoint|not written by'): learn.load(tmp_path/f'{i}.pth')
    with pytest.raises(FileNotFoundError): learn.load(tmp_path/'nowhere')
    assert not (tmp_path/'executed').exists() and torch.equal(flat(learn.model), before) and learn.opt is None

def test_checkpoints_of_another_learner(tmp_path):
    a = dropping()
    a.fit(1, 0.1, checkpoint=tmp_path/'a')
    wider = Learner(a.dls, nn.Sequential(nn.Linear(6, 17), nn.ReLU(), nn.Linear(17, 3)), nn.functional.cross_entropy, logger=None)
    with pytest.raises(ValueError, match='another model: 0.weight'): wider.load(tmp_path/'a')
    with pytest.raises(ValueError, match='optimizer SGD, not Adam'): dropping(0, torch.optim.Adam).load(tmp_path/'a')
    with pytest.raises(ValueError, match='with 1 random generators, not 0'): Learner(LISTS, dropping().model, nn.functional.cross_entropy).load(tmp_path/'a')
    def cut(h): raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError): a.fit(3, 0.1, cbs=[cut], checkpoint=tmp_path/'b')
    shorter = dropping()
    shorter.dls.loaders[0] = dataloader.DataLoader(dataloader.Dataset(X[:100], Y[:100]), batch_size=16, shuffle=True, generator=torch.Generator())
    with pytest.raises(ValueError, match='13 batches in an epoch, the training loader has 7'): shorter.resume(tmp_path/'b')


# ---- the progress bar

@pytest.mark.skipif(not hasattr(os, 'openpty'), reason='no terminals here')
def test_bar_on_a_terminal_leaves_nothing():
    import fcntl, struct, termios
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0))
    child = subprocess.Popen([sys.executable, '-c', 'import time, test_learner as t\nt.dropping(logger=print).fit(6, 0.01, cbs=[lambda h: time.sleep(0.4)])'],
                             stdout=subprocess.PIPE, stderr=slave, cwd=os.path.dirname(__file__), text=True)
    os.close(slave)
    seen = b''
    try:
        while chunk := os.read(master, 4096): seen += chunk
    except OSError: pass # the other end has closed
    out = child.communicate(timeout=60)[0]
    assert b'%|' in seen # there was a bar
    assert seen.rsplit(b'\r', 2)[-2].strip() == b'' and seen.endswith(b'\r') # and then blanks
    assert '%|' not in out and len(out.splitlines()) == 7
