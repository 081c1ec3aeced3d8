"""What the notebook cannot say of `minisgd.learner`: faults, Ctrl-C, the bar, and every mix with PyTorch's parts."""
import itertools, json, math, os, pickle, signal, subprocess, sys, textwrap, types, warnings
from functools import partial
import matplotlib.pyplot as plt, pytest, torch
from torch import nn, utils
from minisgd import dataloader, learner, losses, modules, optim
from minisgd.learner import (Callback, CancelFitException, DataLoaders, Learner, NanGuard, ParamScheduler, ProgressCallback, Recorder, ToDevice,
                             cos_cycle, fit, get_dls, row_means, validate)

EVENTS = [f'{when}_{part}' for part in 'fit epoch train validate batch step'.split() for when in ('before', 'after')] + ['after_pred', 'after_loss']

X = torch.randn(230, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, :3] + 0.3*X[:, 3:]).argmax(1)
LISTS = [(X[i:i+20], Y[i:i+20]) for i in range(0, 200, 20)], [(X[200:], Y[200:])]
momentum = partial(optim.SGD, momentum=0.9)
cross_entropy = nn.functional.cross_entropy


def network(seed=0, nn=nn):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))

def flat(model): return torch.cat([p.detach().flatten() for p in model.parameters()])

@pytest.fixture(autouse=True)
def no_figures_left(): yield; plt.close('all')

def quiet(dls=LISTS, model=None, loss_func=cross_entropy, opt_func=momentum, **kwargs):
    "A learner that prints nothing."
    learn = Learner(dls, model or network(), loss_func, opt_func, **{'metrics': losses.accuracy} | kwargs)
    learn.logger, learn.bar = lambda row: None, False
    return learn

def sets(): return dataloader.Dataset(X[:200], Y[:200]), dataloader.Dataset(X[200:], Y[200:])

def dropping(seed=0, **kwargs):
    "A learner whose fits depend on everything: momentum, dropout from the global stream, an order from its own."
    model = network(seed).append(nn.Dropout(0.1))
    torch.manual_seed(seed)
    return quiet(get_dls(*sets(), 16, torch.Generator().manual_seed(seed)), model, **kwargs)

def at(event, f):
    "A callback that calls `f` with the learner at each `event`."
    cb = Callback()
    setattr(cb, event, lambda: f(cb.learn))
    return cb

def usable(learn):
    "It can fit and validate, nothing is left over, and it gets better."
    assert [type(cb) for cb in learn.cbs] == list(Learner.default_cbs)
    first = learn.validate()[0]
    learn.fit(3, 0.05)
    assert len(learn.recorder.values) == 3 and learn.validate()[0] < first
    assert all(p.isfinite().all() for p in learn.model.parameters())


# ---- any mix of ours and PyTorch's

LOADERS = [dataloader.DataLoader, utils.data.DataLoader]
@pytest.mark.parametrize('mods, opt_class, data', list(itertools.product([modules, nn], [optim.SGD, torch.optim.SGD], [dataloader.Dataset, utils.data.TensorDataset])))
def test_any_mix_gives_the_same_fit(mods, opt_class, data):
    for loader in LOADERS:
        model = network(nn=mods)
        model.load_state_dict(network().state_dict())
        train = loader(data(X[:200], Y[:200]), batch_size=32, shuffle=True, generator=torch.Generator().manual_seed(1))
        valid = loader(data(X[200:], Y[200:]), batch_size=16)
        learn = quiet(DataLoaders(train, valid), model, nn.CrossEntropyLoss(), partial(opt_class, momentum=0.9))
        learn.fit(2, 0.1)
        learn.fit_one_cycle(2, 0.1)
        torch.testing.assert_close(flat(model), fit_by_hand(), rtol=1e-4, atol=1e-5)

def fit_by_hand(_cache=[]):
    "The same by PyTorch alone: two epochs at 0.1, then fastai's cycle over two."
    if _cache: return _cache[0]
    model = network()
    opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    dl = utils.data.DataLoader(utils.data.TensorDataset(X[:200], Y[:200]), batch_size=32, shuffle=True, generator=torch.Generator().manual_seed(1))
    for epoch in range(4):
        for i, (xb, yb) in enumerate(dl):
            if epoch >= 2: opt.param_groups[0].update(zip(('lr', 'momentum'), fastai_cycle(((epoch - 2)*7 + i)/14)))
            opt.zero_grad()
            cross_entropy(model(xb), yb).backward()
            opt.step()
    _cache.append(flat(model))
    return _cache[0]

def fastai_cycle(pos):
    "Rate and momentum of fastai's cycle with lr_max=0.1."
    cos = lambda a, b, pos: a + (b - a)*(1 - math.cos(pos*math.pi))/2
    if pos < 0.25: return cos(0.004, 0.1, pos*4), cos(0.95, 0.85, pos*4)
    return cos(0.1, 1e-6, (pos - 0.25)/0.75), cos(0.85, 0.95, (pos - 0.25)/0.75)

def test_adam_cycles_its_first_beta():
    seen = []
    learn = quiet(opt_func=partial(torch.optim.Adam, betas=(0.9, 0.98)))
    learn.fit_one_cycle(2, 0.1, cbs=at('before_step', lambda l: seen.append((l.opt.param_groups[0]['lr'], l.opt.param_groups[0]['betas']))))
    assert [lr for lr, _ in seen] == pytest.approx([fastai_cycle(i/20)[0] for i in range(20)])
    assert [b[0] for _, b in seen] == pytest.approx([fastai_cycle(i/20)[1] for i in range(20)]) and {b[1] for _, b in seen} == {0.98}
    assert 'momentum' not in learn.opt.param_groups[0]

def test_one_class():
    assert Learner.__mro__ == (Learner, object)


# ---- means and validation

@pytest.mark.parametrize('bs', [1, 7, 30])
def test_validation_weights_by_rows_whatever_the_batch(bs):
    model, dl = network(), [(X[i:i+bs], Y[i:i+bs]) for i in range(200, 230, bs)]
    exact = [cross_entropy(model(X[200:]), Y[200:]).item(), losses.accuracy(model(X[200:]), Y[200:]).item()]
    assert validate(model, dl, cross_entropy, losses.accuracy) == pytest.approx(exact)
    assert quiet([LISTS[0], dl], model).validate() == pytest.approx(exact)
    assert quiet(model=model).validate(dl=dl) == pytest.approx(exact) and quiet(model=model).validate(ds_idx=0) != pytest.approx(exact)

def test_validate_judges_in_evaluation_mode_and_keeps_no_gradients():
    model = nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3), nn.Dropout())
    seen, before = [], {k: v.clone() for k, v in model.state_dict().items()}
    validate(model, LISTS[1], lambda out, yb: seen.append((out.requires_grad, *(m.training for m in model.modules()))) or out.mean())
    assert seen == [(False,)*5]
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)

def test_nothing_to_average():
    with pytest.raises(ValueError, match='no batches'): validate(network(), [], cross_entropy)
    with pytest.raises(ValueError, match='no batches'): row_means([])
    assert row_means([(0.5, 1., 3), (0.1, 2., 1)]) == pytest.approx([0.4, 1.25])

def test_loaders():
    labels = lambda *dls: [dl.one_batch()[1].tolist() for dl in dls]
    a, b, c = [get_dls(*sets(), 64, torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert labels(a) == labels(b) != labels(c) and labels(a) != labels(c)
    first, second = labels(a, a)
    assert first != second, 'two epochs have the same order'
    assert [len(yb) for _, yb in a.train] == [64, 64, 64, 8] and [len(yb) for _, yb in a.valid] == [30] and len(a) == 2
    assert torch.equal(next(iter(get_dls(sets()[0], sets()[0], 16).valid))[1], Y[:32])
    assert DataLoaders(LISTS[0]).valid is None and [*DataLoaders(*LISTS)] == [*LISTS]


# ---- the loop

def test_the_function_and_the_class_take_the_same_steps():
    model, learn = network(), quiet(opt_func=optim.SGD)
    rows = fit(3, model, cross_entropy, optim.SGD(model.parameters(), lr=0.1), *LISTS, losses.accuracy)
    learn.fit(3, 0.1)
    assert torch.equal(flat(model), flat(learn.model)) and rows == learn.recorder.values

def test_the_function_keeps_to_the_optimizers_rate_and_does_without_validation(capsys):
    model = network()
    opt = torch.optim.SGD(model.parameters(), lr=0.3)
    rows = fit(2, model, cross_entropy, opt, LISTS[0])
    assert [len(row) for row in rows] == [1, 1] and rows[1] < rows[0] and opt.param_groups[0]['lr'] == 0.3 and capsys.readouterr().out == ''

def test_events_in_fastais_order():
    seen, trace = [], Callback()
    for e in EVENTS: setattr(trace, e, partial(seen.append, e))
    quiet([LISTS[0][:1], LISTS[1]]).fit(2, cbs=trace)
    train = 'before_train before_batch after_pred after_loss before_step after_step after_batch after_train'
    valid = 'before_validate before_batch after_pred after_loss after_batch after_validate'
    assert seen == ['before_fit', *f'before_epoch {train} {valid} after_epoch'.split()*2, 'after_fit']

def test_gradients_left_over_from_before_do_no_harm():
    a, b = quiet(), quiet()
    for _ in range(2):
        cross_entropy(a.model(X), Y).backward()
        a.fit(1, 0.1), b.fit(1, 0.1)
        assert torch.equal(flat(a.model), flat(b.model))

def test_mode_and_gradients_are_seen_from_inside_the_loss():
    seen = []
    learn = quiet(loss_func=lambda out, yb: seen.append((learn.model.training, torch.is_grad_enabled())) or cross_entropy(out, yb))
    learn.fit(2)
    assert seen == ([(True, True)]*10 + [(False, False)])*2
    learn.get_preds(0), learn.validate(0)
    assert set(seen[22:]) == {(False, False)}

def test_optimizer_options_of_a_fit():
    learn = quiet(lr=0.3)
    learn.fit(0)
    opt = learn.opt
    assert opt.param_groups[0]['lr'] == 0.3 and opt.param_groups[0]['momentum'] == 0.9
    learn.fit(0, 0.2, wd=0.1)
    assert learn.opt is opt and opt.param_groups[0]['lr'] == 0.2 and opt.param_groups[0]['weight_decay'] == 0.1
    learn.fit(0)
    assert opt.param_groups[0]['lr'] == 0.3 and opt.param_groups[0]['weight_decay'] == 0.1

def test_the_recorded_rate_is_that_of_the_step():
    seen, learn = [], quiet()
    learn.fit_one_cycle(3, 0.1, cbs=at('before_step', lambda l: seen.append([l.opt.param_groups[0][k] for k in ('lr', 'momentum')])))
    assert [lr for lr, _ in seen] == learn.recorder.lrs
    for i, pair in enumerate(seen): assert pair == pytest.approx(fastai_cycle(i/30))
    learn.fit(1, cbs=ParamScheduler({'lr': lambda pct: 0.1*(1 - pct)}))
    assert learn.recorder.lrs == pytest.approx([0.1*(1 - i/10) for i in range(10)])

def test_a_cycle_moves_no_momentum_where_there_is_none():
    learn = quiet(opt_func=optim.SGD)
    learn.fit_one_cycle(1, 0.1, cbs=at('before_step', lambda l: l.opt.param_groups[0]['momentum'] == 0 or pytest.fail()))
    assert learn.opt.param_groups[0]['momentum'] == 0

def test_options_of_a_cycle():
    learn = quiet()
    learn.fit_one_cycle(2, 0.1, div=10, div_final=100, pct_start=0.5, moms=(0.9, 0.8, 0.7), wd=0.01)
    lrs = learn.recorder.lrs
    assert (lrs[0], lrs[10], lrs[5]) == pytest.approx((0.01, 0.1, 0.055)) and 0.001 < lrs[-1] < 0.005
    assert learn.opt.param_groups[0]['weight_decay'] == 0.01 and 0.7 < learn.opt.param_groups[0]['momentum'] < 0.71
    assert [cos_cycle(0.25, 1, 2, 0, p) for p in (0, 0.25, 1)] == [1, 2, 0]

def test_records_smooth_as_fastai():
    learn, raw = quiet(), []
    learn.fit(2, 0.1, cbs=at('after_step', lambda l: raw.append(l.loss.item())))
    val, smooth = 0., []
    for i, loss in enumerate(raw, 1):
        val = val*0.98 + loss*0.02
        smooth.append(val/(1 - 0.98**i))
    assert learn.recorder.losses == pytest.approx(smooth) and learn.recorder.iters == [10, 20]
    train, valid, acc = learn.recorder.values[1]
    assert train == pytest.approx(sum(raw[10:])/10) and [valid, acc] == learn.validate()
    assert learn.row == dict(train_loss=train, valid_loss=valid, accuracy=acc) and json.loads(json.dumps(learn.row)) == learn.row

def test_validating_later_does_not_rewrite_the_record():
    learn = quiet()
    learn.fit(1)
    row = [*learn.recorder.values[0]]
    learn.validate(0)
    assert learn.recorder.values == [row]

def test_metrics_one_several_and_partial():
    def far(out, yb, k=0): return float(k)
    mean = nn.MSELoss()
    mean.forward = lambda out, yb: out.mean()
    for metrics, names in (None, []), (far, ['far']), ([partial(far, k=1), losses.accuracy], ['far', 'accuracy']), ([mean, far], ['MSELoss()', 'far']):
        learn = quiet(metrics=metrics)
        learn.fit(1)
        assert list(learn.row) == ['train_loss', 'valid_loss', *names] and len(learn.final_record) == 1 + len(names)
    learn = quiet(metrics=[losses.accuracy, partial(far, k=2)])
    learn.fit(1)
    assert learn.recorder.values[0][3] == learn.row['far'] == 2

def test_several_inputs():
    class Sum(nn.Module):
        def __init__(self): super().__init__(); self.l = nn.Linear(6, 3)
        def forward(self, a, b): return self.l(a + b)
    batches = [(X[:20], X[20:40], Y[:20])]
    learn = quiet([batches, batches], Sum())
    learn.fit(2, 0.1)
    assert learn.get_preds()[0].shape == (20, 3) and len(validate(learn.model, batches, cross_entropy)) == 1

def test_fastbook_chapter_4(capsys):
    x, y = X, (X[:, :1] > 0).float()
    def mnist_loss(predictions, targets):
        predictions = predictions.sigmoid()
        return torch.where(targets==1, 1-predictions, predictions).mean()
    def batch_accuracy(xb, yb): return ((xb.sigmoid()>0.5) == yb).float().mean()
    dset, valid_dset = list(zip(x[:200], y[:200])), list(zip(x[200:], y[200:]))
    dl, valid_dl = dataloader.DataLoader(dset, batch_size=256), dataloader.DataLoader(valid_dset, batch_size=256)
    dls = DataLoaders(dl, valid_dl)
    lr = 1.
    learn = Learner(dls, nn.Linear(6, 1), opt_func=optim.SGD, loss_func=mnist_loss, metrics=batch_accuracy)
    learn.fit(10, lr=lr)
    simple_net = nn.Sequential(nn.Linear(6, 30), nn.ReLU(), nn.Linear(30, 1))
    learn = Learner(dls, simple_net, opt_func=optim.SGD, loss_func=mnist_loss, metrics=batch_accuracy)
    learn.fit(40, 0.1)
    assert [len(v) for v in learn.recorder.values] == [3]*40 and learn.recorder.values[-1][2] > 0.5
    assert learn.model[0].weight.shape == (30, 6) and len(capsys.readouterr().out.splitlines()) == 50


# ---- callbacks

@pytest.mark.parametrize('cb, words', [(lambda: None, 'no object of a Callback'), (Recorder, 'no object of a Callback'), (1, 'no object of a Callback')])
@pytest.mark.parametrize('where', ['init', 'fit', 'several', 'cycle', 'add_cb'])
def test_what_is_no_callback_is_refused_before_the_first_step(cb, words, where):
    learn = quiet()
    start = flat(learn.model)
    with pytest.raises(TypeError, match=words):
        if where == 'init': Learner(LISTS, network(), cross_entropy, cbs=cb)
        if where == 'fit': learn.fit(1, cbs=cb)
        if where == 'several': learn.fit(1, cbs=[Callback(), cb])
        if where == 'cycle': learn.fit_one_cycle(1, cbs=[cb])
        if where == 'add_cb': learn.add_cb(cb)
    assert torch.equal(flat(learn.model), start)
    usable(learn)

def test_callbacks_come_one_or_several_for_good_or_for_a_fit():
    count = []
    one, two = at('after_fit', lambda l: count.append(1)), at('after_fit', lambda l: count.append(2))
    learn = quiet(cbs=one)
    learn.fit(1, cbs=two)
    learn.fit(1, cbs=[two])
    learn.fit(1)
    learn.add_cb(two)
    learn.remove_cb(one)
    learn.fit(0)
    assert count == [1, 2, 1, 2, 1, 2] and one.learn is learn
    learn.remove_cb(Recorder)
    assert not any(isinstance(cb, Recorder) for cb in learn.cbs)

@pytest.mark.parametrize('event', EVENTS)
@pytest.mark.parametrize('error', [ZeroDivisionError, KeyboardInterrupt, CancelFitException])
def test_a_callback_that_raises_leaves_the_learner_usable(event, error):
    def strike(l): raise error('struck')
    learn, ended = quiet(), []
    cbs = [at('after_fit', lambda l: ended.append(1)), at(event, strike)]
    if error is CancelFitException and event != 'after_fit': learn.fit(1, 0.05, cbs=cbs)
    else:
        with pytest.raises(error): learn.fit(1, 0.05, cbs=cbs)
    assert ended == [1]
    learn.plot_loss()
    usable(learn)

@pytest.mark.skipif(sys.platform == 'win32', reason='Windows sends no Ctrl-C to one process alone')
def test_after_ctrl_c_the_learner_says_where_it_came():
    code = '''
        import test_learner as t
        learn = t.quiet()
        learn.logger = lambda row: print(row, flush=True)
        try: learn.fit(10**6, 0.01)
        except KeyboardInterrupt: print('in epoch', learn.epoch, 'batch', learn.iter)
        assert len(learn.recorder.values) > 2
        t.usable(learn)
        print('end')'''
    child = subprocess.Popen([sys.executable, '-c', textwrap.dedent(code)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=os.path.dirname(__file__))
    for _ in range(4): child.stdout.readline()
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert out.splitlines()[-1] == 'end' and any(l.startswith('in epoch') for l in out.splitlines())


# ---- things that go wrong

class Poison(Callback):
    "In one batch of one epoch, inputs of nan; or a loss whose value is fine and whose gradient is nan."
    def __init__(self, epoch, iter, how='input'): self.place, self.how = (epoch, iter), how
    def here(self): return self.learn.training and (self.learn.epoch, self.learn.iter) == self.place
    def before_batch(self):
        if self.here() and self.how == 'input': self.learn.xb = [x*math.nan for x in self.learn.xb]
    def after_loss(self):
        if self.here() and self.how == 'gradient': self.learn.loss = self.learn.loss + self.learn.pred.abs().sum().mul(0).sqrt()

@pytest.mark.parametrize('how', ['input', 'gradient'])
@pytest.mark.parametrize('place', [(0, 0), (0, 4), (1, 0), (1, 9)])
@pytest.mark.parametrize('dls', [LISTS, LISTS[:1]])
def test_a_nan_puts_back_weights_and_optimizer(how, place, dls):
    a, b = quiet(dls), quiet(dls)
    with pytest.raises(FloatingPointError, match='back at the start of the epoch'): a.fit(3, 0.05, cbs=Poison(*place, how))
    b.fit(place[0], 0.05)
    assert torch.equal(flat(a.model), flat(b.model))
    for learn in (a, b): learn.fit(2, 0.05)
    assert torch.equal(flat(a.model), flat(b.model)), 'the momentum was not put back'

def test_nan_in_the_validation_data_shows_and_stops_nothing():
    learn = quiet([LISTS[0], [(X[:20]*math.nan, Y[:20])]])
    learn.fit(2, 0.05)
    assert math.isnan(learn.row['valid_loss']) and learn.row['train_loss'] < 1.1

def test_a_dead_network_is_noticed_and_a_live_one_is_not():
    with pytest.warns(UserWarning, match='network dead'): quiet([LISTS[0]*20, LISTS[1]], opt_func=optim.SGD).fit(1, 10.)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        learn = quiet(opt_func=optim.SGD)
        learn.fit(5, 0.1)
        learn.fit(3, 0.1)
        learn.lr_find(show_plot=False)
        quiet([[(X[:1], Y[:1])], LISTS[1]]).fit(2, 1e-6), quiet([LISTS[0], LISTS[1]], lr=0.).fit(1)

@pytest.mark.parametrize('what, error, words', [
    (dict(metrics=lambda out, yb: 1/0), ZeroDivisionError, 'division'), (dict(metrics=lambda out, yb: out), (ValueError, RuntimeError), 'element'),
    (dict(loss_func=lambda out, yb: out), RuntimeError, 'a Tensor with 60 elements'), (dict(dls=[[], LISTS[1]]), ValueError, 'no batches'), (dict(dls=[LISTS[0], []]), ValueError, 'no batches'),
    (dict(dls=[iter(LISTS[0]), LISTS[1]]), ValueError, 'used up')])
def test_faults_are_told_and_leave_a_learner(what, error, words):
    learn = quiet(**what)
    with pytest.raises(error, match=words): learn.fit(2, 0.05)
    learn.metrics, learn.loss_func, learn.dls = [losses.accuracy], cross_entropy, DataLoaders(*LISTS)
    usable(learn)

def test_one_row_left_over():
    normed = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    learn = quiet(get_dls(dataloader.Dataset(X[:129], Y[:129]), sets()[1], 64), normed)
    with pytest.raises(ValueError, match='more than 1 value per channel'): learn.fit(1)
    assert (learn.epoch, learn.training, learn.iter) == (0, True, 2), 'where it ended'
    learn.dls = DataLoaders(*LISTS)
    usable(learn)
    learn = quiet(get_dls(dataloader.Dataset(X[:129], Y[:129]), sets()[1], 64))
    learn.fit(2)
    assert learn.get_preds(0)[1].tolist() == Y[:129].tolist()

def test_a_loader_without_a_length():
    class Stream:
        def __iter__(self): return iter(LISTS[0])
    learn = quiet([Stream(), LISTS[1]])
    with pytest.raises(TypeError, match='len'): learn.fit_one_cycle(1)
    assert 0 < learn.lr_find(show_plot=False).minimum < 10
    usable(learn)

@pytest.mark.parametrize('call', [lambda l: l.fit(1, float('nan')), lambda l: l.fit(1, slice(1, 2)), lambda l: l.fit(1.5), lambda l: l.lr_find(num_it=5), lambda l: l.lr_find(start_lr=1e5)])
def test_bad_input_changes_nothing(call):
    learn = quiet()
    learn.fit(1, 0.1)
    before = flat(learn.model)
    with pytest.raises((ValueError, TypeError, FloatingPointError)): call(learn)
    assert torch.equal(flat(learn.model), before)
    usable(learn)


# ---- predictions

@pytest.mark.parametrize('make', [
    lambda ds: dataloader.DataLoader(ds, 32, shuffle=True, drop_last=True), lambda ds: utils.data.DataLoader(ds, 32, shuffle=True, drop_last=True),
    lambda ds: utils.data.DataLoader(ds, batch_size=None, sampler=utils.data.BatchSampler(utils.data.RandomSampler(ds), 32, True)),
    lambda ds: utils.data.DataLoader(ds, batch_sampler=utils.data.BatchSampler(utils.data.RandomSampler(ds), 32, True)),
    lambda ds: dataloader.DataLoader(ds, 300, shuffle=True, drop_last=True)])
def test_predictions_of_all_rows_in_order(make):
    learn = quiet(DataLoaders(make(utils.data.TensorDataset(X[:200], Y[:200])), *LISTS[1:]))
    preds, targets = learn.get_preds(0)
    torch.testing.assert_close(preds, learn.model(X[:200]))
    assert targets.tolist() == Y[:200].tolist() and not preds.requires_grad
    assert learn.get_preds()[1].tolist() == learn.get_preds(dl=LISTS[1])[1].tolist() == Y[200:].tolist()

def test_predictions_keep_to_a_samplers_rows():
    ds = utils.data.TensorDataset(X, Y)
    valid = utils.data.DataLoader(ds, 16, sampler=range(200, 230))
    assert quiet(DataLoaders(LISTS[0], valid)).get_preds()[1].tolist() == Y[200:].tolist()

def test_predictions_leave_no_callback_behind():
    learn = quiet()
    learn.get_preds()
    usable(learn)


# ---- looking for a rate

def test_the_suggestion_is_a_tenth_of_the_lowest_points_rate_as_fastais_minimum(shown):
    lr, = quiet().lr_find()
    curve, dot = shown[0].lines
    rates, heights = curve.get_xdata(), list(curve.get_ydata())
    assert lr == rates[heights.index(min(heights))]/10 and rates[0] == pytest.approx(1e-7*10**(8*10/100)) and rates[1]/rates[0] == pytest.approx(10**0.08)

def state(learn):
    g = learn.dls.train.generator
    return [learn.model.state_dict(), learn.opt.state_dict(), torch.get_rng_state(), g.get_state()]

@pytest.mark.parametrize('fitted', [False, True])
def test_lr_find_leaves_no_trace(fitted):
    learn = dropping()
    if fitted:
        learn.fit_one_cycle(2, 0.05)
        cross_entropy(learn.model(X), Y).backward()
    learn.model.eval()
    before = pickle.loads(pickle.dumps(state(learn)))
    opt, record, grads, rows = learn.opt, learn.recorder.losses, [p.grad for p in learn.model.parameters()], learn.recorder.values
    assert 1e-7 < learn.lr_find(show_plot=False).minimum < 10
    torch.testing.assert_close(state(learn), before, rtol=0, atol=0)
    assert learn.opt is opt and learn.recorder.losses is record and learn.recorder.values is rows and not learn.model.training
    assert all(p.grad is g for p, g in zip(learn.model.parameters(), grads))
    usable(learn)

def test_lr_find_goes_on_from_the_optimizers_state_and_reads_the_learners_rows(shown):
    a, b = dropping(), dropping()
    for learn in (a, b): learn.fit(3, 0.1)
    vars(b).pop('opt')
    for learn in (a, b): learn.lr_find()
    with_momentum, without = [list(ax.lines[0].get_ydata()) for ax in shown]
    assert with_momentum[:5] != without[:5]
    seen = []
    dls = get_dls(*sets(), 16, torch.Generator().manual_seed(0))
    quiet(dls, loss_func=lambda out, yb: seen.append(yb) or cross_entropy(out, yb)).lr_find(show_plot=False)
    assert torch.equal(seen[0], get_dls(*sets(), 16, torch.Generator().manual_seed(0)).one_batch()[1])

def test_lr_find_stops_at_an_explosion_or_at_its_last_step():
    steps = lambda **kw: [calls.clear(), quiet(loss_func=lambda out, yb: calls.append(1) or cross_entropy(out, yb)).lr_find(show_plot=False, **kw), len(calls)][2]
    calls = []
    assert steps(end_lr=1e4) < 100 and steps(end_lr=0.1) == 100 and steps(end_lr=0.1, num_it=50) == 50


# ---- plots

@pytest.fixture
def shown(monkeypatch):
    "What was shown: the axes of each figure."
    axes = []
    monkeypatch.setattr(plt, 'show', lambda: (axes.append(plt.gca()), plt.close()))
    return axes

def test_a_plot_asked_for_is_drawn(shown):
    learn = quiet()
    learn.fit(2, 0.1)
    learn.plot_loss()
    steps, valid = shown[0].lines
    assert list(steps.get_xdata()) == list(range(20)) and list(steps.get_ydata()) == learn.recorder.losses
    assert list(valid.get_xdata()) == [10, 20] and list(valid.get_ydata()) == [row[1] for row in learn.recorder.values]
    lr = learn.lr_find().minimum
    curve, dot = shown[1].lines
    assert dot.get_xdata()[0] == 10*lr and len(curve.get_xdata()) > 20 and dot.get_ydata()[0] == min(curve.get_ydata())
    assert [ax.get_xscale() for ax in shown] == ['linear', 'log'] and [ax.get_xlabel() for ax in shown] == ['step', 'learning rate'] and shown[0].get_ylabel()
    learn.lr_find(show_plot=False)
    assert len(shown) == 2

def test_a_plot_before_there_is_anything_to_draw(shown):
    learn = quiet()
    learn.plot_loss()
    learn.fit(0)
    learn.plot_loss()
    def stop(l): raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt): learn.fit(1, cbs=at('after_step', stop))
    learn.plot_loss()
    quiet(LISTS[:1]).plot_loss()
    assert len(shown) == 4


# ---- rows and the bar

def test_rows_are_printed_and_silence_is_silent(capsys):
    learn = Learner(LISTS, network(), cross_entropy, metrics=losses.accuracy)
    learn.fit(2, 0.1)
    out = capsys.readouterr()
    assert [l.split()[::2] for l in out.out.splitlines()] == [['epoch', 'train_loss', 'valid_loss', 'accuracy']]*2 and out.err == ''
    with learn.no_bar(): learn.fit(1)
    assert len(capsys.readouterr().out.splitlines()) == 1
    with learn.no_logging(): learn.fit(1)
    assert capsys.readouterr().out == '' and learn.bar and learn.logger is print

@pytest.mark.parametrize('watched', [True, False])
def test_bar_in_a_notebook_is_one_display_and_ends_empty(watched, monkeypatch):
    pytest.importorskip('IPython')
    from IPython import display
    monkeypatch.setattr(learner, 'ipython_shell', lambda: types.SimpleNamespace(kernel=types.SimpleNamespace(_allow_stdin=watched)))
    shows = []
    handle = types.SimpleNamespace(update=lambda data, raw: shows.append(data))
    monkeypatch.setattr(display, 'display', lambda data, raw, display_id: shows.append(data) or handle)
    learn = quiet()
    learn.bar = True
    learn.fit(8, 0.01)
    if watched: assert shows[0] == shows[-1] == {} and [s['text/plain'].count('█') for s in shows[1:-1]] == [*range(40)] and {len(s['text/plain']) for s in shows[1:-1]} == {40}
    else: assert shows == []
    shows.clear()
    with learn.no_bar(): learn.fit(1)
    assert shows == []

def test_progress_counts_the_whole_fit():
    seen, learn = [], quiet()
    learn.fit(2, cbs=at('before_step', lambda l: seen.append(l.pct_train)))
    assert seen == pytest.approx([i/20 for i in range(20)])

def test_progress_is_right_at_every_event():
    seen, watch = {}, Callback()
    learn = quiet([LISTS[0][:4], LISTS[0][:3]])
    for e in EVENTS: setattr(watch, e, lambda e=e: seen.setdefault(e, []).append(learn.pct_train))
    for _ in range(2):
        seen.clear()
        learn.fit(2, cbs=watch)
        assert seen['before_fit'] == [0] and seen['after_fit'] == [1]
        assert seen['before_epoch'] == seen['before_train'] == [0, 0.5]
        assert seen['after_train'] == seen['before_validate'] == seen['after_validate'] == seen['after_epoch'] == [0.5, 1]
        assert seen['before_step'] == seen['after_step'] == [i/8 for i in range(8)]

def test_two_metrics_of_one_name_are_refused_before_the_first_step():
    def far(out, yb, k=0): return float(k)
    learn = quiet(metrics=[partial(far, k=1), partial(far, k=2)])
    start = flat(learn.model)
    with pytest.raises(ValueError, match='two metrics of one name'): learn.fit(1, 0.1)
    assert torch.equal(flat(learn.model), start)

def test_no_validation_loader():
    learn = quiet(LISTS[:1])
    for ask in learn.validate, learn.get_preds:
        with pytest.raises(ValueError, match='no validation loader'): ask()
    usable(quiet())


# ---- devices

def test_batches_follow_the_model():
    seen = []
    class Where(Callback):
        def after_pred(self):
            seen.append((self.learn.xb[0].device.type, self.learn.yb.device.type, self.learn.pred.device.type))
            raise CancelFitException
    learn = quiet(model=nn.Linear(6, 3, device='meta'))
    learn.fit(1, cbs=Where())
    assert seen == [('meta',)*3]
    with pytest.raises(CancelFitException):
        learn.add_cb(Where())
        learn.get_preds()
    assert seen == [('meta',)*3]*2


# ---- files

def test_save_and_load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    a, b = quiet(), quiet(model=network(1))
    a.fit(2, 0.1)
    a.save('a')
    assert os.listdir() == ['a.pth']
    b.load('a')
    for learn in (a, b): learn.fit(2, 0.1)
    assert torch.equal(flat(a.model), flat(b.model)), 'weights and momentum'
    a.save('without', with_opt=False)
    c, d = quiet(), quiet()
    c.load('without'), d.load('a', with_opt=False)
    assert not c.opt.state and not d.opt.state and torch.equal(flat(c.model), flat(a.model))
    quiet(opt_func=torch.optim.Adam).save('adam')
    quiet(opt_func=torch.optim.Adam).load('adam')

def test_a_file_that_does_not_fit_changes_nothing(tmp_path):
    a = quiet()
    a.fit(1, 0.1)
    wide = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4))
    b = quiet(model=wide)
    before = flat(wide)
    a.save(tmp_path/'a')
    with pytest.raises(RuntimeError, match='size mismatch'): b.load(tmp_path/'a')
    assert torch.equal(flat(wide), before) and 'opt' not in vars(b)
    with pytest.raises(FileNotFoundError): b.load(tmp_path/'nowhere')

def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    a = quiet()
    path = tmp_path/'a.pth'
    a.save(tmp_path/'a')
    before = path.read_bytes()
    def full(state, file):
        open(file, 'wb').write(b'half')
        raise OSError('disk full')
    monkeypatch.setattr(torch, 'save', full)
    with pytest.raises(OSError, match='disk full'): a.save(tmp_path/'a')
    assert path.read_bytes() == before
    monkeypatch.undo()
    a.save(tmp_path/'a')
    assert os.listdir(tmp_path) == ['a.pth']

def test_a_strangers_file_runs_no_code(tmp_path):
    class Evil:
        def __reduce__(self): return os.mkdir, (str(tmp_path/'executed'),)
    torch.save([Evil(), None], tmp_path/'evil.pth')
    with pytest.raises(pickle.UnpicklingError): quiet().load(tmp_path/'evil')
    assert not (tmp_path/'executed').exists()

def test_fit_keeps_rates_of_groups():
    "The function `fit` trains at the rates that its optimizer has, each group at its own."
    torch.manual_seed(0)
    net, dl = nn.Linear(2, 1), [(torch.randn(4, 2), torch.randn(4, 1))]
    opt = optim.SGD([{'params': [net.weight], 'lr': 0.1}, {'params': [net.bias], 'lr': 0.}])
    before = [p.detach().clone() for p in net.parameters()]
    fit(1, net, nn.functional.mse_loss, opt, dl)
    assert [g['lr'] for g in opt.param_groups] == [0.1, 0.]
    assert [not torch.equal(p, b) for p, b in zip(net.parameters(), before)] == [True, False]
