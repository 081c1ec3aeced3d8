# %% [markdown]
# # Timing: your turn
# > Five exercises for [08 timing](../08_timing.ipynb), about two hours in all.

# %%
import math, random
from collections import Counter
import numpy as np, torch
from minisgd.timing import Timer, compare, benchmark, fit_step_cost
from minisgd.checks.timing import check

# %%
class Clock:
    "Stands still at `now`, in seconds, until somebody moves it."
    now = 0.
    def __call__(self): return self.now

# %% check
import itertools, math, random, statistics
from fractions import Fraction
import numpy as np
from ..timing import compare, fit_step_cost

class Clock:
    now = 0.
    def __call__(self): return self.now

# %% [markdown]
# ## 1. Enough calls
# (Ten minutes.) A clock shows the last tick before now. You time so many calls in one go, and divide. How many calls does it take at least until you can be sure that the result is off by no more than a given share, whatever part of a tick your run begins in and ends in?
#
# At 64 ticks a second, for a job of 1/1024 of a second, to a percent: that was *one thousand* in the notebook, and it was off by 0.8 %. Was that enough, or luck?
# <details><summary>Hint</summary>
#
# How much can the reading at the start be too early, and how much the one at the stop? What's the worst that can happen to their difference?
# </details>

# %% solution
def calls_for(seconds, # that a call takes, roughly
              tick,    # seconds from one tick of the clock to the next
              share    # of the result, by which it may be off: 0.01 is one percent
             ):        # the number of calls in a run
    "How many calls make a run long enough for a coarse clock."
    return math.ceil(tick/(share*seconds))

# %% wrong: a whole tick
def calls_for(seconds, tick, share): return math.ceil(tick/2/(share*seconds))

# %% wrong: both readings
def calls_for(seconds, tick, share): return math.ceil(2*tick/(share*seconds))

# %% wrong: long compared with a tick
def calls_for(seconds, tick, share): return math.ceil(tick/seconds)

# %% wrong: rounded down
def calls_for(seconds, tick, share): return int(tick/(share*seconds))

# %% check
@check.add
def calls_for(f):
    for seconds, tick, share in (1/1024, 1/64, 0.01), (0.003, 0.01, 0.05), (2e-5, 1e-3, 0.1), (0.7, 1/64, 0.02), (3., 1., 0.5), (0.011, 0.25, 0.003):
        exact = Fraction(tick)/(Fraction(share)*Fraction(seconds))
        least = math.ceil(exact*(1 - Fraction(1, 10**12)))
        got = f(seconds, tick, share)
        refuse(got is None, 'it returns nothing: no `return`?')
        call = f'calls_for({brief(seconds)}, {brief(tick)}, {share}) gave {brief(got)}'
        if alike(got, least) or alike(got, least + 1) and exact == least: continue
        refuse(isinstance(got, float) and math.ceil(got) == least, f'{call}, and calls are whole')
        refuse(least > 1 and abs(float(got) - float(exact)) < 1, f'{call}: rounded down, or one too many? Then it is not the least number that suffices, {least}')
        refuse(alike(got, math.ceil(tick/seconds)), f'{call}: as long as a tick is not long compared with a tick')
        refuse(float(got) <= 0, call)
        if got < least:
            away = tick/(got*seconds) # how far off it can be
            half = ', and not half of one' if alike(got, math.ceil(exact/2)) else ''
            raise Wrong(f'{call}: then it can be off by nearly {away:.2g} of the result. A run that begins just before a tick and ends just after one gains almost a whole tick{half}')
        refuse(alike(got, math.ceil(2*exact)), f'{call}, twice too many: both readings are early by up to a tick, so their errors do not add up')
        raise Wrong(f'{call}; fewer are enough: {least}')
    return 'so 1,000 calls were luck; with 1,600 you can be sure'

# %% [markdown]
# ## 2. Up to the roof
# (Fifteen minutes.) One layer, `b` rows of `k` numbers times a `k`×`n` matrix: the more rows, the more operations per byte, and the higher up the slope of the roof. From which batch size on does the slope no longer hold it down? Guess for the first layer of the course's network, 784 to 50, on a machine of 100 GFLOP/s and 10 GB/s. And on one of 100 GFLOP/s and 4 GB/s?
#
# Each number is moved once: the rows, the matrix and the result, 4 bytes each. Some layers never get there on some machines; then return `math.inf`.
# <details><summary>Hint</summary>
#
# The slope ends where operations per byte are `peak/bandwidth`. Solve for `b`. If that gives a negative number, or none: what happens to the operations per byte if `b` grows without end?
# </details>

# %% solution
def rows_to_roof(k, n,     # inputs and outputs of the layer
                 peak,     # of the machine, in GFLOP/s
                 bandwidth # in GB/s
                ):         # the smallest batch size, a whole number, or math.inf
    "From how many rows on a layer isn't held down by the memory."
    ridge = peak/bandwidth    # operations per byte where the flat roof begins
    gain = k*n - 2*ridge*(k + n)
    return math.ceil(2*ridge*k*n/gain) if gain > 0 else math.inf

# %% wrong: the result has to be written
def rows_to_roof(k, n, peak, bandwidth):
    ridge = peak/bandwidth
    gain = k*n - 2*ridge*k
    return math.ceil(2*ridge*k*n/gain) if gain > 0 else math.inf

# %% wrong: if late
def rows_to_roof(k, n, peak, bandwidth):
    for b in range(1, 4097):
        if 2*b*k*n/(4*(b*k + k*n + b*n)) >= peak/bandwidth: return b
    return math.inf

# %% wrong: 4 bytes
def rows_to_roof(k, n, peak, bandwidth):
    ridge = peak/bandwidth/4
    gain = k*n - 2*ridge*(k + n)
    return math.ceil(2*ridge*k*n/gain) if gain > 0 else math.inf

# %% wrong: a multiplication and an addition
def rows_to_roof(k, n, peak, bandwidth):
    ridge = 2*peak/bandwidth
    gain = k*n - 2*ridge*(k + n)
    return math.ceil(2*ridge*k*n/gain) if gain > 0 else math.inf

# %% wrong: never
def rows_to_roof(k, n, peak, bandwidth):
    ridge = peak/bandwidth
    return math.ceil(2*ridge*k*n/(k*n - 2*ridge*(k + n)))

# %% check
@check.add
def rows_to_roof(f):
    def least(k, n, ridge, rows=1, matrix=1, result=1): # rows from which 2bkn >= 4*ridge*(bytes/4)
        gain = k*n - 2*ridge*(rows*k + result*n)
        return math.ceil(2*ridge*matrix*k*n/gain) if gain > 0 else math.inf
    def right(k, n, peak, bandwidth): return least(k, n, peak/bandwidth)
    for args in ((40, 784, 37., 11.), (10, 784, 37., 11.), (784, 50, 100., 10.), (784, 50, 100., 4.), (784, 50, 90., 15.), (50, 10, 30., 20.), (50, 10, 90., 15.), (1024, 1024, 1000., 9.), (3, 3, 1., 7.), (1, 1, 1., 4.3), (8, 8, 1., 1.), (784, 50, 234.9, 10.)):
        ask(f, *args, expect=right, mistakes={
            'this layer does get there, if late': lambda k, n, p, g: math.inf if right(k, n, p, g) < math.inf else 'no',
            'one too many: at the ridge itself, the slope no longer holds it down': lambda k, n, p, g: right(k, n, p, g) + 1,
            'rounded down, it is not there yet': lambda k, n, p, g: right(k, n, p, g) - 1,
            'the result has to be written, too': lambda k, n, p, g: least(k, n, p/g, result=0),
            'the rows have to be read, too': lambda k, n, p, g: least(k, n, p/g, rows=0),
            'the matrix has to be read, too': lambda k, n, p, g: least(k, n, p/g, matrix=0),
            'rows, matrix and result are moved, and nothing else: here is no bias': lambda k, n, p, g: least(k, n, p/g, matrix=(k + 1)/k),
            'a number has 4 bytes': lambda k, n, p, g: least(k, n, p/g/4),
            'each number of the result takes a multiplication and an addition for each input: two operations': lambda k, n, p, g: least(k, n, 2*p/g),
            'the slope ends at `peak/bandwidth`, not at its inverse': lambda k, n, p, g: least(k, n, g/p),
            'here the layer never gets there: however many rows, the operations per byte stay below `peak/bandwidth`':
                lambda k, n, p, g: f(k, n, p, g) if right(k, n, p, g) == math.inf else 'no'})
    return 'however large the batch, 784 to 50 never gets above 23.5 operations per byte'

# %% [markdown]
# ## 3. A tie, please
# (Twenty minutes.) Your laptop gets warm, so each call takes a little longer than the one before. `compare` takes turns, and yet a job loses to itself, however often you repeat it: whoever is second in a turn always meets the warmer machine.
#
# Write a duel that's fair on such a machine. (Both jobs have been called before: no call is cold.) In each round both run twice, and the round gives a ratio of seconds; return the median of the ratios. On a steadily slowing machine it must be *exactly* the ratio of the two jobs, even with a single round.
# <details><summary>Hint</summary>
#
# In which order can two jobs run twice each, so that both run, on average, at the same moment?
# </details>

# %%
class Warming(Clock):
    "A machine on which each call takes a percent of the first one longer."
    calls = 0
    def job(self, seconds): # a job that takes so many seconds on a cool machine
        def run():
            self.now += seconds*(1 + self.calls/100)
            self.calls += 1
        return run

warm = Warming()
jobs = {'job': warm.job(1), 'itself': warm.job(1)}
for repeat in 5, 50:
    times = compare(jobs, repeat=repeat, clock=warm)
    print(repeat, {name: round(median, 2) for name, (median, spread) in times.items()})

# %% solution
def duel(f, g,  # functions without arguments; they may be the same
         rounds, # how many
         clock   # returns seconds
        ):       # how many times as long as `g` does `f` take? The median of all rounds
    "Compare two jobs on a machine that gets slower and slower."
    def took(job):
        start = clock()
        job()
        return clock() - start
    ratios = []
    for _ in range(rounds):
        first, second, third, fourth = took(f), took(g), took(g), took(f)
        ratios.append((first + fourth)/(second + third))
    return float(np.median(ratios))

# %% wrong: run twice
def duel(f, g, rounds, clock):
    def took(job):
        start = clock()
        job()
        return clock() - start
    return float(np.median([took(f)/took(g) for _ in range(rounds)]))

# %% wrong: always goes first
def duel(f, g, rounds, clock):
    def took(job):
        start = clock()
        job()
        return clock() - start
    ratios = []
    for _ in range(rounds):
        a, b, c, d = took(f), took(g), took(f), took(g)
        ratios.append((a + c)/(b + d))
    return float(np.median(ratios))

# %% wrong: the two in the middle
def duel(f, g, rounds, clock):
    def took(job):
        start = clock()
        job()
        return clock() - start
    ratios = []
    for _ in range(rounds):
        a, b, c, d = took(f), took(g), took(g), took(f)
        ratios.append((a + d)/(b + c))
    return sorted(ratios)[rounds//2]

# %% wrong: not the ratio of the medians
def duel(f, g, rounds, clock):
    def took(job):
        start = clock()
        job()
        return clock() - start
    first, second = [], []
    for _ in range(rounds):
        a, b, c, d = took(f), took(g), took(g), took(f)
        first.append(a + d)
        second.append(b + c)
    return float(np.median(first)/np.median(second))

# %% wrong: the median
def duel(f, g, rounds, clock):
    def took(job):
        start = clock()
        job()
        return clock() - start
    ratios = []
    for _ in range(rounds):
        a, b, c, d = took(f), took(g), took(g), took(f)
        ratios.append((a + d)/(b + c))
    return float(np.mean(ratios))

# %% wrong: the other way round
def duel(f, g, rounds, clock):
    def took(job):
        start = clock()
        job()
        return clock() - start
    ratios = []
    for _ in range(rounds):
        a, b, c, d = took(f), took(g), took(g), took(f)
        ratios.append((b + c)/(a + d))
    return float(np.median(ratios))

# %% wrong: dictionary
def duel(f, g, rounds, clock):
    ratios = []
    for _ in range(rounds):
        seconds = {f: 0, g: 0}
        for job in (f, g, g, f):
            start = clock()
            job()
            seconds[job] = seconds[job] + clock() - start
        ratios.append(sum(seconds.values())/seconds[g] - 1)
    return float(np.median(ratios))

# %% check
class Machine(Clock): # each call is slower than the one before by a share of the first; some take a factor longer
    def __init__(self, drift=0., factors=()): self.drift, self.factors, self.calls = drift, dict(factors), []
    def job(self, seconds, name=''):
        def run():
            took = seconds*(1 + self.drift*len(self.calls))*self.factors.get(len(self.calls), 1)
            self.now += took
            self.calls.append((name, took))
        return run

@check.add
def duel(f):
    luck = random.Random(0)
    worlds = [(1., 1., 1, {}, 'on a steady machine'), (3., 1.5, 4, {}, 'on a steady machine')]
    worlds += [(a, b, rounds, dict(drift=0.01), 'on a machine that slows down') for a, b, rounds in ((1., 1., 1), (1., 3., 5))]
    worlds += [(a, b, rounds, dict(drift=0.01*(i % 2), factors={call: luck.uniform(1, 9) for call in range(4*rounds)}), 'with wild calls')
               for i, (a, b, rounds) in enumerate(((2., 5., 9), (1.5, 1., 5), (1., 2., 6), (3., 1., 2)))]
    for a, b, rounds, options, where in worlds:
        machine = Machine(**options)
        got = f(machine.job(a, 'f'), machine.job(b, 'g'), rounds, machine)
        order = ''.join(name for name, _ in machine.calls)
        refuse(got is None, 'it returns nothing: no `return`?')
        refuse(hasattr(got, '__len__') and not getattr(got, 'ndim', 1) == 0, f'one number, please, not {brief(got)}')
        last = machine.calls[-4*rounds:]
        fours = [last[i:i+4] for i in range(0, len(last), 4)]
        fs, gs = ([sum(took for by, took in four if by == name) for four in fours] for name in 'fg')
        refuse(order.count('f') < 2*rounds or order.count('g') < 2*rounds or not all(gs), f'in each round, both should run twice; with rounds={rounds} they ran in the order {order[:24]}')
        ratios = [x/y for x, y in zip(fs, gs)]
        right = statistics.median(ratios) if 'factors' in options else a/b
        if alike(got, right, 1e-6): continue
        said = f'jobs of {a} and {b} seconds {where}, rounds={rounds}: the ratio came out as {float(got):.5g}; expected {right:.5g}. They ran in the order {order[:24]}'
        refuse(alike(got, b/a, 1e-6), f'the other way round: how many times as long as `g` does `f` take?\n  {said}')
        refuse(not options, f'is it a ratio of seconds?\n  {said}')
        refuse('factors' in options and alike(got, statistics.median(fs)/statistics.median(gs), 1e-6), f'the median of the ratios, not the ratio of the medians\n  {said}')
        refuse('factors' in options and any(alike(got, m(ratios), 1e-6) for m in (statistics.median_low, statistics.median_high)), f'the median of an even number is the mean of the two in the middle\n  {said}')
        refuse('factors' in options, f'some rounds are wild: take the ratio in each round, and then the median\n  {said}')
        turns = order[-4*rounds:]
        refuse(turns in ('fg'*2*rounds, 'gf'*2*rounds), f'{turns[0]} always goes first, so the other always meets a slower machine\n  {said}')
        raise Wrong(f'do both run, on average, at the same moment?\n  {said}')
    machine, rounds = Machine(drift=0.01), 3
    job = machine.job(1.)
    try: got = f(job, job, rounds, machine)
    except Exception as e: raise Wrong(f'a job against itself, `duel(job, job, …)`, stops with {type(e).__name__}: {e}')
    refuse(not alike(got, 1., 1e-6), f'a job against itself, `duel(job, job, …)`, should be a tie; it came out as {brief(got)}. Is there a dictionary with one place for both?')
    return 'where the drift is not steady, more and shorter rounds help'

# %% [markdown]
# ## 4. Test the tester
# (Thirty minutes.) Somebody gives you a benchmark. You can't read it, but you can let it time jobs that *you* have made, against a clock that you move. Find out what's wrong with it. It may make none, one, two or all of these mistakes: `'cold'`, the first call of a job counts; `'mean'`, it takes the mean of the runs and not the median; `'turns'`, it goes through all runs of one job before the next job's.
#
# (Some benchmarks warm up once, some at every turn, as `compare` does. Either is fine.) Here's the worst one. It's called like `bench({'a': job_a, 'b': job_b}, clock, repeat)`, and times each job `repeat` times.
# <details><summary>Hint</summary>
#
# For `'turns'`, let two jobs write down their names. For `'cold'`, think of the number of runs for which a mean and a median are the same.
# </details>
# <details><summary>Second hint</summary>
#
# For `'mean'`, you need a job whose runs have another mean than median, whether the first one counts or not. Something slow now and then, long after the first call.
# </details>

# %%
def worst_bench(fs, clock, repeat):
    "Makes all three mistakes."
    seconds = {}
    for name, f in fs.items():
        timer = Timer(clock)
        for _ in range(repeat):
            with timer: f()
        seconds[name] = timer.avg()
    return seconds

# %% solution
def faults(bench # bench(fs, clock, repeat): a dict of seconds, by name
          ):     # a set of 'cold', 'mean', 'turns'
    "What's wrong with a benchmark?"
    def clock(): return clock.now
    def timed(repeat, cost): # of a job whose i-th call costs `cost(i)`
        clock.now, calls = 0., []
        def job():
            clock.now += cost(len(calls))
            calls.append(1)
        return bench({'job': job}, clock, repeat)['job']
    clock.now, names = 0., []
    def writes(name): return lambda: names.append(name)
    bench({'a': writes('a'), 'b': writes('b')}, clock, 4)
    found = set()
    if names[-4:] == 4*['b']: found.add('turns')
    if timed(1, lambda i: 100 if i == 0 else 1) > 50: found.add('cold')
    if timed(9, lambda i: 100 if i in (5, 6) else 1) > 2: found.add('mean')
    return found

# %% wrong: misses the mean
def faults(bench):
    clock = Clock()
    def timed(repeat):
        calls = []
        def job():
            clock.now += 1 if calls else 100
            calls.append(1)
        return bench({'job': job}, clock, repeat)['job']
    names = []
    bench({'a': lambda: names.append('a'), 'b': lambda: names.append('b')}, clock, 4)
    found = {'turns'} if names[-4:] == 4*['b'] else set()
    if timed(1) > 50: found.add('cold')
    if timed(9) > 2: found.add('mean')
    return found

# %% wrong: only every second call counts
def faults(bench):
    clock, names = Clock(), []
    def timed(repeat, slow):
        calls = []
        def job():
            clock.now += 100 if len(calls) == slow else 1
            calls.append(1)
        return bench({'job': job}, clock, repeat)['job']
    bench({'a': lambda: names.append('a'), 'b': lambda: names.append('b')}, clock, 4)
    found = {'turns'} if names[-4:] == 4*['b'] else set()
    if timed(1, slow=0) > 50: found.add('cold')
    if timed(9, slow=6) > 2: found.add('mean')
    return found

# %% wrong: misses the cold call
def faults(bench):
    clock, names = Clock(), []
    def timed(cost):
        calls = []
        def job():
            clock.now += cost(len(calls))
            calls.append(1)
        return bench({'job': job}, clock, 7)['job']
    bench({'a': lambda: names.append('a'), 'b': lambda: names.append('b')}, clock, 4)
    found = {'turns'} if names[-4:] == 4*['b'] else set()
    if timed(lambda i: 100 if i == 0 else 1) > 2: found.add('cold')
    if timed(lambda i: 100 if i in (4, 5) else 1) > 2: found.add('mean')
    return found

# %% wrong: they take turns
def faults(bench):
    clock, names = Clock(), []
    def timed(repeat, cost):
        calls = []
        def job():
            clock.now += cost(len(calls))
            calls.append(1)
        return bench({'job': job}, clock, repeat)['job']
    bench({'a': lambda: names.append('a'), 'b': lambda: names.append('b')}, clock, 4)
    found = {'turns'} if ''.join(names) not in ('ab'*4, 'ab'*5) else set()
    if timed(1, lambda i: 100 if i == 0 else 1) > 50: found.add('cold')
    if timed(9, lambda i: 100 if i in (5, 6) else 1) > 2: found.add('mean')
    return found

# %% check
def benchmark_with(faults, warmed='each'): # a benchmark that makes these mistakes
    def bench(fs, clock, repeat):
        runs = {name: [] for name in fs}
        def time(name):
            start = clock()
            fs[name]()
            runs[name].append(clock() - start)
        def warm(name):
            if 'cold' not in faults: fs[name]()
        if 'turns' in faults:
            if warmed == 'first':
                for name in fs: warm(name)
            for name in fs:
                if warmed != 'first': warm(name)
                for _ in range(repeat): time(name)
        else:
            for name in fs:
                if warmed != 'turn': warm(name)
            for _ in range(repeat):
                for name in fs:
                    if warmed in ('turn', 'both') and 'cold' not in faults: fs[name]()
                    time(name)
        middle = statistics.mean if 'mean' in faults else statistics.median
        return {name: middle(r) for name, r in runs.items()}
    return bench

@check.add
def faults(f):
    words = 'cold', 'mean', 'turns'
    def named(found): return ' and '.join(map(repr, sorted(found))) or 'nothing'
    for warmed in 'each', 'first', 'turn', 'both':
        for k in range(4):
            for made in itertools.combinations(words, k):
                got = f(benchmark_with(made, warmed))
                refuse(got is None, 'it returns nothing: no `return`?')
                refuse(isinstance(got, str), f'a set of words, please, not the string {got!r}')
                got = set(got)
                refuse(not got <= {*words}, f'the words are {words}; you found {sorted(map(str, got))}')
                if got == {*made}: continue
                when = 'right before the runs of each job' if warmed != 'first' else 'first, one of each job'
                if 'turns' not in made: when = 'in every turn, as those of `compare` do' if warmed in ('turn', 'both') else 'first, one of each job'
                extra = '' if 'cold' in made else f' (its warm-up calls come {when})'
                said = f'a benchmark with the mistakes {named(made)}: you found {named(got)}'
                refuse('mean' in got - {*made} and 'cold' in made, f'it blames the mean for a cold call that counts\n  {said}')
                refuse('cold' in got - {*made} and 'mean' in made, f'it takes the mean for a cold call that counts\n  {said}')
                refuse('cold' in {*made} - got and 'mean' not in made, f'it misses the cold call: in a median of many runs, one doesn\'t show\n  {said}')
                refuse('cold' in {*made} - got, f'it misses the cold call\n  {said}')
                refuse('mean' in {*made} - got and warmed in ('turn', 'both'), f'it misses the mean of one that warms up in every turn: there, only every second call counts\n  {said}')
                refuse('mean' in {*made} - got, f"it misses the mean: which job's runs have another mean than median, even where the first call is thrown away?\n  {said}")
                refuse('turns' in {*made} - got, f'it misses that the jobs do not take turns{extra}\n  {said}')
                refuse('turns' in got - {*made}, f'they take turns, and it says they do not{extra}\n  {said}')
                raise Wrong(said)
    return 'it knows all eight, in four ways of warming up; what does it say of `compare`, and of your own?'

# %% [markdown]
# ## 5. The knee, and how sure you are (open)
# (An hour.) Where's the knee of a machine that you don't know? You have a function `step(b)` that moves a clock, and a budget of seconds. It behaves like a real one: the first step at a new size takes far longer, every tenth or so is interrupted, and all others scatter by some ten percent.
#
# Return an interval for the knee, $t_0 r$, that you'd bet on. `check` brings forty machines, with knees between 20 and 500. At least 34 of your intervals must hold the knee, none may be wider than a factor of 1.5, and none may cost more than the budget. Before you write a line: at which sizes will you measure, and how often at each?
# <details><summary>Hint</summary>
#
# Two numbers are to be found. Which size tells you most about $t_0$, and which about $r$? What does a step cost there? And which middle value isn't bothered by interruptions?
# </details>

# %%
class Computer(Clock):
    "A machine like those of `check`; `used` counts its steps, by size."
    def __init__(self, seed):
        self.luck, self.used = random.Random(seed), Counter()
        self.t0 = 10**self.luck.uniform(-4, -3)
        self.knee = math.exp(self.luck.uniform(math.log(20), math.log(500)))
        self.budget = 2000*self.t0
    def step(self, b): # 1 to 4096 rows
        seconds = self.t0*(1 + b/self.knee)*math.exp(self.luck.gauss(0, 0.1))
        if self.luck.random() < 0.1: seconds *= self.luck.uniform(2, 10)
        if b not in self.used: seconds += 100*self.t0
        self.used[b] += 1
        self.now += seconds

# %% solution
def bet(step,  # step(b): a training step on `b` rows, 1 to 4096
        clock, # returns seconds
        budget # seconds that you may use, by this clock
       ):      # (low, high): two batch sizes with the knee between them
    "An interval for the knee of a machine."
    def median(b, runs):
        times = []
        for _ in range(runs + 1):
            start = clock()
            step(b)
            times.append(clock() - start)
        return np.median(times[1:])           # without the cold one
    t0, rate = fit_step_cost([1, 512], [median(1, 80), median(512, 30)])
    return t0*rate/1.2, t0*rate*1.2

# %% wrong: budget
def bet(step, clock, budget):
    bs = [4**k for k in range(7)]
    times = compare({b: lambda b=b: step(b) for b in bs}, repeat=15, clock=clock)
    t0, rate = fit_step_cost(bs, [times[b][0] for b in bs])
    return t0*rate/1.2, t0*rate*1.2

# %% wrong: too high
def bet(step, clock, budget):
    times = []
    for b in 1, 512:
        start = clock()
        for _ in range(20): step(b)
        times.append((clock() - start)/20)
    t0, rate = fit_step_cost([1, 512], times)
    return t0*rate/1.2, t0*rate*1.2

# %% wrong: little
def bet(step, clock, budget): return 20, 500

# %% wrong: the knee is outside
def bet(step, clock, budget):
    def mean(b):
        step(b)
        start = clock()
        for _ in range(20): step(b)
        return (clock() - start)/20
    t0, rate = fit_step_cost([1, 512], [mean(1), mean(512)])
    return t0*rate/1.2, t0*rate*1.2

# %% wrong: too low
def bet(step, clock, budget):
    step(512)
    start = clock()
    for _ in range(20): step(512)
    large = (clock() - start)/20
    step(1)
    small = []
    for _ in range(50):
        start = clock()
        step(1)
        small.append(clock() - start)
    t0, rate = fit_step_cost([1, 512], [min(small), large])
    return t0*rate/1.2, t0*rate*1.2

# %% check
class Computer(Clock):
    def __init__(self, seed):
        self.luck, self.used = random.Random(seed), {}
        self.t0 = 10**self.luck.uniform(-4, -3)
        self.knee = math.exp(self.luck.uniform(math.log(20), math.log(500)))
        self.budget = 2000*self.t0
    def step(self, b):
        refuse(not (b == int(b) and 1 <= b <= 4096), f'a step on {b} rows? 1 to 4096 are to be had')
        seconds = self.t0*(1 + b/self.knee)*math.exp(self.luck.gauss(0, 0.1))
        if self.luck.random() < 0.1: seconds *= self.luck.uniform(2, 10)
        if b not in self.used: seconds += 100*self.t0
        self.used[b] = self.used.get(b, 0) + 1
        self.now += seconds
        refuse(self.now > 100*self.budget, 'it has used a hundred times the budget, and still goes on')

@check.add
def bet(f):
    hits, middles, share, knees = 0, [], [], []
    for seed in range(100, 140):
        machine = Computer(seed)
        got = f(machine.step, machine, machine.budget)
        refuse(got is None, 'it returns nothing: no `return`?')
        refuse(not hasattr(got, '__len__') or len(got) != 2, f'two numbers, please, low and high, not {brief(got)}')
        low, high = map(float, got)
        refuse(machine.now > machine.budget, f'over budget: {math.ceil(100*machine.now/machine.budget - 100)} % more seconds than you had, in {sum(machine.used.values())} steps at the sizes {brief([*machine.used])}')
        refuse(not 0 < low <= high, f'from {low:.4g} to {high:.4g} is no interval')
        refuse(high > 1.5001*low, f'from {low:.4g} to {high:.4g}: that says little; `high` may be 1.5 times `low`')
        hits += low <= machine.knee <= high
        middles.append(math.log(math.sqrt(low*high)/machine.knee))
        share.append(high/low)
        knees.append(machine.knee)
    low, off, high = map(math.exp, statistics.quantiles(middles, n=4))
    early, late = ([m for m, knee in zip(middles, knees) if (knee < 100) == small] for small in (True, False))
    grows = math.exp(statistics.median(late) - statistics.median(early))
    way = 'Is that a batch size? The knee is the product of t0 and r. ' if off > 50 else 'Much too high: does the cold step count? ' if off > 1.25 else 'Much too low: do the large steps suffer more than the small ones? ' if off < 0.8 else 'The larger the knee, the lower your interval: have you taken t0 off a large step? What is left is b/r. ' if grows < 0.95 and high < 1.2*low else 'They are far apart: is that a middle that interruptions bother, or a middle of too few steps? ' if high > 1.35*low else ''
    refuse(hits < 34, f"the knee is outside too often: {40 - hits} times of 40. {way}Only half of your intervals have their middle within {low:.2f} to {high:.2f} times the knee")
    return f'the knee is in {hits} of your 40 intervals, which reach up to {statistics.median(share):.2f} times their lower end; can you do it with a narrower one?'
