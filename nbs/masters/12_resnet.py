# %% [markdown]
# # A residual network: your turn
# > Five exercises for [12 resnet](../12_resnet.ipynb), nearly two hours and a half in all.

# %%
import copy, math, torch, torch.nn as nn
from minisgd.data import mnist
from minisgd.resnet import small_resnet
from minisgd.checks.resnet import check
torch.set_num_threads(1)

# %% check
import copy, math, torch, torch.nn as nn, torch.nn.functional as F
from ..resnet import ResBlock

def gen(seed): return torch.Generator().manual_seed(seed)

def bns(net): return [m for m in net.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]

def shaken(net, seed): # with parameters and statistics that nothing can hide behind
    g = gen(seed)
    with torch.no_grad():
        for p in net.parameters(): p.copy_(0.5*torch.randn(p.shape, generator=g))
        for bn in bns(net):
            bn.running_mean.copy_(torch.randn(bn.running_mean.shape, generator=g))
            bn.running_var.copy_(0.2 + torch.rand(bn.running_var.shape, generator=g))
            bn.weight.copy_(0.5 + torch.rand(bn.weight.shape, generator=g))
            bn.num_batches_tracked.fill_(20)
    return net

# %% [markdown]
# ## 1. What one number sees
# (Ten minutes.) The convolutions of `conv_net` have windows of 5, 5 and 3 pixels, with strides 2, 2 and 1. Look at one number of the last result. How many of the 28 pixels across does it depend on? Predict, and then write it for any list of layers. (Padding doesn't matter here, and no window is smaller than its stride.)
#
# Which order of the same three layers sees the most, and which the least? `looked_at` finds out the slow way, by a gradient.
# <details><summary>Hint</summary>
#
# Two neighbours in the result of a layer: how many pixels of the *picture* lie between them? That's how far each further number of a window reaches.
# </details>

# %%
def looked_at(layers): # pixels across that the middle of the last result depends on
    net = nn.Sequential(*[nn.Conv2d(1, 1, k, s, bias=False) for k, s in layers])
    for p in net.parameters(): nn.init.ones_(p)
    x = torch.zeros(1, 1, 300, 300, requires_grad=True)
    out = net(x)
    out[0, 0, len(out[0, 0])//2, 0].backward()
    return len(x.grad[0, 0].sum(1).nonzero())

# %% solution
def sees(layers # [(window, stride), …] in pixels, from the picture on
        ):      # pixels, an int
    "How many pixels across one number of the last result depends on."
    width, apart = 1, 1       # of one number; of two neighbours, in the picture
    for window, stride in layers:
        width += (window - 1)*apart
        apart *= stride
    return width

# %% wrong: strides before it
def sees(layers): return 1 + sum(window - 1 for window, _ in layers)

# %% wrong: own stride comes too early
def sees(layers):
    width, apart = 1, 1
    for window, stride in layers:
        apart *= stride
        width += (window - 1)*apart
    return width

# %% wrong: from the wrong end
def sees(layers):
    width, apart = 1, 1
    for window, stride in reversed(layers):
        width += (window - 1)*apart
        apart *= stride
    return width

# %% wrong: a window of 4 has no middle
def sees(layers):
    radius, apart = 0, 1
    for window, stride in layers:
        radius += window//2*apart
        apart *= stride
    return 2*radius + 1

# %% wrong: overlap
def sees(layers): return math.prod(window for window, _ in layers)

# %% check
def _sees(layers, late=False):
    width, apart = 1, 1
    for window, stride in layers:
        if late: apart *= stride
        width += (window - 1)*apart
        if not late: apart *= stride
    return width

@check.add
def sees(f):
    for layers in [(5, 2), (5, 2), (3, 1)], [(3, 1)], [(3, 3), (4, 1), (2, 2), (1, 1), (3, 2)], [], [(3, 1)]*20, [(5, 2), (3, 1), (5, 2)], [(7, 4)], [(2, 2)]*5 + [(2, 1)]:
        last = math.prod(s for _, s in layers)
        got = ask(f, layers, expect=_sees, mistakes={
            'a window reaches further if there are strides before it': lambda l: _sees([(w, 1) for w, _ in l]),
            'a layer\'s own stride comes too early: its windows lie apart, but each window sees no further for it': lambda l: _sees(l, True),
            'all strides before a layer count, multiplied, and not only that of the one before it': lambda l: 1 + sum((w - 1)*(l[i-1][1] if i else 1) for i, (w, _) in enumerate(l)),
            'from the wrong end: the first layer is the one at the picture': lambda l: _sees(l[::-1]),
            'a window of 4 has no middle: it reaches 3 pixels further, not 2 on each side': lambda l: 1 + 2*sum(w//2*math.prod(s for _, s in l[:i]) for i, (w, _) in enumerate(l)),
            'not every stride is 2': lambda l: _sees([(w, 2) for w, _ in l]),
            'windows overlap: they don\'t multiply': lambda l: math.prod(w for w, _ in l),
            'one number sees one pixel before the first layer: you have one too few': lambda l: _sees(l) - 1,
            'that is how far apart two neighbours lie in the picture': last,
            'pixels across, not all of the square': lambda l: _sees(l)**2})
        refuse(isinstance(got, float), f'a whole number of pixels, an int: not {got}')
    return 'a stride makes every later window reach further, so the same layers see more if the strides come first'

# %% [markdown]
# ## 2. Fold it away
# (Twenty minutes.) When a network has been trained, each batch norm does the same to every picture: multiply each channel, add to it. A convolution could do that itself. Make a new convolution that gives in one go what `conv` and then `bn` give in evaluation mode.
#
# Would it also work if the batch norm came *before* the convolution?
# <details><summary>Hint</summary>
#
# Write down $\text{bn}(w*x + b)$ for one channel, and sort by what has an $x$ in it. Which dimension of `conv.weight` is the channel that comes out?
# </details>

# %% solution
def folded(conv, # nn.Conv2d, with or without a bias; stays as it is
           bn    # the nn.BatchNorm2d behind it, in whatever mode; stays as it is
          ):     # an nn.Conv2d of the same stride, padding and dtype, with a bias
    "One convolution for a convolution and a batch norm that have been trained."
    new = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size,
                    conv.stride, conv.padding, dtype=conv.weight.dtype)
    scale = bn.weight/(bn.running_var + bn.eps).sqrt()
    bias = 0 if conv.bias is None else conv.bias
    with torch.no_grad():
        new.weight.copy_(conv.weight*scale[:, None, None, None])
        new.bias.copy_((bias - bn.running_mean)*scale + bn.bias)
    return new

# %% wrong: bias of the convolution
def folded(conv, bn):
    new = copy.deepcopy(conv)
    scale = (bn.weight/(bn.running_var + bn.eps).sqrt()).detach()
    new.weight = nn.Parameter(conv.weight.detach()*scale.view(-1, 1, 1, 1))
    new.bias = nn.Parameter(bn.bias.detach() - bn.running_mean*scale)
    return new

# %% wrong: variance, not
def folded(conv, bn):
    new = copy.deepcopy(conv)
    scale = (bn.weight/(bn.running_var + bn.eps)).detach()
    bias = 0 if conv.bias is None else conv.bias.detach()
    new.weight = nn.Parameter(conv.weight.detach()*scale.view(-1, 1, 1, 1))
    new.bias = nn.Parameter((bias - bn.running_mean)*scale + bn.bias.detach())
    return new

# %% wrong: eps
def folded(conv, bn):
    new = copy.deepcopy(conv)
    scale = (bn.weight/bn.running_var.sqrt()).detach()
    bias = 0 if conv.bias is None else conv.bias.detach()
    new.weight = nn.Parameter(conv.weight.detach()*scale.view(-1, 1, 1, 1))
    new.bias = nn.Parameter((bias - bn.running_mean)*scale + bn.bias.detach())
    return new

# %% wrong: changes the convolution
def folded(conv, bn):
    scale = (bn.weight/(bn.running_var + bn.eps).sqrt()).detach()
    bias = 0 if conv.bias is None else conv.bias.detach()
    conv.weight = nn.Parameter(conv.weight.detach()*scale.view(-1, 1, 1, 1))
    conv.bias = nn.Parameter((bias - bn.running_mean)*scale + bn.bias.detach())
    return conv

# %% check
@check.add
def folded(f):
    for seed, (ni, nf, k, how) in enumerate([(2, 3, 1, {}), (1, 4, 3, dict(stride=2, padding=1)), (3, 3, 3, dict(bias=False, padding=(0, 2))), (2, 5, (3, 1), dict(padding=1)), (3, 1, 5, dict(stride=(2, 1)))]):
        conv, bn = nn.Conv2d(ni, nf, k, **how), nn.BatchNorm2d(nf, eps=0.1 if seed == 1 else 1e-5)
        pair = shaken(nn.Sequential(conv, bn), seed)
        if seed == 3: pair.double()
        if seed%2: pair.eval()
        x = torch.randn(4, ni, 9, 8, generator=gen(seed)).to(conv.weight.dtype)
        given, before = copy.deepcopy(pair), copy.deepcopy(pair.state_dict())
        new = f(*given)
        refuse(new is None, 'it returns nothing: no `return`?')
        refuse(isinstance(new, nn.Module) and bns(new), 'there\'s still a batch norm in it')
        changed = [name for name, t in given.state_dict().items() if name not in before or not alike(t, before[name], 0)]
        refuse(any(name[0] == '0' for name in changed), 'it changes the convolution that it was given; a new one, please')
        refuse(changed, 'it changes the batch norm that it was given')
        refuse(given.training != pair.training or [m.training for m in given] != [m.training for m in pair], 'it changes the mode of what it was given')
        refuse(not callable(new), f'an nn.Conv2d, please, not {brief(new)}')
        weight = getattr(new, 'weight', conv.weight)
        refuse(weight.shape != conv.weight.shape, f'its weight has shape {[*weight.shape]}, not {[*conv.weight.shape]}: dimension 0, the channel that comes out, is to be multiplied')
        refuse(weight.dtype != conv.weight.dtype, f'its weights are {weight.dtype}, and those of the convolution {conv.weight.dtype}; `nn.Conv2d` takes a `dtype`')
        right = copy.deepcopy(pair).eval()(x)
        got = new(x)
        refuse(not torch.is_tensor(got), f'it gives {brief(got)}')
        refuse(got.shape != right.shape, f'the stride or the padding is another (here they are {conv.stride} and {conv.padding}): {[*x.shape]} became {[*got.shape]}, not {[*right.shape]}')
        with torch.no_grad():
            w, b0 = conv.weight, torch.zeros(nf).to(x) if conv.bias is None else conv.bias
            mean, var, eps, gamma, beta = bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
            def out(scale, shift): return F.conv2d(x, w*scale.view(-1, 1, 1, 1), shift, conv.stride, conv.padding)
            s = gamma/(var + eps).sqrt()
            batch = copy.deepcopy(bn).train()(conv(x))
            mistakes = [
                ('the bias of the convolution is lost: it goes through the batch norm, too', s, beta - mean*s),
                ('the bias of the convolution is not multiplied', s, b0 - mean*s + beta),
                ('divided by the variance, not by its root', gamma/(var + eps), (b0 - mean)*gamma/(var + eps) + beta),
                ('you forgot `bn.eps`', gamma/var.sqrt(), (b0 - mean)*gamma/var.sqrt() + beta),
                ('`bn.eps` goes under the root', gamma/(var.sqrt() + eps), (b0 - mean)*gamma/(var.sqrt() + eps) + beta),
                ('you forgot the running mean', s, b0*s + beta), ('you forgot the `bias` of the batch norm', s, (b0 - mean)*s),
                ('you forgot the `weight` of the batch norm', s/gamma, (b0 - mean)*s/gamma + beta),
                ('the running mean is not multiplied', s, b0*s - mean + beta), ('the running mean is added; it should be taken away', s, (b0 + mean)*s + beta),
                ('the weights are folded, the bias isn\'t', s, b0), ('the bias is folded, the weights aren\'t', s/s, (b0 - mean)*s + beta),
                ('that is the convolution alone', s/s, b0)]
        if not alike(got.detach(), right.detach(), 1e-4):
            refuse(alike(got.detach(), batch.detach(), 1e-4), 'that is what the batch norm gives in training mode; take what it remembers')
            for words, scale, shift in mistakes: refuse(alike(got.detach(), out(scale, shift), 1e-4), words)
            if ni == nf: refuse(alike(got.detach(), F.conv2d(x, w*s.view(1, -1, 1, 1), (b0 - mean)*s + beta, conv.stride, conv.padding), 1e-4), 'multiplied by the channel that comes in; the batch norm is about those that come out: dimension 0')
            far = (got - right).abs().max().item()
            raise Wrong(f'with {conv} and {bn} its results are up to {far:.2g} off')
        refuse(not alike(new(x[:1]).detach(), right[:1].detach(), 1e-4), 'one picture alone gets another answer than in a batch')
    return 'before a convolution it folds, too, but not if that is padded: the zeros of the frame never saw the batch norm'

# %% [markdown]
# ## 3. Break it, and mend it without training
# (Thirty minutes.) Somebody feeds your network pictures from 0 to 255 and forgets to divide. Does it notice? In the cell below `small_resnet` answers the same pictures twice, once multiplied by 255. Predict: how far apart are the two answers in evaluation mode, and in training mode? Then print `apart`.
#
# It can be mended without a gradient. Return a copy of the network, in evaluation mode, whose batch norms remember the new pictures: `running_mean` is the plain mean over these batches of what each layer saw in training mode, `running_var` that of the unbiased variances, and nothing of the old ones is left. Parameters and `momentum` stay as they are.
# <details><summary>Hint</summary>
#
# A batch norm whose `momentum` is `None` takes the plain mean of all batches since `reset_running_stats()`.
# </details>

# %%
torch.manual_seed(0)
pictures, net = torch.rand(32, 1, 28, 28), small_resnet().requires_grad_(False)
for _ in range(50): net(pictures)           # until the running statistics fit
apart = {}
for mode in 'eval', 'train':
    net.train(mode == 'train')
    apart[mode] = (net(255*pictures) - net(pictures)).abs().max().item()

# %% solution
def recalibrated(net,    # a module with batch norms, 1d or 2d; stays as it is
                 batches # a list of inputs, of equally many pictures each
                ):       # a copy, in evaluation mode
    "The same network, with the running statistics of other pictures."
    new, kinds = copy.deepcopy(net).train(), (nn.BatchNorm1d, nn.BatchNorm2d)
    norms = [m for m in new.modules() if isinstance(m, kinds)]
    kept = [m.momentum for m in norms]
    for m in norms:
        m.reset_running_stats()
        m.momentum = None
    with torch.no_grad():
        for xb in batches: new(xb)
    for m, momentum in zip(norms, kept): m.momentum = momentum
    return new.eval()

# %% wrong: the old ones
def recalibrated(net, batches):
    new = copy.deepcopy(net).train()
    with torch.no_grad():
        for xb in batches: new(xb)
    return new.eval()

# %% wrong: momentum
def recalibrated(net, batches):
    new = copy.deepcopy(net).train()
    for m in new.modules():
        if isinstance(m, nn.BatchNorm2d): m.reset_running_stats()
    with torch.no_grad():
        for xb in batches: new(xb)
    return new.eval()

# %% wrong: training mode
def recalibrated(net, batches):
    new = copy.deepcopy(net).train()
    norms = [m for m in new.modules() if isinstance(m, nn.BatchNorm2d)]
    for m in norms: m.reset_running_stats(); m.momentum = None
    with torch.no_grad():
        for xb in batches: new(xb)
    for m in norms: m.momentum = 0.1
    return new

# %% wrong: saw no picture
def recalibrated(net, batches):
    new = copy.deepcopy(net)
    for m in new.modules():
        if isinstance(m, nn.BatchNorm2d): m.reset_running_stats()
    with torch.no_grad():
        for xb in batches: new.eval()(xb)
    return new

# %% wrong: BatchNorm1d
def recalibrated(net, batches):
    new = copy.deepcopy(net).train()
    norms = [m for m in new.modules() if isinstance(m, nn.BatchNorm2d)]
    kept = [m.momentum for m in norms]
    for m in norms: m.reset_running_stats(); m.momentum = None
    with torch.no_grad():
        for xb in batches: new(xb)
    for m, momentum in zip(norms, kept): m.momentum = momentum
    return new.eval()

# %% wrong: the network that it was given
def recalibrated(net, batches):
    norms = [m for m in net.train().modules() if isinstance(m, nn.BatchNorm2d)]
    for m in norms: m.reset_running_stats(); m.momentum = None
    with torch.no_grad():
        for xb in batches: net(xb)
    for m in norms: m.momentum = 0.1
    return net.eval()

# %% check
def statistics(net, batches, start=None, momentum=None): # the means, then the variances, of each layer
    new = copy.deepcopy(net).train()
    for m in bns(new):
        if start is None: m.reset_running_stats()
        m.momentum = momentum or m.momentum if momentum != 'plain' else None
    with torch.no_grad():
        for xb in batches: new(xb)
    return [m.running_mean for m in bns(new)], [m.running_var for m in bns(new)]

@check.add
def recalibrated(f):
    def plain(): return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2, momentum=0.3), nn.Flatten(), nn.Linear(18, 4))
    def blocks(): return nn.Sequential(ResBlock(1, 4, 2), ResBlock(4, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    def flat(): return nn.Sequential(nn.Conv2d(1, 2, 5), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(18, 4), nn.BatchNorm1d(4))
    for seed, make, count, rows in (0, plain, 3, 5), (1, blocks, 4, 2), (2, plain, 1, 8), (3, flat, 3, 4):
        net = shaken(make(), seed)
        if seed == 1: net.eval()
        scales = [1., 5., 2., 3.][:count]
        batches = [s*(1 + torch.rand(rows, 1, 7, 7, generator=gen(i))) for i, s in enumerate(scales)]
        right = statistics(net, batches, momentum='plain')
        given, before, xs = copy.deepcopy(net), copy.deepcopy(net.state_dict()), [x.clone() for x in batches]
        new = f(given, xs)
        refuse(new is None, 'it returns nothing: no `return`?')
        refuse(not isinstance(new, nn.Module), f'a network, please, not {brief(new)}')
        refuse(not all(map(torch.equal, xs, batches)), 'it changes the pictures that it was given')
        refuse(new is given or any(not torch.equal(t, before[name]) for name, t in given.state_dict().items()), 'it changes the network that it was given; a copy, please')
        refuse(given.training != net.training, 'it changes the mode of the network that it was given')
        refuse(len(bns(new)) != len(bns(net)), 'the copy has lost batch norms')
        got = [m.running_mean for m in bns(new)], [m.running_var for m in bns(new)]
        refuse(any(a is b or torch.is_tensor(a) and a.data_ptr() == b.data_ptr() for a, b in zip(new.parameters(), given.parameters())), 'the copy shares its parameters with the network that it was given')
        refuse(not alike([*new.parameters()], [*net.parameters()], 0), 'the parameters have changed, and nothing should be trained')
        with torch.no_grad():
            start = [m.running_mean for m in bns(net)]
            mistakes = {
                'they still have something of the old ones in them': statistics(net, batches, start),
                'the plain mean goes on from the old ones, because the batches seen so far are counted, too': statistics(net, batches, start, 'plain'),
                'it starts afresh, but with `momentum` the last batches count most': statistics(net, batches),
                'they are the old ones': (start, [m.running_var for m in bns(net)]),
                'you have started afresh, but in evaluation mode a batch norm saw no picture: it only looks while training': ([torch.zeros_like(m) for m in start], [torch.ones_like(m) for m in start]),
                'they are those of the last batch': statistics(net, batches[-1:], momentum='plain'),
                'they are those of the first batch': statistics(net, batches[:1], momentum='plain')}
            pooled = statistics(net, [torch.cat(batches)], momentum='plain')
        if not alike(got, right, 1e-4):
            for words, wrong in mistakes.items(): refuse(alike(got, wrong, 1e-4), f'look at the running statistics: {words}')
            refuse(alike(got, pooled, 1e-4), 'those are the statistics of all the pictures at once; the mean over the batches, please (they may not fit into memory together)')
            refuse(make is flat and alike(got[0][0], right[0][0], 1e-4), 'the batch norm behind a linear layer, a BatchNorm1d, does not remember the new pictures as it should')
            refuse(alike(got[0], right[0], 1e-4), 'the running means are right, the running variances aren\'t: the mean of the *unbiased* variances, please')
            refuse(alike(got[0][0], right[0][0], 1e-4), 'the first batch norm is right, a later one isn\'t: each needs the layers before it in training mode')
            raise Wrong(f'the first layer\'s running mean is {brief(got[0][0])}; expected {brief(right[0][0])}')
        refuse(new.training or any(m.training for m in new.modules()), 'the copy is still in training mode, and its next look would move the statistics')
        refuse([m.momentum for m in bns(new)] != [m.momentum for m in bns(net)], '`momentum` has changed: put it back, or the next training won\'t be as before')
    return 'in training mode nobody notices the 255; in evaluation mode they ruin the answers, and no gradient is needed to mend it'

# %% [markdown]
# ## 4. Steady in spite of strides
# (Twenty-five minutes.) In a wide frame a move by four pixels changed nothing, and a move by two changed the answers, because the windows stand at every fourth pixel. Make the answers steady without touching the network: ask it several times and take the mean, so that *no* move by whole pixels changes anything. How often must you ask?
#
# (Stride 1 everywhere would be as steady, in such a frame. Which do you think costs more, that or asking so often?)
# <details><summary>Hint</summary>
#
# Where can the digit be, as the windows see it? The mean over all those cases is the same wherever it starts.
# </details>

# %%
class Net(nn.Sequential): # untrained: strides don't care
    def __init__(self, first, second):
        super().__init__(
            nn.Conv2d(1, 4, 5, first, padding=2), nn.ReLU(),
            nn.Conv2d(4, 8, 5, second, padding=2), nn.ReLU(),
            nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(8, 3))

def moved(x, down, right): return torch.roll(x, (down, right), (-2, -1))

# %% solution
def steady(net, # gives answers (n, classes); a move by `hop` pixels changes nothing
           x,   # pictures (n, channels, h, w) in a wide frame of zeros
           hop  # the strides of the network, multiplied
          ):    # (n, classes)
    "Mean answers that no move by whole pixels changes."
    answers = [net(moved(x, down, right))
               for down in range(hop) for right in range(hop)]
    return torch.stack(answers).mean(0)

# %% wrong: on the diagonal
def steady(net, x, hop):
    return torch.stack([net(moved(x, k, k)) for k in range(hop)]).mean(0)

# %% wrong: only to the right
def steady(net, x, hop):
    return torch.stack([net(moved(x, 0, k)) for k in range(hop)]).mean(0)

# %% wrong: once too often
def steady(net, x, hop):
    ways = [(d, r) for d in range(hop + 1) for r in range(hop + 1)]
    return torch.stack([net(moved(x, *way)) for way in ways]).mean(0)

# %% wrong: the pictures
def steady(net, x, hop):
    ways = [(d, r) for d in range(hop) for r in range(hop)]
    return net(torch.stack([moved(x, *way) for way in ways]).mean(0))

# %% wrong: the sum
def steady(net, x, hop):
    ways = [(d, r) for d in range(hop) for r in range(hop)]
    return sum(net(moved(x, *way)) for way in ways)

# %% check
def strided(first, second, seed):
    net = nn.Sequential(nn.Conv2d(1, 4, 5, first, padding=2), nn.ReLU(), nn.Conv2d(4, 6, 3, second, padding=1), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(6, 3))
    return shaken(net, seed).double().eval().requires_grad_(False)

@check.add
def steady(f):
    def roll(x, down, right): return torch.roll(x, (down, right), (-2, -1))
    for seed, first, second, rows in (0, 2, 2, 2), (1, 3, 1, 1), (2, 1, 1, 3), (3, 2, 3, 1):
        net, hop = strided(first, second, seed), first*second
        calls = 0
        def asked(x):
            nonlocal calls
            calls += 1
            return net(x)
        x = F.pad(torch.rand(rows, 1, 10, 9, generator=gen(seed), dtype=torch.float64), 4*[24])
        given = x.clone()
        got = f(asked, given, hop)
        refuse(got is None, 'it returns nothing: no `return`?')
        refuse(not given.equal(x), 'it changes the pictures that it was given')
        got = torch.as_tensor(got)
        def mean(ways): return torch.stack([net(roll(x, *way)) for way in ways]).mean(0)
        square = [(d, r) for d in range(hop) for r in range(hop)]
        right, wide = mean(square), [(d, r) for d in range(hop + 1) for r in range(hop + 1)]
        if not alike(got, right):
            refuse(got.shape != right.shape, f'the answers of {rows} pictures have shape {[*got.shape]}; expected {[*right.shape]}')
            answers = torch.stack([net(roll(x, *way)) for way in square])
            for words, wrong in {
                'that is the sum of the answers': right*len(square), 'divided by `hop`, but there are more answers than that': right*hop,
                'one answer isn\'t enough' if calls < 2 else 'its moves are multiples of `hop`, and those change nothing': net(x),
                'the mean of the answers, please, not of the probabilities': torch.stack([net(roll(x, *way)).softmax(1) for way in square]).mean(0),
                'it moves only on the diagonal: down and right must go through all pairs': mean([(k, k) for k in range(hop)]),
                'it moves only to the right': mean([(0, k) for k in range(hop)]), 'it moves only down': mean([(k, 0) for k in range(hop)]),
                'it moves down, and it moves right, but not both at once': mean([(k, 0) for k in range(hop)] + [(0, k) for k in range(hop)]),
                **({} if hop == 4 else {f'4 by 4 moves, as in the notebook; but here `hop` is {hop}': mean([(d, r) for d in range(4) for r in range(4)])}),
                'it asks once too often: a move by `hop` is as good as none, so that one counts twice': mean(wide),
                'it leaves out the picture as it is': mean(square[1:]), 'it leaves out the moves by 0': mean([(d, r) for d, r in square if d and r]),
                'the largest answers are steady too, but the mean was asked': answers.amax(0), 'the median isn\'t the mean': answers.median(0).values,
                'that is the mean of the pictures, and the network saw only a blur: the mean of the answers, please': net(torch.stack([roll(x, *way) for way in square]).mean(0)),
                'a mean over moves both ways counts some cases twice': mean([(d, r) for d in range(-hop, hop + 1) for r in range(-hop, hop + 1)]),
                'from minus `hop` on, each case comes more often than another': mean([(d, r) for d in range(1 - hop, hop) for r in range(1 - hop, hop)])}.items():
                refuse(alike(got, wrong), words)
            there = torch.as_tensor(f(net, roll(x, 1, 0), hop))
            refuse(not alike(there, got), f'strides {first} and {second}: a move down by one pixel still changes the answers, by up to {(there - got).abs().max():.2g}')
            raise Wrong(f'steady, but not the mean of the answers: {brief(got[0])}; expected {brief(right[0])}')
        refuse(calls >= 2*hop**2 and hop > 1, f'right, but it asks {calls} times; {hop**2} will do')
        for way in (1, 0), (0, 1), (2, 5):
            refuse(not alike(torch.as_tensor(f(net, roll(x, *way), hop)), got), f'a move by {way} still changes the answers')
    return 'it costs hop times hop answers; with stride 1 everywhere, a layer behind all the strides would have as many times the windows'

# %% [markdown]
# ## 5. A mean that wobbles (open)
# (An hour.) `running_mean` never settles: each batch pulls it a tenth of the way towards its own mean. How far does it wobble? Say a channel has 784 numbers in each of 32 pictures, so a batch's mean is over 25,088 of them. That should be hard to move. Predict the standard deviation of `running_mean`, long after the start, if batches are drawn with replacement. Then run a `BatchNorm2d` for a few thousand batches and measure it.
#
# Begin with the digits below. Are you within a tenth? If you're off by a factor, ask what 25,088 counts.
# <details><summary>Hint</summary>
#
# First batch by batch: are the pixels of one picture drawn independently of each other? What is?
# </details>
# <details><summary>Second hint</summary>
#
# Then the running mean $r \leftarrow (1-m)\,r + m\,b$: in the long run the variance of $r$ is the same before and after. Solve for it.
# </details>

# %%
digits = mnist()[2][:2000].view(-1, 1, 28, 28)

# %% solution
def wobble(x,       # all pictures, (n, channels, h, w)
           bs,      # pictures in a batch, drawn with replacement
           momentum # of the batch norm
          ):        # two tensors (channels,): predicted, and measured
    "The standard deviation of `running_mean`, long after the start."
    spread = x.mean((2, 3)).std(0, correction=0)  # of the means of the pictures
    predicted = spread/math.sqrt(bs)*math.sqrt(momentum/(2 - momentum))
    bn, seen = nn.BatchNorm2d(x.shape[1], momentum=momentum), []
    with torch.no_grad():
        for step in range(4000):
            bn(x[torch.randint(len(x), (bs,))])
            if step >= 100: seen.append(bn.running_mean.clone())
    return predicted, torch.stack(seen).std(0)

# %% wrong: resemble each other
def wobble(x, bs, momentum):
    pixels = x.std((0, 2, 3))/math.sqrt(bs*x[0, 0].numel())
    bn, seen = nn.BatchNorm2d(x.shape[1], momentum=momentum), []
    with torch.no_grad():
        for step in range(3000):
            bn(x[torch.randint(len(x), (bs,))])
            if step >= 100: seen.append(bn.running_mean.clone())
    return pixels*math.sqrt(momentum/(2 - momentum)), torch.stack(seen).std(0)

# %% wrong: a single batch
def wobble(x, bs, momentum):
    predicted = x.mean((2, 3)).std(0)/math.sqrt(bs)
    bn, seen = nn.BatchNorm2d(x.shape[1], momentum=momentum), []
    with torch.no_grad():
        for step in range(3000):
            bn(x[torch.randint(len(x), (bs,))])
            if step >= 100: seen.append(bn.running_mean.clone())
    return predicted, torch.stack(seen).std(0)

# %% wrong: times `momentum`
def wobble(x, bs, momentum):
    predicted = x.mean((2, 3)).std(0)/math.sqrt(bs)*momentum
    bn, seen = nn.BatchNorm2d(x.shape[1], momentum=momentum), []
    with torch.no_grad():
        for step in range(3000):
            bn(x[torch.randint(len(x), (bs,))])
            if step >= 100: seen.append(bn.running_mean.clone())
    return predicted, torch.stack(seen).std(0)

# %% wrong: the same tensor each time
def wobble(x, bs, momentum):
    predicted = x.mean((2, 3)).std(0)/math.sqrt(bs)*math.sqrt(momentum/(2 - momentum))
    bn, seen = nn.BatchNorm2d(x.shape[1], momentum=momentum), []
    with torch.no_grad():
        for step in range(1000):
            bn(x[torch.randint(len(x), (bs,))])
            if step >= 100: seen.append(bn.running_mean)
    return predicted, torch.stack(seen).std(0)

# %% wrong: run the batch norm
def wobble(x, bs, momentum):
    predicted = x.mean((2, 3)).std(0)/math.sqrt(bs)*math.sqrt(momentum/(2 - momentum))
    return predicted, predicted

# %% wrong: what you measured
def wobble(x, bs, momentum):
    predicted = x.mean((2, 3)).std(0)/math.sqrt(bs)*math.sqrt(momentum/(2 - momentum))
    bn, seen = nn.BatchNorm2d(x.shape[1], momentum=momentum), []
    with torch.no_grad():
        for step in range(100):
            bn(x[torch.randint(len(x), (bs,))])
            seen.append(bn.running_mean.clone())
    return predicted, torch.stack(seen).std(0)

# %% check
@check.add
def wobble(f):
    worst = 0.
    for seed, n, c, size, bs, m in (0, 500, 2, (6, 6), 8, 0.1), (1, 300, 1, (4, 9), 3, 0.4):
        g = gen(seed)
        x = torch.randn(n, c, 1, 1, generator=g)*torch.arange(1., c + 1).view(c, 1, 1)
        x = 5 + x + torch.randn(n, c, *size, generator=g)
        given = x.clone()
        got = f(given, bs, m)
        refuse(got is None, 'it returns nothing: no `return`?')
        refuse(not given.equal(x), 'it changes the pictures that it was given')
        refuse(not isinstance(got, (tuple, list)) or len(got) != 2, 'two tensors, please: predicted and measured')
        predicted, measured = [torch.as_tensor(t).detach().double().flatten() for t in got]
        refuse(len(predicted) != c or len(measured) != c, f'{c} channels, so {c} numbers each')
        one, pixels = x.mean((2, 3)).std(0)/bs**0.5, x.std((0, 2, 3))/(bs*x[0, 0].numel())**0.5
        right = one*(m/(2 - m))**0.5
        def near(a, b, by): return bool(((a/b - 1).abs() < by).all())
        refuse(near(measured, one, 0.1), 'what you measured is how far the means of the batches spread; note `bn.running_mean` after each batch')
        refuse(bool((measured < 1e-4*right).all()), 'you noted the same tensor each time, and the next batch changes it: `bn.running_mean.clone()`')
        refuse(not near(measured, right, 0.2), f'what you measured, {brief(measured.tolist())}, isn\'t what I find: {brief(right.tolist())} (let the start die out, and then take a few thousand batches)')
        if not near(predicted, right, 0.1):
            for words, wrong in {
                'you counted pixels, but those of a picture resemble each other: what is drawn are pictures': pixels*(m/(2 - m))**0.5,
                'you counted pixels, and predicted for a single batch': pixels,
                'how far do the *means* of the pictures spread? Less than their pixels': pixels*(x[0, 0].numel()*m/(2 - m))**0.5,
                'you counted pixels, and multiplied by `momentum`': pixels*m,
                'that is the wobble of a single batch; the running mean is calmer': one,
                'a single batch moves it by that, times `momentum`; but the moves of many batches add up': one*m,
                'how calm it gets depends on `momentum`: the variance is m/(2-m) of a batch\'s, and you took the root twice, or not at all': one*m/(2 - m),
                'the variance is m/(2-m) of a batch\'s; you took m of it': one*m**0.5,
                'each channel has a spread of its own': (x.mean((1, 2, 3)).std()*(m/(2 - m)/bs)**0.5).expand(c) if c > 1 else one*math.nan,
                'where is the size of the batch?': right*bs**0.5, 'the root of the size of the batch, please': right/bs**0.5,
                'a variance; its root, please': right**2, 'nearly: m/2 is only right for a small `momentum`': one*(m/2)**0.5}.items():
                refuse(near(predicted, wrong, 0.04), words)
            raise Wrong(f'measured well, but your prediction is {brief(predicted.tolist())}, and {brief(right.tolist())} is right')
        refuse(near(measured, predicted, 1e-6), 'what you measured is your prediction, to the last digit: run the batch norm, and measure')
        worst = max(worst, (predicted/measured - 1).abs().max().item())
    return f'your predictions and measurements are at most {worst:.0%} apart'
