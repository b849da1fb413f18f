"""SciPy's functions of arrays of any library trace, where SCIPY_ARRAY_API=1 is set before SciPy is imported.

It is read once, at the import: what is tried runs in a process of its own, and every value is held to
what SciPy gives for the plain array there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import numpy as np
import backsweep as bs
from scipy import cluster, integrate, linalg, optimize, spatial, special, stats

assert bs.Error  # ours and SciPy are imported, in either order
x = np.array([0.3, 1.2, 0.7, 1.5, 0.9])
FUNCTIONS = {
    "rosen": optimize.rosen,
    "rosen_der": optimize.rosen_der,
    "rosen_hess": optimize.rosen_hess,
    "rosen_hess_prod": lambda x: optimize.rosen_hess_prod(x, x * x),
    "logsumexp": lambda x: special.logsumexp(x),
    "logsumexp with weights": lambda x: special.logsumexp(x, b=x * x),
    "softmax": lambda x: special.softmax(x),
    "log_softmax": lambda x: special.log_softmax(x),
    "erf": lambda x: special.erf(x),
    "gammaln": lambda x: special.gammaln(x),
    "xlogy": lambda x: special.xlogy(x, x),
    "rel_entr": lambda x: special.rel_entr(x, 2 * x),
    "entr": lambda x: special.entr(x),
    "expit": lambda x: special.expit(x),
    "logit": lambda x: special.logit(x / 2),
    "ndtri": lambda x: special.ndtri(x / 2),
    "i0": lambda x: special.i0(x),
    "polygamma": lambda x: special.polygamma(1, x),
    "multigammaln": lambda x: special.multigammaln(x[1] + 3, 2),
    "sinc": lambda x: special.sinc(x),
    "trapezoid": lambda x: integrate.trapezoid(x),
    "cumulative_trapezoid": lambda x: integrate.cumulative_trapezoid(x, initial=0),
    "cumulative_simpson": lambda x: integrate.cumulative_simpson(x),
    "romb": lambda x: integrate.romb(x),
    "gmean": lambda x: stats.gmean(x),
    "skew": lambda x: stats.skew(x),
    "kurtosis": lambda x: stats.kurtosis(x),
    "variation": lambda x: stats.variation(x),
    "zscore": lambda x: stats.zscore(x),
    "sem": lambda x: stats.sem(x),
    "entropy": lambda x: stats.entropy(x),
    "circmean": lambda x: stats.circmean(x),
    "trim_mean": lambda x: stats.trim_mean(x, 0.2),
    "boxcox_llf": lambda x: stats.boxcox_llf(0.5, x),
    "whiten": lambda x: cluster.vq.whiten(np.outer(x, x) + np.eye(5)),
    "Rotation": lambda x: spatial.transform.Rotation.from_rotvec(x[:3]).as_matrix(),
}
REFUSED = {
    "arrays of both kinds": (lambda t: special.xlogy(t, x), "xp.asarray(a)"),
    "a function with no kernel": (lambda t: special.gammainc(t, t), "scipy.special is not traced"),
    "a branch on values": (lambda t: stats.hmean(t), "write it with np and bs functions"),
    "a name of bs": (lambda t: linalg.expm(np.outer(t, t)), "bs.expm"),
}

with bs.local() as service:
    for name, f in FUNCTIONS.items():
        function = service.submit(f, x=bs.float64[5])
        np.testing.assert_allclose(function(x), f(x), rtol=1e-12, atol=1e-14, err_msg=name)
        function.check(x).raise_if_wrong()
    gradient = service.submit(optimize.rosen, x=bs.float64[5])
    np.testing.assert_allclose(gradient.gradient(x), optimize.rosen_der(x), rtol=1e-13)
    np.testing.assert_allclose(gradient.hessian(x), optimize.rosen_hess(x), rtol=1e-13)
    jacobian = service.submit(optimize.rosen_der, x=bs.float64[5])
    np.testing.assert_allclose(jacobian.jacobian(x), optimize.rosen_hess(x), rtol=1e-13, atol=1e-12)
    for name, (f, said) in REFUSED.items():
        try:
            service.submit(f, t=bs.float64[5])
        except bs.GraphError as error:
            assert said in error.hint and error.source.startswith("program.py:"), (name, str(error))
        else:
            raise AssertionError(name)
print("done", len(FUNCTIONS))
"""


def test_what_takes_arrays_of_any_library_traces(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    asking = os.environ | {"SCIPY_ARRAY_API": "1"}
    command = [sys.executable, "-W", "ignore", "program.py"]
    done = subprocess.run(command, cwd=tmp_path, env=asking, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == "done 36\n"
