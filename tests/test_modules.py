"Modules against PyTorch's: what the notebook does not show."
import collections, copy, io, pickle, statistics, time, warnings
import pytest, torch
from torch import nn
from minisgd import modules as ours
from minisgd.modules import Linear, Module, ModuleList, ReLU, Sequential, Sigmoid

BOTH = pytest.mark.parametrize('ns', [ours, nn], ids=['ours', 'torch'])


class Net(Module):
    "At module level, so that it can be pickled."
    def __init__(self, n=3):
        self.body, self.scale = Sequential(Linear(n, 4), Sigmoid()), nn.Parameter(torch.ones(1))
        self.tied = self.body[0]
    def forward(self, x): return self.body(x)*self.scale


def make(ns, seed=0):
    torch.manual_seed(seed)
    return ns.Sequential(ns.Linear(6, 5), ns.ReLU(), ns.Sequential(ns.Linear(5, 4, bias=False), ns.Sigmoid()), ns.Linear(4, 2))


@pytest.mark.parametrize('sizes', [(3, 2), (1, 1), (784, 50), (0, 3), (3, 0)])
@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('dtype', [None, torch.float64])
def test_linear_draws_what_torch_draws(sizes, bias, dtype):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')              # zero-element tensors
        both = []
        for ns in (ours, nn):
            torch.manual_seed(7)
            both.append((ns.Linear(*sizes, bias=bias, dtype=dtype), torch.rand(3)))
    (a, after_a), (b, after_b) = both
    assert after_a.equal(after_b)                    # as many numbers drawn
    assert list(a.state_dict()) == list(b.state_dict()) and repr(a) == repr(b)
    for p, q in zip(a.parameters(), b.parameters(), strict=True): assert p.equal(q) and p.dtype == q.dtype
    x = torch.rand(4, sizes[0], dtype=dtype)
    assert a(x).equal(b(x))


@pytest.mark.parametrize('x', [torch.randn(7, 6), torch.randn(6), torch.randn(0, 6), torch.randn(2, 3, 6), torch.randn(6, 7).T,
                               torch.randn(7, 12)[:, ::2], torch.randn(1, 6).expand(5, 6)], ids=lambda x: f'{tuple(x.shape)}{x.stride()}')
@pytest.mark.parametrize('double', [False, True])
@pytest.mark.parametrize('grad_of', ['both', 'input', 'weights'])
def test_values_and_gradients(x, double, grad_of):
    got = []
    for ns in (ours, nn):
        m, xi = make(ns), x.detach()
        if double: m, xi = m.double(), xi.double()
        if grad_of == 'input': m.requires_grad_(False)
        if grad_of != 'weights': xi = xi.requires_grad_()
        out = m(xi)
        out.square().sum().backward()
        got.append([out, xi.grad, *(p.grad for p in m.parameters())])
        x.grad = None
        x.requires_grad_(False)
    for a, b in zip(*got, strict=True):
        assert (a is None) == (b is None)
        if a is not None: torch.testing.assert_close(a, b)


def test_gradcheck():
    m = make(ours).double()
    assert torch.autograd.gradcheck(m, torch.randn(3, 6, dtype=torch.float64, requires_grad=True))
    lin, x = Linear(3, 2, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    def by_weights(x, w, b):
        lin2 = copy.deepcopy(lin)
        lin2._parameters.update(weight=w, bias=b)
        return lin2(x)
    assert torch.autograd.gradcheck(by_weights, (x, lin.weight.detach().requires_grad_(), lin.bias.detach().requires_grad_()))


@BOTH
def test_a_name_keeps_its_kind(ns):
    m = ns.Linear(3, 2)
    for bad in (torch.zeros(2), 1., ns.ReLU()):
        with pytest.raises(TypeError): m.bias = bad
    m.bias = None
    assert [n for n, _ in m.named_parameters()] == ['weight'] and m(torch.ones(3)).shape == (2,)
    with pytest.raises(TypeError): m.bias = torch.zeros(2)
    m.bias = nn.Parameter(torch.zeros(2))
    assert list(m.state_dict()) == ['weight', 'bias']
    no = ns.Linear(3, 2, bias=False)
    with pytest.raises(TypeError): no.bias = torch.zeros(2)  # would be used, and never trained
    s = ns.Sequential(ns.ReLU())
    s.part = ns.ReLU()
    with pytest.raises(TypeError): s.part = 3
    s.part = nn.Parameter(torch.ones(1))
    assert [n for n, _ in s.named_children()] == ['0'] and list(s.state_dict()) == ['part']
    s.later = None
    s.later = ns.Linear(1, 1)
    assert list(s.state_dict()) == ['part', 'later.weight', 'later.bias']
    s.part = s.later = None
    assert not list(s.parameters()) and s.part is s.later is None and [n for n, _ in s.named_children()] == ['0']
    with pytest.raises(AttributeError, match="no attribute 'nosuch'"): s.nosuch


@BOTH
def test_attribute_and_register_are_one_tensor(ns):
    def one(m): return all(getattr(m, n) is p for n, p in m.named_parameters())
    m, old = ns.Linear(3, 2), torch.__future__.get_overwrite_module_params_on_conversion()
    assert one(m) and m.to('meta') is m and one(m) and m.weight.device.type == m.bias.device.type == 'meta'
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        m = ns.Linear(3, 2).double()
        assert one(m) and m.weight.dtype == m.bias.dtype == torch.float64
    finally: torch.__future__.set_overwrite_module_params_on_conversion(old)
    m.plain = 3                                      # an ordinary attribute makes room
    m.plain = nn.Parameter(torch.ones(1))
    assert one(m) and 'plain' not in vars(m) and {'weight', 'plain'} <= set(dir(m))


def test_del_is_refused_for_registered_names():
    m = Linear(3, 2)
    with pytest.raises(AttributeError): del m.weight
    del m.in_features
    assert m.weight is next(m.parameters()) and not hasattr(m, 'in_features')


def test_one_of_everything():
    def mix(Base):
        m = Base()
        m.scale, m.a = nn.Parameter(torch.ones(1)), nn.Linear(2, 2)
        m.b, m.c = m.a, nn.Linear(3, 3)
        m.c, m.inner = None, Base()
        m.inner.d = nn.Linear(4, 4)
        return m
    a, b = mix(Module), mix(nn.Module)
    assert repr(a) == repr(b)
    for f in ('named_parameters', 'named_modules', 'named_children'):
        assert [n for n, _ in getattr(a, f)()] == [n for n, _ in getattr(b, f)()]
    for prefix in ('', 'net.'): assert list(a.state_dict(prefix=prefix)) == list(b.state_dict(prefix=prefix))
    assert [p.shape for p in a.parameters()] == [p.shape for p in b.parameters()] and len(list(a.children())) == 2
    assert not any(p.requires_grad for p in a.requires_grad_(False).parameters())


def test_a_call_hands_everything_to_forward():
    class Add(Module):
        def forward(self, x, y=0): return x + y
    assert Add()(1) == 1 and Add()(1, 2) == Add()(1, y=2) == 3
    with pytest.raises(NotImplementedError): Module()(3)


@BOTH
def test_relu_has_no_slope_at_zero(ns):
    x = torch.tensor([-1., 0., 1.], requires_grad=True)
    assert torch.autograd.grad(ns.ReLU()(x).sum(), x)[0].tolist() == [0., 0., 1.]


@pytest.mark.parametrize('ns, kind', [(ours, dict), (ours, collections.OrderedDict), (nn, collections.OrderedDict)])
def test_named_layers(ns, kind):
    s = ns.Sequential(kind(l1=ns.Linear(3, 2), act=ns.ReLU(), l2=ns.Linear(2, 1)))
    assert list(s.state_dict()) == ['l1.weight', 'l1.bias', 'l2.weight', 'l2.bias'] and s[2] is s.l2
    assert list(s[1:].state_dict()) == ['l2.weight', 'l2.bias'] and type(s[1:]) is ns.Sequential


def test_buffers_of_torchs_modules_are_saved():
    a, b = Sequential(nn.BatchNorm1d(2)), nn.Sequential(nn.BatchNorm1d(2))
    assert list(a.state_dict()) == list(b.state_dict()) and len(a.state_dict()) == 5


@BOTH
def test_add_module(ns):
    m = ns.Sequential()
    m.add_module('a', ns.ReLU())
    assert len(m) == 1 and repr(m).endswith('(\n  (a): ReLU()\n)')
    for bad in ('train', 'a.b', ''):
        with pytest.raises((KeyError, ValueError)): m.add_module(bad, ns.ReLU())
    for name, module in (('b', 3), ('b', torch.relu), (3, ns.ReLU())):
        with pytest.raises(TypeError): m.add_module(name, module)


def test_registers_need_no_init():
    "PyTorch's do; ours are made by __new__, whether a subclass calls super().__init__() or not."
    class With(Module):
        def __init__(self): super().__init__(); self.l = Linear(1, 1)
    class Without(Module):
        def __init__(self): self.l = Linear(1, 1)
    assert [n for n, _ in With().named_parameters()] == [n for n, _ in Without().named_parameters()] == ['l.weight', 'l.bias']
    assert Module.__mro__ == (Module, object)


@BOTH
def test_lists(ns):
    a, b, c = ns.Linear(2, 2), ns.ReLU(), ns.Linear(2, 1)
    l = ns.ModuleList([a, b])
    assert l.append(c) is l and len(l) == 3 and list(l) == [a, b, c] and l[-1] is c and b in l
    assert list(l[::2]) == [a, c] and [n for n, _ in l[1:].named_children()] == ['0', '1']
    assert list(l.extend(x for x in [a])) == [a, b, c, a] and len(ns.ModuleList()) == 0
    assert len(list(l.parameters())) == 4 and len(l.state_dict()) == 6
    s = ns.Sequential(a, b, c)
    assert list(s[:2]) == [a, b] and list(s[1:].state_dict()) == ['2.weight', '2.bias'] and s[-2] is b
    assert s[1:](torch.ones(1, 2)).equal(c(b(torch.ones(1, 2)))) and ns.Sequential()(3) == 3
    for i in (3, -4):
        with pytest.raises(IndexError): s[i]
    with pytest.raises(TypeError): ns.Sequential(a, 3)
    with pytest.raises(TypeError): ns.ModuleList(3)
    with pytest.raises(NotImplementedError): l(1)
    with pytest.raises(TypeError): ns.ReLU(1, 2, 3)


def test_append_to_a_slice_replaces_nothing():
    "The layers keep the names 1 and 2, so the third would be another 2. PyTorch replaces the layer, silently."
    s = Sequential(*(Linear(2, 2) for _ in range(3)))[1:]
    kept = list(s)
    with pytest.raises(ValueError, match="'2' is not free"): s.append(ReLU())
    assert list(s) == kept


def test_extend_with_itself_ends():
    l = ModuleList([Linear(2, 2)])
    assert list(l.extend(l)) == [l[0], l[0]]


def test_repr_is_torchs():
    "Except that PyTorch's ModuleList puts equal items that follow each other on one line."
    def tree(ns):
        l = ns.ModuleList([ns.Linear(2, 2), ns.ReLU(), ns.Sequential(ns.Linear(2, 2), ns.Linear(2, 2))])
        return ns.Sequential(l, ns.ModuleList(), ns.Sequential(), nn.Dropout(0.1), ns.ModuleList([ns.Sigmoid()]))
    assert repr(tree(ours)) == repr(tree(nn))


@BOTH
def test_load_state_dict_says_what_does_not_fit(ns):
    m, good = make(ns), make(ns, seed=1).state_dict()
    bad = {k: v for k, v in good.items() if k != '0.bias'} | {'9.weight': torch.zeros(1)}
    for wanted in ('0.bias', '9.weight'):
        with pytest.raises(RuntimeError, match=wanted): m.load_state_dict(bad)
    for strict in (True, False):
        with pytest.raises(RuntimeError, match='3.bias'): m.load_state_dict(good | {'3.bias': torch.zeros(1)}, strict=strict)
    with pytest.raises((TypeError, AttributeError)): m.load_state_dict([1])
    res = make(ns).load_state_dict(bad, strict=False)
    assert res.missing_keys == ['0.bias'] and res.unexpected_keys == ['9.weight']
    res = m.load_state_dict({k: v.double() for k, v in good.items()})
    assert not res.missing_keys and not res.unexpected_keys
    for k, v in m.state_dict().items(): assert v.equal(good[k]) and v.dtype == torch.float32


def test_a_state_that_does_not_fit_changes_nothing():
    m, good = make(ours), make(ours, seed=1).state_dict()
    before = copy.deepcopy(m.state_dict())
    for bad in (good | {'3.bias': torch.zeros(1)}, good | {'x': torch.zeros(1)}, {k: good[k] for k in list(good)[:-1]}):
        with pytest.raises(RuntimeError): m.load_state_dict(bad)
        assert all(v.equal(before[k]) for k, v in m.state_dict().items())


def test_torch_copies_what_fits_and_then_raises():
    "As the notebook says."
    m, good = make(nn), make(nn, seed=1).state_dict()
    bias = m[3].bias.clone()
    del good['3.bias']
    with pytest.raises(RuntimeError, match='3.bias'): m.load_state_dict(good)
    assert all(m.state_dict()[k].equal(v) for k, v in good.items()) and m[3].bias.equal(bias)


def test_torch_sees_neither_our_modules_nor_a_plain_list():
    "As the notebook says."
    for kind in (lambda m: nn.Sequential(m), lambda m: nn.ModuleList([m])):
        with pytest.raises(TypeError, match='Linear'): kind(Linear(3, 2))
    m = nn.Module()
    m.l1, m.l2, m.l3 = Linear(3, 2), [nn.Linear(3, 2)], nn.ModuleList([nn.Linear(3, 2)])
    assert [n for n, _ in m.named_parameters()] == ['l3.0.weight', 'l3.0.bias']
    hidden = Module()
    hidden.layers = [nn.Linear(3, 2)]
    with pytest.raises(ValueError, match='empty'): torch.optim.SGD(hidden.parameters())


class Extra(nn.Module):
    "A module of PyTorch's whose state holds more than tensors."
    def get_extra_state(self): return {'a': 1}
    def set_extra_state(self, state): pass


def test_a_state_with_more_than_tensors_is_refused_whole():
    m, other = Sequential(Linear(2, 2), Extra()), Sequential(Linear(2, 2), Extra())
    before = m[0].weight.clone()
    with pytest.raises(Exception): m.load_state_dict(other.state_dict())
    assert m[0].weight.equal(before)
    m.load_state_dict({k: v for k, v in other.state_dict().items() if torch.is_tensor(v)}, strict=False)
    assert m[0].weight.equal(other[0].weight)


def test_a_state_shares_memory_and_takes_tensors_that_require_grad():
    m = make(ours)
    m.state_dict()['3.bias'].fill_(5.)
    assert m[3].bias.tolist() == [5., 5.] and not m.state_dict()['3.bias'].requires_grad
    m.load_state_dict(dict(make(ours, seed=1).named_parameters()))
    assert all(p.is_leaf and p.requires_grad for p in m.parameters())


def test_copies_and_pickles():
    m, x = Net(), torch.randn(5, 3)
    file = io.BytesIO()
    torch.save(m, file)
    file.seek(0)
    for twin in (copy.deepcopy(m), pickle.loads(pickle.dumps(m)), torch.load(file, weights_only=False)):
        assert twin(x).equal(m(x)) and repr(twin) == repr(m) and twin.tied is twin.body[0]
        assert {n for n, _ in twin.named_parameters()} == {n for n, _ in m.named_parameters()}
        assert not {id(p) for p in twin.parameters()} & {id(p) for p in m.parameters()}
        with torch.no_grad(): next(twin.parameters()).zero_()
        assert twin.state_dict()['scale'].item() == 0. and m.scale.item() == 1.


def test_to_keeps_the_parameters_an_optimizer_holds():
    m = Sequential(Linear(3, 2), nn.BatchNorm1d(2), nn.Sequential(nn.Linear(2, 1)))
    opt = torch.optim.SGD(m.parameters(), lr=1., momentum=0.9)
    m(torch.randn(4, 3)).sum().backward()
    assert m.to(torch.float64) is m
    assert {t.dtype for t in (*m.parameters(), *(p.grad for p in m.parameters()), m.state_dict()['1.running_mean'])} == {torch.float64}
    assert m.state_dict()['1.num_batches_tracked'].dtype == torch.int64
    before = m[2][0].bias.item()
    opt.step()
    assert m[2][0].bias.item() != before and m.to('cpu') is m
    if torch.cuda.is_available():
        assert {p.device.type for p in m.to('cuda').parameters()} == {'cuda'} and m(torch.randn(4, 3, device='cuda').double()).is_cuda


def test_to_an_integer_is_refused_before_anything_changes():
    m = make(ours)
    m(torch.randn(3, 6)).sum().backward()
    with pytest.raises(TypeError): m.to(torch.int64)
    assert all(p.grad is not None and p.dtype == torch.float32 for p in m.parameters())


def test_train_and_eval_reach_every_depth():
    m = Sequential(ModuleList([Sequential(nn.Sequential(nn.Dropout()))]), Linear(2, 2))
    assert m.training and m.eval() is m and not any(x.training for x in m.modules())
    assert m.train() is m and all(x.training for x in m.modules())
    m[0].eval()
    assert m.training and m[1].training and not m[0][0][0][0].training
    with pytest.raises(ValueError, match='bool'): m.train([1])


def test_parameters_that_are_shared_are_counted_once_and_trained_once():
    def tied(ns):
        torch.manual_seed(0)
        a, b = ns.Linear(3, 3), ns.Linear(3, 3)
        b.weight = a.weight
        return ns.Sequential(a, b, a)
    m, t = tied(ours), tied(nn)
    assert [n for n, _ in m.named_parameters()] == [n for n, _ in t.named_parameters()] == ['0.weight', '0.bias', '1.bias']
    assert [n for n, _ in m.named_modules()] == [n for n, _ in t.named_modules()] and list(m.state_dict()) == list(t.state_dict())
    for x in (m, t):
        opt = torch.optim.SGD(x.parameters(), lr=0.1)
        x(torch.ones(2, 3)).square().sum().backward()
        nn.utils.clip_grad_norm_(x.parameters(), 0.5)
        opt.step()
    torch.testing.assert_close(dict(m.named_parameters()), dict(t.named_parameters()))


@pytest.mark.parametrize('keep', [True, False])
def test_zero_grad(keep):
    m = make(ours)
    m.zero_grad(set_to_none=not keep)                # before any backward
    m(torch.randn(3, 6)).sum().backward()
    assert any(p.grad.count_nonzero() for p in m.parameters())
    m.zero_grad(set_to_none=not keep)
    assert all(p.grad.count_nonzero() == 0 if keep else p.grad is None for p in m.parameters())


def test_calling_costs_about_what_torchs_does():
    "Less, in fact (0.6 where it was measured), since there are no hooks to ask for."
    def net(ns): return ns.Sequential(ns.Linear(784, 50), ns.ReLU(), ns.Linear(50, 10))
    x, a, b = torch.randn(1, 784), net(ours), net(nn)
    def seconds(m, n=100):
        t = time.process_time()
        for _ in range(n): m(x)
        return time.process_time() - t
    with torch.no_grad():
        seconds(a), seconds(b)
        times = [(seconds(a), seconds(b)) for _ in range(31)]
    ratio = statistics.median(s/t for s, t in times)
    assert ratio < 1.9, f'{ratio:.2f} times as long'


def test_parameters_of_one_module_alone():
    for nns in (nn.Module, Module):
        m = nns()
        m.p, m.inner = nn.Parameter(torch.ones(2)), nn.Linear(2, 2)
        assert [n for n, _ in m.named_parameters('net', recurse=False)] == ['net.p']
        assert [n for n, _ in m.named_parameters('net')] == ['net.p', 'net.inner.weight', 'net.inner.bias']
        assert len(list(m.parameters(recurse=False))) == 1 and len(list(m.parameters())) == 3
