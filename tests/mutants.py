"""Deliberate faults, at least one for each promise of the ingest, and the test that catches each.

Some are of what answers, too.

    python -m tests.mutants [NAME …]

Each fault is made in a copy of the checkout, whose packages are imported from there. A fault that
its tests do not notice, or a text that is not found exactly once, ends in exit code 1.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from tests.mutant_table import MUTANTS, Mutant

ROOT = Path(__file__).parents[1]
COPIED = ("schemas", "indexer", "api", "client", "benchmarks", "tests", "docs", "pyproject.toml")
PACKAGES = ("schemas", "indexer", "api", "client")
WORKERS = 2
LIMIT_S = 240
TESTS_FAILED = 1
"""pytest's exit code when tests ran and some failed; a file that cannot be imported is another."""


class Copy:
    """A copy of the checkout, in which tests can be run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ignored = shutil.ignore_patterns("__pycache__", "node_modules")
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=ignored)
            else:
                shutil.copy(source, folder / name)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python with the packages of this copy."""
        # No bytecode: two versions of a file within one second could be taken for each other.
        variables = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": self._packages}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )

    def test(self, *tests: str) -> subprocess.CompletedProcess[str]:
        """Run tests, until one fails."""
        names = [f"tests/{test}" for test in tests]
        return self.run("-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", *names)

    @property
    def _packages(self) -> str:
        return os.pathsep.join(str(self.folder / name) for name in PACKAGES)


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def found(mutant: Mutant, checkout: Path) -> list[Path]:
    """The files of a checkout's packages that hold a fault's text, each as often as it does."""
    files = [path for name in PACKAGES for path in (checkout / name).rglob("*.py")]
    return [path for path in files for _ in range(path.read_text("utf-8").count(mutant.old))]


def misses(mutants: Sequence[Mutant]) -> list[str]:
    """Those whose text is not there exactly once."""
    return [
        f"{one.name}: its text is in {', '.join(file.name for file in files) or 'no file'}"
        for one in mutants
        if len(files := found(one, ROOT)) != 1
    ]


def baseline(copy: Copy, mutants: Sequence[Mutant]) -> None:
    """Show that a copy without a fault is what is tested, and passes."""
    where = copy.run("-c", "import atdata_indexer; print(atdata_indexer.__file__)")
    assert where.stdout.startswith(str(copy.folder)), where
    done = copy.test(*sorted({one.test for one in mutants}))
    if done.returncode != 0:
        sys.exit(f"without a fault the tests fail:\n{done.stdout}{done.stderr}")
    say(f"without a fault: {done.stdout.splitlines()[-1]}")


def verdict(copy: Copy, mutant: Mutant) -> str:
    """`caught`, or what became of a fault instead."""
    (file,) = found(mutant, copy.folder)
    whole = file.read_text("utf-8")
    file.write_text(whole.replace(mutant.old, mutant.new), "utf-8")
    try:
        done = copy.test(mutant.test)
    except subprocess.TimeoutExpired:
        return f"no verdict within {LIMIT_S} s"
    finally:
        file.write_text(whole, "utf-8")
    if done.returncode == TESTS_FAILED:
        return "caught"
    if done.returncode == 0:
        return "SURVIVED"
    return f"the tests did not run: {done.stdout[-2000:]}{done.stderr[-2000:]}"


def main(names: Sequence[str]) -> int:
    """Make every fault, or those with these words in their names; the exit code."""
    chosen = [one for one in MUTANTS if not names or any(name in one.name for name in names)]
    if missing := misses(chosen):
        say("\n".join(missing))
        return 1
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies: SimpleQueue[Copy] = SimpleQueue()
        for number in range(WORKERS):
            copies.put(Copy(Path(folder) / str(number)))
        baseline(copy := copies.get(), chosen)
        copies.put(copy)

        def judge(mutant: Mutant) -> str:
            copy = copies.get()
            try:
                return verdict(copy, mutant)
            finally:
                copies.put(copy)

        failed = 0
        with ThreadPoolExecutor(WORKERS) as pool:
            for mutant, said in zip(chosen, pool.map(judge, chosen), strict=True):
                failed += said != "caught"
                say(f"{mutant.promise:20} {mutant.name:52} {said}")
    promises = len({one.promise for one in chosen})
    say(
        f"{len(chosen)} faults in {promises} promises, {len(chosen) - failed} caught,"
        f" {failed} not, {time.monotonic() - began:.0f} s"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
