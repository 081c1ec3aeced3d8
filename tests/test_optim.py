"`minisgd.optim` beside PyTorch: what PyTorch's own tests of SGD and Adam ask for, and faults that the notebook has no room for."
import copy, io, math
from functools import partial
import pytest, torch
from torch.nn import Parameter
from torch.optim import lr_scheduler
from torch.testing import assert_close
from minisgd.optim import SGD, Adam, Optimizer, Scheduler, cosine, one_cycle, step_decay, warm_up

SAME = partial(assert_close, rtol=0, atol=0)
AdamW = partial(Adam, decoupled=True)
SGDS = [{}, dict(lr=1e-2), dict(weight_decay=0.5), dict(momentum=0.9), dict(momentum=0.9, dampening=0.5),
        dict(momentum=0.9, weight_decay=0.1), dict(momentum=0.9, nesterov=True, weight_decay=0.1), dict(momentum=1)]
ADAMS = [{}, dict(lr=0.01), dict(betas=(0.5, 0.9)), dict(eps=1e-2), dict(weight_decay=0.1), dict(betas=(0., 0.)), dict(lr=0.)]
KINDS = [(SGD, torch.optim.SGD, o) for o in SGDS] + [(Adam, torch.optim.Adam, o) for o in ADAMS] \
    + [(AdamW, torch.optim.AdamW, dict(weight_decay=0.01) | o) for o in ADAMS]
each_kind = pytest.mark.parametrize('mine, theirs, options', KINDS)
both = pytest.mark.parametrize('opt_class', [SGD, Adam])

def problem(seed=0, dtype=torch.float32, contiguous=True):
    "Weight, bias and a function that computes the loss of a small regression and its gradient."
    torch.manual_seed(seed)
    w, b, x = torch.randn(10, 5, 2, dtype=dtype), torch.randn(10, 2, dtype=dtype), torch.randn(5, dtype=dtype)
    w, b = (Parameter(t[..., 0].contiguous() if contiguous else t[..., 0]) for t in (w, b))
    def loss():
        w.grad = b.grad = None
        l = (w.mv(x) + b).square().sum()
        l.backward()
        return l
    return [w, b], loss

def split(params, **options): return [{'params': params[:1]}, {'params': params[1:], **options}]

@each_kind
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('contiguous', [True, False])
def test_same_steps_as_pytorch(mine, theirs, options, dtype, contiguous):
    (ps, loss), (qs, their_loss) = (problem(dtype=dtype, contiguous=contiguous) for _ in range(2))
    group = dict(lr=0.02, weight_decay=0.2)
    opt, ref = mine(split(ps, **group), **options), theirs(split(qs, **group), **options, foreach=False)
    for _ in range(100): SAME(opt.step(loss), ref.step(their_loss))
    SAME(ps, qs)

@each_kind
def test_state_dicts_go_both_ways(mine, theirs, options):
    (ps, loss), (qs, their_loss) = problem(), problem()
    opt, ref = mine(split(ps, lr=0.02), **options), theirs(split(qs, lr=0.02), **options)
    for _ in range(5): opt.step(loss), ref.step(their_loss)
    SAME(opt.state_dict()['state'], ref.state_dict()['state'])
    f = io.BytesIO()
    torch.save([opt.state_dict(), ref.state_dict()], f)
    f.seek(0)
    from_mine, from_theirs = torch.load(f, weights_only=True)
    opt, ref = mine(split(ps), lr=9.), theirs(split(qs), lr=9.)
    opt.load_state_dict(from_theirs), ref.load_state_dict(from_mine)
    for _ in range(5): opt.step(loss), ref.step(their_loss)
    SAME(ps, qs)

@pytest.mark.parametrize('mine, theirs', [(SGD, torch.optim.SGD), (Adam, torch.optim.Adam)])
def test_the_same_defaults(mine, theirs):
    ours, ref = mine(problem()[0]).defaults, theirs(problem()[0]).defaults
    assert ours == {k: ref[k] for k in ours}

def test_decoupled_decay_comes_with_the_state():
    (ps, loss), (qs, their_loss) = problem(), problem()
    ref = torch.optim.AdamW(qs, lr=0.01, weight_decay=0.5)
    ref.step(their_loss)
    for p, q in zip(ps, qs): p.data.copy_(q.data)
    opt = Adam(ps)
    opt.load_state_dict(ref.state_dict())
    for _ in range(3): opt.step(loss), ref.step(their_loss)
    SAME(ps, qs)

def test_a_step_count_that_is_a_number():
    ps, loss = problem()
    opt = Adam(ps)
    opt.step(loss)
    saved = opt.state_dict()
    for s in saved['state'].values(): s['step'] = s['step'].item()     # as PyTorch once wrote it
    opt.load_state_dict(saved)
    opt.step(loss)
    assert opt.state[ps[0]]['step'] == 2

def test_a_state_without_a_sum_yet():
    ps, loss = problem()
    opt = SGD(ps, lr=0.01, momentum=0.9)
    saved = opt.state_dict()
    saved['state'] = {i: {'momentum_buffer': None} for i in range(2)}
    opt.load_state_dict(saved)
    opt.step(loss)
    SAME(opt.state[ps[0]]['momentum_buffer'], ps[0].grad)

def test_an_older_state_dict_without_the_newer_options():
    for mine, theirs in ((SGD, torch.optim.SGD), (Adam, torch.optim.Adam)):
        ps, loss = problem()
        ref = theirs(ps, lr=0.01)
        ref.step(loss)
        saved = ref.state_dict()
        for key in ('maximize', 'foreach', 'differentiable', 'fused', 'decoupled_weight_decay'): saved['param_groups'][0].pop(key, None)
        opt = mine(ps)
        opt.load_state_dict(saved)
        opt.step(loss)
        assert opt.param_groups[0]['lr'] == 0.01

@pytest.mark.parametrize('mine, theirs, option', [(SGD, torch.optim.SGD, 'maximize'), (Adam, torch.optim.Adam, 'amsgrad')])
def test_options_that_ours_lacks_are_refused_in_a_state(mine, theirs, option):
    ps, _ = problem()
    with pytest.raises(ValueError): mine(ps).load_state_dict(theirs(ps, **{option: True}).state_dict())

@both
def test_a_saved_state_is_a_snapshot_and_never_shared(opt_class):
    opt_class = partial(SGD, momentum=0.9) if opt_class is SGD else Adam
    ps, loss = problem()
    opt = opt_class(ps, lr=0.01)
    opt.step(loss)
    saved = opt.state_dict()
    before = copy.deepcopy(saved)
    opt.param_groups[0]['lr'] = 5.
    a, b = opt_class(ps), opt_class(ps)
    a.load_state_dict(saved), b.load_state_dict(saved)
    for o in (opt, a): o.step(loss)
    SAME(saved, before)
    SAME(b.state_dict(), before)
    opt.load_state_dict(saved)     # back again, in the same object
    SAME(opt.state_dict(), before)

@pytest.mark.parametrize('spoil', [
    lambda s: s['param_groups'].append(s['param_groups'][0]), lambda s: s['param_groups'][0]['params'].pop(),
    lambda s: s.update(param_groups=[s['param_groups'][0] | {'params': [i]} for i in (0, 1)]), # as many, in other groups
    lambda s: s['state'][1].update(momentum_buffer=torch.zeros(3)), lambda s: s['param_groups'][0].update(maximize=True)])
def test_a_state_that_does_not_fit_changes_nothing(spoil):
    ps, loss = problem()
    opt = SGD(ps, lr=0.01, momentum=0.9)
    opt.step(loss)
    before, bad = opt.state_dict(), opt.state_dict()
    bad['param_groups'][0]['lr'] = 7.
    spoil(bad)
    with pytest.raises(ValueError): opt.load_state_dict(bad)
    SAME(opt.state_dict(), before)

@both
def test_a_state_takes_the_type_of_its_parameter(opt_class):
    ps, loss = problem()
    opt = opt_class(ps, **({'momentum': 0.9} if opt_class is SGD else {}))
    opt.step(loss)
    double = [Parameter(p.detach().double()) for p in ps]
    other = opt_class(double)
    other.load_state_dict(opt.state_dict())
    for k, v in other.state[double[0]].items(): assert v.dtype == (torch.float32 if k == 'step' else torch.float64)

def test_a_deep_copy_goes_its_own_way():
    ps, loss = problem()
    opt = SGD(ps, lr=0.01, momentum=0.9)
    opt.step(loss)
    twin = copy.deepcopy(opt)
    before = [p.detach().clone() for p in ps]
    for p in twin.params: p.grad = torch.ones_like(p)
    twin.step()
    SAME([p.detach() for p in ps], before)
    assert len(twin.state) == 2 and twin.state.keys().isdisjoint(opt.state.keys())

def test_groups():
    (w, b), _ = problem()
    group = {'params': w, 'lr': 0.5}
    opt = SGD([group], lr=0.1, momentum=0.9)
    assert group == {'params': w, 'lr': 0.5} # the caller's dict is left alone
    opt.add_param_group({'params': [b]})
    assert [(g['lr'], g['momentum']) for g in opt.param_groups] == [(0.5, 0.9), (0.1, 0.9)] and opt.params == [w, b]
    for bad in ({'params': w}, {'params': [Parameter(torch.ones(1))], 'lr': -1}, {'params': [1.]}):
        with pytest.raises(ValueError): opt.add_param_group(bad)
    assert len(opt.param_groups) == 2

@pytest.mark.parametrize('params, words', [
    ([], 'used up'), (iter(()), 'used up'), ('w', 'must be tensors'), ([1.], 'must be tensors'), (torch.ones(2, requires_grad=True), 'computed from others'),
    ([torch.ones(1), torch.ones(3, requires_grad=True)*2], 'computed from others'), ([*torch.nn.Linear(2, 2).named_parameters()], 'must be tensors'),
    ([p := Parameter(torch.ones(1)), p], 'twice'), ([{'params': p}, {'params': [p]}], 'twice')])
@both
def test_bad_params(opt_class, params, words):
    with pytest.raises(ValueError, match=words): opt_class(list(params) if not isinstance(params, torch.Tensor) else params)

@pytest.mark.parametrize('opt_class, options, words', [
    (SGD, dict(lr=-1e-9), 'lr must be'), (SGD, dict(lr=math.nan), 'lr must be'), (Adam, dict(lr=-1), 'lr must be'), (SGD, dict(momentum=-0.5), 'momentum must be'),
    (SGD, dict(momentum=7), 'momentum must be'), (SGD, dict(dampening=2), 'dampening must be'), (Adam, dict(weight_decay=-1), 'weight_decay must be'),
    (SGD, dict(nesterov=True), 'nesterov'), (SGD, dict(nesterov=True, momentum=0.9, dampening=0.1), 'nesterov'),
    (Adam, dict(betas=(1., 0.9)), 'betas'), (Adam, dict(betas=(0.9, -0.1)), 'betas'), (Adam, dict(eps=-1.), 'eps')])
def test_bad_options(opt_class, options, words):
    with pytest.raises(ValueError, match=words): opt_class(problem()[0], **options)
    if options.keys() & {'nesterov', 'betas', 'eps'}: return
    with pytest.raises(ValueError, match=words): opt_class([{'params': problem()[0], **options}]) # of one group

def test_options_that_are_no_numbers():
    with pytest.raises(TypeError): SGD(problem()[0], lr=None)
    with pytest.raises(TypeError): SGD(problem()[0], momentun=0.9)

def test_a_rate_in_a_tensor_becomes_a_number():
    lr = torch.tensor(0.5)
    opt = SGD(problem()[0], lr=lr)
    sched, seen = Scheduler(opt, step_decay(1)), []
    for _ in range(3):
        seen.append(opt.param_groups[0]['lr'])
        sched.step()
    assert seen == pytest.approx([0.5, 0.05, 0.005]) and lr == 0.5 and type(SGD(problem()[0], lr=lr).param_groups[0]["lr"]) is float

def test_two_optimizers_take_turns_and_gradients_are_missing():
    def run(opt_class, steps=100):
        g = torch.Generator().manual_seed(0)
        ps = [torch.randn(n, generator=g).requires_grad_() for n in (5, 4, 3)] # the last never has a gradient, the others two times in three
        opts = [opt_class(ps, 0.1, momentum=0.9), opt_class(ps, 0.01, momentum=0.5, weight_decay=0.1, nesterov=True)]
        for i in range(steps):
            for j, p in enumerate(ps[:2]): p.grad = None if (i+j)%3 == 0 else torch.randn(p.shape, generator=g)
            opts[i%2].step()
        return [p.detach() for p in ps], [[o.state[p]['momentum_buffer'] for p in ps[:2]] for o in opts], opts
    (mine, sums, opts), (theirs, their_sums, _) = run(SGD), run(torch.optim.SGD)
    SAME((mine, sums), (theirs, their_sums))
    assert not torch.equal(sums[0][0], sums[1][0]) and [len(o.state) for o in opts] == [2, 2]

@both
def test_only_what_has_a_gradient_moves_or_is_remembered(opt_class):
    params = [torch.ones(2, requires_grad=r) for r in (True, False)]
    opt = opt_class(params, lr=0.1, weight_decay=0.1)
    opt.zero_grad()
    assert opt.step(lambda: 3.) == 3. and opt.step() is None and not opt.state
    SAME([p.detach() for p in params], [torch.ones(2)]*2)

@both
def test_a_gradient_of_zero_moves_nothing(opt_class):
    w = torch.ones(2, requires_grad=True)
    w.grad = torch.zeros(2)
    opt_class([w], lr=0.1).step()
    assert w.tolist() == [1., 1.]

@both
def test_parameters_without_numbers_or_dimensions(opt_class):
    params = [torch.ones(shape, requires_grad=True) for shape in ((0,), (5, 0), ())]
    opt = opt_class(params, lr=0.1)
    for p in params: p.grad = torch.ones_like(p)
    opt.step()
    opt.load_state_dict(opt.state_dict())
    opt.step()
    assert params[2].item() == pytest.approx(0.8)

def test_zero_grad():
    (w, b), loss = problem()
    for set_to_none in (True, False):
        loss()
        b.grad, kept = None, w.grad
        SGD([w, b], lr=0.1).zero_grad(set_to_none)
        assert b.grad is None and (w.grad is None if set_to_none else not kept.any())
    loss()
    SGD([w]).zero_grad()
    assert w.grad is None

def test_zero_grad_of_a_view_and_of_a_graph():
    w, flat = torch.ones(2, requires_grad=True), torch.ones(4)
    w.grad = flat[:2]
    SGD([w]).zero_grad(set_to_none=False)
    assert flat.tolist() == [0., 0., 1., 1.] and not w.grad.any()
    w.grad, = torch.autograd.grad(w.pow(3).sum(), w, create_graph=True)
    SGD([w]).zero_grad(set_to_none=False)
    assert not w.grad.requires_grad and not w.grad.any()

def test_sparse_and_complex_gradients():
    for make in (lambda: torch.eye(3).to_sparse(), lambda: torch.eye(3)):
        w = torch.ones(3, 3, requires_grad=True)
        w.grad = make()
        SGD([w], lr=0.5).step()
        assert_close(w.detach(), torch.ones(3, 3) - 0.5*torch.eye(3))
    z = torch.randn(4, dtype=torch.complex64, requires_grad=True)
    r = torch.view_as_real(z).detach().clone().requires_grad_()
    opts = [SGD([p], lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True) for p in (z, r)]
    for _ in range(3):
        z.grad = torch.randn_like(z)
        r.grad = torch.view_as_real(z.grad)
        for o in opts: o.step()
    assert_close(torch.view_as_real(z).detach(), r.detach())

ADAM_KINDS = pytest.mark.parametrize('mine, theirs', [(Adam, torch.optim.Adam), (AdamW, torch.optim.AdamW)])

@ADAM_KINDS
@pytest.mark.parametrize('options', [{}, dict(weight_decay=0.1), dict(betas=(0.5, 0.9), eps=1e-2)])
def test_adam_of_complex_numbers(mine, theirs, options):
    "A complex number counts as two, each with an average of its own."
    torch.manual_seed(0)
    start = torch.randn(4, dtype=torch.complex64)
    a, b = (start.clone().requires_grad_() for _ in range(2))
    options = dict(lr=0.1, weight_decay=0.) | options
    opt, ref = mine([a], **options), theirs([b], **options)
    for _ in range(20):
        a.grad = torch.randn_like(start)
        b.grad = a.grad.clone()
        opt.step(), ref.step()
    SAME(a, b)
    SAME(opt.state_dict()['state'], ref.state_dict()['state'])

@ADAM_KINDS
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16, torch.float64])
def test_adam_counts_its_steps_whatever_the_default_dtype(mine, theirs, dtype):
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        a, b = (torch.ones(2, dtype=torch.float64, requires_grad=True) for _ in range(2))
        opt, ref = mine([a], lr=0.01), theirs([b], lr=0.01, weight_decay=0)
        for i in range(300):  # bfloat16 can't count beyond 256
            for p in (a, b): p.grad = torch.tensor([1., i%3], dtype=torch.float64)
            opt.step(), ref.step()
        SAME(a, b)
        SAME(opt.state[a]['step'], ref.state[b]['step'])
        assert opt.state[a]['step'] == 300
    finally: torch.set_default_dtype(usual)

@both
def test_a_closure_gets_gradients_even_under_no_grad(opt_class):
    ps, loss = problem()
    with torch.no_grad(): first, second = (opt_class(ps, lr=0.01).step(loss) for _ in range(2))
    assert first.requires_grad and second < first

def test_momentum_is_the_sum_by_hand():
    (ps, loss), (qs, their_loss) = problem(), problem()
    opt, sums = SGD(ps, lr=0.01, momentum=0.7), [0., 0.]
    for _ in range(20):
        opt.step(loss), their_loss()
        for i, q in enumerate(qs):
            sums[i] = 0.7*sums[i] + q.grad
            q.data -= 0.01*sums[i]
    assert_close(ps, qs, rtol=1e-4, atol=1e-5)

def test_a_rule_of_ones_own():
    class SignSGD(Optimizer):
        def __init__(self, params, lr): super().__init__(params, dict(lr=lr))
        def update(self, p, group): p.add_(p.grad.sign(), alpha=-group['lr'])
    params, loss = problem()
    opt = SignSGD(params, lr=0.01)
    assert opt.step(loss) > opt.step(loss)

def test_one_class_each():
    assert Optimizer.__mro__ == (Optimizer, object) and SGD.__mro__[1:] == Adam.__mro__[1:] == Optimizer.__mro__

@pytest.mark.parametrize('call', [lambda: one_cycle(10, pct_start=1.), lambda: one_cycle(10, pct_start=30), lambda: one_cycle(0), lambda: one_cycle(3)(4)])
def test_bad_cycles(call):
    with pytest.raises(ValueError): call()

@pytest.mark.parametrize('factor, momentum', [(math.nan, 0.9), (-0.1, 0.9), (math.inf, 0.9), (1., 7), (1., -0.1), (1., math.nan)])
def test_schedules_with_bad_values(factor, momentum):
    opt = SGD(problem()[0], lr=0.1, momentum=0.5)
    with pytest.raises(ValueError): Scheduler(opt, lambda t: factor, lambda t: momentum)
    sched = Scheduler(opt, lambda t: factor if t else 1., lambda t: momentum if t else 0.5)
    with pytest.raises(ValueError): sched.step()
    assert sched.t == 0 and [opt.param_groups[0][k] for k in ('lr', 'momentum')] == [0.1, 0.5] # as it was

def test_bad_schedulers():
    opt = SGD(problem()[0], lr=0.1)
    with pytest.raises(TypeError): Scheduler(opt, 0.1)
    with pytest.raises(AttributeError): Scheduler(cosine(3), opt)
    sched = Scheduler(opt, one_cycle(3))
    before = sched.state_dict(), sched.get_last_lr()
    for bad in (dict(t=9, base_lrs=[0.3]), dict(t=1, base_lrs=[0.3, 0.3])):
        with pytest.raises(ValueError): sched.load_state_dict(bad)
        assert (sched.state_dict(), sched.get_last_lr()) == before # as it was

def test_what_follows_a_warm_up_begins_at_its_own_first_factor(): assert [warm_up(2, lambda t: 0.5 - t/10, start=0.1)(t) for t in range(4)] == pytest.approx([0.1, 0.55, 0.5, 0.4])

def warm_cosine(o): return lr_scheduler.SequentialLR(o, [lr_scheduler.LinearLR(o, total_iters=20), lr_scheduler.CosineAnnealingLR(o, 80)], [20])
def other_warm_up(o): return lr_scheduler.LinearLR(o, start_factor=0.1, total_iters=7)
SCHEDULES = [((step_decay(30),), lambda o: lr_scheduler.StepLR(o, 30)), ((step_decay(7, 0.5),), lambda o: lr_scheduler.StepLR(o, 7, 0.5)),
             ((cosine(100),), lambda o: lr_scheduler.CosineAnnealingLR(o, 100)), ((cosine(50, 0.1),), lambda o: lr_scheduler.CosineAnnealingLR(o, 50, 0.05)),
             ((warm_up(20, cosine(80)),), warm_cosine), ((warm_up(7, start=0.1),), other_warm_up),
             ((one_cycle(100), one_cycle(100, start=0.95, peak=0.85, end=0.95)), lambda o: lr_scheduler.OneCycleLR(o, 0.5, 100)),
             ((one_cycle(100, 0.25, 0.1, 1., 0.001), None), lambda o: lr_scheduler.OneCycleLR(o, 0.5, 100, pct_start=0.25, cycle_momentum=False, div_factor=10, final_div_factor=100))]
@pytest.mark.parametrize('mine, theirs', SCHEDULES)
@pytest.mark.parametrize('opt_class, ref', [(SGD, torch.optim.SGD), (torch.optim.SGD, torch.optim.SGD), (Adam, torch.optim.Adam), (torch.optim.Adam, torch.optim.Adam)])
def test_the_schedules_are_pytorchs(mine, theirs, opt_class, ref):
    def rates(opt, sched):
        rows = []
        for _ in range(100):
            g = opt.param_groups[0]
            rows.append([g['lr'], g['betas'][0] if 'betas' in g else g['momentum']])
            opt.step(), sched.step()
        return torch.tensor(rows, dtype=torch.float64)
    options = dict(lr=0.5) if 'Adam' in ref.__name__ else dict(lr=0.5, momentum=0.9)
    a, b = opt_class(problem()[0], **options), ref(problem()[0], **options)
    assert_close(rates(a, Scheduler(a, *mine)), rates(b, theirs(b)), rtol=1e-9, atol=1e-12)

@pytest.mark.parametrize('opt_class', [SGD, torch.optim.SGD])
def test_every_group_has_its_own_rate(opt_class):
    (w, b), _ = problem()
    opt = opt_class([{'params': [w]}, {'params': [b], 'lr': 0.01}], lr=0.1, momentum=0.9)
    sched = Scheduler(opt, step_decay(1), lambda t: 0.5 + t/10)
    for t in range(3):
        assert sched.get_last_lr() == [g['lr'] for g in opt.param_groups] == pytest.approx([0.1**(t + 1), 0.1**(t + 2)])
        assert [g['momentum'] for g in opt.param_groups] == [0.5 + t/10]*2
        opt.step(), sched.step()
    assert [g['params'] for g in opt.state_dict()['param_groups']] == [[0], [1]]

@pytest.mark.parametrize('total, pct', [(1, 0.3), (2, 0.3), (7, 0.5), (10, 0.25), (100, 0.3), (33, 0.)])
@pytest.mark.parametrize('opt_class', [SGD, torch.optim.SGD])
def test_one_cycle_of_any_length(total, pct, opt_class):
    (mine, _), (theirs, _) = problem(), problem()
    opt, ref = opt_class(mine, lr=0.5, momentum=0.9), torch.optim.SGD(theirs, lr=0.5, momentum=0.9)
    sched = Scheduler(opt, one_cycle(total, pct), momentum=one_cycle(total, pct, 0.95, 0.85, 0.95))
    other = lr_scheduler.OneCycleLR(ref, 0.5, total, pct_start=pct)
    for _ in range(total + 1):
        for key in ('lr', 'momentum'): assert opt.param_groups[0][key] == pytest.approx(ref.param_groups[0][key], rel=1e-9, abs=1e-12)
        if sched.t < total: opt.step(), ref.step(), sched.step(), other.step()
    with pytest.raises(ValueError, match='too many'): sched.step()
    assert sched.t == total

@pytest.mark.parametrize('order', ['opt first', 'sched first', 'opt before the scheduler is made'])
@pytest.mark.parametrize('opt_class', [SGD, torch.optim.SGD])
def test_resume_a_schedule_in_any_order(order, opt_class):
    def make(lr=0.1):
        (w, b), _ = problem()
        return opt_class([{'params': [w]}, {'params': [b], 'lr': 2*lr}], lr=lr, momentum=0.9)
    opt = make()
    sched = Scheduler(opt, warm_up(5, cosine(15)))
    for _ in range(8): opt.step(), sched.step()
    saved, rates = (opt.state_dict(), sched.state_dict()), sched.get_last_lr()
    new = make(lr=7.)
    if order.startswith('opt'): new.load_state_dict(saved[0])
    again = Scheduler(new, warm_up(5, cosine(15)))
    again.load_state_dict(saved[1])
    if order != 'opt first': new.load_state_dict(saved[0])
    assert again.get_last_lr() == rates and again.t == 8
    for _ in range(3): opt.step(), new.step(), sched.step(), again.step()
    assert again.get_last_lr() == sched.get_last_lr()

def test_our_rule_in_pytorchs_class_under_pytorchs_scheduler():
    class TorchSGD(torch.optim.Optimizer): update, step = SGD.update, SGD.step
    (ps, loss), (qs, their_loss) = problem(), problem()
    opt, ref = TorchSGD(ps, SGD(ps).defaults | dict(lr=0.02, momentum=0.9)), torch.optim.SGD(qs, lr=0.02, momentum=0.9)
    scheds = lr_scheduler.StepLR(opt, 3), lr_scheduler.StepLR(ref, 3)
    for _ in range(10):
        SAME(opt.step(loss), ref.step(their_loss))
        for sched in scheds: sched.step()
    SAME(ps, qs)

@pytest.mark.parametrize('make', [lambda o: lr_scheduler.StepLR(o, 3), lambda o: lr_scheduler.CosineAnnealingLR(o, 3), lambda o: lr_scheduler.OneCycleLR(o, 1., 3), lambda o: lr_scheduler.LambdaLR(o, step_decay(3))])
def test_pytorchs_schedulers_want_pytorchs_class(make):
    with pytest.raises(TypeError, match='not an Optimizer'): make(SGD(problem()[0]))
