"""Bring a virtual environment up to date: .ci/venv.py DIRECTORY LABEL PIP_ARGUMENT... [--each EXTRA]

--each: the requirements of this extra of pyproject.toml, one by one, under the same constraints; what is refused is left out, and said.

A stamp inside the environment holds the hash of everything it was made from. It is written last, so an interrupted
install starts over; while it matches, nothing is run. Old syntax on purpose: an old Python must reach the message below.
"""

import hashlib
import os
import shutil
import subprocess
import sys

OLDEST = (3, 11)


def fail(message):
    sys.stderr.write("backsweep: " + message + "\n")
    sys.exit(1)


def wanted(directory, arguments):
    """What the environment is made from. Its path counts (a moved tree has broken scripts), Python's patch version does not."""
    parts = ["%d.%d" % sys.version_info[:2], os.path.abspath(directory)] + arguments
    for name in ("pyproject.toml", "constraints.txt"):
        with open(name, "rb") as file:
            parts.append(hashlib.sha256(file.read()).hexdigest())
    return "\n".join(parts) + "\n"


def ready(directory, want):
    stamp = os.path.join(directory, "stamp")
    if not (os.path.isfile(stamp) and os.access(os.path.join(directory, "bin", "python"), os.X_OK)):
        return False
    with open(stamp) as file:
        return file.read() == want


def each_of(arguments):
    """The pip arguments before --each, the constraints among them, and the requirements it stands for."""
    if "--each" not in arguments:
        return arguments, [], []
    import tomllib

    at = arguments.index("--each")
    first = arguments[:at]
    constraints = [word for k, word in enumerate(first) if word == "-c" or (k and first[k - 1] == "-c")]
    with open("pyproject.toml", "rb") as file:
        return first, constraints, tomllib.load(file)["project"]["optional-dependencies"][arguments[at + 1]]


def install(directory, label, arguments, want):
    arguments, constraints, each = each_of(arguments)
    sys.stderr.write("installing %s into %s (once, about a minute)\n" % (label, directory))
    shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(directory)
    log = os.path.join(directory, "install.log")
    python = os.path.join(directory, "bin", "python")
    # From inside another environment, build on the Python beneath it, which outlives it.
    beneath = getattr(sys, "_base_executable", sys.executable)
    environment = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_USER="0")
    pip = [python, "-m", "pip", "install", "--quiet"]
    with open(log, "w") as file:
        for command in ([beneath, "-m", "venv", directory], pip + ["--upgrade", "pip"], pip + arguments):
            if subprocess.call(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, env=environment):
                break
        else:
            for requirement in each:
                if subprocess.call(pip + constraints + [requirement], stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, env=environment):
                    sys.stderr.write("%s cannot be had here and is left out; the whole log is %s\n" % (requirement, log))
            with open(os.path.join(directory, "stamp"), "w") as stamp:
                stamp.write(want)
            return
    with open(log) as file:
        sys.stderr.write("".join([line for line in file if not line.startswith("WARNING")][-8:]))
    fail("`%s` failed; the whole log is %s" % (" ".join(command), log))


def main(directory, label, *arguments):
    if sys.version_info < OLDEST:
        found = "%d.%d" % sys.version_info[:2]
        fail("Python %d.%d or newer is needed, %s is %s; try `make PYTHON=python3.12 ...`" % (OLDEST + (sys.executable, found)))
    want = wanted(directory, list(arguments))
    if ready(directory, want):
        return
    try:
        import ensurepip  # noqa: F401 - Debian's python3 has venv but not this until python3-venv is installed
        import venv  # noqa: F401
    except ImportError:
        fail("%s has no venv module; install it (Debian, Ubuntu: apt install python3-venv)" % sys.executable)
    import fcntl

    with open(directory + ".lock", "w") as lock:  # two makes at once: the second waits, then finds it ready
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready(directory, want):
            install(directory, label, list(arguments), want)


main(*sys.argv[1:])
