# %% [markdown]
# # Nothing lost: your turn
# > Five exercises for [13 checkpoint](../13_checkpoint.ipynb), about two hours in all.

# %%
import hashlib, math, torch
from minisgd.checks.checkpoint import check

# %% check
import copy, itertools, json, math, torch

def gen(seed): return torch.Generator().manual_seed(seed)

# %% [markdown]
# ## 1. A power cut at any moment
# (Fifteen minutes.) Here's a disk whose power you can cut, after as many steps as you like. To write takes two of them: first half the text is there, then all of it. It's also as lazy as real ones: what you write waits in its memory until you `sync` that file, and what still waits is shortened by a power cut. A renamed file replaces the one that had the name, at once.
#
# Break it first: replace a state with a single `write`, and cut after one step. Then write `save`. At any moment there has to be the old state or the new one under that name, and once `save` is done, nothing else that wasn't there before.
# <details><summary>Hint</summary>
#
# Three calls do it. In which order do the *name* and the *bytes* get to the disk?
# </details>

# %%
class PowerCut(BaseException): pass

class Disk:
    def __init__(self, files, cut=None): # {name: text}; after how many steps
        self.files, self.cut, self.steps, self.waiting = dict(files), cut, 0, set()
    def step(self):
        self.steps += 1
        if self.cut is None or self.steps < self.cut: return
        if self.steps == self.cut:
            for name in self.waiting: self.files[name] = self.files[name][:3]
        raise PowerCut
    def write(self, name, text):
        for part in text[:len(text)//2], text:
            self.files[name] = part
            self.waiting.add(name)
            self.step()
    def sync(self, name):
        self.waiting.discard(name)
        self.step()
    def rename(self, old, new):
        if old in self.waiting: self.waiting.add(new)
        else: self.waiting.discard(new)
        self.waiting.discard(old)
        self.files[new] = self.files.pop(old)
        self.step()
    def remove(self, name):
        self.waiting.discard(name)
        self.files.pop(name, None)
        self.step()

disk = Disk({'fit': 'epoch 7'}, cut=1)
try: disk.write('fit', 'epoch 8')
except PowerCut: print(disk.files)

# %% solution
def save(disk, # a `Disk`: call its `write`, `sync`, `rename` or `remove`
         name, # of the file: any name, and it may be there already
         text  # the new state
        ):     # nothing
    "Replace a file so that a power cut at any moment leaves the old one or the new."
    part = name + '.part'
    disk.write(part, text)
    disk.sync(part)
    disk.rename(part, name)

# %% wrong: into the file itself
def save(disk, name, text):
    disk.write(name, text)
    disk.sync(name)

# %% wrong: before its bytes
def save(disk, name, text):
    disk.write(name + '.part', text)
    disk.rename(name + '.part', name)

# %% wrong: before its bytes were safe
def save(disk, name, text):
    disk.write(name + '.part', text)
    disk.rename(name + '.part', name)
    disk.sync(name)

# %% wrong: there is no file
def save(disk, name, text):
    disk.write(name + '.part', text)
    disk.sync(name + '.part')
    disk.remove(name)
    disk.rename(name + '.part', name)

# %% wrong: no file of that name
def save(disk, name, text):
    if name in disk.files: disk.rename(name, name + '.old')
    disk.write(name, text)
    disk.sync(name)
    disk.remove(name + '.old')

# %% wrong: make its name from
def save(disk, name, text):
    disk.write('part', text)
    disk.sync('part')
    disk.rename('part', name)

# %% wrong: left behind
def save(disk, name, text):
    if name in disk.files:
        disk.write(name + '.old', disk.files[name])
        disk.sync(name + '.old')
    disk.write(name + '.part', text)
    disk.sync(name + '.part')
    disk.rename(name + '.part', name)

# %% check
class PowerCut(BaseException): pass

class Disk: # as in the sheet, with a diary
    def __init__(self, files, cut=None):
        self.files, self.cut, self.steps, self.waiting, self.did = dict(files), cut, 0, set(), []
    def step(self, *what):
        self.steps += 1
        if what: self.did.append(what)
        if self.cut is None or self.steps < self.cut: return
        if self.steps == self.cut:
            for name in self.waiting: self.files[name] = self.files[name][:3]
        raise PowerCut
    def write(self, name, text):
        self.did.append(('write', name))
        for part in text[:len(text)//2], text:
            self.files[name] = part
            self.waiting.add(name)
            self.step()
    def sync(self, name):
        self.waiting.discard(name)
        self.step('sync', name)
    def rename(self, old, new):
        if old in self.waiting: self.waiting.add(new)
        else: self.waiting.discard(new)
        self.waiting.discard(old)
        self.files[new] = self.files.pop(old)
        self.step('rename', old, new)
    def remove(self, name):
        self.waiting.discard(name)
        self.files.pop(name, None)
        self.step('remove', name)

@check.add
def save(f):
    old, new, other = 'epoch 7: 0.321 -6.54', 'epoch 8: 0.123 -4.56', {'other': 'leave me alone'}
    parts = set() # the names of other files that it writes, for a state called 'fit'
    def trials():
        yield 'fit', other | {'fit': old}
        yield 'fit', other
        for name in sorted(parts): yield name, other | {name: old}
    for name, before in trials():
        disk = Disk(before)
        f(disk, name, new)
        if name == 'fit': parts |= {what[1] for what in disk.did if what[0] == 'write'} - {name, 'other'}
        refuse(not disk.did, 'it never calls the disk; use its methods, not its `files`')
        refuse(disk.files.get(name) != new, f'even with no power cut, the file {name!r} then holds {disk.files.get(name)!r}, not the new state')
        writes_itself = ('write', name) in disk.did
        for cut in range(1, disk.steps + 1):
            broken = Disk(before, cut)
            try: f(broken, name, new)
            except PowerCut: pass
            there, here = broken.files.get(name), f'cut after step {cut} of {disk.steps}: '
            refuse(there is None and name in before, here + 'there is no file of that name, neither old nor new. Don\'t remove or rename the old one: `rename` replaces it')
            if there in (None, before.get(name)) and cut < disk.steps or there == new: pass
            else:
                refuse(writes_itself and name in parts, f'{here}the state itself may be called {name!r}, as your part is, and then it holds {there!r}. A part has to make its name from `name`')
                refuse(writes_itself, f'{here}you write into the file itself, and now it holds {there!r}')
                refuse(there is not None and new.startswith(there), f'{here}the file got its name before its bytes were safe, and now it holds {there!r}')
                refuse(True, f'{here}the file holds {there!r}')
            again = Disk(broken.files)
            f(again, name, new + '!')
            refuse(again.files.get(name) != new + '!', f'{here}and the next `save` does not work: what the cut left behind is in its way')
        more, fewer = disk.files.keys() - before.keys() - {name}, before.keys() - disk.files.keys()
        refuse(more, f'left behind: {sorted(more)}')
        refuse(fewer or disk.files['other'] != before['other'], 'another file has changed')
    return 'write, sync, rename: `write_state` does the same, with a digest before the data'

# %% [markdown]
# ## 2. Sixteen characters for a state
# (Twenty minutes.) Two machines want to know whether they hold the same state, and they don't want to send it. Write a digest of sixteen characters. It has to change with any bit, name, shape, type or place. And it has to be the same for the same state, whatever process asks. For a tensor only its values, shape and type count, not how they lie in memory, and the order of the names in a dict doesn't count.
#
# Try the easy answers first, for instance `hashlib.sha256(str(state).encode())`, and let `check` tell you what they miss. It's more than you'd think.
# <details><summary>Hint</summary>
#
# Go through the state as `same` does. `t.contiguous().numpy().tobytes()` has the bits of a tensor. What else do you have to say about it?
# </details>
# <details><summary>Second hint</summary>
#
# `ab` and then `c` look just like `a` and then `bc`, if you only lay them end to end. Digest each item by itself, and then the list of digests: they all have one length.
# </details>

# %% solution
def digest(state # dicts (names are strings), lists, tensors, strings, numbers, None
          ):     # 16 characters, a str
    "Characters that change with anything in a state."
    def whole(x):
        if torch.is_tensor(x):
            bits = x.detach().cpu().contiguous().numpy().tobytes()
            data = f'tensor {x.dtype} {[*x.shape]} '.encode() + bits
        elif isinstance(x, dict):
            data = b'dict' + b''.join(whole(k) + whole(x[k]) for k in sorted(x))
        elif isinstance(x, (list, tuple)):
            data = type(x).__name__.encode() + b''.join(map(whole, x))
        else: data = f'{type(x).__name__} {x!r}'.encode()
        return hashlib.sha256(data).digest()
    return whole(state).hex()[:16]

# %% wrong: prints only a few
def digest(state): return hashlib.sha256(str(state).encode()).hexdigest()[:16]

# %% wrong: lie in memory
def digest(state):
    import io
    torch.save(state, buffer := io.BytesIO())
    return hashlib.sha256(buffer.getvalue()).hexdigest()[:16]

# %% wrong: float32
def digest(state):
    def whole(x):
        if torch.is_tensor(x): data = f'{x.dtype} {[*x.shape]} '.encode() + x.contiguous().float().numpy().tobytes()
        elif isinstance(x, dict): data = b'dict' + b''.join(whole(k) + whole(x[k]) for k in sorted(x))
        elif isinstance(x, list): data = b'list' + b''.join(map(whole, x))
        else: data = f'{type(x).__name__} {x!r}'.encode()
        return hashlib.sha256(data).digest()
    return whole(state).hex()[:16]

# %% wrong: swapped
def digest(state):
    def total(x):
        if isinstance(x, dict): return sum(total(v) for v in x.values())
        if isinstance(x, (list, tuple)): return sum(map(total, x))
        return x.double().sum().item() if torch.is_tensor(x) else len(repr(x))
    return hashlib.sha256(repr(total(state)).encode()).hexdigest()[:16]

# %% wrong: shape
def digest(state):
    def bits(x):
        if torch.is_tensor(x): return x.contiguous().numpy().tobytes()
        if isinstance(x, dict): return b'{' + b','.join(repr(k).encode() + b':' + bits(x[k]) for k in sorted(x)) + b'}'
        if isinstance(x, (list, tuple)): return b'[' + b','.join(map(bits, x)) + b']'
        return repr(x).encode()
    return hashlib.sha256(bits(state)).hexdigest()[:16]

# %% wrong: end to end
def digest(state):
    def bits(x):
        if torch.is_tensor(x): return f'{x.dtype}{[*x.shape]}'.encode() + x.contiguous().numpy().tobytes()
        if isinstance(x, dict): return b''.join(k.encode() + bits(x[k]) for k in sorted(x))
        if isinstance(x, (list, tuple)): return b''.join(map(bits, x))
        return (x if isinstance(x, str) else repr(x)).encode()
    return hashlib.sha256(bits(state)).hexdigest()[:16]

# %% wrong: names and values
def digest(state):
    def whole(x):
        if isinstance(x, dict): x = [part for k in sorted(x) for part in (k, x[k])]
        if torch.is_tensor(x): data = f'tensor {x.dtype} {[*x.shape]} '.encode() + x.contiguous().numpy().tobytes()
        elif isinstance(x, list): data = b'list' + b''.join(map(whole, x))
        else: data = f'{type(x).__name__} {x!r}'.encode()
        return hashlib.sha256(data).digest()
    return whole(state).hex()[:16]

# %% wrong: process
def digest(state): return f'{hash(str(state)) % 2**64:016x}'

# %% check
@check.add
def digest(f):
    t = torch.tensor
    big = torch.randn(60, 40, generator=gen(0))
    other = big.clone()
    other[30, 20] += 1e-3
    last = t([0.5, 0.25])
    def named(code): # what a function names, or one inside it
        return {*code.co_names}.union(*(named(c) for c in code.co_consts if hasattr(c, 'co_names')))
    names = named(f.__code__) if hasattr(f, '__code__') else ()
    def given(state):
        got = f(state)
        refuse(got is None, 'it returns nothing: no `return`?')
        refuse(not isinstance(got, str) or len(got) != 16, f'sixteen characters, please, in a string; not {brief(got)}')
        return got
    given({'w': last, 'lr': 0.1})
    refuse('hash' in names, 'Python salts `hash` of a string anew in each process: another process gets others. `hashlib` doesn\'t')
    for words, a, b in [
        ('two tensors are swapped', {'a': t([1., 2.]), 'b': t([3., 4.])}, {'a': t([3., 4.]), 'b': t([1., 2.])}),
        ('two numbers of a tensor are swapped', {'a': t([1., 2.])}, {'a': t([2., 1.])}),
        ('a tensor prints only a few of its numbers, and one in the middle is another', big, other),
        ('a tensor prints only a few digits, and the last bit is another', last, torch.nextafter(last, t([1., 1.]))),
        ('the last bit of a float64 is another, and float32 has no place for it', last.double(), torch.nextafter(last.double(), t([1., 1.]).double())),
        ('a large whole number is another, and a float has no place for its last bit', t([2**62]), t([2**62 + 1])),
        ('the shape is another', {'w': torch.arange(6.).view(2, 3)}, {'w': torch.arange(6.).view(3, 2)}),
        ('the shape is another', t([0.5]), t(0.5)),
        ('the type of the numbers is another', {'w': torch.zeros(2)}, {'w': torch.zeros(2, dtype=torch.int32)}),
        ('the type of the numbers is another', t([1, 0]), t([True, False])),
        ('the type of the numbers is another', t([0.5, 2.]), t([0.5, 2.], dtype=torch.float64)),
        ('a tensor is not a list', {'w': last}, {'w': last.tolist()}),
        ('only the sign of a zero is another, but that is a bit', {'w': t([0., 1.])}, {'w': t([-0., 1.])}),
        ('one bit of a nan is another', *t([[0x7fc00000], [0x7fc00001]], dtype=torch.int32).view(torch.float32)),
        ('a name is another', {'weight': last}, {'bias': last}),
        ('laid end to end, they look alike', {'a': 'bc'}, {'ab': 'c'}),
        ('laid end to end, they look alike', ['a', 'bc'], ['ab', 'c']),
        ('laid end to end, they look alike', [[1, 2], [3]], [[1], [2, 3]]),
        ('laid end to end, they look alike', [t([1.]), t([2., 3.])], [t([1., 2.]), t([3.])]),
        ('a whole number is not a string', {'n': 1}, {'n': '1'}),
        ('a float is not a whole number', {'n': 1.}, {'n': 1}),
        ('a number in the state is another', {'lr': 0.1, 'w': last}, {'lr': 0.1 + 1e-12, 'w': last}),
        ('a string in the state is another', {'how': 'adam', 'w': last}, {'how': 'sgdm', 'w': last}),
        ('there is one item more', [last], [last, last]),
        ('an empty dict is not nothing', {'w': {}}, {}),
        ('a dot in a name is not a dict in a dict', {'a.b': 1}, {'a': {'b': 1}}),
        ('a list is not a dict', {'w': [1]}, {'w': {'0': 1}}),
        ('a dict is not the list of its names and values', {'a': 1, 'b': 2}, ['a', 1, 'b', 2]),
        ('a dict is not a list of pairs', {'a': 1}, [['a', 1]]),
        ('nothing is not the string of that name', {'n': None}, {'n': 'None'}),
        ('a truth is not a number', {'n': True}, {'n': 1}),
        ('the place of an item in a list is another', [1, 2], [2, 1]),
        ('it is deeper in', {'a': {'b': [1, {'c': last}]}}, {'a': {'b': [1, {'c': last + 1}]}}),
    ]: refuse(given(a) == given(b), f'{words}, and the digest is the same: {brief(a)} and {brief(b)}')
    square = torch.arange(4.).view(2, 2)
    for words, a, b in [
        ('it is an equal state, in another tensor', {'w': big, 'n': 3}, {'w': big.clone(), 'n': 3}),
        ('the numbers are the same, and only lie in memory in another order', {'w': square.t()}, {'w': square.t().contiguous()}),
        ('the numbers are the same, and only lie in memory within a larger tensor', {'w': big[3]}, {'w': big[3].clone()}),
        ('the names are the same, in another order', {'a': 1, 'b': last}, {'b': last, 'a': 1}),
        ('it is an equal state, which holds one tensor twice', {'a': last, 'b': last.clone()}, {'a': last, 'b': last}),
    ]: refuse(given(a) != given(b), f'{words}, and the digest is another')
    return 'with such digests, ranks can compare whole models by a message that costs next to nothing'

# %% [markdown]
# ## 3. What can be left out?
# (Twenty-five minutes.) Somebody hands you a fit that you don't know: `resume(parts)` trains to the end and returns the weights. What isn't in `parts` it makes anew. Find out what a checkpoint needs: names with which the end is the same, *to the last bit*, and of which none can be left out any more. (If there are several such sets, any one will do.)
#
# Predict it for `go_on`, below: how many of the seven?
# <details><summary>Hint</summary>
#
# If you leave out one part at a time and put it back each time, what do you find out about two parts that say the same thing?
# </details>

# %%
def go_on(parts):
    "The rest of a fit of four epochs, five steps each."
    done = parts.get('steps', 5*parts.get('epochs', 0))
    w, v = parts.get('weights', torch.zeros(3)), parts.get('momentum', torch.zeros(3))
    g = torch.Generator().manual_seed(99)
    if 'noise' in parts: g.set_state(parts['noise'])
    for step in range(done, 20):
        v = 0.9*v + w - 1 + torch.randn(3, generator=g)
        w = w - 0.1*(1 - step/20)*v
    return w

parts = dict(weights=torch.ones(3), momentum=-torch.ones(3), epochs=2, steps=10,
             noise=torch.Generator().manual_seed(5).get_state(),
             lr=0.05, losses=[3., 2.])
go_on(parts), go_on({})

# %% solution
def needed(resume, # function of a dict; returns the weights at the end, a tensor
           parts   # a dict with all that was saved
          ):       # a list of names
    "Parts of a checkpoint that are enough, and of which none can be left out."
    end, kept = resume(parts), dict(parts)
    for name in [*parts]*len(parts):    # one can become idle when another has gone
        without = {k: v for k, v in kept.items() if k != name}
        if resume(without).equal(end): kept = without
    return [*kept]

# %% wrong: not both
def needed(resume, parts):
    end = resume(parts)
    def without(name): return {k: v for k, v in parts.items() if k != name}
    return [name for name in parts if not resume(without(name)).equal(end)]

# %% wrong: to the last bit
def needed(resume, parts):
    end, kept = resume(parts), dict(parts)
    for name in parts:
        without = {k: v for k, v in kept.items() if k != name}
        if torch.allclose(resume(without), end): kept = without
    return [*kept]

# %% wrong: could be left out
def needed(resume, parts): return [*parts]

# %% wrong: Go round again
def needed(resume, parts):
    end, kept = resume(parts), dict(parts)
    for name in parts:
        without = {k: v for k, v in kept.items() if k != name}
        if resume(without).equal(end): kept = without
    return [*kept]

# %% wrong: epochs could be left out
def needed(resume, parts):
    nothing = resume({})
    return [name for name in parts if not resume({name: parts[name]}).equal(nothing)]

# %% check
def unknown_fit(seed, groups, weight): # the end shows for each group whether one of its names is there
    rows = torch.randn(len(groups), 4, generator=gen(seed), dtype=torch.float64)
    def resume(parts):
        end = torch.ones(4, dtype=torch.float64)
        for group, row in zip(groups, rows):
            here = [sum(map(ord, str(parts[name]))) for name in group.split('|') if name in parts]
            end = end + row*(here[0] if here else 0.5)*weight.get(group, 1)
        return end
    return resume

def plan_anew(parts): # reads the plan only where there is a place in it; else it makes both anew
    sound = 'plan' in parts or 'place' not in parts
    return torch.tensor([1. if sound else 2., 3. if 'model' in parts else 4.])

@check.add
def needed(f):
    for seed, names, groups, weight in [
        (0, 'model opt losses', ['model', 'opt'], {}),
        (1, 'model', ['model'], {}),
        (2, 'model epochs steps order log', ['model', 'order', 'epochs|steps'], {}),
        (3, 'a b c d e f', ['a|b|c', 'e'], {}),
        (4, 'model dropout lr', ['model', 'dropout'], {'dropout': 1e-9}),
        (5, 'log notes', [], {}),
        (6, 'steps model epochs rate python', ['model', 'steps|epochs', 'epochs|rate', 'python'], {'python': 1e-8})]:
        groups = list(groups)
        values = dict(zip(names.split(), 'state of a fit that was here'.split()))
        for group in groups:  # parts that say the same have the same value
            for alt in group.split('|'): values[alt] = 'x' if '|' in group else values[alt]
        resume = unknown_fit(seed, groups, weight)
        got = f(resume, dict(values))
        refuse(got is None, 'it returns nothing: no `return`?')
        refuse(isinstance(got, str) or not hasattr(got, '__iter__'), f'a list of names, please, not {brief(got)}')
        got = list(got)
        refuse(not all(isinstance(name, str) and name in values for name in got), f'{brief(got)}: these are not all names of parts ({", ".join(values)})')
        refuse(len(set(got)) < len(got), f'a name is there twice: {brief(got)}')
        end = resume(values)
        def short(kept): return not resume({k: values[k] for k in kept}).equal(end)
        for group in groups:
            alts = group.split('|')
            if set(alts) & set(got): continue
            refuse(len(alts) > 1, f'{" and ".join(alts)} say the same thing: each can be left out, but not {"both" if len(alts) == 2 else "all of them"}')
            refuse(group in weight, f'without {group} the end is nearly the same, but not to the last bit')
        refuse(short(got), f'of {", ".join(values)} you keep {brief(got)}, and with these the end is another')
        for name in got:
            refuse(not short([k for k in got if k != name]), f'of {", ".join(values)} you keep {brief(got)}; {name} could be left out')
    for names in ['plan', 'place', 'model'], ['model', 'place', 'plan']:
        got = [*f(plan_anew, dict.fromkeys(names, 1))]
        refuse({*got} == {'plan', 'model'}, f'of {", ".join(names)} you keep {brief(got)}. The plan was needed as long as the place in it was there; now nobody reads it. Go round again, until nothing more can go')
        refuse(got != ['model'], f'of {", ".join(names)} you keep {brief(got)}; the model is enough here')
    return 'leaving out proves it for this fit only: another run may need what this one didn\'t'

# %% [markdown]
# ## 4. Rows that go on
# (Twenty-five minutes.) To go on in the middle of an epoch, `resume` reads batches for nothing. If the order of the rows could tell where it is, it wouldn't have to. Write a sampler that deals each row once in an epoch, in another order each time, and that has a state at any moment. The state is a small dict of whole numbers, as small for a million rows as for ten. A sampler that loads it, made with any seed, deals the *rest* of that epoch when it's iterated next, and then the epochs that would have come. It draws from no generator but its own.
# <details><summary>Hint</summary>
#
# The order is a function of two numbers, so you needn't keep it. A row is dealt when it's handed out: is it counted by then?
# </details>

# %% solution
class Rows:
    "The rows of each epoch in a random order, which can go on anywhere."
    def __init__(self, n, # rows
                 seed):   # of the shuffling
        "Begin with the first epoch."
        self.n, self.seed, self.epoch, self.dealt = n, seed, 0, 0
    def __iter__(self):
        "Deal the rest of this epoch, as ints; then the next epoch begins."
        g = torch.Generator().manual_seed(self.seed + self.epoch)
        for row in torch.randperm(self.n, generator=g).tolist()[self.dealt:]:
            self.dealt += 1
            yield row
        self.epoch, self.dealt = self.epoch + 1, 0
    def state_dict(self):
        "Where it is now: a new dict of a few ints."
        return dict(seed=self.seed, epoch=self.epoch, dealt=self.dealt)
    def load_state_dict(self, state): # from `state_dict`
        "Go on from there."
        self.seed, self.epoch = state['seed'], state['epoch']
        self.dealt = state['dealt']

# %% wrong: last row that was dealt comes again
class Rows:
    def __init__(self, n, seed): self.n, self.seed, self.epoch, self.dealt = n, seed, 0, 0
    def __iter__(self):
        g = torch.Generator().manual_seed(self.seed + self.epoch)
        for row in torch.randperm(self.n, generator=g).tolist()[self.dealt:]:
            yield row
            self.dealt += 1
        self.epoch, self.dealt = self.epoch + 1, 0
    def state_dict(self): return dict(seed=self.seed, epoch=self.epoch, dealt=self.dealt)
    def load_state_dict(self, state): vars(self).update(state)

# %% wrong: same order in each epoch
class Rows:
    def __init__(self, n, seed): self.n, self.seed, self.dealt = n, seed, 0
    def __iter__(self):
        g = torch.Generator().manual_seed(self.seed)
        for row in torch.randperm(self.n, generator=g).tolist()[self.dealt:]:
            self.dealt += 1
            yield row
        self.dealt = 0
    def state_dict(self): return dict(seed=self.seed, dealt=self.dealt)
    def load_state_dict(self, state): vars(self).update(state)

# %% wrong: changes as rows are dealt
class Rows:
    def __init__(self, n, seed): self.n, self.at = n, dict(seed=seed, epoch=0, dealt=0)
    def __iter__(self):
        g = torch.Generator().manual_seed(self.at['seed'] + self.at['epoch'])
        for row in torch.randperm(self.n, generator=g).tolist()[self.at['dealt']:]:
            self.at['dealt'] += 1
            yield row
        self.at.update(epoch=self.at['epoch'] + 1, dealt=0)
    def state_dict(self): return self.at
    def load_state_dict(self, state): self.at = dict(state)

# %% wrong: grows with the rows
class Rows:
    def __init__(self, n, seed):
        self.n, self.g, self.rest = n, torch.Generator().manual_seed(seed), []
    def __iter__(self):
        self.rest = self.rest or torch.randperm(self.n, generator=self.g).tolist()
        while self.rest: yield self.rest.pop(0)
    def state_dict(self): return dict(rest=list(self.rest), g=self.g.get_state().tolist())
    def load_state_dict(self, state):
        self.rest = list(state['rest'])
        self.g.set_state(torch.tensor(state['g'], dtype=torch.uint8))

# %% wrong: begins the epoch anew
class Rows:
    def __init__(self, n, seed): self.n, self.seed, self.epoch = n, seed, 0
    def __iter__(self):
        g = torch.Generator().manual_seed(self.seed + self.epoch)
        yield from torch.randperm(self.n, generator=g).tolist()
        self.epoch += 1
    def state_dict(self): return dict(seed=self.seed, epoch=self.epoch)
    def load_state_dict(self, state): vars(self).update(state)

# %% wrong: later epochs are cut short
class Rows:
    def __init__(self, n, seed): self.n, self.seed, self.epoch, self.dealt, self.skip = n, seed, 0, 0, 0
    def __iter__(self):
        g = torch.Generator().manual_seed(self.seed + self.epoch)
        self.dealt = self.skip
        for row in torch.randperm(self.n, generator=g).tolist()[self.skip:]:
            self.dealt += 1
            yield row
        self.epoch, self.dealt = self.epoch + 1, 0
    def state_dict(self): return dict(seed=self.seed, epoch=self.epoch, skip=self.dealt)
    def load_state_dict(self, state): vars(self).update(state)

# %% wrong: the order is that of its own seed
class Rows:
    def __init__(self, n, seed): self.n, self.seed, self.epoch, self.dealt = n, seed, 0, 0
    def __iter__(self):
        g = torch.Generator().manual_seed(self.seed + self.epoch)
        for row in torch.randperm(self.n, generator=g).tolist()[self.dealt:]:
            self.dealt += 1
            yield row
        self.epoch, self.dealt = self.epoch + 1, 0
    def state_dict(self): return dict(epoch=self.epoch, dealt=self.dealt)
    def load_state_dict(self, state): vars(self).update(state)

# %% check
@check.add
def Rows(f):
    def numbers(rows):
        rows = [*rows]
        refuse(any(map(torch.is_tensor, rows)), 'ints, please, not tensors: `tolist`')
        return [int(row) for row in rows]
    before = torch.get_rng_state()
    for n in 7, 20, 1:
        rows = f(n, 3)
        epochs = [numbers(rows) for _ in range(4)]
        for epoch in epochs:
            refuse(sorted(epoch) != list(range(n)), f'each of {n} rows once in an epoch, please; an epoch was {brief(epoch)}')
        if n < 7: continue
        refuse(epochs[0] == sorted(epochs[0]), 'not shuffled')
        refuse(any(a == b for a, b in itertools.combinations(epochs, 2)), 'the same order in each epoch')
        refuse(numbers(f(n, 3)) != epochs[0], 'two of the same seed deal in different orders')
        refuse(numbers(f(n, 4)) == epochs[0], 'the same order for each seed')
        for epoch, k in itertools.product((0, 2), (0, 3, n-1, n)):
            rows = f(n, 3)
            for _ in range(epoch): numbers(rows)
            loop = iter(rows)
            for _ in range(k): next(loop)
            state = rows.state_dict()
            refuse(state is None, '`state_dict` returns nothing: no `return`?')
            refuse(not isinstance(state, dict), f'`state_dict` returns {brief(state)}; a dict, please')
            flat = [v for value in state.values() for v in (value if isinstance(value, (list, tuple)) else [value])]
            refuse(len(flat) > 6, 'the state grows with the rows, or holds a whole generator; a few whole numbers are enough')
            try: state = json.loads(json.dumps(state))
            except TypeError: refuse(True, f'whole numbers, please, not {brief(state)}')
            kept = rows.state_dict()
            to_come, here = epochs[epoch][k:], f'{n} rows, {k} of epoch {epoch} dealt: '
            rest = numbers(loop)
            refuse(rest != to_come, f'{here}to ask for the state changes what comes, or the orders change from run to run')
            refuse(json.loads(json.dumps(kept)) != state, f'{here}the state that was handed out changes as rows are dealt; hand out a new dict each time')
            other, given = f(n, 77), copy.deepcopy(state)
            other.load_state_dict(given)
            got = numbers(other)
            refuse(given != state, f'{here}the state that was loaded changes as rows are dealt: take the numbers out of it, and leave the dict alone')
            if k == n and got == epochs[epoch + 1]: continue # it has already turned the page
            said = f'\n  the rest is {brief(to_come)}, and it deals {brief(got)}'
            refuse(k and got == epochs[epoch][k-1:], f'{here}the last row that was dealt comes again{said}')
            refuse(k and got == epochs[epoch], f'{here}it begins the epoch anew{said}')
            refuse(k and sorted(got) == list(range(n)), f'{here}it deals a whole epoch{said}')
            refuse(k > 1 and len(got) == len(to_come) and got != to_come, f'{here}as many as are left, but other rows: is the order that of its own seed, or of another epoch?{said}')
            refuse(not k and got != to_come, f'{here}the order is that of its own seed, or of another epoch{said}')
            refuse(got != to_come, f'{here}not so{said}')
            after = numbers(other)
            refuse(sorted(after) != list(range(n)), f'{here}the rest is right, but later epochs are cut short: {brief(after)}')
            if epoch + 1 < 4: refuse(after != epochs[epoch + 1], f'{here}the rest is right, but the next epoch has another order than it would have had')
    rows = f(7, 3)
    first = [row for _, row in zip(range(3), rows)]
    whole, rest = numbers(f(7, 3)), numbers(rows)
    refuse(rest != whole[3:], f'left after {brief(first)} and iterated again, it deals {brief(rest)}; the rest of that epoch is {brief(whole[3:])}')
    refuse(not torch.get_rng_state().equal(before), 'it draws from the global generator, so dropout would draw other numbers')
    return 'a loader with workers asks ahead of the training, so count what was trained, not what was asked for'

# %% [markdown]
# ## 5. How often? (open)
# (Forty minutes.) To save takes `cost` seconds, in which nothing is trained. On average the machine crashes every `between` seconds, at no particular moment: from any moment on, the time to the next crash is exponential, with that mean. You then go on from the last file at once. Save often, and you wait for the disk; save seldom, and each crash takes much work with it.
#
# Predict how many seconds to train from one saving to the next, and what share of all time is lost that way. Then simulate some thousand crashes, with your number, and measure the share. (`check` leaves 15 % for the interval, 20 % for the prediction and 10 % for the measurement.) If saving takes ten seconds and there's a crash every five hours or so, would you save every minute, every ten, or every hour?
# <details><summary>Hint</summary>
#
# In the middle of what does a crash come, on average? Add that to the price of saving, each per second. For which interval is the sum least?
# </details>
# <details><summary>Second hint</summary>
#
# `-between*torch.rand(n).log()` draws the times between crashes. How many whole rounds of training and saving fit into each?
# </details>

# %% solution
def how_often(cost,   # seconds to save
              between # seconds from one crash to the next, on average
             ):       # seconds between savings; the share lost, predicted and measured
    "The interval between savings that loses the least time."
    every = math.sqrt(2*cost*between)
    predicted = cost/every + every/(2*between)
    lives = -between*torch.rand(50_000, dtype=torch.float64).log()
    trained = (lives/(every + cost)).floor()*every
    return every, predicted, 1 - (trained.sum()/lives.sum()).item()

# %% wrong: half an interval
def how_often(cost, between):
    every = math.sqrt(cost*between)
    lives = -between*torch.rand(50_000, dtype=torch.float64).log()
    lost = 1 - ((lives/(every + cost)).floor()*every).sum()/lives.sum()
    return every, cost/every + every/between, lost

# %% wrong: as long as possible
def how_often(cost, between):
    every = between
    lives = -between*torch.rand(50_000, dtype=torch.float64).log()
    lost = 1 - ((lives/(every + cost)).floor()*every).sum()/lives.sum()
    return every, cost/every + 0.5, lost

# %% wrong: what you measured
def how_often(cost, between):
    every = math.sqrt(2*cost*between)
    lives = torch.full((10_000,), float(between), dtype=torch.float64)
    return every, 2*cost/every, 1 - (lives/(every + cost)).floor().mean()*every/between

# %% wrong: Add up the seconds first
def how_often(cost, between):
    every = math.sqrt(2*cost*between)
    lives = -between*torch.rand(50_000, dtype=torch.float64).log()
    lost = 1 - (lives/(every + cost)).floor()*every/lives
    return every, cost/every + every/(2*between), lost.mean()

# %% wrong: to the last digit
def how_often(cost, between):
    every = math.sqrt(2*cost*between)
    lost = cost/every + every/(2*between)
    return every, lost, lost

# %% wrong: predict
def how_often(cost, between):
    every = math.sqrt(2*cost*between)
    lives = -between*torch.rand(50_000, dtype=torch.float64).log()
    return every, cost/every, 1 - ((lives/(every + cost)).floor()*every).sum()/lives.sum()

# %% check
def _lost(every, cost, between): # exactly: a round of training and saving, tried until it has no crash
    return 1 - every/(between*math.expm1((every + cost)/between))

@check.add
def how_often(f):
    for cost, between in (10., 18_000.), (60., 50_000.), (1., 3_000.):
        got = f(cost, between)
        refuse(got is None, 'it returns nothing: no `return`?')
        if torch.is_tensor(got): got = got.tolist()
        refuse(not isinstance(got, (tuple, list)) or len(got) != 3, 'three numbers, please: the interval, the share predicted, the share measured')
        every, predicted, measured = map(float, got)
        here = f'saving takes {cost:g} s, and there is a crash every {between:g} s: '
        refuse(not (math.isfinite(every) and every > 0), f'{here}an interval of {every:g}?')
        young = math.sqrt(2*cost*between)
        best = min((young*k/100 for k in range(50, 151)), key=lambda t: _lost(t, cost, between))
        lost, least = (_lost(t, cost, between) for t in (every, best))
        refuse(abs(every/math.sqrt(cost*between) - 1) < 0.02, f'{here}does a crash take a whole interval with it? On average half an interval')
        refuse(every > between/3, f'{here}{every:.0f} s is as long as possible, and a crash takes nearly everything with it')
        said = f'{here}with {every:.0f} s between savings {lost:.2%} of the time are lost; the least is {least:.2%}'
        refuse(every < 0.85*best, f'you save too often: {said}')
        refuse(every > 1.15*best, f'you save too seldom: {said}')
        refuse(1 < measured < 100, f'{here}a share is between 0 and 1, not {measured:g}')
        lives = -between*((torch.arange(20_000).double() + 0.5)/20_000).log()   # evenly, not drawn
        for words, wrong in {
            'You took the share lost before each crash, and the mean of those shares: a short wait counts as much as a long one. Add up the seconds first, and then divide': (1 - (lives/(every + cost)).floor()*every/lives).mean().item(),
            'A round is training *and* saving': _lost(every, 0, between)}.items():
            refuse(abs(measured/lost - 1) > 0.1 and abs(measured/wrong - 1) < 0.05, f'{here}you measured {measured:.2%}. {words}')
        refuse(abs(measured/lost - 1) > 0.1, f'{here}what you measured is {measured:.2%}, and with your interval it is {lost:.2%} in the long run. Are the times between crashes exponential, and enough of them?')
        refuse(abs(predicted/lost - 1) > 0.2, f'{here}you predict that {predicted:.2%} are lost, and it is {lost:.2%}. Both are lost: the waiting for the disk, and the work since the last file')
        refuse(measured == predicted, f'{here}what you measured is your prediction, to the last digit: draw some thousand crashes')
    return 'at the best interval, waiting for the disk costs as much as the crashes do, and an interval a third longer or shorter adds less than a tenth to the loss'
