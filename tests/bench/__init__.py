"""The benchmark, run by hand (`make bench`): backsweep beside JAX, PyTorch, autograd, CasADi and hand-written NumPy.

What is compared, and how:
- Each tool computes each workload in a process of its own (child.py) in that tool's best idiom (workloads/); the
  processes live side by side and take turns (rounds.py), so that a noisy minute hurts all alike.
- A figure is the median over rounds of process CPU time a call, all threads counted, one BLAS thread. Trust ratios.
- Each tool is given its own arrays and gives its own back; no conversion is counted. Two things are timed besides where
  a tool has them: the value alone, and `program`, the same answer without the tool's Python interface (a prepared
  plan of backsweep, CasADi's buffers). The ratios compare ordinary calls.
- First call: process CPU time from NumPy arrays to the first answer in a fresh process, imports (and JAX's start of its
  backend) apart. Memory: the peak of the resident set above what the process held after imports and inputs.
- Every answer's digest (digest.py) is compared with hand-written NumPy's, to 1e-9.

`make bench-smoke` runs every workload at a tiny size without peers or expectations of time: the harness and the hand-written
derivatives are held to each other. To add a workload, add a module of workloads/; a tool, one of tools/.
"""
