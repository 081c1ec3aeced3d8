"`minisgd.optim` beside PyTorch: what PyTorch's own tests of SGD ask for, and faults that the notebook has no room for."
import copy, io
import pytest, torch
from torch.nn import Parameter
from torch.testing import assert_close
from minisgd.optim import SGD, Optimizer, Scheduler, cosine, one_cycle, step_decay, warm_up

INPUTS = dict(default={}, lr=dict(lr=1e-2), tensor_lr=dict(lr=torch.tensor(0.001)), weight_decay=dict(weight_decay=0.5), momentum=dict(momentum=0.9),
              maximize=dict(weight_decay=0.1, maximize=True), dampening=dict(momentum=0.9, dampening=0.5),
              momentum_and_decay=dict(momentum=0.9, weight_decay=0.1), nesterov=dict(momentum=0.9, nesterov=True, weight_decay=0.1))
each_input = pytest.mark.parametrize('kwargs', INPUTS.values(), ids=INPUTS.keys())

def problem(seed=0, contiguous=True):
    "Weight, bias and a function that computes the loss of a small regression and its gradient."
    torch.manual_seed(seed)
    w, b = (torch.randn(10, 5), torch.randn(10)) if contiguous else (torch.randn(10, 5, 2)[..., 0], torch.randn(10, 2)[..., 0])
    w, b, x = Parameter(w), Parameter(b), torch.randn(5)
    def loss():
        w.grad = b.grad = None
        l = (w.mv(x) + b).square().sum()
        l.backward()
        return l
    return [w, b], loss

P, Q = (Parameter(torch.randn(1, 1)) for _ in range(2))
@pytest.mark.parametrize('params, kwargs, error, words', [
    (P, {}, TypeError, 'params argument given to the optimizer should be an iterable of Tensors or dicts'),
    ([P, P], {}, UserWarning, '.*a parameter group with duplicate parameters.*'),
    ([{'params': P}, {'params': P}], {}, ValueError, 'some parameters appear in more than one parameter group'),
    (None, dict(lr=torch.tensor([0.001, 0.001])), ValueError, 'Tensor lr must be 1-element'),
    ([('weight', P), Q], {}, ValueError, 'all optimizer params should be with/without names. Some param names are missing'),
    ([{'params': [P], 'lr': 1e-2}, {'params': [('weight', Q)]}], {}, ValueError,
     'all optimizer param groups should be with/without names. cannot add param group with names to the optimizer'),
    (None, dict(lr=1e-2, momentum=-0.5), ValueError, 'Invalid momentum value: -0.5')])
def test_the_errors_of_pytorch_in_its_words(params, kwargs, error, words):
    for opt_class in (torch.optim.SGD, SGD):
        with (pytest.warns if issubclass(error, Warning) else pytest.raises)(error, match=words): opt_class(params, **kwargs)

@each_input
@pytest.mark.parametrize('how', [{}, dict(foreach=False), dict(foreach=True), dict(fused=True)])
@pytest.mark.parametrize('contiguous', [True, False])
def test_same_steps_as_pytorch(kwargs, how, contiguous):
    (mine, loss), (theirs, their_loss) = problem(contiguous=contiguous), problem(contiguous=contiguous)
    opt, ref = SGD(mine, **kwargs, **how), torch.optim.SGD(theirs, **kwargs)
    for _ in range(20): assert_close(opt.step(loss), ref.step(their_loss))
    assert_close(mine, theirs, rtol=0, atol=0)
    first, last = (problem(contiguous=contiguous)[1]().item(), loss().item())
    assert last > first if kwargs.get('maximize') else last < first

@each_input
def test_state_dicts_go_both_ways(kwargs):
    (mine, loss), (theirs, their_loss) = problem(), problem()
    opt, ref = SGD(mine, **kwargs), torch.optim.SGD(theirs, **kwargs)
    for _ in range(5): opt.step(loss), ref.step(their_loss)
    assert_close(opt.state_dict(), ref.state_dict(), rtol=0, atol=0)
    f = io.BytesIO()
    torch.save([opt.state_dict(), ref.state_dict()], f)
    f.seek(0)
    from_mine, from_theirs = torch.load(f, weights_only=True)
    opt, ref = SGD(mine, lr=9.), torch.optim.SGD(theirs, lr=9.)
    opt.load_state_dict(from_theirs), ref.load_state_dict(from_mine)
    for _ in range(5): opt.step(loss), ref.step(their_loss)
    assert_close(mine, theirs, rtol=0, atol=0)

def test_an_older_state_dict_without_the_newer_options():
    params, loss = problem()
    opt = SGD(params, lr=0.01, momentum=0.9)
    opt.step(loss)
    saved = opt.state_dict()
    for key in ('maximize', 'foreach', 'differentiable', 'fused'): del saved['param_groups'][0][key]
    opt.load_state_dict(saved)
    opt.step(loss)
    opt.load_state_dict({**saved, 'state': {0: {'momentum_buffer': None}}}) # written by PyTorch 1.x without momentum
    opt.step(loss)

def test_a_saved_state_is_a_snapshot_and_never_shared():
    params, loss = problem()
    opt = SGD(params, lr=0.01, momentum=0.9)
    opt.step(loss)
    saved = opt.state_dict()
    before = copy.deepcopy(saved)
    a, b = SGD(params), SGD(params)
    a.load_state_dict(saved), b.load_state_dict(saved)
    for o in (opt, a): o.step(loss)
    assert_close(saved, before, rtol=0, atol=0)
    assert_close(b.state_dict(), before, rtol=0, atol=0)

@pytest.mark.parametrize('spoil', [
    lambda s: s.pop('state'), lambda s: s['param_groups'].append(s['param_groups'][0]), lambda s: s['param_groups'][0]['params'].pop(),
    lambda s: s['state'][1].update(momentum_buffer=torch.zeros(3)), lambda s: s['param_groups'][0].update(lr=-1.)])
def test_a_state_that_does_not_fit_changes_nothing(spoil):
    params, loss = problem()
    opt = SGD(params, lr=0.01, momentum=0.9)
    opt.step(loss)
    before, bad = opt.state_dict(), opt.state_dict()
    spoil(bad)
    with pytest.raises(ValueError): opt.load_state_dict(bad)
    assert_close(opt.state_dict(), before, rtol=0, atol=0)

def test_a_state_takes_the_type_of_its_parameter():
    params, loss = problem()
    opt = SGD(params, lr=0.01, momentum=0.9)
    opt.step(loss)
    double = [Parameter(p.detach().double()) for p in params]
    other = SGD(double)
    other.load_state_dict(opt.state_dict())
    assert other.state[double[0]]['momentum_buffer'].dtype == torch.float64

def test_a_deep_copy_goes_its_own_way():
    params, loss = problem()
    opt = SGD(params, lr=0.01, momentum=0.9)
    opt.step(loss)
    twin = copy.deepcopy(opt)
    before = [p.detach().clone() for p in params]
    for p in twin.param_groups[0]['params']: p.grad = torch.ones_like(p)
    twin.step()
    assert_close([p.detach() for p in params], before, rtol=0, atol=0)
    assert len(twin.state) == 2 and twin.state.keys().isdisjoint(opt.state.keys())

def test_named_parameters_and_repr():
    model = torch.nn.Linear(3, 2)
    mine, theirs = SGD(model.named_parameters(), lr=0.1), torch.optim.SGD(model.named_parameters(), lr=0.1)
    assert mine.param_groups[0]['param_names'] == ['weight', 'bias'] and repr(mine) == repr(theirs)
    assert mine.state_dict() == theirs.state_dict() and mine.defaults == theirs.defaults
    SGD(model.parameters()).load_state_dict(mine.state_dict())

def test_groups():
    (w, b), _ = problem()
    group = {'params': w, 'lr': 0.5}
    opt = SGD([group], lr=0.1, momentum=0.9)
    assert group == {'params': w, 'lr': 0.5} # the caller's dict is left alone
    opt.add_param_group({'params': [b]})
    assert [(g['lr'], g['momentum']) for g in opt.param_groups] == [(0.5, 0.9), (0.1, 0.9)]
    for bad, error in (({'params': w}, ValueError), ([w], TypeError), ({'lr': 0.1}, ValueError), ({'params': [Parameter(torch.ones(1))], 'lr': -1}, ValueError)):
        with pytest.raises(error): opt.add_param_group(bad)
    assert len(opt.param_groups) == 2

@pytest.mark.parametrize('params, error, words', [
    (5, TypeError, 'iterable of Tensors or dicts, such as .* but got int'), (None, TypeError, 'but got NoneType'), ('w', TypeError, r'params\[0\] is a str'),
    (torch.nn.Linear(2, 2), TypeError, 'but got torch.nn.modules.linear.Linear'), (torch.nn.Sequential(torch.nn.ReLU()), TypeError, r'params\[0\] is a ReLU'),
    ([], ValueError, 'empty parameter list'), (iter(()), ValueError, 'empty parameter list'), ([{'params': {torch.ones(1)}}], TypeError, 'ordered collections'),
    ([1.], TypeError, r'can only optimize Tensors, but params\[0\] is a float'), ([torch.ones(1), {'params': []}], TypeError, r'params\[1\] is a dict'),
    ([torch.ones(1), torch.ones(3, requires_grad=True)*2], ValueError, r"can't optimize a non-leaf Tensor: params\[1\], of shape \(3,\), is computed"),
    ([{'params': P}, {'params': [Q, P]}], ValueError, r'more than one parameter group: params\[1\], of shape \(1, 1\),')])
def test_bad_params(params, error, words):
    with pytest.raises(error, match=words): SGD(params, lr=0.1)

@pytest.mark.parametrize('kwargs, error, words', [
    (dict(lr=-1e-9), ValueError, 'Invalid learning rate: -1e-09'), (dict(lr=float('nan')), ValueError, 'learning rate: nan'), (dict(lr='0.1'), TypeError, "'0.1'.*lr is not a number"),
    (dict(lr=None), TypeError, 'None'), (dict(momentum=-1), ValueError, 'Invalid momentum value: -1'), (dict(weight_decay=-1), ValueError, 'Invalid weight_decay value: -1'),
    (dict(dampening=None), TypeError, 'Invalid dampening value: None'), (dict(betas=(0.9, 0.99)), TypeError, 'betas'),
    (dict(nesterov=True), ValueError, 'Nesterov momentum requires a momentum and zero dampening, but got momentum=0, dampening=0'),
    (dict(nesterov=True, momentum=0.9, dampening=0.1), ValueError, 'dampening=0.1')])
def test_bad_options(kwargs, error, words):
    with pytest.raises(error, match=words): SGD(problem()[0], **kwargs)
    if 'betas' in kwargs: return
    with pytest.raises(error, match=words): SGD([{'params': problem()[0], **kwargs}]) # of one group

def test_two_optimizers_take_turns_and_gradients_are_missing():
    def after(opt_class, steps=100):
        g = torch.Generator().manual_seed(0)
        ps = [torch.randn(n, generator=g).requires_grad_() for n in (5, 4, 3)] # the last never has a gradient, the others two times in three
        opts = [opt_class(ps, 0.1, momentum=0.9), opt_class(ps, 0.01, momentum=0.5, weight_decay=0.1, nesterov=True)]
        for i in range(steps):
            for j, p in enumerate(ps[:2]): p.grad = None if (i+j)%3 == 0 else torch.randn(p.shape, generator=g)
            opts[i%2].step()
        return [p.detach() for p in ps], [[o.state[p]['momentum_buffer'] for p in ps[:2]] for o in opts], opts
    (mine, sums, opts), (theirs, their_sums, their_opts) = after(SGD), after(torch.optim.SGD)
    assert_close((mine, sums), (theirs, their_sums), rtol=0, atol=0)
    assert not torch.equal(sums[0][0], sums[1][0]) and [len(o.state) for o in opts] == [2, 2]
    assert repr(opts) == repr(their_opts)

def test_only_what_has_a_gradient_moves_or_is_remembered():
    params = [torch.ones(2, requires_grad=r) for r in (True, False)]
    opt = SGD(params, lr=0.1, momentum=0.9, weight_decay=0.1)
    opt.zero_grad()
    assert opt.step(lambda: 3.) == 3. and not opt.state
    assert_close([p.detach() for p in params], [torch.ones(2)]*2, rtol=0, atol=0)

def test_zero_grad_of_a_view_and_of_a_graph():
    w, flat = torch.ones(2, requires_grad=True), torch.ones(4)
    w.grad = flat[:2]
    SGD([w], lr=0.1).zero_grad(set_to_none=False)
    assert flat.tolist() == [0., 0., 1., 1.] and not w.grad.any()
    w.grad, = torch.autograd.grad(w.pow(3).sum(), w, create_graph=True)
    SGD([w], lr=0.1).zero_grad(set_to_none=False)
    assert not w.grad.requires_grad and not w.grad.any()

@pytest.mark.parametrize('set_to_none', [True, False])
def test_zero_grad(set_to_none):
    (w, b), loss = problem()
    loss()
    b.grad = None
    SGD([w, b], lr=0.1).zero_grad(set_to_none=set_to_none)
    assert b.grad is None and (w.grad is None if set_to_none else not w.grad.any())

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

@pytest.mark.parametrize('lr', [torch.tensor(0.01), torch.tensor([0.01])])
def test_a_rate_in_a_tensor(lr):
    (mine, loss), (theirs, their_loss) = problem(), problem()
    opt, ref = SGD(mine, lr=lr.clone()), torch.optim.SGD(theirs, lr=0.01)
    mine_sched, ref_sched = Scheduler(opt, step_decay(2)), torch.optim.lr_scheduler.StepLR(ref, 2)
    for _ in range(6): opt.step(loss), ref.step(their_loss), mine_sched.step(), ref_sched.step()
    assert isinstance(opt.param_groups[0]['lr'], torch.Tensor)
    assert_close(mine, theirs)

def test_a_differentiable_step():
    w0 = torch.ones(3, dtype=torch.float64, requires_grad=True)
    def after(w0, grad):
        w = w0.clone()
        w.grad = grad
        SGD([w], lr=0.1, weight_decay=0.1, differentiable=True).step()
        return w
    assert torch.autograd.gradcheck(after, (w0, torch.full_like(w0, 2.).requires_grad_()))

def test_a_rule_of_ones_own():
    class SignSGD(Optimizer):
        def __init__(self, params, lr): super().__init__(params, dict(lr=lr))
        def update(self, p, group): p.add_(p.grad.sign(), alpha=-group['lr'])
    params, loss = problem()
    opt = SignSGD(params, lr=0.01)
    assert opt.step(loss) > opt.step(loss)
    with pytest.raises(NotImplementedError, match='Optimizer must define update'): Optimizer(params, dict(lr=1)).step(loss)

@pytest.mark.parametrize('call', [lambda: step_decay(0), lambda: step_decay(2.5), lambda: cosine(0), lambda: warm_up(-1), lambda: one_cycle(10, pct_start=1.), lambda: one_cycle(0)])
def test_bad_schedules(call):
    with pytest.raises(ValueError): call()

def test_bad_schedulers():
    opt = SGD(problem()[0], lr=0.1)
    with pytest.raises(TypeError, match='sched'): Scheduler(opt, 0.1)
    with pytest.raises(TypeError, match='momentum must be a function of the step number, or None, but is 0'): Scheduler(opt, cosine(3), momentum=0)
    with pytest.raises(TypeError, match='opt'): Scheduler(cosine(3), opt)
    with pytest.raises(ValueError, match='Adam has no such option'): Scheduler(torch.optim.Adam(problem()[0]), cosine(3), momentum=cosine(3))
    with pytest.raises(ValueError, match='Scheduler'): Scheduler(opt, cosine(3)).load_state_dict({})
    sched = Scheduler(opt, one_cycle(3))
    before = sched.state_dict(), sched.get_last_lr()
    for bad in (dict(t=9, base_lrs=[0.3]), dict(t=1, base_lrs=[0.3, 0.3])):
        with pytest.raises(ValueError): sched.load_state_dict(bad)
        assert (sched.state_dict(), sched.get_last_lr()) == before # as it was

@pytest.mark.parametrize('total, pct', [(1, 0.3), (2, 0.3), (7, 0.5), (10, 0.25), (100, 0.3), (33, 0.)])
@pytest.mark.parametrize('opt_class', [SGD, torch.optim.SGD])
def test_one_cycle_of_any_length(total, pct, opt_class):
    (mine, _), (theirs, _) = problem(), problem()
    opt, ref = opt_class(mine, lr=0.5, momentum=0.9), torch.optim.SGD(theirs, lr=0.5, momentum=0.9)
    sched = Scheduler(opt, one_cycle(total, pct), momentum=one_cycle(total, pct, 0.95, 0.85, 0.95))
    other = torch.optim.lr_scheduler.OneCycleLR(ref, 0.5, total, pct_start=pct)
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

def test_a_group_added_later_is_scheduled_from_its_own_rate():
    (w, b), _ = problem()
    opt = SGD([w], lr=0.1)
    sched = Scheduler(opt, step_decay(2))
    opt.add_param_group({'params': b, 'lr': 4.})
    for _ in range(2): opt.step(), sched.step()
    assert sched.get_last_lr() == pytest.approx([0.01, 0.4])
